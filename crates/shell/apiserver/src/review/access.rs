//! Access reviews: what somebody may do, without doing it.

use std::collections::BTreeMap;

use eyot_model::{
    meta,
    rbac::{Ask, Resource},
    status::{ApiError, Cause},
};
use serde_json::{Map, Value, json};

use crate::{Identity, access, call::Call};

/// The status of a SelfSubjectAccessReview.
pub(super) fn of_oneself(call: &Call, spec: &Value) -> Result<Value, ApiError> {
    verdict(call, &call.identity, spec)
}

/// The status of a SubjectAccessReview.
pub(super) fn of_somebody(call: &Call, spec: &Value) -> Result<Value, ApiError> {
    let user = text(spec, "user").to_owned();
    let groups: Vec<String> = strings(spec.get("groups"));
    if user.is_empty() && groups.is_empty() {
        let why = "at least one of user or group must be specified";
        return Err(invalid(call, Cause::invalid("spec.user", &user.into(), why)));
    }
    let extra = spec.get("extra").and_then(Value::as_object).into_iter().flatten();
    let extra: BTreeMap<_, _> = extra.map(|(key, values)| (key.clone(), strings(Some(values)))).collect();
    verdict(call, &Identity { user, uid: text(spec, "uid").to_owned(), groups, extra }, spec)
}

/// The status of a LocalSubjectAccessReview: about objects of its own namespace alone.
pub(super) fn of_somebody_here(call: &Call, spec: &Value) -> Result<Value, ApiError> {
    let here = call.namespace.as_deref().unwrap_or_default();
    if !spec["nonResourceAttributes"].is_null() {
        let why = "disallowed on this kind of request";
        return Err(invalid(call, Cause::invalid("spec.nonResourceAttributes", &spec["nonResourceAttributes"], why)));
    }
    if text(&spec["resourceAttributes"], "namespace") != here {
        let message = format!("spec.resourceAttributes.namespace must match namespace: {here}");
        return Err(ApiError::bad_request(message));
    }
    of_somebody(call, spec)
}

/// The status of a SelfSubjectRulesReview.
pub(super) fn rules(call: &Call, spec: &Value) -> Result<Value, ApiError> {
    let namespace = text(spec, "namespace");
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    if call.identity.is_master() {
        return Ok(json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }));
    }
    let server = call.shared();
    let (held, unresolved) = server.authority.read(&server.store, |index| {
        let user = call.identity.as_user();
        let rules = index.held(&user, namespace).filter_map(|it| it.rules).flatten();
        let held: Vec<Value> = rules.map(|it| it.to_value()).collect();
        (held, access::dangling(index.held(&user, namespace)))
    });
    let (paths, resources): (Vec<Value>, Vec<Value>) =
        held.into_iter().partition(|it| it.get("nonResourceURLs").is_some());
    let unresolved = match eyot_model::nodes::of(&call.identity.as_user()) {
        // What a node may see is in no rules.
        Some(_) => "node authorizer does not support user rule resolution".to_owned(),
        None => unresolved,
    };
    let mut status =
        json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": !unresolved.is_empty()});
    if !unresolved.is_empty() {
        status["evaluationError"] = unresolved.into();
    }
    Ok(status)
}

fn verdict(call: &Call, identity: &Identity, spec: &Value) -> Result<Value, ApiError> {
    let (objects, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let ask = match (objects.is_null(), path.is_null()) {
        (true, false) => Ask::Path { verb: text(path, "verb"), path: text(path, "path") },
        (false, true) => Ask::Resource(Resource {
            verb: text(objects, "verb"),
            group: text(objects, "group"),
            resource: text(objects, "resource"),
            subresource: text(objects, "subresource"),
            namespace: text(objects, "namespace"),
            name: text(objects, "name"),
            node: "",
        }),
        (true, true) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(invalid(call, Cause::invalid("spec.resourceAttributes", objects, why)));
        }
        (false, false) => {
            let why = "cannot be specified in combination with resourceAttributes";
            return Err(invalid(call, Cause::invalid("spec.nonResourceAttributes", path, why)));
        }
    };
    let decided = access::decide(call.shared(), identity, &ask);
    let mut status = Map::from_iter([("allowed".to_owned(), decided.allowed.into())]);
    if !decided.reason.is_empty() {
        status.insert("reason".into(), decided.reason.into());
    }
    Ok(status.into())
}

fn invalid(call: &Call, cause: Cause) -> ApiError {
    ApiError::invalid(&call.kind, "", vec![cause])
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    meta::list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
