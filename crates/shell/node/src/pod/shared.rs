//! What every pod of a node shares.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use eyot_bucket::Buckets;
use eyot_dispatch::{Endpoints, Names, Outbound};
use eyot_registry::Images;
use eyot_runtime::Runtime;
use kube::Client;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{PodKey, watched::Watched};
use crate::{
    NodeConfig, early,
    events::Recorder,
    fields::Facts,
    logs::{self, OpenLogs},
    network::{Front, Network},
    register::Size,
    sources::Sources,
};

/// The node as its pods see it.
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) client: Client,
    pub(crate) runtime: Runtime,
    pub(crate) images: Images,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) names: Arc<dyn Names>,
    pub(crate) network: Network,
    pub(crate) front: Front,
    pub(crate) sources: Sources,
    pub(crate) events: Recorder,
    pub(crate) open_logs: Arc<OpenLogs>,
    pub(crate) host_ip: Ipv4Addr,
    pub(crate) size: Size,
    /// Where volumes that are kept in memory lie.
    pub(crate) memory_root: Option<PathBuf>,
    /// Where the node's own work runs.
    pub(crate) handle: Handle,
    /// Pods that have to be looked at from time to time.
    pub(crate) watched: Watched,
    /// Held while volumes that come late are written.
    pub(crate) late_writes: Mutex<()>,
    /// What guests keep, by the uid of their namespace.
    pub(crate) buckets: Buckets,
    /// What answers for revisions that have no pod.
    pub(crate) early: Arc<early::Table>,
    pub(crate) token: CancellationToken,
}

impl Shared {
    /// What fields of a pod at `ip` depend on.
    pub(crate) fn facts(&self, ip: Ipv4Addr) -> Facts {
        Facts {
            pod_ip: ip,
            host_ip: self.host_ip,
            node: self.config.name.as_str().into(),
            cpu_millis: self.size.allocatable().cpu_millis,
            memory_bytes: self.size.allocatable().memory_bytes,
        }
    }

    /// Where volumes of pods lie.
    pub(crate) fn pods_directory(&self) -> PathBuf {
        self.config.data_dir.join("pods")
    }

    /// Where volumes of one pod lie.
    pub(crate) fn pod_directory(&self, key: &PodKey) -> PathBuf {
        self.pods_directory().join(&*key.uid)
    }

    /// Where volumes of one pod that are kept in memory lie; `None` where the machine has no such place.
    pub(crate) fn memory_directory(&self, key: &PodKey) -> Option<PathBuf> {
        self.memory_root.as_ref().map(|it| it.join(&*key.uid))
    }

    /// Where logs of pods lie.
    pub(crate) fn logs_directory(&self) -> PathBuf {
        self.config.data_dir.join("logs")
    }

    /// Where logs of one pod lie.
    pub(crate) fn log_directory(&self, key: &PodKey) -> PathBuf {
        logs::pod_directory(&self.logs_directory(), &key.namespace, &key.name, &key.uid)
    }
}
