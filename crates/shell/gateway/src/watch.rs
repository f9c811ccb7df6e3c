//! Follows the API server and keeps routes, Services and endpoints as it says.
//!
//! Endpoints go straight into their Service's pool. The routing table is compiled only for what it depends on, once
//! for all changes that have arrived, and at most for a fraction of the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use eyot_route::Table;
use futures::{
    FutureExt, StreamExt,
    stream::{BoxStream, SelectAll, select_all},
};
use kube::{
    Api, Client, Resource,
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
    world::World,
};

/// Events taken in before anything is made of them. Keeps a burst from delaying all of it.
const BATCH_MAX: usize = 10_000;
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
    /// Whether the table has to be compiled again, and when that may be.
    stale_table: bool,
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
            not_before: Instant::now(),
            complaints: BTreeMap::new(),
            follows_pods: false,
        }
    }

    async fn run(&mut self, mut events: SelectAll<BoxStream<'static, Seen>>) {
        loop {
            let due = self.stale_table && self.world.complete();
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
            Seen::Gateway(event) => self.stale_table |= !world.gateways.on(event, slim).is_empty(),
            Seen::Route(event) => self.stale_table |= !world.routes.on(event, slim).is_empty(),
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
                    self.stale_table = true;
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
                service.ports.iter().for_each(|it| it.pool.set(&self.world.slices.addresses(&name, &it.name)));
            }
        }
    }

    fn compile(&mut self) {
        let started = Instant::now();
        let gateway = &self.gateway;
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let site = Site { http_port: gateway.config.http_port, addresses: &gateway.config.addresses, now: &now };
        let outcome = attach::attach(&self.world, site, &|service, port| gateway.services.pool(service, port));
        gateway.table.store(Arc::new(Table::compile(&outcome.routes)));
        gateway.counters.compiles.fetch_add(1, Relaxed);
        gateway.synced.send_replace(true);
        self.publisher.statuses(outcome.statuses);
        for (name, complaint) in &outcome.complaints {
            if self.complaints.get(name) != Some(complaint) {
                let uid = self.world.ingresses.objects.get(name).and_then(|it| it.metadata.uid.clone());
                self.publisher.complaint(name.clone(), uid, complaint.clone());
            }
        }
        self.complaints = outcome.complaints;
        self.stale_table = false;
        let took = started.elapsed();
        tracing::debug!(routes = outcome.routes.len(), ?took, "routing table compiled");
        self.not_before = Instant::now() + (took * REST_FACTOR).min(REST_MAX);
    }
}

/// A Service with its terms, where it is a revision's.
fn service(mut object: kinds::Service) -> kinds::Service {
    object.spec.terms = Terms::of(object.metadata.labels.as_ref(), object.metadata.annotations.as_ref());
    slim(object)
}

/// Drops what can be large and is not read.
fn slim<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}
