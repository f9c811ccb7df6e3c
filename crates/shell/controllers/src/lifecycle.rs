//! Gives nodes the taints that their state means, sends away pods that do not tolerate them, and collects pods of nodes
//! that are gone.
//!
//! Entry points: [`pass`] over a node, [`orphan_pass`] over a node that is gone. A node is looked at when its state or
//! taints change, when a pod comes to a node that drives pods out, and when the patience of a pod ends.
//!
//! Pods of a node that is tainted are read from the API: tolerations are not kept for pods that run undisturbed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use eyot_plan::{
    Seconds,
    lifecycle::{self as plan, Patience, State},
    schedule::{Effect, Taint},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{ApiError, DeleteOptions, NODES, PODS, Target},
    bounded::bounded,
    context::Context,
    events::Severity,
    queue::Outcome,
    store::Change,
    view::{
        Key, Meta,
        cluster::{NodeView, TaintWire},
        now, nullable,
        pod::{PodView, TolerationWire, toleration},
        rfc3339,
    },
};

/// Deletions of one node's pods under way.
const IN_FLIGHT_MAX: usize = 16;
/// Ended pods that are kept; the oldest beyond that number go. Kubernetes' number.
const ENDED_MAX: usize = 12_500;

/// Since when taints that do not say so themselves are known.
#[derive(Default)]
pub(crate) struct Taints {
    since: Mutex<HashMap<(Box<str>, String), Seconds>>,
}

impl Taints {
    /// When the taint began to drive pods out, as far as is known.
    fn since(&self, node: &str, taint: &TaintWire) -> Seconds {
        match taint.time_added {
            Some(time) => time.0,
            None => *self.since.lock().entry((node.into(), taint.key.clone())).or_insert_with(now),
        }
    }

    /// Forgets taints that the node no longer has.
    fn retain(&self, node: &NodeView) {
        let here = |key: &str| node.spec.taints.iter().any(|it| it.key == key);
        self.since.lock().retain(|(name, key), _| **name != *node.meta.name || here(key));
    }
}

/// Something about the node asks for a pass.
pub(crate) fn asks(change: &Change<NodeView>) -> bool {
    let Some(new) = &change.new else { return false };
    let before = change.old.as_ref().map(|it| &it.spec.taints);
    before != Some(&new.spec.taints) || is_due(new)
}

/// The node has other taints than its state means.
fn is_due(node: &NodeView) -> bool {
    let wanted = plan::taints(state(node));
    let has = |key: &str, effect: Effect| {
        node.spec.taints.iter().any(|it| it.key == key && Effect::parse(&it.effect) == Some(effect))
    };
    let ours = node.spec.taints.iter().filter(|it| plan::KEYS.contains(&it.key.as_str())).count();
    ours != wanted.len() || !wanted.iter().all(|it| has(it.0, it.1))
}

/// Pods are driven out of the node.
pub(crate) fn drives_out(node: &NodeView) -> bool {
    node.spec.taints.iter().any(|it| it.effect == "NoExecute")
}

fn state(node: &NodeView) -> State {
    let holds = |kind: &str| node.status.conditions.iter().any(|it| it.kind == kind && it.status == "True");
    State {
        // A node that registers tells its state a moment later; a taint until then would only come and go.
        ready: match node.ready() {
            Some("Unknown") => None,
            other => Some(other != Some("False")),
        },
        memory_pressure: holds("MemoryPressure"),
        disk_pressure: holds("DiskPressure"),
        pid_pressure: holds("PIDPressure"),
        network_unavailable: holds("NetworkUnavailable"),
        unschedulable: node.spec.unschedulable,
    }
}

/// One pass over one node.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(node) = context.stores.nodes.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    if is_due(&node) {
        write_taints(&context, &node).await?;
        // The written node is in the cache and has asked for the next pass.
        return Ok(None);
    }
    context.taints.retain(&node);
    if drives_out(&node) { drive_out(&context, &node).await } else { Ok(None) }
}

async fn write_taints(context: &Context, node: &NodeView) -> Result<(), ApiError> {
    let wanted = plan::taints(state(node));
    let stays = |it: &&TaintWire| {
        let meant = wanted.iter().any(|(key, effect)| it.key == *key && Effect::parse(&it.effect) == Some(*effect));
        meant || !plan::KEYS.contains(&it.key.as_str())
    };
    let kept: Vec<&TaintWire> = node.spec.taints.iter().filter(stays).collect();
    let mut taints: Vec<Value> = kept.iter().map(|it| it.to_json()).collect();
    for (key, effect) in &wanted {
        if kept.iter().any(|it| it.key == *key && Effect::parse(&it.effect) == Some(*effect)) {
            continue;
        }
        let mut taint = json!({"key": key, "effect": format!("{effect:?}")});
        if *effect == Effect::NoExecute {
            taint["timeAdded"] = rfc3339(now()).into();
        }
        taints.push(taint);
    }
    let taints = if taints.is_empty() { Value::Null } else { taints.into() };
    let patch = json!({"metadata": {"resourceVersion": node.meta.resource_version}, "spec": {"taints": taints}});
    let written: NodeView = context.api.merge(Target::object(&NODES, "", &node.meta.name), &patch).await?;
    context.stores.nodes.absorb(written);
    Ok(())
}

