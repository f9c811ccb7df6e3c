use serde_json::{Value, json};

use crate::world::{
    DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS, World, annotation, condition, number, rolled_out, template,
};

const REVISION: &str = "deployment.kubernetes.io/revision";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_becomes_available_and_tells_how() {
    let world = World::start().await;
    world.deployment("web", 3, json!({})).await;
    let deployment = world.available("web", 3).await;
    let path = format!("{DEPLOYMENTS}/web");
    let settled = |it: &Value| condition(it, "Progressing")["reason"] == "NewReplicaSetAvailable";
    let settled = world.until(&path, "progress told", settled).await;
    assert_eq!(condition(&settled, "Available")["reason"], "MinimumReplicasAvailable");
    assert_eq!(annotation(&deployment, REVISION), "1");
    let sets = world.list(REPLICA_SETS).await;
    assert_eq!(sets.len(), 1);
    let hash = sets[0]["metadata"]["labels"]["pod-template-hash"].as_str().unwrap();
    assert_eq!(sets[0]["metadata"]["name"], format!("web-{hash}"));
    assert_eq!(annotation(&sets[0], "deployment.kubernetes.io/desired-replicas"), "3");
    for pod in world.pods("web").await {
        assert_eq!(pod["metadata"]["ownerReferences"][0]["name"], sets[0]["metadata"]["name"]);
        assert_eq!(pod["metadata"]["labels"]["pod-template-hash"], hash);
        assert_eq!(pod["metadata"]["generateName"], format!("web-{hash}-"));
    }
    let events = |reason: &'static str| {
        move |it: &Value| it["items"].as_array().is_some_and(|it| it.iter().any(|it| it["reason"] == reason))
    };
    world.until(EVENTS, "scaling event", events("ScalingReplicaSet")).await;
    world.until(EVENTS, "creation event", events("SuccessfulCreate")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_keeps_its_bounds_on_the_watch() {
    let world = World::start().await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": "20%"}});
    world.deployment("web", 10, json!({"strategy": strategy})).await;
    world.available("web", 10).await;
    world.seen.mark();
    let path = format!("{DEPLOYMENTS}/web");
    world.merge(&path, json!({"spec": {"template": template("web", json!({"version": "2"}))}})).await;
    let deployment = world.available("web", 10).await;
    let (most, least_ready) = world.seen.extremes();
    assert!(most <= 12, "{most} pods at once");
    assert!(least_ready >= 8, "only {least_ready} ready");
    assert_eq!(annotation(&deployment, REVISION), "2");
    assert!(world.pods("web").await.iter().all(|it| annotation(it, "version") == "2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_update_stalls_within_bounds_and_undo_recovers() {
    let world = World::start().await;
    world.deployment("web", 4, json!({"progressDeadlineSeconds": 2})).await;
    world.available("web", 4).await;
    world.seen.mark();
    let path = format!("{DEPLOYMENTS}/web");
    world.merge(&path, json!({"spec": {"template": template("web", json!({"eyot.io/fake": "stuck"}))}})).await;
    let late = |it: &Value| condition(it, "Progressing")["reason"] == "ProgressDeadlineExceeded";
    let stalled = world.until(&path, "deadline exceeded", late).await;
    assert_eq!(condition(&stalled, "Available")["status"], "True");
    // What `kubectl rollout undo` does: the old template again; the patch removes the annotation.
    world.merge(&path, json!({"spec": {"template": template("web", json!({"eyot.io/fake": null}))}})).await;
    let deployment = world.available("web", 4).await;
    let (most, least_ready) = world.seen.extremes();
    assert!(most <= 5 && least_ready >= 3, "{most} pods, {least_ready} ready");
    assert_eq!(annotation(&deployment, REVISION), "3");
    let sets = world.list(REPLICA_SETS).await;
    let undone = sets.iter().find(|it| number(&it["spec"]["replicas"]) == 4).unwrap();
    assert_eq!(annotation(undone, REVISION), "3");
    assert_eq!(annotation(undone, "deployment.kubernetes.io/revision-history"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pausing_holds_a_rollout_but_not_scaling() {
    let world = World::start().await;
    world.deployment("web", 2, json!({})).await;
    world.available("web", 2).await;
    let path = format!("{DEPLOYMENTS}/web");
    world.merge(&path, json!({"spec": {"paused": true}})).await;
    let paused = |it: &Value| condition(it, "Progressing")["reason"] == "DeploymentPaused";
    world.until(&path, "paused", paused).await;
    let new = json!({"spec": {"replicas": 3, "template": template("web", json!({"version": "2"}))}});
    world.merge(&path, new).await;
    let scaled = |it: &Value| number(&it["status"]["availableReplicas"]) == 3;
    world.until(&path, "scaled", scaled).await;
    assert_eq!(world.list(REPLICA_SETS).await.len(), 1);
    world.merge(&path, json!({"spec": {"paused": false}})).await;
    world.available("web", 3).await;
    assert!(world.pods("web").await.iter().all(|it| annotation(it, "version") == "2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_never_mixes_revisions() {
    let world = World::start().await;
    world.deployment("web", 3, json!({"strategy": {"type": "Recreate"}})).await;
    world.available("web", 3).await;
    world.seen.mark();
    let path = format!("{DEPLOYMENTS}/web");
    world.merge(&path, json!({"spec": {"template": template("web", json!({"version": "2"}))}})).await;
    let done = |it: &Value| rolled_out(it, 3) && annotation(it, REVISION) == "2";
    world.until(&path, "recreated", done).await;
    assert_eq!(world.seen.extremes(), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scales_to_hundreds_and_back_without_one_too_many() {
    let world = World::start().await;
    world.deployment("web", 0, json!({})).await;
    let path = format!("{DEPLOYMENTS}/web");
    world.seen.mark();
    for replicas in [300, 20, 120, 0] {
        world.merge(&path, json!({"spec": {"replicas": replicas}})).await;
        world.available("web", replicas).await;
    }
    assert_eq!(world.seen.extremes().0, 300);
    world.until(PODS, "empty", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_sets_adopt_what_matches_and_let_go_of_what_does_not() {
    let world = World::start().await;
    world.deployment("web", 2, json!({})).await;
    world.available("web", 2).await;
    let sets = world.list(REPLICA_SETS).await;
    let labels = sets[0]["spec"]["selector"]["matchLabels"].clone();
    let pods = world.pods("web").await;
    let freed = format!("{PODS}/{}", pods[0]["metadata"]["name"].as_str().unwrap());
    world.merge(&freed, json!({"metadata": {"labels": {"app": "debug"}}})).await;
    let alone = |it: &Value| it["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty);
    world.until(&freed, "released", alone).await;
    world.available("web", 2).await;
    // One that matches makes three: it is adopted, and one of the three goes.
    let mut stray = template("web", json!({}));
    stray["metadata"]["name"] = "stray".into();
    stray["metadata"]["labels"] = labels;
    world.create(PODS, stray).await;
    let path = format!("{PODS}?labelSelector=app%3Dweb");
    let owned = |it: &Value| it["items"].as_array().is_some_and(|it| it.len() == 2 && it.iter().all(|it| !alone(it)));
    world.until(&path, "two owned pods", owned).await;
}
