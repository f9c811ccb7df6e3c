use http::Method;
use serde_json::{Value, json};

use crate::world::{DEPLOYMENTS, PODS, REPLICA_SETS, World};

fn empty(list: &Value) -> bool {
    list["items"].as_array().is_some_and(Vec::is_empty)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn background_deletion_takes_the_tree() {
    let world = World::start().await;
    world.deployment("web", 20, json!({})).await;
    world.available("web", 20).await;
    world.delete(&format!("{DEPLOYMENTS}/web"), "Background").await;
    assert!(world.get(&format!("{DEPLOYMENTS}/web")).await.is_none(), "goes at once");
    world.until(REPLICA_SETS, "empty", empty).await;
    world.until(PODS, "empty", empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreground_deletion_takes_the_tree_first() {
    let world = World::start().await;
    world.deployment("web", 20, json!({})).await;
    world.available("web", 20).await;
    let path = format!("{DEPLOYMENTS}/web");
    world.delete(&path, "Foreground").await;
    world.until(&path, "gone", Value::is_null).await;
    assert!(empty(&world.get(REPLICA_SETS).await.unwrap()));
    assert!(empty(&world.get(PODS).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphaning_keeps_dependents_without_their_owner() {
    let world = World::start().await;
    world.deployment("web", 3, json!({})).await;
    world.available("web", 3).await;
    let path = format!("{DEPLOYMENTS}/web");
    world.delete(&path, "Orphan").await;
    world.until(&path, "gone", Value::is_null).await;
    let sets = world.list(REPLICA_SETS).await;
    assert_eq!(sets.len(), 1);
    assert!(sets[0]["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty));
    assert_eq!(world.pods("web").await.len(), 3);
    // A new Deployment of the same selector and template takes the set over.
    world.deployment("web", 3, json!({})).await;
    world.available("web", 3).await;
    assert_eq!(world.list(REPLICA_SETS).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_names_an_owner_that_never_was_is_collected() {
    let world = World::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "no-such-uid"}]);
    let metadata = json!({"name": "haunted", "ownerReferences": owner});
    world.create(maps, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})).await;
    world.until(&format!("{maps}/haunted"), "gone", Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_namespace_is_emptied_and_goes() {
    let world = World::start().await;
    let namespaces = "/api/v1/namespaces";
    world.create(namespaces, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})).await;
    world.until("/api/v1/namespaces/team/serviceaccounts/default", "made", |it| !it.is_null()).await;
    let ca = world.until("/api/v1/namespaces/team/configmaps/kube-root-ca.crt", "made", |it| !it.is_null()).await;
    assert_eq!(ca["data"]["ca.crt"], "CERTIFICATE");
    let map = "/api/v1/namespaces/team/configmaps/kube-root-ca.crt";
    world.merge(map, json!({"data": {"ca.crt": "FORGED", "more": "x"}})).await;
    world.until(map, "put right", |it| it["data"] == json!({"ca.crt": "CERTIFICATE"})).await;
    world.request(Method::DELETE, map, Value::Null).await.unwrap();
    world
        .until(map, "made again", |it| {
            it["metadata"]["uid"].is_string() && it["metadata"]["uid"] != ca["metadata"]["uid"]
        })
        .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": "i"}]}});
    world.create("/api/v1/namespaces/team/pods", pod).await;
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    world.create("/api/v1/namespaces/team/configmaps", held).await;
    world.request(Method::DELETE, "/api/v1/namespaces/team", Value::Null).await.unwrap();
    let waits = |it: &Value| {
        crate::world::condition(it, "NamespaceFinalizersRemaining")["message"]
            .as_str()
            .is_some_and(|it| it.contains("example.com/hold in 1 resource instances"))
    };
    world.until("/api/v1/namespaces/team", "waiting for the finalizer", waits).await;
    let held = "/api/v1/namespaces/team/configmaps/held";
    world.merge(held, json!({"metadata": {"finalizers": null}})).await;
    world.until("/api/v1/namespaces/team", "gone", Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_leave_a_deleted_namespace_before_everything_else() {
    let world = World::start().await;
    let team = "/api/v1/namespaces/team";
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    world.create("/api/v1/namespaces", namespace).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "held", "finalizers": ["example.com/hold"]},
        "spec": {"containers": [{"name": "main", "image": "i"}]}});
    world.create(&format!("{team}/pods"), pod).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "needed"}});
    world.create(&format!("{team}/configmaps"), map).await;
    world.request(Method::DELETE, team, Value::Null).await.unwrap();
    let told = |it: &Value| {
        let message = crate::world::condition(it, "NamespaceContentRemaining")["message"].as_str();
        message.is_some_and(|it| it.contains("pods"))
    };
    world.until(team, "pods remain", told).await;
    let needed = world.get(&format!("{team}/configmaps/needed")).await.expect("still there");
    assert!(needed["metadata"].get("deletionTimestamp").is_none(), "{needed:#}");
    let pod = world.get(&format!("{team}/pods/held")).await.expect("held");
    assert!(pod["metadata"].get("deletionTimestamp").is_some(), "{pod:#}");
    world.merge(&format!("{team}/pods/held"), json!({"metadata": {"finalizers": null}})).await;
    world.until(team, "gone", Value::is_null).await;
}
