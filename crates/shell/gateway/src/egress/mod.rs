//! What guests may connect to: NetworkPolicies and the pods they speak of, kept at hand for the data path.
//!
//! Entry point: [`Egress::check`]. While no policy has egress rules a check is one load, and pods are not followed at all.
//! Until policies were listed once nobody may connect: one of them might forbid it.

mod read;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use eyot_dispatch::Caller;
use eyot_route::egress::{self, Destination, Labels, Policy, Protocol, Refusal};
use kube::runtime::watcher::Event;
use parking_lot::RwLock;

use crate::kinds::{self, Name, NetworkPolicy, Pod};

pub(crate) use read::has_egress;

/// Rules of egress and what they are about.
#[derive(Debug, Default)]
pub(crate) struct Egress {
    /// One of the three below.
    state: AtomicU8,
    facts: RwLock<Facts>,
}

/// Policies were never listed.
const UNKNOWN: u8 = 0;
/// No policy has egress rules.
const FREE: u8 = 1;
const USED: u8 = 2;

/// Why a guest may not connect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    ByPolicy(#[from] Refusal),
    #[error("this node has not heard yet which NetworkPolicies there are")]
    Unknown,
}

#[derive(Debug, Default)]
struct Facts {
    /// By namespace.
    policies: HashMap<String, Vec<Policy>>,
    namespaces: HashMap<String, Labels>,
    pods: HashMap<Name, Known>,
    /// Pods listed anew; they replace `pods` when the list is complete.
    listing: Option<HashMap<Name, Known>>,
    by_address: HashMap<IpAddr, Name>,
}

#[derive(Debug)]
struct Known {
    labels: Labels,
    address: Option<IpAddr>,
    ports: Vec<(String, Protocol, u16)>,
}

impl Egress {
    /// Whether any policy has egress rules.
    pub(crate) fn is_used(&self) -> bool {
        self.state.load(Relaxed) == USED
    }

    /// Whether policies were listed once.
    pub(crate) fn is_known(&self) -> bool {
        self.state.load(Relaxed) != UNKNOWN
    }

    /// Whether `caller` may connect to `address`, which is where the connection really goes.
    pub(crate) fn check(&self, caller: &Caller, protocol: Protocol, address: SocketAddr) -> Result<(), Refused> {
        match self.state.load(Relaxed) {
            UNKNOWN => return Err(Refused::Unknown),
            FREE => return Ok(()),
            _ => {}
        }
        let facts = self.facts.read();
        let Some(policies) = facts.policies.get(&*caller.namespace) else { return Ok(()) };
        let labels = facts.pods.get(&Name::new(&caller.namespace, &caller.pod)).map(|it| &it.labels);
        let destination = facts.destination(address.ip().to_canonical());
        Ok(egress::permits(policies, &caller.namespace, labels, protocol, address, destination)?)
    }

    /// Whether any policy holds `caller`, so that each of its connections is checked.
    pub(crate) fn holds(&self, caller: &Caller) -> bool {
        if !self.is_used() {
            return !self.is_known();
        }
        let facts = self.facts.read();
        let labels = facts.pods.get(&Name::new(&caller.namespace, &caller.pod)).map(|it| &it.labels);
        let holds = |it: &Policy| labels.is_none_or(|labels| it.pods.matches(labels));
        facts.policies.get(&*caller.namespace).is_some_and(|it| it.iter().any(holds))
    }

    /// Whether any policy of `namespace` has egress rules.
    pub(crate) fn rules(&self, namespace: &str) -> bool {
        self.is_used() && self.facts.read().policies.contains_key(namespace)
    }

    /// Takes all policies there are.
    pub(crate) fn set_policies<'a>(&self, all: impl Iterator<Item = (&'a Name, &'a NetworkPolicy)>) {
        let mut policies: HashMap<String, Vec<Policy>> = HashMap::new();
        for (name, policy) in all.filter(|(_, it)| has_egress(&it.spec)) {
            policies.entry(name.namespace.clone()).or_default().push(read::policy(&name.name, &policy.spec));
        }
        let state = if policies.is_empty() { FREE } else { USED };
        self.facts.write().policies = policies;
        self.state.store(state, Relaxed);
    }

    /// Takes the labels of a namespace, or that it is gone.
    pub(crate) fn set_namespace(&self, name: &str, labels: Option<Labels>) {
        let namespaces = &mut self.facts.write().namespaces;
        match labels {
            Some(labels) => namespaces.insert(name.to_owned(), labels),
            None => namespaces.remove(name),
        };
    }

    /// Takes news of pods.
    pub(crate) fn on_pod(&self, event: Event<Pod>) {
        let mut facts = self.facts.write();
        match event {
            Event::Apply(pod) => {
                let name = Name::of(&pod);
                facts.forget(&name);
                facts.learn(name, known(&pod));
            }
            Event::Delete(pod) => facts.forget(&Name::of(&pod)),
            Event::Init => facts.listing = Some(HashMap::new()),
            Event::InitApply(pod) => {
                facts.listing.get_or_insert_default().insert(Name::of(&pod), known(&pod));
            }
            Event::InitDone => {
                let listed = facts.listing.take().unwrap_or_default();
                facts.pods.clear();
                facts.by_address.clear();
                for (name, pod) in listed {
                    facts.learn(name, pod);
                }
            }
        }
    }
}

