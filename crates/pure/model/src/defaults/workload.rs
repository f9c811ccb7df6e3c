//! Defaults of what makes pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob and their kin.

use serde_json::{Value, json};

use super::{
    fill::{Object, each, has, make, set, set_text, sub, text},
    pod,
};

const HISTORY: i64 = 10;

/// Fills in the pod template of a workload's spec.
fn template(spec: &mut Object) {
    if let Some(it) = sub(spec, "template").and_then(|it| sub(it, "spec")) {
        pod::spec(it);
    }
}

pub(super) fn deployment(spec: &mut Object) {
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", HISTORY);
    set(spec, "progressDeadlineSeconds", 600);
    let strategy = make(spec, "strategy");
    set_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = make(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", "25%");
        set(rolling, "maxSurge", "25%");
    }
    template(spec);
}

pub(super) fn replica_set(spec: &mut Object) {
    set(spec, "replicas", 1);
    template(spec);
}

/// A ReplicationController selects its template's labels, and carries them, unless told otherwise.
pub(super) fn replication_controller(object: &mut Object) {
    let spec = make(object, "spec");
    replica_set(spec);
    let labels = spec.get("template").and_then(|it| it.pointer("/metadata/labels")).cloned();
    let Some(labels) = labels.filter(|it| it.as_object().is_some_and(|it| !it.is_empty())) else { return };
    if empty(spec, "selector") {
        spec.insert("selector".into(), labels.clone());
    }
    let metadata = make(object, "metadata");
    if empty(metadata, "labels") {
        metadata.insert("labels".into(), labels);
    }
}

pub(super) fn stateful_set(spec: &mut Object) {
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", HISTORY);
    set_text(spec, "podManagementPolicy", "OrderedReady");
    let strategy = make(spec, "updateStrategy");
    set_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        set(make(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = make(spec, "persistentVolumeClaimRetentionPolicy");
    set_text(retention, "whenDeleted", "Retain");
    set_text(retention, "whenScaled", "Retain");
    each(spec, "volumeClaimTemplates", |claim| {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        set_text(make(claim, "spec"), "volumeMode", "Filesystem");
        set_text(make(claim, "status"), "phase", "Pending");
    });
    template(spec);
}

pub(super) fn daemon_set(spec: &mut Object) {
    set(spec, "revisionHistoryLimit", HISTORY);
    let strategy = make(spec, "updateStrategy");
    set_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = make(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", 1);
        set(rolling, "maxSurge", 0);
    }
    template(spec);
}

pub(super) fn job(object: &mut Object) {
    let spec = make(object, "spec");
    if !has(spec, "completions") && !has(spec, "parallelism") {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    let retries = if has(spec, "backoffLimitPerIndex") { i32::MAX } else { 6 };
    set(spec, "backoffLimit", retries);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    set(spec, "manualSelector", false);
    let replacement = if has(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set(spec, "podReplacementPolicy", replacement);
    if let Some(policy) = sub(spec, "podFailurePolicy") {
        each(policy, "rules", |rule| each(rule, "onPodConditions", |it| set_text(it, "status", "True")));
    }
    template(spec);
    let labels = spec.get("template").and_then(|it| it.pointer("/metadata/labels")).cloned();
    let metadata = make(object, "metadata");
    if let Some(labels) = labels.filter(|_| empty(metadata, "labels")) {
        metadata.insert("labels".into(), labels);
    }
}

pub(super) fn cron_job(spec: &mut Object) {
    set_text(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = sub(spec, "jobTemplate").and_then(|it| sub(it, "spec")) {
        template(job);
    }
}

pub(super) fn pod_template(object: &mut Object) {
    template(object);
}

pub(super) fn autoscaler(spec: &mut Object) {
    set(spec, "minReplicas", 1);
    if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".into(), json!([metric]));
    }
    if let Some(behavior) = sub(spec, "behavior") {
        let all = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        let some = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let up = make(behavior, "scaleUp");
        set(up, "stabilizationWindowSeconds", 0);
        set(up, "selectPolicy", "Max");
        set(up, "policies", json!([some, all.clone()]));
        let down = make(behavior, "scaleDown");
        set(down, "selectPolicy", "Max");
        set(down, "policies", json!([all]));
    }
}

fn empty(object: &Object, field: &str) -> bool {
    object.get(field).and_then(Value::as_object).is_none_or(Object::is_empty)
}
