//! Places a new pod at once when there is nothing to decide.
//!
//! On a single node the scheduler's verdict is known beforehand, and its binding would cost a second write, a second
//! fsync and a round through a watch. So when exactly one Ready node exists and the pod asks for nothing that the node
//! could lack, the pod is created bound. Everything else, requests for resources included, is the scheduler's, and so are the
//! last pods that the node takes: who counts them must be one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use eyot_model::{meta, quantity::Quantity};
use eyot_store::{Page, Revision, Scope};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{admit::Attempt, server::Shared};

/// Places that are left to the scheduler, of a node that has many: more than it could give away before it hears of the pods
/// that were placed here.
const LEFT: usize = 64;

/// The only node, and who is on the way to it.
#[derive(Default)]
pub(crate) struct OnlyNode {
    /// The verdict about the nodes as of one version of it.
    known: Mutex<Option<(Revision, Option<Arc<Node>>)>>,
    /// Pods that were placed and are not stored yet.
    placed: Arc<AtomicUsize>,
}

/// A place on the only node; held until the pod is stored, or will not be.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What matters of a node that can take pods.
#[derive(Debug, PartialEq)]
struct Node {
    name: String,
    /// Taints that keep pods away.
    taints: Vec<Value>,
    /// Pods that it is given here at most.
    pods: usize,
}

/// Binds a new pod to the only node, where that is the only possible outcome.
pub(crate) fn place(server: &Shared, attempt: &Attempt<'_>, pod: &mut Value) -> Option<Place> {
    if !attempt.creates("", "Pod") || !is_undemanding(&pod["spec"]) {
        return None;
    }
    let node = only_node(server).filter(|it| tolerates(&pod["spec"], &it.taints))?;
    let place = room(server, &node)?;
    let created = pod["metadata"]["creationTimestamp"].clone();
    meta::entry(pod, "spec").insert("nodeName".into(), node.name.as_str().into());
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": created,
    });
    meta::entry(pod, "status").insert("conditions".into(), json!([scheduled]));
    Some(place)
}

/// A place on the node, if there is one. Every pod counts, whether it runs, waits or has ended: who of them matters the scheduler
/// knows, who decides from there on.
fn room(server: &Shared, node: &Node) -> Option<Place> {
    let placed = &server.only_node.placed;
    // Taken first and counted then: a pod that is stored in between counts twice, and never not at all.
    let before = placed.fetch_add(1, Ordering::AcqRel);
    let place = Place(placed.clone());
    (server.store.count("/pods") + before < node.pods).then_some(place)
}

fn only_node(server: &Shared) -> Option<Arc<Node>> {
    let list = server.store.list(&Scope::all("/nodes"), &Page { limit: Some(1), ..Page::default() }).ok()?;
    let ([entry], 0) = (list.entries.as_slice(), list.remaining) else { return None };
    let mut cached = server.only_node.known.lock();
    if let Some((_, node)) = cached.as_ref().filter(|it| it.0 == entry.revision) {
        return node.clone();
    }
    let node = serde_json::from_slice(&entry.value).ok().and_then(|it| read(&it)).map(Arc::new);
    *cached = Some((entry.revision, node.clone()));
    node
}

/// The node, if it is Ready and open to pods.
fn read(node: &Value) -> Option<Node> {
    let ready = meta::list(node.pointer("/status/conditions")).iter().find(|it| it["type"] == "Ready");
    let open = node.pointer("/spec/unschedulable") != Some(&Value::Bool(true));
    let taints = meta::list(node.pointer("/spec/taints"));
    let taints = taints.iter().filter(|it| it["effect"] != "PreferNoSchedule").cloned().collect();
    let usable = open && meta::deleted(node).is_none() && ready.is_some_and(|it| it["status"] == "True");
    usable.then(|| Node { name: meta::name(node).unwrap_or_default().to_owned(), taints, pods: pods(node) })
}

