//! The pods of this node, by name. Start at [`Pods::watch`].

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use eyot_registry::Images;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{broadcast, watch as signal};

use crate::{
    pod::{Owner, PodKey, Shared},
    volumes,
    watch::{self, Change},
};

/// Between two looks at what guests did to their requests and volumes.
const INSPECT_PERIOD: Duration = Duration::from_secs(2);
/// Grace of a deletion that names none.
const GRACE_DEFAULT: Duration = Duration::from_secs(30);

type Name = (Box<str>, Box<str>);

/// The owners of this node's pods.
pub(crate) struct Pods {
    shared: Arc<Shared>,
    owners: Mutex<HashMap<Name, Arc<Owner>>>,
    synced: signal::Sender<bool>,
}

/// What of a pod decides whether the rest must be read.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: HeadMeta<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMeta<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<Cow<'a, str>>,
    #[serde(default)]
    deletion_grace_period_seconds: Option<u64>,
    #[serde(default)]
    generation: i64,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

impl HeadMeta<'_> {
    /// Tells one state of labels and annotations from another.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        [self.labels, self.annotations].map(|it| it.map(RawValue::get)).hash(&mut hasher);
        hasher.finish()
    }
}

/// One listing in progress: what it showed, and owners that start when it is complete.
#[derive(Default)]
struct Listing {
    seen: HashSet<Name>,
    fresh: Vec<Arc<Owner>>,
}

impl Pods {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Pods> {
        Arc::new(Pods { shared, owners: Mutex::default(), synced: signal::channel(false).0 })
    }

