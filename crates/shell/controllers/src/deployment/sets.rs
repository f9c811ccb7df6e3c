//! Between ReplicaSets and the plan: rows to decide on, manifests and annotations to write.

use std::sync::Arc;

use eyot_plan::{
    rollout::{self, Spec},
    template::{self, HASH_LABEL},
};
use serde_json::{Map, Value, json};

use super::REVISION;
use crate::view::{
    OwnerReference,
    workload::{DeploymentView, ReplicaSetView},
};

const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that do not pass from a Deployment to its ReplicaSets.
const OWN: [&str; 5] = ["kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED, MAX];
/// Longest history of revisions kept in an annotation, in bytes.
const HISTORY_MAX: usize = 2000;

/// The ReplicaSets as the plan takes them.
///
/// A set is the current one when its template equals the Deployment's, or when its name says that it was made from it:
/// should the server store a template differently from how it was sent, no second set is made.
pub(super) fn rows(deployment: &DeploymentView, sets: &[Arc<ReplicaSetView>], hash: &str) -> Vec<rollout::ReplicaSet> {
    let wanted = deployment.spec.template.open();
    let equal = |it: &ReplicaSetView| template::same(&it.spec.template.open(), &wanted);
    let any_equal = sets.iter().any(|it| equal(it));
    let own_name = format!("{}-{hash}", deployment.meta.name);
    let current = |it: &ReplicaSetView| if any_equal { equal(it) } else { *it.meta.name == *own_name };
    sets.iter().map(|it| row(it, current(it))).collect()
}

fn row(set: &ReplicaSetView, current: bool) -> rollout::ReplicaSet {
    let number = |key: &str| set.meta.annotations.get(key).and_then(|it| it.parse::<i32>().ok());
    let failure = set.status.conditions.iter().find(|it| it.kind == "ReplicaFailure" && it.status == "True");
    rollout::ReplicaSet {
        name: set.meta.name.to_string(),
        created: set.meta.created(),
        current,
        size: set.spec.replicas.unwrap_or(1),
        replicas: set.status.replicas,
        ready: set.status.ready_replicas,
        available: set.status.available_replicas,
        terminating: set.status.terminating_replicas,
        observed: set.status.observed_generation >= set.meta.generation,
        revision: set.meta.annotations.get(REVISION).and_then(|it| it.parse().ok()).unwrap_or(0),
        desired: number(DESIRED),
        max: number(MAX),
        deleting: set.meta.deleting(),
        failure: failure.map(|it| (it.reason.clone(), it.message.clone())),
    }
}

/// The annotations that tell a set the Deployment's size when it was last scaled.
pub(super) fn sizes(spec: &Spec) -> Map<String, Value> {
    let max = spec.replicas + spec.max_surge();
    [(DESIRED, spec.replicas), (MAX, max)]
        .map(|(key, value)| (key.to_owned(), value.to_string().into()))
        .into_iter()
        .collect()
}

/// What the current set takes over from its Deployment, and its revision.
pub(super) fn inherited(deployment: &DeploymentView, set: &ReplicaSetView, revision: i64) -> Map<String, Value> {
    let mut all = passed_on(deployment);
    let present = set.meta.annotations.get(REVISION).unwrap_or("");
    let before: i64 = present.parse().unwrap_or(0);
    if before < revision {
        all.insert(REVISION.into(), revision.to_string().into());
        if before > 0 {
            let history = match set.meta.annotations.get(REVISION_HISTORY) {
                Some(history) if !history.is_empty() => format!("{history},{present}"),
                _ => present.to_owned(),
            };
            if history.len() <= HISTORY_MAX {
                all.insert(REVISION_HISTORY.into(), history.into());
            }
        }
    }
    all
}

fn passed_on(deployment: &DeploymentView) -> Map<String, Value> {
    let all = deployment.meta.annotations.iter().filter(|(key, _)| !OWN.contains(key));
    all.map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// The ReplicaSet of the present template.
pub(super) fn manifest(
    deployment: &DeploymentView,
    spec: &Spec,
    name: &str,
    hash: &str,
    size: i32,
    revision: i64,
    owner: OwnerReference,
) -> Value {
    let mut template = deployment.spec.template.open();
    template["metadata"]["labels"][HASH_LABEL] = hash.into();
    let labels = template["metadata"]["labels"].clone();
    let mut annotations = passed_on(deployment);
    annotations.extend(sizes(spec));
    annotations.insert(REVISION.into(), revision.to_string().into());
    let from = &deployment.spec.selector;
    let mut match_labels: Map<String, Value> =
        from.match_labels.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    match_labels.insert(HASH_LABEL.into(), hash.into());
    let mut selector = json!({"matchLabels": match_labels});
    if !from.match_expressions.is_empty() {
        selector["matchExpressions"] = from
            .match_expressions
            .iter()
            .map(|it| {
                let mut row = json!({"key": it.key, "operator": it.operator});
                if !it.values.is_empty() {
                    row["values"] = json!(it.values);
                }
                row
            })
            .collect();
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": deployment.meta.namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": [owner.to_json()],
        },
        "spec": {
            "replicas": size, "minReadySeconds": deployment.spec.min_ready_seconds, "selector": selector,
            "template": template,
        },
    })
}
