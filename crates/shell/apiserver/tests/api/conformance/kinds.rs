//! sig-api-machinery: definitions of custom kinds, and what follows from them.

use http::{Method, Request, header};
use serde_json::{Value, json};

use eyot_apiserver::Body;

use super::lifecycle::expect;
use crate::server::{Server, names, read, version};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A kind of the cluster whose objects may have any field beside those named.
fn definition(plural: &str, properties: Value) -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": properties});
    let names = json!({"plural": plural, "singular": format!("one{plural}"), "kind": format!("Kind{plural}"),
        "listKind": format!("Kind{plural}List")});
    json!({
        "metadata": {"name": format!("{plural}.e2e.example.com"), "labels": {"e2e": "yes"}},
        "spec": {"group": "e2e.example.com", "scope": "Cluster", "names": names, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
    })
}

#[tokio::test]
async fn definitions_are_watched_from_create_to_delete() {
    let server = Server::start().await;
    tokio::spawn(server.api.clone().chores());
    let list = server.get(DEFINITIONS).await.body;
    let mut events = server.watch(&format!("{DEFINITIONS}?watch=1&resourceVersion={}", version(&list))).await;
    expect(server.post(DEFINITIONS, definition("seen", json!({}))).await, 201);
    let uri = format!("{DEFINITIONS}/seen.e2e.example.com");
    expect(server.merge(&uri, json!({"metadata": {"labels": {"changed": "yes"}}})).await, 200);
    expect(server.delete(&uri, Value::Null).await, 200);
    let name = "seen.e2e.example.com";
    assert_eq!(events.brief().await, format!("ADDED {name}"));
    let mut last = String::new();
    while last != format!("DELETED {name}") {
        last = events.brief().await;
        assert!(last == format!("MODIFIED {name}") || last == format!("DELETED {name}"), "{last}");
    }
}

