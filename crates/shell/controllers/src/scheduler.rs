//! Binds pods that have no node yet, and tells why when none will do.
//!
//! Entry points: [`pass`]; the listeners [`Scheduler::pod_changed`] and [`Scheduler::node_changed`] keep the sums of
//! what each node's pods ask for, so that a decision never looks at all pods.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use eyot_plan::schedule::{self, HostPort, Neighbour, Node, Resources};
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    api::{PODS, Target},
    context::{Context, Stores},
    events::Severity,
    queue::{Outcome, Queue},
    store::Change,
    view::{
        Key,
        affinity::{TermWire, WeightedTerm},
        cluster::NodeView,
        now,
        pod::{Pending, PodView},
        rfc3339,
    },
};

/// Pause before a pod that fits nowhere is looked at again because something changed.
const RETRY: Duration = Duration::from_millis(500);
/// The name pods give to ask for this scheduler.
const NAME: &str = "default-scheduler";

/// What is known of nodes and of what their pods take.
#[derive(Default)]
pub(crate) struct Scheduler {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nodes: Vec<Node>,
    /// By node name; nodes may be known from their pods only.
    loads: HashMap<Box<str>, Load>,
    /// Pods being bound, which the watch has not shown yet: their node and what they take.
    assumed: HashMap<Key, (Box<str>, Load)>,
    /// Pods that fit nowhere.
    waiting: HashSet<Key>,
    /// How many pods there are that others must stay apart from.
    repelling: usize,
}

/// What a pod, or all pods of a node, take of it.
#[derive(Clone, Default)]
struct Load {
    resources: Resources,
    ports: Vec<HostPort>,
}

impl Load {
    fn of(pod: &PodView) -> Self {
        Self { resources: pod.requests, ports: pod.host_ports.to_vec() }
    }
}

impl State {
    fn charge(&mut self, node: &str, load: Load) {
        let sum = self.loads.entry(node.into()).or_default();
        sum.resources.add(load.resources);
        sum.ports.extend(load.ports);
        self.refresh(node);
    }

    fn discharge(&mut self, node: &str, load: &Load) {
        let Some(sum) = self.loads.get_mut(node) else { return };
        sum.resources.sub(load.resources);
        for port in &load.ports {
            if let Some(at) = sum.ports.iter().position(|it| it == port) {
                sum.ports.swap_remove(at);
            }
        }
        if sum.resources == Resources::default() {
            self.loads.remove(node);
        }
        self.refresh(node);
    }

    fn refresh(&mut self, name: &str) {
        if let Some(node) = self.nodes.iter_mut().find(|it| it.name == name) {
            load(node, self.loads.get(name));
        }
    }
}

fn load(node: &mut Node, load: Option<&Load>) {
    let (resources, ports) = load.map_or_else(Default::default, |it| (it.resources, it.ports.as_slice()));
    node.requested = resources;
    node.ports.clear();
    node.ports.extend_from_slice(ports);
}

/// The pod takes part of a node.
fn occupies(pod: &PodView) -> bool {
    !pod.node.is_empty() && pod.unfinished()
}

impl Scheduler {
    /// Keeps the sums; asks for a pass when a pod has no node. True when room was made.
    pub(crate) fn pod_changed(&self, change: &Change<PodView>, queue: &Queue<Key>) -> bool {
        let (old, new) = (change.old.as_ref().filter(|it| occupies(it)), change.new.as_ref().filter(|it| occupies(it)));
        let same = old.zip(new).is_some_and(|(old, new)| old.node == new.node && old.requests == new.requests);
        // Ports never change.
        let mut state = self.state.lock();
        if !same {
            if let Some(old) = old {
                state.discharge(&old.node, &Load::of(old));
            }
            if let Some(new) = new {
                state.charge(&new.node, Load::of(new));
            }
        }
        let repels = |it: &Option<Arc<PodView>>| it.as_ref().is_some_and(|it| it.repels() && it.unfinished());
        state.repelling += usize::from(repels(&change.new));
        state.repelling = state.repelling.saturating_sub(usize::from(repels(&change.old)));
        let Some(pod) = change.latest() else { return false };
        let unbound = change.new.as_ref().is_some_and(|it| it.node.is_empty() && it.active());
        // Where all pods come with a node, there is nobody to forget.
        let nobody = state.waiting.is_empty() && state.assumed.is_empty();
        if !unbound && !nobody {
            let key = pod.meta.key();
            state.waiting.remove(&key);
            if let Some((node, load)) = state.assumed.remove(&key) {
                state.discharge(&node, &load);
            }
        }
        drop(state);
        // Events of a pod that waits for a node are its own conditions; it need not be looked at again.
        let gated = |it: &PodView| it.pending.as_ref().is_some_and(|it| it.gated);
        let asks = |old: &Arc<PodView>| old.meta.generation != pod.meta.generation || gated(old) != gated(pod);
        if unbound && change.old.as_ref().is_none_or(asks) {
            queue.add(pod.meta.key());
        }
        old.is_some() && new.is_none()
    }

    /// Takes in a node. True when something that decides about pods has changed.
    pub(crate) fn node_changed(&self, change: &Change<NodeView>) -> bool {
        let Some(view) = change.latest() else { return false };
        let mut state = self.state.lock();
        let position = state.nodes.iter().position(|it| it.name == *view.meta.name);
        match (&change.new, position) {
            (Some(new), position) => {
                let mut node = new.offer();
                let taken = state.loads.get(node.name.as_str());
                load(&mut node, taken);
                let before = position.map(|at| std::mem::replace(&mut state.nodes[at], node.clone()));
                if position.is_none() {
                    state.nodes.push(node.clone());
                }
                before.is_none_or(|it| it != node)
            }
            (None, Some(position)) => {
                state.nodes.remove(position);
                false
            }
            (None, None) => false,
        }
    }

