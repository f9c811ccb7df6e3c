//! ConfigMaps and Secrets that pods refer to: fetching them, and waking pods when they appear, change or go.
//!
//! Nothing is cached: the API server is in the same process and answers from memory. One watch per kind runs from the first
//! reference on, and reads only names.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Weak},
};

use base64::Engine;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use kube::Client;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, ApiError},
    tokens::Tokens,
    volumes::Part,
    watch::{self, Change},
};

/// What can be referred to. Displayed as kubectl names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SourceKind {
    ConfigMap,
    Secret,
    /// Only to be woken by; its content is read elsewhere.
    Claim,
}

impl SourceKind {
    fn plural(self) -> &'static str {
        match self {
            SourceKind::ConfigMap => "configmaps",
            SourceKind::Secret => "secrets",
            SourceKind::Claim => "persistentvolumeclaims",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceKind::ConfigMap => "configmap",
            SourceKind::Secret => "secret",
            SourceKind::Claim => "persistentvolumeclaim",
        })
    }
}

/// The data of the objects that one start refers to.
#[derive(Default)]
pub(crate) struct Fetched {
    pub(crate) tokens: Tokens,
    data: HashMap<(SourceKind, String), BTreeMap<String, Vec<u8>>>,
}

impl Fetched {
    /// The data of an object, if it exists.
    pub(crate) fn get(&self, kind: SourceKind, name: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.data.get(&(kind, name.to_owned()))
    }

    /// Records the data of an object.
    pub(crate) fn put(&mut self, kind: SourceKind, name: &str, data: BTreeMap<String, Vec<u8>>) {
        self.data.insert((kind, name.to_owned()), data);
    }
}

/// The names a container's environment refers to.
pub(crate) fn of_environment(container: &Container) -> Vec<(SourceKind, String)> {
    let mut out = Vec::new();
    for from in container.env_from.iter().flatten() {
        out.extend(from.config_map_ref.iter().map(|it| (SourceKind::ConfigMap, it.name.clone())));
        out.extend(from.secret_ref.iter().map(|it| (SourceKind::Secret, it.name.clone())));
    }
    for from in container.env.iter().flatten().filter_map(|it| it.value_from.as_ref()) {
        out.extend(from.config_map_key_ref.iter().map(|it| (SourceKind::ConfigMap, it.name.clone())));
        out.extend(from.secret_key_ref.iter().map(|it| (SourceKind::Secret, it.name.clone())));
    }
    out.sort();
    out.dedup();
    out
}

/// The names that volumes of a pod refer to.
pub(crate) fn of_volumes(pod: &Pod, part: Part) -> Vec<(SourceKind, String)> {
    let mut out = Vec::new();
    for volume in part.volumes(pod) {
        out.extend(volume.config_map.iter().map(|it| (SourceKind::ConfigMap, it.name.clone())));
        out.extend(volume.secret.iter().filter_map(|it| it.secret_name.clone()).map(|it| (SourceKind::Secret, it)));
        for source in volume.projected.iter().flat_map(|it| it.sources.iter().flatten()) {
            out.extend(source.config_map.iter().map(|it| (SourceKind::ConfigMap, it.name.clone())));
            out.extend(source.secret.iter().map(|it| (SourceKind::Secret, it.name.clone())));
        }
    }
    out.sort();
    out.dedup();
    out
}

/// Wants to know when an object it refers to appears, changes or goes.
pub(crate) trait Referrer: Send + Sync + 'static {
    /// One of its objects appeared, changed or went.
    fn source_changed(self: Arc<Self>);
}

type Waiting = HashMap<(SourceKind, String, String), Vec<Weak<dyn Referrer>>>;

/// Fetches objects for pods and wakes the pods that refer to them.
pub(crate) struct Sources {
    client: Client,
    token: CancellationToken,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    referrers: Waiting,
    watched: Vec<SourceKind>,
    /// How many objects may be referred to before those are forgotten that only pods referred to which are gone.
    sweep_at: usize,
}

