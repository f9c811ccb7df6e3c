//! Jobs that give their pods indexes, and the rules that judge how pods end.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::{
    jobs::{JOBS, is, job},
    world::{PODS, World, annotation, condition, number, path_of, until_count},
};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_index_has_a_pod_that_knows_it() {
    let world = World::start().await;
    let spec = json!({"parallelism": 2, "completions": 4, "completionMode": "Indexed"});
    job(&world, "each", "succeed", spec).await;
    let done = world.until(&format!("{JOBS}/each"), "complete", |it| is(it, "Complete")).await;
    assert_eq!(condition(&done, "Complete")["reason"], "CompletionsReached");
    assert_eq!(number(&done["status"]["succeeded"]), 4);
    let pods = world.list(PODS).await;
    let mut indexes = BTreeSet::new();
    for pod in &pods {
        let index = annotation(pod, INDEX);
        assert_eq!(pod["spec"]["hostname"], format!("each-{index}"));
        assert_eq!(pod["metadata"]["labels"][INDEX], index);
        assert_eq!(pod["spec"]["containers"][0]["env"][0], json!({"name": "JOB_COMPLETION_INDEX", "value": index}));
        indexes.insert(index);
    }
    assert_eq!(indexes, BTreeSet::from(["0", "1", "2", "3"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_fail_and_are_restarted_in_place_complete_their_job() {
    let world = World::start().await;
    let template = json!({"metadata": {"annotations": {"eyot.io/fake": "fail-once"}},
        "spec": {"restartPolicy": "OnFailure", "containers": [{"name": "main", "image": "i"}]}});
    let spec = json!({"parallelism": 2, "completions": 4, "template": template});
    job(&world, "again", "fail-once", spec).await;
    let done = world.until(&format!("{JOBS}/again"), "complete", |it| is(it, "Complete")).await;
    assert_eq!((number(&done["status"]["succeeded"]), number(&done["status"]["failed"])), (4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_job_takes_its_running_pods_along() {
    let world = World::start().await;
    job(&world, "busy", "run", json!({"parallelism": 2, "completions": 4})).await;
    let path = format!("{JOBS}/busy");
    world.until(&path, "running", |it| number(&it["status"]["ready"]) == 2).await;
    assert_eq!(number(&world.get(&path).await.unwrap()["status"]["active"]), 2);
    world.delete(&path, "Background").await;
    world.until(&path, "gone", Value::is_null).await;
    until_count(&world, PODS, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evicted_pods_do_not_count_where_the_policy_ignores_disruption() {
    let world = World::start().await;
    let ignore =
        json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]});
    let spec = json!({"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimit": 0,
        "podFailurePolicy": ignore});
    job(&world, "moved", "run", spec).await;
    let path = format!("{JOBS}/moved");
    world.until(&path, "running", |it| number(&it["status"]["ready"]) == 2).await;
    let mut evicted = BTreeSet::new();
    for pod in world.list(PODS).await {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod["metadata"]["name"], "namespace": "default"}});
        world.request(Method::POST, &format!("{}/eviction", path_of(PODS, &pod)), eviction).await.unwrap();
        evicted.insert(pod["metadata"]["uid"].as_str().unwrap().to_owned());
    }
    // Their successors find the work done.
    let replaced = |it: &Value| {
        let pods = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let new = |it: &&Value| {
            it["status"]["phase"] == "Running" && !evicted.contains(it["metadata"]["uid"].as_str().unwrap_or_default())
        };
        pods.iter().filter(new).count() == 2
    };
    let pods = world.until(PODS, "replaced", replaced).await;
    for pod in pods["items"].as_array().unwrap().iter().filter(|it| it["status"]["phase"] == "Running") {
        world.merge(&format!("{}/status", path_of(PODS, pod)), json!({"status": {"phase": "Succeeded"}})).await;
    }
    let done = world.until(&path, "complete", |it| is(it, "Complete")).await;
    assert_eq!((number(&done["status"]["succeeded"]), number(&done["status"]["failed"])), (2, 0), "{done:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_indexes_run_although_some_fail_their_share_of_times() {
    let world = World::start().await;
    let spec = json!({"parallelism": 2, "completions": 4, "completionMode": "Indexed", "backoffLimitPerIndex": 1});
    job(&world, "some", "fail-odd", spec).await;
    let failed = world.until(&format!("{JOBS}/some"), "failed", |it| is(it, "Failed")).await;
    assert_eq!(condition(&failed, "Failed")["reason"], "FailedIndexes");
    let status = &failed["status"];
    assert_eq!((&status["failedIndexes"], &status["completedIndexes"]), (&json!("1,3"), &json!("0,2")));
    assert_eq!((number(&status["failed"]), number(&status["succeeded"])), (4, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_fails_at_once_where_the_policy_says_so() {
    let world = World::start().await;
    let policy = json!({"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]});
    let spec = json!({"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
        "podFailurePolicy": policy});
    job(&world, "strict", "fail-odd", spec).await;
    let failed = world.until(&format!("{JOBS}/strict"), "failed", |it| is(it, "Failed")).await;
    assert_eq!(condition(&failed, "Failed")["reason"], "FailedIndexes");
    let status = &failed["status"];
    assert_eq!((&status["failedIndexes"], &status["completedIndexes"]), (&json!("1"), &json!("0")));
    assert_eq!((number(&status["failed"]), number(&status["succeeded"])), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_failed_indexes_end_the_job() {
    let world = World::start().await;
    let spec = json!({"parallelism": 1, "completions": 10, "completionMode": "Indexed", "backoffLimitPerIndex": 0,
        "maxFailedIndexes": 2});
    job(&world, "limited", "fail-odd", spec).await;
    let failed = world.until(&format!("{JOBS}/limited"), "failed", |it| is(it, "Failed")).await;
    assert_eq!(condition(&failed, "Failed")["reason"], "MaxFailedIndexesExceeded");
    let status = &failed["status"];
    assert_eq!(status["failedIndexes"], "1,3,5");
    assert_eq!(number(&status["failed"]), 3);
    assert_eq!((number(&status["active"]), number(&status["ready"]), number(&status["terminating"])), (0, 0, 0));
}

/// Runs a job whose odd indexes fail, until its success policy is met.
async fn succeed_early(world: &World, name: &str, completions: u32, rule: Value) -> Value {
    let spec = json!({"parallelism": 2, "completions": completions, "completionMode": "Indexed",
        "successPolicy": {"rules": [rule]}});
    let fake = if completions == 2 { "succeed" } else { "fail-odd" };
    job(world, name, fake, spec).await;
    let settled = |it: &Value| is(it, "Complete") && number(&it["status"]["terminating"]) == 0;
    let done = world.until(&format!("{JOBS}/{name}"), "complete", settled).await;
    for kind in ["SuccessCriteriaMet", "Complete"] {
        assert_eq!(condition(&done, kind)["reason"], "SuccessPolicy", "{done:#}");
    }
    assert_eq!((number(&done["status"]["active"]), number(&done["status"]["ready"])), (0, 0));
    done["status"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_policy_is_met_by_all_by_some_or_by_certain_indexes() {
    let world = World::start().await;
    let all = succeed_early(&world, "all", 2, json!({"succeededCount": 2})).await;
    assert_eq!((&all["completedIndexes"], number(&all["failed"])), (&json!("0,1"), 0));
    let certain = succeed_early(&world, "certain", 5, json!({"succeededIndexes": "0"})).await;
    assert_eq!(certain["completedIndexes"], "0");
    let count = succeed_early(&world, "count", 5, json!({"succeededCount": 1})).await;
    assert_eq!(count["completedIndexes"], "0");
}
