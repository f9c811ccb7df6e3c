//! LimitRanges: what a namespace gives pods that do not say what they need, and what it takes at most.

use eyot_model::{limits, status::ApiError};
use eyot_store::{Page, Scope};
use serde_json::Value;

use super::{Admitted, Attempt, Operation};
use crate::{object, server::Shared};

const RESOURCE: &str = "/limitranges";

/// Gives the containers of a new pod the amounts they lack.
pub(super) fn complete(
    server: &Shared,
    attempt: &Attempt<'_>,
    pod: &mut Value,
    _: &mut Admitted,
) -> Result<(), ApiError> {
    if attempt.creates("", "Pod") {
        ranges(server, attempt.namespace)?.iter().for_each(|range| limits::complete(range, pod));
    }
    Ok(())
}

/// Refuses pods and claims outside the limits.
pub(super) fn judge(server: &Shared, attempt: &Attempt<'_>, object: &Value, _: &mut Admitted) -> Result<(), ApiError> {
    type Check = fn(&Value, &Value) -> Vec<String>;
    let written = matches!(attempt.operation, Operation::Create | Operation::Update);
    let check: Check = match (attempt.kind.kind.as_str(), attempt.subresource) {
        ("Pod", "") if attempt.creates("", "Pod") => limits::check_pod,
        ("Pod", "resize") if attempt.kind.group.is_empty() => limits::check_pod,
        ("PersistentVolumeClaim", "") if written && attempt.kind.group.is_empty() => limits::check_claim,
        _ => return Ok(()),
    };
    for range in ranges(server, attempt.namespace)? {
        let why = match check(&range, object).as_slice() {
            [] => continue,
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        return Err(ApiError::forbidden(attempt.kind, attempt.name, &why));
    }
    Ok(())
}

fn ranges(server: &Shared, namespace: &str) -> Result<Vec<Value>, ApiError> {
    let list = server.store.list(&Scope::namespaced(RESOURCE, namespace), &Page::default());
    list.map_err(ApiError::internal)?.entries.iter().map(|it| object::parse(it)).collect()
}
