//! ControllerRevisions of a DaemonSet, and its ways back.

use http::Method;
use serde_json::{Value, json};

use crate::{
    daemons::{LOGS, REVISIONS, daemons, node, settled},
    world::{PODS, World, annotation, condition, number, path_of, template, until_count},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_are_labelled_made_deleted_and_numbered_on() {
    let world = World::start().await;
    daemons(&world, json!({})).await;
    world.until(LOGS, "settled", |it| settled(it, 1)).await;
    let ours = format!("{REVISIONS}?labelSelector=app%3Dlogs");
    let first = until_count(&world, &ours, 1).await.remove(0);
    let path = path_of(REVISIONS, &first);
    world.merge(&path, json!({"metadata": {"labels": {"mark": "patched"}}})).await;
    let first = world.get(&path).await.unwrap();
    assert_eq!(first["metadata"]["labels"]["mark"], "patched");

    let mut second = first.clone();
    second["metadata"] = json!({"name": "logs-by-hand", "labels": {"app": "logs", "mark": "patched",
        "controller-revision-hash": first["metadata"]["labels"]["controller-revision-hash"]},
        "ownerReferences": first["metadata"]["ownerReferences"]});
    second["revision"] = (number(&first["revision"]) + 1).into();
    world.create(REVISIONS, second).await;
    until_count(&world, &ours, 2).await;
    world.delete(&path, "Background").await;
    let left = until_count(&world, &ours, 1).await.remove(0);
    assert_eq!(left["metadata"]["name"], "logs-by-hand");
    let mut updated = left.clone();
    updated["metadata"]["labels"]["mark"] = "updated".into();
    let updated = world.request(Method::PUT, &path_of(REVISIONS, &left), updated).await.unwrap();
    assert_eq!(updated["metadata"]["labels"]["mark"], "updated");

    let quick = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}});
    world.merge(LOGS, quick).await;
    until_count(&world, &ours, 2).await;
    world.until(LOGS, "settled", |it| settled(it, 1)).await;
    let marked = format!("{REVISIONS}?labelSelector=mark%3Dupdated");
    world.request(Method::DELETE, &marked, Value::Null).await.unwrap();
    let last = until_count(&world, &ours, 1).await.remove(0);
    assert_eq!(number(&last["revision"]), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_restarts_only_what_had_moved_on() {
    let world = World::start().await;
    node(&world, "second", json!({}), json!([])).await;
    daemons(&world, json!({})).await;
    world.until(LOGS, "settled", |it| settled(it, 2)).await;
    world.merge(LOGS, json!({"spec": {"template": template("logs", json!({"eyot.io/fake": "stuck"}))}})).await;
    let stuck = |it: &Value| {
        let pods = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        pods.len() == 2 && pods.iter().filter(|it| annotation(it, "eyot.io/fake") == "stuck").count() == 1
    };
    let halfway = world.until(PODS, "one of two is stuck", stuck).await;
    let halfway = halfway["items"].as_array().unwrap();
    let kept = halfway.iter().find(|it| annotation(it, "eyot.io/fake").is_empty()).unwrap();
    world.merge(LOGS, json!({"spec": {"template": template("logs", json!({"eyot.io/fake": null}))}})).await;
    world.until(LOGS, "settled", |it| settled(it, 2)).await;
    let pods = until_count(&world, PODS, 2).await;
    assert!(pods.iter().all(|it| annotation(it, "eyot.io/fake").is_empty()));
    assert!(pods.iter().any(|it| it["metadata"]["uid"] == kept["metadata"]["uid"]), "it never stopped");
    assert_eq!(world.list(REVISIONS).await.len(), 2, "the way back is no third revision");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_into_a_daemon_sets_status_stays() {
    let world = World::start().await;
    daemons(&world, json!({})).await;
    world.until(LOGS, "settled", |it| settled(it, 1)).await;
    let path = format!("{LOGS}/status");
    let says =
        |reason: &str| json!([{"type": "StatusUpdate", "status": "True", "reason": reason, "message": "by a test"}]);
    let mut set = world.get(&path).await.unwrap();
    set["status"]["conditions"] = says("E2E");
    set["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    world.request(Method::PUT, &path, set).await.unwrap();
    world.until(LOGS, "updated", |it| condition(it, "StatusUpdate")["reason"] == "E2E").await;
    world.merge(&path, json!({"status": {"conditions": says("Patched")}})).await;
    world.until(LOGS, "patched", |it| condition(it, "StatusUpdate")["reason"] == "Patched").await;
    // The controller goes on counting beside it.
    node(&world, "second", json!({}), json!([])).await;
    let both = world.until(LOGS, "settled", |it| settled(it, 2)).await;
    assert_eq!(condition(&both, "StatusUpdate")["reason"], "Patched");
}
