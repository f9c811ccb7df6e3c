//! What a node is built with.

use std::{path::PathBuf, time::Duration};

use eyot_instance::Schedule;
use eyot_model::cidr::Cidr;

/// Settings of one [`crate::Node`]. Start from [`NodeConfig::new`].
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Name of the Node object, and what `spec.nodeName` of its pods says.
    pub name: String,
    /// Where logs and volumes of pods are kept.
    pub data_dir: PathBuf,
    /// Where pod IPs come from, if the host lets us route them; else they come from a loopback range.
    pub pod_cidr: Cidr,
    /// How restarts and retries wait.
    pub back_off: Schedule,
    /// How often the Lease is renewed.
    pub lease_period: Duration,
    /// Most pods, as announced to the scheduler.
    pub pods_max: u32,
    /// Bytes of memory announced to the scheduler; `None` for what the machine has.
    pub memory_bytes: Option<u64>,
}

impl NodeConfig {
    /// Settings that suit most machines.
    pub fn new(name: impl Into<String>, data_dir: impl Into<PathBuf>, pod_cidr: Cidr) -> Self {
        NodeConfig {
            name: name.into(),
            data_dir: data_dir.into(),
            pod_cidr,
            back_off: Schedule::default(),
            lease_period: Duration::from_secs(10),
            // What the address range of the default cluster CIDR holds, less the addresses that are never given out.
            pods_max: 60_000,
            memory_bytes: None,
        }
    }
}
