use serde_json::{Value, json};

use crate::world::{EVENTS, PODS, World, condition};

fn pod(name: &str, spec: Value) -> Value {
    let mut body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "i"}]}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        body["spec"][key] = value.clone();
    }
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_fits_nowhere_waits_and_says_why() {
    let world = World::start().await;
    world.create(PODS, pod("picky", json!({"nodeSelector": {"disk": "ssd"}}))).await;
    let path = format!("{PODS}/picky");
    let told = |it: &Value| condition(it, "PodScheduled")["reason"] == "Unschedulable";
    let waiting = world.until(&path, "unschedulable", told).await;
    let message = condition(&waiting, "PodScheduled")["message"].as_str().unwrap();
    assert!(
        message.starts_with("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector"),
        "{message}"
    );
    let event =
        |it: &Value| it["items"].as_array().is_some_and(|it| it.iter().any(|it| it["reason"] == "FailedScheduling"));
    world.until(EVENTS, "event", event).await;
    world.merge("/api/v1/nodes/island", json!({"metadata": {"labels": {"disk": "ssd"}}})).await;
    world.until(&path, "running", |it| it["status"]["phase"] == "Running").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_is_not_given_out_twice() {
    let world = World::start().await;
    let container = json!([{"name": "main", "image": "i", "resources": {"requests": {"cpu": "40"}}}]);
    for name in ["a", "b"] {
        world.create(PODS, pod(name, json!({"containers": container}))).await;
    }
    let one_waits = |it: &Value| {
        let pods = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let told = |it: &Value| condition(it, "PodScheduled")["reason"] == "Unschedulable";
        pods.iter().filter(|it| told(it)).count() == 1
            && pods.iter().filter(|it| it["status"]["phase"] == "Running").count() == 1
    };
    let list = world.until(PODS, "one runs, one waits", one_waits).await;
    let runs = list["items"].as_array().unwrap().iter().find(|it| it["status"]["phase"] == "Running").unwrap();
    world.delete(&format!("{PODS}/{}", runs["metadata"]["name"].as_str().unwrap()), "Background").await;
    let all_run =
        |it: &Value| it["items"].as_array().is_some_and(|it| it.len() == 1 && it[0]["status"]["phase"] == "Running");
    world.until(PODS, "the other runs", all_run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_renewing_its_lease_is_marked() {
    let world = World::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let spec = json!({"holderIdentity": "island", "leaseDurationSeconds": 40,
        "renewTime": "2026-01-01T00:00:00.000000Z"});
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "island"},
        "spec": spec});
    world.create(leases, lease).await;
    let node = "/api/v1/nodes/island";
    let tainted = |it: &Value| {
        it["spec"]["taints"]
            .as_array()
            .is_some_and(|it| it.iter().any(|it| it["key"] == "node.kubernetes.io/unreachable"))
    };
    let lost = |it: &Value| condition(it, "Ready")["status"] == "Unknown" && tainted(it);
    world.until(node, "unknown", lost).await;
    world.merge(&format!("{leases}/island"), json!({"spec": {"renewTime": "2026-01-01T00:00:10.000000Z"}})).await;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
    world.merge(&format!("{node}/status"), ready).await;
    world.until(node, "taint gone", |it| !tainted(it)).await;
}
