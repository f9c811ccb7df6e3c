//! Keeps the numbered pods of StatefulSets.

mod claims;
mod pod;

use std::{sync::Arc, time::Duration};

use eyot_plan::statefulset::{self as plan, Phase, Plan, Revisions, Spec, Status, Step, Strategy};
use serde_json::json;

use crate::{
    api::{ApiError, Resource, STATEFUL_SETS},
    context::{Context, Stores},
    events::Severity,
    expect::Snapshot,
    history::{HASH, Settled},
    pods::{Batch, Blueprint},
    queue::Outcome,
    store::Store,
    versioned::{Asks, Versioned, Workload},
    view::{
        Key, Meta,
        apps::{RevisionView, StatefulSetView},
        count, now,
        pod::{self as view, PodView},
    },
};

impl Workload for StatefulSetView {
    const CONTROLLER: &'static str = "statefulset-controller";
    const HASH_LABEL: &'static str = "controller.kubernetes.io/hash";

    fn resource() -> &'static Resource {
        &STATEFUL_SETS
    }

    fn store(stores: &Stores) -> &Arc<Store<Self>> {
        &stores.stateful_sets
    }

    fn asks(&self) -> Asks<'_> {
        Asks { selector: &self.spec.selector, template: &self.spec.template, collisions: self.status.collision_count }
    }

    fn member(set: &Meta, pod: &Meta) -> bool {
        ordinal(set, pod).is_some()
    }
}

/// One pass over one StatefulSet: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(set) = context.stores.stateful_sets.get(&key) else { return Ok(None) };
    Pass { base: Versioned::of(&context, &set), set: &set }.run().await
}