impl Facts {
    fn destination(&self, address: IpAddr) -> Option<Destination<'_>> {
        static NONE: Labels = Labels::new();
        let name = self.by_address.get(&address)?;
        let pod = self.pods.get(name)?;
        Some(Destination {
            namespace: &name.namespace,
            namespace_labels: self.namespaces.get(&name.namespace).unwrap_or(&NONE),
            labels: &pod.labels,
            ports: &pod.ports,
        })
    }

    fn learn(&mut self, name: Name, pod: Known) {
        if let Some(address) = pod.address {
            self.by_address.insert(address, name.clone());
        }
        self.pods.insert(name, pod);
    }

    fn forget(&mut self, name: &Name) {
        let address = self.pods.remove(name).and_then(|it| it.address);
        // Another pod may have the address by now.
        if let Some(address) = address
            && self.by_address.get(&address) == Some(name)
        {
            self.by_address.remove(&address);
        }
    }
}

/// What of a pod policies ask for. A pod that has ended has given its address back.
fn known(pod: &Pod) -> Known {
    let status = pod.status.as_ref();
    let has_ended = status.is_some_and(|it| matches!(it.phase.as_deref(), Some("Succeeded" | "Failed")));
    let address = status.filter(|_| !has_ended).and_then(|it| it.pod_ip.as_ref()?.parse().ok());
    let containers = pod.spec.containers.iter().chain(pod.spec.init_containers.iter().flatten());
    let ports = containers.flat_map(|it| it.ports.iter().flatten()).filter_map(|it| {
        let protocol = read::protocol(it.protocol.as_deref())?;
        Some((it.name.clone()?, protocol, it.container_port))
    });
    Known { labels: kinds::labels(pod), address, ports: ports.collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, app: &str, ip: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": name, "labels": { "app": app } },
            "spec": { "containers": [{ "name": "c", "ports": [{ "name": "web", "containerPort": 8080 }] }] },
            "status": { "podIP": ip, "phase": phase },
        }))
        .unwrap()
    }

    fn policy(name: &str, spec: serde_json::Value) -> (Name, NetworkPolicy) {
        let object = json!({ "metadata": { "namespace": "shop", "name": name }, "spec": spec });
        (Name::new("shop", name), serde_json::from_value(object).unwrap())
    }

    fn check(egress: &Egress, caller: &str, address: &str) -> String {
        let caller = Caller { namespace: "shop".into(), pod: caller.into() };
        let checked = egress.check(&caller, Protocol::Tcp, address.parse().unwrap());
        checked.map_or_else(|refusal| refusal.to_string(), |()| "permitted".to_owned())
    }

    #[test]
    fn pods_are_known_by_their_present_address() {
        let egress = Egress::default();
        assert_eq!(check(&egress, "web", "10.42.0.2:8080"), Refused::Unknown.to_string(), "one may forbid it");
        assert!(egress.holds(&Caller { namespace: "shop".into(), pod: "web".into() }));
        egress.set_policies(std::iter::empty());
        assert_eq!(check(&egress, "web", "10.42.0.2:8080"), "permitted", "without policies everything is");
        let spec = json!({
            "podSelector": { "matchLabels": { "app": "web" } },
            "policyTypes": ["Egress"],
            "egress": [{ "to": [{ "podSelector": { "matchLabels": { "app": "db" } } }], "ports": [{ "port": "web" }] }],
        });
        let (name, policy) = policy("to-db", spec);
        egress.set_policies([(&name, &policy)].into_iter());
        assert!(egress.is_used());
        for event in [
            Event::Init,
            Event::InitApply(pod("web", "web", "10.42.0.1", "Running")),
            Event::InitApply(pod("db", "db", "10.42.0.2", "Running")),
            Event::InitDone,
        ] {
            egress.on_pod(event);
        }
        assert_eq!(check(&egress, "web", "10.42.0.2:8080"), "permitted");
        let refused = |address| format!("no egress rule of NetworkPolicy to-db permits {address}");
        assert_eq!(check(&egress, "web", "10.42.0.2:22"), refused("10.42.0.2:22"), "only the named port");
        assert_eq!(check(&egress, "web", "1.1.1.1:8080"), refused("1.1.1.1:8080"));
        assert_eq!(check(&egress, "db", "1.1.1.1:8080"), "permitted", "it is not selected");
        let caller = Caller { namespace: "shop".into(), pod: "db".into() };
        assert!(!egress.holds(&caller));
        // The address goes to a pod with another label.
        egress.on_pod(Event::Apply(pod("db", "db", "10.42.0.2", "Succeeded")));
        egress.on_pod(Event::Apply(pod("other", "x", "10.42.0.2", "Running")));
        egress.on_pod(Event::Delete(pod("db", "db", "10.42.0.2", "Succeeded")));
        assert_eq!(check(&egress, "web", "10.42.0.2:8080"), refused("10.42.0.2:8080"));
        egress.set_policies(std::iter::empty());
        assert_eq!(check(&egress, "web", "10.42.0.2:8080"), "permitted");
    }
}
