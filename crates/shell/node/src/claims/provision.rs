//! Makes volumes for claims of the class `local-path`: directories of this machine, one for each claim.
//!
//! Start at [`run`]. The controllers say in a claim's annotations that this provisioner is to make its volume, and on which
//! node. A volume whose claim is gone is removed with its content where its policy is `Delete`. The size that a claim asks for
//! is written down but not enforced: the directories share the disk.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::SELECTED_NODE;
use crate::{
    api::{self, ApiError},
    pod::Shared,
    volumes::{is_inside, remove_tree, write::make_private},
    watch::{self, Change},
};

/// The class's name.
const CLASS: &str = "local-path";
/// Who makes its volumes.
const PROVISIONER: &str = "eyot.io/local-path";
/// Where a claim says who is to make its volume.
const ASKED: &str = "volume.kubernetes.io/storage-provisioner";
/// Where a volume says who made it.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// First pause before what failed is tried again; doubles up to the last while nothing succeeds.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// The StorageClass, the default one.
pub(crate) fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": { "name": CLASS, "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
        "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

/// Why a volume could not be made or removed.
#[derive(Debug, thiserror::Error)]
enum ProvisionError {
    #[error("preparing {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// What is to be done, by the volume's name: a thing asked for twice is done once.
#[derive(Default)]
struct Tasks {
    lists: Mutex<Lists>,
    wake: Notify,
}

#[derive(Default)]
struct Lists {
    waiting: BTreeMap<String, Task>,
    /// What waits to be tried again: one that cannot be done holds no other up.
    failed: BTreeMap<String, Task>,
    retry: Option<Instant>,
    pause: Duration,
}

enum Task {
    Make(Box<PersistentVolumeClaim>),
    Remove { uid: String },
}

impl Tasks {
    fn add(&self, volume: String, task: Task) {
        let mut lists = self.lists.lock();
        lists.failed.remove(&volume);
        lists.waiting.insert(volume, task);
        self.wake.notify_one();
    }

    /// Nobody asks for that volume any more.
    fn forget(&self, volume: &str) {
        let mut lists = self.lists.lock();
        lists.failed.remove(volume);
        lists.waiting.remove(volume);
    }

    async fn next(&self) -> (String, Task) {
        loop {
            let retry = {
                let lists = &mut *self.lists.lock();
                if lists.retry.is_some_and(|it| it <= Instant::now()) {
                    lists.retry = None;
                    for (volume, task) in std::mem::take(&mut lists.failed) {
                        lists.waiting.entry(volume).or_insert(task);
                    }
                }
                match lists.waiting.pop_first() {
                    Some(task) => return task,
                    None => lists.retry,
                }
            };
            match retry {
                None => self.wake.notified().await,
                // Woken or not, there may be something to do.
                Some(at) => drop(timeout_at(at, self.wake.notified()).await),
            }
        }
    }

    fn succeeded(&self) {
        self.lists.lock().pause = Duration::ZERO;
    }