    /// Looks at the waiting pods again, soon.
    pub(crate) fn retry(&self, queue: &Queue<Key>) {
        for key in &self.state.lock().waiting {
            queue.add_after(key.clone(), RETRY);
        }
    }

    /// Chooses a node and counts the pod as being there.
    fn reserve(&self, stores: &Stores, key: &Key, pod: &PodView) -> Result<String, String> {
        let mut state = self.state.lock();
        if let Some((node, _)) = state.assumed.get(key) {
            return Ok(node.to_string());
        }
        let demand = demand(stores, pod);
        // Looking at all pods is left to those whose place depends on others.
        let looks = demand.looks_around() || state.repelling > 0;
        let around = if looks { around(stores, &state.assumed) } else { Vec::new() };
        match schedule::place(&demand, &state.nodes, &around) {
            Ok(at) => {
                let node = state.nodes[at].name.clone();
                state.charge(&node, Load::of(pod));
                state.assumed.insert(key.clone(), (node.as_str().into(), Load::of(pod)));
                state.waiting.remove(key);
                Ok(node)
            }
            Err(reason) => {
                state.waiting.insert(key.clone());
                Err(reason)
            }
        }
    }

    fn give_back(&self, key: &Key) {
        let mut state = self.state.lock();
        if let Some((node, load)) = state.assumed.remove(key) {
            state.discharge(&node, &load);
        }
    }
}

/// What the pod asks for, its rules about other pods included.
fn demand(stores: &Stores, pod: &PodView) -> schedule::Pod {
    let mut demand = pod.demand();
    let Some(rules) = &pod.rules else { return demand };
    let namespaces = stores.namespaces.all();
    let term = |it: &TermWire| it.compile(&pod.meta.namespace, &namespaces);
    let weighted = |it: &WeightedTerm| (term(&it.pod_affinity_term), it.weight);
    demand.near = rules.near.iter().map(term).collect();
    demand.apart = rules.apart.iter().map(term).collect();
    demand.near_preferred = rules.near_preferred.iter().map(weighted).collect();
    demand.apart_preferred = rules.apart_preferred.iter().map(weighted).collect();
    demand.spread.clone_from(&rules.spread);
    demand
}

/// The pods that are on nodes, or about to be.
fn around(stores: &Stores, assumed: &HashMap<Key, (Box<str>, Load)>) -> Vec<Neighbour> {
    let namespaces = stores.namespaces.all();
    let neighbour = |pod: &Arc<PodView>| {
        let node = match &*pod.node {
            "" => assumed.get(&pod.meta.key()).map(|it| it.0.to_string())?,
            node => node.to_owned(),
        };
        let apart = pod.rules.iter().flat_map(|it| &it.apart);
        pod.unfinished().then(|| Neighbour {
            namespace: pod.meta.namespace.to_string(),
            labels: pod.meta.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            node,
            deleting: pod.meta.deleting(),
            apart: apart.map(|it| it.compile(&pod.meta.namespace, &namespaces)).collect(),
        })
    };
    stores.pods.all().iter().filter_map(neighbour).collect()
}

/// One pass over one pod without node.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(pod) = context.stores.pods.get(&key).filter(|it| it.active()) else { return Ok(None) };
    let Some(pending) = pod.pending.as_deref() else { return Ok(None) };
    if pending.gated || !(pending.scheduler.is_empty() || pending.scheduler == NAME) {
        return Ok(None);
    }
    match context.scheduler.reserve(&context.stores, &key, &pod) {
        Ok(node) => bind(&context, &key, &pod, &node).await,
        Err(reason) => refuse(&context, &pod, pending, reason).await,
    }
}

async fn bind(context: &Context, key: &Key, pod: &PodView, node: &str) -> Outcome {
    let body = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": pod.meta.name, "namespace": pod.meta.namespace, "uid": pod.meta.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let target = Target::object(&PODS, &pod.meta.namespace, &pod.meta.name).sub("binding");
    match context.api.create(target, body.to_string().into_bytes()).await {
        Ok(_) => {
            let recorder = context.recorder.of(NAME);
            if recorder.is_calm() {
                let message = format!("Successfully assigned {key} to {node}");
                recorder.record(&PODS, &pod.meta, Severity::Normal, "Scheduled", message);
            }
            Ok(None)
        }
        Err(error) => {
            context.scheduler.give_back(key);
            // Gone, or bound by somebody else: the watch tells.
            if error.is_not_found() || error.is_conflict() { Ok(None) } else { Err(error) }
        }
    }
}

async fn refuse(context: &Context, pod: &PodView, pending: &Pending, reason: String) -> Outcome {
    if pending.verdict.as_ref() == Some(&reason) {
        return Ok(None);
    }
    let recorder = context.recorder.of(NAME);
    recorder.record(&PODS, &pod.meta, Severity::Warning, "FailedScheduling", reason.clone());
    let patch = json!({"status": {"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason,
        "lastTransitionTime": rfc3339(now()),
    }]}});
    let target = Target::object(&PODS, &pod.meta.namespace, &pod.meta.name).sub("status");
    // A pod without node has no other conditions, so replacing the list loses nothing.
    match context.api.merge::<serde::de::IgnoredAny>(target, &patch).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(None),
    }
}
