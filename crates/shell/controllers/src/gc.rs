//! The garbage collector: applies what [`eyot_plan::gc::Graph`] decides.
//!
//! Entry points: [`Collector::changed`] takes objects from the caches that the controllers share; [`run`] watches every
//! other resource that the server has and that can be deleted.
//!
//! It starts with an owner that it does not know by asking the API, so it may start before all watches are in.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use eyot_plan::gc::{Action, FOREGROUND, Graph, ORPHAN, Object, Owner, Propagation, Uid};
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    api::{Api, ApiError, DeleteOptions, EVENTS, Resource, Target},
    bounded::bounded,
    context::Context,
    discovery::discover,
    pods::{remove_finalizer, set_owners},
    queue::{Outcome, Queue},
    reflect::{Sink, Source, reflect},
    store::Change,
    view::{Meta, OwnerReference, View, cluster::MetaView},
};

/// An owner unknown to the graph is usually just late; asking the API waits this long.
const VERIFY_PAUSE: Duration = Duration::from_millis(200);
/// Writes of one pass under way.
const IN_FLIGHT_MAX: usize = 64;
/// Passes under way.
pub(crate) const WORKERS: usize = 64;

/// The owner graph, and the objects to decide about.
pub(crate) struct Collector {
    api: Api,
    graph: Mutex<Graph<Arc<Resource>>>,
    /// By group and kind.
    kinds: RwLock<HashMap<(String, String), Arc<Resource>>>,
    /// Resources that reach it through the controllers' caches.
    shared: Mutex<Vec<Arc<Resource>>>,
    pub(crate) queue: Arc<Queue<Uid>>,
    /// A resource may have been added to the server.
    rediscover: Notify,
}

impl Collector {
    pub(crate) fn new(api: Api) -> Arc<Self> {
        Arc::new(Self {
            api,
            graph: Mutex::default(),
            kinds: RwLock::default(),
            shared: Mutex::default(),
            queue: Queue::new("garbage-collector", Duration::from_millis(10)),
            rediscover: Notify::new(),
        })
    }

    /// A cache here holds every object of the resource, and will tell of each change: it need not be watched again.
    pub(crate) fn share(&self, resource: &Arc<Resource>) {
        self.know(resource);
        self.shared.lock().push(resource.clone());
    }

    /// Takes in what a shared cache was told.
    pub(crate) fn changed<T: View>(&self, resource: &Arc<Resource>, change: &Change<T>) {
        match (&change.old, &change.new) {
            (_, Some(new)) => {
                let new = new.meta();
                let same = |old: &Meta| {
                    old.uid == new.uid
                        && old.owner_references == new.owner_references
                        && old.deleting() == new.deleting()
                        && old.finalizers == new.finalizers
                };
                let old = change.old.as_ref().map(|it| it.meta());
                if let Some(old) = old.filter(|old| old.uid != new.uid) {
                    self.remove(&old.uid);
                }
                if !old.is_some_and(same) {
                    self.apply(resource, new);
                }
            }
            (Some(old), None) => self.remove(&old.meta().uid),
            (None, None) => {}
        }
    }

    /// Owners of this kind can be asked for.
    fn know(&self, resource: &Arc<Resource>) {
        let group = resource.api_version.split_once('/').map_or("", |it| it.0).to_owned();
        self.kinds.write().insert((group, resource.kind.to_string()), resource.clone());
    }

    fn apply(&self, resource: &Arc<Resource>, meta: &Meta) {
        let mut graph = self.graph.lock();
        let next = graph.apply(object(resource, meta));
        self.ask(&graph, next);
    }

    fn remove(&self, uid: &str) {
        let mut graph = self.graph.lock();
        let next = graph.remove(uid);
        self.ask(&graph, next);
    }

    /// Queues those about which something is to be done.
    fn ask(&self, graph: &Graph<Arc<Resource>>, uids: Vec<Uid>) {
        for uid in uids {
            // An owner that waits may have thousands of dependents: it is decided once for many changes.
            if graph.get(&uid).is_some_and(|it| it.deleting) {
                self.queue.add(uid);
                continue;
            }
            match graph.decide(&uid) {
                Action::Keep => {}
                Action::Verify(_) => self.queue.add_after(uid, VERIFY_PAUSE),
                _ => self.queue.add(uid),
            }
        }
    }

    fn resource_of(&self, owner: &Owner) -> Option<Arc<Resource>> {
        let group = owner.api_version.split_once('/').map_or("", |it| it.0);
        self.kinds.read().get(&(group.to_owned(), owner.kind.to_string())).cloned()
    }

