//! Kinds that CustomResourceDefinitions define.

use eyot_apiserver::{ApiServer, Config, attributes};
use eyot_store::{Options, Store};
use serde_json::{Value, json};

use crate::server::{Server, names};

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const WIDGETS: &str = "/apis/x.io/v1/namespaces/default/widgets";

/// A definition of `widgets.x.io` with one version.
pub(crate) fn widgets(version: Value) -> Value {
    let mut first = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {
            "size": {"type": "integer", "default": 1}, "color": {"type": "string"},
        }}, "status": {"type": "object", "properties": {"phase": {"type": "string"}}}},
    }}});
    for (key, value) in version.as_object().unwrap() {
        first[key] = value.clone();
    }
    definition("widgets", "Widget", json!([first]))
}

pub(crate) fn definition(plural: &str, kind: &str, versions: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.x.io")},
        "spec": {"group": "x.io", "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": versions},
    })
}

fn condition(definition: &Value, of_type: &str) -> String {
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == of_type);
    found.map_or("-".to_owned(), |it| format!("{} {}", it["status"].as_str().unwrap(), it["reason"].as_str().unwrap()))
}

async fn gone(server: &Server, uri: &str) {
    for _ in 0..200 {
        if server.get(uri).await.code == 404 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{uri} is still there");
}

#[tokio::test]
async fn a_defined_kind_is_served_at_once() {
    let server = Server::start().await;
    assert_eq!(server.get(WIDGETS).await.code, 404);
    let created = server.post(DEFINITIONS, widgets(json!({"subresources": {"status": {}}}))).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let stored = server.get(&format!("{DEFINITIONS}/widgets.x.io")).await.body;
    assert_eq!(condition(&stored, "Established"), "True InitialNamesAccepted");
    assert_eq!(stored["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(stored["status"]["storedVersions"], json!(["v1"]));

    let widget = json!({"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"color": "red"}, "status": {"phase": "X"}});
    let made = server.post(WIDGETS, widget).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["spec"], json!({"color": "red", "size": 1}));
    assert_eq!((&made.body["metadata"]["generation"], &made.body["status"]), (&json!(1), &Value::Null));
    let status =
        server.merge(&format!("{WIDGETS}/a/status"), json!({"status": {"phase": "Y"}, "spec": {"size": 7}})).await;
    assert_eq!((&status.body["status"]["phase"], &status.body["spec"]["size"]), (&json!("Y"), &json!(1)));
    assert_eq!(status.body["metadata"]["generation"], 1);
    let scaled = server.merge(&format!("{WIDGETS}/a"), json!({"spec": {"size": 2}})).await;
    assert_eq!(scaled.body["metadata"]["generation"], 2);

    let group = server.get("/apis/x.io/v1").await.body;
    assert_eq!(group["resources"][0]["name"], "widgets");
    let list = server.get(WIDGETS).await.body;
    assert_eq!((list["kind"].as_str(), names(&list)), (Some("WidgetList"), vec!["a"]));
}

#[tokio::test]
async fn kinds_are_served_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 };
    let store = Store::open(dir.path(), Options::new(attributes)).unwrap();
    let api = ApiServer::new(store.clone(), config.clone());
    let server = Server::over(api, store.clone()).await;
    server.post(DEFINITIONS, widgets(json!({}))).await;
    let again = ApiServer::new(store, config);
    assert!(again.kinds().by_kind("x.io", "v1", "Widget").is_some());
}

#[tokio::test]
async fn names_go_to_who_came_first_and_on_to_who_waits() {
    let server = Server::start().await;
    tokio::spawn(server.api.clone().chores());
    server.post(DEFINITIONS, widgets(json!({}))).await;
    let version =
        json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]);
    server.post(DEFINITIONS, definition("gadgets", "Widget", version)).await;
    let uri = format!("{DEFINITIONS}/gadgets.x.io");
    let second = server.get(&uri).await.body;
    assert_eq!(condition(&second, "NamesAccepted"), "False ListKindConflict");
    assert_eq!(server.get("/apis/x.io/v1/gadgets").await.code, 404);

    server.delete(&format!("{DEFINITIONS}/widgets.x.io"), Value::Null).await;
    gone(&server, &format!("{DEFINITIONS}/widgets.x.io")).await;
    while server.get("/apis/x.io/v1/gadgets").await.code != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(condition(&server.get(&uri).await.body, "Established"), "True InitialNamesAccepted");
}

#[tokio::test]
async fn a_deleted_definition_takes_its_objects_along() {
    let server = Server::start().await;
    tokio::spawn(server.api.clone().chores());
    server.post(DEFINITIONS, widgets(json!({}))).await;
    server.post(WIDGETS, json!({"metadata": {"name": "a"}})).await;
    server.post(WIDGETS, json!({"metadata": {"name": "held", "finalizers": ["x.io/hold"]}})).await;
    let uri = format!("{DEFINITIONS}/widgets.x.io");
    let deleted = server.delete(&uri, Value::Null).await;
    assert_eq!(condition(&deleted.body, "Terminating"), "True InstanceDeletionPending");
    gone(&server, &format!("{WIDGETS}/a")).await;
    assert_eq!(server.post(WIDGETS, json!({"metadata": {"name": "b"}})).await.code, 405);
    assert_eq!(server.get(&uri).await.code, 200);
    assert_eq!(server.get(&format!("{WIDGETS}/held")).await.code, 200);
    let freed = server.put(&format!("{WIDGETS}/held"), json!({"metadata": {"name": "held"}})).await;
    assert_eq!(freed.code, 200, "{}", freed.body);
    gone(&server, &uri).await;
    assert_eq!(server.get(WIDGETS).await.code, 404);
}
