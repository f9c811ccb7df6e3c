//! Which EndpointSlices a Service has.
//!
//! Entry point: [`plan`]. An endpoint stays in the slice it is in, so that one changed pod rewrites one slice.

use std::collections::{BTreeMap, HashMap};

/// Endpoints a slice holds at most, as in Kubernetes.
pub const SLICE_MAX: usize = 100;

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty when there is only one.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
    /// Where it leads on the pod.
    pub target: Target,
}

/// Where a Service's port leads on the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this port.
    Number(u16),
    /// To the container port of this name.
    Name(String),
}

/// One port of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Name of the Service's port.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Port on the pod; `None` in a headless Service without ports never occurs: it has no port at all.
    pub port: u16,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// A pod that the Service selects.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// Identity.
    pub uid: String,
    /// Name.
    pub name: String,
    /// Address; empty until it has one.
    pub ip: String,
    /// Node it is on.
    pub node: String,
    /// Host name it asks for within this Service's domain.
    pub hostname: Option<String>,
    /// Zone of its node.
    pub zone: Option<String>,
    /// Its `Ready` condition is true.
    pub ready: bool,
    /// Being deleted.
    pub terminating: bool,
    /// All containers ended for good.
    pub finished: bool,
    /// Named container ports: name, protocol, number.
    pub named_ports: Vec<(String, String, u16)>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Identity of its pod.
    pub uid: String,
    /// Name of its pod.
    pub name: String,
    /// Address.
    pub ip: String,
    /// Node of its pod.
    pub node: String,
    /// Host name within the Service's domain.
    pub hostname: Option<String>,
    /// Zone of its node.
    pub zone: Option<String>,
    /// Takes new traffic.
    pub ready: bool,
    /// Answers, even while terminating.
    pub serving: bool,
    /// Its pod is being deleted.
    pub terminating: bool,
}

/// A slice as it is or as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Ports, sorted.
    pub ports: Vec<Port>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// Changes that bring the slices up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Slices to create.
    pub create: Vec<Slice>,
    /// Slices to replace, by index into the given ones.
    pub update: Vec<(usize, Slice)>,
    /// Slices to delete, by index into the given ones.
    pub delete: Vec<usize>,
}

/// Compares what the Service should have with the `present` slices.
///
/// `publish_not_ready` counts pods as ready that are not, as the Service's field of that name asks.
pub fn plan(ports: &[ServicePort], publish_not_ready: bool, pods: &[Pod], present: &[Slice]) -> Plan {
    let mut wanted = group(ports, publish_not_ready, pods);
    if wanted.is_empty() {
        // One empty slice tells readers that the Service is known and has nobody.
        wanted.insert(resolve(ports, &Pod::default()), HashMap::new());
    }
    let mut plan = Plan::default();
    for (index, slice) in present.iter().enumerate() {
        if !wanted.contains_key(&slice.ports) {
            plan.delete.push(index);
        }
    }
    for (ports, endpoints) in wanted {
        let mine: Vec<usize> = (0..present.len()).filter(|index| present[*index].ports == ports).collect();
        place(&ports, endpoints, &mine, present, &mut plan);
    }
    plan.delete.sort_unstable();
    plan
}

/// Endpoints by the ports they have: pods may resolve a named port differently.
fn group(
    ports: &[ServicePort],
    publish_not_ready: bool,
    pods: &[Pod],
) -> BTreeMap<Vec<Port>, HashMap<String, Endpoint>> {
    let mut groups: BTreeMap<Vec<Port>, HashMap<String, Endpoint>> = BTreeMap::new();
    let by_number = ports.iter().all(|it| matches!(it.target, Target::Number(_)));
    let common = by_number.then(|| resolve(ports, &Pod::default()));
    for pod in pods.iter().filter(|it| !it.ip.is_empty() && !it.finished) {
        let ports = common.clone().unwrap_or_else(|| resolve(ports, pod));
        groups.entry(ports).or_default().insert(pod.uid.clone(), endpoint(pod, publish_not_ready));
    }
    groups
}

