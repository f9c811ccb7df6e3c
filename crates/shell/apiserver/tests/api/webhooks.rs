//! Webhooks, asked over real HTTPS.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use eyot_store::{Key, Write};
use serde_json::{Value, json};

use crate::{
    hooks::Hooks,
    server::{MAPS, PODS, Server, pod},
};

pub(crate) const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
pub(crate) const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

impl Hooks {
    pub(crate) fn hook(&self, path: &str, resources: &[&str]) -> Value {
        json!({
            "name": format!("{}.example.com", path.trim_matches('/')), "clientConfig": self.client(path),
            "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources}],
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        })
    }
}

pub(crate) fn allow(_: &str, _: &Value) -> Value {
    json!({"allowed": true})
}

pub(crate) fn patch(operations: Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

pub(crate) async fn configure(server: &Server, uri: &str, name: &str, hooks: &[Value]) {
    let made = server.post(uri, json!({"metadata": {"name": name}, "webhooks": hooks})).await;
    assert_eq!(made.code, 201, "{}", made.body);
}

pub(crate) fn with(mut hook: Value, changes: Value) -> Value {
    hook.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    hook
}

#[tokio::test]
async fn a_hook_refuses_in_its_own_words_and_may_warn() {
    let server = Server::start().await;
    let hooks = Hooks::start(|_, request| match request["name"].as_str() {
        Some("bad") => json!({"allowed": false, "status": {"code": 403, "message": "no bad maps"}}),
        _ => json!({"allowed": true, "warnings": ["careful"]}),
    });
    let hooks = hooks.await;
    configure(&server, VALIDATING, "v", &[hooks.hook("/judge", &["configmaps"])]).await;
    let refused = server.post(MAPS, json!({"metadata": {"name": "bad"}})).await;
    assert_eq!(refused.code, 403);
    assert_eq!(refused.body["message"], "admission webhook \"judge.example.com\" denied the request: no bad maps");
    let taken = server.post(MAPS, json!({"metadata": {"name": "good"}, "data": {"a": "b"}})).await;
    assert_eq!((taken.code, taken.warnings.len()), (201, 1), "{}", taken.body);
    assert!(taken.warnings[0].contains("careful"));
    server.merge(&format!("{MAPS}/good"), json!({"data": {"a": "c"}})).await;
    server.delete(&format!("{MAPS}/good"), Value::Null).await;

    let asked = hooks.asked();
    let operations: Vec<&str> = asked.iter().map(|it| it["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["CREATE", "CREATE", "UPDATE", "DELETE"]);
    let create = &asked[1];
    assert_eq!(create["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(create["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&create["requestKind"], &create["requestResource"]), (&create["kind"], &create["resource"]));
    assert_eq!((&create["name"], &create["namespace"]), (&json!("good"), &json!("default")));
    assert_eq!((&create["object"]["data"]["a"], &create["oldObject"]), (&json!("b"), &Value::Null));
    assert_eq!((&create["dryRun"], &create["options"]["kind"]), (&json!(false), &json!("CreateOptions")));
    assert_eq!(create["userInfo"]["username"], "system:test");
    assert_eq!(asked[2]["oldObject"]["data"]["a"], "b");
    assert_eq!(asked[2]["options"]["kind"], "PatchOptions");
    assert_eq!((&asked[3]["object"], &asked[3]["oldObject"]["data"]["a"]), (&Value::Null, &json!("c")));
}

#[tokio::test]
async fn hooks_change_objects_in_order_and_see_each_others_changes() {
    let server = Server::start().await;
    let hooks = Hooks::start(|path, request| match path {
        "/first" if request["object"]["metadata"]["labels"]["second"].is_string() => {
            patch(json!([{"op": "add", "path": "/metadata/labels/again", "value": "yes"}]))
        }
        "/first" => patch(json!([{"op": "add", "path": "/metadata/labels", "value": {"first": "yes"}}])),
        "/second" => {
            assert_eq!(request["object"]["metadata"]["labels"]["first"], "yes");
            patch(json!([
                {"op": "add", "path": "/metadata/labels/second", "value": "yes"},
                {"op": "add", "path": "/spec/containers/-", "value": {"name": "side", "image": "localhost:5000/side:1"}},
            ]))
        }
        _ => json!({"allowed": true}),
    });
    let hooks = hooks.await;
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    let first = with(hooks.hook("/first", &["pods"]), json!({"rules": rules, "reinvocationPolicy": "IfNeeded"}));
    let second = with(hooks.hook("/second", &["pods"]), json!({"rules": rules}));
    configure(&server, MUTATING, "b", &[second]).await;
    configure(&server, MUTATING, "a", &[first]).await;
    let made = server.post(PODS, pod("p")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["metadata"]["labels"], json!({"first": "yes", "second": "yes", "again": "yes"}));
    let side = &made.body["spec"]["containers"][1];
    assert_eq!((&side["name"], &side["terminationMessagePath"]), (&json!("side"), &json!("/dev/termination-log")));
    assert_eq!(hooks.asked().len(), 3);
}

#[tokio::test]
async fn a_hook_that_cannot_be_asked_stops_the_write_unless_it_may_be_ignored() {
    let server = Server::start().await;
    let hooks = Hooks::start(allow).await;
    let gone = json!({"url": "https://localhost:1/x", "caBundle": hooks.ca});
    let broken = with(hooks.hook("/gone", &["configmaps"]), json!({"clientConfig": gone}));
    configure(&server, VALIDATING, "v", std::slice::from_ref(&broken)).await;
    let refused = server.post(MAPS, json!({"metadata": {"name": "a"}})).await;
    assert_eq!(refused.code, 500);
    let message = refused.body["message"].as_str().unwrap();
    let lead = "Internal error occurred: failed calling webhook \"gone.example.com\": failed to call webhook: Post \"https://localhost:1/x?timeout=10s\": dial tcp: ";
    assert!(message.starts_with(lead), "{message}");
    // The configuration itself can always be changed.
    let ignored = json!({"webhooks": [with(broken, json!({"failurePolicy": "Ignore"}))]});
    assert_eq!(server.merge(&format!("{VALIDATING}/v"), ignored).await.code, 200);
    server.map("a", json!({})).await;

    let stranger = Hooks::start(allow).await;
    let untrusted = json!({"url": format!("https://localhost:{}/x", hooks.port), "caBundle": stranger.ca});
    let untrusted = with(hooks.hook("/untrusted", &["configmaps"]), json!({"clientConfig": untrusted}));
    configure(&server, VALIDATING, "w", &[untrusted]).await;
    let refused = server.post(MAPS, json!({"metadata": {"name": "b"}})).await;
    assert!(refused.body["message"].as_str().unwrap().contains("tls: "), "{}", refused.body);
    assert!(hooks.asked().is_empty());
}

#[tokio::test]
async fn a_slow_hook_is_given_up_and_nonsense_is_no_answer() {
    let server = Server::start().await;
    let hooks = Hooks::start(|path, _| match path {
        "/slow" => {
            std::thread::sleep(std::time::Duration::from_millis(1500));
            json!({"allowed": true})
        }
        "/wrong" => json!({"allowed": true, "uid": "other"}),
        _ => json!({"allowed": true, "patchType": "JSONPatch", "patch": "!"}),
    });
    let hooks = hooks.await;
    for (path, want) in [
        ("/slow", "context deadline exceeded"),
        ("/wrong", "expected response.uid="),
        ("/patch", "response.patch is not base64"),
    ] {
        let hook = with(hooks.hook(path, &["configmaps"]), json!({"timeoutSeconds": 1}));
        configure(&server, VALIDATING, "v", &[hook]).await;
        let refused = server.post(MAPS, json!({"metadata": {"name": "a"}})).await;
        let message = refused.body["message"].as_str().unwrap();
        assert!(refused.code == 500 && message.contains(want), "{path}: {message}");
        server.delete(&format!("{VALIDATING}/v"), Value::Null).await;
    }
}

#[tokio::test]
async fn selectors_choose_and_rehearsals_spare_hooks_with_side_effects() {
    let server = Server::start().await;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let hooks = Hooks::start(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        json!({"allowed": true})
    });
    let hooks = hooks.await;
    let asked = || count.swap(0, Ordering::Relaxed);
    let chosen = with(
        hooks.hook("/chosen", &["configmaps", "namespaces"]),
        json!({
            "objectSelector": {"matchLabels": {"watched": "yes"}},
            "namespaceSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
        }),
    );
    configure(&server, VALIDATING, "v", &[chosen]).await;
    server.map("plain", json!({})).await;
    assert_eq!(asked(), 0);
    server.map("watched", json!({"watched": "yes"})).await;
    assert_eq!(asked(), 1);
    // Taking the label away does not get it out of sight.
    server.merge(&format!("{MAPS}/watched"), json!({"metadata": {"labels": null}})).await;
    assert_eq!(asked(), 1);
    let labelled = server.merge("/api/v1/namespaces/default", json!({"metadata": {"labels": {"free": "yes"}}})).await;
    assert_eq!((labelled.code, asked()), (200, 0));
    server.map("third", json!({"watched": "yes"})).await;
    assert_eq!(asked(), 0);
    let rehearsed = server.post(&format!("{MAPS}?dryRun=All"), json!({"metadata": {"name": "d"}})).await;
    assert_eq!(rehearsed.code, 201);
}

#[tokio::test]
async fn other_versions_and_subresources_are_seen_as_the_rules_name_them() {
    let server = Server::start().await;
    let hooks = Hooks::start(allow).await;
    let rule = |group: &str, version: &str, resource: &str| json!([{"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": [resource]}]);
    let scale = with(hooks.hook("/scale", &[]), json!({"rules": rule("apps", "v1", "deployments/scale")}));
    let older =
        with(hooks.hook("/older", &[]), json!({"rules": rule("autoscaling", "v1", "horizontalpodautoscalers")}));
    configure(&server, VALIDATING, "v", &[scale, older]).await;
    let labels = json!({"app": "d"});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod("x")["spec"]},
    }});
    let uri = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(server.post(uri, deployment).await.code, 201);
    let scaled = server.merge(&format!("{uri}/d/scale"), json!({"spec": {"replicas": 3}})).await;
    assert_eq!(scaled.code, 200, "{}", scaled.body);
    let asked = hooks.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!((&asked[0]["subResource"], &asked[0]["object"]["spec"]["replicas"]), (&json!("scale"), &json!(3)));

    let autoscaler = json!({"metadata": {"name": "h"}, "spec": {
        "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
    }});
    let uri = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let made = server.post(uri, autoscaler).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let asked = hooks.asked();
    assert_eq!((&asked[1]["kind"]["version"], &asked[1]["requestKind"]["version"]), (&json!("v1"), &json!("v2")));
    assert_eq!(asked[1]["object"]["apiVersion"], "autoscaling/v1");
}

