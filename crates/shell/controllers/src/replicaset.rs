//! Keeps as many pods as each ReplicaSet wants.

use std::{collections::HashSet, sync::Arc, time::Duration};

use eyot_plan::{
    Seconds,
    condition::{self, Condition},
    replicaset::{self as plan, Counts, Phase, Plan},
    selector::Selector,
};
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiError, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, Resource, Target},
    claim::{self, Claim},
    context::Context,
    events::{Recorder, Severity},
    expect::Snapshot,
    pods::{Batch, Pods},
    queue::Outcome,
    store::{Measure, Sums},
    view::{
        Key, conditions, conditions_json, now,
        pod::{self, DELETION_COST, PodView},
        workload::ReplicaSetView,
    },
};

/// Pods named one by one in events of a pass; a larger batch gets one event with its size.
const NAMED_MAX: usize = 10;
/// Condition that says that pods could not be made or removed.
const FAILURE: &str = "ReplicaFailure";

/// One pass over one ReplicaSet.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    match context.stores.replica_sets.get(&key) {
        Some(set) => keep(&context, &set, Flavor::ReplicaSet).await,
        None => Ok(None),
    }
}

/// One pass over one ReplicationController.
pub(crate) async fn controller_pass(context: Arc<Context>, key: Key) -> Outcome {
    match context.stores.replication_controllers.get(&key) {
        Some(controller) => keep(&context, &controller.0, Flavor::ReplicationController).await,
        None => Ok(None),
    }
}

/// Which of the two kinds it is; they differ in name only.
#[derive(Clone, Copy)]
enum Flavor {
    ReplicaSet,
    ReplicationController,
}

impl Flavor {
    fn resource(self) -> &'static Resource {
        match self {
            Flavor::ReplicaSet => &REPLICA_SETS,
            Flavor::ReplicationController => &REPLICATION_CONTROLLERS,
        }
    }

    fn recorder(self, context: &Context) -> Recorder {
        context.recorder.of(match self {
            Flavor::ReplicaSet => "replicaset-controller",
            Flavor::ReplicationController => "replication-controller",
        })
    }
}

/// What a pass found, and what it is to do.
struct Found {
    plan: Plan,
    /// The pods that a plan speaks of; empty where the plan needs none.
    active: Vec<Arc<PodView>>,
    counts: Counts,
    /// In how many seconds the counts change by themselves.
    wait: Option<Seconds>,
}

/// Read, decide, write.
async fn keep(context: &Context, set: &ReplicaSetView, flavor: Flavor) -> Outcome {
    let owner = owner(context, set, flavor);
    // Wishes are read before pods: see `expect`.
    let wishes = context.expectations.snapshot(&set.meta.uid);
    let now = now();
    let found = match count(context, set, &wishes) {
        Some(found) => found,
        None => look(context, set, flavor, &wishes, now).await?,
    };
    let more = match &found.plan {
        Plan::Create(count) => *count == plan::BURST,
        Plan::Delete(indices) => indices.len() == plan::BURST,
        Plan::Keep => false,
    };
    let failure = execute(context, set, flavor, &owner, &found).await;
    write_status(context, set, flavor, found.counts, failure.as_ref(), now).await?;
    match failure {
        Some((_, error)) => Err(error),
        None if more => Ok(Some(Duration::ZERO)),
        None => Ok(found.wait.map(|it| Duration::from_secs(it.unsigned_abs()))),
    }
}

// What is counted of a ReplicaSet's pods: those that its selector does not match any more; those that count for it; of
// these, the ones with all labels of the template, and the ready ones.
const STRANGERS: usize = 0;
const ACTIVE: usize = 1;
const LABELED: usize = 2;
const READY: usize = 3;

