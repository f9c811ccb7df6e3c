//! Binding of pods to nodes.

use bytes::Bytes;
use eyot_model::{
    meta,
    status::{ApiError, Cause},
};
use http::Response;
use serde_json::{Value, json};

use crate::{
    Body,
    admit::{self, Attempt, Operation},
    call::Call,
    respond,
    verbs::update::{self, Aspect},
};

/// Answers `POST` of `pods/NAME/binding`.
pub(super) async fn bind(call: &mut Call, name: &str, body: Bytes) -> Result<Response<Body>, ApiError> {
    let binding = call.decode(&body)?.value;
    if meta::name(&binding).is_some_and(|it| it != name) {
        return Err(ApiError::bad_request("the name of the Binding does not match the name on the URL"));
    }
    place(call, name, &binding).await
}

/// Answers `POST` of `bindings`, the older form of [`bind`].
pub(crate) async fn bind_posted(call: &mut Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    let binding = call.decode(&body)?.value;
    let name = meta::name(&binding).ok_or_else(|| ApiError::bad_request("the Binding names no pod"))?.to_owned();
    call.kind = eyot_model::kinds::builtin().by_plural("", "v1", "pods").ok_or_else(ApiError::no_such_path)?.clone();
    place(call, &name, &binding).await
}

async fn place(call: &mut Call, name: &str, binding: &Value) -> Result<Response<Body>, ApiError> {
    let binding = admit(call, name, "binding", binding.clone()).await?;
    let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if node.is_empty() {
        let cause = Cause::required("target.name", "");
        return Err(ApiError::invalid(&call.kind, name, vec![cause]));
    }
    let now = meta::format_time(jiff::Timestamp::now());
    let wanted = meta::uid(&binding).map(str::to_owned);
    update::change(call, name, Aspect::Own, |call, old| {
        if let Some(wanted) = wanted.as_deref().filter(|it| Some(*it) != meta::uid(old)) {
            return Err(ApiError::conflict(&call.kind, name, &format!("the pod's uid is not {wanted}")));
        }
        if meta::deleted(old).is_some() {
            return Err(ApiError::conflict(
                &call.kind,
                name,
                &format!("pod {name} is being deleted, cannot be assigned to a host"),
            ));
        }
        if let Some(bound) = old.pointer("/spec/nodeName").and_then(Value::as_str).filter(|it| !it.is_empty()) {
            let why = format!("pod {name} is already assigned to node {bound:?}");
            return Err(ApiError::conflict(&call.kind, name, &why));
        }
        let mut new = old.clone();
        meta::entry(&mut new, "spec").insert("nodeName".into(), node.as_str().into());
        set_scheduled(&mut new, &now);
        Ok(new)
    })
    .await?;
    Ok(respond::json(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// Sets the condition `PodScheduled`.
fn set_scheduled(pod: &mut Value, now: &str) {
    let status = meta::entry(pod, "status");
    let mut conditions: Vec<Value> = meta::list(status.get("conditions")).to_vec();
    conditions.retain(|it| it["type"] != "PodScheduled");
    conditions.push(json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    }));
    status.insert("conditions".into(), conditions.into());
}

/// Has what was posted to a subresource admitted, and returns it completed.
pub(super) async fn admit(
    call: &mut Call,
    name: &str,
    subresource: &str,
    mut object: Value,
) -> Result<Value, ApiError> {
    let attempt = Attempt {
        operation: Operation::Create,
        kind: &call.kind,
        subresource,
        namespace: call.namespace.as_deref().unwrap_or_default(),
        name,
        identity: &call.identity,
        options: admit::Options::Create(&call.query),
        old: None,
    };
    let admitted = admit::admit(call.shared(), &attempt, &mut object).await?;
    call.warnings.extend(admitted.warnings);
    Ok(object)
}
