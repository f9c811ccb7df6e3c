//! Knative's kinds: what becomes of a Service, updates that fail, and instances counted by requests.

use http::Method;
use serde_json::{Value, json};

use crate::world::{DEPLOYMENTS, EVENTS, REPLICA_SETS, World, condition, number, until_count};

pub(crate) const SERVICES: &str = "/apis/serving.knative.dev/v1/namespaces/default/services";
const REVISIONS: &str = "/apis/serving.knative.dev/v1/namespaces/default/revisions";
pub(crate) const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes";

pub(crate) fn service(name: &str, image: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"image": image}]},
        }},
    })
}

/// Says what a gateway says of an HTTPRoute.
pub(crate) async fn publish(world: &World, name: &str) {
    let path = format!("{ROUTES}/{name}");
    let route = world.until(&path, "made", |it| !it.is_null()).await;
    let row = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": route["metadata"]["generation"]})
    };
    let parent = json!({
        "parentRef": route["spec"]["parentRefs"][0], "controllerName": "eyot.io/gateway",
        "conditions": [row("Accepted"), row("ResolvedRefs")],
    });
    world.merge(&format!("{path}/status"), json!({"status": {"parents": [parent]}})).await;
}

pub(crate) async fn ready(world: &World, name: &str, latest: &str) -> Value {
    let path = format!("{SERVICES}/{name}");
    let holds =
        |it: &Value| condition(it, "Ready")["status"] == "True" && it["status"]["latestReadyRevisionName"] == latest;
    world.until(&path, "ready", holds).await
}

