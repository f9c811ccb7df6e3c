//! Runs Jobs to completion.

use std::{collections::HashSet, sync::Arc, time::Duration};

use eyot_plan::{
    condition,
    job::{self as plan, Create, Phase, Plan, Spec, Status, indexes::Indexes, policy::Exit},
};
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiError, DeleteOptions, JOBS, PODS, Target},
    claim::{self, Claim},
    context::Context,
    events::Severity,
    pods::{Blueprint, Pods, remove_finalizer},
    queue::Outcome,
    view::{
        Key, conditions, conditions_json, count,
        job::{FailureRule, JobView},
        now,
        pod::{self, COMPLETION_INDEX, INDEX_FAILURES, INDEX_IGNORED, PodView},
        rfc3339,
    },
};

/// Keeps a pod until its end is counted.
pub(crate) const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// What `managedBy` says of a Job that is ours.
const MANAGER: &str = "kubernetes.io/job-controller";

/// One pass over one Job: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let ours = |it: &Arc<JobView>| it.spec.managed_by.as_deref().is_none_or(|by| by == MANAGER);
    let Some(job) = context.stores.jobs.get(&key).filter(ours) else { return Ok(None) };
    let owner = Pods { api: &context.api, expectations: &context.expectations, resource: &JOBS, owner: &job.meta };
    if job.meta.deleting() {
        return release_all(&context, &job).await;
    }
    let (spec, old) = (spec(&job), status(&job));
    if plan::expires_in(&spec, &old, now()).is_some_and(|it| it <= 0) {
        let target = Target::object(&JOBS, &job.meta.namespace, &job.meta.name);
        let options =
            DeleteOptions { uid: Some(&job.meta.uid), propagation: Some("Background"), ..DeleteOptions::default() };
        context.api.delete(target, options).await?;
        return Ok(None);
    }
    // Wishes are read before pods: see `expect`.
    let wishes = context.expectations.snapshot(&job.meta.uid);
    let mut pods = claim(&context, &job, &owner).await?;
    let known: HashSet<&str> = pods.iter().map(|it| &*it.meta.name).collect();
    let creating: Vec<Option<i32>> =
        wishes.creates.iter().filter(|it| !known.contains(it.0.as_str())).map(|it| *it.1).collect();
    pods.retain(|it| !wishes.deletes.contains(&*it.meta.uid) || it.meta.deleting());
    let rows: Vec<plan::Pod> = pods.iter().map(|it| row(it)).collect();
    let plan = plan::plan(&spec, &old, &rows, &creating, now());
    // The status comes first: a finalizer may go only when the end it guards is written down.
    if plan.status != old {
        write_status(&context, &job, &spec, &plan.status).await?;
        tell(&context, &job, &old, &plan.status);
    }
    execute(&context, &job, &owner, &pods, &plan).await?;
    Ok(plan.wait.map(|it| Duration::from_secs(it.unsigned_abs())))
}

/// The pods of the Job; those that match and nobody controls are adopted, those that no longer match are let go.
async fn claim(context: &Context, job: &JobView, owner: &Pods<'_>) -> Result<Vec<Arc<PodView>>, ApiError> {
    let selector = job.spec.selector.compile();
    if selector.is_empty() {
        return Ok(context.stores.pods.controlled_by(&job.meta.uid));
    }
    let claim = Claim {
        api: &context.api,
        store: &context.stores.pods,
        resource: &PODS,
        owner: &job.meta,
        kind: owner.resource,
        selector: &selector,
        member: claim::anything,
    };
    claim.settle().await
}

