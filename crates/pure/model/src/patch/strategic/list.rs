//! Merging of lists: objects by merge key, scalars by value, and the order of what comes out.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{ELEMENT_ORDER, Object, PATCH, merge_object, plain};
use crate::{
    patch::PatchError,
    schema::{PatchStrategy, Shape},
};

/// Merges a list into one whose field has the merge strategy.
pub(super) fn merge(
    current: Vec<Value>,
    patch: &[Value],
    shape: &Shape,
    strategy: PatchStrategy,
) -> Result<Vec<Value>, PatchError> {
    let item = match shape {
        Shape::List(item) => item,
        other => other,
    };
    let Some(key) = strategy.key else { return Ok(merge_scalars(current, patch)) };
    let (kept, changes) = match special(current, patch, key)? {
        Special::Replaced(list) => (vec![], list),
        Special::Kept(kept, changes) => (kept, changes),
    };
    let order: Vec<String> = changes.iter().map(|it| identity(it, key)).collect::<Result<_, _>>()?;
    let before: Vec<String> = kept.iter().filter_map(|it| identity(it, key).ok()).collect();
    let is_new = kept.is_empty();
    let merged = merge_objects(kept, &changes, item, key)?;
    if is_new {
        // In the patch's order already.
        return Ok(merged);
    }
    Ok(arrange(merged, &order, &before, |it| identity(it, key).unwrap_or_default()))
}

/// Scalars of both lists, each once.
fn merge_scalars(current: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    let (order, before): (Vec<_>, Vec<_>) =
        (patch.iter().map(Value::to_string).collect(), current.iter().map(Value::to_string).collect());
    let mut seen = HashSet::new();
    let both = current.into_iter().chain(patch.iter().cloned());
    let merged = both.filter(|it| seen.insert(it.to_string())).collect();
    arrange(merged, &order, &before, Value::to_string)
}

enum Special<'a> {
    /// The list starts anew with these.
    Replaced(Vec<&'a Value>),
    /// What stays of the old list, and what is merged into it.
    Kept(Vec<Value>, Vec<&'a Value>),
}

/// Carries out the elements that are directives.
fn special<'a>(mut current: Vec<Value>, patch: &'a [Value], key: &str) -> Result<Special<'a>, PatchError> {
    let (mut changes, mut replaced) = (Vec::new(), false);
    let mut deleted = HashSet::new();
    for element in patch {
        match element.get(PATCH) {
            None => changes.push(element),
            Some(Value::String(directive)) if directive == "replace" => replaced = true,
            Some(Value::String(directive)) if directive == "delete" => {
                let no_key = || PatchError::Unprocessable("delete patch type with no merge key defined".into());
                deleted.insert(identity(element, key).map_err(|_| no_key())?);
            }
            Some(Value::String(directive)) if directive == "merge" => {
                return Err(PatchError::Unprocessable("merging lists cannot yet be specified in the patch".into()));
            }
            Some(other) => return Err(PatchError::Malformed(format!("unknown patch type found: {}", plain(other)))),
        }
    }
    if replaced {
        return Ok(Special::Replaced(changes));
    }
    if !deleted.is_empty() {
        current.retain(|it| !identity(it, key).is_ok_and(|it| deleted.contains(&it)));
    }
    Ok(Special::Kept(current, changes))
}

fn merge_objects(mut list: Vec<Value>, changes: &[&Value], item: &Shape, key: &str) -> Result<Vec<Value>, PatchError> {
    let mut at: HashMap<String, usize> = HashMap::new();
    for (i, it) in list.iter().enumerate() {
        // The first of several with one key is the one that merges.
        if let Ok(id) = identity(it, key) {
            at.entry(id).or_insert(i);
        }
    }
    for change in changes {
        let Some(patch) = change.as_object() else {
            return Err(PatchError::Unprocessable(format!("expected an object in a list, got {change}")));
        };
        let next = list.len();
        let i = *at.entry(identity(change, key)?).or_insert(next);
        if i == next {
            list.push(Value::Object(Object::new()));
        }
        let old = std::mem::take(&mut list[i]);
        let old = if let Value::Object(old) = old { old } else { Object::new() };
        list[i] = Value::Object(merge_object(old, patch, item)?);
    }
    Ok(list)
}

