//! What a pod of a StatefulSet looks like: its template, its number, its claims.

use eyot_plan::statefulset;
use serde_json::{Value, json};

use super::claims;
use crate::{
    history::HASH,
    pods::{Blueprint, Pods},
    view::apps::{RevisionView, StatefulSetView},
};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The pod of this number, made of the template that the revision holds.
pub(super) fn blueprint(owner: &Pods<'_>, set: &StatefulSetView, revision: &RevisionView, ordinal: i32) -> Blueprint {
    let name = statefulset::name(&set.meta.name, ordinal);
    let base = format!("{}-", set.meta.name);
    let blueprint = owner.blueprint(&revision.template(), base, Some(ordinal), |meta, spec| {
        let labels = meta.entry("labels").or_insert_with(|| json!({}));
        labels[HASH] = (*revision.meta.name).into();
        labels[POD_NAME] = name.as_str().into();
        labels[POD_INDEX] = ordinal.to_string().into();
        spec["hostname"] = name.as_str().into();
        if !set.spec.service_name.is_empty() {
            spec["subdomain"] = set.spec.service_name.as_str().into();
        }
        mount(set, spec, ordinal);
    });
    blueprint.named(name)
}

/// A claim takes the place of a volume of its name.
fn mount(set: &StatefulSetView, spec: &mut Value, ordinal: i32) {
    let claims: Vec<(String, String)> = claims::names(set, ordinal).collect();
    if claims.is_empty() {
        return;
    }
    let mut volumes: Vec<Value> = spec["volumes"].as_array().cloned().unwrap_or_default();
    volumes.retain(|it| !claims.iter().any(|claim| it["name"] == claim.0.as_str()));
    volumes.extend(
        claims
            .into_iter()
            .map(|(volume, claim)| json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}})),
    );
    spec["volumes"] = volumes.into();
}