    /// Asks the API whether owners exist.
    async fn verify(&self, object: &Object<Arc<Resource>>, owners: &[Owner]) -> Outcome {
        for owner in owners {
            let Some(resource) = self.resource_of(owner) else {
                debug!(kind = %owner.kind, object = %object.name, "owner of a kind the server does not have");
                return Ok(Some(Duration::from_secs(60)));
            };
            if resource.namespaced && object.namespace.is_empty() {
                // Such a reference cannot be resolved, so nothing follows from it.
                return Ok(None);
            }
            let namespace = if resource.namespaced { &object.namespace } else { "" };
            match self.api.get::<MetaView>(Target::object(&resource, namespace, &owner.name), "").await {
                Ok(found) if *found.meta.uid == *owner.uid => return Ok(Some(Duration::from_secs(1))),
                Err(error) if !error.is_not_found() => return Err(error),
                _ => self.graph.lock().absent(owner.uid.clone()),
            }
        }
        Ok(Some(Duration::ZERO))
    }

    /// The object's metadata as the API has it now, if it is still the same object.
    async fn live(&self, object: &Object<Arc<Resource>>) -> Result<Option<Meta>, ApiError> {
        let target = Target::object(&object.resource, &object.namespace, &object.name);
        match self.api.get::<MetaView>(target, "").await {
            Ok(found) if *found.meta.uid == *object.uid => Ok(Some(found.meta)),
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object for the sake of its owners, unless it has others than the graph knows: owner and dependent come
    /// from different watches, and an owner's end may be told before the dependent's last change.
    async fn delete(&self, object: &Object<Arc<Resource>>, propagation: Propagation) -> Outcome {
        let Some(live) = self.live(object).await? else { return Ok(None) };
        let now = live.owner_references.iter().map(|it| &*it.uid);
        if !now.eq(object.owners.iter().map(|it| &*it.uid)) {
            self.apply(&object.resource, &live);
            return Ok(None);
        }
        let propagation = match propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        };
        let target = Target::object(&object.resource, &object.namespace, &object.name);
        let options = DeleteOptions {
            uid: Some(&object.uid),
            version: Some(&live.resource_version),
            propagation: Some(propagation),
            ..DeleteOptions::default()
        };
        self.api.delete(target, options).await.map(|()| None)
    }

    async fn edit_owners(
        &self,
        object: &Object<Arc<Resource>>,
        edit: impl FnOnce(&mut Vec<OwnerReference>),
    ) -> Result<(), ApiError> {
        let Some(meta) = self.live(object).await? else { return Ok(()) };
        let mut owners = meta.owner_references.to_vec();
        edit(&mut owners);
        if *owners == *meta.owner_references {
            return Ok(());
        }
        set_owners(&self.api, &object.resource, &meta, &owners).await
    }

    async fn orphan(&self, object: &Object<Arc<Resource>>, dependents: &[Uid]) -> Result<(), ApiError> {
        let dependents: Vec<_> = {
            let graph = self.graph.lock();
            dependents.iter().filter_map(|it| graph.get(it).cloned()).collect()
        };
        let mut failed = None;
        let edits = dependents.iter().map(|it| self.disown(it, &object.uid)).collect();
        bounded(IN_FLIGHT_MAX, edits, |edited| {
            failed = failed.take().or(edited.err());
            failed.is_none()
        })
        .await;
        match failed {
            Some(error) => Err(error),
            None => self.release(object, ORPHAN).await,
        }
    }

    async fn disown(&self, dependent: &Object<Arc<Resource>>, owner: &Uid) -> Result<(), ApiError> {
        self.edit_owners(dependent, |owners| owners.retain(|it| *it.uid != **owner)).await
    }

    async fn release(&self, object: &Object<Arc<Resource>>, finalizer: &str) -> Result<(), ApiError> {
        match self.live(object).await? {
            Some(meta) => remove_finalizer(&self.api, &object.resource, &meta, finalizer).await,
            None => Ok(()),
        }
    }
}

fn object(resource: &Arc<Resource>, meta: &Meta) -> Object<Arc<Resource>> {
    let owners = meta.owner_references.iter().map(|it| Owner {
        uid: (*it.uid).into(),
        api_version: it.api_version.shared(),
        kind: it.kind.shared(),
        name: (*it.name).into(),
        blocks: it.block_owner_deletion,
    });
    let has = |finalizer: &str| meta.finalizers.iter().any(|it| &**it == finalizer);
    Object {
        uid: (*meta.uid).into(),
        resource: resource.clone(),
        namespace: (*meta.namespace).into(),
        name: (*meta.name).into(),
        owners: owners.collect(),
        deleting: meta.deleting(),
        foreground: has(FOREGROUND),
        orphan: has(ORPHAN),
    }
}

/// One pass over one object: decide, then do it.
pub(crate) async fn pass(context: Arc<Context>, uid: Uid) -> Outcome {
    let collector = &context.collector;
    let (action, object) = {
        let graph = collector.graph.lock();
        let Some(object) = graph.get(&uid).cloned() else { return Ok(None) };
        (graph.decide(&uid), object)
    };
    match action {
        Action::Keep => Ok(None),
        Action::Verify(owners) => collector.verify(&object, &owners).await,
        Action::Delete(propagation) => collector.delete(&object, propagation).await,
        Action::DropOwners(gone) => {
            let gone: HashSet<Uid> = gone.into_iter().collect();
            collector.edit_owners(&object, |owners| owners.retain(|it| !gone.contains(&*it.uid))).await.map(|()| None)
        }
        Action::Unblock => {
            let unblock = |owners: &mut Vec<OwnerReference>| {
                owners.iter_mut().for_each(|it| it.block_owner_deletion = false);
            };
            collector.edit_owners(&object, unblock).await?;
            collector.delete(&object, Propagation::Foreground).await
        }
        Action::DeleteDependents(uids) => {
            uids.into_iter().for_each(|it| collector.queue.add(it));
            Ok(None)
        }
        Action::RemoveFinalizer(finalizer) => collector.release(&object, finalizer).await.map(|()| None),
        Action::OrphanDependents(uids) => collector.orphan(&object, &uids).await.map(|()| None),
    }
}

/// Feeds one resource's objects to the graph.
struct Feed {
    collector: Arc<Collector>,
    resource: Arc<Resource>,
    held: Mutex<HashSet<Box<str>>>,
    /// Its objects are definitions of further resources.
    defines: bool,
}

impl Sink<MetaView> for Feed {
    fn apply(&self, object: MetaView) {
        self.held.lock().insert(object.meta.uid.clone());
        self.collector.apply(&self.resource, &object.meta);
        // It may be served only now, or in other versions than before.
        if self.defines {
            self.collector.rediscover.notify_one();
        }
    }

