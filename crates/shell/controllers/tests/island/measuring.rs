//! What the gateway counts: told by the metrics APIs, scaled by as soon as it passes a target, and judged by rollouts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eyot_meter::{Exchange, Meter, Subject};
use http::Method;
use serde_json::{Value, json};

use crate::{
    functions::{ROUTES, SERVICES, backends, publish, ready, service},
    world::{DEPLOYMENTS, EVENTS, World, condition, number},
};

const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default";

/// Requests of which so many are under way at a Service.
fn under_way(meter: &Arc<Meter>, count: usize) -> Vec<Exchange> {
    (0..count).map(|_| meter.begin()).collect()
}

async fn core_service(world: &World, name: &str, labels: Value) -> Arc<Meter> {
    let body = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    });
    world.create("/api/v1/namespaces/default/services", body).await;
    world.meters.of(Subject::Service, &format!("default/{name}"))
}

fn value(item: &Value) -> &str {
    item["value"].as_str().unwrap_or("?")
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_requests_are_told_by_object_by_selector_and_by_label() {
    let world = World::start().await;
    let web = core_service(&world, "web", json!({"tier": "front"})).await;
    core_service(&world, "api", json!({"tier": "back"})).await;
    let _busy = under_way(&web, 7);
    let one = world.get(&format!("{CUSTOM}/services/web/http_requests_in_flight")).await.unwrap();
    assert_eq!(
        (&one["kind"], &one["apiVersion"]),
        (&json!("MetricValueList"), &json!("custom.metrics.k8s.io/v1beta2"))
    );
    let item = &one["items"][0];
    assert_eq!((&item["metric"]["name"], value(item)), (&json!("http_requests_in_flight"), "7000m"));
    assert_eq!(item["describedObject"]["name"], "web");
    let mut old = world.list("/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/services/*/concurrency").await;
    old.sort_by_key(|it| it["describedObject"]["name"].to_string());
    let each: Vec<_> = old.iter().map(|it| (it["describedObject"]["name"].as_str().unwrap(), value(it))).collect();
    assert_eq!(each, [("api", "0m"), ("kubernetes", "0m"), ("web", "7000m")], "who was never asked has none");
    assert_eq!(old[0]["metricName"], "concurrency", "as the older version has it");
    let front = world.list(&format!("{CUSTOM}/services/*/http_requests_per_second?labelSelector=tier%3Dfront")).await;
    assert_eq!((front.len(), value(&front[0]), &front[0]["windowSeconds"]), (1, "7000m", &json!(10)));
    let all = world.list(&format!("{CUSTOM}/metrics/http_requests_total")).await;
    assert_eq!((value(&all[0]), &all[0]["describedObject"]["kind"]), ("7000m", &json!("Namespace")));
    for absent in
        ["services/none/concurrency", "services/web/colour", "services/web/concurrency?metricLabelSelector=a%3Db"]
    {
        assert!(world.get(&format!("{CUSTOM}/{absent}")).await.is_none(), "{absent}");
    }
    let external = world.list(&format!("{EXTERNAL}/http_requests_in_flight?labelSelector=service%3Dweb")).await;
    assert_eq!(external.len(), 1);
    assert_eq!((value(&external[0]), &external[0]["metricLabels"]["service"]), ("7000m", &json!("web")));
    let by_tier = world.list(&format!("{EXTERNAL}/queue_depth?labelSelector=tier%20in%20(front,back)")).await;
    assert_eq!(by_tier.len(), 2);
    assert!(world.get(&format!("{EXTERNAL}/queue_depth?labelSelector=service%3Dnone")).await.is_none());
    let served = world.get("/apis/external.metrics.k8s.io/v1beta1").await.unwrap();
    let names: Vec<&str> =
        served["resources"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert!(names.contains(&"http_requests_per_second"), "{names:?}");
    let served = world.get("/apis/custom.metrics.k8s.io/v1beta2").await.unwrap();
    let names: Vec<&str> =
        served["resources"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert!(names.contains(&"services/queue_depth") && !names.contains(&"services"), "{names:?}");
    let text = world.client.request_text(http::Request::get("/metrics").body(Vec::new()).unwrap()).await.unwrap();
    assert!(text.contains("eyot_service_requests_in_flight{namespace=\"default\",service=\"web\"} 7\n"), "{text}");
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_passes_its_target_is_answered_before_the_period_is_over() {
    let world = World::start().await;
    world.deployment("web", 1, json!({})).await;
    world.available("web", 1).await;
    let meter = core_service(&world, "web", json!({})).await;
    let metric = json!({"type": "Object", "object": {
        "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "web"}, "metric": {"name": "concurrency"},
        "target": {"type": "AverageValue", "averageValue": "10"},
    }});
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 4, "metrics": [metric]},
    });
    world.create(AUTOSCALERS, autoscaler).await;
    let path = format!("{AUTOSCALERS}/web");
    let active = |it: &Value| condition(it, "ScalingActive")["status"] == "True";
    let told = world.until(&path, "looked at", active).await;
    assert_eq!(number(&told["status"]["desiredReplicas"]), 1);
    assert_eq!(told["status"]["currentMetrics"][0]["object"]["current"]["averageValue"], "0");
    let began = Instant::now();
    let busy = under_way(&meter, 35);
    let size = |wanted: i64| move |it: &Value| number(&it["spec"]["replicas"]) == wanted;
    world.until(&format!("{DEPLOYMENTS}/web"), "four for thirty-five requests", size(4)).await;
    assert!(began.elapsed() < Duration::from_secs(12), "the period is 15 s: {:?}", began.elapsed());
    drop(busy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_fails_gives_its_requests_back_and_says_why() {
    let world = World::start().await;
    let mut wanted = service("hello", "localhost:5000/hello:1", json!({}));
    wanted["metadata"]["annotations"] =
        json!({"analysis.eyot.io/request-success-rate": "99", "analysis.eyot.io/interval": "1s"});
    world.create(SERVICES, wanted).await;
    publish(&world, "hello").await;
    ready(&world, "hello", "hello-00001").await;
    let path = format!("{SERVICES}/hello");
    let update = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"image": image}]}}}});
    world.merge(&path, update("localhost:5000/hello:2")).await;
    let route = format!("{ROUTES}/hello");
    world.until(&route, "moved on", |it| backends(it) == "hello-00002=100 ").await;
    publish(&world, "hello").await;
    ready(&world, "hello", "hello-00002").await;

    let meter = world.meters.of(Subject::Service, "default/hello-00002");
    (0..60).for_each(|at| meter.begin().answered(if at % 2 == 0 { 200 } else { 503 }));
    world.until(&route, "gone back", |it| backends(it) == "hello-00001=100 ").await;
    publish(&world, "hello").await;
    let told = world.until(&path, "told", |it| condition(it, "Ready")["reason"] == "RolledBack").await;
    let message = condition(&told, "RoutesReady")["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "Revision \"hello-00002\" was rolled back to \"hello-00001\": 50.0 % of 60 requests succeeded, and 99 % must."
    );
    assert_eq!(told["status"]["traffic"][0]["revisionName"], "hello-00001");
    let why = |it: &Value| it["items"].as_array().is_some_and(|it| it.iter().any(|it| it["reason"] == "RolledBack"));
    world.until(EVENTS, "told as an event", why).await;
    let mut text = String::new();
    world.meters.expose(&mut text);
    assert!(text.contains("eyot_rollbacks_total{namespace=\"default\",route=\"hello\"} 1\n"), "{text}");

    // Nothing that comes later changes it, but another template does.
    (0..500).for_each(|_| meter.begin().answered(200));
    world.merge(&path, json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(backends(&world.get(&route).await.unwrap()), "hello-00001=100 ");
    world.merge(&path, update("localhost:5000/hello:3")).await;
    world.until(&route, "tried anew", |it| backends(it) == "hello-00003=100 ").await;
    publish(&world, "hello").await;
    ready(&world, "hello", "hello-00003").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_move_to_a_new_revision_over_the_time_that_a_service_says() {
    let world = World::start().await;
    let mut wanted = service("slow", "localhost:5000/hello:1", json!({}));
    wanted["metadata"]["annotations"] = json!({"serving.knative.dev/rollout-duration": "5s"});
    world.create(SERVICES, wanted).await;
    publish(&world, "slow").await;
    ready(&world, "slow", "slow-00001").await;
    let update = json!({"spec": {"template": {"spec": {"containers": [{"image": "localhost:5000/hello:2"}]}}}});
    world.merge(&format!("{SERVICES}/slow"), update).await;
    let route = format!("{ROUTES}/slow");
    world.until(&route, "begun", |it| backends(it) == "slow-00001=99 slow-00002=1 ").await;
    let between = |it: &Value| {
        let rows = &it["spec"]["rules"][0]["backendRefs"];
        rows[0]["name"] == "slow-00001" && (10..=90).contains(&number(&rows[1]["weight"]))
    };
    world.until(&route, "on its way", between).await;
    world.until(&route, "done", |it| backends(it) == "slow-00002=100 ").await;

    let mut wrong = service("wrong", "localhost:5000/hello:1", json!({}));
    wrong["metadata"]["annotations"] = json!({"serving.knative.dev/rollout-duration": "soon"});
    let refused = world.request(Method::POST, SERVICES, wrong).await.unwrap_err();
    assert!(refused.to_string().contains("serving.knative.dev/rollout-duration"), "{refused}");
}
