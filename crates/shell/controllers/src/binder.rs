//! Binds claims to volumes, and keeps both while they are in use.
//!
//! Entry points: [`claim_pass`] and [`volume_pass`]. Who makes a volume for a claim is told in the claim's annotation, as
//! Kubernetes tells it: the node does for its own class. Finalizers are added when a claim is bound, not when it is made, so
//! that a claim which nobody bound goes at once.

use std::{sync::Arc, time::Duration};

use eyot_plan::storage::{self as plan, ClaimStep, Class, ClassOf, Volume};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::{
    api::{ApiError, CLAIMS, PODS, STORAGE_CLASSES, Target, VOLUMES},
    context::Context,
    events::Severity,
    queue::Outcome,
    view::{
        Key, Meta, nullable,
        storage::{ClaimView, ClassView, VolumeView},
    },
};

const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
/// Who is to make a volume for the claim.
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// What marks the class of claims that name none.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const NAME: &str = "persistentvolume-controller";
/// Between two looks for a class that is not there, as in Kubernetes. Classes are not watched: claims that wait for one are
/// rare.
const CLASS_PERIOD: Duration = Duration::from_secs(15);

/// One pass over one claim.
pub(crate) async fn claim_pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(claim) = context.stores.claims.get(&key) else { return Ok(None) };
    if claim.meta.deleting() {
        return let_go(&context, &claim).await;
    }
    let class = match claim.spec.volume_name.is_empty() && !claim.class().is_empty() {
        true => class(&context, claim.class()).await?,
        false => None,
    };
    let class = match (&class, claim.class()) {
        (Some(it), _) => ClassOf::Known(Class {
            provisioner: &it.provisioner,
            waits: it.volume_binding_mode == "WaitForFirstConsumer",
        }),
        (None, "") => ClassOf::None,
        (None, _) => ClassOf::Missing,
    };
    let volumes = context.stores.volumes.all();
    let rows: Vec<Volume<'_>> = volumes.iter().map(|it| it.plan()).collect();
    match plan::claim(&claim.plan(), &rows, class) {
        ClaimStep::Keep => {}
        ClaimStep::Bind(at) => bind(&context, &claim, &volumes[at]).await?,
        ClaimStep::Lost(why) => {
            if claim.status.phase != "Lost" {
                tell(
                    &context,
                    &claim,
                    Severity::Warning,
                    "ClaimLost",
                    format!("Bound claim has lost its volume: {why}"),
                );
                let patch = json!({"status": {"phase": "Lost", "accessModes": null, "capacity": null}});
                write(&context, claim_target(&claim).sub("status"), &patch).await?;
            }
        }
        ClaimStep::Provision(provisioner) => {
            if claim.meta.annotations.get(PROVISIONER) != Some(&provisioner) {
                let message = format!("Waiting for a volume to be created by {provisioner}");
                tell(&context, &claim, Severity::Normal, "ExternalProvisioning", message);
                let patch = json!({"metadata": {"annotations": {PROVISIONER: provisioner}}});
                write(&context, claim_target(&claim), &patch).await?;
            }
        }
        ClaimStep::Wait { reason, worrying, message } => {
            tell(&context, &claim, if worrying { Severity::Warning } else { Severity::Normal }, reason, message);
            if !claim.spec.volume_name.is_empty() || matches!(class, ClassOf::Known(_)) {
                return Ok(None);
            }
            if claim.spec.storage_class_name.is_none()
                && let Some(name) = default_class(&context).await?
            {
                let patch = json!({"metadata": {"uid": claim.meta.uid}, "spec": {"storageClassName": name}});
                write(&context, claim_target(&claim), &patch).await?;
                return Ok(None);
            }
            return Ok(Some(CLASS_PERIOD));
        }
    }
    Ok(None)
}

/// One pass over one volume.
pub(crate) async fn volume_pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(volume) = context.stores.volumes.get(&key) else { return Ok(None) };
    let owner = volume.spec.claim_ref.as_ref();
    let claim = owner.and_then(|it| context.stores.claims.get(&Key::new(&it.namespace, &it.name)));
    let claim = claim.as_ref().map(|it| it.plan());
    let phase = plan::phase(&volume.plan(), claim.as_ref());
    if phase.to_string() != volume.status.phase {
        write(&context, volume_target(&volume).sub("status"), &json!({"status": {"phase": phase.to_string()}})).await?;
    }
    if volume.meta.deleting() && phase != plan::Phase::Bound && has(&volume.meta, VOLUME_PROTECTION) {
        let patch = json!({"metadata": {"finalizers": without(&volume.meta, VOLUME_PROTECTION)}});
        write(&context, volume_target(&volume), &patch).await?;
    }
    Ok(None)
}

