//! sig-api-machinery: Watchers.

use serde_json::{Value, json};

use crate::server::{Events, MAPS, Server, version};

const URI: &str = "/api/v1/namespaces/default/configmaps/m";

async fn mutate(server: &Server, name: &str, at: &str) -> Value {
    let changed = server.merge(&format!("{MAPS}/{name}"), json!({"data": {"mutation": at}})).await;
    assert_eq!(changed.code, 200, "{}", changed.body);
    changed.body
}

async fn labelled(server: &Server, name: &str, label: &str) -> Value {
    server.map(name, json!({"watch-this-configmap": label})).await
}

fn selector(labels: &str) -> String {
    format!("{MAPS}?watch=1&timeoutSeconds=60&labelSelector=watch-this-configmap%20in%20({labels})")
}

#[tokio::test]
async fn watchers_see_what_matches_their_labels() {
    let server = Server::start().await;
    let mut a = server.watch(&selector("a")).await;
    let mut b = server.watch(&selector("b")).await;
    let mut either = server.watch(&selector("a,b")).await;
    labelled(&server, "map-a", "a").await;
    mutate(&server, "map-a", "1").await;
    mutate(&server, "map-a", "2").await;
    server.delete(&format!("{MAPS}/map-a"), Value::Null).await;
    labelled(&server, "map-b", "b").await;
    server.delete(&format!("{MAPS}/map-b"), Value::Null).await;
    for events in [&mut a, &mut either] {
        for want in ["ADDED map-a", "MODIFIED map-a", "MODIFIED map-a", "DELETED map-a"] {
            assert_eq!(events.brief().await, want);
        }
    }
    for events in [&mut b, &mut either] {
        assert_eq!([events.brief().await, events.brief().await], ["ADDED map-b", "DELETED map-b"]);
    }
}

#[tokio::test]
async fn a_watch_begins_after_the_version_it_names() {
    let server = Server::start().await;
    labelled(&server, "m", "from").await;
    let first = mutate(&server, "m", "1").await;
    mutate(&server, "m", "2").await;
    server.delete(&format!("{MAPS}/m"), Value::Null).await;
    let mut events = server.watch(&format!("{}&resourceVersion={}", selector("from"), version(&first))).await;
    let second = events.next().await.unwrap();
    assert_eq!((&second["type"], &second["object"]["data"]["mutation"]), (&"MODIFIED".into(), &"2".into()));
    assert_eq!(events.brief().await, "DELETED m");
}

#[tokio::test]
async fn a_watch_that_ended_is_resumed_where_it_was() {
    let server = Server::start().await;
    let mut events = server.watch(&selector("again")).await;
    labelled(&server, "m", "again").await;
    mutate(&server, "m", "1").await;
    assert_eq!(events.brief().await, "ADDED m");
    let last = events.next().await.unwrap();
    drop(events);
    mutate(&server, "m", "2").await;
    server.delete(&format!("{MAPS}/m"), Value::Null).await;
    let mut events = server.watch(&format!("{}&resourceVersion={}", selector("again"), version(&last["object"]))).await;
    assert_eq!(events.next().await.unwrap()["object"]["data"]["mutation"], "2");
    assert_eq!(events.brief().await, "DELETED m");
}

#[tokio::test]
async fn an_object_that_stops_matching_is_deleted_to_its_watcher() {
    let server = Server::start().await;
    let mut events = server.watch(&selector("mine")).await;
    labelled(&server, "m", "mine").await;
    mutate(&server, "m", "1").await;
    let label = |value: &str| {
        let patch = json!({"metadata": {"labels": {"watch-this-configmap": value}}});
        server.merge(URI, patch)
    };
    label("wrong").await;
    mutate(&server, "m", "2").await;
    label("mine").await;
    mutate(&server, "m", "3").await;
    server.delete(URI, Value::Null).await;
    for want in ["ADDED m", "MODIFIED m", "DELETED m", "ADDED m", "MODIFIED m", "DELETED m"] {
        assert_eq!(events.brief().await, want);
    }
}

#[tokio::test]
async fn concurrent_watches_see_one_order() {
    let server = Server::start().await;
    let start = server.map("start", json!({})).await;
    let watch = |from: &str| format!("{MAPS}?watch=1&timeoutSeconds=60&resourceVersion={from}");
    let mut first = server.watch(&watch(&version(&start))).await;
    let writes = async {
        for at in 0..60 {
            let name = format!("m{}", at % 5);
            let uri = format!("{MAPS}/{name}");
            match server.get(&uri).await.code {
                404 => drop(server.map(&name, json!({})).await),
                _ if at % 7 == 0 => drop(server.delete(&uri, Value::Null).await),
                _ => drop(mutate(&server, &name, &at.to_string()).await),
            }
        }
    };
    writes.await;
    let mut order = Vec::new();
    for _ in 0..60 {
        order.push(version(&first.next().await.unwrap()["object"]));
    }
    for at in [0, 7, 31, 58] {
        let mut later: Events = server.watch(&watch(&order[at])).await;
        for want in &order[at + 1..] {
            assert_eq!(version(&later.next().await.unwrap()["object"]), *want);
        }
    }
}
