use serde_json::{Value, json};

use crate::world::{PODS, World, annotation, number, template};

pub(crate) const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
pub(crate) const LOGS: &str = "/apis/apps/v1/namespaces/default/daemonsets/logs";
pub(crate) const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";
pub(crate) const CONTROLLERS: &str = "/api/v1/namespaces/default/replicationcontrollers";

pub(crate) async fn daemons(world: &World, spec: Value) {
    let mut body = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "logs"},
        "spec": {"selector": {"matchLabels": {"app": "logs"}}, "template": template("logs", json!({}))},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        body["spec"][key] = value.clone();
    }
    world.create(SETS, body).await;
}

pub(crate) async fn node(world: &World, name: &str, labels: Value, taints: Value) {
    let status = json!({
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "100"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
    });
    let body = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints}, "status": status});
    world.create("/api/v1/nodes", body).await;
}

/// As `kubectl rollout status` judges it.
pub(crate) fn settled(set: &Value, nodes: i64) -> bool {
    let status = &set["status"];
    number(&status["observedGeneration"]) >= number(&set["metadata"]["generation"])
        && [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "updatedNumberScheduled",
            "numberReady",
            "numberAvailable",
        ]
        .iter()
        .all(|it| number(&status[it]) == nodes)
}

async fn places(world: &World) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for pod in world.pods("logs").await {
        places.push(pod["spec"]["nodeName"].as_str().unwrap_or("none").to_owned());
    }
    places.sort();
    places
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_that_takes_it_runs_one() {
    let world = World::start().await;
    node(&world, "second", json!({}), json!([])).await;
    node(&world, "tainted", json!({}), json!([{"key": "only", "effect": "NoSchedule"}])).await;
    daemons(&world, json!({})).await;
    world.until(LOGS, "settled", |it| settled(it, 2)).await;
    assert_eq!(places(&world).await, ["island", "second"]);
    let pod = &world.pods("logs").await[0];
    let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
    let forever = |it: &Value| {
        it["key"] == "node.kubernetes.io/unreachable"
            && it["effect"] == "NoExecute"
            && it.get("tolerationSeconds").is_none()
    };
    assert!(tolerations.iter().any(forever), "{pod:#}");
    node(&world, "third", json!({}), json!([])).await;
    world.until(LOGS, "settled", |it| settled(it, 3)).await;
    world.delete("/api/v1/nodes/third", "Background").await;
    world.until(LOGS, "settled", |it| number(&it["status"]["desiredNumberScheduled"]) == 2).await;
    world.merge(LOGS, json!({"spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}})).await;
    world.until(LOGS, "nowhere", |it| settled(it, 0)).await;
    world.merge("/api/v1/nodes/second", json!({"metadata": {"labels": {"disk": "ssd"}}})).await;
    world.until(LOGS, "somewhere", |it| settled(it, 1)).await;
    let second = |it: &Value| {
        let pods = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        pods.iter().filter(|it| it["spec"]["nodeName"] == "second").count() == 1
    };
    world.until(PODS, "on the second", second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_goes_node_by_node_and_keeps_history() {
    let world = World::start().await;
    node(&world, "second", json!({}), json!([])).await;
    daemons(&world, json!({})).await;
    world.until(LOGS, "settled", |it| settled(it, 2)).await;
    world.seen.mark();
    world.merge(LOGS, json!({"spec": {"template": template("logs", json!({"version": "2"}))}})).await;
    world.until(LOGS, "updated", |it| settled(it, 2)).await;
    assert!(world.pods("logs").await.iter().all(|it| annotation(it, "version") == "2"));
    let (most, least_ready) = world.seen.extremes();
    assert!(most <= 2 && least_ready >= 1, "{most} pods, {least_ready} ready");
    let revisions = world.list(REVISIONS).await;
    assert_eq!(revisions.len(), 2);
    let hash = &world.pods("logs").await[0]["metadata"]["labels"]["controller-revision-hash"];
    let newest = revisions.iter().max_by_key(|it| number(&it["revision"])).unwrap();
    assert_eq!(&newest["metadata"]["labels"]["controller-revision-hash"], hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_surging_update_never_leaves_a_node_without() {
    let world = World::start().await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    daemons(&world, json!({"updateStrategy": strategy})).await;
    world.until(LOGS, "settled", |it| settled(it, 1)).await;
    world.seen.mark();
    world.merge(LOGS, json!({"spec": {"template": template("logs", json!({"version": "2"}))}})).await;
    let updated = |it: &Value| {
        let pods = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        pods.len() == 1 && annotation(&pods[0], "version") == "2"
    };
    world.until(PODS, "updated", updated).await;
    world.until(LOGS, "settled", |it| settled(it, 1)).await;
    assert_eq!(world.seen.extremes(), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replication_controller_keeps_its_pods() {
    let world = World::start().await;
    let body = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "old"},
        "spec": {"replicas": 2, "selector": {"app": "old"}, "template": template("old", json!({}))}});
    world.create(CONTROLLERS, body).await;
    let path = format!("{CONTROLLERS}/old");
    let ready = |replicas: i64| {
        move |it: &Value| {
            ["replicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas"]
                .iter()
                .all(|field| number(&it["status"][field]) == replicas)
        }
    };
    world.until(&path, "two", ready(2)).await;
    // A pod that no longer matches is let go, and replaced.
    let pods = world.pods("old").await;
    let freed = format!("{PODS}/{}", pods[0]["metadata"]["name"].as_str().unwrap());
    world.merge(&freed, json!({"metadata": {"labels": {"app": "new"}}})).await;
    let alone = |it: &Value| it["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty);
    world.until(&freed, "released", alone).await;
    world.merge(&format!("{path}/scale"), json!({"spec": {"replicas": 1}})).await;
    world.until(&path, "one", ready(1)).await;
    assert_eq!(world.pods("old").await[0]["metadata"]["ownerReferences"][0]["kind"], "ReplicationController");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_and_lost_daemons_come_back_and_so_does_their_revision() {
    let world = World::start().await;
    daemons(&world, json!({})).await;
    world.until(LOGS, "settled", |it| settled(it, 1)).await;
    let only = world.pods("logs").await.remove(0);
    let path = format!("{PODS}/{}", only["metadata"]["name"].as_str().unwrap());
    world.merge(&format!("{path}/status"), json!({"status": {"phase": "Failed"}})).await;
    world.until(&path, "removed", Value::is_null).await;
    world.until(LOGS, "settled", |it| settled(it, 1)).await;
    let again = world.pods("logs").await.remove(0);
    assert_ne!(again["metadata"]["uid"], only["metadata"]["uid"]);
    world.delete(&format!("{PODS}/{}", again["metadata"]["name"].as_str().unwrap()), "Background").await;
    let another = |it: &Value| {
        let pods = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        pods.len() == 1 && pods[0]["metadata"]["uid"] != again["metadata"]["uid"]
    };
    world.until(PODS, "another", another).await;
    let revision = world.list(REVISIONS).await.remove(0);
    world.delete(&format!("{REVISIONS}/{}", revision["metadata"]["name"].as_str().unwrap()), "Background").await;
    let made_anew = |it: &Value| {
        let all = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.len() == 1 && all[0]["metadata"]["uid"] != revision["metadata"]["uid"]
    };
    world.until(REVISIONS, "made anew", made_anew).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replication_controller_adopts_what_it_selects() {
    let world = World::start().await;
    let mut pod = template("old", json!({}));
    pod["metadata"]["name"] = "stray".into();
    world.create(PODS, pod).await;
    let body = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "old"},
        "spec": {"replicas": 1, "selector": {"app": "old"}, "template": template("old", json!({}))}});
    world.create(CONTROLLERS, body).await;
    // It is taken in, unless the one made in its place was older by then.
    let taken = |it: &Value| it.is_null() || it["metadata"]["ownerReferences"][0]["name"] == "old";
    world.until(&format!("{PODS}/stray"), "taken in", taken).await;
    world.until(&format!("{CONTROLLERS}/old"), "one", |it| number(&it["status"]["readyReplicas"]) == 1).await;
    let one = |it: &Value| it["items"].as_array().is_some_and(|it| it.len() == 1);
    world.until(PODS, "one pod", one).await;
}