/// What to do where that is a matter of numbers alone, which the cache keeps: a pass over a set of a hundred thousand pods
/// then costs what one over a few does. `None` where pods have to be looked at.
fn count(context: &Context, set: &ReplicaSetView, wishes: &Snapshot) -> Option<Found> {
    if set.meta.deleting() || set.spec.min_ready_seconds != 0 || !wishes.deletes.is_empty() {
        return None;
    }
    let pods = &context.stores.pods;
    let selector = set.spec.selector.compile();
    if pods.free_in(&set.meta.namespace).iter().any(|it| selects(&selector, it)) {
        return None;
    }
    let wished: Vec<Key> = wishes.creates.keys().map(|name| Key::new(&set.meta.namespace, name)).collect();
    let labels = set.spec.template.open().pointer("/metadata/labels").cloned().unwrap_or_default();
    let version = format!("{selector:?} {labels}");
    let (sums, creating) = pods.tally(&set.meta.uid, &version, || measure(selector, labels), &wished);
    let present = usize::try_from(sums[ACTIVE]).ok().filter(|_| sums[STRANGERS] == 0)? + creating;
    let plan = plan::plan_by_number(set.spec.replicas.unwrap_or(1), present)?;
    let (replicas, ready) = (sums[ACTIVE], sums[READY]);
    let counts = Counts { replicas, fully_labeled: sums[LABELED], ready, available: ready };
    Some(Found { plan, active: Vec::new(), counts, wait: None })
}

fn selects(selector: &Selector, pod: &PodView) -> bool {
    !selector.is_empty() && selector.matches(|key| pod.meta.labels.get(key))
}

fn measure(selector: Selector, labels: Value) -> Measure<PodView> {
    Box::new(move |pod| {
        let mut sums = Sums::default();
        if !selects(&selector, pod) {
            sums[STRANGERS] = 1;
        } else if pod.active() {
            sums[ACTIVE] = 1;
            sums[LABELED] = is_labeled(pod, labels.as_object()).into();
            sums[READY] = pod.ready_since.is_some().into();
        }
        sums
    })
}

/// Looks at each pod: adopts and lets go, and ranks those that may have to go.
async fn look(
    context: &Context,
    set: &ReplicaSetView,
    flavor: Flavor,
    wishes: &Snapshot,
    now: Seconds,
) -> Result<Found, ApiError> {
    let selector = set.spec.selector.compile();
    let claim = Claim {
        api: &context.api,
        store: &context.stores.pods,
        resource: &PODS,
        owner: &set.meta,
        kind: flavor.resource(),
        selector: &selector,
        member: claim::anything,
    };
    let claimed = claim.settle().await?;
    let known: HashSet<&str> = claimed.iter().map(|it| &*it.meta.name).collect();
    let creating = wishes.creates.keys().filter(|it| !known.contains(it.as_str())).count();
    let active: Vec<Arc<PodView>> =
        claimed.iter().filter(|it| it.active() && !wishes.deletes.contains(&*it.meta.uid)).cloned().collect();
    let template = set.spec.template.open();
    let labels = template["metadata"]["labels"].as_object();
    let rows: Vec<plan::Pod<'_>> = active.iter().map(|it| row(it, labels)).collect();
    let plan = match set.meta.deleting() {
        true => Plan::Keep,
        false => plan::plan(set.spec.replicas.unwrap_or(1), &rows, creating, now),
    };
    let (counts, wait) = plan::status(&rows, set.spec.min_ready_seconds, now);
    Ok(Found { plan, active, counts, wait })
}

fn owner<'a>(context: &'a Context, set: &'a ReplicaSetView, flavor: Flavor) -> Pods<'a> {
    Pods { api: &context.api, expectations: &context.expectations, resource: flavor.resource(), owner: &set.meta }
}

fn row<'a>(pod: &'a PodView, labels: Option<&Map<String, Value>>) -> plan::Pod<'a> {
    plan::Pod {
        name: &pod.meta.name,
        node: &pod.node,
        phase: match pod.phase {
            pod::Phase::Pending => Phase::Pending,
            pod::Phase::Running => Phase::Running,
            _ => Phase::Unknown,
        },
        ready_since: pod.ready_since,
        deletion_cost: pod.meta.annotations.get(DELETION_COST).and_then(|it| it.parse().ok()).unwrap_or(0),
        restarts: pod.restarts,
        created: pod.meta.created(),
        fully_labeled: is_labeled(pod, labels),
    }
}

