//! Who owns which fields of what a request writes. Entry points: [`created`], [`updated`], [`is_unchanged`].
//!
//! The owner's name is the `fieldManager` of the request, or the first word of its `User-Agent`. Parts of this process
//! start no tracking: the pods of a Deployment would carry more about their owners than about themselves. What others
//! track, they join.

use eyot_model::{
    apply::{self, Writer},
    meta,
};
use http::header;
use serde_json::Value;

use crate::{call::Call, request::query::MANAGER_MAX, strategy};

/// Notes in an object about to be written who owns what, given what it replaces.
pub(crate) type Note = fn(&mut Call, &mut Value, &Value);

/// Notes the owner of a new object.
pub(crate) fn created(call: &mut Call, object: &mut Value) {
    strategy::unfold(&call.kind, object);
    if call.identity.as_component().is_some() {
        meta::metadata_mut(object).remove("managedFields");
        return;
    }
    note(call, object, None);
}

/// Notes who changed what.
pub(crate) fn updated(call: &mut Call, new: &mut Value, old: &Value) {
    strategy::unfold(&call.kind, new);
    note(call, new, Some(old));
}

/// What was applied already says who owns what.
pub(crate) fn applied(_: &mut Call, _: &mut Value, _: &Value) {}

fn note(call: &mut Call, new: &mut Value, old: Option<&Value>) {
    let manager = manager(call);
    let writer = Writer { manager: &manager, subresource: &call.subresource, now: jiff::Timestamp::now() };
    let noted = apply::track(&call.server.kinds(), &call.kind, &writer, old, new);
    if let Err(error) = noted {
        call.warnings.push(format!("{error}; the list was left as it was"));
    }
}

/// The name of the request's owner; may be empty.
pub(crate) fn manager(call: &Call) -> String {
    if !call.query.field_manager.is_empty() {
        return call.query.field_manager.clone();
    }
    let agent = call.headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let mut name: String = agent.split('/').next().unwrap_or_default().chars().filter(|it| !it.is_control()).collect();
    if name.is_empty() {
        return call.identity.as_component().unwrap_or_default().to_owned();
    }
    // Headers that read as text are ASCII, so that this cuts between characters.
    name.truncate(MANAGER_MAX);
    name
}

/// Whether a write would change nothing but the times at which owners wrote.
pub(crate) fn is_unchanged(new: &mut Value, old: &Value) -> bool {
    if new == old {
        return true;
    }
    let held = old.pointer("/metadata/managedFields");
    let noted = meta::metadata_mut(new).get("managedFields").cloned();
    let (Some(held), Some(noted)) = (held, noted) else { return false };
    if held == &noted || !apply::same(Some(held), Some(&noted)) {
        return false;
    }
    meta::metadata_mut(new).insert("managedFields".into(), held.clone());
    let unchanged = new == old;
    if !unchanged {
        meta::metadata_mut(new).insert("managedFields".into(), noted);
    }
    unchanged
}
