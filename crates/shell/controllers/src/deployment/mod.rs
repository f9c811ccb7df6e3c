//! Rolls out Deployments by creating, scaling and deleting their ReplicaSets.

mod sets;

use std::{sync::Arc, time::Duration};

use eyot_plan::{
    amount::Amount,
    rollout::{
        self, Plan, Spec, Step, Strategy,
        status::{NewSet, Status},
    },
    template,
};
use serde_json::{Value, json};

use crate::{
    api::{ApiError, DEPLOYMENTS, DeleteOptions, REPLICA_SETS, Target},
    claim::{self, Claim},
    context::Context,
    events::{Recorder, Severity},
    queue::Outcome,
    view::{
        Key, Meta, OwnerReference, conditions, conditions_json, count, now,
        workload::{DeploymentView, ReplicaSetView},
    },
};

/// Annotation with the revision, on Deployments and ReplicaSets.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";

/// One pass over one Deployment: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(deployment) = context.stores.deployments.get(&key) else { return Ok(None) };
    let pass =
        Pass { recorder: context.recorder.of("deployment-controller"), context: &context, deployment: &deployment };
    let sets = pass.sets().await?;
    pass.run(&sets).await
}

struct Pass<'a> {
    context: &'a Context,
    deployment: &'a DeploymentView,
    recorder: Recorder,
}