    /// The owner of a pod.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Owner>> {
        self.owners.lock().get(&(namespace.into(), name.into())).cloned()
    }

    /// All of them.
    pub(crate) fn owners(&self) -> Vec<Arc<Owner>> {
        self.owners.lock().values().cloned().collect()
    }

    /// The images of this node.
    pub(crate) fn images(&self) -> &Images {
        &self.shared.images
    }

    /// Manifests of the images of all pods, those that ended included: `sha256:…`.
    pub(crate) fn images_in_use(&self) -> HashSet<String> {
        self.owners().iter().flat_map(|it| it.images()).collect()
    }

    /// Becomes true when every pod that was there before is being looked after.
    pub(crate) fn synced(&self) -> signal::Receiver<bool> {
        self.synced.subscribe()
    }

    /// Follows the pods bound to this node until it stops.
    pub(crate) async fn watch(self: &Arc<Self>) {
        let query = format!("fieldSelector=spec.nodeName%3D{}", watch::escape(&self.shared.config.name));
        let mut listing = None;
        let token = self.shared.token.clone();
        let inspector = tokio::spawn(self.clone().inspect());
        let pushes = tokio::spawn(self.clone().follow_pushes(self.shared.images.pushed()));
        watch::follow(self.shared.client.clone(), "/api/v1/pods", &query, token, |change| match change {
            Change::Relisting => listing = Some(Listing::default()),
            Change::Seen(json) => self.seen(json, listing.as_mut()),
            Change::Gone(json) => self.gone(json),
            Change::Synced => self.listed(listing.take().unwrap_or_default()),
        })
        .await;
        inspector.abort();
        pushes.abort();
    }

    /// Starts containers that wait for an image as soon as it is pushed.
    async fn follow_pushes(self: Arc<Self>, mut pushes: broadcast::Receiver<Arc<str>>) {
        loop {
            let repository = match pushes.recv().await {
                Ok(repository) => Some(repository),
                // What was missed may be what somebody waits for.
                Err(broadcast::error::RecvError::Lagged(_)) => None,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            let images = &self.shared.images;
            let matches = |image: &str| repository.as_ref().is_none_or(|it| images.is_in(image, it));
            self.owners().iter().for_each(|it| it.image_pushed(matches));
            self.shared.early.image_pushed(matches);
        }
    }

    async fn inspect(self: Arc<Self>) {
        let mut seen = 0;
        loop {
            tokio::time::sleep(INSPECT_PERIOD).await;
            // Asked first: what fails from now on is found the next time.
            let failures = self.shared.runtime.failures();
            // While none fails, only those are looked at that have something to be looked at: of idle pods hardly any.
            let owners = if failures == seen { self.shared.watched.owners() } else { self.owners() };
            seen = failures;
            for owner in owners {
                owner.inspect();
                owner.inspect_tokens();
                owner.inspect_volumes().await;
            }
        }
    }

    fn seen(&self, json: &str, listing: Option<&mut Listing>) {
        let head: Head<'_> = match serde_json::from_str(json) {
            Ok(head) => head,
            Err(error) => return tracing::warn!(error = &error as &dyn std::error::Error, "a pod cannot be read"),
        };
        let meta = &head.metadata;
        let name: Name = (meta.namespace.as_ref().into(), meta.name.as_ref().into());
        let known = self.owners.lock().get(&name).cloned();
        let owner = match known {
            Some(owner) if *owner.key.uid == *meta.uid => {
                owner.seen(meta.generation, || meta.fingerprint());
                owner
            }
            other => {
                // The name has a new pod; the end of the old one was not seen.
                if let Some(old) = other {
                    old.gone();
                }
                let Some(owner) = self.adopt(json, &name) else { return };
                owner.seen(meta.generation, || meta.fingerprint());
                match listing.as_deref() {
                    Some(_) => {}
                    None => owner.kick(),
                }
                owner
            }
        };
        if meta.deletion_timestamp.is_some() {
            owner.stop(meta.deletion_grace_period_seconds.map_or(GRACE_DEFAULT, Duration::from_secs));
        }
        if let Some(listing) = listing {
            listing.seen.insert(name);
            listing.fresh.push(owner);
        }
    }

    fn adopt(&self, json: &str, name: &Name) -> Option<Arc<Owner>> {
        let pod: Pod = match serde_json::from_str(json) {
            Ok(pod) => pod,
            Err(error) => {
                let name = format!("{}/{}", name.0, name.1);
                tracing::warn!(pod = name, error = &error as &dyn std::error::Error, "a pod cannot be read");
                return None;
            }
        };
        let uid = pod.metadata.uid.as_deref().unwrap_or_default().into();
        let key = PodKey { namespace: name.0.as_ref().into(), name: name.1.as_ref().into(), uid };
        let owner = Owner::new(key, pod, self.shared.clone());
        self.owners.lock().insert(name.clone(), owner.clone());
        Some(owner)
    }

    fn gone(&self, json: &str) {
        let Ok(head) = serde_json::from_str::<Head<'_>>(json) else { return };
        let name: Name = (head.metadata.namespace.as_ref().into(), head.metadata.name.as_ref().into());
        let owner = {
            let mut owners = self.owners.lock();
            match owners.get(&name) {
                Some(owner) if *owner.key.uid == *head.metadata.uid => owners.remove(&name),
                _ => None,
            }
        };
        if let Some(owner) = owner {
            owner.gone();
        }
    }

    /// Starts what a listing showed, and drops what it no longer shows.
    fn listed(&self, listing: Listing) {
        let lost: Vec<Arc<Owner>> = {
            let mut owners = self.owners.lock();
            let lost: Vec<Name> = owners.keys().filter(|it| !listing.seen.contains(it)).cloned().collect();
            lost.iter().filter_map(|it| owners.remove(it)).collect()
        };
        for owner in lost {
            owner.gone();
        }
        for owner in listing.fresh {
            owner.kick();
        }
        if !*self.synced.borrow() {
            self.sweep();
            self.synced.send_replace(true);
        }
    }

    /// Removes what pods left behind that were deleted while no node ran.
    fn sweep(&self) {
        let uids: HashSet<Box<str>> = self.owners.lock().values().map(|it| it.key.uid.clone()).collect();
        let fixed = [self.shared.pods_directory(), self.shared.logs_directory()];
        let directories: Vec<_> = fixed.into_iter().chain(self.shared.memory_root.clone()).collect();
        tokio::task::spawn_blocking(move || {
            for entry in directories.iter().filter_map(|it| std::fs::read_dir(it).ok()).flatten().flatten() {
                let name = entry.file_name();
                let Some(name) = name.to_str() else { continue };
                let uid = name.rsplit('_').next().unwrap_or(name);
                if !uids.contains(uid)
                    && let Err(error) = volumes::remove_tree(&entry.path())
                {
                    tracing::debug!(name, error = &error as &dyn std::error::Error, "removing what a pod left behind");
                }
            }
        });
    }
}
