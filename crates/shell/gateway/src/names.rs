//! Cluster names and addresses for guests that open sockets, and for pods' environments.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use eyot_dispatch::{Announced, Caller, Names, Transport};
use eyot_route::{canonical_host, egress::Protocol};
use futures::future::{BoxFuture, FutureExt};

use crate::{
    Gateway,
    resolve::{Destination, destination, out_of_reach},
    services::{Client, Service},
};

/// Longest wait for the first list of Services, and with it of policies: every container waits for it before it starts. A
/// pod that starts while the API is silent does without, and may not connect to anything until policies were listed.
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
                Some(self.services.by_name(&name).map(|it| self.addresses_of(&it)).unwrap_or_default())
            }
            Destination::ServiceOrOutside(name) => self.services.by_name(&name).map(|it| self.addresses_of(&it)),
            Destination::Address(ip) => Some(vec![ip]),
            Destination::Outside => None,
            Destination::Unknown(_) => Some(Vec::new()),
        }
    }

    fn route(&self, caller: &Caller, address: SocketAddr) -> SocketAddr {
        let service = self.services.by_address(address.ip());
        let endpoint = service.and_then(|it| it.port(address.port())?.pool.choose(&[], caller_of(caller)));
        // The connection is not counted as under way: nobody would tell when it ends.
        endpoint.map_or(address, |it| it.address())
    }

    fn permits(&self, caller: &Caller, transport: Transport, address: SocketAddr) -> Result<(), String> {
        let protocol = match transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        };
        if !self.is_in_reach(address) {
            return Err(out_of_reach(address));
        }
        self.egress.check(caller, protocol, address).map_err(|refusal| refusal.to_string())
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

impl Gateway {
    fn addresses_of(&self, service: &Arc<Service>) -> Vec<IpAddr> {
        addresses(&self.services.follow(service, &self.config.cluster_domain))
    }
}

/// A pod as a client of Services.
pub(crate) fn caller_of(caller: &Caller) -> Client {
    Client::of((&caller.namespace, &caller.pod))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Config,
        kinds::{Name, ServicePort, ServiceSpec},
    };

    #[tokio::test]
    async fn services_are_known_by_name_and_reached_by_address() {
        let gateway = Gateway::silent(Config::default());
        let spec = |ip: Option<&str>| ServiceSpec {
            cluster_ip: ip.map(str::to_owned),
            ports: Some(vec![ServicePort { port: 80, ..ServicePort::default() }]),
            ..ServiceSpec::default()
        };
        gateway.services.apply(&Name::new("shop", "web"), &spec(Some("10.43.0.7")));
        gateway.services.apply(&Name::new("shop", "headless"), &spec(Some("None")));
        let pod: SocketAddr = "10.42.0.9:8080".parse().unwrap();
        for name in ["web", "headless"] {
            gateway.services.pool(&Name::new("shop", name), 80).unwrap().set(&[pod]);
        }
        let caller = Caller { namespace: "shop".into(), pod: "p".into() };
        let resolve = |name: &str| -> Option<Vec<String>> {
            gateway.resolve(&caller, name).map(|it| it.iter().map(IpAddr::to_string).collect())
        };
        let known = |ip: &str| Some(vec![ip.to_owned()]);
        assert_eq!(resolve("web"), known("10.43.0.7"));
        assert_eq!(resolve("web.shop.svc.cluster.local"), known("10.43.0.7"));
        assert_eq!(resolve("headless.shop"), known("10.42.0.9"), "a headless Service is its pods");
        assert_eq!(resolve("none"), Some(vec![]), "a name of the cluster that stands for nothing");
        assert_eq!(resolve("www.example.com"), None, "the host's resolver is asked");
        assert_eq!(gateway.route(&caller, "10.43.0.7:80".parse().unwrap()), pod);
        for elsewhere in ["10.43.0.7:81", "93.184.216.34:80"] {
            let elsewhere = elsewhere.parse().unwrap();
            assert_eq!(gateway.route(&caller, elsewhere), elsewhere);
        }
    }

    #[tokio::test]
    async fn sockets_reach_pods_and_the_api_server_and_nothing_else_on_loopback() {
        let api_server = "127.0.0.1:6443".parse().ok();
        let pod_networks = vec![([127, 42, 0, 0].into(), 16)];
        let gateway = Gateway::silent(Config { pod_networks, api_server, ..Config::default() });
        let caller = Caller { namespace: "shop".into(), pod: "p".into() };
        for (address, want) in [
            ("127.42.0.9:80", true),
            ("10.42.0.9:80", true),
            ("93.184.216.34:80", true),
            ("127.0.0.1:6443", true),
            ("127.0.0.1:5000", false),
            ("127.43.0.1:80", false),
            ("0.0.0.0:5000", false),
            ("169.254.169.254:80", false),
            ("[::1]:5000", false),
            ("[fe80::1]:80", false),
        ] {
            for transport in [Transport::Tcp, Transport::Udp] {
                let told = gateway.permits(&caller, transport, address.parse().unwrap());
                assert_eq!(told.is_ok(), want, "{address}: {told:?}");
            }
        }
    }
}
