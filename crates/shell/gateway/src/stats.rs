//! Counts of the data path.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::services::Services;

/// Counters that belong to no Service.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) connections_open: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) unmatched: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) outbound: AtomicU64,
    pub(crate) compiles: AtomicU64,
}

/// Counts since the gateway started.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Client connections accepted.
    pub connections: u64,
    /// Client connections open now.
    pub connections_open: u64,
    /// Requests of clients.
    pub requests: u64,
    /// Requests that no route took, answered with 404.
    pub unmatched: u64,
    /// Requests refused before routing, such as those without a host.
    pub rejected: u64,
    /// Requests that a policy denied.
    pub denied: u64,
    /// Requests of guests.
    pub outbound: u64,
    /// How often the routing table was compiled.
    pub compiles: u64,
    /// Service ports, by name.
    pub services: Vec<ServiceStats>,
}

/// Counts of one Service port.
#[derive(Clone, Debug, Default)]
pub struct ServiceStats {
    /// `namespace/service:port`.
    pub name: String,
    /// Exchanges by class of status: 1xx, 2xx, 3xx, 4xx, 5xx, and those that ended without a response.
    pub responses: [u64; 6],
    /// Further endpoints tried after one took nothing.
    pub retries: u64,
    /// Requests for which no endpoint was ready.
    pub unavailable: u64,
}

impl Counters {
    pub(crate) fn read(&self, services: &Services) -> Stats {
        let mut services: Vec<ServiceStats> = services
            .pools()
            .iter()
            .map(|it| ServiceStats {
                name: it.name.to_string(),
                responses: std::array::from_fn(|class| it.counts.responses[class].load(Relaxed)),
                retries: it.counts.retries.load(Relaxed),
                unavailable: it.counts.unavailable.load(Relaxed),
            })
            .collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Stats {
            connections: self.connections.load(Relaxed),
            connections_open: self.connections_open.load(Relaxed),
            requests: self.requests.load(Relaxed),
            unmatched: self.unmatched.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            denied: self.denied.load(Relaxed),
            outbound: self.outbound.load(Relaxed),
            compiles: self.compiles.load(Relaxed),
            services,
        }
    }
}
