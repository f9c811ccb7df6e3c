//! What the cluster calls things, for guests that open sockets and for the environment of new ones.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::future::{BoxFuture, FutureExt};

use crate::Caller;

/// How a guest's sockets speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Knows the cluster's names and virtual addresses. Whoever knows Services implements it.
pub trait Names: Send + Sync + 'static {
    /// The addresses of `name`, `None` when it is not the cluster's and the host's resolver should be asked. An empty list
    /// means that the name does not exist. Answers at once, from memory.
    fn resolve(&self, caller: &Caller, name: &str) -> Option<Vec<IpAddr>>;

    /// Where a connection to `address` really goes: an endpoint when it is a Service's, else `address`. Answers at once, from
    /// memory.
    fn route(&self, caller: &Caller, address: SocketAddr) -> SocketAddr {
        let _ = caller;
        address
    }

    /// Whether `caller` may connect, or send, to `address`, which is where that really goes. Answers at once, from memory; the
    /// error says why not.
    fn permits(&self, caller: &Caller, transport: Transport, address: SocketAddr) -> Result<(), String>;

    /// The Services with an address in `namespace`, and the one of the API server. Waits until they are known.
    fn services(self: Arc<Self>, namespace: &str) -> BoxFuture<'static, Vec<Announced>> {
        let _ = namespace;
        std::future::ready(Vec::new()).boxed()
    }
}

/// A Service as pods are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its first cluster address.
    pub address: IpAddr,
    /// Its ports in order.
    pub ports: Vec<AnnouncedPort>,
}

/// A port of an [`Announced`] Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedPort {
    /// Its name; empty when it has none.
    pub name: Box<str>,
    /// Its number.
    pub number: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
}
