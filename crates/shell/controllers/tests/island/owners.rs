//! What becomes of the pods of a ReplicationController whose deletion says so, and of owners in a circle.

use serde_json::{Value, json};

use crate::{
    daemons::CONTROLLERS,
    world::{PODS, World, number, path_of, template, until_count},
};

/// A controller with ready pods.
async fn controller(world: &World, name: &str, replicas: usize) -> Value {
    let body = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"app": name}, "template": template(name, json!({}))}});
    world.create(CONTROLLERS, body).await;
    let all = |it: &Value| number(&it["status"]["readyReplicas"]) == replicas as i64;
    world.until(&format!("{CONTROLLERS}/{name}"), "ready", all).await
}

fn reference(controller: &Value, kind: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "name": controller["metadata"]["name"],
        "uid": controller["metadata"]["uid"]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_go_after_their_controller_unless_they_are_orphaned() {
    let world = World::start().await;
    controller(&world, "gone", 2).await;
    let path = format!("{CONTROLLERS}/gone");
    world.delete(&path, "Background").await;
    assert!(world.get(&path).await.is_none(), "goes at once");
    until_count(&world, PODS, 0).await;

    controller(&world, "kept", 12).await;
    let path = format!("{CONTROLLERS}/kept");
    world.delete(&path, "Orphan").await;
    world.until(&path, "gone", Value::is_null).await;
    // Long enough for the collector to take what it might wrongly think of as its own.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let pods = world.pods("kept").await;
    assert_eq!(pods.len(), 12);
    assert!(pods.iter().all(|it| it["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_stays_until_the_last_pod_is_gone_if_asked_to() {
    let world = World::start().await;
    controller(&world, "patient", 6).await;
    let held = world.pods("patient").await.remove(0);
    let held = path_of(PODS, &held);
    world.merge(&held, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    let path = format!("{CONTROLLERS}/patient");
    world.delete(&path, "Foreground").await;
    until_count(&world, PODS, 1).await;
    let waits = world.get(&path).await.expect("still there");
    assert!(waits["metadata"]["finalizers"].as_array().unwrap().contains(&json!("foregroundDeletion")), "{waits:#}");
    world.merge(&held, json!({"metadata": {"finalizers": null}})).await;
    world.until(&path, "gone", Value::is_null).await;
    assert!(world.list(PODS).await.is_empty(), "the pods went first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_with_another_owner_outlives_one_that_waits_for_it() {
    let world = World::start().await;
    controller(&world, "first", 6).await;
    let second = controller(&world, "second", 0).await;
    let mut shared = Vec::new();
    for pod in &world.pods("first").await[..3] {
        let mut owners = pod["metadata"]["ownerReferences"].clone();
        owners.as_array_mut().unwrap().push(reference(&second, "ReplicationController"));
        world.merge(&path_of(PODS, pod), json!({"metadata": {"ownerReferences": owners}})).await;
        shared.push(pod["metadata"]["name"].as_str().unwrap().to_owned());
    }
    let path = format!("{CONTROLLERS}/first");
    world.delete(&path, "Foreground").await;
    world.until(&path, "gone", Value::is_null).await;
    let left = until_count(&world, PODS, 3).await;
    for pod in &left {
        assert!(shared.iter().any(|it| pod["metadata"]["name"] == it.as_str()), "{pod:#}");
        assert!(pod["metadata"].get("deletionTimestamp").is_none());
        assert_eq!(pod["metadata"]["ownerReferences"], json!([reference(&second, "ReplicationController")]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_in_a_circle_block_nobody() {
    let world = World::start().await;
    let mut pods = Vec::new();
    for name in ["one", "two", "three"] {
        let mut pod = template("circle", json!({}));
        pod["metadata"]["name"] = name.into();
        pods.push(world.create(PODS, pod).await);
    }
    for (at, pod) in pods.iter().enumerate() {
        let mut owner = reference(&pods[(at + 2) % 3], "Pod");
        owner["controller"] = true.into();
        owner["blockOwnerDeletion"] = true.into();
        world.merge(&path_of(PODS, pod), json!({"metadata": {"ownerReferences": [owner]}})).await;
    }
    world.delete(&format!("{PODS}/one"), "Foreground").await;
    until_count(&world, PODS, 0).await;
}
