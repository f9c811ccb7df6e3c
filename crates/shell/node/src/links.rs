//! Variables that announce Services to a container, as Kubernetes names them. Pure.
//!
//! Start at [`variables`]. They are made when a container starts and do not follow later changes; names do.

use eyot_dispatch::Announced;

/// Which of the announced Services a pod is told of: the API server's always, the others unless it asks for none.
pub(crate) fn for_pod(services: Vec<Announced>, enabled: bool) -> Vec<Announced> {
    let is_api = |it: &Announced| (&*it.namespace, &*it.name) == ("default", "kubernetes");
    services.into_iter().filter(|it| enabled || is_api(it)).collect()
}

/// `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT` and the older forms of the same, for each Service with ports.
pub(crate) fn variables(services: &[Announced]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for service in services {
        let (name, ip) = (upper(&service.name), service.address);
        let Some(first) = service.ports.first() else { continue };
        out.push((format!("{name}_SERVICE_HOST"), ip.to_string()));
        out.push((format!("{name}_SERVICE_PORT"), first.number.to_string()));
        for port in service.ports.iter().filter(|it| !it.name.is_empty()) {
            out.push((format!("{name}_SERVICE_PORT_{}", upper(&port.name)), port.number.to_string()));
        }
        for (index, port) in service.ports.iter().enumerate() {
            let protocol = port.protocol.to_lowercase();
            let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
            let url = format!("{protocol}://{host}:{}", port.number);
            if index == 0 {
                out.push((format!("{name}_PORT"), url.clone()));
            }
            let prefix = format!("{name}_PORT_{}_{}", port.number, port.protocol.to_uppercase());
            out.push((format!("{prefix}_PROTO"), protocol));
            out.push((format!("{prefix}_PORT"), port.number.to_string()));
            out.push((format!("{prefix}_ADDR"), ip.to_string()));
            out.push((prefix, url));
        }
    }
    out
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use eyot_dispatch::AnnouncedPort;

    use super::*;

    fn service(namespace: &str, name: &str, ports: &[(&str, u16, &str)]) -> Announced {
        let port = |(name, number, protocol): &(&str, u16, &str)| AnnouncedPort {
            name: (*name).into(),
            number: *number,
            protocol: (*protocol).into(),
        };
        let ports = ports.iter().map(port).collect();
        Announced { namespace: namespace.into(), name: name.into(), address: [10, 43, 0, 7].into(), ports }
    }

    #[test]
    fn services_are_announced_as_kubernetes_names_them() {
        let services = [service("shop", "redis-primary", &[("", 6379, "TCP"), ("side-door", 53, "UDP")])];
        let got: String = variables(&services).iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        expect![[r#"
            REDIS_PRIMARY_SERVICE_HOST=10.43.0.7
            REDIS_PRIMARY_SERVICE_PORT=6379
            REDIS_PRIMARY_SERVICE_PORT_SIDE_DOOR=53
            REDIS_PRIMARY_PORT=tcp://10.43.0.7:6379
            REDIS_PRIMARY_PORT_6379_TCP_PROTO=tcp
            REDIS_PRIMARY_PORT_6379_TCP_PORT=6379
            REDIS_PRIMARY_PORT_6379_TCP_ADDR=10.43.0.7
            REDIS_PRIMARY_PORT_6379_TCP=tcp://10.43.0.7:6379
            REDIS_PRIMARY_PORT_53_UDP_PROTO=udp
            REDIS_PRIMARY_PORT_53_UDP_PORT=53
            REDIS_PRIMARY_PORT_53_UDP_ADDR=10.43.0.7
            REDIS_PRIMARY_PORT_53_UDP=udp://10.43.0.7:53
        "#]]
        .assert_eq(&got);
    }

    #[test]
    fn a_pod_that_wants_no_links_still_learns_of_the_api() {
        let all = vec![service("default", "kubernetes", &[("https", 443, "TCP")]), service("shop", "web", &[])];
        assert_eq!(for_pod(all.clone(), true).len(), 2);
        assert_eq!(for_pod(all, false)[0].name, "kubernetes".into());
    }
}
