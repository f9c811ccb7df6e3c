//! The API server's shared state. Entry point: [`ApiServer::new`].

use std::sync::{Arc, OnceLock};

use eyot_meter::Meters;
use eyot_model::{cidr::Cidr, kinds::Table, status::ApiError};
use eyot_policy::Engine;
use eyot_store::Store;

use crate::{
    ApiService, Identity,
    access::Authority,
    admit::{GlobalDefault, Quotas, Webhooks},
    definitions::Definitions,
    flow::Flows,
    kubelet::Kubelets,
    metrics::Usages,
    pki::Credentials,
    policy::Policies,
    strategy::{Addresses, NodePorts, bind::OnlyNode},
};

/// What the API server needs to know beside its store.
#[derive(Clone, Debug)]
pub struct Config {
    /// Range from which Services get their cluster IPs; its first address belongs to `default/kubernetes`.
    pub service_cidr: Cidr,
    /// Port of the API, as `default/kubernetes` shows it.
    pub api_port: u16,
}

/// The API server; clones share everything.
#[derive(Clone)]
pub struct ApiServer(pub(crate) Arc<Shared>);

/// What all clones and services share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) kubelets: Kubelets,
    pub(crate) usages: Usages,
    pub(crate) addresses: Addresses,
    pub(crate) node_ports: NodePorts,
    pub(crate) only_node: OnlyNode,
    pub(crate) definitions: Definitions,
    pub(crate) authority: Authority,
    credentials: OnceLock<Credentials>,
    pub(crate) global_default: GlobalDefault,
    pub(crate) quotas: Quotas,
    pub(crate) webhooks: Webhooks,
    pub(crate) policies: Policies,
    pub(crate) flows: Flows,
    meters: OnceLock<Arc<Meters>>,
}

impl Shared {
    /// Whether pods get a token that say nothing: where keys were given that outlast the process, and a CA to tell
    /// servers by.
    pub(crate) fn mounts_tokens(&self) -> bool {
        self.credentials.get().is_some_and(|it| it.ca_pem.is_some())
    }

    /// What is counted about requests to Services; nothing, where nobody counts.
    pub(crate) fn meters(&self) -> &Meters {
        self.meters.get_or_init(Arc::default)
    }

    /// The keys by which tokens are known. A server that was given none makes one that it forgets at its end.
    pub(crate) fn credentials(&self) -> Result<&Credentials, ApiError> {
        match self.credentials.get() {
            Some(credentials) => Ok(credentials),
            None => {
                let made = Credentials::ephemeral().map_err(ApiError::internal)?;
                Ok(self.credentials.get_or_init(|| made))
            }
        }
    }
}

impl ApiServer {
    /// An API server over `store`, which must have been opened with [`attributes`](crate::attributes). Nothing is
    /// written until a request or [`bootstrap`](crate::bootstrap) asks.
    pub fn new(store: Store, config: Config) -> Self {
        ApiServer::with_engines(store, config, Vec::new())
    }

    /// An API server whose writes are judged by these engines of policy, in this order. Policies that are stored are in
    /// force when it returns.
    pub fn with_engines(store: Store, config: Config, engines: Vec<Arc<dyn Engine>>) -> Self {
        let server = ApiServer(Arc::new_cyclic(|server| Shared {
            definitions: Definitions::load(&store),
            store,
            kubelets: Kubelets::default(),
            usages: Usages::default(),
            addresses: Addresses::new(config.service_cidr),
            node_ports: NodePorts::default(),
            only_node: OnlyNode::default(),
            authority: Authority::default(),
            credentials: OnceLock::new(),
            global_default: GlobalDefault::default(),
            quotas: Quotas::new(server.clone()),
            webhooks: Webhooks::default(),
            policies: Policies::new(engines, server.clone()),
            flows: Flows::default(),
            meters: OnceLock::new(),
            config,
        }));
        server.0.policies.load(&server.0);
        server
    }

    /// The kinds that are served now: the built-in ones and those of CustomResourceDefinitions.
    pub fn kinds(&self) -> Arc<Table> {
        self.0.definitions.table()
    }

    /// A tower service that makes requests as `identity`, for instance for `kube::Client::new`.
    pub fn service(&self, identity: Identity) -> ApiService {
        ApiService::new(self.clone(), Some(identity))
    }

    /// A tower service for callers who show who they are with each request, by a bearer token.
    pub fn open_service(&self) -> ApiService {
        ApiService::new(self.clone(), None)
    }

    /// Has what is counted about requests to Services told by the metrics APIs and `/metrics`. Only the first call counts.
    pub fn set_meters(&self, meters: Arc<Meters>) {
        let _ = self.0.meters.set(meters);
    }

    /// Gives the server the keys by which it knows users. Only the first call counts, and only before the first token
    /// was issued or shown.
    pub fn set_credentials(&self, credentials: Credentials) {
        let _ = self.0.credentials.set(credentials);
    }
}
