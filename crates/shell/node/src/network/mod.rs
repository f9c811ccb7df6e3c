//! Pod addresses: which there are, how the host reaches them, and who answers.
//!
//! Start at [`Network::open`]. Each node on a host has a range of its own: the configured one, routed to `lo`, or else one
//! inside 127.0.0.0/8. An HTTP guest gets one listening socket per address and port: a wildcard socket per port would take
//! that port from every other program on the host, the gateway's own 127.0.0.1:8080 among them.

mod listen;
mod pool;
mod route;

use std::{
    net::Ipv4Addr,
    os::{linux::net::SocketAddrExt, unix::net},
    path::Path,
};

use parking_lot::Mutex;

pub(crate) use listen::{Front, ListenError, Listener, serve};
use pool::Pool;

use crate::Cidr;

/// The addresses of this node's pods.
pub(crate) struct Network {
    pool: Mutex<Pool>,
    cidr: Cidr,
    routed: bool,
    /// Holds the range's name against other nodes on this host.
    claim: Mutex<Option<net::UnixListener>>,
}

/// Why a node has no addresses to give.
#[derive(Debug, thiserror::Error)]
#[error("every loopback range is in use by another node on this host")]
pub struct NoRange;

impl Network {
    /// Takes a range: the one in `memory` when it was taken for `wanted` before, so that pods keep their addresses; else
    /// `wanted`, when no other node has it and the host lets us route it; else one inside 127.0.0.0/8.
    ///
    /// # Errors
    ///
    /// When other nodes on this host hold every range there is.
    pub(crate) async fn open(wanted: Cidr, memory: &Path) -> Result<Network, NoRange> {
        let remembered = recall(memory, wanted);
        let loopback = (42..=250u8).filter_map(|second| format!("127.{second}.0.0/16").parse().ok());
        for cidr in remembered.into_iter().chain([wanted]).chain(loopback) {
            let Some(claim) = claim(cidr) else {
                tracing::debug!(range = %cidr, "another node on this host holds the range");
                continue;
            };
            let routed = !cidr.base().is_loopback();
            if routed && let Err(error) = route::ensure(cidr).await {
                let error = &error as &dyn std::error::Error;
                tracing::info!(range = %cidr, error, "the range for pods cannot be routed; they get loopback addresses");
                continue;
            }
            if cidr != wanted {
                tracing::info!(%wanted, range = %cidr, "pods get loopback addresses");
            }
            // Without the memory pods may get new addresses after a restart, no more.
            let _ = std::fs::write(memory, format!("{wanted} {cidr}\n"));
            return Ok(Network::new(cidr, routed, claim));
        }
        Err(NoRange)
    }

    fn new(cidr: Cidr, routed: bool, claim: net::UnixListener) -> Network {
        Network { pool: Mutex::new(Pool::new(cidr)), cidr, routed, claim: Mutex::new(Some(claim)) }
    }

    /// The range addresses come from.
    pub(crate) fn cidr(&self) -> Cidr {
        self.cidr
    }

    /// Takes a free address; `None` when all are in use.
    pub(crate) fn take(&self) -> Option<Ipv4Addr> {
        self.pool.lock().take()
    }

    /// Takes this very address, if it is ours and free.
    pub(crate) fn claim(&self, address: Ipv4Addr) -> bool {
        self.pool.lock().claim(address)
    }

    /// Gives an address back.
    pub(crate) fn release(&self, address: Ipv4Addr) {
        self.pool.lock().release(address);
    }

    /// Takes the route away again, so that a stopped node leaves the host as it was, and lets others have the range.
    pub(crate) async fn close(&self) {
        if self.routed {
            route::remove(self.cidr).await;
        }
        self.claim.lock().take();
    }
}

/// The range that was taken when `wanted` was asked for.
fn recall(memory: &Path, wanted: Cidr) -> Option<Cidr> {
    let text = std::fs::read_to_string(memory).ok()?;
    let (asked, taken) = text.trim().split_once(' ')?;
    (asked.parse() == Ok(wanted)).then(|| taken.parse().ok())?
}

/// Names the range in the abstract socket namespace; the kernel forgets the name with the process.
fn claim(cidr: Cidr) -> Option<net::UnixListener> {
    let name = net::SocketAddr::from_abstract_name(format!("eyot-pods-{cidr}")).ok()?;
    net::UnixListener::bind_addr(&name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_nodes_on_one_host_never_share_a_range_and_each_keeps_its_own() {
        let wanted: Cidr = "10.213.0.0/24".parse().unwrap();
        let root = tempfile::tempdir().unwrap();
        let memories = [root.path().join("first"), root.path().join("second")];
        let first = Network::open(wanted, &memories[0]).await.unwrap();
        let second = Network::open(wanted, &memories[1]).await.unwrap();
        let range = second.cidr();
        assert_ne!(first.cidr(), range);
        assert!(range.base().is_loopback());
        first.close().await;
        second.close().await;
        let again = Network::open(wanted, &memories[1]).await.unwrap();
        assert_eq!(again.cidr(), range, "though the wanted range is free now");
        again.close().await;
    }
}
