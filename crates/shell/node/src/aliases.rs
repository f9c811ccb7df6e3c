//! `hostAliases`: names that a pod gives to addresses, for its guests' lookups and in an `/etc/hosts` for those that read it.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use eyot_dispatch::{Announced, Caller, Names, Transport};
use eyot_runtime::Mount;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;

use crate::volumes::write::make_private;

/// Answers for a pod's own names, and asks the cluster for all others.
struct Aliases {
    own: BTreeMap<Box<str>, Vec<IpAddr>>,
    cluster: Arc<dyn Names>,
}

impl Names for Aliases {
    fn resolve(&self, caller: &Caller, name: &str) -> Option<Vec<IpAddr>> {
        let own = self.own.get(name.trim_end_matches('.').to_lowercase().as_str());
        own.cloned().or_else(|| self.cluster.resolve(caller, name))
    }

    fn route(&self, caller: &Caller, address: SocketAddr) -> SocketAddr {
        self.cluster.route(caller, address)
    }

    fn permits(&self, caller: &Caller, transport: Transport, address: SocketAddr) -> Result<(), String> {
        self.cluster.permits(caller, transport, address)
    }

    fn services(self: Arc<Self>, namespace: &str) -> BoxFuture<'static, Vec<Announced>> {
        self.cluster.clone().services(namespace)
    }
}

/// What the guests of a pod look names up in.
pub(crate) fn names(pod: &Pod, cluster: &Arc<dyn Names>) -> Arc<dyn Names> {
    let mut own: BTreeMap<Box<str>, Vec<IpAddr>> = BTreeMap::new();
    for (address, hosts) in entries(pod) {
        // The API server has checked it.
        let Ok(address) = address.parse() else { continue };
        for host in hosts {
            own.entry(host.to_lowercase().into()).or_default().push(address);
        }
    }
    if own.is_empty() { cluster.clone() } else { Arc::new(Aliases { own, cluster: cluster.clone() }) }
}

/// Adds the hosts file of a pod that has names of its own, unless a volume is mounted there. Blocks.
pub(crate) fn mount(pod: &Pod, ip: Ipv4Addr, directory: &Path, mounts: &mut Vec<Mount>) -> io::Result<()> {
    const GUEST: &str = "/etc";
    if entries(pod).next().is_none() || mounts.iter().any(|it| it.guest.trim_end_matches('/') == GUEST) {
        return Ok(());
    }
    let host = directory.join("etc");
    make_private(&host)?;
    std::fs::write(host.join("hosts"), file(pod, ip))?;
    mounts.push(Mount { host, held: None, guest: GUEST.to_owned(), read_only: true });
    Ok(())
}

/// The file, as the kubelet writes it.
fn file(pod: &Pod, ip: Ipv4Addr) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut out = format!(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n{ip}\t{name}\n\n# Entries added by HostAliases.\n"
    );
    for (address, hosts) in entries(pod) {
        out += &format!("{address}\t{}\n", hosts.join("\t"));
    }
    out
}

fn entries(pod: &Pod) -> impl Iterator<Item = (&str, &[String])> {
    let aliases = pod.spec.iter().flat_map(|it| it.host_aliases.iter().flatten());
    aliases.map(|it| (it.ip.as_str(), it.hostnames.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cluster;

    impl Names for Cluster {
        fn resolve(&self, _: &Caller, name: &str) -> Option<Vec<IpAddr>> {
            (name == "web").then(|| vec!["10.43.0.1".parse().unwrap()])
        }

        fn permits(&self, _: &Caller, _: Transport, address: SocketAddr) -> Result<(), String> {
            Err(format!("not {address}"))
        }
    }

    #[test]
    fn own_names_come_before_the_clusters() {
        let pod: Pod = serde_json::from_value(serde_json::json!({ "metadata": { "name": "p" }, "spec": { "containers": [],
            "hostAliases": [{ "ip": "192.0.2.1", "hostnames": ["foo", "Bar"] }, { "ip": "192.0.2.2", "hostnames": ["foo"] }] } }))
        .unwrap();
        let caller = Caller { namespace: "default".into(), pod: "p".into() };
        let cluster: Arc<dyn Names> = Arc::new(Cluster);
        let names = names(&pod, &cluster);
        let of =
            |name: &str| names.resolve(&caller, name).map(|it| it.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of("foo").unwrap(), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(of("bar.").unwrap(), ["192.0.2.1"]);
        assert_eq!(of("web").unwrap(), ["10.43.0.1"]);
        assert_eq!(of("else"), None);
        let denied = names.permits(&caller, Transport::Tcp, "192.0.2.1:80".parse().unwrap());
        assert_eq!(denied, Err("not 192.0.2.1:80".to_owned()), "names of its own let a pod reach no more");
        expect_test::expect![[r#"
            # Kubernetes-managed hosts file.
            127.0.0.1	localhost
            10.42.0.7	p

            # Entries added by HostAliases.
            192.0.2.1	foo	Bar
            192.0.2.2	foo
        "#]]
        .assert_eq(&file(&pod, Ipv4Addr::new(10, 42, 0, 7)));
    }
}
