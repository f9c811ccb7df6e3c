//! Small steps that fill in what is absent.

use serde_json::{Map, Value};

use crate::meta;

pub(super) type Object = Map<String, Value>;

/// Sets a field that is absent or null.
pub(super) fn set(object: &mut Object, field: &str, value: impl Into<Value>) {
    if object.get(field).is_none_or(Value::is_null) {
        object.insert(field.into(), value.into());
    }
}

/// Sets a text that is absent, null or empty: where Kubernetes takes the empty string for absent.
pub(super) fn set_text(object: &mut Object, field: &str, value: &str) {
    if text(object, field).is_empty() {
        object.insert(field.into(), value.into());
    }
}

/// A text, empty when absent.
pub(super) fn text<'a>(object: &'a Object, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or("")
}

/// An object that is there already.
pub(super) fn sub<'a>(object: &'a mut Object, field: &str) -> Option<&'a mut Object> {
    object.get_mut(field)?.as_object_mut()
}

/// An object, made when absent.
pub(super) fn make<'a>(object: &'a mut Object, field: &str) -> &'a mut Object {
    meta::as_map(object.entry(field).or_insert(Value::Null))
}

/// Visits the objects of a list.
pub(super) fn each(object: &mut Object, field: &str, mut visit: impl FnMut(&mut Object)) {
    let list = object.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut).for_each(&mut visit);
}

/// Whether a field is there and not null.
pub(super) fn has(object: &Object, field: &str) -> bool {
    object.get(field).is_some_and(|it| !it.is_null())
}