    fn remove(&self, object: MetaView) {
        self.held.lock().remove(&object.meta.uid);
        self.collector.remove(&object.meta.uid);
        if self.defines {
            self.collector.rediscover.notify_one();
        }
    }

    fn replace(&self, all: Vec<MetaView>) {
        let present: HashSet<Box<str>> = all.iter().map(|it| it.meta.uid.clone()).collect();
        let gone: Vec<Box<str>> = self.held.lock().difference(&present).cloned().collect();
        for uid in gone {
            self.held.lock().remove(&uid);
            self.collector.remove(&uid);
        }
        all.into_iter().for_each(|it| self.apply(it));
    }
}

impl Drop for Feed {
    /// The server has the resource no more.
    fn drop(&mut self) {
        let held = std::mem::take(&mut *self.held.lock());
        held.iter().for_each(|it| self.collector.remove(it));
    }
}

/// Watches every resource whose objects can be owners or owned, until `token` is cancelled.
pub(crate) async fn run(context: Arc<Context>, token: CancellationToken) {
    let collector = &context.collector;
    // What comes from shared caches, and events, which neither own nor are owned.
    let mut apart: HashSet<Resource> = collector.shared.lock().iter().map(|it| (**it).clone()).collect();
    apart.insert(EVENTS.clone());
    let mut watched: HashMap<Resource, AbortHandle> = HashMap::new();
    let mut watches = JoinSet::new();
    loop {
        let pause = match discover(&context.api.client).await {
            Ok(discovery) => {
                let deletable = discovery.found.iter().filter(|it| it.can(&["list", "watch", "delete"]));
                let found: HashSet<Resource> = deletable.map(|it| it.resource.clone()).collect();
                if discovery.failed.is_empty() {
                    watched.extract_if(|it, _| !found.contains(it)).for_each(|(_, watch)| watch.abort());
                }
                for it in found.iter().filter(|it| !apart.contains(it)) {
                    let begin = || start(collector, it, &mut watches, &token);
                    watched.entry(it.clone()).or_insert_with(begin);
                }
                None
            }
            Err(error) => {
                warn!(%error, "resources not discovered, trying again");
                Some(Duration::from_secs(1))
            }
        };
        tokio::select! {
            () = token.cancelled() => break,
            () = collector.rediscover.notified(), if pause.is_none() => {
                // Elsewhere a definition is served a little after it is stored; and they often come by the dozen.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
    watches.shutdown().await;
}

fn start(
    collector: &Arc<Collector>,
    resource: &Resource,
    watches: &mut JoinSet<()>,
    token: &CancellationToken,
) -> AbortHandle {
    let resource = Arc::new(resource.clone());
    collector.know(&resource);
    let feed = Feed {
        collector: collector.clone(),
        resource: resource.clone(),
        held: Mutex::default(),
        defines: resource.plural == "customresourcedefinitions",
    };
    let (api, token) = (collector.api.clone(), token.clone());
    watches.spawn(async move { reflect(api, Source::all(&resource), feed, || {}, token).await })
}
