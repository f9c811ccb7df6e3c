//! Knative's Services, Configurations, Revisions and Routes, carried out as [`eyot_serving`] says.
//!
//! Entry points: [`Parts`] belongs to the context, [`Parts::listen`] connects caches to queues, [`run`] watches and works.
//! A Service becomes a Configuration and a Route; a Configuration's template a Revision; a Revision a Deployment and a
//! Service; a Route HTTPRoutes, which the gateway follows. `scale` counts instances out, woken by the gateway's counters.
//!
//! The kinds are optional: a server without them is left alone.

mod configuration;
mod index;
mod object;
mod revision;
mod route;
mod scale;
mod service;
mod trial;
mod write;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use eyot_dispatch::Loads;
use eyot_meter::Meters;
use eyot_serving::{label, object::Site};
use serde_json::Value;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{HTTP_ROUTES, KNATIVE_CONFIGURATIONS, KNATIVE_REVISIONS, KNATIVE_ROUTES, KNATIVE_SERVICES},
    context::Context,
    queue::{Queue, drive},
    reflect::{Source, reflect},
    store::{Change, Store},
    view::{Key, Meta, View, pod::PodView, workload::DeploymentView},
};
use object::Object;

/// Between two tries to find the kinds at the server.
const ABSENT_PAUSE: Duration = Duration::from_secs(60);

/// Between two revisions at zero whose requests are answered without an instance and that get theirs: what is written for a
/// thousand that are woken at once must not slow down who asks.
const CALM_PAUSE: Duration = Duration::from_millis(20);

/// What the controllers of functions share.
pub(crate) struct Parts {
    pub(crate) services: Arc<Store<Object>>,
    pub(crate) configurations: Arc<Store<Object>>,
    pub(crate) revisions: Arc<Store<Object>>,
    pub(crate) routes: Arc<Store<Object>>,
    /// Only those made for Routes.
    http_routes: Arc<Store<Object>>,
    index: index::Index,
    queues: Queues,
    scalers: scale::Scalers,
    trials: trial::Trials,
    site: Site,
    loads: Arc<Loads>,
    meters: Arc<Meters>,
}

struct Queues {
    services: Arc<Queue<Key>>,
    configurations: Arc<Queue<Key>>,
    revisions: Arc<Queue<Key>>,
    routes: Arc<Queue<Key>>,
    scales: Arc<Queue<Key>>,
    /// Those whose requests are answered meanwhile: one after the other.
    calm: Arc<Queue<Key>>,
}

impl Parts {
    pub(crate) fn new(site: Site, loads: Arc<Loads>, meters: Arc<Meters>) -> Self {
        // Long enough to fold a burst of events into one status, too short to be noticed.
        let fold = Duration::from_millis(10);
        let queues = Queues {
            services: Queue::new("ksvc", fold),
            configurations: Queue::new("kconfiguration", fold),
            revisions: Queue::new("krevision", fold),
            routes: Queue::new("kroute", fold),
            scales: Queue::new("kscale", Duration::ZERO),
            calm: Queue::new("kwake", Duration::ZERO),
        };
        Parts {
            services: Store::new(),
            configurations: Store::new(),
            revisions: Store::new(),
            routes: Store::new(),
            http_routes: Store::new(),
            index: index::Index::default(),
            queues,
            scalers: scale::Scalers::default(),
            trials: trial::Trials::default(),
            site,
            loads,
            meters,
        }
    }

    pub(crate) fn service_changed(&self, change: &Change<Object>) {
        add(&self.queues.services, change.latest().map(|it| &it.meta));
    }

    pub(crate) fn configuration_changed(&self, change: &Change<Object>) {
        let Some(it) = change.latest() else { return };
        self.queues.configurations.add(it.meta.key());
        add_owner(&self.queues.services, &it.meta, "Service");
        self.wake_routes(&it.meta.key());
    }

    pub(crate) fn revision_changed(&self, change: &Change<Object>) {
        let Some(it) = change.latest() else { return };
        match &change.new {
            Some(_) => {
                self.queues.revisions.add(it.meta.key());
                self.queues.scales.add(it.meta.key());
            }
            None => {
                self.scalers.forget(&it.meta.uid);
                self.meters.scales.forget(&it.meta.key().to_string());
            }
        }
        add_owner(&self.queues.configurations, &it.meta, "Configuration");
        self.wake_routes(&it.meta.key());
    }

    pub(crate) fn route_changed(&self, change: &Change<Object>) {
        let Some(it) = change.latest() else { return };
        self.index.route_changed(change.old.as_deref(), change.new.as_deref());
        if change.new.is_none() {
            self.trials.forget(&it.meta.key());
            self.meters.scales.forget_route(&it.meta.key().to_string());
        }
        self.queues.routes.add(it.meta.key());
        add_owner(&self.queues.services, &it.meta, "Service");
        // Whether a revision is led to decides about its minimum and about its end.
        let both = [&change.old, &change.new];
        for name in both.into_iter().flatten().flat_map(|it| it.assigned()) {
            let key = Key::new(&it.meta.namespace, &name);
            if let Some(revision) = self.revisions.get(&key) {
                add_owner(&self.queues.configurations, &revision.meta, "Configuration");
            }
        }
    }

