//! Custom objects whose versions a webhook converts.

use http::Method;
use serde_json::{Value, json};

use crate::{
    custom::{DEFINITIONS, WIDGETS, definition},
    hooks::Hooks,
    server::{Server, names},
};

const BETA: &str = "/apis/x.io/v1beta1/namespaces/default/widgets";

/// What v1 calls `size`, v1beta1 calls `length`.
fn convert(_: &str, request: &Value) -> Value {
    let desired = request["desiredAPIVersion"].as_str().unwrap();
    let (from, to) = if desired.ends_with("v1") { ("length", "size") } else { ("size", "length") };
    let objects = request["objects"].as_array().unwrap().iter().map(|it| {
        let mut it = it.clone();
        it["apiVersion"] = desired.into();
        it["metadata"]["labels"]["seen"] = "yes".into();
        it["metadata"]["generation"] = 99.into();
        if let Some(value) = it["spec"].as_object_mut().and_then(|it| it.remove(from)) {
            it["spec"][to] = value;
        }
        it
    });
    match request["objects"][0]["spec"]["refuse"] == true {
        true => json!({"result": {"status": "Failure", "message": "not today"}}),
        false => json!({"result": {"status": "Success"}, "convertedObjects": objects.collect::<Vec<_>>()}),
    }
}

async fn start() -> (Server, Hooks) {
    let server = Server::start().await;
    let hooks = Hooks::start(convert).await;
    let version = |name: &str, storage: bool| {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
    };
    let mut object = definition("widgets", "Widget", json!([version("v1", true), version("v1beta1", false)]));
    object["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": hooks.client("/convert"), "conversionReviewVersions": ["v1"],
    }});
    let made = server.post(DEFINITIONS, object).await;
    assert_eq!(made.code, 201, "{}", made.body);
    (server, hooks)
}

#[tokio::test]
async fn each_version_is_shown_as_the_webhook_has_it() {
    let (server, hooks) = start().await;
    let made = server.post(BETA, json!({"metadata": {"name": "a"}, "spec": {"length": 3}})).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!((&made.body["spec"], &made.body["metadata"]["generation"]), (&json!({"length": 3}), &json!(1)));
    assert_eq!(made.body["metadata"]["labels"]["seen"], "yes");
    let asked = hooks.asked().len();
    let stored = server.get(&format!("{WIDGETS}/a")).await.body;
    assert_eq!(stored["spec"], json!({"size": 3}));
    assert_eq!(hooks.asked().len(), asked, "the stored version needs nobody");

    server.post(WIDGETS, json!({"metadata": {"name": "b"}, "spec": {"size": 4}})).await;
    let list = server.get(BETA).await.body;
    assert_eq!(names(&list), ["a", "b"]);
    assert_eq!(list["items"][1]["spec"], json!({"length": 4}));
    assert_eq!(hooks.asked().last().unwrap()["objects"].as_array().unwrap().len(), 2, "asked once for all");

    let changed = server.merge(&format!("{BETA}/a"), json!({"spec": {"length": 5}})).await;
    assert_eq!((changed.code, &changed.body["spec"]), (200, &json!({"length": 5})), "{}", changed.body);
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.body["spec"], json!({"size": 5}));
    assert_eq!(server.delete(&format!("{BETA}/a"), Value::Null).await.code, 200);
}

#[tokio::test]
async fn watches_see_converted_objects_in_order() {
    let (server, _hooks) = start().await;
    server.post(WIDGETS, json!({"metadata": {"name": "a"}, "spec": {"size": 1}})).await;
    let mut events = server.watch(&format!("{BETA}?watch=1")).await;
    server.post(WIDGETS, json!({"metadata": {"name": "b"}, "spec": {"size": 2}})).await;
    server.delete(&format!("{WIDGETS}/a"), Value::Null).await;
    for (of_type, name, length) in [("ADDED", "a", 1), ("ADDED", "b", 2), ("DELETED", "a", 1)] {
        let event = events.next().await.unwrap();
        assert_eq!((event["type"].as_str(), event["object"]["metadata"]["name"].as_str()), (Some(of_type), Some(name)));
        assert_eq!(event["object"]["spec"], json!({"length": length}));
    }
}

#[tokio::test]
async fn a_webhook_that_fails_fails_the_request() {
    let (server, _hooks) = start().await;
    let refused = server.post(BETA, json!({"metadata": {"name": "a"}, "spec": {"refuse": true}})).await;
    assert_eq!(refused.code, 500);
    assert!(refused.body["message"].as_str().unwrap().ends_with("failed: not today"), "{}", refused.body);
    let uri = format!("{DEFINITIONS}/widgets.x.io");
    let nowhere = json!([{"op": "replace", "path": "/spec/conversion/webhook/clientConfig/url", "value": "https://localhost:1/"}]);
    server.call(Method::PATCH, &uri, "application/json-patch+json", nowhere.to_string()).await;
    server.post(WIDGETS, json!({"metadata": {"name": "b"}, "spec": {"size": 4}})).await;
    assert_eq!(server.get(&format!("{BETA}/b")).await.code, 500);
    assert_eq!(server.get(&format!("{WIDGETS}/b")).await.code, 200);
}
