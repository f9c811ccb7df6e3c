//! Services as the data path sees them: by name and by address, each port with its endpoints of the moment.
//!
//! A [`Pool`] lives as long as its Service has the port. Routes hold pools, and endpoints are swapped inside them, so a
//! change of endpoints touches neither the routing table nor any other Service. Reads take no lock.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use eyot_dispatch::{Announced, AnnouncedPort, Handler, Loads};
use eyot_meter::{Meter, Meters, Subject};
use eyot_route::choose;
use tokio::sync::Notify;

use crate::{
    early::{self, Turn},
    hold::{Counted, Hold, Terms},
    kinds::{Name, ServiceSpec, is_tcp},
    resolve::{Destination, destination},
};

/// Names that stand for names, followed at most so often: nobody needs more, and they may go in a circle.
const ALIASES_MAX: usize = 8;

/// The Services of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Services {
    by_name: papaya::HashMap<Box<str>, Arc<Service>>,
    by_address: papaya::HashMap<IpAddr, Arc<Service>>,
    loads: Arc<Loads>,
    meters: Arc<Meters>,
    /// Requests that wait for an endpoint of any revision.
    waiting: Arc<AtomicUsize>,
}

/// One Service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) ports: Vec<Port>,
    pub(crate) addresses: Vec<IpAddr>,
    /// Host that an ExternalName Service stands for.
    pub(crate) external_name: Option<Box<str>>,
    /// As pods are told of it; `None` when it has no address.
    announced: Option<Announced>,
}

/// One TCP port of a Service.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) name: Box<str>,
    pub(crate) pool: Arc<Pool>,
    /// Port of the node that leads here too.
    pub(crate) node_port: Option<u16>,
}

/// How endpoints are spoken to over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, from the first byte.
    H2c,
}

/// The endpoints of one Service port, and what was counted there.
#[derive(Debug)]
pub(crate) struct Pool {
    /// `namespace/service:port`.
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    turn: AtomicUsize,
    /// Each client keeps its endpoint, as long as that is there.
    sticky: AtomicBool,
    changed: Notify,
    pub(crate) meter: Arc<Meter>,
    /// Of what scales by its requests: holds them while nothing takes them.
    pub(crate) hold: Option<Hold>,
}

/// Who asks, as far as it decides about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client(u64);

impl Client {
    /// Anything that tells one client from another.
    pub(crate) fn of(who: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        who.hash(&mut hasher);
        Client(hasher.finish())
    }
}

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    in_flight: Arc<AtomicU32>,
    /// How many it takes at once, and who is told when it has room again; `None` for any number.
    bound: Option<(u32, Arc<Notify>)>,
}

impl Endpoint {
    fn take(&self) -> Option<Busy> {
        match &self.bound {
            None => self.in_flight.fetch_add(1, Relaxed),
            Some((most, _)) => {
                self.in_flight.fetch_update(Relaxed, Relaxed, |it| (it < *most).then_some(it + 1)).ok()?
            }
        };
        let freed = self.bound.as_ref().map(|(_, freed)| freed.clone());
        Some(Busy { address: self.address, in_flight: self.in_flight.clone(), freed, counted: None, early: None })
    }
}

/// A request under way at an endpoint; ends when dropped.
pub(crate) struct Busy {
    address: SocketAddr,
    in_flight: Arc<AtomicU32>,
    /// Who is told when this ends.
    freed: Option<Arc<Notify>>,
    /// Answers in place of an endpoint that is not there yet.
    early: Option<Arc<dyn Handler>>,
    /// Counts the request until it ends.
    counted: Option<Arc<Counted>>,
}

impl Busy {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who answers where there is no endpoint yet.
    pub(crate) fn early(&self) -> Option<Arc<dyn Handler>> {
        self.early.clone()
    }

    /// Has the request counted until it ends.
    pub(crate) fn keep(&mut self, counted: Arc<Counted>) {
        self.counted = Some(counted);
    }
}

impl fmt::Debug for Busy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Busy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Relaxed);
        if let Some(freed) = &self.freed {
            freed.notify_one();
        }
    }
}

