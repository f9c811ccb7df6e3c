//! Revisions: a Deployment and a Service each, and what their instances have to tell.

use std::sync::Arc;

use eyot_serving::{
    Class, Scaling,
    object::{
        deployment,
        revision::{self, Instances},
    },
};
use serde::Deserialize;
use serde_json::Value;

use super::{Object, object::is_made_by, write};
use crate::{
    api::{AUTOSCALERS, ApiError, DEPLOYMENTS, KNATIVE_REVISIONS, PODS, Resource, SERVICES, Target, escape},
    context::Context,
    queue::Outcome,
    view::{Key, now, nullable, rfc3339, workload::DeploymentView},
};

/// One pass over one Revision: read, decide, write.
pub(super) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let parts = &context.serving;
    let Some(it) = parts.revisions.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    // What is stored was validated when it was written.
    let json = it.json();
    let scaling = Scaling::parse(revision::annotations(&json)).unwrap_or_default();
    let found = context.stores.deployments.get(&Key::new(&key.namespace, &revision::deployment_name(&json)));
    let initial = if scaling.max > 0 { scaling.initial.min(scaling.max) } else { scaling.initial };
    // An autoscaler of that class leaves alone what is at zero.
    let initial = if scaling.class == Class::Hpa { initial.max(1) } else { initial };
    if found.is_none() {
        make(&context, &DEPLOYMENTS, &it, deployment::deployment(&json, initial)).await?;
    }
    if context.stores.services.get(&key).is_none() {
        make(&context, &SERVICES, &it, deployment::service(&json)).await?;
    }
    if scaling.class == Class::Hpa && context.stores.autoscalers.get(&key).is_none() {
        make(&context, &AUTOSCALERS, &it, deployment::autoscaler(&json, &scaling)).await?;
    }
    let ours = found.as_deref().filter(|found| is_made_by(&found.meta, &it.meta));
    let instances = instances(&context, &it, ours, initial).await?;
    let status = revision::status(&json, &instances, &rfc3339(now()));
    write::status(&context.api, &KNATIVE_REVISIONS, &it, status, &parts.revisions).await
}

async fn make(context: &Context, resource: &Resource, of: &Object, wanted: Value) -> Result<(), ApiError> {
    let target = Target::collection(resource, &of.meta.namespace);
    match context.api.create(target, wanted.to_string().into_bytes()).await {
        Ok(_) => Ok(()),
        // Ours that the cache does not show yet, or a stranger's: then the revision will not get ready.
        Err(error) if error.exists() => Ok(()),
        Err(error) => {
            let message = format!("{}: {}", resource.kind, error.message());
            let recorder = context.recorder.of("revision-controller");
            let severity = crate::events::Severity::Warning;
            recorder.record(&KNATIVE_REVISIONS, &of.meta, severity, "InternalError", message);
            Err(error)
        }
    }
}

async fn instances(
    context: &Context,
    of: &Object,
    deployment: Option<&DeploymentView>,
    initial: i32,
) -> Result<Instances, ApiError> {
    let Some(deployment) = deployment else {
        return Ok(Instances { desired: initial, initial: initial.max(1), ..Instances::default() });
    };
    let conditions = &deployment.status.conditions;
    let failed = |kind: &str, status: &str| conditions.iter().find(|it| it.kind == kind && it.status == status);
    let mut instances = Instances {
        desired: deployment.spec.replicas.unwrap_or(1),
        ready: deployment.status.ready_replicas,
        initial,
        trouble: failed("ReplicaFailure", "True").map(|it| (it.reason.clone(), it.message.clone())),
        overdue: failed("Progressing", "False").map(|it| it.message.clone()),
        images: Vec::new(),
    };
    let json = of.json();
    let known = json["status"]["containerStatuses"].is_array();
    if revision::is_initialized(&json) && known || instances.desired == 0 {
        return Ok(instances);
    }
    let pods = pods(context, of).await?;
    instances.images = pods.iter().find_map(Pod::images).unwrap_or_default();
    if let Some(trouble) = pods.iter().find_map(Pod::trouble) {
        instances.trouble = Some(trouble);
    }
    Ok(instances)
}

async fn pods(context: &Context, of: &Object) -> Result<Vec<Pod>, ApiError> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default, deserialize_with = "nullable")]
        items: Vec<Pod>,
    }
    let selector = escape(&format!("{}={}", eyot_serving::label::REVISION, of.meta.name));
    let target = Target::collection(&PODS, &of.meta.namespace);
    Ok(context.api.get::<List>(target, &format!("limit=5&labelSelector={selector}")).await?.items)
}

/// What pods tell of their containers.
#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    status: Value,
}

impl Pod {
    fn containers(&self) -> impl Iterator<Item = &Value> {
        self.status["containerStatuses"].as_array().into_iter().flatten()
    }

    /// Digests of its images, once all are known.
    fn images(&self) -> Option<Vec<(String, String)>> {
        let all: Option<Vec<_>> = self
            .containers()
            .map(|it| {
                let digest = it["imageID"].as_str().filter(|it| !it.is_empty())?;
                Some((it["name"].as_str()?.to_owned(), digest.to_owned()))
            })
            .collect();
        all.filter(|it| !it.is_empty())
    }

    /// Why it does not run.
    fn trouble(&self) -> Option<(String, String)> {
        self.containers().find_map(|it| {
            let text = |state: &Value, field: &str| state[field].as_str().unwrap_or_default().to_owned();
            let waiting = &it["state"]["waiting"];
            let reason = text(waiting, "reason");
            if !matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff") {
                return Some((reason, text(waiting, "message")));
            }
            [&it["state"]["terminated"], &it["lastState"]["terminated"]].into_iter().find_map(|ended| {
                let code = ended["exitCode"].as_i64()?;
                let message = text(ended, "message");
                let message = if message.is_empty() { format!("container exited with code {code}") } else { message };
                Some((format!("ExitCode{code}"), message))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_tell_why_they_do_not_run() {
        let pod = |state: Value| Pod {
            status: json!({"containerStatuses": [{"name": "a", "imageID": "x@1", "state": state}]}),
        };
        let trouble = pod(json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}})).trouble();
        assert_eq!(trouble, Some(("ErrImagePull".into(), "no such image".into())));
        let trouble = pod(json!({"terminated": {"exitCode": 3}})).trouble();
        assert_eq!(trouble, Some(("ExitCode3".into(), "container exited with code 3".into())));
        let running = pod(json!({"running": {}}));
        assert_eq!(running.trouble(), None);
        assert_eq!(running.images(), Some(vec![("a".into(), "x@1".into())]));
    }
}