struct Pass<'a> {
    base: Versioned<'a, StatefulSetView>,
    set: &'a StatefulSetView,
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
        let (update, current) = (&settled.update, self.current(&settled));
        let creating = self.base.creating(&pods, &wishes);
        let rows: Vec<plan::Pod> = pods.iter().map(|it| row(it, &self.set.meta, &wishes)).collect();
        let revisions = Revisions { current: &current.meta.name, update: &update.meta.name };
        let old = status(self.set);
        let mut plan = plan::plan(&self.spec(), revisions, &old, &rows, &creating, now());
        plan.status.collision_count = Some(settled.collisions.unwrap_or(0));

        let done = self.execute(&plan, &pods, &current, update).await;
        self.write_status(&old, &plan.status).await?;
        done?;
        let live = |name: &str| {
            [&current.meta.name, &update.meta.name].iter().any(|it| &***it == name)
                || rows.iter().any(|it| it.revision == name)
        };
        history.trim(&settled.all, self.set.spec.revision_history_limit, live).await?;
        Ok(plan.wait.map(|it| Duration::from_secs(it.unsigned_abs())))
    }

    /// The revision before the update under way; the present one when there is none.
    fn current(&self, settled: &Settled) -> Arc<RevisionView> {
        let name = &self.set.status.current_revision;
        settled.all.iter().find(|it| *it.meta.name == **name).unwrap_or(&settled.update).clone()
    }

    fn spec(&self) -> Spec {
        let from = &self.set.spec;
        let rolling = &from.update_strategy.rolling_update;
        Spec {
            replicas: from.replicas.unwrap_or(1),
            start: from.ordinals.start,
            parallel: from.pod_management_policy == "Parallel",
            strategy: match from.update_strategy.kind.as_str() {
                "OnDelete" => Strategy::OnDelete,
                _ => Strategy::RollingUpdate { partition: rolling.partition, max_unavailable: rolling.max_unavailable },
            },
            min_ready_seconds: from.min_ready_seconds,
            generation: self.set.meta.generation,
            deleting: self.set.meta.deleting(),
        }
    }

    async fn execute(
        &self,
        plan: &Plan,
        pods: &[Arc<PodView>],
        current: &RevisionView,
        update: &RevisionView,
    ) -> Result<(), ApiError> {
        let mut blueprints: Vec<Arc<Blueprint>> = Vec::new();
        let mut leaving: Vec<Arc<PodView>> = Vec::new();
        for step in &plan.steps {
            match *step {
                Step::Create { ordinal, updated } => {
                    claims::ensure(self.base.context, self.set, &self.base.owner.owner_reference(), ordinal).await?;
                    let revision = if updated { update } else { current };
                    blueprints.push(Arc::new(pod::blueprint(&self.base.owner, self.set, revision, ordinal)));
                }
                Step::Replace(at) => {
                    let pod = &pods[at];
                    if !pod.unfinished() {
                        let message =
                            format!("StatefulSet {} is recreating failed Pod {}", self.set.meta.key(), pod.meta.name);
                        self.base.record(Severity::Warning, "RecreatingFailedPod", message);
                    }
                    leaving.push(pod.clone());
                }
                Step::Remove(at) => {
                    claims::hand_over(self.base.context, self.set, &pods[at].meta).await?;
                    leaving.push(pods[at].clone());
                }
            }
        }
        let removed = self.base.owner.delete(&leaving, None).await;
        self.tell(&removed, "delete", ["SuccessfulDelete", "FailedDelete"]);
        let created = self.base.owner.create(&blueprints, 0).await;
        self.tell(&created, "create", ["SuccessfulCreate", "FailedCreate"]);
        match removed.failed.or(created.failed) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn tell(&self, batch: &Batch, verb: &str, reasons: [&'static str; 2]) {
        let set = &self.set.meta.name;
        let well = |pod: &str| format!("{verb} Pod {pod} in StatefulSet {set} successful");
        self.base.tell(batch, reasons, well, |error| format!("{verb} Pod in StatefulSet {set} failed error: {error}"));
    }

    async fn write_status(&self, old: &Status, new: &Status) -> Result<(), ApiError> {
        if old == new {
            return Ok(());
        }
        let status = json!({
            "observedGeneration": new.observed_generation,
            "replicas": new.replicas,
            "readyReplicas": count(new.ready),
            "availableReplicas": new.available,
            "currentReplicas": count(new.current),
            "updatedReplicas": count(new.updated),
            "currentRevision": new.current_revision,
            "updateRevision": new.update_revision,
            "collisionCount": new.collision_count,
        });
        self.base.write_status(status).await
    }
}

/// The number at the end of a pod's name, if the pod is named like one of this set.
pub(crate) fn ordinal(set: &Meta, pod: &Meta) -> Option<i32> {
    let digits = pod.name.strip_prefix(&*set.name)?.strip_prefix('-')?;
    let plain = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    digits.parse().ok().filter(|_| plain && (digits == "0" || !digits.starts_with('0')))
}

fn row(pod: &PodView, set: &Meta, wishes: &Snapshot) -> plan::Pod {
    plan::Pod {
        // Every claimed pod has a number.
        ordinal: ordinal(set, &pod.meta).unwrap_or(-1),
        revision: pod.meta.labels.get(HASH).unwrap_or_default().to_owned(),
        phase: match pod.phase {
            view::Phase::Running => Phase::Running,
            view::Phase::Succeeded | view::Phase::Failed => Phase::Ended,
            _ => Phase::Pending,
        },
        ready_since: pod.ready_since,
        deleting: pod.meta.deleting() || wishes.deletes.contains(&*pod.meta.uid),
    }
}

fn status(set: &StatefulSetView) -> Status {
    let from = &set.status;
    Status {
        observed_generation: from.observed_generation,
        replicas: from.replicas,
        ready: from.ready_replicas,
        available: from.available_replicas,
        current: from.current_replicas,
        updated: from.updated_replicas,
        current_revision: from.current_revision.clone(),
        update_revision: from.update_revision.clone(),
        collision_count: from.collision_count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plainly_numbered_names_are_members() {
        let meta = |name: &str| Meta { name: name.into(), ..Meta::default() };
        for (name, want) in [
            ("web-0", Some(0)),
            ("web-12", Some(12)),
            ("web-", None),
            ("web-01", None),
            ("web-x", None),
            ("web-+1", None),
            ("webs-1", None),
            ("web-1-1", None),
            ("web-99999999999", None),
        ] {
            assert_eq!(ordinal(&meta("web"), &meta(name)), want, "{name}");
        }
    }
}