    fn http_route_changed(&self, change: &Change<Object>) {
        if let Some(it) = change.latest() {
            add_owner(&self.queues.routes, &it.meta, "Route");
        }
    }

    /// A Deployment of a revision has changed.
    pub(crate) fn deployment_changed(&self, change: &Change<DeploymentView>) {
        let Some(owner) = change.latest().and_then(|it| it.meta.controller()).filter(|it| &*it.kind == "Revision")
        else {
            return;
        };
        if let Some(it) = change.latest() {
            let key = Key::new(&it.meta.namespace, &owner.name);
            self.queues.revisions.add(key.clone());
            self.queues.scales.add(key);
        }
    }

    /// A Service or an autoscaler of a revision that is gone is made again.
    pub(crate) fn child_changed<T: View>(&self, change: &Change<T>) {
        if let (Some(old), None) = (&change.old, &change.new) {
            add_owner(&self.queues.revisions, old.meta(), "Revision");
        }
    }

    /// A pod of a revision that has not been ready yet may have something to tell.
    pub(crate) fn pod_changed(&self, change: &Change<PodView>) {
        let Some(pod) = change.latest() else { return };
        let Some(name) = pod.meta.labels.get(label::REVISION) else { return };
        let key = Key::new(&pod.meta.namespace, name);
        let waits = |it: &Arc<Object>| !eyot_serving::object::revision::is_initialized(&it.json());
        if self.revisions.get(&key).as_ref().is_some_and(waits) {
            self.queues.revisions.add(key);
        }
    }

    fn wake_routes(&self, target: &Key) {
        self.index.routes_to(target).into_iter().for_each(|it| self.queues.routes.add(it));
    }
}

fn add(queue: &Queue<Key>, meta: Option<&Meta>) {
    if let Some(meta) = meta {
        queue.add(meta.key());
    }
}

fn add_owner(queue: &Queue<Key>, meta: &Meta, kind: &str) {
    if let Some(owner) = meta.controller().filter(|it| &*it.kind == kind) {
        queue.add(Key::new(&meta.namespace, &owner.name));
    }
}

/// Watches and works until `token` is cancelled.
pub(crate) async fn run(context: Arc<Context>, token: CancellationToken) {
    let probe = format!("/apis/{}", eyot_serving::API_VERSION);
    while let Err(error) = context.api.get_path::<Value>(&probe, "").await {
        tracing::debug!(%error, "the server has no Knative kinds");
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(ABSENT_PAUSE) => {}
        }
    }
    let mut tasks = JoinSet::new();
    watch(&context, &mut tasks, &token).await;
    let queues = &context.serving.queues;
    macro_rules! control {
        ($queue:expr, $workers:expr, $pass:path) => {{
            let context = context.clone();
            tasks.spawn(drive($queue.clone(), $workers, token.clone(), move |key| $pass(context.clone(), key)));
        }};
    }
    control!(queues.services, 8, service::pass);
    control!(queues.configurations, 8, configuration::pass);
    control!(queues.revisions, 8, revision::pass);
    control!(queues.routes, 8, route::pass);
    control!(queues.scales, 32, scale::pass);
    let scales = queues.scales.clone();
    tasks.spawn(drive(queues.calm.clone(), 1, token.clone(), move |key| {
        scales.add(key);
        async {
            tokio::time::sleep(CALM_PAUSE).await;
            Ok(None)
        }
    }));
    let (loads, scales, calm) = (context.serving.loads.clone(), queues.scales.clone(), queues.calm.clone());
    tasks.spawn(async move {
        loop {
            let load = loads.raised().await;
            if let Some((namespace, name)) = load.name().split_once('/') {
                let queue = if load.is_answered() { &calm } else { &scales };
                queue.add(Key::new(namespace, name));
            }
        }
    });
    token.cancelled().await;
    tasks.shutdown().await;
}

/// Starts the watches and returns when the first lists are in.
async fn watch(context: &Arc<Context>, tasks: &mut JoinSet<()>, token: &CancellationToken) {
    let parts = &context.serving;
    let weak = Arc::downgrade(context);
    parts.http_routes.listen(move |change| {
        if let Some(context) = weak.upgrade() {
            context.serving.http_route_changed(change);
        }
    });
    let ours = Source { labels: "serving.knative.dev%2Froute", ..Source::all(&HTTP_ROUTES) };
    let sources = [
        (Source::all(&KNATIVE_SERVICES), &parts.services),
        (Source::all(&KNATIVE_CONFIGURATIONS), &parts.configurations),
        (Source::all(&KNATIVE_REVISIONS), &parts.revisions),
        (Source::all(&KNATIVE_ROUTES), &parts.routes),
        (ours, &parts.http_routes),
    ];
    let (left, complete) = (Arc::new(AtomicUsize::new(sources.len())), Arc::new(Notify::new()));
    for (source, store) in sources {
        let (left, all) = (left.clone(), complete.clone());
        let done = move || {
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                all.notify_one();
            }
        };
        tasks.spawn(reflect(context.api.clone(), source, store.clone(), done, token.clone()));
    }
    tokio::select! {
        () = token.cancelled() => {}
        () = complete.notified() => {}
    }
}
