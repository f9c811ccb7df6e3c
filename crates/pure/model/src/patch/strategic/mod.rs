//! Strategic merge patch: merges objects by field, and lists by the merge keys of the kind's fields.
//!
//! Start at [`apply`]. Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/FIELD` and
//! `$deleteFromPrimitiveList/FIELD`. Fields that the kind does not know merge as maps and replace as lists; decoding
//! complains about them afterwards. Making a patch from two objects is the client's work and absent.

mod list;

use serde_json::{Map, Value};

use super::PatchError;
use crate::{
    kinds::Kind,
    schema::{PatchStrategy, Shape, root},
};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Merges a patch into an object of that kind.
pub fn apply(kind: &Kind, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let (Some(current), Some(patch)) = (current.as_object(), patch.as_object()) else {
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            super::type_name(patch)
        )));
    };
    let shape = root(kind).unwrap_or(Shape::Any);
    Ok(Value::Object(merge_object(current.clone(), patch, &shape)?))
}

/// A field of an object: its shape, and how a patch treats it.
fn field(shape: &Shape, name: &str) -> (Shape, PatchStrategy) {
    match shape {
        Shape::Map(value) => ((**value).clone(), PatchStrategy::default()),
        _ => shape.field(name).map_or((Shape::Any, PatchStrategy::default()), |it| (it.shape.clone(), it.patch)),
    }
}

fn merge_object(mut current: Object, patch: &Object, shape: &Shape) -> Result<Object, PatchError> {
    match patch.get(PATCH) {
        None => {}
        Some(Value::String(directive)) if directive == "merge" => {}
        Some(Value::String(directive)) if directive == "replace" => return replacement(patch, shape),
        Some(Value::String(directive)) if directive == "delete" => return Ok(Object::new()),
        Some(other) => return Err(PatchError::Malformed(format!("unknown patch type found: {}", plain(other)))),
    }
    if let Some(keys) = patch.get(RETAIN_KEYS) {
        retain_keys(&mut current, patch, keys)?;
    }
    for (name, value) in patch {
        if let Some(name) = name.strip_prefix(DELETE_PRIMITIVES) {
            list::delete_primitives(&mut current, name, value)?;
        }
    }
    for (name, value) in patch.iter().filter(|(name, _)| !is_directive(name)) {
        merge_field(&mut current, name, value, shape)?;
    }
    for (name, order) in patch {
        if let Some(name) = name.strip_prefix(ELEMENT_ORDER) {
            // An order without changes still moves elements.
            let (_, strategy) = field(shape, name);
            let given = patch.get(name).filter(|it| !it.is_null());
            list::check_order(name, given, order, strategy)?;
            list::reorder(&mut current, name, order, strategy)?;
        }
    }
    Ok(current)
}

fn merge_field(current: &mut Object, name: &str, value: &Value, shape: &Shape) -> Result<(), PatchError> {
    let (shape, strategy) = field(shape, name);
    let old = current.remove(name);
    let merged = match (old, value) {
        (_, Value::Null) => return Ok(()),
        (Some(Value::Object(old)), Value::Object(patch)) if !strategy.replace => {
            Value::Object(merge_object(old, patch, &shape)?)
        }
        (_, Value::Object(patch)) => Value::Object(merge_object(Object::new(), patch, &shape)?),
        (Some(Value::Array(old)), Value::Array(patch)) if strategy.merge => {
            Value::Array(list::merge(old, patch, &shape, strategy)?)
        }
        (_, Value::Array(patch)) if strategy.merge => Value::Array(list::merge(vec![], patch, &shape, strategy)?),
        (_, other) => other.clone(),
    };
    current.insert(name.into(), merged);
    Ok(())
}

/// What stands after `$patch: replace`: the patch without its directives.
fn replacement(patch: &Object, shape: &Shape) -> Result<Object, PatchError> {
    let mut rest = patch.clone();
    rest.remove(PATCH);
    merge_object(Object::new(), &rest, shape)
}

fn retain_keys(current: &mut Object, patch: &Object, keys: &Value) -> Result<(), PatchError> {
    let wrong = || PatchError::Malformed("invalid patch format of retainKeys".into());
    let keys: Option<Vec<&str>> = keys.as_array().ok_or_else(wrong)?.iter().map(Value::as_str).collect();
    let keys = keys.ok_or_else(wrong)?;
    let set = patch.iter().filter(|(name, value)| !is_directive(name) && !value.is_null());
    if set.into_iter().any(|(name, _)| !keys.contains(&name.as_str())) {
        return Err(wrong());
    }
    current.retain(|name, _| keys.contains(&name.as_str()));
    Ok(())
}

fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(ELEMENT_ORDER) || name.starts_with(DELETE_PRIMITIVES)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod diff;
#[cfg(test)]
mod tests;