#[tokio::test]
async fn definitions_are_listed_and_deleted_by_label() {
    let server = Server::start().await;
    tokio::spawn(server.api.clone().chores());
    for at in 0..10 {
        expect(server.post(DEFINITIONS, definition(&format!("many{at}"), json!({}))).await, 201);
    }
    let mut other = definition("other", json!({}));
    other["metadata"]["labels"] = json!({});
    expect(server.post(DEFINITIONS, other).await, 201);
    let labelled = format!("{DEFINITIONS}?labelSelector=e2e%3Dyes");
    assert_eq!(names(&server.get(&labelled).await.body).len(), 10);
    expect(server.delete(&labelled, Value::Null).await, 200);
    for _ in 0..200 {
        if names(&server.get(&labelled).await.body).is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(names(&server.get(DEFINITIONS).await.body), ["other.e2e.example.com"]);
}

#[tokio::test]
async fn a_definition_has_a_status_of_its_own() {
    let server = Server::start().await;
    expect(server.post(DEFINITIONS, definition("states", json!({}))).await, 201);
    let uri = format!("{DEFINITIONS}/states.e2e.example.com/status");
    let mut object = expect(server.get(&uri).await, 200);
    let condition = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from a test"});
    object["status"]["conditions"].as_array_mut().unwrap().push(condition);
    let updated = expect(server.put(&uri, object).await, 200);
    let has =
        |object: &Value, of: &str| object["status"]["conditions"].as_array().unwrap().iter().any(|it| it["type"] == of);
    assert!(has(&updated, "StatusUpdate"), "{updated}");
    let mut conditions = updated["status"]["conditions"].clone();
    let condition = json!({"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Set from a test"});
    conditions.as_array_mut().unwrap().push(condition);
    let patched = expect(server.merge(&uri, json!({"status": {"conditions": conditions}})).await, 200);
    assert!(has(&patched, "StatusPatch") && has(&expect(server.get(&uri).await, 200), "StatusUpdate"));
}

#[tokio::test]
async fn discovery_names_definitions_and_what_they_define() {
    let server = Server::start().await;
    let group = "apiextensions.k8s.io";
    let groups = expect(server.get("/apis").await, 200);
    assert!(groups["groups"].as_array().unwrap().iter().any(|it| it["name"] == group));
    let versions = expect(server.get(&format!("/apis/{group}")).await, 200);
    assert_eq!(versions["preferredVersion"]["version"], "v1");
    let resources = expect(server.get(&format!("/apis/{group}/v1")).await, 200);
    let resources = resources["resources"].as_array().unwrap();
    assert!(resources.iter().any(|it| it["name"] == "customresourcedefinitions"));

    expect(server.post(DEFINITIONS, definition("found", json!({}))).await, 201);
    for version in ["v2", "v2beta1"] {
        let accept = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let request = Request::get("/apis").header(header::ACCEPT, accept).body(Body::empty()).unwrap();
        let document = read(server.send(request).await).await.body;
        let groups = document["items"].as_array().unwrap();
        let ours = groups.iter().find(|it| it["metadata"]["name"] == "e2e.example.com").expect("its group is there");
        let resource = &ours["versions"][0]["resources"][0];
        assert_eq!((&resource["resource"], &resource["scope"]), (&"found".into(), &"Cluster".into()));
        assert_eq!(resource["responseKind"]["kind"], "Kindfound");
    }
}

#[tokio::test]
async fn defaults_come_with_requests_and_from_storage() {
    let server = Server::start().await;
    let field = |default: Value| {
        let mut schema = json!({"type": "string"});
        if !default.is_null() {
            schema["default"] = default;
        }
        schema
    };
    let properties = |a: Value, b: Value| json!({"a": field(a), "b": field(b)});
    let object = definition("defaults", properties(Value::Null, Value::Null));
    expect(server.post(DEFINITIONS, object).await, 201);
    let uri = format!("{DEFINITIONS}/defaults.e2e.example.com");
    let collection = "/apis/e2e.example.com/v1/defaults";
    expect(server.post(collection, json!({"metadata": {"name": "one"}})).await, 201);
    let change = async |a: Value, b: Value| {
        let mut object = expect(server.get(&uri).await, 200);
        object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = properties(a, b);
        expect(server.put(&uri, object).await, 200);
    };
    change("A".into(), Value::Null).await;
    assert_eq!(expect(server.get(&format!("{collection}/one")).await, 200)["a"], "A");
    assert_eq!(expect(server.post(collection, json!({"metadata": {"name": "two"}})).await, 201)["a"], "A");
    change(Value::Null, "B".into()).await;
    let two = expect(server.get(&format!("{collection}/two")).await, 200);
    assert_eq!((&two["a"], &two["b"]), (&"A".into(), &"B".into()), "what was stored stays");
    assert_eq!(expect(server.get(&format!("{collection}/one")).await, 200)["a"], Value::Null);
}

/// A definition of a kind in a group, with these versions, the first of which is stored.
fn published(group: &str, plural: &str, versions: &[(&str, bool)]) -> Value {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "description": "Specification of Foo", "properties": {"bars": {"type": "array", "items": {"type": "string"}}}}}});
    let version = |(at, (name, served)): (usize, &(&str, bool))| json!({"name": name, "served": served, "storage": at == 0, "schema": {"openAPIV3Schema": schema}});
    let versions: Vec<Value> = versions.iter().enumerate().map(version).collect();
    json!({
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "versions": versions,
            "names": {"plural": plural, "singular": format!("one{plural}"), "kind": format!("Kind{plural}")}},
    })
}

/// What the schema says of a kind's `spec`, in both of its versions; `None` when neither knows the kind.
async fn schema_of(server: &Server, group: &str, version: &str, plural: &str) -> Option<String> {
    let of_kind = json!({"group": group, "version": version, "kind": format!("Kind{plural}")});
    let find = |schemas: &Value| {
        let is = |it: &&Value| {
            it["x-kubernetes-group-version-kind"].as_array().is_some_and(|marks| marks.contains(&of_kind))
        };
        let found = schemas.as_object()?.values().find(is)?;
        found["properties"]["spec"]["description"].as_str().map(str::to_owned)
    };
    let two = server.get("/openapi/v2").await.body;
    let three = server.get(&format!("/openapi/v3/apis/{group}/{version}")).await.body;
    let found = (find(&two["definitions"]), find(&three["components"]["schemas"]));
    assert_eq!(found.0, found.1, "both versions of the schema say the same");
    found.0
}

