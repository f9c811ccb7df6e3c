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
            pods_max: pods_max(pod_cidr),
            memory_bytes: None,
        }
    }
}

/// As many as a range has addresses, but for some that rest before they name another pod: 61,437 in the default one.
pub(crate) fn pods_max(range: Cidr) -> u32 {
    const NODE_MAX: u32 = 250_000;
    (range.size() - range.size() / 16).saturating_sub(3).clamp(1, NODE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_range_takes_more_pods_up_to_what_a_node_can_hold() {
        let max = |range: &str| NodeConfig::new("node", "/data", range.parse().unwrap()).pods_max;
        assert_eq!([max("10.42.0.0/16"), max("10.64.0.0/15"), max("10.64.0.0/10")], [61_437, 122_877, 250_000]);
        assert_eq!([max("10.42.0.0/24"), max("10.42.0.0/29")], [237, 5]);
    }
}
