//! Keeps a pod of each DaemonSet on every node that takes it.
//!
//! A pod is meant for one node by a node affinity for that node's name, and bound by the scheduler, as in Kubernetes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use eyot_plan::{
    amount::Amount,
    daemonset::{self as plan, Phase, Plan, Spec, Status, Strategy, Why},
    schedule,
};
use serde_json::{Value, json};

use crate::{
    api::{ApiError, DAEMON_SETS, Resource},
    claim,
    context::{Context, Stores},
    events::Severity,
    expect::Snapshot,
    history::HASH,
    names,
    pods::{Batch, Blueprint},
    queue::Outcome,
    store::Store,
    versioned::{Asks, Versioned, Workload},
    view::{
        Key, Meta,
        apps::{DaemonSetView, RevisionView, or_one},
        cluster::NodeView,
        count, now,
        pod::{self, PodView},
    },
};

/// Taints that a node gets for reasons that daemons outlive, and their effects.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

impl Workload for DaemonSetView {
    const CONTROLLER: &'static str = "daemonset-controller";
    const HASH_LABEL: &'static str = HASH;

    fn resource() -> &'static Resource {
        &DAEMON_SETS
    }

    fn store(stores: &Stores) -> &Arc<Store<Self>> {
        &stores.daemon_sets
    }

    fn asks(&self) -> Asks<'_> {
        Asks { selector: &self.spec.selector, template: &self.spec.template, collisions: self.status.collision_count }
    }

    fn member(set: &Meta, pod: &Meta) -> bool {
        claim::anything(set, pod)
    }
}

/// One pass over one DaemonSet: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(set) = context.stores.daemon_sets.get(&key) else { return Ok(None) };
    Pass { base: Versioned::of(&context, &set), set: &set }.run().await
}

struct Pass<'a> {
    base: Versioned<'a, DaemonSetView>,
    set: &'a DaemonSetView,
}