impl Shared {
    /// Forgets who is gone, where that is due: what is kept is at most twice what is used.
    fn sweep(&mut self) {
        const LEAST: usize = 64;
        if self.referrers.len() < self.sweep_at.max(LEAST) {
            return;
        }
        self.referrers.retain(|_, referrers| {
            referrers.retain(|it| it.strong_count() > 0);
            !referrers.is_empty()
        });
        self.sweep_at = self.referrers.len() * 2;
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigMapData {
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Named {
    metadata: NamedMeta,
}

#[derive(Deserialize)]
struct NamedMeta {
    name: String,
    #[serde(default)]
    namespace: String,
}

impl Sources {
    /// Watches nothing yet.
    pub(crate) fn new(client: Client, token: CancellationToken) -> Sources {
        Sources { client, token, shared: Arc::default() }
    }

    /// Fetches the objects of `names` that exist.
    pub(crate) async fn fetch(&self, namespace: &str, names: &[(SourceKind, String)]) -> Result<Fetched, ApiError> {
        let mut fetched = Fetched::default();
        for (kind, name) in names {
            let path = format!("/api/v1/namespaces/{namespace}/{}/{name}", kind.plural());
            let data = match kind {
                SourceKind::ConfigMap => api::get::<ConfigMapData>(&self.client, &path).await?.map(config_map_data),
                SourceKind::Secret => api::get::<Secret>(&self.client, &path)
                    .await?
                    .map(|it| it.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()),
                SourceKind::Claim => None,
            };
            if let Some(data) = data {
                fetched.put(*kind, name, data);
            }
        }
        Ok(fetched)
    }

    /// Wakes `who` from now on when one of `names` appears, changes or goes, as long as it lives.
    pub(crate) fn subscribe(&self, namespace: &str, names: &[(SourceKind, String)], who: &Arc<impl Referrer>) {
        let who: Arc<dyn Referrer> = who.clone();
        let who = Arc::downgrade(&who);
        let mut shared = self.shared.lock();
        shared.sweep();
        for (kind, name) in names {
            let referrers = shared.referrers.entry((*kind, namespace.to_owned(), name.clone())).or_default();
            referrers.retain(|it| it.strong_count() > 0);
            if !referrers.iter().any(|it| it.ptr_eq(&who)) {
                referrers.push(who.clone());
            }
            if !shared.watched.contains(kind) {
                shared.watched.push(*kind);
                tokio::spawn(watch_kind(*kind, self.client.clone(), self.shared.clone(), self.token.clone()));
            }
        }
    }
}

async fn watch_kind(kind: SourceKind, client: Client, shared: Arc<Mutex<Shared>>, token: CancellationToken) {
    let path = format!("/api/v1/{}", kind.plural());
    watch::follow(client, &path, "", token, |change| {
        let (Change::Seen(json) | Change::Gone(json)) = change else { return };
        let Ok(Named { metadata }) = serde_json::from_str(json) else { return };
        for who in woken(&shared, (kind, metadata.namespace, metadata.name)) {
            who.source_changed();
        }
    })
    .await;
}

fn woken(shared: &Mutex<Shared>, key: (SourceKind, String, String)) -> Vec<Arc<dyn Referrer>> {
    let mut shared = shared.lock();
    let Some(referrers) = shared.referrers.get_mut(&key) else { return Vec::new() };
    referrers.retain(|it| it.strong_count() > 0);
    let living = referrers.iter().filter_map(Weak::upgrade).collect();
    if referrers.is_empty() {
        shared.referrers.remove(&key);
    }
    living
}

fn config_map_data(object: ConfigMapData) -> BTreeMap<String, Vec<u8>> {
    let text = object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    let binary = object.binary_data.unwrap_or_default().into_iter().filter_map(|(key, value)| {
        // The API server has checked the encoding.
        Some((key, base64::engine::general_purpose::STANDARD.decode(value).ok()?))
    });
    text.chain(binary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Referrer for Nobody {
        fn source_changed(self: Arc<Self>) {}
    }

    #[tokio::test]
    async fn what_pods_referred_to_that_are_gone_is_forgotten() {
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
        });
        let sources = Sources::new(Client::new(silent, "default"), CancellationToken::new());
        let (stays, name) = (Arc::new(Nobody), |at: usize| vec![(SourceKind::Claim, format!("data-{at}"))]);
        sources.subscribe("ns", &name(0), &stays);
        for at in 1..1000 {
            sources.subscribe("ns", &name(at), &Arc::new(Nobody));
        }
        let referrers = &sources.shared.lock().referrers;
        assert!(referrers.len() <= 64, "{}", referrers.len());
        assert!(referrers.contains_key(&(SourceKind::Claim, "ns".to_owned(), "data-0".to_owned())));
    }
}