pub(crate) fn backends(route: &Value) -> String {
    let rows = route["spec"]["rules"][0]["backendRefs"].as_array().into_iter().flatten();
    rows.map(|it| format!("{}={} ", it["name"].as_str().unwrap_or("?"), it["weight"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gets_ready_is_updated_split_and_keeps_serving_when_an_update_fails() {
    let world = World::start().await;
    world.create(SERVICES, service("hello", "localhost:5000/hello:1", json!({}))).await;
    publish(&world, "hello").await;
    let made = ready(&world, "hello", "hello-00001").await;
    assert_eq!(made["status"]["url"], "http://hello.default.localhost");
    assert_eq!(
        made["status"]["traffic"],
        json!([{"revisionName": "hello-00001", "latestRevision": true, "percent": 100}])
    );
    assert_eq!(made["metadata"]["annotations"]["serving.knative.dev/creator"], "system:test");

    let path = format!("{SERVICES}/hello");
    let update = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"image": image}]}}}});
    world.merge(&path, update("localhost:5000/hello:2")).await;
    let route = format!("{ROUTES}/hello");
    world.until(&route, "moved on", |it| backends(it) == "hello-00002=100 ").await;
    publish(&world, "hello").await;
    ready(&world, "hello", "hello-00002").await;

    let stuck = json!({"spec": {"template": {"metadata": {"annotations": {"serving.knative.dev/progress-deadline": "1s"}},
        "spec": {"containers": [{"image": "localhost:5000/hello:3", "env": [{"name": "FAKE", "value": "stuck"}]}]}}}});
    world.merge(&path, stuck).await;
    world.until(&format!("{REVISIONS}/hello-00003"), "made", |it| !it.is_null()).await;

    let split = json!({"spec": {"traffic": [
        {"revisionName": "hello-00001", "percent": 90, "tag": "old"}, {"revisionName": "hello-00002", "percent": 10},
    ]}});
    world.merge(&path, split).await;
    world.until(&route, "split", |it| backends(it) == "hello-00001=90 hello-00002=10 ").await;
    let tagged = world.until(&format!("{ROUTES}/old-hello"), "made", |it| !it.is_null()).await;
    assert_eq!(tagged["spec"]["hostnames"][0], "old-hello.default.localhost");
    let state = |it: &Value| it["metadata"]["labels"]["serving.knative.dev/routingState"] == "active";
    world.until(&format!("{REVISIONS}/hello-00001"), "active", state).await;

    world.delete(&path, "Background").await;
    for gone in [format!("{REVISIONS}/hello-00001"), route, format!("{DEPLOYMENTS}/hello-00001-deployment")] {
        world.until(&gone, "gone", Value::is_null).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_follow_requests_from_zero_and_back() {
    let world = World::start().await;
    let annotations = json!({
        "autoscaling.knative.dev/initial-scale": "0", "autoscaling.knative.dev/window": "6s",
        "autoscaling.knative.dev/target": "10", "autoscaling.knative.dev/target-utilization-percentage": "100",
    });
    world.create(SERVICES, service("quiet", "localhost:5000/hello:1", annotations)).await;
    publish(&world, "quiet").await;
    ready(&world, "quiet", "quiet-00001").await;
    let path = format!("{DEPLOYMENTS}/quiet-00001-deployment");
    let size = |wanted: i64| move |it: &Value| number(&it["spec"]["replicas"]) == wanted;
    world.until(&path, "at zero", size(0)).await;

    let load = world.loads.of("default/quiet-00001");
    let requests: Vec<_> = (0..25).map(|_| load.begin()).collect();
    world.until(&path, "three instances for 25 requests", size(3)).await;
    let revision = format!("{REVISIONS}/quiet-00001");
    world.until(&revision, "active", |it| condition(it, "Active")["status"] == "True").await;
    drop(requests);
    world.until(&path, "at zero again", size(0)).await;
    let idle = world.until(&revision, "idle", |it| condition(it, "Active")["status"] == "False").await;
    assert_eq!(condition(&idle, "Ready")["status"], "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_nobody_has_asked_for_has_nothing_of_instances_but_a_deployment_and_a_service() {
    const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=\
                          serving.knative.dev%2Frevision%3Drare-00001";
    const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints/rare-00001";
    let world = World::start().await;
    world
        .create(
            SERVICES,
            service("rare", "localhost:5000/hello:1", json!({"autoscaling.knative.dev/initial-scale": "0"})),
        )
        .await;
    publish(&world, "rare").await;
    ready(&world, "rare", "rare-00001").await;
    let path = format!("{DEPLOYMENTS}/rare-00001-deployment");
    let settled = |it: &Value| condition(it, "Progressing")["reason"] == "NewReplicaSetAvailable";
    let deployment = world.until(&path, "settled", settled).await;
    assert_eq!(condition(&deployment, "Available")["status"], "True");
    // Longer than any pause between passes.
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    for nothing in [REPLICA_SETS, SLICES] {
        assert_eq!(world.list(nothing).await, Vec::<Value>::new(), "{nothing}");
    }
    world.until(ENDPOINTS, "not there", Value::is_null).await;
    let events = world.list(EVENTS).await;
    assert!(events.iter().all(|it| it["reason"] != "ScalingReplicaSet"), "{events:#?}");

    let load = world.loads.of("default/rare-00001");
    let request = load.begin();
    until_count(&world, REPLICA_SETS, 1).await;
    until_count(&world, SLICES, 1).await;
    let has_address = |it: &Value| it["subsets"][0]["addresses"][0]["ip"].is_string();
    world.until(ENDPOINTS, "with the first instance", has_address).await;
    drop(request);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_as_knative_does() {
    let world = World::start().await;
    let mut wrong = service("wrong", "localhost:5000/hello:1", json!({"autoscaling.knative.dev/colour": "red"}));
    wrong["spec"]["traffic"] = json!([{"latestRevision": true, "percent": 90}]);
    let refused = world.request(Method::POST, SERVICES, wrong).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    expect_test::expect![[r#"
        admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: invalid key name "autoscaling.knative.dev/colour": spec.template.metadata.annotations
        no such annotation of the autoscaler
        Traffic targets sum to 90, want 100: spec.traffic"#]]
    .assert_eq(&status.message);
    assert_eq!(status.code, 400);
}
