//! Admission webhooks, with a server of hooks beside the API server, over HTTPS.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::{
    custom::{DEFINITIONS, WIDGETS, definition},
    hooks::Hooks,
    server::{MAPS, PODS, Server, names, pod},
    webhooks::{MUTATING, VALIDATING, allow, configure, patch, with},
};

fn refuse(why: &str) -> Value {
    json!({"allowed": false, "status": {"code": 403, "message": why}})
}

/// Adds a key to the data of a ConfigMap or custom object that has another one.
fn stage(request: &Value, has: &str, adds: &str) -> Value {
    match request["object"]["data"][has].is_string() {
        true => patch(json!([{"op": "add", "path": format!("/data/{adds}"), "value": "yes"}])),
        false => allow("", request),
    }
}

/// A server of hooks that go by their paths.
async fn hooks() -> Hooks {
    Hooks::start(|path, request| match path {
        "/stage1" => stage(request, "mutation-start", "mutation-stage-1"),
        "/stage2" => stage(request, "mutation-stage-1", "mutation-stage-2"),
        "/deny" => refuse("the hook denies it"),
        "/judge" => judge(request),
        "/slow" => {
            std::thread::sleep(Duration::from_millis(1500));
            allow(path, request)
        }
        "/init" => {
            let container = json!({"name": "added", "image": "localhost:5000/hello:1"});
            patch(json!([{"op": "add", "path": "/spec/initContainers", "value": [container]}]))
        }
        _ => allow(path, request),
    })
    .await
}

/// Refuses what says that it is to be refused, and its deletion.
fn judge(request: &Value) -> Value {
    let says = |object: &Value, what: &str| object["data"]["webhook-e2e-test"] == what;
    let (new, old) = (&request["object"], &request["oldObject"]);
    let containers = new["spec"]["containers"].as_array();
    if request["operation"] == "DELETE" {
        return if says(old, "webhook-nondeletable") {
            refuse("it cannot be deleted")
        } else {
            json!({"allowed": true})
        };
    }
    if new["metadata"]["name"] == "wait-forever" {
        std::thread::sleep(Duration::from_millis(1500));
    }
    if containers.is_some_and(|it| it.iter().any(|it| it["name"] == "webhook-disallow")) {
        return refuse("the pod contains unwanted container name");
    }
    if says(new, "webhook-disallow") { refuse("it contains unwanted key and value") } else { json!({"allowed": true}) }
}

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

async fn staged(server: &Server, name: &str) -> Vec<String> {
    let made = server.post(MAPS, map(name, json!({"mutation-start": "yes"}))).await;
    assert_eq!(made.code, 201, "{}", made.body);
    made.body["data"].as_object().unwrap().keys().cloned().collect()
}

async fn refused(server: &Server, uri: &str, object: Value, why: &str) {
    let answer = server.post(uri, object).await;
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(answer.code >= 400 && message.contains(why), "{uri}: {}: {}", answer.code, answer.body);
}

#[tokio::test]
async fn listed_hooks_work_until_their_collection_is_deleted() {
    let server = Server::start().await;
    let hooks = hooks().await;
    for (uri, path) in [(MUTATING, "/stage1"), (VALIDATING, "/deny")] {
        for at in 0..10 {
            let object = json!({"metadata": {"name": format!("hook-{at}"), "labels": {"of": "test"}},
                "webhooks": [hooks.hook(path, &["configmaps"])]});
            assert_eq!(server.post(uri, object).await.code, 201);
        }
        let selected = format!("{uri}?labelSelector=of%3Dtest");
        assert_eq!(names(&server.get(&selected).await.body).len(), 10);
        let made = server.post(MAPS, map("before", json!({"mutation-start": "yes"}))).await;
        match uri {
            MUTATING => assert_eq!(made.body["data"]["mutation-stage-1"], "yes"),
            _ => assert_eq!(made.code, 403, "{}", made.body),
        }
        assert_eq!(server.delete(&selected, Value::Null).await.code, 200);
        assert!(names(&server.get(&selected).await.body).is_empty());
        server.delete(&format!("{MAPS}/before"), Value::Null).await;
        assert_eq!(staged(&server, "before").await, ["mutation-start"]);
        server.delete(&format!("{MAPS}/before"), Value::Null).await;
    }
}

