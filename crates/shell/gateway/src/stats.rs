//! Counts of the data path.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use eyot_dispatch::serving::PerThread;
use eyot_meter::{Meters, Subject};

/// Counters that belong to no Service.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) connections_open: AtomicU64,
    pub(crate) requests: PerThread<Box<AtomicU64>>,
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
    /// Services, by name.
    pub services: Vec<ServiceStats>,
}

/// Counts of one Service.
#[derive(Clone, Debug, Default)]
pub struct ServiceStats {
    /// `namespace/service`.
    pub name: String,
    /// Exchanges by class of status: 1xx, 2xx, 3xx, 4xx, 5xx, and those that ended without a response.
    pub responses: [u64; 6],
    /// Further endpoints tried after one took nothing.
    pub retries: u64,
    /// Requests for which no endpoint was ready.
    pub unavailable: u64,
}

impl Counters {
    pub(crate) fn read(&self, meters: &Meters) -> Stats {
        let services = meters.all(Subject::Service).into_iter().map(|it| {
            let reading = it.read();
            ServiceStats {
                name: it.name().to_owned(),
                responses: reading.outcomes,
                retries: reading.retries,
                unavailable: reading.refused,
            }
        });
        Stats {
            connections: self.connections.load(Relaxed),
            connections_open: self.connections_open.load(Relaxed),
            requests: self.requests.all().map(|it| it.load(Relaxed)).sum(),
            unmatched: self.unmatched.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            denied: self.denied.load(Relaxed),
            outbound: self.outbound.load(Relaxed),
            compiles: self.compiles.load(Relaxed),
            services: services.collect(),
        }
    }
}
