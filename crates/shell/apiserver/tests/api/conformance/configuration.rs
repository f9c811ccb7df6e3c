//! sig-node, sig-scheduling, sig-instrumentation: configuration, templates, leases, classes, nodes and events.

use serde_json::{Value, json};

use super::lifecycle::{Round, expect};
use crate::server::{MAPS, PODS, Server, names, pod};

#[tokio::test]
async fn config_map_lifecycle() {
    let object = json!({"data": {"valueName": "value"}});
    Round { api_version: "v1", plural: "configmaps", namespaced: true, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn secret_lifecycle() {
    let object = json!({"data": {"key": "dmFsdWU="}});
    Round { api_version: "v1", plural: "secrets", namespaced: true, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn empty_keys_are_refused() {
    let server = Server::start().await;
    for (collection, value) in [(MAPS, "value-1"), ("/api/v1/namespaces/default/secrets", "dmFsdWUtMQ==")] {
        let answer = server.post(collection, json!({"metadata": {"name": "e"}, "data": {"": value}})).await;
        assert_eq!((answer.code, &answer.body["reason"]), (422, &"Invalid".into()), "{}", answer.body);
    }
}

#[tokio::test]
async fn pod_template_lifecycle() {
    let spec = json!({"containers": [{"name": "nginx", "image": "nginx"}]});
    let object = json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}});
    Round { api_version: "v1", plural: "podtemplates", namespaced: true, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn limit_range_lifecycle_across_namespaces() {
    let object = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "500m"}}]}});
    let server = Server::start().await;
    Round { api_version: "v1", plural: "limitranges", namespaced: true, object: object.clone(), status: None }
        .go(&server)
        .await;
    expect(server.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await, 201);
    for namespace in ["default", "other"] {
        let mut object = object.clone();
        object["metadata"] = json!({"name": "limits", "labels": {"e2e": namespace}});
        expect(server.post(&format!("/api/v1/namespaces/{namespace}/limitranges"), object).await, 201);
    }
    assert_eq!(names(&server.get("/api/v1/limitranges?labelSelector=e2e").await.body).len(), 2);
    let collection = "/api/v1/namespaces/default/limitranges?labelSelector=e2e%3Ddefault";
    expect(server.delete(collection, Value::Null).await, 200);
    let left = server.get("/api/v1/limitranges?labelSelector=e2e").await.body;
    assert_eq!(left["items"][0]["metadata"]["namespace"], "other");
}

