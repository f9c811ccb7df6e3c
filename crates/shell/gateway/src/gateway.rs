//! The gateway itself: what its watches fill and its data path reads.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use eyot_dispatch::{Authorize, Early, Endpoints, Way};
use eyot_route::Table;
use hyper_util::{rt::TokioExecutor, server::conn::auto::Builder};
use tokio::sync::{Semaphore, watch};

use crate::{
    Config,
    arrival::Arrivals,
    dial::Dialer,
    egress::Egress,
    limits::InFlight,
    mirror,
    resolve::may_dial,
    server,
    services::{Pool, Services},
    stats::{Counters, Stats},
};

/// Networks of pods, each with the length of its prefix.
pub(crate) type PodNetworks = Arc<ArcSwap<Vec<(IpAddr, u8)>>>;

/// Carries HTTP to Services: requests of clients through [`Gateway::serve`], those of guests through
/// [`eyot_dispatch::Outbound`].
///
/// Knows no routes and no Services until [`Gateway::watch`] has read them.
pub struct Gateway {
    pub(crate) client: kube::Client,
    pub(crate) config: Config,
    /// Handlers of this node's pods.
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) services: Arc<Services>,
    pub(crate) table: ArcSwap<Table<Arc<Pool>>>,
    pub(crate) dialer: Dialer,
    pub(crate) outbound: InFlight,
    pub(crate) arrivals: Arrivals,
    pub(crate) egress: Arc<Egress>,
    pub(crate) pod_networks: PodNetworks,
    pub(crate) counters: Counters,
    pub(crate) synced: watch::Sender<bool>,
    /// Connections that may still be opened to the listener.
    pub(crate) slots: Arc<Semaphore>,
    /// And to ports of the node, whose clients may hold them for ever: they take none from the listener.
    pub(crate) port_slots: Arc<Semaphore>,
    /// Requests that may still begin beside others of their connection.
    pub(crate) streams: Arc<Semaphore>,
    /// Copies of requests that may still be sent.
    pub(crate) copies: Arc<Semaphore>,
    pub(crate) http: Builder<TokioExecutor>,
    /// Judges requests before they are carried, where anybody does.
    pub(crate) authorizer: OnceLock<Arc<dyn Authorize>>,
    /// Answers for revisions at zero, where anybody does.
    pub(crate) early: OnceLock<Arc<dyn Early>>,
}

impl Gateway {
    /// A gateway that reads routes through `client` and finds the handlers of this node's pods in `endpoints`.
    pub fn new(client: kube::Client, endpoints: Arc<Endpoints>, config: Config) -> Arc<Self> {
        let pod_networks: PodNetworks = Arc::new(ArcSwap::from_pointee(config.pod_networks.clone()));
        let connections_max = config.connections_max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            dialer: Dialer::new(pod_networks.clone(), config.lookups.clone()),
            egress: Arc::default(),
            pod_networks,
            outbound: InFlight::new(config.outbound_per_pod_max),
            streams: Arc::new(Semaphore::new(config.streams_max.min(Semaphore::MAX_PERMITS))),
            arrivals: Arrivals::new(config.arrival_timeout),
            client,
            endpoints,
            services: Arc::new(Services::counted_by(config.loads.clone(), config.meters.clone())),
            config,
            table: ArcSwap::default(),
            counters: Counters::default(),
            synced: watch::Sender::new(false),
            slots: Arc::new(Semaphore::new(connections_max)),
            port_slots: Arc::new(Semaphore::new(connections_max)),
            copies: Arc::new(Semaphore::new(mirror::COPIES_MAX)),
            http: server::protocol(),
            authorizer: OnceLock::new(),
            early: OnceLock::new(),
        })
    }

    /// Waits until everything that existed when the watches started is in the table.
    pub async fn synced(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Takes the networks that pods really have in place of the configured ones.
    pub fn set_pod_networks(&self, networks: Vec<(IpAddr, u8)>) {
        self.pod_networks.store(Arc::new(networks));
    }

    /// Whether a Service may lead to `address`, and a guest connect there as far as policies let it.
    pub(crate) fn is_in_reach(&self, address: SocketAddr) -> bool {
        may_dial(address.ip(), &self.pod_networks.load()) || self.config.api_server == Some(address)
    }

    /// Has every request judged by `authorizer` before it is carried. To be called once, before anything is served.
    pub fn set_authorizer(&self, authorizer: Arc<dyn Authorize>) {
        if self.authorizer.set(authorizer).is_err() {
            tracing::error!("the gateway has an authorizer already; the second one is not asked");
        }
    }

    /// Has requests to revisions at zero answered by `early` until they have an endpoint. To be called once, before anything
    /// is served.
    pub fn set_early(&self, early: Arc<dyn Early>) {
        if self.early.set(early).is_err() {
            tracing::error!("somebody answers for revisions at zero already; the second one is not asked");
        }
    }

    /// Whether anybody judges requests to a Service whatever way they come.
    pub(crate) fn judges(&self, pool: &Pool) -> bool {
        let way = Way { service: Some(pool.service()), ..Way::default() };
        self.authorizer.get().is_some_and(|it| it.is_concerned(&way))
    }

    /// What was counted since the start.
    pub fn stats(&self) -> Stats {
        self.counters.read(&self.config.meters)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Gateway {
    /// One whose API server never answers, but for that there are no policies.
    pub(crate) fn silent(config: Config) -> Arc<Self> {
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
        });
        let gateway = Self::new(kube::Client::new(silent, "default"), Arc::new(Endpoints::new()), config);
        gateway.egress.set_policies(std::iter::empty());
        gateway
    }
}