    fn failed(&self, volume: String, task: Task) {
        let lists = &mut *self.lists.lock();
        if lists.retry.is_none() {
            lists.pause = (lists.pause * 2).clamp(RETRY_FIRST, RETRY_LAST);
            lists.retry = Some(Instant::now() + lists.pause);
        }
        lists.failed.insert(volume, task);
    }
}

/// Makes and removes volumes until the node stops.
pub(crate) async fn run(shared: &Shared) {
    let tasks = Arc::new(Tasks::default());
    let claims =
        watch::follow(shared.client.clone(), "/api/v1/persistentvolumeclaims", "", shared.token.clone(), |change| {
            match change {
                Change::Seen(json) => {
                    if let Some((volume, task)) = asked(json, &shared.config.name) {
                        tasks.add(volume, task);
                    }
                }
                Change::Gone(json) => {
                    if let Some(volume) = of_claim(json) {
                        tasks.forget(&volume);
                    }
                }
                Change::Relisting | Change::Synced => {}
            }
        });
    let volumes =
        watch::follow(shared.client.clone(), "/api/v1/persistentvolumes", "", shared.token.clone(), |change| {
            if let Change::Seen(json) = change
                && let Some((volume, task)) = released(json, &shared.config.name)
            {
                tasks.add(volume, task);
            }
        });
    let work = async {
        loop {
            let (volume, task) = tasks.next().await;
            let done = match &task {
                Task::Make(claim) => make(shared, &volume, claim).await,
                Task::Remove { uid } => remove(shared, &volume, uid).await,
            };
            match done {
                Ok(()) => tasks.succeeded(),
                Err(error) => {
                    tracing::warn!(volume, error = &error as &dyn std::error::Error, "a local volume");
                    tasks.failed(volume, task);
                }
            }
        }
    };
    tokio::select! {
        ((), ()) = futures::future::join(claims, volumes) => {}
        () = work => {}
    }
}

/// What of an object decides whether the rest must be read.
#[derive(Deserialize)]
struct Head {
    metadata: HeadMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMeta {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl HeadMeta {
    fn says(&self, key: &str, value: &str) -> bool {
        self.annotations.as_ref().and_then(|it| it.get(key)).is_some_and(|it| it == value)
    }
}

/// The name of the volume that is made for a claim.
fn of_claim(json: &str) -> Option<String> {
    let head: Head = serde_json::from_str(json).ok()?;
    Some(name(&head.metadata.uid))
}

fn name(claim: &str) -> String {
    format!("pvc-{claim}")
}

/// The volume that a claim asks this node to make.
fn asked(json: &str, node: &str) -> Option<(String, Task)> {
    let head: Head = serde_json::from_str(json).ok()?;
    let elsewhere =
        head.metadata.annotations.as_ref().and_then(|it| it.get(SELECTED_NODE)).is_some_and(|it| it != node);
    if elsewhere || !head.metadata.says(ASKED, PROVISIONER) {
        return None;
    }
    let claim: PersistentVolumeClaim = serde_json::from_str(json).ok()?;
    let is_bound = claim.spec.as_ref().is_some_and(|it| it.volume_name.as_deref().is_some_and(|it| !it.is_empty()));
    if is_bound || claim.metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some((name(&head.metadata.uid), Task::Make(Box::new(claim))))
}

/// The volume of this node whose claim is gone, and which is to go with it.
fn released(json: &str, node: &str) -> Option<(String, Task)> {
    let head: Head = serde_json::from_str(json).ok()?;
    if !head.metadata.says(PROVISIONED_BY, PROVISIONER) {
        return None;
    }
    let volume: PersistentVolume = serde_json::from_str(json).ok()?;
    let released = volume.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Released");
    let goes = volume.spec.as_ref().and_then(|it| it.persistent_volume_reclaim_policy.as_deref()) == Some("Delete");
    let here = super::is_reachable(&volume, node);
    let (name, uid) = (volume.metadata.name?, volume.metadata.uid?);
    (released && goes && here).then_some((name, Task::Remove { uid }))
}

/// Where the content of a volume lies.
fn directory(data: &Path, volume: &str) -> PathBuf {
    data.join("claims").join(volume)
}

async fn make(shared: &Shared, name: &str, claim: &PersistentVolumeClaim) -> Result<(), ProvisionError> {
    let path = directory(&shared.config.data_dir, name);
    make_private(&path).map_err(|source| ProvisionError::Directory { path: path.clone(), source })?;
    let path = path.canonicalize().map_err(|source| ProvisionError::Directory { path, source })?;
    let class = claim.spec.as_ref().and_then(|it| it.storage_class_name.as_deref()).unwrap_or_default();
    let class = api::get::<Class>(&shared.client, &format!("/apis/storage.k8s.io/v1/storageclasses/{class}")).await?;
    let policy = class.map_or_else(|| "Delete".to_owned(), |it| it.reclaim_policy);
    let volume = volume(name, &path, claim, &shared.config.name, &policy);
    match api::create(&shared.client, "/api/v1/persistentvolumes", &volume).await {
        Ok(()) | Err(ApiError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What of a StorageClass matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Class {
    reclaim_policy: String,
}

fn volume(name: &str, path: &Path, claim: &PersistentVolumeClaim, node: &str, policy: &str) -> Value {
    let (meta, spec) = (&claim.metadata, claim.spec.as_ref());
    let asked = spec.and_then(|it| it.resources.as_ref()).and_then(|it| it.requests.as_ref());
    let size = asked.and_then(|it| it.get("storage")).map_or("1Gi", |it| it.0.as_str());
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": { "name": name, "annotations": { PROVISIONED_BY: PROVISIONER } },
        "spec": {
            "capacity": { "storage": size },
            "accessModes": spec.and_then(|it| it.access_modes.as_ref()),
            "volumeMode": "Filesystem",
            "storageClassName": spec.and_then(|it| it.storage_class_name.as_ref()),
            "persistentVolumeReclaimPolicy": policy,
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace,
                "name": meta.name, "uid": meta.uid,
            },
            "local": { "path": path },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }] }] } },
        },
    })
}