#[derive(Deserialize)]
struct List {
    #[serde(default, deserialize_with = "nullable")]
    items: Vec<Row>,
}

/// A pod with its tolerations.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Row {
    metadata: Meta,
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(deserialize_with = "nullable")]
    tolerations: Vec<TolerationWire>,
}

/// Sends away pods whose patience is over; the next pass is due when the next one's is.
async fn drive_out(context: &Context, node: &NodeView) -> Outcome {
    let name = &node.meta.name;
    let taints: Vec<(Taint, Seconds)> =
        node.spec.taints.iter().filter_map(|it| Some((it.read()?, context.taints.since(name, it)))).collect();
    let query = format!("fieldSelector=spec.nodeName%3D{name}");
    let list: List = context.api.get(Target::collection(&PODS, ""), &query).await?;
    let now = now();
    let (mut leaving, mut next): (Vec<Meta>, Option<Seconds>) = (Vec::new(), None);
    for row in list.items.into_iter().filter(|it| !it.metadata.deleting()) {
        let since = row.metadata.created();
        let taints: Vec<(Taint, Seconds)> = taints.iter().map(|it| (it.0.clone(), it.1.max(since))).collect();
        let patience: Vec<Patience> = row
            .spec
            .tolerations
            .iter()
            .map(|it| Patience { toleration: toleration(it), seconds: it.toleration_seconds })
            .collect();
        match plan::departure(&taints, &patience) {
            Some(moment) if moment <= now => leaving.push(row.metadata),
            Some(moment) => next = Some(next.map_or(moment, |it| it.min(moment))),
            None => {}
        }
    }
    let why = ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
    remove(context, &leaving, why, None).await?;
    for pod in &leaving {
        let message = format!("Marking for deletion Pod {}", pod.key());
        let recorder = context.recorder.of("taint-eviction-controller");
        recorder.record(&PODS, pod, Severity::Normal, "TaintManagerEviction", message);
    }
    Ok(next.map(|it| Duration::from_secs((it - now).unsigned_abs())))
}

/// One pass over a node of which pods are known while the node is not.
pub(crate) async fn orphan_pass(context: Arc<Context>, key: Key) -> Outcome {
    if context.stores.nodes.get(&key).is_some() {
        return Ok(None);
    }
    // The cache may be late, so the API has the word.
    match context.api.get::<NodeView>(Target::object(&NODES, "", &key.name), "").await {
        Ok(_) => return Ok(Some(Duration::from_secs(1))),
        Err(error) if !error.is_not_found() => return Err(error),
        Err(_) => {}
    }
    let orphans: Vec<Meta> =
        context.stores.pods.all().iter().filter(|it| *it.node == *key.name).map(|it| it.meta.clone()).collect();
    remove(&context, &orphans, ("DeletionByPodGC", "PodGC: node no longer exists"), Some(0)).await.map(|()| None)
}

/// Deletes the oldest ended pods beyond what is kept.
pub(crate) async fn trim_ended(context: &Context) -> Result<(), ApiError> {
    if context.stores.pods.len() <= ENDED_MAX {
        return Ok(());
    }
    let mut ended: Vec<Arc<PodView>> =
        context.stores.pods.all().into_iter().filter(|it| !it.unfinished() && !it.meta.deleting()).collect();
    let surplus = ended.len().saturating_sub(ENDED_MAX);
    ended.sort_by_key(|it| it.meta.created());
    let oldest: Vec<Meta> = ended.iter().take(surplus).map(|it| it.meta.clone()).collect();
    let deletions = oldest.iter().map(|it| delete(context, it, Some(0))).collect();
    settle(deletions).await
}

/// Deletes pods, and says why in their status.
async fn remove(context: &Context, pods: &[Meta], why: (&str, &str), grace: Option<i64>) -> Result<(), ApiError> {
    let removals = pods.iter().map(|pod| async move {
        let patch = json!({"status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": why.0, "message": why.1,
            "lastTransitionTime": rfc3339(now()),
        }]}});
        let target = Target::object(&PODS, &pod.namespace, &pod.name).sub("status");
        match context.api.strategic(target, &patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => delete(context, pod, grace).await,
        }
    });
    settle(removals.collect()).await
}

async fn delete(context: &Context, pod: &Meta, grace_seconds: Option<i64>) -> Result<(), ApiError> {
    let options = DeleteOptions { uid: Some(&pod.uid), grace_seconds, ..DeleteOptions::default() };
    context.api.delete(Target::object(&PODS, &pod.namespace, &pod.name), options).await
}

async fn settle<F: Future<Output = Result<(), ApiError>>>(all: Vec<F>) -> Result<(), ApiError> {
    let mut failed = None;
    bounded(IN_FLIGHT_MAX, all, |done| {
        failed = failed.take().or(done.err());
        true
    })
    .await;
    failed.map_or(Ok(()), Err)
}
