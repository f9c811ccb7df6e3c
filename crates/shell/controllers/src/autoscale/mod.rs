//! Scales what HorizontalPodAutoscalers point at.
//!
//! Each pass asks for the target's scale and the metrics, lets [`eyot_plan::autoscale`] decide, writes the scale where it
//! differs, and the status; the next one follows after [`PERIOD`], or sooner where `alarm` sees the load pass its target. What was recommended before is kept in memory only: after
//! a restart nothing shrinks before a whole window has passed.

pub(crate) mod alarm;
mod metrics;

use std::{collections::HashMap, sync::Arc, time::Duration};

use eyot_model::selector::LabelSelector;
use eyot_plan::{
    autoscale::{self as plan, History, Proposal, Spec, Unknown, Verdict},
    condition::{self, Condition},
    selector::Selector,
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{AUTOSCALERS, ApiError, Resource, Target},
    context::Context,
    events::Severity,
    queue::Outcome,
    selected::Kind,
    view::{
        Key,
        autoscale::{AutoscalerView, Reference, ScaleView},
        conditions, conditions_json, now, rfc3339,
    },
};

/// Between two looks at the metrics, as in Kubernetes.
const PERIOD: Duration = Duration::from_secs(15);

/// What autoscalers recommended and did before, by identity.
#[derive(Default)]
pub(crate) struct Histories(Mutex<HashMap<Box<str>, History>>);

impl Histories {
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

/// One pass over one HorizontalPodAutoscaler: read, decide, write.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(it) = context.stores.autoscalers.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    Pass { context: &context, it: &it }.run().await?;
    Ok(Some(PERIOD))
}

struct Pass<'a> {
    context: &'a Context,
    it: &'a AutoscalerView,
}

/// `APIResourceList`.
#[derive(Deserialize)]
struct Served {
    resources: Vec<ServedResource>,
}

#[derive(Deserialize)]
struct ServedResource {
    name: String,
    kind: String,
    namespaced: bool,
}

/// What a pass has to tell.
struct Told {
    current: i32,
    desired: i32,
    verdicts: Vec<Verdict>,
    metrics: Vec<Value>,
    scaled: bool,
}

