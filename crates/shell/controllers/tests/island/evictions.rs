use http::Method;
use serde_json::{Value, json};

use crate::world::{PODS, World, condition, number, template};

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const WEB: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/web";

async fn budget(world: &World, spec: Value) {
    let mut body = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        body["spec"][key] = value.clone();
    }
    world.create(BUDGETS, body).await;
}

async fn evict(world: &World, pod: &str, options: Value) -> Result<Value, kube::Error> {
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod},
        "deleteOptions": options});
    world.request(Method::POST, &format!("{PODS}/{pod}/eviction"), body).await
}

fn allows(count: i64) -> impl Fn(&Value) -> bool {
    move |it| {
        number(&it["status"]["observedGeneration"]) >= number(&it["metadata"]["generation"])
            && number(&it["status"]["disruptionsAllowed"]) == count
            && number(&it["status"]["currentHealthy"]) == 3
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evictions_ask_the_budget() {
    let world = World::start().await;
    world.deployment("web", 3, json!({})).await;
    world.available("web", 3).await;
    budget(&world, json!({"maxUnavailable": 0})).await;
    let kept = world.until(WEB, "counted", allows(0)).await;
    assert_eq!((number(&kept["status"]["desiredHealthy"]), number(&kept["status"]["expectedPods"])), (3, 3));
    assert_eq!(condition(&kept, "DisruptionAllowed")["reason"], "InsufficientPods");
    let name = world.pods("web").await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let Err(kube::Error::Api(refused)) = evict(&world, &name, Value::Null).await else { panic!("evicted") };
    let cause = &refused.details.as_ref().unwrap().causes[0];
    assert_eq!((refused.code, cause.reason.as_str()), (429, "DisruptionBudget"));
    assert_eq!(cause.message, "The disruption budget web needs 3 healthy pods and has 3 currently");
    world.merge(WEB, json!({"spec": {"maxUnavailable": "34%"}})).await;
    world.until(WEB, "room for two", allows(2)).await;
    evict(&world, &name, json!({"dryRun": ["All"]})).await.unwrap();
    let after = world.get(WEB).await.unwrap();
    assert_eq!(number(&after["status"]["disruptionsAllowed"]), 2, "{after:#}");
    world.merge(WEB, json!({"spec": {"maxUnavailable": 1}})).await;
    world.until(WEB, "room for one", allows(1)).await;
    evict(&world, &name, Value::Null).await.unwrap();
    world.until(&format!("{PODS}/{name}"), "gone", Value::is_null).await;
    world.available("web", 3).await;
    let free = |it: &Value| allows(1)(it) && it["status"].get("disruptedPods").is_none();
    world.until(WEB, "room again", free).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_without_a_budget_or_that_do_not_run_go_freely() {
    let world = World::start().await;
    budget(&world, json!({"minAvailable": 1})).await;
    let mut pod = template("web", json!({"eyot.io/fake": "stuck"}));
    pod["metadata"]["name"] = "pending".into();
    world.create(PODS, pod).await;
    evict(&world, "pending", Value::Null).await.unwrap();
    let mut other = template("other", json!({}));
    other["metadata"]["name"] = "other".into();
    world.create(PODS, other).await;
    world.until(&format!("{PODS}/other"), "running", |it| it["status"]["phase"] == "Running").await;
    evict(&world, "other", Value::Null).await.unwrap();
    let Err(kube::Error::Api(missing)) = evict(&world, "nobody", Value::Null).await else { panic!("evicted") };
    assert_eq!(missing.code, 404);
}