async fn execute(
    context: &Context,
    job: &JobView,
    owner: &Pods<'_>,
    pods: &[Arc<PodView>],
    plan: &Plan,
) -> Result<(), ApiError> {
    for at in &plan.untrack {
        remove_finalizer(&context.api, &PODS, &pods[*at].meta, TRACKING).await?;
    }
    let leaving: Vec<Arc<PodView>> = plan.delete.iter().map(|at| pods[*at].clone()).collect();
    let recorder = context.recorder.of("job-controller");
    let record = |severity, reason, message| recorder.record(&JOBS, &job.meta, severity, reason, message);
    let batch = owner.delete(&leaving, Some(TRACKING)).await;
    for name in batch.done.iter().take(10) {
        record(Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
    }
    if let Some(error) = batch.failed {
        return Err(error);
    }
    let blueprints: Vec<Arc<Blueprint>> = blueprints(job, owner, &plan.create);
    let batch = owner.create(&blueprints, 0).await;
    for name in batch.done.iter().take(10) {
        record(Severity::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
    }
    match batch.failed {
        Some(error) => {
            record(Severity::Warning, "FailedCreate", format!("Error creating: {}", error.message()));
            Err(error)
        }
        None => Ok(()),
    }
}

/// One blueprint for all pods, or one for each index.
fn blueprints(job: &JobView, owner: &Pods<'_>, create: &[Create]) -> Vec<Arc<Blueprint>> {
    let Some(first) = create.first() else { return Vec::new() };
    if first.index.is_none() {
        return std::iter::repeat_n(Arc::new(blueprint(job, owner, *first)), create.len()).collect();
    }
    create.iter().map(|it| Arc::new(blueprint(job, owner, *it))).collect()
}

fn blueprint(job: &JobView, owner: &Pods<'_>, create: Create) -> Blueprint {
    let index = create.index;
    let base = match index {
        Some(index) => format!("{}-{index}-", job.meta.name),
        None => format!("{}-", job.meta.name),
    };
    owner.blueprint(&job.spec.template, base, index, |meta, spec| {
        let labels = meta.entry("labels").or_insert_with(|| json!({}));
        for prefix in ["", "batch.kubernetes.io/"] {
            labels[format!("{prefix}controller-uid")] = (*job.meta.uid).into();
            labels[format!("{prefix}job-name")] = (*job.meta.name).into();
        }
        let finalizers = meta.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(finalizers) = finalizers.as_array_mut() {
            finalizers.push(TRACKING.into());
        }
        if let Some(index) = index {
            labels_index(meta, spec, &job.meta.name, index);
        }
        if job.spec.backoff_limit_per_index.is_some() {
            let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
            annotations[INDEX_FAILURES] = create.failures.to_string().into();
            if create.ignored > 0 {
                annotations[INDEX_IGNORED] = create.ignored.to_string().into();
            }
        }
    })
}

fn labels_index(meta: &mut Map<String, Value>, spec: &mut Value, job: &str, index: i32) {
    let text = index.to_string();
    for field in ["labels", "annotations"] {
        meta.entry(field).or_insert_with(|| json!({}))[COMPLETION_INDEX] = text.as_str().into();
    }
    if spec.get("hostname").is_none() {
        spec["hostname"] = format!("{job}-{index}").into();
    }
    for containers in ["containers", "initContainers"] {
        for container in spec[containers].as_array_mut().into_iter().flatten() {
            let variable = json!({"name": "JOB_COMPLETION_INDEX", "value": text});
            match container["env"].as_array_mut() {
                Some(env) if env.iter().any(|it| it["name"] == "JOB_COMPLETION_INDEX") => {}
                Some(env) => env.push(variable),
                None => container["env"] = json!([variable]),
            }
        }
    }
}

/// A Job on its way out counts nothing any more, so nothing holds its pods.
async fn release_all(context: &Context, job: &JobView) -> Outcome {
    for pod in context.stores.pods.controlled_by(&job.meta.uid) {
        remove_finalizer(&context.api, &PODS, &pod.meta, TRACKING).await?;
    }
    Ok(None)
}

/// One pass over a pod whose Job may be gone: nobody else would take its finalizer off.
pub(crate) async fn orphan_pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(pod) = context.stores.pods.get(&key) else { return Ok(None) };
    let Some(owner) = pod.meta.controller() else {
        return remove_finalizer(&context.api, &PODS, &pod.meta, TRACKING).await.map(|()| None);
    };
    if &*owner.kind != "Job" {
        return Ok(None);
    }
    let here = |uid: &str| uid == &*owner.uid;
    if context.stores.jobs.get(&Key::new(&key.namespace, &owner.name)).is_some_and(|it| here(&it.meta.uid)) {
        return Ok(None);
    }
    // The cache of Jobs may be late, so the API has the word.
    let target = Target::object(&JOBS, &key.namespace, &owner.name);
    match context.api.get::<JobView>(target, "").await {
        Ok(job) if here(&job.meta.uid) => Ok(None),
        Err(error) if !error.is_not_found() => Err(error),
        _ => remove_finalizer(&context.api, &PODS, &pod.meta, TRACKING).await.map(|()| None),
    }
}

fn spec(job: &JobView) -> Spec {
    let from = &job.spec;
    let restart = from.template["spec"]["restartPolicy"].as_str();
    Spec {
        // Without either number one pod has to succeed; with parallelism alone they share a queue of work.
        completions: from.completions.or(if from.parallelism.is_none() { Some(1) } else { None }),
        parallelism: from.parallelism.unwrap_or(1),
        backoff_limit: from.backoff_limit.unwrap_or(6),
        active_deadline_seconds: from.active_deadline_seconds,
        suspend: from.suspend.unwrap_or(false),
        indexed: from.completion_mode.as_deref() == Some("Indexed"),
        restarts_in_place: restart == Some("OnFailure"),
        await_terminating: from.pod_replacement_policy.as_deref() == Some("Failed")
            || !from.pod_failure_policy.rules.is_empty(),
        ttl_seconds: from.ttl_seconds_after_finished,
        backoff_limit_per_index: from.backoff_limit_per_index,
        max_failed_indexes: from.max_failed_indexes,
        failure_policy: from.pod_failure_policy.rules.iter().map(FailureRule::compile).collect(),
        success_policy: {
            let completions = from.completions.unwrap_or(0);
            from.success_policy.rules.iter().map(|it| it.compile(completions)).collect()
        },
    }
}

fn status(job: &JobView) -> Status {
    let from = &job.status;
    Status {
        started: from.start_time.map(|it| it.0),
        completed: from.completion_time.map(|it| it.0),
        active: from.active,
        ready: from.ready,
        terminating: from.terminating,
        succeeded: from.succeeded,
        failed: from.failed,
        uncounted_succeeded: from.uncounted_terminated_pods.succeeded.clone(),
        uncounted_failed: from.uncounted_terminated_pods.failed.clone(),
        completed_indexes: Indexes::parse(&from.completed_indexes, job.spec.completions.unwrap_or(0)),
        failed_indexes: Indexes::parse(&from.failed_indexes, job.spec.completions.unwrap_or(0)),
        conditions: conditions(&from.conditions),
    }
}

fn row(pod: &PodView) -> plan::Pod {
    let number = |key: &str| pod.meta.annotations.get(key).and_then(|it| it.parse().ok());
    let failure = pod.failure.as_deref();
    plan::Pod {
        name: pod.meta.key().to_string(),
        exits: failure.map_or_else(Vec::new, |it| {
            it.exits.iter().map(|it| Exit { container: it.0.clone(), code: it.1 }).collect()
        }),
        conditions: failure.map_or_else(Vec::new, |it| it.conditions.clone()),
        failures: number(INDEX_FAILURES).unwrap_or(0),
        ignored: number(INDEX_IGNORED).unwrap_or(0),
        uid: pod.meta.uid.to_string(),
        phase: match pod.phase {
            pod::Phase::Succeeded => Phase::Succeeded,
            pod::Phase::Failed => Phase::Failed,
            _ => Phase::Active,
        },
        ready: pod.ready_since.is_some(),
        deleting: pod.meta.deleting(),
        tracked: pod.meta.finalizers.iter().any(|it| &**it == TRACKING),
        finished: pod.finished.or(pod.meta.deletion_timestamp.map(|it| it.0)),
        restarts: pod.restarts,
        index: number(COMPLETION_INDEX),
    }
}

async fn write_status(context: &Context, job: &JobView, spec: &Spec, new: &Status) -> Result<(), ApiError> {
    let indexes = |of: &Indexes| Some(of.to_string()).filter(|it| spec.indexed && !it.is_empty());
    // Kubernetes shows an empty list of failed indexes where indexes can fail on their own.
    let failed = spec.backoff_limit_per_index.map(|_| new.failed_indexes.to_string());
    // The version guards the counts: a pass on an outdated status must not count twice.
    let patch = json!({
        "metadata": {"resourceVersion": job.meta.resource_version},
        "status": {
            "startTime": new.started.map(rfc3339),
            "completionTime": new.completed.map(rfc3339),
            "active": count(new.active),
            "ready": new.ready,
            "terminating": new.terminating,
            "succeeded": count(new.succeeded),
            "failed": count(new.failed),
            "completedIndexes": indexes(&new.completed_indexes),
            "failedIndexes": failed,
            "uncountedTerminatedPods": {"succeeded": list(&new.uncounted_succeeded), "failed": list(&new.uncounted_failed)},
            "conditions": conditions_json(&new.conditions, Some("lastProbeTime")),
        },
    });
    let target = Target::object(&JOBS, &job.meta.namespace, &job.meta.name).sub("status");
    let written: JobView = context.api.merge(target, &patch).await?;
    context.stores.jobs.absorb(written);
    context.queues.jobs.add(job.meta.key());
    Ok(())
}

fn list(uids: &[String]) -> Value {
    if uids.is_empty() { Value::Null } else { json!(uids) }
}

/// Events for conditions that have just become true.
fn tell(context: &Context, job: &JobView, old: &Status, new: &Status) {
    let recorder = context.recorder.of("job-controller");
    for it in new.conditions.iter().filter(|it| it.status == "True" && !condition::is_true(&old.conditions, &it.kind)) {
        let (severity, reason) = match (it.kind.as_str(), it.reason.as_str()) {
            ("Complete", _) => (Severity::Normal, "Completed"),
            ("Suspended", _) => (Severity::Normal, "Suspended"),
            ("Failed", "BackoffLimitExceeded") => (Severity::Warning, "BackoffLimitExceeded"),
            ("Failed", "DeadlineExceeded") => (Severity::Warning, "DeadlineExceeded"),
            ("Failed", "PodFailurePolicy") => (Severity::Warning, "PodFailurePolicy"),
            ("Failed", "FailedIndexes") => (Severity::Warning, "FailedIndexes"),
            ("Failed", "MaxFailedIndexesExceeded") => (Severity::Warning, "MaxFailedIndexesExceeded"),
            _ => continue,
        };
        let message = if reason == "Completed" { "Job completed" } else { it.message.as_str() };
        recorder.record(&JOBS, &job.meta, severity, reason, message);
    }
    if condition::is_true(&old.conditions, "Suspended") && !condition::is_true(&new.conditions, "Suspended") {
        recorder.record(&JOBS, &job.meta, Severity::Normal, "Resumed", "Job resumed");
    }
}