impl Pool {
    pub(crate) fn new(name: Arc<str>, protocol: Protocol, meter: Arc<Meter>) -> Self {
        Self {
            name,
            protocol,
            endpoints: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            sticky: AtomicBool::new(false),
            changed: Notify::new(),
            meter,
            hold: None,
        }
    }

    /// Whether there is no endpoint at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.endpoints.load().is_empty()
    }

    /// `namespace/service`, without the port.
    pub(crate) fn service(&self) -> &str {
        self.name.rsplit_once(':').map_or(&*self.name, |it| it.0)
    }

    /// Chooses an endpoint other than those in `tried`; if all were tried, `None`. Where clients keep their endpoint it is
    /// that of `client`.
    pub(crate) fn choose(&self, tried: &[SocketAddr], client: Client) -> Option<Busy> {
        let endpoints = self.endpoints.load();
        if self.sticky.load(Relaxed) {
            let left = endpoints.iter().filter(|it| !tried.contains(&it.address));
            return left.max_by_key(|it| choose::affinity(client.0, it.address))?.take();
        }
        // Who has no choice takes no turn.
        let turn = if endpoints.len() > 1 { self.turn.fetch_add(1, Relaxed) } else { 0 };
        let at = choose::endpoint(endpoints.len(), turn, |at| endpoints[at].in_flight.load(Relaxed))?;
        let from_there = endpoints[at..].iter().chain(&endpoints[..at]);
        from_there.into_iter().filter(|it| !tried.contains(&it.address)).find_map(|it| it.take())
    }

    /// Completes at the next change of endpoints after the call (not after the first poll).
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Swaps the endpoints; those that stay keep their counts.
    pub(crate) fn set(&self, addresses: &[SocketAddr]) {
        let before = self.endpoints.load();
        if before.len() == addresses.len() && before.iter().zip(addresses).all(|(it, address)| it.address == *address) {
            return;
        }
        let known: HashMap<SocketAddr, &Arc<Endpoint>> = before.iter().map(|it| (it.address, it)).collect();
        // What is answered early goes on as a part of the first instance, which takes so much less until then.
        let mut first = self.hold.as_ref().filter(|_| before.is_empty()).map(|it| it.early.in_flight.clone());
        let endpoints = addresses.iter().map(|address| match known.get(address) {
            Some(known) => Arc::clone(known),
            None => {
                let in_flight = first.take().unwrap_or_default();
                Arc::new(Endpoint { address: *address, in_flight, bound: self.bound() })
            }
        });
        self.endpoints.store(Arc::new(endpoints.collect()));
        if let Some(hold) = self.hold.as_ref().filter(|_| !addresses.is_empty()) {
            hold.early.end();
            hold.end_early();
        }
        self.changed.notify_waiters();
    }

    /// Has those who wait here go on: no endpoint will come.
    fn close(&self) {
        if let Some(hold) = &self.hold {
            hold.close();
        }
        self.changed.notify_waiters();
    }

    fn bound(&self) -> Option<(u32, Arc<Notify>)> {
        let hold = self.hold.as_ref().filter(|it| it.terms.concurrency > 0)?;
        Some((hold.terms.concurrency, hold.freed.clone()))
    }

    /// A request that `handler` answers in place of an endpoint, if it has room.
    pub(crate) fn take_early(&self, hold: &Hold, handler: Arc<dyn Handler>) -> Option<Busy> {
        let bound = Some((Turn::bound(hold.terms.concurrency), hold.freed.clone()));
        let endpoint = Endpoint { address: early::ADDRESS, in_flight: hold.early.in_flight.clone(), bound };
        let mut busy = endpoint.take()?;
        busy.early = Some(handler);
        Some(busy)
    }

    /// The addresses of all endpoints.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoints.load().iter().map(|it| it.address).collect()
    }
}

impl Services {
    /// None yet; requests will be counted in `meters`, those to revisions also in `loads`.
    pub(crate) fn counted_by(loads: Arc<Loads>, meters: Arc<Meters>) -> Self {
        Self { loads, meters, ..Self::default() }
    }

    fn hold(&self, name: &str, terms: Terms) -> Hold {
        Hold::new(name, terms, &self.loads, self.waiting.clone())
    }

    /// The Service `namespace/name`.
    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Service>> {
        self.by_name.pin().get(name).cloned()
    }