#[tokio::test]
async fn a_service_leads_to_the_addresses_behind_it() {
    let server = Server::start().await;
    let hooks = Hooks::start(allow).await;
    let service = json!({"service": {"namespace": "default", "name": "hooks", "path": "/x"}, "caBundle": hooks.ca});
    let hook = with(hooks.hook("/x", &["configmaps"]), json!({"clientConfig": service}));
    configure(&server, VALIDATING, "v", &[hook]).await;
    let refused = server.post(MAPS, json!({"metadata": {"name": "a"}})).await;
    let message = refused.body["message"].as_str().unwrap();
    assert!(
        message.ends_with("Post \"https://hooks.default.svc:443/x?timeout=10s\": service \"hooks\" not found"),
        "{message}"
    );
    let ports = json!([{"name": "https", "port": 443, "targetPort": hooks.port}]);
    let made = server
        .post("/api/v1/namespaces/default/services", json!({"metadata": {"name": "hooks"}, "spec": {"ports": ports}}))
        .await;
    assert_eq!(made.code, 201, "{}", made.body);
    // Written past the checks, which take no loopback address; pods have others.
    let slice = json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": "hooks-1", "labels": {"kubernetes.io/service-name": "hooks"}}, "addressType": "IPv4",
        "ports": [{"name": "https", "port": hooks.port}], "endpoints": [{"addresses": ["127.0.0.1"]}],
    });
    let key = Key::new("discovery.k8s.io/endpointslices", "default", "hooks-1");
    server.store.write(Write::create(key, move |_| Bytes::from(slice.to_string()))).await.unwrap();
    server.map("a", json!({})).await;
    assert_eq!(hooks.asked().len(), 1);
}

