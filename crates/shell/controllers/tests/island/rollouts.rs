//! Rollouts that meet others, or are scaled in the middle.

use http::Method;
use serde_json::{Value, json};

use crate::world::{
    EVENTS, PODS, REPLICA_SETS, World, annotation, condition, number, rolled_out, template, until_count,
};

const CONTROLLERS: &str = "/api/v1/namespaces/default/replicationcontrollers";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

/// Waits until the ReplicaSets want so many pods, smallest first.
async fn sizes(world: &World, want: &[i64]) -> Value {
    let has = |it: &Value| {
        let sets = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut sizes: Vec<i64> = sets.iter().map(|it| number(&it["spec"]["replicas"])).collect();
        sizes.sort_unstable();
        sizes == want
    };
    world.until(REPLICA_SETS, &format!("{want:?}"), has).await
}

/// A ReplicaSet that nobody owns, with ready pods.
async fn lone_set(world: &World, name: &str, replicas: i64, template: Value) {
    let body = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}});
    world.create(REPLICA_SETS, body).await;
    let ready = |it: &Value| number(&it["status"]["availableReplicas"]) == replicas;
    world.until(&format!("{REPLICA_SETS}/{name}"), "available", ready).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_in_the_middle_of_a_rollout_is_shared_out_in_proportion() {
    let world = World::start().await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
    world.deployment("web", 10, json!({"strategy": strategy})).await;
    world.available("web", 10).await;
    world.merge(WEB, json!({"spec": {"template": template("web", json!({"eyot.io/fake": "stuck"}))}})).await;
    let sets = sizes(&world, &[5, 8]).await;
    let old = sets["items"].as_array().unwrap().iter().find(|it| number(&it["spec"]["replicas"]) == 8).unwrap();
    let old = format!("{REPLICA_SETS}/{}", old["metadata"]["name"].as_str().unwrap());
    world.until(&old, "eight available", |it| number(&it["status"]["availableReplicas"]) == 8).await;
    world.merge(WEB, json!({"spec": {"replicas": 30}})).await;
    sizes(&world, &[13, 20]).await;
    assert_eq!(number(&world.get(&old).await.unwrap()["spec"]["replicas"]), 20, "the larger part went to the larger");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_overtaken_by_the_next() {
    let world = World::start().await;
    lone_set(&world, "before", 1, template("web", json!({"version": "0"}))).await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    let stuck = template("web", json!({"eyot.io/fake": "stuck"}));
    world.deployment("web", 1, json!({"strategy": strategy, "minReadySeconds": 1, "template": stuck})).await;
    sizes(&world, &[1, 1]).await;
    assert_eq!(
        world.get(&format!("{REPLICA_SETS}/before")).await.unwrap()["metadata"]["ownerReferences"][0]["name"],
        "web"
    );
    let good = template("web", json!({"eyot.io/fake": null, "version": "2"}));
    world.merge(WEB, json!({"spec": {"template": good}})).await;
    world.available("web", 1).await;
    let sets = sizes(&world, &[0, 0, 1]).await;
    let live = sets["items"].as_array().unwrap().iter().find(|it| number(&it["spec"]["replicas"]) == 1).unwrap();
    assert_eq!(live["spec"]["template"]["metadata"]["annotations"]["version"], "2");
    let pods = until_count(&world, PODS, 1).await;
    assert_eq!(annotation(&pods[0], "version"), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_sets_beyond_the_history_limit_are_deleted() {
    let world = World::start().await;
    lone_set(&world, "before", 1, template("web", json!({"version": "0"}))).await;
    world.deployment("web", 1, json!({"revisionHistoryLimit": 0})).await;
    world.available("web", 1).await;
    let sets = until_count(&world, REPLICA_SETS, 1).await;
    assert_ne!(sets[0]["metadata"]["name"], "before");
    assert!(world.get(WEB).await.is_some_and(|it| rolled_out(&it, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_set_is_replaced_and_patched() {
    let world = World::start().await;
    lone_set(&world, "set", 1, template("web", json!({}))).await;
    let path = format!("{REPLICA_SETS}/set");
    let ready = |replicas: i64| move |it: &Value| number(&it["status"]["readyReplicas"]) == replicas;
    let mut set = world.get(&path).await.unwrap();
    set["spec"]["replicas"] = 2.into();
    set["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    world.request(Method::PUT, &path, set).await.unwrap();
    world.until(&path, "two", ready(2)).await;
    let containers = json!([{"name": "main", "image": "localhost:5000/other:1"}]);
    let patch = json!({"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 3,
        "template": {"spec": {"terminationGracePeriodSeconds": 0, "containers": containers}}}});
    world.merge(&path, patch).await;
    let set = world.until(&path, "three", ready(3)).await;
    assert_eq!(set["metadata"]["labels"]["patched"], "yes");
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "localhost:5000/other:1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_says_that_a_quota_holds_it_back_and_takes_it_back() {
    let world = World::start().await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
        "spec": {"hard": {"pods": "2"}}});
    world.create("/api/v1/namespaces/default/resourcequotas", quota).await;
    let body = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "many"},
        "spec": {"replicas": 3, "selector": {"app": "many"}, "template": template("many", json!({}))}});
    world.create(CONTROLLERS, body).await;
    let path = format!("{CONTROLLERS}/many");
    let held = world.until(&path, "held back", |it| condition(it, "ReplicaFailure")["status"] == "True").await;
    let message = condition(&held, "ReplicaFailure")["message"].as_str().unwrap();
    assert!(message.contains("exceeded quota: few"), "{message}");
    world.until(&path, "two", |it| number(&it["status"]["replicas"]) == 2).await;
    let told = |it: &Value| it["items"].as_array().is_some_and(|it| it.iter().any(|it| it["reason"] == "FailedCreate"));
    world.until(EVENTS, "told", told).await;
    world.merge(&path, json!({"spec": {"replicas": 2}})).await;
    world.until(&path, "content", |it| condition(it, "ReplicaFailure").is_null()).await;
}
