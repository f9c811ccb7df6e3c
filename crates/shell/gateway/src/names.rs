//! Cluster names and addresses for guests that open sockets, and for pods' environments.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use eyot_dispatch::{Announced, Caller, Names};
use eyot_route::canonical_host;
use futures::future::{BoxFuture, FutureExt};

use crate::{
    Gateway,
    resolve::{Destination, destination},
    services::Service,
};

/// Longest wait for the first list of Services. A pod that starts while the API is silent does without.
const SYNC_MAX: Duration = Duration::from_secs(5);

impl Names for Gateway {
    /// A Service has its cluster addresses, or those of its ready endpoints when it has none. One that stands for a host
    /// outside is left to the host's resolver, which does not know it.
    fn resolve(&self, caller: &Caller, name: &str) -> Option<Vec<IpAddr>> {
        let host = canonical_host(name);
        if host == "localhost" {
            return None;
        }
        match destination(&host, &caller.namespace, &self.config.cluster_domain) {
            Destination::Service(name) => {
                Some(self.services.by_name(&name).map(|it| addresses(&it)).unwrap_or_default())
            }
            Destination::ServiceOrOutside(name) => self.services.by_name(&name).map(|it| addresses(&it)),
            Destination::Address(ip) => Some(vec![ip]),
            Destination::Outside => None,
            Destination::Unknown(_) => Some(Vec::new()),
        }
    }

    fn route(&self, _: &Caller, address: SocketAddr) -> SocketAddr {
        let service = self.services.by_address(address.ip());
        let endpoint = service.and_then(|it| it.port(address.port())?.pool.choose(&[]));
        // The connection is not counted as under way: nobody would tell when it ends.
        endpoint.map_or(address, |it| it.address())
    }

    fn services(self: Arc<Self>, namespace: &str) -> BoxFuture<'static, Vec<Announced>> {
        let namespace = namespace.to_owned();
        async move {
            if !*self.synced.borrow() {
                let _ = tokio::time::timeout(SYNC_MAX, self.synced()).await;
            }
            self.services.announced(&namespace)
        }
        .boxed()
    }
}

fn addresses(service: &Service) -> Vec<IpAddr> {
    if !service.addresses.is_empty() {
        return service.addresses.clone();
    }
    let mut found: Vec<IpAddr> = service.ports.iter().flat_map(|it| it.pool.addresses()).map(|it| it.ip()).collect();
    found.sort_unstable();
    found.dedup();
    found
}