impl Pass<'_> {
    fn meta(&self) -> &Meta {
        &self.deployment.meta
    }

    fn reference(&self) -> OwnerReference {
        OwnerReference::controller(&DEPLOYMENTS, self.meta())
    }

    async fn sets(&self) -> Result<Vec<Arc<ReplicaSetView>>, ApiError> {
        let selector = self.deployment.spec.selector.compile();
        let claim = Claim {
            api: &self.context.api,
            store: &self.context.stores.replica_sets,
            resource: &REPLICA_SETS,
            owner: self.meta(),
            kind: &DEPLOYMENTS,
            selector: &selector,
            member: claim::anything,
        };
        claim.settle().await
    }

    async fn run(&self, sets: &[Arc<ReplicaSetView>]) -> Outcome {
        let spec = spec(self.deployment);
        let hash = template::hash(&self.deployment.spec.template.open(), self.deployment.status.collision_count);
        let rows = sets::rows(self.deployment, sets, &hash);
        let mut plan = rollout::plan(&spec, &rows, self.old_pods_run(sets, &rows));
        if self.is_untouched(&spec, &rows) {
            plan.steps.clear();
        }
        let current = rollout::current(&rows);

        let mut created = None;
        let mut collided = false;
        for step in &plan.steps {
            match *step {
                Step::Create { size } => match self.create(&spec, &hash, size, plan.revision).await? {
                    Some(name) => created = Some(name),
                    None => collided = true,
                },
                Step::Scale { index, size } if Some(index) != current => {
                    self.scale(&spec, &sets[index], size).await?;
                }
                Step::Scale { .. } => {}
                Step::Delete { index } => self.forget(&sets[index].meta).await?,
            }
        }
        if let Some(current) = current.filter(|_| !spec.deleting) {
            self.bring_up(&spec, &sets[current], current, &plan).await?;
        }
        if !spec.deleting && (current.is_some() || created.is_some()) {
            self.publish_revision(plan.revision).await?;
        }
        let new_set = match (&created, current) {
            (Some(name), _) => NewSet::Created(name),
            (None, Some(current)) => NewSet::Found(&sets[current].meta.name),
            (None, None) => NewSet::None,
        };
        let wait = self.write_status(&spec, &rows, new_set, !plan.only_sync, collided).await?;
        if plan.steps.is_empty() { Ok(wait) } else { Ok(Some(Duration::from_millis(5))) }
    }

    /// A revision that has had no instance yet and shall have none: its first one brings the ReplicaSet.
    fn is_untouched(&self, spec: &Spec, rows: &[rollout::ReplicaSet]) -> bool {
        rows.is_empty() && spec.replicas == 0 && self.meta().is_of_revision()
    }

    /// A pod of an old ReplicaSet has not finished; only recreation asks.
    fn old_pods_run(&self, sets: &[Arc<ReplicaSetView>], rows: &[rollout::ReplicaSet]) -> bool {
        let recreate = self.deployment.spec.strategy.kind == "Recreate";
        let old = sets.iter().zip(rows).filter(|(_, row)| !row.current);
        recreate
            && old.into_iter().any(|(set, row)| {
                row.replicas > 0
                    || self.context.stores.pods.controlled_by(&set.meta.uid).iter().any(|it| it.unfinished())
            })
    }

    /// Creates the ReplicaSet of the present template. `None` means that a stranger has its name.
    async fn create(&self, spec: &Spec, hash: &str, size: i32, revision: i64) -> Result<Option<String>, ApiError> {
        let name = format!("{}-{hash}", self.meta().name);
        let body = sets::manifest(self.deployment, spec, &name, hash, size, revision, self.reference());
        let target = Target::collection(&REPLICA_SETS, &self.meta().namespace);
        match self.context.api.create(target, body.to_string().into_bytes()).await {
            Ok(_) => {
                if size > 0 {
                    self.tell_scaled("up", &name, 0, size);
                }
                Ok(Some(name))
            }
            Err(error) if error.exists() => {
                let target = Target::object(&REPLICA_SETS, &self.meta().namespace, &name);
                let present: ReplicaSetView = self.context.api.get(target, "").await?;
                let ours = present.meta.controller().is_some_and(|it| it.uid == self.meta().uid);
                // Ours, but the cache did not know it yet: the watch will bring it.
                Ok(ours.then_some(name))
            }
            Err(error) => {
                let message = format!("Failed to create new replica set {name:?}: {}", error.message());
                let (meta, reason) = (self.meta(), "ReplicaSetCreateError");
                self.recorder.record(&DEPLOYMENTS, meta, Severity::Warning, reason, message);
                Err(error)
            }
        }
    }

    async fn scale(&self, spec: &Spec, set: &ReplicaSetView, size: i32) -> Result<(), ApiError> {
        self.patch(set, sets::sizes(spec), json!({"replicas": size}), size).await
    }

    /// Gives the ReplicaSet of the present template its size, revision and annotations, in one write.
    async fn bring_up(&self, spec: &Spec, set: &ReplicaSetView, index: usize, plan: &Plan) -> Result<(), ApiError> {
        let size = plan.steps.iter().find_map(|step| match *step {
            Step::Scale { index: at, size } if at == index => Some(size),
            _ => None,
        });
        let mut annotations = sets::inherited(self.deployment, set, plan.revision);
        if size.is_some() {
            annotations.extend(sets::sizes(spec));
        }
        annotations.retain(|key, value| set.meta.annotations.get(key) != value.as_str());
        let mut change = json!({});
        if let Some(size) = size {
            change["replicas"] = size.into();
        }
        if set.spec.min_ready_seconds != self.deployment.spec.min_ready_seconds {
            change["minReadySeconds"] = self.deployment.spec.min_ready_seconds.into();
        }
        let same = change.as_object().is_some_and(serde_json::Map::is_empty);
        if annotations.is_empty() && same {
            return Ok(());
        }
        self.patch(set, annotations, change, size.or(set.spec.replicas).unwrap_or(1)).await
    }

    async fn patch(
        &self,
        set: &ReplicaSetView,
        annotations: serde_json::Map<String, Value>,
        spec: Value,
        size: i32,
    ) -> Result<(), ApiError> {
        let patch = json!({
            "metadata": {"resourceVersion": set.meta.resource_version, "annotations": annotations},
            "spec": spec,
        });
        let target = Target::object(&REPLICA_SETS, &set.meta.namespace, &set.meta.name);
        let written: ReplicaSetView = self.context.api.merge(target, &patch).await?;
        self.context.stores.replica_sets.absorb(written);
        self.context.queues.replica_sets.add(set.meta.key());
        let before = set.spec.replicas.unwrap_or(1);
        match size.cmp(&before) {
            std::cmp::Ordering::Greater => self.tell_scaled("up", &set.meta.name, before, size),
            std::cmp::Ordering::Less => self.tell_scaled("down", &set.meta.name, before, size),
            std::cmp::Ordering::Equal => {}
        }
        Ok(())
    }

    fn tell_scaled(&self, way: &str, name: &str, from: i32, to: i32) {
        let message = format!("Scaled {way} replica set {name} from {from} to {to}");
        self.recorder.record(&DEPLOYMENTS, self.meta(), Severity::Normal, "ScalingReplicaSet", message);
    }

    async fn forget(&self, set: &Meta) -> Result<(), ApiError> {
        let target = Target::object(&REPLICA_SETS, &set.namespace, &set.name);
        let options =
            DeleteOptions { uid: Some(&set.uid), propagation: Some("Background"), ..DeleteOptions::default() };
        self.context.api.delete(target, options).await
    }

    async fn publish_revision(&self, revision: i64) -> Result<(), ApiError> {
        let revision = revision.to_string();
        if self.meta().annotations.get(REVISION) == Some(&revision) {
            return Ok(());
        }
        let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
        let target = Target::object(&DEPLOYMENTS, &self.meta().namespace, &self.meta().name);
        let written: DeploymentView = self.context.api.merge(target, &patch).await?;
        self.context.stores.deployments.absorb(written);
        Ok(())
    }

    async fn write_status(
        &self,
        spec: &Spec,
        rows: &[rollout::ReplicaSet],
        new_set: NewSet<'_>,
        judge: bool,
        collided: bool,
    ) -> Outcome {
        let old = status(self.deployment);
        let (mut new, wait) = rollout::status::status(spec, rows, new_set, &old, judge, now());
        if collided {
            new.collision_count = Some(new.collision_count.unwrap_or(0) + 1);
        }
        let wait = wait.map(|it| Duration::from_secs(it.unsigned_abs()));
        if new == old {
            return Ok(wait);
        }
        let patch = json!({"status": {
            "observedGeneration": new.observed_generation,
            "replicas": count(new.replicas),
            "updatedReplicas": count(new.updated),
            "readyReplicas": count(new.ready),
            "availableReplicas": count(new.available),
            "unavailableReplicas": count(new.unavailable),
            "collisionCount": new.collision_count,
            "conditions": conditions_json(&new.conditions, Some("lastUpdateTime")),
        }});
        let target = Target::object(&DEPLOYMENTS, &self.meta().namespace, &self.meta().name).sub("status");
        match self.context.api.merge::<DeploymentView>(target, &patch).await {
            Ok(written) => self.context.stores.deployments.absorb(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(wait)
    }
}

fn spec(deployment: &DeploymentView) -> Spec {
    let from = &deployment.spec;
    let quarter = Amount::Percent(25);
    let strategy = match from.strategy.kind.as_str() {
        "Recreate" => Strategy::Recreate,
        _ => Strategy::RollingUpdate {
            max_surge: from.strategy.rolling_update.max_surge.unwrap_or(quarter),
            max_unavailable: from.strategy.rolling_update.max_unavailable.unwrap_or(quarter),
        },
    };
    Spec {
        replicas: from.replicas.unwrap_or(1),
        strategy,
        paused: from.paused,
        history_limit: from.revision_history_limit.unwrap_or(10),
        // The largest value is how Kubernetes spells "never".
        progress_deadline_seconds: Some(from.progress_deadline_seconds.unwrap_or(600)).filter(|it| *it != i32::MAX),
        generation: deployment.meta.generation,
        deleting: deployment.meta.deleting(),
    }
}

fn status(deployment: &DeploymentView) -> Status {
    let from = &deployment.status;
    Status {
        observed_generation: from.observed_generation,
        replicas: from.replicas,
        updated: from.updated_replicas,
        ready: from.ready_replicas,
        available: from.available_replicas,
        unavailable: from.unavailable_replicas,
        collision_count: from.collision_count,
        conditions: conditions(&from.conditions),
    }
}
