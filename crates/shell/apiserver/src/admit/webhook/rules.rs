//! Which hooks want to be asked about an attempt. Entry point: [`wanted`].

use std::sync::Arc;

use eyot_model::{kinds::Kind, status::ApiError};
use eyot_policy::between;
use eyot_store::Key;
use serde_json::Value;

use super::{super::Attempt, conditions, hook::Hook};
use crate::server::Shared;

/// How a hook wants to see an attempt.
pub(super) struct Wanted {
    /// The version of the kind that its rules name; `None` when it is the request's own.
    pub(super) other: Option<Arc<Kind>>,
}

impl Wanted {
    /// The kind that the hook sees.
    pub(super) fn kind<'a>(&'a self, own: &'a Kind) -> &'a Kind {
        self.other.as_deref().unwrap_or(own)
    }

    /// An object of the request's version as the hook wants to see it.
    pub(super) fn convert(&self, own: &Kind, object: Value) -> Value {
        match &self.other {
            Some(other) => between(own, other, object),
            None => object,
        }
    }

    /// An object that the hook returned, in the request's version.
    pub(super) fn convert_back(&self, own: &Kind, object: Value) -> Value {
        match &self.other {
            Some(other) => between(other, own, object),
            None => object,
        }
    }
}

/// Whether a hook wants to be asked, and about which version of the object.
///
/// # Errors
/// When a condition cannot be evaluated and the hook does not ignore failures.
pub(super) fn wanted(
    server: &Shared,
    hook: &Hook,
    attempt: &Attempt<'_>,
    object: &Value,
) -> Result<Option<Wanted>, ApiError> {
    let Some(wanted) = matched(server, hook, attempt) else { return Ok(None) };
    if !takes_namespace(server, hook, attempt, object) || !takes_object(hook, attempt, object) {
        return Ok(None);
    }
    Ok(conditions::hold(server, hook, &wanted, attempt, object)?.then_some(wanted))
}

fn matched(server: &Shared, hook: &Hook, attempt: &Attempt<'_>) -> Option<Wanted> {
    if is_about(hook, attempt, attempt.kind) {
        return Some(Wanted { other: None });
    }
    if !hook.equivalent {
        return None;
    }
    let kinds = server.definitions.table();
    let mut others = kinds.iter().filter(|it| it.storage == attempt.kind.storage && !it.create_only());
    let other = others.find(|it| is_about(hook, attempt, it))?;
    Some(Wanted { other: Some(other.clone()) })
}

/// Whether a rule of the hook is about an attempt, as a version of its kind shows it.
fn is_about(hook: &Hook, attempt: &Attempt<'_>, kind: &Kind) -> bool {
    hook.rules.iter().any(|it| it.matches(attempt.operation, kind, attempt.subresource, attempt.name))
}

fn takes_namespace(server: &Shared, hook: &Hook, attempt: &Attempt<'_>, object: &Value) -> bool {
    if hook.namespaces.is_empty() {
        return true;
    }
    if attempt.kind.is("", "Namespace") {
        let namespace =
            if object.is_null() || !attempt.is_of_the_kind() { attempt.old.unwrap_or(object) } else { object };
        return hook.namespaces.matches_object(namespace);
    }
    if attempt.namespace.is_empty() {
        return true;
    }
    let entry = server.store.get(&Key::new("/namespaces", "", attempt.namespace));
    entry.is_some_and(|it| hook.namespaces.matches(|key| it.attributes().label(key)))
}

/// Either version of the object may have the labels, lest one gets out of sight by changing them.
fn takes_object(hook: &Hook, attempt: &Attempt<'_>, object: &Value) -> bool {
    let has = |it: &Value| it.get("metadata").is_some_and(|it| it.is_object()) && hook.objects.matches_object(it);
    hook.objects.is_empty() || has(object) || attempt.old.is_some_and(has)
}
