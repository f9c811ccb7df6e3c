//! Deletes objects when their label `cleanup.kyverno.io/ttl` says so. Entry point: [`run`].
//!
//! As in Kyverno, that happens for resources which a ClusterRole with the label
//! `rbac.kyverno.io/aggregate-to-cleanup-controller: "true"` lets be watched, listed and deleted, and for no others: who may
//! label an object does not thereby delete it. Without such a role nothing but these roles is watched. One timer waits for
//! the next object that is due.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use eyot_kyverno::ttl::{self, LABEL, PROPAGATION};
use eyot_policy::Look;
use futures::{StreamExt, stream::SelectAll};
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Preconditions, PropagationPolicy},
    core::{ApiResource, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};

use crate::generate;

const ROLES: &str = "rbac.kyverno.io/aggregate-to-cleanup-controller=true";
/// Objects that wait for their time. Further ones are looked at when the watches begin anew.
const WAITING_MAX: usize = 100_000;
/// How long to sleep at most: clocks are set, and kinds that a role names may be served later.
const SLEEP_MAX: Duration = Duration::from_secs(600);
/// When to try again what could not be deleted.
const RETRY: Duration = Duration::from_secs(10);

type Watches = SelectAll<futures::stream::BoxStream<'static, (Arc<ApiResource>, Change)>>;

enum Change {
    /// It is there, or has changed.
    Seen(Box<DynamicObject>),
    Gone(String),
}

/// Works until it is dropped.
pub(crate) async fn run(client: Client, look: Arc<dyn Look>) {
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let config = watcher::Config::default().labels(ROLES);
    let mut roles = watcher::watcher(roles, config).default_backoff().boxed();
    let mut granted: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut reaper = Reaper { client, waiting: BTreeSet::new(), objects: HashMap::new() };
    let (mut kinds, mut watches): (Vec<ApiResource>, Watches) = (Vec::new(), SelectAll::new());
    loop {
        let pause = reaper.pause().unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        let idle = granted.is_empty();
        tokio::select! {
            event = roles.next() => match event {
                Some(Ok(watcher::Event::Init)) => {
                    granted.clear();
                    continue;
                }
                // All roles of a list are one change.
                Some(Ok(watcher::Event::InitApply(role))) => {
                    granted.insert(role.metadata.name.clone().unwrap_or_default(), resources(&role));
                    continue;
                }
                Some(Ok(watcher::Event::Apply(role))) => {
                    granted.insert(role.metadata.name.clone().unwrap_or_default(), resources(&role));
                }
                Some(Ok(watcher::Event::Delete(role))) => {
                    granted.remove(&role.metadata.name.unwrap_or_default());
                }
                Some(Ok(watcher::Event::InitDone)) => {}
                Some(Err(_)) => continue,
                None => return,
            },
            Some((kind, change)) = watches.next() => {
                reaper.take(&kind, change);
                continue;
            }
            () = tokio::time::sleep(pause), if !idle => reaper.reap().await,
        }
        let wanted = served(&granted, &*look);
        if wanted != kinds {
            (reaper.waiting, reaper.objects) = Default::default();
            watches = wanted.iter().map(|it| watch(&reaper.client, it)).collect();
            kinds = wanted;
        }
    }
}

/// Group and resource that a role lets be deleted, and found before that.
fn resources(role: &ClusterRole) -> Vec<(String, String)> {
    let allows = |all: &[String], verb: &str| all.iter().any(|it| it == "*" || it == verb);
    let rules = role.rules.iter().flatten();
    let rules = rules.filter(|it| ["watch", "list", "delete"].iter().all(|verb| allows(&it.verbs, verb)));
    rules
        .flat_map(|rule| {
            let groups = rule.api_groups.iter().flatten();
            groups.flat_map(|group| rule.resources.iter().flatten().map(|it| (group.clone(), it.clone())))
        })
        .collect()
}

/// The kinds of those resources that are served.
fn served(granted: &BTreeMap<String, Vec<(String, String)>>, look: &dyn Look) -> Vec<ApiResource> {
    let mut found = Vec::new();
    if granted.is_empty() {
        return found;
    }
    let means = |pattern: &str, it: &str| pattern == "*" || pattern == it;
    look.look(&mut |data| {
        let table = data.kinds();
        for kind in table.iter() {
            let preferred = table.preferred(&kind.group, &kind.kind).is_some_and(|it| it.version == kind.version);
            let can = ["watch", "list", "delete"].iter().all(|it| kind.allows(it));
            let mut resources = granted.values().flatten();
            if preferred && can && resources.any(|it| means(&it.0, &kind.group) && means(&it.1, &kind.plural)) {
                let named = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
                found.push(ApiResource::from_gvk_with_plural(&named, &kind.plural));
            }
        }
    });
    found.sort_by(|one, other| (&one.group, &one.kind).cmp(&(&other.group, &other.kind)));
    found
}

