//! Whose a host name is. Functions have their names under their namespace, and no other namespace's routes may take paths of
//! them or answer in their place. Gateway API leaves that to the hostnames of listeners, of which the default Gateway has none,
//! and lets the oldest of two routes win; who came first is no ground for having another's function.

use eyot_route::HostPattern;

use super::Site;
use crate::{kinds::Name, world::World};

/// Why routes of `namespace` may not have `host`, where that is another namespace's.
pub(super) fn refusal(host: &HostPattern, namespace: &str, world: &World, site: Site<'_>) -> Option<String> {
    let owner = owner(host, &site.function_domains).filter(|it| *it != namespace)?;
    world.namespaces.objects.contains_key(&Name::new("", owner)).then(|| {
        format!("host {host} is a name of functions of namespace {owner}: routes of {namespace} cannot have it")
    })
}

/// The namespace that a host is in: that of `NAME.NAMESPACE.DOMAIN`, and of `*.NAMESPACE.DOMAIN`.
fn owner<'a>(host: &'a HostPattern, domains: &[&str]) -> Option<&'a str> {
    let name = match host {
        HostPattern::Exact(name) => name,
        HostPattern::Wildcard { suffix, .. } => suffix,
        HostPattern::Any => return None,
    };
    domains.iter().find_map(|domain| {
        let front = name.strip_suffix(*domain)?.strip_suffix('.')?;
        let (_, namespace) = front.split_once('.')?;
        (!namespace.is_empty() && !namespace.contains('.')).then_some(namespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_function_is_its_namespaces() {
        let domains = ["localhost", "svc.cluster.local"];
        for (host, expected) in [
            ("hello.shop.localhost", Some("shop")),
            ("hello.shop.svc.cluster.local", Some("shop")),
            ("*.shop.localhost", Some("shop")),
            ("hello.localhost", None),
            ("localhost", None),
            ("a.hello.shop.localhost", None),
            ("hello.shop.notlocalhost", None),
            ("shop.svc.cluster.local", None),
            ("*.localhost", None),
            ("hello.shop.example.com", None),
            ("", None),
        ] {
            let host = HostPattern::parse(host, false).unwrap();
            assert_eq!(owner(&host, &domains), expected, "{host}");
        }
    }
}
