//! Pod addresses: which there are, how the host reaches them, and who answers.
//!
//! Start at [`Network::open`]. Each node on a host has a range of its own: the configured one, routed to `lo`, or else one
//! inside 127.0.0.0/8. One listening socket stands for all HTTP guests where the kernel lets us steer connections to it, else each
//! address and port has one: a wildcard socket per port would take that port from every other program on the host, the
//! gateway's own 127.0.0.1:8080 among them.

mod listen;
mod pool;
mod route;
mod steer;

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
    /// Holds the range's names against other nodes on this host.
    claim: Mutex<Vec<net::UnixListener>>,
}

/// Why a node has no addresses to give.
#[derive(Debug, thiserror::Error)]
#[error("every loopback range is in use by another node on this host")]
pub struct NoRange;

impl Network {
    /// Takes a range: the one in `memory` when it was taken for `wanted` before, so that pods keep their addresses; else
    /// `wanted`, when no other node has it and the host lets us route it; else one inside 127.0.0.0/8, as wide if there is one.
    ///
    /// # Errors
    ///
    /// When other nodes on this host hold every range there is.
    pub(crate) async fn open(wanted: Cidr, memory: &Path) -> Result<Network, NoRange> {
        let remembered = recall(memory, wanted);
        for cidr in remembered.into_iter().chain([wanted]).chain(loopback_ranges(wanted.prefix())) {
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

    fn new(cidr: Cidr, routed: bool, claim: Vec<net::UnixListener>) -> Network {
        Network { pool: Mutex::new(Pool::new(cidr)), cidr, routed, claim: Mutex::new(claim) }
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
        self.claim.lock().clear();
    }
}

/// The range that was taken when `wanted` was asked for.
fn recall(memory: &Path, wanted: Cidr) -> Option<Cidr> {
    let text = std::fs::read_to_string(memory).ok()?;
    let (asked, taken) = text.trim().split_once(' ')?;
    (asked.parse() == Ok(wanted)).then(|| taken.parse().ok())?
}

/// Ranges of loopback addresses: first those that hold as many as a range of `prefix`, then those of 65,536. Neither end of
/// 127.0.0.0/8 is among them, which other programs use.
fn loopback_ranges(prefix: u8) -> impl Iterator<Item = Cidr> {
    const FIRST: u32 = 42;
    const LAST: u32 = 250;
    let ranges = |prefix: u8| {
        let step = 1u32 << (16 - prefix);
        let seconds = (FIRST.next_multiple_of(step)..=LAST).step_by(step as usize);
        seconds
            .filter(move |it| it + step - 1 <= LAST)
            .filter_map(move |it| format!("127.{it}.0.0/{prefix}").parse().ok())
    };
    let wide = (9..16).contains(&prefix).then(|| ranges(prefix));
    wide.into_iter().flatten().chain(ranges(16))
}

/// Names the range in the abstract socket namespace, a wide one by each part of 65,536 addresses, so that nodes with ranges of
/// different widths do not share any; the kernel forgets the names with the process.
fn claim(cidr: Cidr) -> Option<Vec<net::UnixListener>> {
    let parts = 1u32 << 16u8.saturating_sub(cidr.prefix());
    let names = (0..parts).map(|part| match cidr.nth(part << 16) {
        Some(base) if cidr.prefix() < 16 => format!("eyot-pods-{base}/16"),
        _ => format!("eyot-pods-{cidr}"),
    });
    let bind = |name: String| {
        let name = net::SocketAddr::from_abstract_name(name).ok()?;
        net::UnixListener::bind_addr(&name).ok()
    };
    names.map(bind).collect()
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
    #[test]
    fn loopback_ranges_are_as_wide_as_wanted_and_then_narrower() {
        let first = |prefix| -> Vec<String> { loopback_ranges(prefix).take(2).map(|it| it.to_string()).collect() };
        assert_eq!(first(24), ["127.42.0.0/16", "127.43.0.0/16"]);
        assert_eq!(first(12), ["127.48.0.0/12", "127.64.0.0/12"]);
        assert_eq!(first(9), ["127.42.0.0/16", "127.43.0.0/16"], "the upper half has the end that others use");
        assert_eq!(loopback_ranges(12).filter(|it| it.prefix() == 12).last().unwrap().to_string(), "127.224.0.0/12");
        assert_eq!(loopback_ranges(16).count(), 209);
    }

    #[tokio::test]
    async fn a_node_with_a_wide_range_and_one_with_a_part_of_it_share_no_address() {
        let root = tempfile::tempdir().unwrap();
        let range = |text: &str| text.parse::<Cidr>().unwrap();
        let wide = Network::open(range("127.192.0.0/14"), &root.path().join("wide")).await.unwrap();
        assert_eq!(wide.cidr(), range("127.192.0.0/14"));
        let part = Network::open(range("127.194.0.0/16"), &root.path().join("part")).await.unwrap();
        assert!(!wide.cidr().overlaps(&part.cidr()), "{}", part.cidr());
        wide.close().await;
        part.close().await;
    }
}
