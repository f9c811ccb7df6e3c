//! Counts out the instances of revisions. What is asked of them comes from the gateway's counters, which wake this at once
//! when there is more than is there to take it; a revision at rest costs nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use eyot_meter::Scale;
use eyot_serving::{
    Class, Scaling,
    object::revision,
    scale::{Decision, Present, Reading, Scaler},
};
use parking_lot::Mutex;
use serde_json::json;

use super::{Object, object::is_made_by};
use crate::{
    api::{ApiError, DEPLOYMENTS, Target},
    context::Context,
    queue::Outcome,
    view::{Key, workload::DeploymentView},
};

/// What autoscalers remember, by revision.
#[derive(Default)]
pub(super) struct Scalers(Mutex<HashMap<Box<str>, Scaler>>);

impl Scalers {
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    fn decide(&self, uid: &str, decide: impl FnOnce(&mut Scaler) -> Decision) -> Decision {
        decide(self.0.lock().entry(uid.into()).or_default())
    }
}

/// One pass over one Revision: read the counters, decide, write the size.
pub(super) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let parts = &context.serving;
    let Some(it) = parts.revisions.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    let json = it.json();
    let Ok(scaling) = Scaling::parse(revision::annotations(&json)) else { return Ok(None) };
    let name = revision::deployment_name(&json);
    let found = context.stores.deployments.get(&Key::new(&key.namespace, &name));
    let Some(deployment) = found.filter(|found| is_made_by(&found.meta, &it.meta)) else { return Ok(None) };
    if scaling.class == Class::Hpa {
        // Its size follows from other metrics: requests need not tell.
        parts.loads.of(&key.to_string()).set_alarm(u32::MAX);
        return Ok(None);
    }
    let load = parts.loads.of(&key.to_string());
    let present = Present {
        asked: deployment.spec.replicas.unwrap_or(1),
        ready: deployment.status.ready_replicas,
        is_reachable: parts.index.is_led_to(&key),
        is_initialized: revision::is_initialized(&json),
    };
    let target = scaling.target(revision::concurrency(&json));
    let counted = load.read();
    let reading = Reading {
        at: counted.at_millis,
        in_flight: counted.in_flight,
        used: counted.used_millis,
        requests: counted.requests,
    };
    let decision = parts.scalers.decide(&it.meta.uid, |scaler| scaler.decide(&scaling, target, present, reading));
    parts.meters.scales.note(
        &key.to_string(),
        Scale {
            desired: decision.desired,
            asked: present.asked,
            ready: present.ready,
            panics: decision.panics,
            target,
            in_flight: reading.in_flight,
        },
    );
    // Set before the size is written: what comes from here on raises the alarm, and what came already is looked at again.
    let missed = load.set_alarm(decision.alarm_at);
    if decision.desired != present.asked {
        resize(&context, &it, &deployment, &decision).await?;
    }
    if missed {
        parts.queues.scales.add(key);
        return Ok(None);
    }
    Ok(decision.again.map(|it| Duration::from_millis(it.unsigned_abs())))
}

async fn resize(
    context: &Context,
    of: &Object,
    deployment: &DeploymentView,
    decision: &Decision,
) -> Result<(), ApiError> {
    let before = deployment.spec.replicas.unwrap_or(1);
    tracing::debug!(revision = %of.meta.key(), before, desired = decision.desired, why = decision.why, "scaling");
    let target = Target::object(&DEPLOYMENTS, &of.meta.namespace, &deployment.meta.name);
    match context.api.merge::<DeploymentView>(target, &json!({"spec": {"replicas": decision.desired}})).await {
        Ok(written) => context.stores.deployments.absorb(written),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
