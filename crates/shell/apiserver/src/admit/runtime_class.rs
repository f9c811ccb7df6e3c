//! Runtime classes: what a pod's runtime costs, and where it runs.

use eyot_model::{meta, resources, status::ApiError};
use eyot_store::Key;
use serde_json::Value;

use super::{Admitted, Attempt};
use crate::{object, server::Shared};

/// A class that need not be there: nodes have a handler of that name. It is not made for anybody, since manifests bring one
/// of their own, with the handler of the cluster they were written for, and a handler cannot be changed.
const IMPLIED: &str = "wasmedge";

/// Gives a new pod the overhead and the place of its runtime class.
pub(super) fn complete(
    server: &Shared,
    attempt: &Attempt<'_>,
    pod: &mut Value,
    _: &mut Admitted,
) -> Result<(), ApiError> {
    if !attempt.creates("", "Pod") {
        return Ok(());
    }
    let spec = meta::entry(pod, "spec");
    let refused = |why: String| Err(ApiError::forbidden(attempt.kind, attempt.name, &why));
    let Some(name) = spec.get("runtimeClassName").and_then(Value::as_str).filter(|it| !it.is_empty()) else {
        return match spec.get("overhead").and_then(Value::as_object).is_some_and(|it| !it.is_empty()) {
            true => {
                refused("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".into())
            }
            false => Ok(()),
        };
    };
    let class = match server.store.get(&Key::new("node.k8s.io/runtimeclasses", "", name)) {
        Some(entry) => object::parse(&entry)?,
        None if name == IMPLIED => Value::Null,
        None => return refused(format!("pod rejected: RuntimeClass {name:?} not found")),
    };
    let (own, given) = (spec.get("overhead"), class.pointer("/overhead/podFixed"));
    let own = resources::amounts(own);
    match given.filter(|it| !it.is_null()) {
        None if !own.is_empty() => {
            return refused(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".into(),
            );
        }
        None => {}
        Some(given) if !own.is_empty() && own != resources::amounts(Some(given)) => {
            return refused("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".into());
        }
        Some(given) => drop(spec.insert("overhead".into(), given.clone())),
    }
    let scheduling = &class["scheduling"];
    for (key, value) in meta::strings(scheduling.get("nodeSelector")) {
        let selector = meta::as_map(spec.entry("nodeSelector").or_insert(Value::Null));
        match selector.get(key).and_then(Value::as_str).filter(|it| *it != value) {
            Some(other) => {
                return refused(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {other}"
                ));
            }
            None => drop(selector.insert(key.to_owned(), value.into())),
        }
    }
    for toleration in meta::list(scheduling.get("tolerations")) {
        let own = spec.entry("tolerations").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(own) = own.as_array_mut().filter(|it| !it.contains(toleration)) {
            own.push(toleration.clone());
        }
    }
    Ok(())
}