/// Everything that happens to labelled objects of a kind.
fn watch(client: &Client, kind: &ApiResource) -> futures::stream::BoxStream<'static, (Arc<ApiResource>, Change)> {
    let api = generate::api(client, kind, "");
    let kind = Arc::new(kind.clone());
    let events = watcher::watcher(api, watcher::Config::default().labels(LABEL)).default_backoff();
    let events = events.filter_map(move |event| {
        let change = match event {
            Ok(watcher::Event::InitApply(it) | watcher::Event::Apply(it)) => Some(Change::Seen(Box::new(it))),
            Ok(watcher::Event::Delete(it)) => Some(Change::Gone(it.metadata.uid.unwrap_or_default())),
            Ok(_) | Err(_) => None,
        };
        std::future::ready(change.map(|it| (kind.clone(), it)))
    });
    events.boxed()
}

/// An object whose time is known.
struct Due {
    when: Timestamp,
    kind: Arc<ApiResource>,
    namespace: String,
    name: String,
    propagation: Option<PropagationPolicy>,
}

struct Reaper {
    client: Client,
    /// Time and identity.
    waiting: BTreeSet<(Timestamp, String)>,
    objects: HashMap<String, Due>,
}

impl Reaper {
    fn take(&mut self, kind: &Arc<ApiResource>, change: Change) {
        let (uid, object) = match change {
            Change::Gone(uid) => (uid, None),
            Change::Seen(it) => (it.metadata.uid.clone().unwrap_or_default(), Some(it)),
        };
        if let Some(before) = self.objects.remove(&uid) {
            self.waiting.remove(&(before.when, uid.clone()));
        }
        let Some(object) = object.filter(|it| it.metadata.deletion_timestamp.is_none()) else { return };
        let metadata = &object.metadata;
        let (namespace, name) =
            (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        let label = metadata.labels.as_ref().and_then(|it| it.get(LABEL)).cloned().unwrap_or_default();
        let created = metadata.creation_timestamp.as_ref().map_or_else(Timestamp::now, |it| it.0);
        let when = match ttl::due(&label, created) {
            Ok(when) => when,
            Err(why) => {
                tracing::warn!(why, kind = kind.kind, namespace, name, "the label {LABEL} is not understood");
                return;
            }
        };
        if self.objects.len() >= WAITING_MAX {
            tracing::warn!(kind = kind.kind, namespace, name, "too many objects wait for their {LABEL}");
            return;
        }
        let propagation = metadata.annotations.as_ref().and_then(|it| it.get(PROPAGATION)).map(String::as_str);
        let propagation = match propagation {
            Some("Foreground") => Some(PropagationPolicy::Foreground),
            Some("Orphan") => Some(PropagationPolicy::Orphan),
            Some("Background") => Some(PropagationPolicy::Background),
            _ => None,
        };
        self.waiting.insert((when, uid.clone()));
        self.objects.insert(uid, Due { when, kind: kind.clone(), namespace, name, propagation });
    }

    /// How long until something is due.
    fn pause(&self) -> Option<Duration> {
        let next = self.waiting.first()?.0;
        Some(Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default())
    }

    /// Deletes everything that is due.
    async fn reap(&mut self) {
        let now = Timestamp::now();
        while let Some((when, uid)) = self.waiting.first().filter(|it| it.0 <= now).cloned() {
            self.waiting.remove(&(when, uid.clone()));
            let Some(mut due) = self.objects.remove(&uid) else { continue };
            if let Err(error) = self.delete(&due, &uid).await {
                tracing::warn!(%error, kind = due.kind.kind, due.namespace, due.name, "deleting what is due by its label");
                due.when = now.checked_add(RETRY).unwrap_or(now);
                self.waiting.insert((due.when, uid.clone()));
                self.objects.insert(uid, due);
            }
        }
    }

    async fn delete(&self, due: &Due, uid: &str) -> Result<(), kube::Error> {
        let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let how =
            DeleteParams { propagation_policy: due.propagation.clone(), preconditions, ..DeleteParams::default() };
        match generate::api(&self.client, &due.kind, &due.namespace).delete(&due.name, &how).await {
            Ok(_) => {
                tracing::info!(kind = due.kind.kind, due.namespace, due.name, "deleted, as its label {LABEL} says");
                Ok(())
            }
            Err(kube::Error::Api(it)) if it.code == 404 || it.code == 409 => Ok(()),
            Err(why) => Err(why),
        }
    }
}
