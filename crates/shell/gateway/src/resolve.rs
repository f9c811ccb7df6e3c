//! Where a guest's request goes, judged by its host alone.

use std::net::IpAddr;

/// What a host stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The Service `namespace/name`; it is an error if there is none.
    Service(String),
    /// The Service `namespace/name` if there is one, else a host outside.
    ServiceOrOutside(String),
    /// A Service's or pod's address, or one outside.
    Address(IpAddr),
    /// A host outside.
    Outside,
    /// A cluster name of a form that is not served; says why.
    Unknown(String),
}

/// Judges `host` (canonical form) as seen by a pod in `namespace`, in a cluster named `domain`.
pub(crate) fn destination(host: &str, namespace: &str, domain: &str) -> Destination {
    if let Ok(address) = host.parse() {
        return Destination::Address(address);
    }
    let inside = host.strip_suffix(domain).and_then(|it| it.strip_suffix('.'));
    let short = inside.unwrap_or(host);
    if let Some(name) = short.strip_suffix(".svc") {
        return match name.split_once('.') {
            Some((service, namespace)) if !namespace.contains('.') => {
                Destination::Service(format!("{namespace}/{service}"))
            }
            _ => {
                Destination::Unknown(format!("{host}: names of single pods are not served; use service.namespace.svc"))
            }
        };
    }
    if inside.is_some() {
        return Destination::Unknown(format!("{host}: only names that end in .svc.{domain} are served"));
    }
    match host.split_once('.') {
        None => Destination::Service(format!("{namespace}/{host}")),
        Some((service, namespace)) if !namespace.contains('.') => {
            Destination::ServiceOrOutside(format!("{namespace}/{service}"))
        }
        Some(_) => Destination::Outside,
    }
}

/// Whether a guest may open a connection to `address`, or a Service lead there: not to loopback and link-local addresses,
/// where services trust whoever can reach them, except in the networks of pods.
pub(crate) fn may_dial(address: IpAddr, pod_networks: &[(IpAddr, u8)]) -> bool {
    let address = address.to_canonical();
    let private = match address {
        IpAddr::V4(it) => it.is_loopback() || it.is_link_local() || it.is_unspecified() || it.is_broadcast(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unicast_link_local() || it.is_unspecified(),
    };
    !private || pod_networks.iter().any(|network| contains(*network, address))
}

/// Why not, for whoever asks.
pub(crate) fn out_of_reach(address: impl std::fmt::Display) -> String {
    format!("{address} is a loopback or link-local address, which guests may not reach")
}

fn contains((network, length): (IpAddr, u8), address: IpAddr) -> bool {
    let length = u32::from(length);
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= length.min(32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= length.min(128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn hosts_resolve_as_cluster_dns_does() {
        let hosts = [
            "web",
            "web.shop",
            "web.shop.svc",
            "web.shop.svc.cluster.local",
            "pod-0.web.shop.svc.cluster.local",
            "web.cluster.local",
            "example.com",
            "www.example.com",
            "10.43.0.7",
            "::1",
            "localhost",
            "svc",
        ];
        let lines = hosts.map(|it| format!("{it} = {:?}\n", destination(it, "mine", "cluster.local")));
        expect![[r#"
            web = Service("mine/web")
            web.shop = ServiceOrOutside("shop/web")
            web.shop.svc = Service("shop/web")
            web.shop.svc.cluster.local = Service("shop/web")
            pod-0.web.shop.svc.cluster.local = Unknown("pod-0.web.shop.svc.cluster.local: names of single pods are not served; use service.namespace.svc")
            web.cluster.local = Unknown("web.cluster.local: only names that end in .svc.cluster.local are served")
            example.com = ServiceOrOutside("com/example")
            www.example.com = Outside
            10.43.0.7 = Address(10.43.0.7)
            ::1 = Address(::1)
            localhost = Service("mine/localhost")
            svc = Service("mine/svc")
        "#]]
        .assert_eq(&lines.concat());
    }

    #[test]
    fn guests_reach_no_loopback_outside_the_pod_networks() {
        let pods = [(IpAddr::from([127, 42, 0, 0]), 16)];
        for (address, expected) in [
            ("127.0.0.1", false),
            ("127.42.3.4", true),
            ("127.43.0.1", false),
            ("169.254.169.254", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("fe80::1", false),
            ("10.42.0.1", true),
            ("93.184.216.34", true),
        ] {
            assert_eq!(may_dial(address.parse().unwrap(), &pods), expected, "{address}");
        }
    }
}
