//! A kubelet for WebAssembly: keeps the pods bound to one node as their objects ask.
//!
//! Start at [`Node::run`]: it registers the node, follows its pods and gives each an owner. Guests that answer HTTP are
//! published in [`eyot_dispatch::Endpoints`], where the gateway finds them. [`Node::kubelet`] is the node's HTTP API for
//! logs and port forwarding.
//!
//! Deliberately absent: scheduling, Services, routes, and any knowledge of how objects are stored. The node speaks to a
//! [`kube::Client`] only, and to a real cluster as well as to our own API server.

mod admit;
mod aliases;
mod annotations;
mod api;
mod buckets;
mod claims;
mod config;
mod deadline;
mod early;
mod env;
mod events;
mod fields;
mod kubelet;
mod links;
mod logs;
mod network;
mod pod;
mod pods;
mod pressure;
mod register;
mod reuse;
mod room;
mod served;
mod sources;
mod tokens;
mod volumes;
mod watch;

use std::{net::Ipv4Addr, sync::Arc};

use eyot_bucket::{Bounds, Buckets};
use eyot_dispatch::{Early, Endpoints, Names, Outbound};
use eyot_registry::Images;
use eyot_runtime::Runtime;
use kube::Client;
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

pub use config::NodeConfig;
pub use eyot_model::cidr::{Cidr, CidrError};
pub use network::NoRange;

use crate::{
    events::Recorder,
    network::{Front, Network},
    pod::{Shared, Watched},
    pods::Pods,
    register::Size,
    sources::Sources,
};

/// One node.
pub struct Node {
    shared: Arc<Shared>,
    pods: Arc<Pods>,
}

/// Why a node cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It has no addresses for pods.
    #[error("taking an address range for pods")]
    Network(#[source] NoRange),
    /// Its directory cannot be made.
    #[error("preparing {path}")]
    Directory {
        /// The directory.
        path: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

impl Node {
    /// Prepares a node: takes an address range and makes its directories. It does nothing for pods until [`Node::run`].
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made, or every address range is in use by another node on this host.
    pub async fn new(
        mut config: NodeConfig,
        client: Client,
        runtime: Runtime,
        images: Images,
        endpoints: Arc<Endpoints>,
        outbound: Arc<dyn Outbound>,
        names: Arc<dyn Names>,
    ) -> Result<Node, NodeError> {
        volumes::write::make_private(&config.data_dir)
            .map_err(|source| NodeError::Directory { path: config.data_dir.display().to_string(), source })?;
        let network =
            Network::open(config.pod_cidr, &config.data_dir.join("pod-range")).await.map_err(NodeError::Network)?;
        if network.cidr().size() < config.pod_cidr.size() {
            // More would wait for addresses that the narrower range does not have.
            config.pods_max = config.pods_max.min(config::pods_max(network.cidr()));
        }
        let token = CancellationToken::new();
        let mut size = Size::of_machine();
        size.memory_bytes = config.memory_bytes.unwrap_or(size.memory_bytes);
        let memory_root = volumes::memory::root(&config.data_dir);
        let buckets = Buckets::open(config.data_dir.join("buckets"), Bounds::default());
        let shared = Arc::new(Shared {
            events: Recorder::start(client.clone(), &config.name, token.clone()),
            sources: Sources::new(client.clone(), token.clone()),
            host_ip: Ipv4Addr::from(u32::from(network.cidr().base()) + 1),
            front: Front::new(endpoints.clone()),
            open_logs: Arc::default(),
            config,
            client,
            runtime,
            images,
            endpoints,
            outbound,
            names,
            network,
            size,
            memory_root,
            handle: tokio::runtime::Handle::current(),
            watched: Watched::default(),
            late_writes: parking_lot::Mutex::default(),
            early: Arc::default(),
            buckets,
            token,
        });
        Ok(Node { pods: Pods::new(shared.clone()), shared })
    }

    /// Registers the node and looks after its pods until `token` is cancelled. Pods are then left as they are: their
    /// status stays, and a node that starts with the same name and directory goes on with them.
    pub async fn run(&self, token: CancellationToken) {
        let work = async {
            let room = room::run(self.pods.clone(), &self.shared.config.data_dir);
            let volumes = claims::provision::run(&self.shared);
            tokio::join!(register::run(&self.shared), self.pods.watch(), room, volumes, early::run(&self.shared));
        };
        tokio::select! {
            () = token.cancelled() => {}
            () = work => {}
        }
        self.shared.token.cancel();
        self.shared.network.close().await;
        if let Some(root) = &self.shared.memory_root {
            // It stays when something is in it.
            let _ = std::fs::remove_dir(root);
        }
    }

    /// Becomes true when every pod that was bound to the node before it started is being looked after.
    pub fn synced(&self) -> signal::Receiver<bool> {
        self.pods.synced()
    }

    /// The range that pod addresses come from: the configured one, or a loopback range where the host does not let us
    /// route that.
    pub fn pod_cidr(&self) -> Cidr {
        self.shared.network.cidr()
    }

    /// What answers for revisions at zero until they have a pod.
    pub fn early(&self) -> Arc<dyn Early> {
        Arc::new(early::Instances::of(&self.shared))
    }

    /// The node's HTTP API, as the kubelet's: `/containerLogs/{namespace}/{pod}/{container}` and
    /// `/portForward/{namespace}/{pod}`, which upgrades the connection in place.
    pub fn kubelet(&self) -> axum::Router {
        kubelet::router(self.pods.clone(), self.shared.clone())
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.shared.config.name).finish_non_exhaustive()
    }
}