impl Pass<'_> {
    async fn run(&self) -> Result<(), ApiError> {
        let told = match self.scale().await? {
            Ok((resource, scale)) => self.decide(&resource, scale).await?,
            Err(message) => {
                self.warn("FailedGetScale", message.clone());
                let message = format!("the HPA controller was unable to get the target's current scale: {message}");
                let verdict = Verdict { kind: "AbleToScale", holds: false, reason: "FailedGetScale", message };
                let old = &self.it.status;
                Told {
                    current: old.current_replicas,
                    desired: old.desired_replicas,
                    verdicts: vec![verdict],
                    metrics: Vec::new(),
                    scaled: false,
                }
            }
        };
        self.write_status(told).await
    }

    /// The target's scale, or why there is none.
    async fn scale(&self) -> Result<Result<(Resource, ScaleView), String>, ApiError> {
        let target = &self.it.spec.scale_target_ref;
        let Some(resource) = self.resource(target).await? else {
            return Ok(Err(format!("no matches for kind {:?} in {:?}", target.kind, target.api_version)));
        };
        let path = Target::object(&resource, &self.it.meta.namespace, &target.name).sub("scale");
        match self.context.api.get::<ScaleView>(path, "").await {
            Ok(scale) => Ok(Ok((resource, scale))),
            Err(error) if error.is_not_found() => Ok(Err(error.message())),
            Err(error) => Err(error),
        }
    }

    async fn resource(&self, target: &Reference) -> Result<Option<Resource>, ApiError> {
        let known = [&crate::api::DEPLOYMENTS, &crate::api::STATEFUL_SETS, &crate::api::REPLICA_SETS];
        let known = known.into_iter().chain([&crate::api::REPLICATION_CONTROLLERS]);
        if let Some(known) = known.into_iter().find(|it| it.kind == target.kind && it.api_version == target.api_version)
        {
            return Ok(Some(known.clone()));
        }
        // One list of what the version has: this is asked at every pass.
        let root = if target.api_version.contains('/') { "apis" } else { "api" };
        let path = format!("/{root}/{}", target.api_version);
        let served: Served = match self.context.api.get_path(&path, "").await {
            Err(error) if error.is_not_found() => return Ok(None),
            served => served?,
        };
        let found = served.resources.into_iter().find(|it| it.kind == target.kind && !it.name.contains('/'));
        Ok(found.map(|it| Resource {
            api_version: target.api_version.clone().into(),
            kind: it.kind.into(),
            plural: it.name.into(),
            namespaced: it.namespaced,
        }))
    }

    async fn decide(&self, resource: &Resource, scale: ScaleView) -> Result<Told, ApiError> {
        let (from, current) = (&self.it.spec, scale.spec.replicas);
        let selector = LabelSelector::parse(&scale.status.selector).ok().filter(|it| !it.is_empty());
        let selector = selector.map(|it| Selector { requirements: it.requirements().to_vec() });
        // Unless it went meanwhile: nobody would take it out again.
        let (key, stores) = (self.it.meta.key(), &self.context.stores);
        let stays = || stores.autoscalers.get(&key).and_then(|_| selector.clone());
        self.context.selected.changed(Kind::Autoscaler, &key, stays, &stores.pods);
        let mut found: Vec<Result<Proposal, Unknown>> = Vec::new();
        let mut shown = Vec::new();
        for metric in &from.metrics {
            let proposed = match &selector {
                Some(selector) => metrics::propose(self.context, self.it, metric, &scale, selector).await,
                None => Err(Unknown { reason: "InvalidSelector", message: "the target's selector is missing".into() }),
            };
            found.push(proposed.map(|(proposal, status)| {
                shown.push(status);
                proposal
            }));
        }
        let spec = Spec { min: from.min_replicas.unwrap_or(1), max: from.max_replicas, behavior: from.behavior() };
        let decision = {
            let mut histories = self.context.histories.0.lock();
            let history = histories.entry(self.it.meta.uid.clone()).or_default();
            plan::decide(&spec, current, &found, history, now())
        };
        found.iter().filter_map(|it| it.as_ref().err()).for_each(|it| self.warn(it.reason, it.message.clone()));
        if let Some(selector) = &selector {
            self.context.alarms.set(self.context, self.it, selector, decision.desired);
        }
        let mut verdicts = decision.verdicts;
        let scaled = decision.desired != current;
        if scaled {
            self.rescale(resource, decision.desired, &decision.why).await?;
            verdicts.retain(|it| it.kind != "AbleToScale");
            let message = format!("the HPA controller was able to update the target scale to {}", decision.desired);
            verdicts.push(Verdict { kind: "AbleToScale", holds: true, reason: "SucceededRescale", message });
        }
        Ok(Told { current: scale.status.replicas, desired: decision.desired, verdicts, metrics: shown, scaled })
    }

    async fn rescale(&self, resource: &Resource, replicas: i32, why: &str) -> Result<(), ApiError> {
        let name = &self.it.spec.scale_target_ref.name;
        let target = Target::object(resource, &self.it.meta.namespace, name).sub("scale");
        self.context.api.merge::<ScaleView>(target, &json!({"spec": {"replicas": replicas}})).await?;
        let message = format!("New size: {replicas}; reason: {why}");
        let recorder = self.context.recorder.of("horizontal-pod-autoscaler");
        recorder.record(&AUTOSCALERS, &self.it.meta, Severity::Normal, "SuccessfulRescale", message);
        Ok(())
    }

    fn warn(&self, reason: &'static str, message: String) {
        let recorder = self.context.recorder.of("horizontal-pod-autoscaler");
        recorder.record(&AUTOSCALERS, &self.it.meta, Severity::Warning, reason, message);
    }

    async fn write_status(&self, told: Told) -> Result<(), ApiError> {
        let old = &self.it.status;
        let mut all = conditions(&old.conditions);
        for verdict in told.verdicts {
            let status = if verdict.holds { "True" } else { "False" };
            let new = Condition::new(verdict.kind, status, verdict.reason, verdict.message, now());
            condition::set(&mut all, new);
        }
        let metrics: Value = if told.metrics.is_empty() { Value::Null } else { told.metrics.into() };
        let same = (old.observed_generation, old.current_replicas, old.desired_replicas)
            == (self.it.meta.generation, told.current, told.desired)
            && old.current_metrics == metrics
            && conditions(&old.conditions) == all;
        if same {
            return Ok(());
        }
        let mut status = json!({
            "observedGeneration": self.it.meta.generation, "currentReplicas": told.current,
            "desiredReplicas": told.desired, "currentMetrics": metrics, "conditions": conditions_json(&all, None),
        });
        if told.scaled {
            status["lastScaleTime"] = rfc3339(now()).into();
        }
        let target = Target::object(&AUTOSCALERS, &self.it.meta.namespace, &self.it.meta.name).sub("status");
        match self.context.api.merge::<AutoscalerView>(target, &json!({ "status": status })).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}