    /// What an ExternalName Service stands for, as long as that is a Service too; any other Service stands for itself.
    pub(crate) fn follow(&self, service: &Arc<Service>, domain: &str) -> Arc<Service> {
        let mut at = service.clone();
        for _ in 0..ALIASES_MAX {
            let Some(host) = &at.external_name else { break };
            let (Destination::Service(name) | Destination::ServiceOrOutside(name)) = destination(host, "", domain)
            else {
                break;
            };
            let Some(next) = self.by_name(&name) else { break };
            at = next;
        }
        at
    }

    /// The Service with this cluster IP.
    pub(crate) fn by_address(&self, address: IpAddr) -> Option<Arc<Service>> {
        self.by_address.pin().get(&address).cloned()
    }

    /// The pool of a Service port.
    pub(crate) fn pool(&self, service: &Name, port: u16) -> Option<Arc<Pool>> {
        let service = self.by_name(&service.to_string())?;
        service.port(port).map(|it| it.pool.clone())
    }

    /// The Services that pods of `namespace` are told of, by name, and the API server's.
    pub(crate) fn announced(&self, namespace: &str) -> Vec<Announced> {
        let services = self.by_name.pin();
        let wanted =
            |it: &&Announced| *it.namespace == *namespace || (&*it.namespace, &*it.name) == ("default", "kubernetes");
        let mut found: Vec<Announced> =
            services.values().filter_map(|it| it.announced.as_ref()).filter(wanted).cloned().collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Adds or changes a Service. Ports that stay keep their pool.
    pub(crate) fn apply(&self, name: &Name, spec: &ServiceSpec) -> Arc<Service> {
        let key = name.to_string();
        let before = self.by_name(&key);
        let meter = self.meters.of(Subject::Service, &key);
        let mut after = Service::new(&key, spec, before.as_deref(), &meter, |terms| self.hold(&key, terms));
        after.announced = announced(name, spec, &after.addresses);
        let after = Arc::new(after);
        let addresses = self.by_address.pin();
        if let Some(before) = &before {
            let lost = before.addresses.iter().filter(|it| !after.addresses.contains(it));
            lost.for_each(|it| self.give_up(*it, before));
        }
        for address in &after.addresses {
            addresses.insert(*address, after.clone());
        }
        self.by_name.pin().insert(key.into(), after.clone());
        let replaced = |old: &&Port| after.ports.iter().all(|it| !Arc::ptr_eq(&it.pool, &old.pool));
        before.iter().flat_map(|it| &it.ports).filter(replaced).for_each(|it| it.pool.close());
        after
    }

    /// Forgets a Service.
    pub(crate) fn remove(&self, name: &Name) {
        if let Some(before) = self.by_name.pin().remove(name.to_string().as_str()) {
            before.addresses.iter().for_each(|it| self.give_up(*it, before));
            self.meters.forget(Subject::Service, &name.to_string());
            before.ports.iter().for_each(|it| it.pool.set(&[]));
            before.ports.iter().for_each(|it| it.pool.close());
            if before.ports.iter().any(|it| it.pool.hold.is_some()) {
                self.loads.forget(&name.to_string());
            }
        }
    }

    /// Takes an address from a Service, unless another has it by now: in a list the one that got it may come first.
    fn give_up(&self, address: IpAddr, before: &Arc<Service>) {
        let addresses = self.by_address.pin();
        if addresses.get(&address).is_some_and(|it| Arc::ptr_eq(it, before)) {
            addresses.remove(&address);
        }
    }
}

impl Service {
    fn new(
        key: &str,
        spec: &ServiceSpec,
        before: Option<&Service>,
        meter: &Arc<Meter>,
        hold: impl Fn(Terms) -> Hold,
    ) -> Self {
        let ports = spec.ports.iter().flatten().filter(|it| is_tcp(it.protocol.as_deref())).map(|port| {
            let protocol = match port.app_protocol.as_deref() {
                Some("kubernetes.io/h2c") => Protocol::H2c,
                _ => Protocol::Http1,
            };
            let kept = before.and_then(|it| it.port(port.port)).filter(|it| {
                it.pool.protocol == protocol && it.pool.hold.as_ref().map(|it| &it.terms) == spec.terms.as_ref()
            });
            let fresh = || {
                let pool = Pool::new(format!("{key}:{}", port.port).into(), protocol, meter.clone());
                Arc::new(Pool { hold: spec.terms.clone().map(&hold), ..pool })
            };
            let pool = kept.map_or_else(fresh, |it| it.pool.clone());
            pool.sticky.store(spec.session_affinity.as_deref() == Some("ClientIP"), Relaxed);
            let name = port.name.clone().unwrap_or_default().into();
            Port { number: port.port, name, pool, node_port: port.node_port.filter(|it| *it != 0) }
        });
        let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        let mut addresses: Vec<IpAddr> = addresses.filter_map(|it| it.parse().ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let external = spec.type_.as_deref() == Some("ExternalName");
        let external_name = spec.external_name.as_deref().filter(|_| external).map(Into::into);
        Self { ports: ports.collect(), addresses, external_name, announced: None }
    }

    /// The port with this number.
    pub(crate) fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|it| it.number == number)
    }
}