async fn class(context: &Context, name: &str) -> Result<Option<ClassView>, ApiError> {
    match context.api.get(Target::object(&STORAGE_CLASSES, "", name), "").await {
        Err(error) if error.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}

/// The class of claims that say nothing about it: of several that are marked the newest. One that was marked after a claim
/// was made is good for that too.
async fn default_class(context: &Context) -> Result<Option<String>, ApiError> {
    let classes: Classes = context.api.get(Target::collection(&STORAGE_CLASSES, ""), "").await?;
    let marked = classes.items.iter().filter(|it| it.meta.annotations.get(DEFAULT_CLASS) == Some("true"));
    let newest = marked.max_by_key(|it| (it.meta.created(), std::cmp::Reverse(it.meta.name.clone())));
    Ok(newest.map(|it| it.meta.name.to_string()))
}

/// Makes each name the other, the volume first: a volume is never two claims' own.
async fn bind(context: &Context, claim: &ClaimView, volume: &VolumeView) -> Result<(), ApiError> {
    let ours = volume.spec.claim_ref.as_ref().is_some_and(|it| *it.uid == *claim.meta.uid);
    if !ours || !has(&volume.meta, VOLUME_PROTECTION) {
        let patch = json!({
            "metadata": {
                // The version guards the choice: another pass may have given the volume away.
                "resourceVersion": volume.meta.resource_version,
                "finalizers": with(&volume.meta, VOLUME_PROTECTION),
            },
            "spec": {"claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.meta.namespace,
                "name": claim.meta.name, "uid": claim.meta.uid,
            }},
        });
        let written: VolumeView = context.api.merge(volume_target(volume), &patch).await?;
        context.stores.volumes.absorb(written);
    }
    let patch = json!({
        "metadata": {
            "uid": claim.meta.uid,
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
            "finalizers": with(&claim.meta, CLAIM_PROTECTION),
        },
        "spec": {"volumeName": volume.meta.name},
    });
    write(context, claim_target(claim), &patch).await?;
    let capacity: serde_json::Map<String, Value> =
        volume.spec.capacity.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let patch = json!({"status": {"phase": "Bound", "accessModes": volume.spec.access_modes, "capacity": capacity}});
    write(context, claim_target(claim).sub("status"), &patch).await?;
    write(context, volume_target(volume).sub("status"), &json!({"status": {"phase": "Bound"}})).await
}

/// Lets a deleted claim go once no pod uses it.
async fn let_go(context: &Context, claim: &ClaimView) -> Outcome {
    if has(&claim.meta, CLAIM_PROTECTION) && !is_used(context, claim).await? {
        let patch = json!({"metadata": {"finalizers": without(&claim.meta, CLAIM_PROTECTION)}});
        write(context, claim_target(claim), &patch).await?;
    }
    Ok(None)
}

/// Whether a pod that may still run mounts the claim. Pods are asked for, since only here their volumes matter.
async fn is_used(context: &Context, claim: &ClaimView) -> Result<bool, ApiError> {
    let pods: Pods = context.api.get(Target::collection(&PODS, &claim.meta.namespace), "").await?;
    Ok(pods.items.iter().any(|it| it.uses(&claim.meta.name)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Classes {
    items: Vec<ClassView>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pods {
    items: Vec<Pod>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Named,
    spec: Volumes,
    status: Phase,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Volumes {
    #[serde(deserialize_with = "nullable")]
    volumes: Vec<PodVolume>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodVolume {
    name: String,
    persistent_volume_claim: Option<Source>,
    ephemeral: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Source {
    claim_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Phase {
    #[serde(deserialize_with = "nullable")]
    phase: String,
}

impl Pod {
    fn uses(&self, claim: &str) -> bool {
        let ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        let names = |it: &PodVolume| match (&it.persistent_volume_claim, &it.ephemeral) {
            (Some(source), _) => source.claim_name == claim,
            (None, Some(_)) => format!("{}-{}", self.metadata.name, it.name) == claim,
            (None, None) => false,
        };
        !ended && self.spec.volumes.iter().any(names)
    }
}

fn claim_target(claim: &ClaimView) -> Target<'_> {
    Target::object(&CLAIMS, &claim.meta.namespace, &claim.meta.name)
}

fn volume_target(volume: &VolumeView) -> Target<'_> {
    Target::object(&VOLUMES, "", &volume.meta.name)
}

/// Patches; what is gone needs nothing.
async fn write(context: &Context, target: Target<'_>, patch: &Value) -> Result<(), ApiError> {
    match context.api.merge::<IgnoredAny>(target, patch).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

fn tell(context: &Context, claim: &ClaimView, severity: Severity, reason: &'static str, message: String) {
    context.recorder.of(NAME).record(&CLAIMS, &claim.meta, severity, reason, message);
}

fn has(meta: &Meta, finalizer: &str) -> bool {
    meta.finalizers.iter().any(|it| **it == *finalizer)
}

fn with(meta: &Meta, finalizer: &str) -> Vec<String> {
    let others = without(meta, finalizer);
    others.into_iter().chain([finalizer.to_owned()]).collect()
}

fn without(meta: &Meta, finalizer: &str) -> Vec<String> {
    meta.finalizers.iter().filter(|it| ***it != *finalizer).map(|it| it.to_string()).collect()
}
