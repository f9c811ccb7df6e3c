//! The API server's shared state. Entry point: [`ApiServer::new`].

use std::sync::Arc;

use eyot_model::{cidr::Cidr, kinds::Table};
use eyot_store::Store;

use crate::{
    ApiService, Identity,
    definitions::Definitions,
    kubelet::Kubelets,
    strategy::{Addresses, bind::OnlyNode},
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
    pub(crate) addresses: Addresses,
    pub(crate) only_node: OnlyNode,
    pub(crate) definitions: Definitions,
}

impl ApiServer {
    /// An API server over `store`, which must have been opened with [`attributes`](crate::attributes). Nothing is
    /// written until a request or [`bootstrap`](crate::bootstrap) asks.
    pub fn new(store: Store, config: Config) -> Self {
        ApiServer(Arc::new(Shared {
            definitions: Definitions::load(&store),
            store,
            kubelets: Kubelets::default(),
            addresses: Addresses::new(config.service_cidr),
            only_node: OnlyNode::default(),
            config,
        }))
    }

    /// The kinds that are served now: the built-in ones and those of CustomResourceDefinitions.
    pub fn kinds(&self) -> Arc<Table> {
        self.0.definitions.table()
    }

    /// A tower service that makes requests as `identity`, for instance for `kube::Client::new`.
    pub fn service(&self, identity: Identity) -> ApiService {
        ApiService::new(self.clone(), identity)
    }
}
