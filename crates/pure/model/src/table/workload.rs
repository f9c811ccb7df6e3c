//! Rows of what makes pods.

use jiff::Timestamp;
use serde_json::Value;

use super::format::{
    NONE, age, containers, holds, human_duration, labels, list, number, selector, since_at, text, text_or_none, truth,
};
use crate::meta;

const TEMPLATE: &str = "/spec/template/spec/containers";

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    vec![
        meta::name(object).into(),
        format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas")).into(),
        number(object, "/status/updatedReplicas").into(),
        number(object, "/status/availableReplicas").into(),
        age(object, now).into(),
        names.into(),
        images.into(),
        selector(object, "/spec/selector").into(),
    ]
}

pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    replicas(object, now, selector(object, "/spec/selector"))
}

pub(super) fn replication_controller(object: &Value, now: Timestamp) -> Vec<Value> {
    replicas(object, now, labels(object, "/spec/selector"))
}

fn replicas(object: &Value, now: Timestamp, selector: String) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    vec![
        meta::name(object).into(),
        number(object, "/spec/replicas").into(),
        number(object, "/status/replicas").into(),
        number(object, "/status/readyReplicas").into(),
        age(object, now).into(),
        names.into(),
        images.into(),
        selector.into(),
    ]
}

pub(super) fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    vec![
        meta::name(object).into(),
        format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas")).into(),
        age(object, now).into(),
        names.into(),
        images.into(),
    ]
}

pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    vec![
        meta::name(object).into(),
        number(object, "/status/desiredNumberScheduled").into(),
        number(object, "/status/currentNumberScheduled").into(),
        number(object, "/status/numberReady").into(),
        number(object, "/status/updatedNumberScheduled").into(),
        number(object, "/status/numberAvailable").into(),
        labels(object, "/spec/template/spec/nodeSelector").into(),
        age(object, now).into(),
        names.into(),
        images.into(),
        selector(object, "/spec/selector").into(),
    ]
}

pub(super) fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, TEMPLATE);
    vec![
        meta::name(object).into(),
        job_status(object).into(),
        completions(object).into(),
        job_duration(object, now).into(),
        age(object, now).into(),
        names.into(),
        images.into(),
        selector(object, "/spec/selector").into(),
    ]
}

fn job_status(job: &Value) -> &'static str {
    match () {
        () if holds(job, "Complete") => "Complete",
        () if holds(job, "Failed") => "Failed",
        () if meta::deleted(job).is_some() => "Terminating",
        () if holds(job, "Suspended") => "Suspended",
        () if holds(job, "FailureTarget") => "FailureTarget",
        () if holds(job, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let done = number(job, "/status/succeeded");
    match (job.pointer("/spec/completions").and_then(Value::as_i64), number(job, "/spec/parallelism")) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{done}/1 of {parallelism}"),
        (None, _) => format!("{done}/1"),
    }
}

fn job_duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = meta::time(job.pointer("/status/startTime")) else { return String::new() };
    let end = meta::time(job.pointer("/status/completionTime")).unwrap_or(now);
    human_duration(end.duration_since(start).as_secs())
}

pub(super) fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, "/spec/jobTemplate/spec/template/spec/containers");
    let last = match object.pointer("/status/lastScheduleTime") {
        Some(_) => since_at(object, "/status/lastScheduleTime", now),
        None => NONE.into(),
    };
    vec![
        meta::name(object).into(),
        text(object, "/spec/schedule").into(),
        text_or_none(object, "/spec/timeZone").into(),
        if truth(object, "/spec/suspend") { "True" } else { "False" }.into(),
        list(object, "/status/active").len().into(),
        last.into(),
        age(object, now).into(),
        names.into(),
        images.into(),
        selector(object, "/spec/jobTemplate/spec/selector").into(),
    ]
}

pub(super) fn pod_template(object: &Value, _now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(object, "/template/spec/containers");
    vec![meta::name(object).into(), names.into(), images.into(), labels(object, "/template/metadata/labels").into()]
}

pub(super) fn controller_revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owner = meta::controller(object).map_or_else(
        || NONE.into(),
        |it| {
            let (group, _) = crate::kinds::split_api_version(it["apiVersion"].as_str().unwrap_or(""));
            let kind = it["kind"].as_str().unwrap_or("").to_lowercase();
            let dot = if group.is_empty() { "" } else { "." };
            format!("{kind}{dot}{group}/{}", it["name"].as_str().unwrap_or(""))
        },
    );
    vec![meta::name(object).into(), owner.into(), number(object, "/revision").into(), age(object, now).into()]
}

pub(super) fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let reference =
        format!("{}/{}", text(object, "/spec/scaleTargetRef/kind"), text(object, "/spec/scaleTargetRef/name"));
    let minimum = object.pointer("/spec/minReplicas").map_or_else(|| "<unset>".into(), Value::to_string);
    vec![
        meta::name(object).into(),
        reference.into(),
        targets(object).into(),
        minimum.into(),
        number(object, "/spec/maxReplicas").into(),
        number(object, "/status/currentReplicas").into(),
        age(object, now).into(),
    ]
}

/// Each metric as `current/target`; those of other sources than resources show as unknown.
fn targets(autoscaler: &Value) -> String {
    let metrics = list(autoscaler, "/spec/metrics");
    if metrics.is_empty() {
        return NONE.into();
    }
    let one = |(i, metric): (usize, &Value)| {
        let current = list(autoscaler, "/status/currentMetrics").get(i);
        let side = |metric: Option<&Value>, side: &str| {
            let value = metric?.get("resource")?.get(side)?;
            let percent = value.get("averageUtilization").map(|it| format!("{it}%"));
            percent.or_else(|| Some(value.get("averageValue")?.as_str()?.to_owned()))
        };
        let unknown = || "<unknown>".to_owned();
        let name = text(metric, "/resource/name");
        let prefix = if name.is_empty() { String::new() } else { format!("{name}: ") };
        let (is, should) = (side(current, "current"), side(Some(metric), "target"));
        format!("{prefix}{}/{}", is.unwrap_or_else(unknown), should.unwrap_or_else(unknown))
    };
    metrics.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
}

pub(super) fn disruption_budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let amount = |pointer: &str| match object.pointer(pointer) {
        None | Some(Value::Null) => "N/A".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    vec![
        meta::name(object).into(),
        amount("/spec/minAvailable").into(),
        amount("/spec/maxUnavailable").into(),
        number(object, "/status/disruptionsAllowed").into(),
        age(object, now).into(),
    ]
}
