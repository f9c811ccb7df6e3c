//! HorizontalPodAutoscalers, with usage that the node tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use eyot_apiserver::{Body, BoxError};
use http::{Request, Response};
use serde_json::{Value, json};

use crate::world::{DEPLOYMENTS, EVENTS, PODS, World, condition, number};

const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const WEB: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web";

/// How much every pod does, in thousandths of a core and in thousandths of a request a second.
#[derive(Default)]
struct Load {
    cpu: AtomicU64,
    requests: AtomicU64,
}

/// Connects a node whose pods all do what the load says.
fn measure(world: &World, load: &Arc<Load>) {
    let (client, load, began) = (world.client.clone(), load.clone(), Instant::now());
    let answer = move |_: Request<Body>| {
        let (client, load) = (client.clone(), load.clone());
        async move {
            let list = Request::get(PODS).body(Vec::new()).unwrap();
            let pods: Value = client.request(list).await.map_err(BoxError::from)?;
            let so_far = began.elapsed().as_secs_f64();
            let cpu = (so_far * load.cpu.load(Ordering::Relaxed) as f64 * 1e6) as u64;
            let requests = so_far * load.requests.load(Ordering::Relaxed) as f64 / 1e3;
            let pod = |it: &Value| {
                json!({
                    "podRef": {"name": it["metadata"]["name"], "namespace": "default", "uid": it["metadata"]["uid"]},
                    "containers": [{
                        "name": "app", "startTime": "2026-01-01T00:00:00Z",
                        "cpu": {"usageCoreNanoSeconds": cpu}, "memory": {"workingSetBytes": 65536},
                        "userDefinedMetrics": [{"name": "http_requests", "type": "cumulative", "value": requests}],
                    }],
                })
            };
            let pods: Vec<Value> = pods["items"].as_array().into_iter().flatten().map(pod).collect();
            let node = json!({"cpu": {"usageCoreNanoSeconds": cpu}, "memory": {"workingSetBytes": 1048576}});
            let body = json!({"node": node, "pods": pods}).to_string();
            Ok::<_, BoxError>(Response::new(Body::full(body)))
        }
    };
    world.api.set_kubelet("island", tower::service_fn(answer));
}

async fn web(world: &World, replicas: i32) {
    let template = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "web", "resources": {"requests": {"cpu": "200m"}}}]},
    });
    world.deployment("web", replicas, json!({"template": template})).await;
    world.available("web", replicas).await;
}

fn autoscaler(metric: Value) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 3, "metrics": [metric],
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_follows_the_processor_time_of_its_pods() {
    let world = World::start().await;
    let load = Arc::new(Load { cpu: AtomicU64::new(165), ..Load::default() });
    measure(&world, &load);
    web(&world, 1).await;
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    world.create(AUTOSCALERS, autoscaler(metric)).await;
    let scaled = world.until(WEB, "scaled", |it| number(&it["status"]["desiredReplicas"]) == 2).await;
    world.available("web", 2).await;
    assert_eq!(condition(&scaled, "AbleToScale")["reason"], "SucceededRescale");
    assert_eq!(condition(&scaled, "ScalingActive")["reason"], "ValidMetricFound");
    let shown = &scaled["status"]["currentMetrics"][0]["resource"]["current"];
    let percent = number(&shown["averageUtilization"]);
    assert!((70..=98).contains(&percent), "every pod uses most of what it requests: {scaled:#}");
    assert!(scaled["status"]["lastScaleTime"].is_string(), "{scaled:#}");
    let why =
        |it: &Value| it["items"].as_array().is_some_and(|it| it.iter().any(|it| it["reason"] == "SuccessfulRescale"));
    world.until(EVENTS, "told", why).await;

    // A changed spec is looked at now; two pods far above their target want four, and three are allowed.
    world.merge(WEB, json!({"metadata": {"labels": {"a": "b"}}, "spec": {"minReplicas": 2}})).await;
    let bound = world.until(WEB, "at its bound", |it| number(&it["status"]["desiredReplicas"]) == 3).await;
    assert_eq!(condition(&bound, "ScalingLimited")["reason"], "TooManyReplicas");
    world.available("web", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_follows_the_requests_of_its_pods() {
    let world = World::start().await;
    let load = Arc::new(Load { requests: AtomicU64::new(30_000), ..Load::default() });
    measure(&world, &load);
    web(&world, 1).await;
    let target = json!({"type": "AverageValue", "averageValue": "10"});
    let metric = json!({"type": "Pods", "pods": {"metric": {"name": "http_requests_per_second"}, "target": target}});
    world.create(AUTOSCALERS, autoscaler(metric)).await;
    let scaled = world.until(WEB, "scaled", |it| number(&it["status"]["desiredReplicas"]) == 3).await;
    assert_eq!(scaled["status"]["currentMetrics"][0]["pods"]["metric"]["name"], "http_requests_per_second");
    world.available("web", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_known_is_told_and_changes_nothing() {
    let world = World::start().await;
    web(&world, 2).await;
    let target = json!({"type": "Value", "value": "10"});
    let metric = json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": target}});
    world.create(AUTOSCALERS, autoscaler(metric)).await;
    let inactive = |it: &Value| condition(it, "ScalingActive")["status"] == "False";
    let told = world.until(WEB, "told", inactive).await;
    assert_eq!(condition(&told, "ScalingActive")["reason"], "FailedGetExternalMetric");
    assert_eq!(number(&told["status"]["desiredReplicas"]), 2);
    world.merge(WEB, json!({"spec": {"scaleTargetRef": {"name": "absent"}}})).await;
    let failed = |it: &Value| condition(it, "AbleToScale")["reason"] == "FailedGetScale";
    world.until(WEB, "told of the absent target", failed).await;
    let spec = world.get(&format!("{DEPLOYMENTS}/web")).await.unwrap();
    assert_eq!(number(&spec["spec"]["replicas"]), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_measured_between_two_answers_of_the_node() {
    let world = World::start().await;
    let load = Arc::new(Load { cpu: AtomicU64::new(250), requests: AtomicU64::new(4_000) });
    measure(&world, &load);
    web(&world, 2).await;
    const MEASURED: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
    let found = world.list(&format!("{MEASURED}?labelSelector=app%3Dweb")).await;
    assert_eq!(found.len(), 2);
    let cpu = found[0]["containers"][0]["usage"]["cpu"].as_str().unwrap();
    let nanos: f64 = cpu.strip_suffix('n').unwrap().parse().unwrap();
    assert!((2.0e8..=3.0e8).contains(&nanos), "a quarter of a core: {cpu}");
    assert_eq!(found[0]["containers"][0]["usage"]["memory"], "64Ki");
    assert_eq!(found[0]["metadata"]["labels"]["app"], "web");
    assert!(world.list(&format!("{MEASURED}?labelSelector=app%3Dother")).await.is_empty());
    let name = found[0]["metadata"]["name"].as_str().unwrap();
    let one = world.get(&format!("{MEASURED}/{name}")).await.unwrap();
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&json!("PodMetrics"), &json!(name)));
    assert!(world.get(&format!("{MEASURED}/absent")).await.is_none());
    let node = world.get("/apis/metrics.k8s.io/v1beta1/nodes/island").await.unwrap();
    assert_eq!(node["usage"]["memory"], "1024Ki");
    let values =
        world.list("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/http_requests_per_second").await;
    let rate: f64 = values[0]["value"].as_str().unwrap().strip_suffix('m').unwrap().parse().unwrap();
    assert!((3_000.0..=5_000.0).contains(&rate), "four a second: {values:?}");
    assert!(world.get("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/unknown").await.is_none());
}