#[tokio::test]
async fn conditions_tell_a_hooks_requests_from_others() {
    let server = Server::start().await;
    let hooks = Hooks::start(allow).await;
    let conditions = json!([
        {"name": "not-mine", "expression": "!request.userInfo.username.startsWith('system:node')"},
        {"name": "large", "expression": "object.data.size() > 1"},
    ]);
    let hook = with(hooks.hook("/large", &["configmaps"]), json!({"matchConditions": conditions}));
    configure(&server, VALIDATING, "v", &[hook]).await;
    let map = |name: &str, data: Value| json!({"metadata": {"name": name}, "data": data});
    assert_eq!(server.post(MAPS, map("small", json!({"a": "b"}))).await.code, 201);
    assert_eq!(hooks.asked().len(), 0);
    assert_eq!(server.post(MAPS, map("large", json!({"a": "b", "c": "d"}))).await.code, 201);
    assert_eq!(hooks.asked().len(), 1);
    // There is no data to count, and the hook must not be left out by accident.
    let failed = server.post(MAPS, json!({"metadata": {"name": "none"}})).await;
    assert_eq!(failed.code, 403, "{}", failed.body);
    assert!(failed.body["message"].as_str().unwrap().contains("large: "), "{}", failed.body);
}

#[tokio::test]
async fn a_wrong_configuration_is_refused() {
    let server = Server::start().await;
    let hooks = Hooks::start(allow).await;
    for (change, want) in [
        (json!({"name": "short"}), "should be a domain with at least three segments separated by dots"),
        (json!({"clientConfig": {"url": "http://localhost/x"}}), "'https' is the only allowed URL scheme"),
        (json!({"clientConfig": {}}), "exactly one of url or service is required"),
        (json!({"timeoutSeconds": 31}), "the timeout value must be between 1 and 30 seconds"),
        (json!({"sideEffects": "Some"}), "Unsupported value: \"Some\""),
        (json!({"admissionReviewVersions": ["v9"]}), "must include at least one of v1, v1beta1"),
        (json!({"matchConditions": [{"name": "x", "expression": "object."}]}), "matchConditions[0].expression"),
        (json!({"matchConditions": [{"name": "x", "expression": "somebody.path('/')"}]}), "compilation failed"),
    ] {
        let hook = with(hooks.hook("/x", &["pods"]), change);
        let refused = server.post(VALIDATING, json!({"metadata": {"name": "v"}, "webhooks": [hook]})).await;
        assert_eq!(refused.code, 422, "{}", refused.body);
        assert!(refused.body["message"].as_str().unwrap().contains(want), "{}", refused.body);
    }
}
