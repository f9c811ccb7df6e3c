//! Follows the API server and keeps routes, Services and endpoints as it says.
//!
//! Endpoints go straight into their Service's pool. The routing table is compiled only for what it depends on, once
//! for all changes that have arrived, and at most for a fraction of the time; where only HTTPRoutes or their Services have
//! changed, only those are read again and put in place.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use eyot_meter::Subject;
use eyot_route::Table;
use futures::{
    FutureExt, StreamExt,
    stream::{BoxStream, SelectAll, select_all},
};
use kube::{
    Api, Client, Resource,
    core::ObjectMeta,
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Gateway,
    attach::{self, Site},
    hold::Terms,
    kinds::{self, Name},
    node_ports::NodePorts,
    publish::Publisher,
    services::Pool,
    world::World,
};

/// Events taken in before anything is made of them. Keeps a burst from delaying all of it.
const BATCH_MAX: usize = 10_000;
/// Label of a revision's Service: the uid of the revision.
const REVISION_UID: &str = "serving.knative.dev/revisionUID";
/// The pause after compiling the table, in units of the time that took: compiling gets at most a fifth of a core.
const REST_FACTOR: u32 = 4;
/// The longest such pause.
const REST_MAX: Duration = Duration::from_millis(500);

/// One event of one kind.
#[derive(Debug)]
enum Seen {
    Class(Event<kinds::GatewayClass>),
    Gateway(Event<kinds::Gateway>),
    Route(Event<kinds::HTTPRoute>),
    Grant(Event<kinds::ReferenceGrant>),
    Ingress(Event<kinds::Ingress>),
    Namespace(Event<kinds::Namespace>),
    Service(Event<kinds::Service>),
    Slice(Event<kinds::EndpointSlice>),
    Policy(Event<kinds::NetworkPolicy>),
    Pod(Event<kinds::Pod>),
}

impl Gateway {
    /// Keeps the routing table until `stop`, and writes the statuses of what it routes. Failed watches are tried again
    /// for ever, with pauses; meanwhile the last state known is served.
    pub async fn watch(self: &Arc<Self>, stop: CancellationToken) {
        let mut follower = Follower::new(self.clone());
        let publishing = Publisher::run(follower.publisher.clone(), self.client.clone());
        let following = follower.run(events(&self.client));
        tokio::select! {
            () = stop.cancelled() => {}
            () = publishing => {}
            () = following => {}
        }
    }
}

fn events(client: &Client) -> SelectAll<BoxStream<'static, Seen>> {
    select_all([
        stream(client, Seen::Class),
        stream(client, Seen::Gateway),
        stream(client, Seen::Route),
        stream(client, Seen::Grant),
        stream(client, Seen::Ingress),
        stream(client, Seen::Namespace),
        stream(client, Seen::Service),
        stream(client, Seen::Slice),
        stream(client, Seen::Policy),
    ])
}

fn stream<K>(client: &Client, seen: impl Fn(Event<K>) -> Seen + Send + 'static) -> BoxStream<'static, Seen>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    let events = events.filter_map(|event| {
        let event = event.inspect_err(|error| tracing::warn!(kind = %K::kind(&()), %error, "watching"));
        std::future::ready(event.ok())
    });
    events.map(seen).boxed()
}

struct Follower {
    gateway: Arc<Gateway>,
    publisher: Arc<Publisher>,
    world: World,
    /// Services whose endpoints have to be collected again.
    stale_services: BTreeSet<Name>,
    /// Whether the table has to be compiled again, which of its routes have to be, and when that may be.
    stale_table: bool,
    stale_routes: BTreeSet<Name>,
    stale_statuses: bool,
    attached: attach::Attached<Arc<Pool>>,
    not_before: Instant,
    complaints: BTreeMap<Name, String>,
    node_ports: NodePorts,
    /// Whether pods are followed, as they are once a policy speaks of them.
    follows_pods: bool,
}