/// The merge key's value as text, in which different types stay different.
fn identity(element: &Value, key: &str) -> Result<String, PatchError> {
    match element.get(key) {
        // Nothing else is quoted; writing it as JSON would take longer than the rest of a merge.
        Some(Value::String(text)) => Ok(["\"", text.as_str(), "\""].concat()),
        Some(value) if !value.is_null() => Ok(value.to_string()),
        _ => Err(PatchError::Unprocessable(format!("map: {element} does not contain declared merge key: {key}"))),
    }
}

/// Removes scalars from a list of the object.
pub(super) fn delete_primitives(current: &mut Object, name: &str, values: &Value) -> Result<(), PatchError> {
    let wrong = || PatchError::Malformed("invalid patch format of primitive list".into());
    let values: HashSet<String> = values.as_array().ok_or_else(wrong)?.iter().map(Value::to_string).collect();
    if let Some(Value::Array(list)) = current.get_mut(name) {
        list.retain(|it| !values.contains(&it.to_string()));
    }
    Ok(())
}

/// Refuses an order that leaves out an element which the patch sets.
pub(super) fn check_order(
    name: &str,
    given: Option<&Value>,
    order: &Value,
    strategy: PatchStrategy,
) -> Result<(), PatchError> {
    let order: HashSet<String> = order_of(order, strategy)?.into_iter().collect();
    let set = given.and_then(Value::as_array).into_iter().flatten().filter(|it| it.get(PATCH).is_none());
    for element in set {
        if !order.contains(&id(element, strategy)?) {
            return Err(PatchError::Malformed(format!(
                "The order in patch list:\n{}\n doesn't match {ELEMENT_ORDER}{name} list:\n{order:?}\n",
                given.map(Value::to_string).unwrap_or_default(),
            )));
        }
    }
    Ok(())
}

/// Puts a list of the object into an order; elements that it does not name keep theirs among themselves.
pub(super) fn reorder(
    current: &mut Object,
    name: &str,
    order: &Value,
    strategy: PatchStrategy,
) -> Result<(), PatchError> {
    let order = order_of(order, strategy)?;
    if let Some(Value::Array(list)) = current.get_mut(name) {
        let before: Vec<String> = list.iter().filter_map(|it| id(it, strategy).ok()).collect();
        *list = arrange(std::mem::take(list), &order, &before, |it| id(it, strategy).unwrap_or_default());
    }
    Ok(())
}

fn order_of(order: &Value, strategy: PatchStrategy) -> Result<Vec<String>, PatchError> {
    let wrong = || PatchError::Malformed("invalid patch format of setElementOrder list".into());
    order.as_array().ok_or_else(wrong)?.iter().map(|it| id(it, strategy).map_err(|_| wrong())).collect()
}

fn id(element: &Value, strategy: PatchStrategy) -> Result<String, PatchError> {
    strategy.key.map_or_else(|| Ok(element.to_string()), |key| identity(element, key))
}

/// Orders a merged list. Elements that `order` names come in its order; the others in that of `before`, each ahead
/// of the first named element that followed it there.
fn arrange(list: Vec<Value>, order: &[String], before: &[String], id: impl Fn(&Value) -> String) -> Vec<Value> {
    let positions = |of: &[String]| -> HashMap<String, usize> {
        of.iter().enumerate().rev().map(|(i, it)| (it.clone(), i)).collect()
    };
    let (order, before) = (positions(order), positions(before));
    let (mut named, mut others): (Vec<_>, Vec<_>) =
        list.into_iter().map(|it| (id(&it), it)).partition(|(id, _)| order.contains_key(id));
    named.sort_by_key(|(id, _)| order.get(id).copied());
    others.sort_by_key(|(id, _)| before.get(id).copied().unwrap_or(usize::MAX));
    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some((a, _)), Some((b, _))) = (others.peek(), named.peek()) {
        let ahead = matches!((before.get(a), before.get(b)), (Some(a), Some(b)) if a < b);
        arranged.extend(if ahead { others.next() } else { named.next() });
    }
    arranged.extend(others.chain(named));
    arranged.into_iter().map(|(_, it)| it).collect()
}