impl Pass<'_> {
    async fn run(&self) -> Outcome {
        // Wishes are read before pods: see `expect`.
        let wishes = self.base.context.expectations.snapshot(&self.set.meta.uid);
        let pods = self.base.pods().await?;
        if self.set.meta.deleting() {
            return Ok(None);
        }
        let history = self.base.history();
        let settled = history.settle().await?;
        let hash = hash(&settled.update);
        let mut template = self.set.spec.template.clone();
        tolerate(&mut template["spec"]);
        let nodes = self.base.context.stores.nodes.all();
        let (rows, strays) = self.nodes(&nodes, &template, &pods, &wishes);
        let all: Vec<plan::Pod> = pods.iter().map(|it| row(it, hash, &wishes)).collect();
        let plan = plan::plan(&self.spec(), &rows, &all, settled.collisions, now());

        let done = self.execute(&plan, &pods, &strays, &nodes, &template, hash).await;
        self.write_status(&plan.status).await?;
        done?;
        let live = |name: &str| {
            let of = settled.all.iter().find(|it| *it.meta.name == *name).map_or("", |it| self::hash(it));
            name == &*settled.update.meta.name || pods.iter().any(|it| it.meta.labels.get(HASH) == Some(of))
        };
        history.trim(&settled.all, self.set.spec.revision_history_limit, live).await?;
        Ok(plan.wait.map(|it| Duration::from_secs(it.unsigned_abs())))
    }

    fn spec(&self) -> Spec {
        let strategy = &self.set.spec.update_strategy;
        Spec {
            strategy: match strategy.kind.as_str() {
                "OnDelete" => Strategy::OnDelete,
                _ => Strategy::RollingUpdate {
                    max_unavailable: or_one(strategy.rolling_update.max_unavailable),
                    max_surge: strategy.rolling_update.max_surge.unwrap_or(Amount::Count(0)),
                },
            },
            min_ready_seconds: self.set.spec.min_ready_seconds,
            generation: self.set.meta.generation,
            deleting: self.set.meta.deleting(),
        }
    }

    /// The nodes with their pods, and pods that are meant for a node that is gone.
    fn nodes(
        &self,
        nodes: &[Arc<NodeView>],
        template: &Value,
        pods: &[Arc<PodView>],
        wishes: &Snapshot,
    ) -> (Vec<plan::Node>, Vec<Arc<PodView>>) {
        let demand = demand(template);
        let creating: HashSet<i32> = self.base.creating(pods, wishes).into_iter().collect();
        let mut rows: Vec<plan::Node> = nodes
            .iter()
            .map(|it| plan::Node {
                place: plan::belongs(&demand, &it.offer()),
                creating: creating.contains(&names::number(&it.meta.name)),
                pods: Vec::new(),
            })
            .collect();
        let by_name: HashMap<&str, usize> = nodes.iter().enumerate().map(|(at, it)| (&*it.meta.name, at)).collect();
        let mut strays = Vec::new();
        for (index, pod) in pods.iter().enumerate() {
            match by_name.get(pod.target()) {
                Some(at) => rows[*at].pods.push(index),
                None if pod.node.is_empty() && pod.active() => strays.push(pod.clone()),
                None => {}
            }
        }
        (rows, strays)
    }

    async fn execute(
        &self,
        plan: &Plan,
        pods: &[Arc<PodView>],
        strays: &[Arc<PodView>],
        nodes: &[Arc<NodeView>],
        template: &Value,
        hash: &str,
    ) -> Result<(), ApiError> {
        let mut leaving: Vec<Arc<PodView>> = strays.to_vec();
        for (at, why) in &plan.delete {
            let pod = &pods[*at];
            let (severity, reason, what) = match why {
                Why::Failed => (Severity::Warning, "FailedDaemonPod", "failed"),
                Why::Succeeded => (Severity::Normal, "SucceededDaemonPod", "succeeded"),
                Why::Surplus | Why::Outdated => {
                    leaving.push(pod.clone());
                    continue;
                }
            };
            let message =
                format!("Found {what} daemon pod {} on node {}, will try to kill it", pod.meta.key(), pod.node);
            self.base.record(severity, reason, message);
            leaving.push(pod.clone());
        }
        let removed = self.base.owner.delete(&leaving, None).await;
        self.tell(&removed, "Deleted pod", ["SuccessfulDelete", "FailedDelete"]);
        let blueprints: Vec<Arc<Blueprint>> =
            plan.create.iter().map(|at| Arc::new(self.blueprint(template, &nodes[*at].meta.name, hash))).collect();
        let created = self.base.owner.create(&blueprints, 0).await;
        self.tell(&created, "Created pod", ["SuccessfulCreate", "FailedCreate"]);
        match removed.failed.or(created.failed) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn blueprint(&self, template: &Value, node: &str, hash: &str) -> Blueprint {
        let base = format!("{}-", self.set.meta.name);
        self.base.owner.blueprint(template, base, Some(names::number(node)), |meta, spec| {
            meta.entry("labels").or_insert_with(|| json!({}))[HASH] = hash.into();
            if !spec["affinity"].is_object() {
                spec["affinity"] = json!({});
            }
            let fields = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
            // The set's own demands have been met by the choice of the node.
            let terms = json!({"nodeSelectorTerms": [{"matchFields": fields}]});
            let affinity = &mut spec["affinity"];
            if !affinity["nodeAffinity"].is_object() {
                affinity["nodeAffinity"] = json!({});
            }
            affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = terms;
        })
    }

    fn tell(&self, batch: &Batch, what: &str, reasons: [&'static str; 2]) {
        self.base.tell(batch, reasons, |pod| format!("{what}: {pod}"), |error| format!("Error: {error}"));
    }

    async fn write_status(&self, new: &Status) -> Result<(), ApiError> {
        if *new == status(self.set) {
            return Ok(());
        }
        let status = json!({
            "observedGeneration": new.observed_generation,
            "desiredNumberScheduled": new.desired,
            "currentNumberScheduled": new.current,
            "numberMisscheduled": new.misscheduled,
            "numberReady": new.ready,
            "updatedNumberScheduled": count(new.updated),
            "numberAvailable": count(new.available),
            "numberUnavailable": count(new.unavailable),
            "collisionCount": new.collision_count,
        });
        self.base.write_status(status).await
    }
}

/// Adds what every daemon tolerates.
fn tolerate(spec: &mut Value) {
    if !spec["tolerations"].is_array() {
        spec["tolerations"] = json!([]);
    }
    let Some(all) = spec["tolerations"].as_array_mut() else { return };
    for (key, effect) in TOLERATED {
        let same = |it: &Value| it["key"] == key && it["effect"] == effect && it["operator"] == "Exists";
        // One with a limit of time would send the daemon away after all.
        all.retain(|it| !(same(it) && it.get("tolerationSeconds").is_some()));
        if !all.iter().any(same) {
            all.push(json!({"key": key, "operator": "Exists", "effect": effect}));
        }
    }
}

/// What a pod of this template asks of a node.
fn demand(template: &Value) -> schedule::Pod {
    let pod = json!({"metadata": {}, "spec": template["spec"]});
    // What cannot be read here would not have been stored; a pod that asks for nothing then fails on its own.
    serde_json::from_value::<PodView>(pod).map(|it| it.demand()).unwrap_or_default()
}

fn hash(revision: &RevisionView) -> &str {
    revision.meta.labels.get(HASH).unwrap_or_default()
}

fn row(pod: &PodView, hash: &str, wishes: &Snapshot) -> plan::Pod {
    plan::Pod {
        updated: pod.meta.labels.get(HASH) == Some(hash),
        phase: match pod.phase {
            pod::Phase::Succeeded => Phase::Succeeded,
            pod::Phase::Failed => Phase::Failed,
            _ => Phase::Active,
        },
        ready_since: pod.ready_since,
        deleting: pod.meta.deleting() || wishes.deletes.contains(&*pod.meta.uid),
        created: pod.meta.created(),
    }
}

fn status(set: &DaemonSetView) -> Status {
    let from = &set.status;
    Status {
        observed_generation: from.observed_generation,
        desired: from.desired_number_scheduled,
        current: from.current_number_scheduled,
        misscheduled: from.number_misscheduled,
        ready: from.number_ready,
        updated: from.updated_number_scheduled,
        available: from.number_available,
        unavailable: from.number_unavailable,
        collision_count: from.collision_count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_tolerate_troubled_nodes_without_limit() {
        let mut spec = json!({"tolerations": [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            {"key": "mine", "operator": "Exists"},
        ]});
        tolerate(&mut spec);
        let once = spec.clone();
        tolerate(&mut spec);
        assert_eq!(spec, once);
        let all = spec["tolerations"].as_array().unwrap();
        assert_eq!(all.len(), 7);
        assert!(all.iter().all(|it| it.get("tolerationSeconds").is_none()));
    }
}
