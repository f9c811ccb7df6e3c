//! Keeps the status of PodDisruptionBudgets, which evictions go by.

use std::{collections::HashSet, sync::Arc, time::Duration};

use eyot_plan::budget::{self as plan, Scale, Status};
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiError, BUDGETS, Target},
    context::Context,
    queue::Outcome,
    view::{Key, conditions, conditions_json, now, pod::PodView, policy::BudgetView, rfc3339},
};

/// Nothing that a budget counts differs between the two.
pub(crate) fn looks_same(old: &PodView, new: &PodView) -> bool {
    old.meta.uid == new.meta.uid
        && old.ready_since.is_some() == new.ready_since.is_some()
        && old.meta.deleting() == new.meta.deleting()
        && old.meta.labels == new.meta.labels
}

/// One pass over one PodDisruptionBudget: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(budget) = context.stores.budgets.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    let mut pods = context.stores.pods.in_namespace(&key.namespace);
    pods.retain(|it| budget.selects(&it.meta));
    let rows: Vec<plan::Pod<'_>> = pods
        .iter()
        .map(|it| plan::Pod { name: &it.meta.name, ready: it.ready_since.is_some(), deleting: it.meta.deleting() })
        .collect();
    let old = status(&budget);
    let scale = scale(&context, &key.namespace, &pods);
    let (new, wait) = plan::plan(budget.spec.wish(), budget.meta.generation, &old, &rows, &scale, now());
    if new != old {
        write_status(&context, &budget, &new).await?;
    }
    Ok(wait.map(|it| Duration::from_secs(it.unsigned_abs())))
}

/// What the controllers of the pods want, together. Pods without controller add nothing.
fn scale(context: &Context, namespace: &str, pods: &[Arc<PodView>]) -> Scale {
    let stores = &context.stores;
    let (mut seen, mut sum) = (HashSet::new(), 0i32);
    for pod in pods {
        let Some(owner) = pod.meta.controller() else { continue };
        if !seen.insert(owner.uid.clone()) {
            continue;
        }
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
            None => return Scale::Unknown(format!("found no controllers for pod {:?}", pod.meta.name)),
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