/// How many pods are placed here: those the node takes, but for some. A node that names no number takes any.
fn pods(node: &Value) -> usize {
    let amount = node.pointer("/status/allocatable/pods").and_then(Value::as_str);
    let all = amount.and_then(|it| it.parse::<Quantity>().ok()).map(|it| usize::try_from(it.units()).unwrap_or(0));
    all.map_or(usize::MAX, |it| it - LEFT.min(it / 4))
}

/// Whether any Ready node would do.
fn is_undemanding(spec: &Value) -> bool {
    const DEMANDS: [&str; 7] = [
        "nodeName",
        "nodeSelector",
        "affinity",
        "topologySpreadConstraints",
        "schedulingGates",
        "resourceClaims",
        "overhead",
    ];
    let is_empty = |it: &Value| match it {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    let ours = matches!(spec.get("schedulerName").and_then(Value::as_str), None | Some("" | "default-scheduler"));
    let simple = |container: &Value| {
        is_empty(&container["resources"]["requests"])
            && is_empty(&container["resources"]["claims"])
            && meta::list(container.get("ports")).iter().all(|it| it.get("hostPort").is_none())
    };
    let containers = ["containers", "initContainers"].into_iter().flat_map(|it| meta::list(spec.get(it)));
    let volumes = meta::list(spec.get("volumes"));
    ours && DEMANDS.iter().all(|it| is_empty(&spec[*it]))
        && containers.into_iter().all(simple)
        && volumes.iter().all(|it| it.get("persistentVolumeClaim").is_none() && it.get("ephemeral").is_none())
}

/// Whether each taint is tolerated.
fn tolerates(spec: &Value, taints: &[Value]) -> bool {
    let tolerations = meta::list(spec.get("tolerations"));
    let text = |it: &Value, field: &str| it.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    taints.iter().all(|taint| {
        tolerations.iter().any(|it| {
            let (key, effect) = (text(it, "key"), text(it, "effect"));
            let exists = text(it, "operator") == "Exists";
            (effect.is_empty() || effect == text(taint, "effect"))
                && ((key.is_empty() && exists) || key == text(taint, "key"))
                && (exists || text(it, "value") == text(taint, "value"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_open_node_takes_pods() {
        let node = |status: &str, unschedulable: bool| {
            read(&json!({"metadata": {"name": "n"}, "spec": {"unschedulable": unschedulable},
                "status": {"conditions": [{"type": "Ready", "status": status}]}}))
        };
        let open = Node { name: "n".into(), taints: vec![], pods: usize::MAX };
        assert_eq!(node("True", false), Some(open));
        assert_eq!(node("False", false), None);
        assert_eq!(node("True", true), None);
    }

    #[test]
    fn some_of_what_a_node_takes_is_left_to_the_scheduler() {
        let taken = |amount: &str| pods(&json!({"status": {"allocatable": {"pods": amount}}}));
        assert_eq!([taken("1"), taken("4"), taken("110"), taken("61437"), taken("100k")], [1, 3, 83, 61_373, 99_936]);
        assert_eq!(pods(&json!({"status": {}})), usize::MAX);
    }

    #[test]
    fn demands_are_the_schedulers_business() {
        assert!(is_undemanding(&json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]})));
        for demanding in [
            json!({"nodeName": "n"}),
            json!({"nodeSelector": {"a": "b"}}),
            json!({"affinity": {"nodeAffinity": {}}}),
            json!({"schedulerName": "other"}),
            json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}]}),
            json!({"containers": [{"ports": [{"hostPort": 80}]}]}),
            json!({"volumes": [{"persistentVolumeClaim": {}}]}),
        ] {
            assert!(!is_undemanding(&demanding), "{demanding}");
        }
    }

    #[test]
    fn taints_need_matching_tolerations() {
        let taint = [json!({"key": "a", "value": "b", "effect": "NoSchedule"})];
        let with = |toleration: Value| tolerates(&json!({"tolerations": [toleration]}), &taint);
        assert!(!tolerates(&json!({}), &taint));
        assert!(with(json!({"operator": "Exists"})));
        assert!(with(json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"})));
        assert!(!with(json!({"key": "a", "value": "c"})));
        assert!(!with(json!({"key": "a", "operator": "Exists", "effect": "NoExecute"})));
    }
}
