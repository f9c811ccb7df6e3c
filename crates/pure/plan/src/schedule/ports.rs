//! Ports of a node that pods take for themselves.
//!
//! Entry point: [`HostPort::collides`]. Two pods share a number as long as their addresses or protocols differ.

use super::{Node, Pod};

/// A port of its node that a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// One address of the node; empty for all of them.
    pub address: Box<str>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
    /// Its number.
    pub port: u16,
}

impl HostPort {
    /// True when only one of the two can be had on a node.
    pub fn collides(&self, other: &Self) -> bool {
        let everywhere = |it: &str| matches!(it, "" | "0.0.0.0" | "::");
        let meets = self.address == other.address || everywhere(&self.address) || everywhere(&other.address);
        self.port == other.port && self.protocol == other.protocol && meets
    }
}

/// What is in the way of the pod's ports on the node.
pub(super) fn obstacle(pod: &Pod, node: &Node) -> Option<&'static str> {
    let taken = |wanted: &HostPort| node.ports.iter().any(|it| it.collides(wanted));
    pod.ports.iter().any(taken).then_some("node(s) didn't have free ports for the requested pod ports")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_every_address() {
        let port =
            |address: &str, protocol: &str, port| HostPort { address: address.into(), protocol: protocol.into(), port };
        let one = port("127.0.0.1", "TCP", 80);
        for (other, want) in [
            (port("127.0.0.1", "TCP", 80), true),
            (port("", "TCP", 80), true),
            (port("0.0.0.0", "TCP", 80), true),
            (port("127.0.0.2", "TCP", 80), false),
            (port("127.0.0.1", "UDP", 80), false),
            (port("", "TCP", 81), false),
        ] {
            assert_eq!((one.collides(&other), other.collides(&one)), (want, want), "{other:?}");
        }
    }
}