#[tokio::test]
async fn runtime_class_operations() {
    let object = json!({"handler": "example"});
    Round { api_version: "node.k8s.io/v1", plural: "runtimeclasses", namespaced: false, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn priority_class_endpoints() {
    let object = json!({"value": 8, "description": "e"});
    let server = Server::start().await;
    let round = Round {
        api_version: "scheduling.k8s.io/v1",
        plural: "priorityclasses",
        namespaced: false,
        object,
        status: None,
    };
    round.go(&server).await;
    let collection = round.collection();
    expect(server.post(&collection, json!({"metadata": {"name": "p"}, "value": 1})).await, 201);
    let uri = format!("{collection}/p");
    expect(server.merge(&uri, json!({"description": "changed"})).await, 200);
    assert_eq!(server.merge(&uri, json!({"value": 2})).await.code, 422);
    let mut object = expect(server.get(&uri).await, 200);
    object["value"] = 3.into();
    assert_eq!(server.put(&uri, object).await.code, 422);
}

#[tokio::test]
async fn lease_operations() {
    let server = Server::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let spec = json!({"holderIdentity": "h", "leaseDurationSeconds": 30, "leaseTransitions": 0,
        "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:05.000000Z"});
    let created = expect(server.post(leases, json!({"metadata": {"name": "l"}, "spec": spec})).await, 201);
    assert_eq!(created["spec"], spec);
    let uri = format!("{leases}/l");
    let mut object = expect(server.get(&uri).await, 200);
    object["spec"]["holderIdentity"] = "other".into();
    object["spec"]["leaseTransitions"] = 1.into();
    let updated = expect(server.put(&uri, object.clone()).await, 200);
    assert_eq!(updated["spec"], object["spec"]);
    let patched = expect(server.merge(&uri, json!({"spec": {"leaseDurationSeconds": 60}})).await, 200);
    assert_eq!(expect(server.get(&uri).await, 200)["spec"], patched["spec"]);
    let second = json!({"metadata": {"name": "m", "labels": {"deletecollection": "true"}}, "spec": spec});
    expect(server.post(leases, second).await, 201);
    assert_eq!(names(&server.get(leases).await.body), ["l", "m"]);
    expect(server.delete(&format!("{leases}?labelSelector=deletecollection%3Dtrue"), Value::Null).await, 200);
    assert_eq!(names(&server.get(leases).await.body), ["l"]);
    expect(server.delete(&uri, Value::Null).await, 200);
    assert_eq!(server.get(&uri).await.body["reason"], "NotFound");
}

#[tokio::test]
async fn node_lifecycle() {
    let object = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
        "reason": "E2E", "message": "Set by e2e test"}]}});
    Round { api_version: "v1", plural: "nodes", namespaced: false, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn pods_have_a_quality_of_service() {
    let server = Server::start().await;
    let of = async |resources: Value, name: &str| {
        let mut object = pod(name);
        object["spec"]["containers"][0]["resources"] = resources;
        expect(server.post(PODS, object).await, 201)["status"]["qosClass"].clone()
    };
    let amounts = json!({"cpu": "100m", "memory": "100Mi"});
    assert_eq!(of(json!({"requests": amounts, "limits": amounts}), "g").await, "Guaranteed");
    assert_eq!(of(json!({"requests": {"cpu": "100m"}}), "b").await, "Burstable");
    assert_eq!(of(json!({}), "n").await, "BestEffort");
}

#[tokio::test]
async fn pods_count_their_generations() {
    let server = Server::start().await;
    let mut object = pod("g");
    object["metadata"]["generation"] = 100.into();
    let created = expect(server.post(PODS, object).await, 201);
    assert_eq!(created["metadata"]["generation"], 1);
    let uri = format!("{PODS}/g");
    let spec = json!({"spec": {"activeDeadlineSeconds": 5000}});
    assert_eq!(expect(server.merge(&uri, spec).await, 200)["metadata"]["generation"], 2);
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(expect(server.merge(&uri, labels).await, 200)["metadata"]["generation"], 2);
}

#[tokio::test]
async fn event_lifecycle() {
    let about = json!({"namespace": "default", "name": "e", "kind": "Pod"});
    let object =
        json!({"involvedObject": about, "message": "This is a test", "reason": "Test", "type": "Normal", "count": 1});
    let server = Server::start().await;
    Round { api_version: "v1", plural: "events", namespaced: true, object: object.clone(), status: None }
        .go(&server)
        .await;
    let events = "/api/v1/namespaces/default/events";
    let mut object = object;
    object["metadata"] = json!({"name": "series"});
    expect(server.post(events, object).await, 201);
    let uri = format!("{events}/series");
    let patched = expect(server.merge(&uri, json!({"message": "patched"})).await, 200);
    assert_eq!(patched["message"], "patched");
    let mut event = expect(server.get(&uri).await, 200);
    event["series"] = json!({"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000000Z"});
    assert_eq!(expect(server.put(&uri, event).await, 200)["series"]["count"], 100);
    let fields = "fieldSelector=involvedObject.kind%3DPod,reason%3DTest";
    assert_eq!(names(&server.get(&format!("/api/v1/events?{fields}")).await.body), ["series"]);
}

#[tokio::test]
async fn new_event_lifecycle() {
    let object = json!({
        "regarding": {"namespace": "default", "name": "e", "kind": "Pod"}, "action": "Do", "reason": "Test",
        "type": "Normal", "note": "This is a test", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "test-controller", "reportingInstance": "test-node",
    });
    let server = Server::start().await;
    let round = Round {
        api_version: "events.k8s.io/v1",
        plural: "events",
        namespaced: true,
        object: object.clone(),
        status: None,
    };
    round.go(&server).await;
    let mut object = object;
    object["metadata"] = json!({"name": "series"});
    expect(server.post(&round.collection(), object).await, 201);
    let uri = format!("{}/series", round.collection());
    assert_eq!(expect(server.merge(&uri, json!({"note": "patched"})).await, 200)["note"], "patched");
    let mut event = expect(server.get(&uri).await, 200);
    event["series"] = json!({"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000000Z"});
    assert_eq!(expect(server.put(&uri, event).await, 200)["series"]["count"], 100);
    // The same event in the words of the older group.
    let older = expect(server.get("/api/v1/namespaces/default/events/series").await, 200);
    assert_eq!((&older["message"], &older["involvedObject"]["name"]), (&"patched".into(), &"e".into()));
}