impl Follower {
    fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            node_ports: NodePorts::new(gateway.clone()),
            gateway,
            publisher: Arc::default(),
            world: World::default(),
            stale_services: BTreeSet::new(),
            stale_table: true,
            stale_routes: BTreeSet::new(),
            stale_statuses: false,
            attached: attach::Attached::default(),
            not_before: Instant::now(),
            complaints: BTreeMap::new(),
            follows_pods: false,
        }
    }

    async fn run(&mut self, mut events: SelectAll<BoxStream<'static, Seen>>) {
        loop {
            let is_stale = self.stale_table || self.stale_statuses || !self.stale_routes.is_empty();
            let due = is_stale && self.world.complete();
            tokio::select! {
                event = events.next() => {
                    let Some(event) = event else { return };
                    self.take(event);
                    for _ in 0..BATCH_MAX {
                        let Some(Some(event)) = events.next().now_or_never() else { break };
                        self.take(event);
                    }
                    self.refresh_endpoints();
                    if self.gateway.egress.is_used() && !std::mem::replace(&mut self.follows_pods, true) {
                        events.push(stream(&self.gateway.client, Seen::Pod));
                    }
                }
                () = tokio::time::sleep_until(self.not_before), if due => self.compile(),
            }
        }
    }

    fn take(&mut self, event: Seen) {
        let world = &mut self.world;
        match event {
            Seen::Class(event) => self.stale_table |= !world.classes.on(event, slim).is_empty(),
            Seen::Gateway(event) => {
                for (name, before) in world.gateways.on(event, slim) {
                    let now = world.gateways.objects.get(&name);
                    // Our own statuses come back here with each route that attaches.
                    let is_same = before.zip(now).is_some_and(|(before, now)| before.spec == now.spec);
                    if is_same { self.stale_statuses = true } else { self.stale_table = true }
                }
            }
            Seen::Route(event) => {
                let changed = world.routes.on(event, bare);
                self.stale_routes.extend(changed.into_iter().map(|it| it.0));
            }
            Seen::Grant(event) => self.stale_table |= !world.grants.on(event, slim).is_empty(),
            Seen::Ingress(event) => self.stale_table |= !world.ingresses.on(event, slim).is_empty(),
            Seen::Namespace(event) => {
                for (name, before) in world.namespaces.on(event, slim) {
                    let now = world.namespaces.objects.get(&name).map(kinds::labels);
                    self.gateway.egress.set_namespace(&name.name, now.clone());
                    self.stale_table |= now != before.as_ref().map(kinds::labels);
                }
            }
            Seen::Service(event) => {
                for (name, before) in world.services.on(event, service) {
                    match world.services.objects.get(&name) {
                        Some(now) if before.as_ref().is_some_and(|it| it.spec == now.spec) => continue,
                        Some(now) => {
                            let service = self.gateway.services.apply(&name, &now.spec);
                            self.node_ports.set(&name, &service.ports);
                        }
                        None => {
                            self.gateway.services.remove(&name);
                            self.node_ports.set(&name, &[]);
                        }
                    }
                    self.stale_table |= !world.ingresses.objects.is_empty();
                    self.stale_routes.extend(self.attached.naming(&name).cloned());
                    self.stale_services.insert(name);
                }
            }
            Seen::Policy(event) => {
                let changed = !world.policies.on(event, slim).is_empty();
                let egress = &self.gateway.egress;
                if world.policies.complete && (changed || !egress.is_known()) {
                    egress.set_policies(world.policies.objects.iter());
                }
            }
            Seen::Pod(event) => self.gateway.egress.on_pod(event),
            Seen::Slice(event) => self.stale_services.extend(world.slices.on(event)),
        }
    }

    fn refresh_endpoints(&mut self) {
        for name in std::mem::take(&mut self.stale_services) {
            if let Some(service) = self.gateway.services.by_name(&name.to_string()) {
                for port in &service.ports {
                    let mut addresses = self.world.slices.addresses(&name, &port.name);
                    // Whoever may write a slice could lead others to what trusts this host's loopback.
                    addresses.retain(|it| self.gateway.is_in_reach(*it));
                    port.pool.set(&addresses);
                }
            }
        }
    }

    fn compile(&mut self) {
        let started = Instant::now();
        let gateway = &self.gateway;
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let config = &gateway.config;
        let inside = format!("svc.{}", config.cluster_domain);
        let function_domains = [config.function_domain.as_str(), &inside];
        let site = Site { http_port: config.http_port, addresses: &config.addresses, function_domains, now: &now };
        let backends = |service: &Name, port| gateway.services.pool(service, port);
        self.stale_statuses = false;
        let stale_routes = std::mem::take(&mut self.stale_routes);
        // What is gone is counted no more; its last requests still have their meters.
        let (meters, world) = (&gateway.config.meters, &self.world);
        for gone in stale_routes.iter().filter(|it| !world.routes.objects.contains_key(*it)) {
            meters.forget(Subject::Route, &gone.to_string());
        }
        gateway.counters.compiles.fetch_add(1, Relaxed);
        if !self.stale_table {
            let (replaced, statuses) = self.attached.change(&stale_routes, &self.world, site, &backends);
            let mut table = Table::clone(&gateway.table.load());
            for (old, new) in &replaced {
                table.replace(old.as_deref(), new.as_deref());
            }
            gateway.table.store(Arc::new(table));
            self.publisher.statuses(statuses);
            return self.rest(started);
        }
        let is_there = |it: &str| {
            it.split_once('/').is_some_and(|it| world.ingresses.objects.contains_key(&Name::new(it.0, it.1)))
        };
        meters.retain(Subject::Ingress, is_there);
        let outcome = attach::attach(&self.world, site, &backends);
        gateway.table.store(Arc::new(Table::compile(outcome.routes.iter().map(|it| &**it))));
        gateway.synced.send_replace(true);
        self.publisher.statuses(outcome.statuses);
        self.attached = outcome.attached;
        for (name, complaint) in &outcome.complaints {
            if self.complaints.get(name) != Some(complaint) {
                let uid = self.world.ingresses.objects.get(name).and_then(|it| it.metadata.uid.clone());
                self.publisher.complaint(name.clone(), uid, complaint.clone());
            }
        }
        self.complaints = outcome.complaints;
        self.stale_table = false;
        self.rest(started);
    }

    /// Lets others have their turn, after work that began at `started`.
    fn rest(&mut self, started: Instant) {
        let took = started.elapsed();
        tracing::debug!(?took, "routing table compiled");
        self.not_before = Instant::now() + (took * REST_FACTOR).min(REST_MAX);
    }
}

/// A Service with its terms, where it is a revision's.
fn service(mut object: kinds::Service) -> kinds::Service {
    let (name, labels) = (Name::of(&object), object.metadata.labels.as_ref());
    object.spec.terms = Terms::of(labels, object.metadata.annotations.as_ref());
    if let (Some(terms), Some(uid)) = (&mut object.spec.terms, labels.and_then(|it| it.get(REVISION_UID))) {
        terms.revision = format!("{name}/{uid}").into();
    }
    bare(object)
}

/// Keeps of the metadata what routes and Services are known by: there may be tens of thousands.
fn bare<K: Resource>(mut object: K) -> K {
    let all = std::mem::take(object.meta_mut());
    let ObjectMeta { name, namespace, creation_timestamp, generation, .. } = all;
    *object.meta_mut() = ObjectMeta { name, namespace, creation_timestamp, generation, ..ObjectMeta::default() };
    object
}

/// Drops what can be large and is not read.
fn slim<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}