/// Whether it has all labels of the template.
fn is_labeled(pod: &PodView, labels: Option<&Map<String, Value>>) -> bool {
    labels.is_none_or(|it| it.iter().all(|(key, value)| pod.meta.labels.get(key) == value.as_str()))
}

/// Does what the plan says; returns the reason word and the error when something was refused.
async fn execute(
    context: &Context,
    set: &ReplicaSetView,
    flavor: Flavor,
    owner: &Pods<'_>,
    found: &Found,
) -> Option<(&'static str, ApiError)> {
    match &found.plan {
        Plan::Keep => None,
        Plan::Create(count) => {
            let blueprint = owner.blueprint(&set.spec.template.open(), format!("{}-", set.meta.name), None, |_, _| {});
            let blueprints: Vec<_> = std::iter::repeat_n(Arc::new(blueprint), *count).collect();
            let refused = set.status.conditions.iter().any(|it| it.kind == FAILURE);
            let proven = if refused { 0 } else { usize::try_from(found.counts.replicas).unwrap_or(0) };
            let batch = owner.create(&blueprints, proven).await;
            tell(context, set, flavor, &batch, "SuccessfulCreate", "Created pod");
            batch.failed.map(|error| {
                let message = format!("Error creating: {}", error.message());
                let recorder = flavor.recorder(context);
                recorder.record(flavor.resource(), &set.meta, Severity::Warning, "FailedCreate", message);
                ("FailedCreate", error)
            })
        }
        Plan::Delete(indices) => {
            let pods: Vec<Arc<PodView>> = indices.iter().map(|at| found.active[*at].clone()).collect();
            let batch = owner.delete(&pods, None).await;
            tell(context, set, flavor, &batch, "SuccessfulDelete", "Deleted pod");
            batch.failed.map(|error| ("FailedDelete", error))
        }
    }
}

fn tell(context: &Context, set: &ReplicaSetView, flavor: Flavor, batch: &Batch, reason: &'static str, what: &str) {
    let recorder = flavor.recorder(context);
    let record = |message| recorder.record(flavor.resource(), &set.meta, Severity::Normal, reason, message);
    if batch.done.len() > NAMED_MAX {
        record(format!("{what}s: {}", batch.done.len()));
    } else {
        batch.done.iter().for_each(|name| record(format!("{what}: {name}")));
    }
}

async fn write_status(
    context: &Context,
    set: &ReplicaSetView,
    flavor: Flavor,
    counts: Counts,
    failure: Option<&(&'static str, ApiError)>,
    now: Seconds,
) -> Result<(), ApiError> {
    let old = &set.status;
    let before = conditions(&old.conditions);
    let mut after = before.clone();
    match failure {
        Some((reason, error)) => {
            condition::set(&mut after, Condition::new(FAILURE, "True", reason, error.message(), now));
        }
        None => condition::remove(&mut after, FAILURE),
    }
    let was = Counts {
        replicas: old.replicas,
        fully_labeled: old.fully_labeled_replicas,
        ready: old.ready_replicas,
        available: old.available_replicas,
    };
    if was == counts && before == after && old.observed_generation >= set.meta.generation {
        return Ok(());
    }
    use crate::view::count;
    let status = json!({"status": {
        "replicas": counts.replicas,
        "fullyLabeledReplicas": count(counts.fully_labeled),
        "readyReplicas": count(counts.ready),
        "availableReplicas": count(counts.available),
        "observedGeneration": set.meta.generation,
        "conditions": if after.is_empty() { serde_json::Value::Null } else { conditions_json(&after, None) },
    }});
    let target = Target::object(flavor.resource(), &set.meta.namespace, &set.meta.name).sub("status");
    let written = match flavor {
        Flavor::ReplicaSet => context.api.merge::<ReplicaSetView>(target, &status).await.map(|written| {
            // The deployment works with these counts at once; the watch will tell it again.
            context.stores.replica_sets.absorb(written);
            if let Some(owner) = set.meta.controller() {
                context.queues.deployments.add(Key::new(&set.meta.namespace, &owner.name));
            }
        }),
        Flavor::ReplicationController => context
            .api
            .merge(target, &status)
            .await
            .map(|written| context.stores.replication_controllers.absorb(written)),
    };
    match written {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
