//! Eviction of pods: a delete that asks disruption budgets first. Entry point: [`evict`].

use bytes::Bytes;
use eyot_model::{
    meta,
    selector::LabelSelector,
    status::{ApiError, Cause, CauseReason},
};
use eyot_store::{Page, Scope};
use http::Response;
use serde_json::{Value, json};

use super::pod;
use crate::{
    Body,
    call::Call,
    respond,
    verbs::{
        delete::{self, Options},
        update::{self, Aspect},
    },
};

/// Evictions noted in a budget that its controller has not confirmed; more than that many are not taken on.
const NOTED_MAX: usize = 2000;
/// What a client is told to wait when the budget's controller has not looked at it yet.
const RETRY_SECONDS: u32 = 10;

/// Answers `POST` of `pods/NAME/eviction`.
pub(super) async fn evict(call: &mut Call, name: &str, body: Bytes) -> Result<Response<Body>, ApiError> {
    let eviction = call.decode(&body)?.value;
    if meta::name(&eviction).is_some_and(|it| it != name) {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = Options::from(&call.query, eviction.get("deleteOptions").unwrap_or(&Value::Null))?;
    pod::admit(call, name, "eviction", eviction).await?;
    let entry = call.get(name)?;
    let evicted = call.parse(&entry)?;
    let dry_run = options.is_dry_run();
    if !is_free(&evicted)
        && let Some(budget) = budget_of(call, &evicted)?
        && !is_beyond(&budget, &evicted)
    {
        take(call, meta::name(&budget).unwrap_or_default(), name, dry_run).await?;
    }
    if !dry_run && meta::deleted(&evicted).is_none() {
        mark(call, name).await?;
    }
    delete::delete_one(call, name, &options).await?;
    Ok(respond::json(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// A pod that has not started, has ended or is going already disrupts nothing.
fn is_free(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    matches!(phase, "Pending" | "Succeeded" | "Failed") || meta::deleted(pod).is_some()
}

fn is_ready(pod: &Value) -> bool {
    meta::list(pod.pointer("/status/conditions")).iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// An unready pod may go where the budget says so, or where enough others are healthy.
fn is_beyond(budget: &Value, pod: &Value) -> bool {
    if is_ready(pod) {
        return false;
    }
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" || (healthy >= desired && desired > 0)
}

/// The budget that selects the pod.
fn budget_of(call: &Call, pod: &Value) -> Result<Option<Value>, ApiError> {
    let namespace = call.namespace.as_deref().unwrap_or_default();
    let scope = Scope::namespaced("policy/poddisruptionbudgets", namespace);
    let list = call.shared().store.list(&scope, &Page::default()).map_err(ApiError::internal)?;
    let labels = &pod["metadata"]["labels"];
    let mut found = Vec::new();
    for entry in &list.entries {
        let budget: Value = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
        let selector = &budget["spec"]["selector"];
        let selects = !selector.is_null()
            && LabelSelector::from_value(selector).is_ok_and(|it| !it.selects_nothing() && it.matches_labels(labels));
        if selects {
            found.push(budget);
        }
    }
    if found.len() > 1 {
        return Err(ApiError::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    Ok(found.pop())
}

/// Takes one disruption from the budget, and notes whose it is.
async fn take(call: &mut Call, budget: &str, pod: &str, dry_run: bool) -> Result<(), ApiError> {
    let kinds = call.server.kinds();
    let kind = kinds.by_plural("policy", "v1", "poddisruptionbudgets").ok_or_else(ApiError::no_such_path)?.clone();
    let pods = std::mem::replace(&mut call.kind, kind);
    let asked = std::mem::replace(&mut call.query.dry_run, dry_run);
    let now = meta::format_time(jiff::Timestamp::now());
    let taken = update::change(call, budget, Aspect::Own, |call, old| {
        let mut new = old.clone();
        if old.pointer("/status/disruptedPods").and_then(|it| it.get(pod)).is_some() {
            // An earlier eviction took its share and then failed to delete.
            return Ok(new);
        }
        check(call, old)?;
        let status = meta::entry(&mut new, "status");
        let left = status.get("disruptionsAllowed").and_then(Value::as_i64).unwrap_or(0) - 1;
        status.insert("disruptionsAllowed".into(), left.into());
        if left == 0 {
            let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
            for condition in conditions.into_iter().flatten().filter(|it| it["type"] == "DisruptionAllowed") {
                condition["status"] = "False".into();
                condition["reason"] = "InsufficientPods".into();
                condition["lastTransitionTime"] = now.as_str().into();
            }
        }
        meta::as_map(status.entry("disruptedPods").or_insert_with(|| json!({})))
            .insert(pod.into(), now.as_str().into());
        Ok(new)
    })
    .await;
    call.kind = pods;
    call.query.dry_run = asked;
    taken.map(drop)
}

/// Whether the budget has a disruption to give.
fn check(call: &Call, budget: &Value) -> Result<(), ApiError> {
    let name = meta::name(budget).unwrap_or_default();
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let forbidden = |why: &str| Err(ApiError::forbidden(&call.kind, name, why));
    if number("observedGeneration") < meta::generation(budget) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(&why, Some(RETRY_SECONDS)));
    }
    if number("disruptionsAllowed") < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    let noted = budget["status"]["disruptedPods"].as_object();
    if noted.is_some_and(|it| it.len() > NOTED_MAX) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if number("disruptionsAllowed") == 0 {
        let (desired, healthy) = (number("desiredHealthy"), number("currentHealthy"));
        let why = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return Err(refused(&why, None));
    }
    Ok(())
}

/// 429, with what the budget says as its cause.
fn refused(why: &str, retry: Option<u32>) -> ApiError {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut error = ApiError::too_many_requests(message, retry.unwrap_or(0));
    error.details.retry_after_seconds = retry;
    let (reason, field) = (CauseReason::DisruptionBudget, String::new());
    error.details.causes = vec![Cause { reason, message: why.to_owned(), field }];
    error
}

/// Tells in the pod's status why it goes.
async fn mark(call: &mut Call, name: &str) -> Result<(), ApiError> {
    let now = meta::format_time(jiff::Timestamp::now());
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": now,
    });
    update::change(call, name, Aspect::Own, |_, old| {
        let mut new = old.clone();
        let status = meta::entry(&mut new, "status");
        let mut conditions: Vec<Value> = meta::list(status.get("conditions")).to_vec();
        if !conditions.iter().any(|it| it["type"] == "DisruptionTarget" && it["status"] == "True") {
            conditions.retain(|it| it["type"] != "DisruptionTarget");
            conditions.push(condition.clone());
        }
        status.insert("conditions".into(), conditions.into());
        Ok(new)
    })
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_running_pods_need_a_budget() {
        for (pod, free) in [
            (json!({"status": {"phase": "Running"}}), false),
            (json!({"status": {"phase": "Pending"}}), true),
            (json!({"status": {"phase": "Failed"}}), true),
            (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}), true),
        ] {
            assert_eq!(is_free(&pod), free, "{pod}");
        }
    }

    #[test]
    fn unready_pods_go_where_they_are_not_missed() {
        let budget = |policy: Value, healthy: i64| {
            json!({"spec": {"unhealthyPodEvictionPolicy": policy},
                "status": {"currentHealthy": healthy, "desiredHealthy": 2}})
        };
        let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert!(is_beyond(&budget(Value::Null, 2), &unready));
        assert!(!is_beyond(&budget(Value::Null, 1), &unready));
        assert!(is_beyond(&budget("AlwaysAllow".into(), 0), &unready));
        assert!(!is_beyond(&budget("AlwaysAllow".into(), 3), &ready));
    }
}
