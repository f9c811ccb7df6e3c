//! Keeps the status of PodDisruptionBudgets, which evictions go by.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use eyot_plan::budget::{self as plan, Scale, Status};
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiError, BUDGETS, Target},
    context::Context,
    queue::Outcome,
    view::{Key, Word, conditions, conditions_json, now, pod::PodView, policy::BudgetView, rfc3339},
};

/// What a budget asks of the pods that it selects. It follows their changes, so that a pass need not look at each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    present: i32,
    healthy: i32,
    /// Controllers of the pods, by identity.
    owners: BTreeMap<Box<str>, Owner>,
}

/// A controller, and how many of the pods are its.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    kind: Word,
    name: Box<str>,
    pods: usize,
}

impl Count {
    pub(crate) fn add(&mut self, pod: &PodView) {
        self.present += 1;
        self.healthy += i32::from(row(pod).healthy());
        if let Some(it) = pod.meta.controller() {
            let new = || Owner { kind: it.kind.clone(), name: it.name.clone(), pods: 0 };
            self.owners.entry(it.uid.clone()).or_insert_with(new).pods += 1;
        }
    }

    pub(crate) fn take(&mut self, pod: &PodView) {
        self.present -= 1;
        self.healthy -= i32::from(row(pod).healthy());
        if let Some(it) = pod.meta.controller()
            && let Some(owner) = self.owners.get_mut(&it.uid)
        {
            owner.pods -= 1;
            if owner.pods == 0 {
                self.owners.remove(&it.uid);
            }
        }
    }
}

/// Nothing that a budget counts differs between the two.
pub(crate) fn looks_same(old: &PodView, new: &PodView) -> bool {
    old.meta.uid == new.meta.uid
        && old.ready_since.is_some() == new.ready_since.is_some()
        && old.meta.deleting() == new.meta.deleting()
        && old.meta.labels == new.meta.labels
        && old.meta.controller() == new.meta.controller()
}

fn row(pod: &PodView) -> plan::Pod {
    plan::Pod { ready: pod.ready_since.is_some(), deleting: pod.meta.deleting() }
}

/// One pass over one PodDisruptionBudget: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(budget) = context.stores.budgets.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    let selector = budget.selector();
    let count = match &selector {
        // A change of it is under way, which asks for another pass.
        Some(selector) => match context.selected.count(&key, selector) {
            Some(count) => count,
            None => return Ok(None),
        },
        None => Count::default(),
    };
    let old = status(&budget);
    let selects = |pod: &PodView| selector.as_ref().is_some_and(|it| it.matches(|key| pod.meta.labels.get(key)));
    let find = |name: &str| {
        let pod = context.stores.pods.get(&Key::new(&key.namespace, name));
        pod.filter(|it| selects(it)).map(|it| row(&it))
    };
    let pods = plan::Pods { present: count.present, healthy: count.healthy, find };
    let scale = scale(&context, &key.namespace, &count);
    let (new, wait) = plan::plan(budget.spec.wish(), budget.meta.generation, &old, &pods, &scale, now());
    if new != old {
        write_status(&context, &budget, &new).await?;
    }
    Ok(wait.map(|it| Duration::from_secs(it.unsigned_abs())))
}

/// What the controllers of the pods want, together. Pods without controller add nothing.
fn scale(context: &Context, namespace: &str, count: &Count) -> Scale {
    let stores = &context.stores;
    let (mut seen, mut sum) = (HashSet::new(), 0i32);
    for owner in count.owners.values() {
        let key = Key::new(namespace, &owner.name);
        let size = match &*owner.kind {
            "ReplicaSet" => stores.replica_sets.get(&key).map(|set| {
                let deployment = set.meta.controller().filter(|it| &*it.kind == "Deployment");
                let whole = deployment.and_then(|it| stores.deployments.get(&Key::new(namespace, &it.name)));
                match whole {
                    // All its ReplicaSets stand for one wish.
                    Some(whole) if !seen.insert(whole.meta.uid.clone()) => 0,
                    Some(whole) => whole.spec.replicas.unwrap_or(1),
                    None => set.spec.replicas.unwrap_or(1),
                }
            }),
            "StatefulSet" => stores.stateful_sets.get(&key).map(|it| it.spec.replicas.unwrap_or(1)),
            "ReplicationController" => {
                stores.replication_controllers.get(&key).map(|it| it.0.spec.replicas.unwrap_or(1))
            }
            kind => {
                let why = format!("{} does not implement the scale subresource", kind.to_lowercase());
                return Scale::Unknown(why);
            }
        };
        match size {
            Some(size) => sum = sum.saturating_add(size),
            None => return Scale::Unknown(format!("found no {} {:?} that pods name", &*owner.kind, owner.name)),
        }
    }
    Scale::Known(sum)
}

fn status(budget: &BudgetView) -> Status {
    let from = &budget.status;
    Status {
        observed_generation: from.observed_generation,
        allowed: from.disruptions_allowed,
        healthy: from.current_healthy,
        desired: from.desired_healthy,
        expected: from.expected_pods,
        disrupted: from.disrupted_pods.iter().map(|(name, since)| (name.clone(), since.0)).collect(),
        conditions: conditions(&from.conditions),
    }
}

async fn write_status(context: &Context, budget: &BudgetView, new: &Status) -> Result<(), ApiError> {
    let mut conditions = conditions_json(&new.conditions, None);
    for it in conditions.as_array_mut().into_iter().flatten() {
        it["observedGeneration"] = budget.meta.generation.into();
    }
    // A merge patch takes out only what it names.
    let mut disrupted: Map<String, Value> =
        budget.status.disrupted_pods.keys().map(|name| (name.clone(), Value::Null)).collect();
    disrupted.extend(new.disrupted.iter().map(|(name, since)| (name.clone(), rfc3339(*since).into())));
    let disrupted = if new.disrupted.is_empty() { Value::Null } else { disrupted.into() };
    // The version guards the count: an eviction in between must not be lost.
    let patch = json!({
        "metadata": {"resourceVersion": budget.meta.resource_version},
        "status": {
            "observedGeneration": new.observed_generation,
            "disruptionsAllowed": new.allowed,
            "currentHealthy": new.healthy,
            "desiredHealthy": new.desired,
            "expectedPods": new.expected,
            "disruptedPods": disrupted,
            "conditions": conditions,
        },
    });
    let target = Target::object(&BUDGETS, &budget.meta.namespace, &budget.meta.name).sub("status");
    match context.api.merge::<BudgetView>(target, &patch).await {
        Ok(written) => context.stores.budgets.absorb(written),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