fn announced(name: &Name, spec: &ServiceSpec, addresses: &[IpAddr]) -> Option<Announced> {
    let address = spec.cluster_ip.as_deref().and_then(|it| it.parse().ok()).or(addresses.first().copied())?;
    let ports = spec.ports.iter().flatten().map(|it| AnnouncedPort {
        name: it.name.as_deref().unwrap_or_default().into(),
        number: it.port,
        protocol: it.protocol.as_deref().filter(|it| !it.is_empty()).unwrap_or("TCP").into(),
    });
    let (namespace, name) = (name.namespace.as_str().into(), name.name.as_str().into());
    Some(Announced { namespace, name, address, ports: ports.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::ServicePort;

    fn spec(ports: &[u16], ip: &str) -> ServiceSpec {
        let ports = ports.iter().map(|port| ServicePort { port: *port, ..ServicePort::default() }).collect();
        ServiceSpec { cluster_ip: Some(ip.to_owned()), ports: Some(ports), ..ServiceSpec::default() }
    }

    #[test]
    fn a_port_keeps_its_pool_and_addresses_follow_the_spec() {
        let services = Services::default();
        let name = Name::new("ns", "web");
        services.apply(&name, &spec(&[80], "10.43.0.1"));
        let pool = services.pool(&name, 80).unwrap();
        services.apply(&name, &spec(&[80, 81], "10.43.0.2"));
        assert!(Arc::ptr_eq(&pool, &services.pool(&name, 80).unwrap()));
        assert!(services.by_address([10, 43, 0, 1].into()).is_none());
        assert!(services.by_address([10, 43, 0, 2].into()).is_some());
        let told = services.announced("ns");
        assert_eq!((told.len(), told[0].address, told[0].ports.len()), (1, [10, 43, 0, 2].into(), 2));
        assert!(services.announced("other").is_empty());
        pool.set(&["10.42.0.1:80".parse().unwrap()]);
        services.remove(&name);
        assert!(services.by_address([10, 43, 0, 2].into()).is_none());
        assert!(services.pool(&name, 80).is_none());
        assert!(
            pool.choose(&[], Client::of(0)).is_none(),
            "routes that still hold the pool of a deleted Service find nothing in it"
        );
    }

    #[test]
    fn nothing_is_held_for_a_service_that_is_gone_or_has_another_pool() {
        let services = Services::default();
        let name = Name::new("ns", "fn-00001");
        let labels = [("serving.knative.dev/revision".to_owned(), "fn-00001".to_owned())].into();
        let held = |concurrency: u32| {
            let key = "serving.knative.dev/containerConcurrency".to_owned();
            let annotations = [(key, concurrency.to_string())].into();
            ServiceSpec { terms: Terms::of(Some(&labels), Some(&annotations)), ..spec(&[80], "10.43.0.1") }
        };
        let is_open = |pool: &Arc<Pool>| pool.hold.as_ref().is_some_and(Hold::is_open);
        services.apply(&name, &held(0));
        let first = services.pool(&name, 80).unwrap();
        services.apply(&name, &held(0));
        assert!(is_open(&first), "the same terms, the same pool");
        services.apply(&name, &held(1));
        let second = services.pool(&name, 80).unwrap();
        assert!(!is_open(&first) && is_open(&second));
        services.remove(&name);
        assert!(!is_open(&second));
    }

    #[test]
    fn endpoints_take_turns_and_busy_ones_are_passed_by() {
        let pool = Pool::new("ns/web:80".into(), Protocol::Http1, Meters::default().of(Subject::Service, "ns/web"));
        let addresses: Vec<SocketAddr> = (1..=2).map(|it| SocketAddr::from(([10, 42, 0, it], 80))).collect();
        pool.set(&addresses);
        let anyone = Client::of(0);
        let first = pool.choose(&[], anyone).unwrap();
        let second = pool.choose(&[], anyone).unwrap();
        assert_ne!(first.address(), second.address());
        let free = second.address();
        drop(second);
        for _ in 0..4 {
            assert_eq!(pool.choose(&[], anyone).unwrap().address(), free);
        }
        assert_eq!(pool.choose(&[free], anyone).unwrap().address(), first.address());
        assert!(pool.choose(&addresses, anyone).is_none());
    }

    #[test]
    fn an_address_that_another_service_got_stays_with_it() {
        let services = Services::default();
        let (old, new) = (Name::new("ns", "old"), Name::new("ns", "new"));
        services.apply(&old, &spec(&[80], "10.43.0.1"));
        let owner = services.apply(&new, &spec(&[80], "10.43.0.1"));
        services.remove(&old);
        assert!(services.by_address([10, 43, 0, 1].into()).is_some_and(|it| Arc::ptr_eq(&it, &owner)));
    }

    #[test]
    fn a_client_keeps_its_endpoint_while_that_is_there() {
        let services = Services::default();
        let name = Name::new("ns", "web");
        let mut spec = spec(&[80], "10.43.0.1");
        let addresses: Vec<SocketAddr> = (1..=5).map(|it| SocketAddr::from(([10, 42, 0, it], 80))).collect();
        services.apply(&name, &spec);
        let pool = services.pool(&name, 80).unwrap();
        pool.set(&addresses);
        spec.session_affinity = Some("ClientIP".into());
        services.apply(&name, &spec);
        let of = |client: u8| pool.choose(&[], Client::of(client)).unwrap().address();
        let before: Vec<SocketAddr> = (0..50).map(of).collect();
        assert_eq!((0..50).map(of).collect::<Vec<_>>(), before);
        assert!(addresses.iter().all(|it| before.contains(it)), "all of them are somebody's: {before:?}");
        // Only who was at the one that went has to move.
        pool.set(&addresses[1..]);
        for (client, before) in (0..50).zip(&before).filter(|it| *it.1 != addresses[0]) {
            assert_eq!(of(client), *before);
        }
        assert_ne!(pool.choose(&[of(1)], Client::of(1u8)).unwrap().address(), of(1));
        spec.session_affinity = Some("None".into());
        services.apply(&name, &spec);
        let turns: std::collections::BTreeSet<SocketAddr> = (0..8).map(|_| of(1)).collect();
        assert_eq!(turns.len(), 4);
    }

    #[test]
    fn a_name_that_stands_for_a_service_leads_there_and_circles_end() {
        let services = Services::default();
        let external = |host: &str| ServiceSpec {
            type_: Some("ExternalName".into()),
            external_name: Some(host.into()),
            ..ServiceSpec::default()
        };
        let web = services.apply(&Name::new("ns", "web"), &spec(&[80], "10.43.0.1"));
        let alias = services.apply(&Name::new("ns", "alias"), &external("web.ns.svc.cluster.local"));
        assert!(Arc::ptr_eq(&services.follow(&alias, "cluster.local"), &web));
        let outside = services.apply(&Name::new("ns", "outside"), &external("www.example.com"));
        assert!(Arc::ptr_eq(&services.follow(&outside, "cluster.local"), &outside));
        let circle = services.apply(&Name::new("ns", "one"), &external("two.ns"));
        services.apply(&Name::new("ns", "two"), &external("one.ns"));
        assert!(services.follow(&circle, "cluster.local").external_name.is_some());
    }
}
