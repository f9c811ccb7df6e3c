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
    while condition(&server.get(&uri).await.body, "Established") != "True InitialNamesAccepted" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(server.get("/apis/x.io/v1/gadgets").await.code, 200, "what is established is served");
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
    gone(&server, WIDGETS).await;
}

fn schema(properties: Value) -> Value {
    json!({"openAPIV3Schema": {"type": "object", "properties": properties}})
}

#[tokio::test]
async fn what_a_schema_forbids_is_refused() {
    let server = Server::start().await;
    let mut bad = widgets(json!({}));
    bad["spec"]["versions"][0]["schema"] = json!({"openAPIV3Schema": {"type": "object", "properties": {"a": {}}}});
    let refused = server.post(DEFINITIONS, bad).await;
    assert_eq!(refused.code, 422);
    let causes = &refused.body["details"]["causes"];
    assert_eq!(causes[0]["field"], "spec.versions[0].schema.openAPIV3Schema.properties[a].type");

    server.post(DEFINITIONS, widgets(json!({}))).await;
    let wrong = server.post(WIDGETS, json!({"metadata": {"name": "a"}, "spec": {"size": "big"}})).await;
    assert_eq!(wrong.code, 422);
    assert_eq!(
        wrong.body["message"],
        r#"Widget.x.io "a" is invalid: spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#
    );
    let odd = json!({"metadata": {"name": "a"}, "spec": {"shape": "round"}});
    let strict = server.post(&format!("{WIDGETS}?fieldValidation=Strict"), odd.clone()).await;
    assert_eq!(strict.code, 400);
    assert!(strict.body["message"].as_str().unwrap().contains(r#"strict decoding error: unknown field "spec.shape""#));
    let warned = server.post(WIDGETS, odd).await;
    assert_eq!(warned.warnings, [r#"299 - "unknown field \"spec.shape\"""#]);
    assert_eq!(warned.body["spec"], json!({"size": 1}));
    let name = server.post(WIDGETS, json!({"metadata": {"name": "Not_A_Name"}})).await;
    assert_eq!(name.code, 422);
    let strategic = "application/strategic-merge-patch+json";
    assert_eq!(server.call(http::Method::PATCH, &format!("{WIDGETS}/a"), strategic, "{}").await.code, 415);
}

#[tokio::test]
async fn stored_objects_follow_their_definition() {
    let server = Server::start().await;
    server.post(DEFINITIONS, widgets(json!({}))).await;
    server.post(WIDGETS, json!({"metadata": {"name": "a"}, "spec": {"color": "red"}})).await;
    let uri = format!("{DEFINITIONS}/widgets.x.io");
    let spec = json!({"spec": {"type": "object", "properties": {"shape": {"type": "string", "default": "round"}}}});
    let patch = json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": schema(spec)}]);
    let patched = server.call(http::Method::PATCH, &uri, "application/json-patch+json", patch.to_string()).await;
    assert_eq!(patched.code, 200, "{}", patched.body);
    let read = server.get(&format!("{WIDGETS}/a")).await.body;
    assert_eq!(read["spec"], json!({"shape": "round"}));
    assert_eq!(server.get(WIDGETS).await.body["items"][0]["spec"], json!({"shape": "round"}));
}

#[tokio::test]
async fn versions_are_views_of_one_object() {
    let server = Server::start().await;
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema(json!({"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}))});
    let mut old = version("v1beta1", false);
    old["deprecated"] = true.into();
    server.post(DEFINITIONS, definition("widgets", "Widget", json!([old, version("v1", true)]))).await;
    let beta = "/apis/x.io/v1beta1/namespaces/default/widgets";
    let made = server.post(beta, json!({"metadata": {"name": "a"}, "spec": {"n": 1}})).await;
    assert_eq!((made.code, made.body["apiVersion"].as_str()), (201, Some("x.io/v1beta1")));
    assert_eq!(made.warnings, [r#"299 - "x.io/v1beta1 Widget is deprecated""#]);
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.body["apiVersion"], "x.io/v1");
    let group = server.get("/apis/x.io").await.body;
    assert_eq!(group["preferredVersion"]["version"], "v1");

    // Stored in another version from now on: what is there is still found, and both versions are remembered.
    let uri = format!("{DEFINITIONS}/widgets.x.io");
    let patch = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": true},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": false},
    ]);
    let patched = server.call(http::Method::PATCH, &uri, "application/json-patch+json", patch.to_string()).await;
    assert_eq!(patched.body["status"]["storedVersions"], json!(["v1", "v1beta1"]));
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.body["apiVersion"], "x.io/v1");
    assert_eq!(server.get(&format!("{beta}/a")).await.body["spec"], json!({"n": 1}));
}

#[tokio::test]
async fn columns_scale_and_selectable_fields_come_from_the_definition() {
    let server = Server::start().await;
    let version = json!({
        "subresources": {"status": {}, "scale": {
            "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector",
        }},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
        ],
        "selectableFields": [{"jsonPath": ".spec.color"}],
    });
    let made = server.post(DEFINITIONS, widgets(version)).await;
    assert_eq!(made.code, 201, "{}", made.body);
    server.post(WIDGETS, json!({"metadata": {"name": "a"}, "spec": {"color": "red"}})).await;
    server.post(WIDGETS, json!({"metadata": {"name": "b"}, "spec": {"color": "blue"}})).await;
    let selected = server.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue")).await.body;
    assert_eq!(names(&selected), ["b"]);
    assert_eq!(server.get(&format!("{WIDGETS}?fieldSelector=spec.size%3D1")).await.code, 400);

    let table = server.accept(WIDGETS, "application/json;as=Table;v=v1;g=meta.k8s.io").await.body;
    assert_eq!(table["columnDefinitions"][2]["priority"], 1);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 1, "red"]));

    let scaled = server.merge(&format!("{WIDGETS}/a/scale"), json!({"spec": {"replicas": 5}})).await;
    assert_eq!((scaled.code, &scaled.body["spec"]["replicas"]), (200, &json!(5)), "{}", scaled.body);
    let whole = server.get(&format!("{WIDGETS}/a")).await.body;
    assert_eq!((&whole["spec"], &whole["metadata"]["generation"]), (&json!({"color": "red", "size": 5}), &json!(2)));
    server.merge(&format!("{WIDGETS}/a/status"), json!({"status": {"phase": "x"}})).await;
    let scale = server.get(&format!("{WIDGETS}/a/scale")).await.body;
    assert_eq!(scale["status"], json!({"replicas": 0}));
}

