//! `scale`: `autoscaling/v1 Scale` as a view of an object's replicas. Entry point: [`answer`].

use bytes::Bytes;
use eyot_model::{
    custom::{Scale, path},
    kinds::Kind,
    meta,
    patch::{self, PatchType},
    selector::LabelSelector,
    status::{ApiError, Cause},
};
use http::{Method, Response};
use serde_json::{Value, json};

use crate::{
    Body,
    call::Call,
    request::accept::{self, Patching},
    respond,
    verbs::{
        apply,
        update::{self, Aspect, read_patch},
    },
};

/// Answers `GET`, `PUT` and `PATCH` of `scale`.
pub(super) async fn answer(
    call: &mut Call,
    name: &str,
    method: &Method,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    let scaled = match *method {
        Method::GET => {
            let entry = call.get(name)?;
            call.prepare([&entry.value]).await?;
            call.parse(&entry)?
        }
        Method::PUT => {
            let sent = call.decode(&body)?.value;
            change(call, name, |_| Ok(sent.clone())).await?
        }
        _ => match accept::patching(&call.headers)? {
            Patching::Apply => {
                let changed = apply::scale(call, name, &body).await?;
                crate::present::parse(call, &changed.value)?
            }
            Patching::Patch(patch_type) => {
                let patch = read_patch(call, &body)?;
                // The kind Scale has no merge keys, so a strategic patch of it is a merge patch.
                let patch_type = if patch_type == PatchType::Strategic { PatchType::Merge } else { patch_type };
                let kind = call.kind.clone();
                let apply =
                    |old: &Value| patch::apply(&kind, patch_type, old, &patch).map_err(|it| it.status(&kind, name));
                change(call, name, apply).await?
            }
        },
    };
    Ok(respond::json(200, &view_as(&call.kind, &scaled)?))
}

async fn change(
    call: &mut Call,
    name: &str,
    mut make: impl FnMut(&Value) -> Result<Value, ApiError>,
) -> Result<Value, ApiError> {
    let changed = update::change(call, name, Aspect::Scale, |call, old| {
        let scale = make(&view_as(&call.kind, old)?)?;
        let mut new = old.clone();
        let replicas = replicas(call, name, &scale)?;
        set_replicas(&call.kind, &mut new, replicas.into());
        let metadata = meta::metadata_mut(&mut new);
        // The client's preconditions, if it sent any, are checked against the object.
        for field in ["resourceVersion", "uid"] {
            match scale.pointer(&format!("/metadata/{field}")).filter(|it| it.as_str().is_some_and(|it| !it.is_empty()))
            {
                Some(value) => metadata.insert(field.into(), value.clone()),
                None => metadata.remove(field),
            };
        }
        Ok(new)
    });
    let changed = changed.await?;
    crate::present::parse(call, &changed.value)
}

/// How many replicas a Scale asks for.
pub(crate) fn replicas(call: &Call, name: &str, scale: &Value) -> Result<i64, ApiError> {
    let wanted = scale.pointer("/spec/replicas").unwrap_or(&Value::Null);
    match wanted {
        Value::Null => Ok(0),
        wanted => wanted.as_i64().filter(|it| (0..=i64::from(i32::MAX)).contains(it)).ok_or_else(|| {
            let cause = Cause::invalid("spec.replicas", wanted, "must be an integer from 0 on");
            ApiError::invalid(&call.kind, name, vec![cause])
        }),
    }
}

/// Sets how many replicas an object wants.
pub(crate) fn set_replicas(kind: &Kind, object: &mut Value, replicas: Value) {
    match defined(kind) {
        Some(scale) => path::set(object, &fields(&scale.spec_replicas_path), replicas),
        None => drop(meta::entry(object, "spec").insert("replicas".into(), replicas)),
    }
}

/// Where a custom kind keeps what is scaled.
fn defined(kind: &Kind) -> Option<&Scale> {
    kind.custom.as_ref()?.version().scale.as_ref()
}

fn fields(path: &str) -> Vec<String> {
    path::simple(path).unwrap_or_default()
}

/// The Scale of an object of that kind.
pub(crate) fn view_as(kind: &Kind, object: &Value) -> Result<Value, ApiError> {
    let Some(scale) = defined(kind) else { return Ok(view(object)) };
    let count = |path: &str| path::get(object, &fields(path)).and_then(Value::as_i64);
    let replicas = count(&scale.spec_replicas_path).ok_or_else(|| {
        ApiError::internal(format!("the spec replicas field {:?} does not exist", scale.spec_replicas_path))
    })?;
    let mut view = view(&json!({"metadata": object["metadata"], "spec": {"replicas": replicas}}));
    view["status"] = json!({"replicas": count(&scale.status_replicas_path).unwrap_or(0)});
    let selector = scale.label_selector_path.as_deref().and_then(|it| path::get(object, &fields(it)));
    if let Some(selector) = selector.and_then(Value::as_str).filter(|it| !it.is_empty()) {
        view["status"]["selector"] = selector.into();
    }
    Ok(view)
}

/// The Scale of a built-in object.
fn view(object: &Value) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let selector = &object["spec"]["selector"];
    // A ReplicationController's selector is a plain map of labels.
    let parsed = match object["kind"].as_str() {
        Some("ReplicationController") => LabelSelector::from_labels(selector),
        _ => LabelSelector::from_value(selector),
    };
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": object["spec"].get("replicas").and_then(Value::as_i64).unwrap_or(0)},
        "status": {"replicas": object["status"].get("replicas").and_then(Value::as_i64).unwrap_or(0)},
    });
    if let Ok(selector) = parsed {
        scale["status"]["selector"] = selector.to_string().into();
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_replicas_and_selector() {
        let scale = view(&json!({
            "kind": "Deployment", "metadata": {"name": "d", "uid": "u", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "d"}}}, "status": {"replicas": 2},
        }));
        assert_eq!(
            scale,
            json!({
                "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "d", "uid": "u"},
                "spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "app=d"},
            })
        );
    }
}
