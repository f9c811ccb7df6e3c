//! Takes fields out of an object. Entry point: [`remove`].

use serde_json::Value;

use super::{
    element::Element,
    set::{Node, Set},
    types::{Form, Type},
};

/// Removes every path of a set, with all that lies below it. A struct that loses all its fields stays, empty; so do
/// lists and maps of custom kinds.
pub(super) fn remove(of: Type<'_>, value: &mut Value, gone: &Set) {
    if gone.is_empty() {
        return;
    }
    match (of.form(value), value) {
        (Some(Form::Map), Value::Object(map)) => {
            map.retain(|name, value| keep(of.field(name).of, value, gone.get(&Element::field(name))));
        }
        (Some(Form::List(list)), Value::Array(items)) => items.retain_mut(|item| {
            let node = list.element(item).ok().and_then(|it| gone.get(&it));
            keep(list.item, item, node)
        }),
        _ => {}
    }
}

/// Whether a value stays, after what goes out of it has gone.
fn keep(of: Type<'_>, value: &mut Value, gone: Option<&Node>) -> bool {
    let Some(gone) = gone else { return true };
    if gone.member {
        return false;
    }
    let was_empty = is_empty(value);
    remove(of, value, &gone.below);
    was_empty || !is_empty(value) || !of.vanishes_when_empty()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