#[tokio::test]
async fn published_schemas_follow_their_definitions() {
    let server = Server::start().await;
    let (one, two) = ("one.e2e.example.com", "two.e2e.example.com");
    let said = Some("Specification of Foo".to_owned());
    for object in [
        published(one, "foos", &[("v1", true), ("v2", true)]),
        published(one, "bars", &[("v1", true)]),
        published(two, "foos", &[("v1", true)]),
    ] {
        expect(server.post(DEFINITIONS, object).await, 201);
    }
    for (group, version, plural) in [(one, "v1", "foos"), (one, "v2", "foos"), (one, "v1", "bars"), (two, "v1", "foos")]
    {
        assert_eq!(schema_of(&server, group, version, plural).await, said, "{group}/{version} {plural}");
    }
    let change = async |versions: &[(&str, bool)]| {
        let uri = format!("{DEFINITIONS}/foos.{one}");
        let mut object = expect(server.get(&uri).await, 200);
        object["spec"]["versions"] = published(one, "foos", versions)["spec"]["versions"].clone();
        expect(server.put(&uri, object).await, 200);
    };
    change(&[("v1", true), ("v2", false)]).await;
    assert_eq!(schema_of(&server, one, "v2", "foos").await, None, "a version that is no longer served");
    assert_eq!(schema_of(&server, one, "v1", "foos").await, said);
    change(&[("v1", true), ("v4", true)]).await;
    assert_eq!(schema_of(&server, one, "v4", "foos").await, said, "a version of another name");
    assert_eq!(schema_of(&server, one, "v2", "foos").await, None);
}

/// Applies YAML to an object of a kind with this schema, as strictly as can be, and gives what is answered.
async fn applied(schema: Value, yaml: &str) -> (u16, String) {
    let server = Server::start().await;
    let mut object = published("apply.e2e.example.com", "noxus", &[("v1", true)]);
    object["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema;
    expect(server.post(DEFINITIONS, object).await, 201);
    let place = "/apis/apply.e2e.example.com/v1/namespaces/default/noxus/mytest";
    let uri = format!("{place}?fieldManager=field_validation_mgr&fieldValidation=Strict");
    let answer = server.call(Method::PATCH, &uri, "application/apply-patch+yaml", yaml.to_owned()).await;
    (answer.code, answer.body["message"].as_str().unwrap_or_default().to_owned())
}

fn noxu(metadata: &str, rest: &str) -> String {
    format!(
        "\napiVersion: apply.e2e.example.com/v1\nkind: Kindnoxus\nmetadata:\n  name: mytest\n{metadata}  finalizers:\n  \
         - e2e.example.com/test\n{rest}"
    )
}

/// `spec` with the field `foo`, and whatever else is given.
fn schema(spec: Value) -> Value {
    let mut schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"foo": {"type": "string"}}}}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        schema["properties"]["spec"][key] = value.clone();
    }
    schema
}

#[tokio::test]
async fn strictly_applied_objects_have_only_declared_fields() {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let (code, message) = applied(open, &noxu("", "spec:\n  unknown: uk1\n")).await;
    assert_eq!(code, 201, "a kind without a schema takes anything: {message}");
    let (code, message) = applied(schema(json!({})), &noxu("", "spec:\n  foo: foo1\n")).await;
    assert_eq!(code, 201, "{message}");
    let (_, message) = applied(schema(json!({})), &noxu("", "unknownField: unknown\nspec:\n  foo: foo1\n")).await;
    assert!(message.contains(".unknownField: field not declared in schema"), "{message}");
}

#[tokio::test]
async fn strictly_applied_metadata_is_known_in_embedded_objects_too() {
    let template = json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}}, "spec": {"type": "object"}}});
    let spec = json!({"x-kubernetes-preserve-unknown-fields": true,
        "properties": {"foo": {"type": "string"}, "template": template}});
    let rest = "spec:\n  template:\n    apiVersion: foo/v1\n    kind: Sub\n    metadata:\n      unknownSubMeta: unknown\n      \
                name: subobject\n  foo: foo1\n";
    let (_, message) = applied(schema(spec), &noxu("  unknownMeta: unknown\n", rest)).await;
    let told = [".spec.template.metadata.unknownSubMeta", ".metadata.unknownMeta"];
    assert!(told.iter().any(|it| message.contains(&format!("{it}: field not declared in schema"))), "{message}");
}

#[tokio::test]
async fn strictly_applied_keys_come_once_even_where_anything_goes() {
    let spec = json!({"x-kubernetes-preserve-unknown-fields": true});
    let (_, message) = applied(schema(spec), &noxu("", "spec:\n  unknown: uk1\n  foo: foo1\n  foo: foo2\n")).await;
    assert!(message.contains("line 11: key \"foo\" already set in map"), "{message}");
}
