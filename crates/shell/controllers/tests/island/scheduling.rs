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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taints_keep_pods_away_and_drive_them_out_when_their_patience_ends() {
    let world = World::start().await;
    let tolerant = json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]});
    let patient = json!({"tolerations": [
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2}]});
    for (name, spec) in [("plain", json!({})), ("tolerant", tolerant), ("patient", patient)] {
        world.create(PODS, pod(name, spec)).await;
        world.until(&format!("{PODS}/{name}"), "running", |it| it["status"]["phase"] == "Running").await;
    }
    let node = "/api/v1/nodes/island";
    world.merge(node, json!({"spec": {"taints": [{"key": "gpu", "effect": "NoExecute"}]}})).await;
    world.until(&format!("{PODS}/plain"), "gone", Value::is_null).await;
    assert!(world.get(&format!("{PODS}/patient")).await.is_some(), "two seconds are not over");
    world.until(&format!("{PODS}/patient"), "gone", Value::is_null).await;
    let told = |it: &Value| {
        it["items"].as_array().is_some_and(|it| it.iter().any(|it| it["reason"] == "TaintManagerEviction"))
    };
    world.until(EVENTS, "told", told).await;
    assert!(world.get(&format!("{PODS}/tolerant")).await.is_some());
    world.create(PODS, pod("late", json!({}))).await;
    let refused = |it: &Value| {
        let message = condition(it, "PodScheduled")["message"].as_str().unwrap_or_default();
        message.contains("node(s) had untolerated taint {gpu: }")
    };
    world.until(&format!("{PODS}/late"), "kept away", refused).await;
    world.merge(node, json!({"spec": {"taints": null, "unschedulable": true}})).await;
    let cordoned = |it: &Value| {
        it["spec"]["taints"].as_array().is_some_and(|it| it[0]["key"] == "node.kubernetes.io/unschedulable")
    };
    world.until(node, "cordoned", cordoned).await;
    world.merge(node, json!({"spec": {"unschedulable": null}})).await;
    world.until(&format!("{PODS}/late"), "running", |it| it["status"]["phase"] == "Running").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taint_that_is_taken_back_in_time_drives_nobody_out() {
    let world = World::start().await;
    let patient = json!({"tolerations": [
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2}]});
    let path = format!("{PODS}/patient");
    world.create(PODS, pod("patient", patient)).await;
    let running = world.until(&path, "running", |it| it["status"]["phase"] == "Running").await;
    let node = "/api/v1/nodes/island";
    world.merge(node, json!({"spec": {"taints": [{"key": "gpu", "effect": "NoExecute"}]}})).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    world.merge(node, json!({"spec": {"taints": null}})).await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let pod = world.get(&path).await.expect("still there");
    assert_eq!(pod["metadata"]["uid"], running["metadata"]["uid"]);
    assert!(pod["metadata"].get("deletionTimestamp").is_none(), "{pod:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_trouble_is_tainted_and_its_pods_are_collected_when_it_is_gone() {
    let world = World::start().await;
    let status = json!({
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "100"},
        "conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"},
            {"type": "DiskPressure", "status": "True", "reason": "KubeletHasDiskPressure"}],
    });
    let body = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "second"}, "status": status});
    world.create("/api/v1/nodes", body).await;
    let tainted = |it: &Value| {
        let taints = it["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
        let has = |key: &str, effect: &str| taints.iter().any(|it| it["key"] == key && it["effect"] == effect);
        has("node.kubernetes.io/not-ready", "NoSchedule")
            && has("node.kubernetes.io/not-ready", "NoExecute")
            && has("node.kubernetes.io/disk-pressure", "NoSchedule")
    };
    world.until("/api/v1/nodes/second", "tainted", tainted).await;
    world.create(PODS, pod("there", json!({"nodeName": "second"}))).await;
    world.until(&format!("{PODS}/there"), "running", |it| it["status"]["phase"] == "Running").await;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    world.merge("/api/v1/nodes/second/status", ready).await;
    world.until("/api/v1/nodes/second", "clean", |it| it["spec"].get("taints").is_none()).await;
    world.delete("/api/v1/nodes/second", "Background").await;
    world.until(&format!("{PODS}/there"), "collected", Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_must_be_apart_are_and_say_so_when_there_is_no_room() {
    let world = World::start().await;
    let status = json!({"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "100"},
        "conditions": [{"type": "Ready", "status": "True"}]});
    let body = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "second", "labels": {"kubernetes.io/hostname": "second"}}, "status": status});
    world.create("/api/v1/nodes", body).await;
    let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"});
    let apart = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    for name in ["a", "b", "c"] {
        let mut body = pod(name, json!({"affinity": apart}));
        body["metadata"]["labels"] = json!({"app": "web"});
        world.create(PODS, body).await;
    }
    let settled = |it: &Value| {
        let pods = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let running: Vec<&Value> = pods.iter().filter(|it| it["status"]["phase"] == "Running").collect();
        let says = |it: &&Value| {
            let message = condition(it, "PodScheduled")["message"].as_str().unwrap_or_default();
            message.starts_with("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules")
        };
        running.len() == 2
            && running[0]["spec"]["nodeName"] != running[1]["spec"]["nodeName"]
            && pods.iter().filter(says).count() == 1
    };
    world.until(PODS, "two apart, one waits", settled).await;
}
