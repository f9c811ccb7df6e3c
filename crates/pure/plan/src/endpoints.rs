//! The older form of a Service's endpoints: one object with all of them, in subsets by port.
//!
//! Entry points: [`subsets`] makes it of pods, [`slices`] makes EndpointSlices of one that somebody wrote by hand.

use std::collections::BTreeMap;

use crate::endpointslice::{Endpoint, Pod, Port, SLICE_MAX, ServicePort, Slice, endpoint, resolve};

/// Addresses that an Endpoints object holds at most, as in Kubernetes.
pub const ADDRESSES_MAX: usize = 1000;

/// Addresses that have the same ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subset {
    /// Ports, sorted.
    pub ports: Vec<Port>,
    /// Those that take traffic.
    pub ready: Vec<Endpoint>,
    /// Those that do not yet.
    pub waiting: Vec<Endpoint>,
}

/// The subsets of a Service, and whether some addresses had to be left out.
pub fn subsets(ports: &[ServicePort], publish_not_ready: bool, pods: &[Pod]) -> (Vec<Subset>, bool) {
    let mut groups: BTreeMap<Vec<Port>, Subset> = BTreeMap::new();
    let known = |it: &&Pod| !it.ip.is_empty() && !it.finished && (publish_not_ready || !it.terminating);
    let mut sorted: Vec<&Pod> = pods.iter().filter(known).collect();
    // Ready ones are the last to be left out.
    sorted.sort_by(|a, b| b.ready.cmp(&a.ready).then_with(|| a.name.cmp(&b.name)));
    let left_out = sorted.len() > ADDRESSES_MAX;
    for pod in sorted.into_iter().take(ADDRESSES_MAX) {
        let ports = resolve(ports, pod);
        let group = groups.entry(ports.clone()).or_insert_with(|| Subset { ports, ..Subset::default() });
        let endpoint = endpoint(pod, publish_not_ready);
        if endpoint.ready { group.ready.push(endpoint) } else { group.waiting.push(endpoint) }
    }
    (groups.into_values().collect(), left_out)
}

/// The slices that mirror hand-made subsets.
pub fn slices(subsets: &[Subset]) -> Vec<Slice> {
    let mut slices = Vec::new();
    for subset in subsets {
        let ready = subset.ready.iter().map(|it| Endpoint { ready: true, serving: true, ..it.clone() });
        let waiting = subset.waiting.iter().map(|it| Endpoint { ready: false, serving: false, ..it.clone() });
        let all: Vec<Endpoint> = ready.chain(waiting).take(ADDRESSES_MAX).collect();
        for part in all.chunks(SLICE_MAX) {
            slices.push(Slice { ports: subset.ports.clone(), endpoints: part.to_vec() });
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpointslice::Target;

    fn pod(name: &str, ready: bool) -> Pod {
        Pod { uid: name.into(), name: name.into(), ip: "10.0.0.1".into(), ready, ..Pod::default() }
    }

    fn port(target: Target) -> ServicePort {
        ServicePort { name: String::new(), protocol: "TCP".into(), app_protocol: None, target }
    }

    #[test]
    fn pods_are_grouped_by_their_ports_and_readiness() {
        let named =
            |name: &str, number| Pod { named_ports: vec![("web".into(), "TCP".into(), number)], ..pod(name, true) };
        let leaving = Pod { terminating: true, ..named("c", 81) };
        let pods = [named("a", 81), named("b", 80), Pod { ready: false, ..named("d", 80) }, leaving];
        let (subsets, left_out) = subsets(&[port(Target::Name("web".into()))], false, &pods);
        let words: Vec<String> = subsets
            .iter()
            .map(|it| {
                let names = |all: &[Endpoint]| all.iter().map(|it| it.name.clone()).collect::<Vec<_>>().join(",");
                format!("{}: {} / {}", it.ports[0].port, names(&it.ready), names(&it.waiting))
            })
            .collect();
        assert_eq!((words, left_out), (vec!["80: b / d".to_owned(), "81: a / ".to_owned()], false));
    }

    #[test]
    fn too_many_addresses_are_cut_and_unready_ones_go_first() {
        let mut pods: Vec<Pod> = (0..ADDRESSES_MAX).map(|it| pod(&format!("r{it}"), true)).collect();
        pods.insert(0, pod("a", false));
        let (subsets, left_out) = subsets(&[port(Target::Number(80))], false, &pods);
        assert_eq!((subsets[0].ready.len(), subsets[0].waiting.len(), left_out), (ADDRESSES_MAX, 0, true));
    }

    #[test]
    fn hand_made_subsets_become_slices() {
        let (made, _) = subsets(&[port(Target::Number(80))], false, &[pod("a", true), pod("b", false)]);
        let slices = slices(&made);
        let readiness: Vec<bool> = slices[0].endpoints.iter().map(|it| it.ready).collect();
        assert_eq!((slices.len(), slices[0].ports[0].port, readiness), (1, 80, vec![true, false]));
    }
}
