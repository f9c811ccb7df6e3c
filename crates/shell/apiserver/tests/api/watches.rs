//! Watches: from a version, through selectors, with bookmarks, to their end.

use eyot_apiserver::attributes;
use eyot_store::Options;
use serde_json::{Value, json};

use crate::server::{MAPS, Server, version};

#[tokio::test]
async fn a_watch_goes_on_from_a_version() {
    let server = Server::start().await;
    let a = server.map("a", json!({})).await;
    server.map("b", json!({})).await;
    let mut events = server.watch(&format!("{MAPS}?watch=1&resourceVersion={}", version(&a))).await;
    assert_eq!(events.brief().await, "ADDED b");
    server.merge(&format!("{MAPS}/a"), json!({"data": {"k": "v"}})).await;
    assert_eq!(events.brief().await, "MODIFIED a");
    server.delete(&format!("{MAPS}/a"), Value::Null).await;
    let gone = events.next().await.unwrap();
    assert_eq!((&gone["type"], &gone["object"]["data"]["k"]), (&"DELETED".into(), &"v".into()));
    assert_eq!(version(&gone["object"]), server.store.revision().to_string());
}

#[tokio::test]
async fn without_a_version_it_begins_with_what_is_there() {
    let server = Server::start().await;
    server.map("a", json!({})).await;
    let mut events = server.watch(&format!("{MAPS}?watch=true&timeoutSeconds=1")).await;
    assert_eq!(events.brief().await, "ADDED a");
    assert_eq!(events.brief().await, "END");
    let mut one = server.watch("/api/v1/watch/namespaces/default/configmaps/a?timeoutSeconds=1").await;
    assert_eq!(one.brief().await, "ADDED a");
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let server = Server::start().await;
    server.map("a", json!({})).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = server.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(events.brief().await, "ADDED a");
    let bookmark = events.next().await.unwrap();
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&"BOOKMARK".into(), &"ConfigMap".into()));
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    server.map("b", json!({})).await;
    assert_eq!(events.brief().await, "ADDED b");
    assert_eq!(server.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await.code, 422);
    // Without initial events, a watch begins with what changes from now on.
    let query = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&timeoutSeconds=5";
    let mut events = server.watch(&format!("{MAPS}?{query}")).await;
    server.map("c", json!({})).await;
    assert_eq!(events.brief().await, "ADDED c");
}

#[tokio::test]
async fn entering_and_leaving_a_selection_is_added_and_deleted() {
    let server = Server::start().await;
    let a = server.map("a", json!({"app": "y"})).await;
    let watch = format!("{MAPS}?watch=1&labelSelector=app%3Dx&resourceVersion={}", version(&a));
    let mut events = server.watch(&watch).await;
    let uri = format!("{MAPS}/a");
    let label = |app: &str| server.merge(&uri, json!({"metadata": {"labels": {"app": app}}}));
    label("x").await;
    assert_eq!(events.brief().await, "ADDED a");
    server.merge(&uri, json!({"data": {"k": "v"}})).await;
    assert_eq!(events.brief().await, "MODIFIED a");
    let left = label("z").await.body;
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]["labels"]["app"]), (&"DELETED".into(), &"x".into()));
    assert_eq!(version(&event["object"]), version(&left));
    server.map("b", json!({"app": "x"})).await;
    assert_eq!(events.brief().await, "ADDED b");
}

#[tokio::test]
async fn a_version_too_old_is_expired_inside_the_stream() {
    let server = Server::start_with(Options { history_events_max: 4, ..Options::new(attributes) }).await;
    for it in 0..10 {
        server.map(&format!("m{it}"), json!({})).await;
    }
    let mut events = server.watch(&format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &410.into()));
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_last_bookmark_tells_an_idle_watcher_how_far_it_is() {
    let server = Server::start().await;
    let a = server.map("a", json!({})).await;
    let watch = format!("{MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={}", version(&a));
    let mut events = server.watch(&watch).await;
    server.post("/api/v1/namespaces", json!({"metadata": {"name": "elsewhere"}})).await;
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(version(&bookmark["object"]), server.store.revision().to_string());
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn replaying_a_watch_gives_the_list() {
    let server = Server::start().await;
    let mut events = server.watch(&format!("{MAPS}?watch=1&timeoutSeconds=2")).await;
    for it in 0..50 {
        let name = format!("m{}", it % 7);
        match it % 3 {
            0 => drop(server.post(MAPS, json!({"metadata": {"name": name}})).await),
            1 => drop(server.merge(&format!("{MAPS}/{name}"), json!({"data": {"n": it.to_string()}})).await),
            _ => drop(server.delete(&format!("{MAPS}/{name}"), Value::Null).await),
        }
    }
    let mut state = std::collections::BTreeMap::new();
    while let Some(event) = events.next().await {
        let name = event["object"]["metadata"]["name"].as_str().unwrap().to_owned();
        match event["type"].as_str().unwrap() {
            "DELETED" => assert!(state.remove(&name).is_some()),
            _ => drop(state.insert(name, event["object"].clone())),
        }
    }
    let list = server.get(MAPS).await.body;
    let replayed: Vec<Value> = state.into_values().collect();
    assert_eq!(list["items"].as_array().unwrap(), &replayed);
}