#[tokio::test]
async fn updated_and_patched_hooks_heed_their_new_rules() {
    let server = Server::start().await;
    let hooks = hooks().await;
    let rules = |operation: &str| json!([{"operations": [operation], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    for (uri, path) in [(MUTATING, "/stage1"), (VALIDATING, "/deny")] {
        let hook = with(hooks.hook(path, &[]), json!({"rules": rules("CREATE")}));
        configure(&server, uri, "h", &[hook]).await;
        let mut stored = server.get(&format!("{uri}/h")).await.body;
        stored["webhooks"][0]["rules"] = rules("UPDATE");
        assert_eq!(server.put(&format!("{uri}/h"), stored).await.code, 200);
        assert_eq!(staged(&server, "a").await, ["mutation-start"]);
        server.delete(&format!("{MAPS}/a"), Value::Null).await;
        let back = json!([{"op": "replace", "path": "/webhooks/0/rules", "value": rules("CREATE")}]);
        let patched =
            server.call(Method::PATCH, &format!("{uri}/h"), "application/json-patch+json", back.to_string()).await;
        assert_eq!(patched.code, 200, "{}", patched.body);
        let made = server.post(MAPS, map("a", json!({"mutation-start": "yes"}))).await;
        match uri {
            MUTATING => assert_eq!(made.body["data"]["mutation-stage-1"], "yes"),
            _ => assert_eq!(made.code, 403, "{}", made.body),
        }
        server.delete(&format!("{MAPS}/a"), Value::Null).await;
        server.delete(&format!("{uri}/h"), Value::Null).await;
    }
}

#[tokio::test]
async fn attaching_to_a_pod_is_denied() {
    let server = Server::start().await;
    let hooks = hooks().await;
    let rules =
        json!([{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/attach"]}]);
    configure(&server, VALIDATING, "v", &[with(hooks.hook("/deny", &[]), json!({"rules": rules}))]).await;
    let mut pod = pod("to-be-attached");
    pod["spec"]["nodeName"] = "somewhere".into();
    assert_eq!(server.post(PODS, pod).await.code, 201);
    let denied = server.get(&format!("{PODS}/to-be-attached/attach?stdin=true")).await;
    assert!(denied.body["message"].as_str().unwrap().contains("the hook denies it"), "{}", denied.body);
    let asked = hooks.asked();
    assert_eq!((&asked[0]["operation"], &asked[0]["object"]["kind"]), (&json!("CONNECT"), &json!("PodAttachOptions")));
    // What nobody denied goes on, and finds that there is no such node.
    let other = server.get(&format!("{PODS}/to-be-attached/exec?command=x")).await;
    assert!(!other.body["message"].as_str().unwrap().contains("the hook denies it"), "{}", other.body);
}

/// Definition of a kind with data that is kept as it is.
fn widgets(schema: Value) -> Value {
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}});
    definition("widgets", "Widget", json!([version("v1", true), version("v2", false)]))
}

fn loose() -> Value {
    json!({"type": "object", "properties": {"data": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
}

#[tokio::test]
async fn custom_objects_are_denied_creation_update_and_deletion() {
    let server = Server::start().await;
    let hooks = hooks().await;
    assert_eq!(server.post(DEFINITIONS, widgets(loose())).await.code, 201);
    configure(&server, VALIDATING, "v", &[hooks.hook("/judge", &["widgets"])]).await;
    let bad = json!({"webhook-e2e-test": "webhook-disallow"});
    refused(&server, WIDGETS, map("bad", bad.clone()), "it contains unwanted key and value").await;
    let held = json!({"webhook-e2e-test": "webhook-nondeletable"});
    assert_eq!(server.post(WIDGETS, map("held", held)).await.code, 201);
    let uri = format!("{WIDGETS}/held");
    assert_eq!(server.merge(&uri, json!({"data": bad})).await.code, 403);
    let denied = server.delete(&uri, Value::Null).await;
    assert!(denied.body["message"].as_str().unwrap().contains("it cannot be deleted"), "{}", denied.body);
    assert_eq!(server.merge(&uri, json!({"data": {"webhook-e2e-test": null}})).await.code, 200);
    assert_eq!(server.delete(&uri, Value::Null).await.code, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_and_config_maps_are_denied_unless_their_namespace_is_spared() {
    let server = Server::start().await;
    let hooks = hooks().await;
    let spared = json!({"matchExpressions": [{"key": "skip-webhook", "operator": "NotIn", "values": ["yes"]}]});
    let hook =
        with(hooks.hook("/judge", &["pods", "configmaps"]), json!({"namespaceSelector": spared, "timeoutSeconds": 1}));
    configure(&server, VALIDATING, "v", &[hook]).await;
    let mut unwanted = pod("unwanted");
    unwanted["spec"]["containers"][0]["name"] = "webhook-disallow".into();
    refused(&server, PODS, unwanted, "the pod contains unwanted container name").await;
    refused(&server, PODS, pod("wait-forever"), "context deadline exceeded").await;
    let bad = json!({"webhook-e2e-test": "webhook-disallow"});
    refused(&server, MAPS, map("bad", bad.clone()), "it contains unwanted key and value").await;
    let good = server.post(MAPS, map("good", json!({"admit": "this"}))).await;
    assert_eq!(good.code, 201, "{}", good.body);
    let uri = format!("{MAPS}/good");
    let mut changed = good.body.clone();
    changed["data"] = bad.clone();
    for denied in [server.put(&uri, changed).await, server.merge(&uri, json!({"data": bad})).await] {
        assert!(denied.body["message"].as_str().unwrap().contains("unwanted key and value"), "{}", denied.body);
    }
    let exempt = json!({"metadata": {"name": "exempt", "labels": {"skip-webhook": "yes"}}});
    assert_eq!(server.post("/api/v1/namespaces", exempt).await.code, 201);
    let there = server.post("/api/v1/namespaces/exempt/configmaps", map("bad", bad)).await;
    assert_eq!(there.code, 201, "{}", there.body);
}

#[tokio::test]
async fn definitions_are_denied_too() {
    let server = Server::start().await;
    let hooks = hooks().await;
    configure(&server, VALIDATING, "v", &[hooks.hook("/deny", &["customresourcedefinitions"])]).await;
    refused(&server, DEFINITIONS, widgets(loose()), "the hook denies it").await;
    server.delete(&format!("{VALIDATING}/v"), Value::Null).await;
    assert_eq!(server.post(DEFINITIONS, widgets(loose())).await.code, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_is_heeded_as_the_failure_policy_says() {
    let server = Server::start().await;
    let hooks = hooks().await;
    for (at, (changes, taken)) in [
        (json!({"timeoutSeconds": 1, "failurePolicy": "Fail"}), false),
        (json!({"timeoutSeconds": 1, "failurePolicy": "Ignore"}), true),
        (json!({"timeoutSeconds": 10, "failurePolicy": "Fail"}), true),
        // The default is ten seconds.
        (json!({"failurePolicy": "Fail"}), true),
    ]
    .into_iter()
    .enumerate()
    {
        configure(&server, VALIDATING, "v", &[with(hooks.hook("/slow", &["configmaps"]), changes.clone())]).await;
        let made = server.post(MAPS, map(&format!("m{at}"), json!({}))).await;
        assert_eq!(made.code == 201, taken, "{changes}: {}", made.body);
        if !taken {
            let message = made.body["message"].as_str().unwrap();
            assert!(message.contains("/slow?timeout=1s") && message.contains("deadline"), "{message}");
        }
        server.delete(&format!("{VALIDATING}/v"), Value::Null).await;
    }
}

#[tokio::test]
async fn mutations_come_in_order_and_spare_what_their_conditions_spare() {
    let server = Server::start().await;
    let hooks = hooks().await;
    let (first, second) = (hooks.hook("/stage1", &["configmaps"]), hooks.hook("/stage2", &["configmaps"]));
    configure(&server, MUTATING, "m", &[first.clone(), second]).await;
    assert_eq!(staged(&server, "both").await, ["mutation-stage-1", "mutation-stage-2", "mutation-start"]);
    server.delete(&format!("{MUTATING}/m"), Value::Null).await;
    let conditions = json!([{"name": "exclude", "expression": "object.metadata.name != 'skip-me'"}]);
    configure(&server, MUTATING, "m", &[with(first, json!({"matchConditions": conditions}))]).await;
    assert_eq!(staged(&server, "skip-me").await, ["mutation-start"]);
    assert_eq!(staged(&server, "mutate-me").await, ["mutation-stage-1", "mutation-start"]);
}

#[tokio::test]
async fn custom_objects_are_mutated_pruned_and_stored_in_another_version() {
    let server = Server::start().await;
    let hooks = hooks().await;
    assert_eq!(server.post(DEFINITIONS, widgets(loose())).await.code, 201);
    let both = [hooks.hook("/stage1", &["widgets"]), hooks.hook("/stage2", &["widgets"])];
    configure(&server, MUTATING, "m", &both).await;
    let start = json!({"mutation-start": "yes"});
    let made = server.post(WIDGETS, map("a", start.clone())).await;
    let all = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"});
    assert_eq!((made.code, &made.body["data"]), (201, &all), "{}", made.body);

    // Stored in the other version from now on, and still mutated.
    let storage = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    let uri = format!("{DEFINITIONS}/widgets.x.io");
    let patched = server.call(Method::PATCH, &uri, "application/json-patch+json", storage.to_string()).await;
    assert_eq!(patched.code, 200, "{}", patched.body);
    let changed =
        server.merge(&format!("{WIDGETS}/a"), json!({"data": {"extra": "yes", "mutation-stage-2": null}})).await;
    assert_eq!((changed.code, &changed.body["data"]["extra"]), (200, &json!("yes")), "{}", changed.body);
    assert_eq!(changed.body["data"]["mutation-stage-2"], "yes");

    let properties = json!({"mutation-start": {"type": "string"}, "mutation-stage-1": {"type": "string"}});
    let strict = json!({"type": "object", "properties": {"data": {"type": "object", "properties": properties}}});
    let strict = json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": {"openAPIV3Schema": strict}},
        {"op": "replace", "path": "/spec/versions/1/schema", "value": {"openAPIV3Schema": strict}}]);
    let patched = server.call(Method::PATCH, &uri, "application/json-patch+json", strict.to_string()).await;
    assert_eq!(patched.code, 200, "{}", patched.body);
    let made = server.post(WIDGETS, map("b", start)).await;
    assert_eq!(made.body["data"], json!({"mutation-start": "yes", "mutation-stage-1": "yes"}), "{}", made.body);
}

#[tokio::test]
async fn what_a_hook_adds_to_a_pod_gets_its_defaults() {
    let server = Server::start().await;
    let hooks = hooks().await;
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    configure(&server, MUTATING, "m", &[with(hooks.hook("/init", &[]), json!({"rules": rules}))]).await;
    let made = server.post(PODS, pod("p")).await;
    let added = &made.body["spec"]["initContainers"][0];
    assert_eq!(
        (&added["name"], &added["terminationMessagePolicy"]),
        (&json!("added"), &json!("File")),
        "{}",
        made.body
    );
}

#[tokio::test]
async fn configurations_of_hooks_never_go_through_hooks() {
    let server = Server::start().await;
    let hooks = hooks().await;
    let resources = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"];
    configure(&server, MUTATING, "m", &[hooks.hook("/init", &resources)]).await;
    configure(&server, VALIDATING, "v", &[hooks.hook("/deny", &resources)]).await;
    for uri in [MUTATING, VALIDATING] {
        let made =
            server.post(uri, json!({"metadata": {"name": "other"}, "webhooks": [hooks.hook("/x", &["pods"])]})).await;
        assert_eq!((made.code, made.body["metadata"].get("labels")), (201, None), "{}", made.body);
        assert_eq!(server.delete(&format!("{uri}/other"), Value::Null).await.code, 200);
    }
    assert!(hooks.asked().is_empty());
}

#[tokio::test]
async fn broken_conditions_are_refused_and_hooks_that_cannot_be_asked_fail_closed() {
    let server = Server::start().await;
    let hooks = hooks().await;
    let conditions = json!([{"name": "bad", "expression": "... [}"}]);
    for uri in [MUTATING, VALIDATING] {
        let hook = with(hooks.hook("/x", &["pods"]), json!({"matchConditions": conditions}));
        refused(&server, uri, json!({"metadata": {"name": "h"}, "webhooks": [hook]}), "compilation failed").await;
    }
    let config = json!({"url": format!("https://localhost:{}/x", hooks.port)});
    configure(&server, VALIDATING, "v", &[with(hooks.hook("/x", &["configmaps"]), json!({"clientConfig": config}))])
        .await;
    refused(&server, MAPS, map("m", json!({})), "failed calling webhook").await;
}
