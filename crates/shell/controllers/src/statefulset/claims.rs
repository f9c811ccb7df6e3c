//! The PersistentVolumeClaims of a StatefulSet's pods: made before their pod, kept or given away as the set says.
//!
//! Entry points: [`ensure`] and [`hand_over`]. Claims are asked for one by one, since sets that have any are rare; binding
//! them is the binder's.

use eyot_plan::statefulset;
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiError, CLAIMS, PODS, STATEFUL_SETS, Target},
    context::Context,
    pods::set_owners,
    view::{Meta, OwnerReference, apps::StatefulSetView, cluster::MetaView},
};

/// Name of the volume and of the claim, for each claim of the pod of this number.
pub(super) fn names(set: &StatefulSetView, ordinal: i32) -> impl Iterator<Item = (String, String)> {
    let pod = statefulset::name(&set.meta.name, ordinal);
    set.spec.volume_claim_templates.iter().map(move |it| {
        let template = it["metadata"]["name"].as_str().unwrap_or_default();
        (template.to_owned(), format!("{template}-{pod}"))
    })
}

/// Makes the claims of a pod that do not exist, and sees to who owns those that do.
pub(super) async fn ensure(
    context: &Context,
    set: &StatefulSetView,
    reference: &OwnerReference,
    ordinal: i32,
) -> Result<(), ApiError> {
    let owners = if set.spec.persistent_volume_claim_retention_policy.goes_with_set() {
        vec![OwnerReference { controller: false, block_owner_deletion: false, ..reference.clone() }]
    } else {
        Vec::new()
    };
    for (template, (_, name)) in set.spec.volume_claim_templates.iter().zip(names(set, ordinal)) {
        let body = manifest(set, template, &name, &owners).to_string().into_bytes();
        match context.api.create(Target::collection(&CLAIMS, &set.meta.namespace), body).await {
            Err(error) if error.exists() => own(context, set, &name, &owners).await?,
            other => other.map(drop)?,
        }
    }
    Ok(())
}

fn manifest(set: &StatefulSetView, template: &Value, name: &str, owners: &[OwnerReference]) -> Value {
    let mut labels: Map<String, Value> = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.extend(set.spec.selector.match_labels.iter().map(|(key, value)| (key.to_owned(), value.into())));
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": set.meta.namespace, "labels": labels},
        "spec": template["spec"],
    });
    if let Some(annotations) = template["metadata"].get("annotations").filter(|it| it.is_object()) {
        claim["metadata"]["annotations"] = annotations.clone();
    }
    if !owners.is_empty() {
        claim["metadata"]["ownerReferences"] = owners.iter().map(OwnerReference::to_json).collect();
    }
    claim
}

/// Gives the claims of a pod that is scaled away to the pod, where they are to go with it.
pub(super) async fn hand_over(context: &Context, set: &StatefulSetView, pod: &Meta) -> Result<(), ApiError> {
    if !set.spec.persistent_volume_claim_retention_policy.goes_with_pod() {
        return Ok(());
    }
    let Some(ordinal) = super::ordinal(&set.meta, pod) else { return Ok(()) };
    let owner = OwnerReference {
        api_version: PODS.api_version.as_ref().into(),
        kind: PODS.kind.as_ref().into(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        controller: false,
        block_owner_deletion: false,
    };
    for (_, claim) in names(set, ordinal) {
        own(context, set, &claim, std::slice::from_ref(&owner)).await?;
    }
    Ok(())
}

/// Makes the set, or a pod of it, the owner of a claim, or nobody. Owners of other kinds stay.
async fn own(context: &Context, set: &StatefulSetView, claim: &str, owners: &[OwnerReference]) -> Result<(), ApiError> {
    let target = Target::object(&CLAIMS, &set.meta.namespace, claim);
    let present: MetaView = match context.api.get(target, "").await {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    let ours = |it: &&OwnerReference| *it.kind == *STATEFUL_SETS.kind || *it.kind == *PODS.kind;
    let mut wanted: Vec<OwnerReference> =
        present.meta.owner_references.iter().filter(|it| !ours(it)).cloned().collect();
    wanted.extend_from_slice(owners);
    if *wanted == *present.meta.owner_references {
        return Ok(());
    }
    set_owners(&context.api, &CLAIMS, &present.meta, &wanted).await
}