#[tokio::test]
async fn a_definition_of_a_built_in_kind_changes_nothing() {
    let server = Server::start().await;
    let object = json!({
        "metadata": {"name": "httproutes.gateway.networking.k8s.io", "annotations": {"api-approved.kubernetes.io": "https://x.io"}},
        "spec": {
            "group": "gateway.networking.k8s.io", "scope": "Namespaced", "names": {"plural": "httproutes", "kind": "HTTPRoute"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema(json!({}))}],
        },
    });
    let made = server.post(DEFINITIONS, object).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert!(made.warnings[0].contains("is built in here"), "{:?}", made.warnings);
    let stored = server.get(&format!("{DEFINITIONS}/httproutes.gateway.networking.k8s.io")).await.body;
    assert_eq!(condition(&stored, "Established"), "True InitialNamesAccepted");
    let kinds = server.api.kinds();
    assert!(kinds.by_kind("gateway.networking.k8s.io", "v1", "HTTPRoute").unwrap().custom.is_none());
}

#[tokio::test]
async fn rules_judge_objects_and_must_compile() {
    let server = Server::start().await;
    let with = |rules: Value| {
        let mut object = widgets(json!({}));
        object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
            rules;
        object
    };
    let refused = server.post(DEFINITIONS, with(json!([{"rule": "self.nothing > 1"}]))).await;
    assert_eq!(refused.code, 422);
    let cause = &refused.body["details"]["causes"][0];
    let field = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule";
    assert_eq!(cause["field"], field);
    assert!(cause["message"].as_str().unwrap().contains("undefined field 'nothing'"), "{cause}");

    let rules = json!([{"rule": "self.size < 10", "message": "too big"}, {"rule": "self.size >= oldSelf.size"}]);
    assert_eq!(server.post(DEFINITIONS, with(rules)).await.code, 201);
    let big = server.post(WIDGETS, json!({"metadata": {"name": "a"}, "spec": {"size": 11}})).await;
    assert_eq!(big.body["message"], r#"Widget.x.io "a" is invalid: spec: Invalid value: "object": too big"#);
    assert_eq!(server.post(WIDGETS, json!({"metadata": {"name": "a"}, "spec": {"size": 5}})).await.code, 201);
    assert_eq!(server.merge(&format!("{WIDGETS}/a"), json!({"spec": {"size": 6}})).await.code, 200);
    assert_eq!(server.merge(&format!("{WIDGETS}/a"), json!({"spec": {"size": 5}})).await.code, 422);
}

#[tokio::test]
async fn schemas_of_custom_kinds_are_published() {
    let server = Server::start().await;
    server.post(DEFINITIONS, widgets(json!({"subresources": {"status": {}}}))).await;
    let v3 = server.get("/openapi/v3/apis/x.io/v1").await.body;
    let widget = &v3["components"]["schemas"]["io.x.v1.Widget"];
    assert_eq!(widget["properties"]["spec"]["properties"]["size"]["default"], 1);
    assert_eq!(widget["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
    assert!(v3["components"]["schemas"]["io.x.v1.WidgetList"].is_object());
    assert!(v3["paths"]["/apis/x.io/v1/namespaces/{namespace}/widgets/{name}/status"].is_object());
    let v2 = server.get("/openapi/v2").await.body;
    assert_eq!(v2["definitions"]["io.x.v1.Widget"]["properties"]["spec"]["properties"]["size"]["type"], "integer");
    let index = server.get("/openapi/v3").await.body;
    assert!(index["paths"]["apis/x.io/v1"]["serverRelativeURL"].is_string());
}

#[tokio::test]
async fn metadata_is_checked_at_the_root_and_where_objects_are_embedded() {
    let server = Server::start().await;
    let template =
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({"schema": schema(json!({"template": template}))});
    assert_eq!(server.post(DEFINITIONS, widgets(version)).await.code, 201);
    let object = json!({
        "metadata": {"name": "a", "odd": 1},
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "strange": 2}, "any": {"thing": 1}},
    });
    let strict = server.post(&format!("{WIDGETS}?fieldValidation=Strict"), object.clone()).await;
    let message = strict.body["message"].as_str().unwrap();
    assert!(message.contains(r#"unknown field "metadata.odd""#), "{message}");
    assert!(message.contains(r#"unknown field "template.metadata.strange""#), "{message}");
    let made = server.post(WIDGETS, object).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["template"]["metadata"], json!({"name": "p"}));
    assert_eq!(made.body["template"]["any"], json!({"thing": 1}));
    let nameless = json!({"metadata": {"name": "b"}, "template": {"metadata": {}}});
    assert_eq!(server.post(WIDGETS, nameless).await.body["details"]["causes"][0]["field"], "template.apiVersion");
}

#[tokio::test]
async fn versions_in_the_store_cannot_be_forgotten() {
    let server = Server::start().await;
    server.post(DEFINITIONS, widgets(json!({}))).await;
    let uri = format!("{DEFINITIONS}/widgets.x.io/status");
    let refused = server.merge(&uri, json!({"status": {"storedVersions": ["v0"]}})).await;
    assert_eq!(
        (refused.code, &refused.body["details"]["causes"][0]["field"]),
        (422, &json!("status.storedVersions[0]"))
    );
}