/// Removes the content and then the object. The path is ours by its name, whatever the object says.
async fn remove(shared: &Shared, name: &str, uid: &str) -> Result<(), ProvisionError> {
    if is_inside(name) && !name.contains('/') {
        let path = directory(&shared.config.data_dir, name);
        let at = path.clone();
        let removed = tokio::task::spawn_blocking(move || remove_tree(&at)).await;
        match removed {
            Ok(Err(source)) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ProvisionError::Directory { path, source });
            }
            _ => {}
        }
    }
    Ok(api::delete_now(&shared.client, &format!("/api/v1/persistentvolumes/{name}"), uid).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(annotations: Value, volume: &str) -> String {
        json!({ "metadata": { "name": "data", "namespace": "shop", "uid": "u1", "annotations": annotations },
            "spec": { "volumeName": volume } })
        .to_string()
    }

    #[test]
    fn volumes_are_made_where_they_are_asked_for() {
        let of = |annotations: Value, volume: &str| asked(&claim(annotations, volume), "edge").map(|it| it.0);
        assert_eq!(of(json!({ ASKED: PROVISIONER, SELECTED_NODE: "edge" }), "").as_deref(), Some("pvc-u1"));
        assert_eq!(of(json!({ ASKED: PROVISIONER }), "").as_deref(), Some("pvc-u1"), "any node may");
        assert_eq!(of(json!({ ASKED: PROVISIONER, SELECTED_NODE: "other" }), ""), None);
        assert_eq!(of(json!({ ASKED: "somebody.else" }), ""), None);
        assert_eq!(of(json!({ ASKED: PROVISIONER }), "pvc-u1"), None, "it has one");
    }

    #[test]
    fn volumes_go_when_they_are_released_and_their_policy_says_so() {
        let of = |phase: &str, policy: &str, by: &str| {
            let volume = json!({ "metadata": { "name": "pvc-u1", "uid": "v1", "annotations": { PROVISIONED_BY: by } },
                "spec": { "persistentVolumeReclaimPolicy": policy }, "status": { "phase": phase } });
            released(&volume.to_string(), "edge").is_some()
        };
        assert!(of("Released", "Delete", PROVISIONER));
        assert!(!of("Bound", "Delete", PROVISIONER));
        assert!(!of("Released", "Retain", PROVISIONER));
        assert!(!of("Released", "Delete", "somebody.else"));
    }

    #[tokio::test]
    async fn what_cannot_be_done_holds_nothing_else_up() {
        let tasks = Tasks::default();
        let add = |name: &str| tasks.add(name.to_owned(), Task::Remove { uid: String::new() });
        ["a", "b"].into_iter().for_each(add);
        let (name, task) = tasks.next().await;
        assert_eq!(name, "a");
        tasks.failed(name, task);
        assert_eq!(tasks.next().await.0, "b");
        let soon = timeout_at(Instant::now() + Duration::from_millis(20), tasks.next()).await;
        assert!(soon.is_err(), "what failed waits");
        tasks.lists.lock().retry = Some(Instant::now());
        let (name, task) = tasks.next().await;
        tasks.failed(name.clone(), task);
        assert_eq!((name.as_str(), tasks.lists.lock().pause), ("a", RETRY_FIRST * 2));
        tasks.forget("a");
        tasks.lists.lock().retry = Some(Instant::now());
        add("c");
        assert_eq!(tasks.next().await.0, "c", "nobody asks for the other any more");
    }
}
