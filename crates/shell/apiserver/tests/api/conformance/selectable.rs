//! Custom objects in several versions: stored in different ones, and selected by fields that only some of them have.

use http::Method;
use serde_json::{Value, json};

use crate::{
    custom::{DEFINITIONS, WIDGETS, definition},
    hooks::Hooks,
    server::{Server, names},
};

const NEWER: &str = "/apis/x.io/v2/namespaces/default/widgets";

/// `host` and `port` of v1 are `hostPort` of v2.
fn convert(_: &str, request: &Value) -> Value {
    let desired = request["desiredAPIVersion"].as_str().unwrap();
    let objects = request["objects"].as_array().unwrap().iter().map(|it| {
        let mut it = it.clone();
        if it["apiVersion"] != desired {
            let text = |field: &str| it[field].as_str().unwrap_or_default().to_owned();
            let (host, port, both) = (text("host"), text("port"), text("hostPort"));
            let map = it.as_object_mut().unwrap();
            ["host", "port", "hostPort"].iter().for_each(|field| drop(map.remove(*field)));
            if desired.ends_with("v2") {
                map.insert("hostPort".into(), format!("{host}:{port}").into());
            } else if let Some((host, port)) = both.split_once(':') {
                map.extend([("host".into(), host.into()), ("port".into(), port.into())]);
            }
            it["apiVersion"] = desired.into();
        }
        it
    });
    json!({"result": {"status": "Success"}, "convertedObjects": objects.collect::<Vec<_>>()})
}

async fn start() -> (Server, Hooks) {
    let server = Server::start().await;
    let hooks = Hooks::start(convert).await;
    let version = |name: &str, storage: bool, fields: &[&str]| {
        let properties: Value = fields.iter().map(|it| ((*it).to_owned(), json!({"type": "string"}))).collect();
        let selectable: Value = fields.iter().map(|it| json!({"jsonPath": format!(".{it}")})).collect();
        json!({"name": name, "served": true, "storage": storage, "selectableFields": selectable,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}})
    };
    let versions = json!([version("v1", true, &["host", "port"]), version("v2", false, &["hostPort"])]);
    let mut object = definition("widgets", "Widget", versions);
    object["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": hooks.client("/convert"), "conversionReviewVersions": ["v1"],
    }});
    let made = server.post(DEFINITIONS, object).await;
    assert_eq!(made.code, 201, "{}", made.body);
    (server, hooks)
}

async fn older(server: &Server, name: &str, host: &str, port: &str) {
    let made = server.post(WIDGETS, json!({"metadata": {"name": name}, "host": host, "port": port})).await;
    assert_eq!(made.code, 201, "{}", made.body);
}

#[tokio::test]
async fn a_list_holds_what_was_stored_in_different_versions() {
    let (server, _hooks) = start().await;
    older(&server, "a", "one", "80").await;
    let storage = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    let uri = format!("{DEFINITIONS}/widgets.x.io");
    let patched = server.call(Method::PATCH, &uri, "application/json-patch+json", storage.to_string()).await;
    assert_eq!(patched.code, 200, "{}", patched.body);
    let made = server.post(NEWER, json!({"metadata": {"name": "b"}, "hostPort": "two:81"})).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let newer = server.get(NEWER).await.body;
    assert_eq!(names(&newer), ["a", "b"]);
    let fields = |list: &Value, field: &str| -> Vec<Value> {
        list["items"].as_array().unwrap().iter().map(|it| it[field].clone()).collect()
    };
    assert_eq!(fields(&newer, "hostPort"), ["one:80", "two:81"]);
    assert!(newer["items"].as_array().unwrap().iter().all(|it| it["apiVersion"] == "x.io/v2"));
    let older = server.get(WIDGETS).await.body;
    assert_eq!(
        (fields(&older, "host"), fields(&older, "port")),
        (vec![json!("one"), json!("two")], vec![json!("80"), json!("81")])
    );
}

#[tokio::test]
async fn each_version_is_selected_and_watched_by_its_own_fields() {
    let (server, _hooks) = start().await;
    let mut by_host = server.watch(&format!("{WIDGETS}?watch=1&fieldSelector=host%3Done")).await;
    let mut by_both = server.watch(&format!("{NEWER}?watch=1&fieldSelector=hostPort%3Done:80")).await;
    older(&server, "a", "one", "80").await;
    older(&server, "b", "one", "8080").await;
    older(&server, "c", "two", "80").await;
    let list = async |uri: &str, selector: &str| {
        let list = server.get(&format!("{uri}?fieldSelector={selector}")).await.body;
        names(&list).join(" ")
    };
    assert_eq!(list(WIDGETS, "host%3Done").await, "a b");
    assert_eq!(list(WIDGETS, "host%3Done,port%3D80").await, "a");
    assert_eq!(list(WIDGETS, "port%3D80").await, "a c");
    assert_eq!(list(NEWER, "hostPort%3Done:80").await, "a");
    assert_eq!(server.get(&format!("{NEWER}?fieldSelector=host%3Done")).await.code, 400, "it has no such field");

    let deleted = server.delete(&format!("{NEWER}?fieldSelector=hostPort%3Done:80"), Value::Null).await;
    assert_eq!(deleted.code, 200, "{}", deleted.body);
    assert_eq!(list(WIDGETS, "").await, "b c");
    for want in ["ADDED a", "ADDED b", "DELETED a"] {
        assert_eq!(by_host.brief().await, want);
    }
    for want in ["ADDED a", "DELETED a"] {
        assert_eq!(by_both.brief().await, want);
    }
    // Moving out of what is selected is a deletion to whoever watches.
    server.merge(&format!("{WIDGETS}/b"), json!({"host": "three"})).await;
    assert_eq!(by_host.brief().await, "DELETED b");
}