pub(crate) fn resolve(ports: &[ServicePort], pod: &Pod) -> Vec<Port> {
    let mut resolved: Vec<Port> = ports
        .iter()
        .filter_map(|port| {
            let number = match &port.target {
                Target::Number(number) => Some(*number),
                Target::Name(name) => {
                    pod.named_ports.iter().find(|it| it.0 == *name && it.1 == port.protocol).map(|it| it.2)
                }
            };
            number.map(|number| Port {
                name: port.name.clone(),
                protocol: port.protocol.clone(),
                port: number,
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    resolved.sort();
    resolved
}

pub(crate) fn endpoint(pod: &Pod, publish_not_ready: bool) -> Endpoint {
    Endpoint {
        uid: pod.uid.clone(),
        name: pod.name.clone(),
        ip: pod.ip.clone(),
        node: pod.node.clone(),
        hostname: pod.hostname.clone(),
        zone: pod.zone.clone(),
        ready: publish_not_ready || (pod.ready && !pod.terminating),
        serving: pod.ready,
        terminating: pod.terminating,
    }
}

/// Keeps endpoints where they are, puts new ones into slices that change anyway, then into the fullest with room, then
/// into new slices; and drops slices that became empty.
fn place(ports: &[Port], mut endpoints: HashMap<String, Endpoint>, mine: &[usize], present: &[Slice], plan: &mut Plan) {
    let mut slices: Vec<(usize, Slice, bool)> = Vec::with_capacity(mine.len());
    for &index in mine {
        let old = &present[index].endpoints;
        let kept: Vec<Endpoint> = old.iter().filter_map(|it| endpoints.remove(&it.uid)).collect();
        let changed = kept != *old;
        slices.push((index, Slice { ports: ports.to_vec(), endpoints: kept }, changed));
    }
    let mut new: Vec<Endpoint> = endpoints.into_values().collect();
    new.sort_unstable_by(|a, b| b.name.cmp(&a.name));
    let mut order: Vec<usize> = (0..slices.len()).collect();
    order.sort_by_key(|at| (!slices[*at].2, std::cmp::Reverse(slices[*at].1.endpoints.len())));
    for at in order {
        let (_, slice, changed) = &mut slices[at];
        while slice.endpoints.len() < SLICE_MAX
            && let Some(endpoint) = new.pop()
        {
            slice.endpoints.push(endpoint);
            *changed = true;
        }
    }
    while !new.is_empty() {
        let rest = new.split_off(new.len().saturating_sub(SLICE_MAX));
        plan.create.push(Slice { ports: ports.to_vec(), endpoints: rest.into_iter().rev().collect() });
    }
    finish(slices, plan);
    if mine.is_empty() && plan.create.iter().all(|it| it.ports != *ports) {
        plan.create.push(Slice { ports: ports.to_vec(), endpoints: Vec::new() });
    }
}

/// Sorts the kept slices into updates and deletions; one slice stays even when all are empty.
fn finish(slices: Vec<(usize, Slice, bool)>, plan: &mut Plan) {
    let mut all_empty = slices.iter().all(|it| it.1.endpoints.is_empty());
    for (index, slice, changed) in slices {
        if slice.endpoints.is_empty() && !std::mem::take(&mut all_empty) {
            plan.delete.push(index);
        } else if changed {
            plan.update.push((index, slice));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn http() -> Vec<ServicePort> {
        vec![ServicePort {
            name: "http".into(),
            protocol: "TCP".into(),
            app_protocol: None,
            target: Target::Number(8080),
        }]
    }

    fn pod(index: usize) -> Pod {
        Pod {
            uid: format!("uid{index}"),
            name: format!("pod{index}"),
            ip: format!("10.42.0.{index}"),
            node: "node".into(),
            ready: true,
            ..Pod::default()
        }
    }

    fn apply(present: &[Slice], plan: Plan) -> Vec<Slice> {
        let mut next = present.to_vec();
        for (index, slice) in plan.update {
            next[index] = slice;
        }
        let mut index = 0;
        next.retain(|_| {
            index += 1;
            !plan.delete.contains(&(index - 1))
        });
        next.extend(plan.create);
        next
    }

    #[test]
    fn one_changed_pod_rewrites_one_slice() {
        let mut pods: Vec<Pod> = (0..250).map(pod).collect();
        let present = apply(&[], plan(&http(), false, &pods, &[]));
        assert_eq!(present.iter().map(|it| it.endpoints.len()).collect::<Vec<_>>(), [100, 100, 50]);
        pods[120].ready = false;
        let change = plan(&http(), false, &pods, &present);
        assert_eq!((change.create.len(), change.update.len(), change.delete.len()), (0, 1, 0));
        pods.remove(3);
        pods.push(pod(900));
        let present = apply(&present, change);
        let change = plan(&http(), false, &pods, &present);
        assert_eq!((change.create.len(), change.update.len(), change.delete.len()), (0, 1, 0), "fills the gap");
    }

    #[test]
    fn nobody_leaves_one_empty_slice() {
        let change = plan(&http(), false, &[], &[]);
        assert_eq!(change.create.len(), 1);
        assert_eq!(plan(&http(), false, &[], &change.create), Plan::default());
        let pods: Vec<Pod> = (0..150).map(pod).collect();
        let present = apply(&[], plan(&http(), false, &pods, &[]));
        let present = apply(&present, plan(&http(), false, &[], &present));
        assert_eq!((present.len(), present[0].endpoints.len()), (1, 0));
    }

    #[test]
    fn conditions_tell_ready_serving_and_terminating_apart() {
        let table = [
            (true, false, false, (true, true, false)),
            (false, false, false, (false, false, false)),
            (true, true, false, (false, true, true)),
            (false, false, true, (true, false, false)),
        ];
        for (ready, terminating, publish, want) in table {
            let pod = Pod { ready, terminating, ..pod(1) };
            let change = plan(&http(), publish, &[pod], &[]);
            let it = &change.create[0].endpoints[0];
            assert_eq!((it.ready, it.serving, it.terminating), want);
        }
    }

    #[test]
    fn finished_pods_and_those_without_address_are_left_out() {
        let pods = [Pod { finished: true, ..pod(1) }, Pod { ip: String::new(), ..pod(2) }];
        assert!(plan(&http(), false, &pods, &[]).create[0].endpoints.is_empty());
    }

    #[test]
    fn named_ports_resolve_per_pod_into_separate_slices() {
        let ports = [ServicePort { target: Target::Name("web".into()), ..http().remove(0) }];
        let with = |index, number| Pod { named_ports: vec![("web".into(), "TCP".into(), number)], ..pod(index) };
        let change = plan(&ports, false, &[with(1, 80), with(2, 81), with(3, 80)], &[]);
        let shape: Vec<(u16, usize)> = change.create.iter().map(|it| (it.ports[0].port, it.endpoints.len())).collect();
        assert_eq!(shape, [(80, 2), (81, 1)]);
        let moved = plan(&ports, false, &[with(1, 81)], &change.create);
        assert_eq!((moved.create.len(), moved.update.len(), moved.delete.len()), (0, 1, 1));
    }

    proptest::proptest! {
        #[test]
        fn slices_hold_exactly_the_pods_and_settle_at_once(
            before in proptest::collection::btree_set(0usize..400, 0..300),
            after in proptest::collection::btree_set(0usize..400, 0..300),
        ) {
            let pods: Vec<Pod> = before.iter().copied().map(pod).collect();
            let present = apply(&[], plan(&http(), false, &pods, &[]));
            let pods: Vec<Pod> = after.iter().copied().map(pod).collect();
            let present = apply(&present, plan(&http(), false, &pods, &present));
            let names: Vec<&str> = present.iter().flat_map(|it| &it.endpoints).map(|it| it.name.as_str()).collect();
            let unique: BTreeSet<&str> = names.iter().copied().collect();
            proptest::prop_assert_eq!(unique.len(), names.len());
            proptest::prop_assert_eq!(names.len(), after.len());
            proptest::prop_assert!(present.iter().all(|it| it.endpoints.len() <= SLICE_MAX));
            proptest::prop_assert_eq!(plan(&http(), false, &pods, &present), Plan::default());
        }
    }
}
