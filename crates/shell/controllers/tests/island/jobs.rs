use serde_json::{Value, json};

use crate::world::{EVENTS, PODS, World, condition, number};

pub(crate) const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

pub(crate) async fn job(world: &World, name: &str, fake: &str, spec: Value) {
    let mut body = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": {"eyot.io/fake": fake}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]},
        }},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        body["spec"][key] = value.clone();
    }
    world.create(JOBS, body).await;
}

pub(crate) fn is(job: &Value, kind: &str) -> bool {
    condition(job, kind)["status"] == "True"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_completes_and_its_pods_are_free_to_go() {
    let world = World::start().await;
    job(&world, "work", "succeed", json!({"completions": 5, "parallelism": 2})).await;
    let path = format!("{JOBS}/work");
    let done = world.until(&path, "complete", |it| is(it, "Complete")).await;
    assert_eq!((number(&done["status"]["succeeded"]), number(&done["status"]["active"])), (5, 0));
    assert!(is(&done, "SuccessCriteriaMet") && done["status"]["completionTime"].is_string());
    let pods = world.list(PODS).await;
    assert_eq!(pods.len(), 5);
    for pod in &pods {
        assert_eq!(pod["metadata"]["labels"]["batch.kubernetes.io/job-name"], "work");
        assert!(pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty), "{pod:#}");
    }
    let completed =
        |it: &Value| it["items"].as_array().is_some_and(|it| it.iter().any(|it| it["reason"] == "Completed"));
    world.until(EVENTS, "completion event", completed).await;
    world.delete(&path, "Background").await;
    world.until(PODS, "no pods", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_job_gives_up_at_its_limit() {
    let world = World::start().await;
    job(&world, "doomed", "fail", json!({"backoffLimit": 0})).await;
    let failed = world.until(&format!("{JOBS}/doomed"), "failed", |it| is(it, "Failed")).await;
    assert_eq!(condition(&failed, "Failed")["reason"], "BackoffLimitExceeded");
    assert_eq!((number(&failed["status"]["failed"]), world.list(PODS).await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indexed_job_runs_each_index_and_expires() {
    let world = World::start().await;
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed", "ttlSecondsAfterFinished": 3});
    job(&world, "indexed", "succeed", spec).await;
    let path = format!("{JOBS}/indexed");
    let done = world.until(&path, "complete", |it| is(it, "Complete")).await;
    assert_eq!(done["status"]["completedIndexes"], "0-2");
    world.until(&path, "expired", Value::is_null).await;
    world.until(PODS, "no pods", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_job_has_no_pods_until_resumed() {
    let world = World::start().await;
    job(&world, "later", "run", json!({"parallelism": 2, "completions": 2, "suspend": true})).await;
    let path = format!("{JOBS}/later");
    world.until(&path, "suspended", |it| is(it, "Suspended")).await;
    assert!(world.list(PODS).await.is_empty());
    world.merge(&path, json!({"spec": {"suspend": false}})).await;
    world.until(&path, "running", |it| number(&it["status"]["ready"]) == 2).await;
    world.merge(&path, json!({"spec": {"suspend": true}})).await;
    world.until(PODS, "no pods", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
    let job = world.get(&path).await.unwrap();
    assert_eq!(number(&job["status"]["failed"]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_decide_what_failures_and_successes_mean() {
    let world = World::start().await;
    let on_exit = json!({"operator": "In", "values": [1]});
    let policy = json!({"rules": [{"action": "FailJob", "onExitCodes": on_exit}]});
    job(&world, "strict", "fail", json!({"podFailurePolicy": policy})).await;
    let strict = world.until(&format!("{JOBS}/strict"), "failed", |it| is(it, "Failed")).await;
    assert_eq!(condition(&strict, "Failed")["reason"], "PodFailurePolicy");
    assert_eq!(number(&strict["status"]["failed"]), 1);
    let indexed = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 0});
    job(&world, "each", "fail", indexed).await;
    let each = world.until(&format!("{JOBS}/each"), "failed", |it| is(it, "Failed")).await;
    assert_eq!(condition(&each, "Failed")["reason"], "FailedIndexes");
    assert_eq!(each["status"]["failedIndexes"], "0,1");
    let policy = json!({"rules": [{"succeededCount": 1}]});
    let early = json!({"completions": 3, "parallelism": 1, "completionMode": "Indexed", "successPolicy": policy});
    job(&world, "early", "succeed", early).await;
    let early = world.until(&format!("{JOBS}/early"), "complete", |it| is(it, "Complete")).await;
    assert_eq!(condition(&early, "SuccessCriteriaMet")["reason"], "SuccessPolicy");
    assert!(number(&early["status"]["succeeded"]) < 3);
    job(&world, "theirs", "succeed", json!({"managedBy": "example.com/other"})).await;
    job(&world, "ours", "succeed", json!({"managedBy": "kubernetes.io/job-controller"})).await;
    world.until(&format!("{JOBS}/ours"), "complete", |it| is(it, "Complete")).await;
    let theirs = world.get(&format!("{JOBS}/theirs")).await.unwrap();
    assert!(theirs["status"].as_object().is_none_or(serde_json::Map::is_empty), "{theirs:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_adopts_what_matches_and_lets_go_of_what_does_not() {
    let world = World::start().await;
    job(&world, "work", "run", json!({"parallelism": 2, "completions": 2})).await;
    let path = format!("{JOBS}/work");
    world.until(&path, "running", |it| number(&it["status"]["ready"]) == 2).await;
    let name = |pod: &Value| format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
    let pods = world.list(PODS).await;
    let (lost, freed) = (name(&pods[0]), name(&pods[1]));
    world.merge(&freed, json!({"metadata": {"labels": {"batch.kubernetes.io/controller-uid": null}}})).await;
    let alone = |it: &Value| {
        ["ownerReferences", "finalizers"].iter().all(|field| it["metadata"][field].as_array().is_none_or(Vec::is_empty))
    };
    world.until(&freed, "let go", alone).await;
    world.until(&path, "replaced", |it| number(&it["status"]["ready"]) == 2).await;
    world.merge(&path, json!({"spec": {"parallelism": 3}})).await;
    world.merge(&lost, json!({"metadata": {"ownerReferences": []}})).await;
    // It is taken back, or was one too many by then and is gone.
    let taken = |it: &Value| it.is_null() || it["metadata"]["ownerReferences"][0]["name"] == "work";
    world.until(&lost, "taken back", taken).await;
}
