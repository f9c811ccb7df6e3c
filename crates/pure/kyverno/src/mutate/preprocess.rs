//! Takes the anchors out of a patch by looking at the object.
//!
//! Entry point: [`preprocess`]. Conditions that do not hold take their part of the patch away; `+(key)` stays only where
//! the key is missing; a list's element with conditions becomes one element for each of the object's that fits.

use serde_json::{Map, Value};

use crate::anchor::{self, Anchor, Modifier};

/// Why a patch, or a part of it, does not apply.
#[derive(Debug, PartialEq, Eq)]
enum Unmet {
    Condition,
    Global,
}

fn is_condition(key: &str) -> bool {
    matches!(Anchor::parse(key).map(|it| it.modifier), Some(Modifier::Condition | Modifier::Global))
}

fn is_anchor(key: &str) -> bool {
    matches!(
        Anchor::parse(key).map(|it| it.modifier),
        Some(Modifier::Condition | Modifier::Global | Modifier::AddIfAbsent)
    )
}

/// The patch without anchors; empty where it does not apply.
pub(super) fn preprocess(mut patch: Value, object: &Value) -> Value {
    if walk(&mut patch, Some(object)).is_err() {
        return Value::Object(Map::new());
    }
    if let Value::Object(all) = &mut patch {
        let keys: Vec<String> = all.keys().cloned().collect();
        for key in keys {
            if delete_anchors(&mut all[&key], is_condition(&key)) {
                all.remove(&key);
            }
        }
        strip(all);
    }
    patch
}

fn walk(patch: &mut Value, object: Option<&Value>) -> Result<(), Unmet> {
    match patch {
        Value::Object(all) => {
            add_if_absent(all, object);
            check(all, object, Modifier::Global).map_err(|()| Unmet::Global)?;
            check(all, object, Modifier::Condition).map_err(|()| Unmet::Condition)?;
            for (key, value) in all.iter_mut().filter(|(key, _)| !is_anchor(key)) {
                walk(value, object.and_then(|it| it.get(key.as_str())))?;
            }
            Ok(())
        }
        Value::Array(all) if all.first().is_some_and(Value::is_object) => list_of_maps(all, object),
        _ => Ok(()),
    }
}

/// Resolves `+(key)`; returns how many there were.
fn add_if_absent(patch: &mut Map<String, Value>, object: Option<&Value>) -> usize {
    let added = |key: &String| Anchor::parse(key).is_some_and(|it| it.modifier == Modifier::AddIfAbsent);
    let keys: Vec<String> = patch.keys().filter(|it| added(it)).cloned().collect();
    for key in &keys {
        let Some(value) = patch.remove(key) else { continue };
        let bare = Anchor::parse(key).map_or(key.as_str(), |it| it.key);
        if object.and_then(|it| it.get(bare)).is_none() {
            patch.insert(bare.to_owned(), value);
        }
    }
    keys.len()
}

/// Whether the object satisfies the conditions of one kind.
fn check(patch: &mut Map<String, Value>, object: Option<&Value>, modifier: Modifier) -> Result<(), ()> {
    for (key, wanted) in patch.iter_mut() {
        let Some(anchor) = Anchor::parse(key).filter(|it| it.modifier == modifier) else { continue };
        let given = object.and_then(|it| it.get(anchor.key)).ok_or(())?;
        if let Value::Object(inner) = wanted
            && add_if_absent(inner, Some(given)) > 0
        {
            continue;
        }
        anchor::match_pattern(given, wanted).map_err(drop)?;
    }
    Ok(())
}

fn has_anchors(patch: &Value, wanted: fn(&str) -> bool) -> bool {
    match patch {
        Value::Object(all) => all.iter().any(|(key, value)| wanted(key) || has_anchors(value, wanted)),
        Value::Array(all) => all.iter().any(|it| has_anchors(it, wanted)),
        _ => false,
    }
}

fn is_global(key: &str) -> bool {
    Anchor::parse(key).is_some_and(|it| it.modifier == Modifier::Global)
}

fn list_of_maps(patch: &mut Vec<Value>, object: Option<&Value>) -> Result<(), Unmet> {
    let given = object.and_then(Value::as_array);
    let mut added = Vec::new();
    for element in patch.iter().filter(|it| has_anchors(it, is_anchor)) {
        let is_global = has_anchors(element, is_global);
        let (mut any_passed, mut global_failed) = (false, false);
        for given in given.into_iter().flatten() {
            let mut copy = element.clone();
            match walk(&mut copy, Some(given)) {
                Err(Unmet::Condition) => continue,
                Err(Unmet::Global) => {
                    global_failed = true;
                    continue;
                }
                Ok(()) => {}
            }
            if is_global {
                any_passed = true;
            } else {
                added.extend(named(copy, given));
            }
        }
        if given.is_none() {
            let mut copy = element.clone();
            match walk(&mut copy, None) {
                Err(Unmet::Condition) => continue,
                Err(Unmet::Global) => return Err(Unmet::Global),
                Ok(()) => any_passed = true,
            }
        }
        if !any_passed && global_failed {
            return Err(Unmet::Global);
        }
    }
    patch.extend(added);
    Ok(())
}

/// The element for one that the object has, by its name; nothing where conditions were all there was.
fn named(mut element: Value, given: &Value) -> Option<Value> {
    let name = given.get("name").filter(|it| !it.is_null() && *it != "")?.clone();
    if delete_anchors(&mut element, true) {
        return None;
    }
    element["name"] = name;
    Some(element)
}

/// Removes conditions; returns whether nothing is left.
fn delete_anchors(node: &mut Value, delete_scalar: bool) -> bool {
    match node {
        Value::Object(all) => delete_in_map(all),
        Value::Array(all) => {
            let was_empty = all.is_empty();
            all.retain_mut(|it| !has_anchors(it, is_anchor) && !delete_anchors(it, false));
            all.is_empty() && !was_empty
        }
        _ => delete_scalar,
    }
}

fn delete_in_map(all: &mut Map<String, Value>) -> bool {
    // What was empty from the start is meant.
    if all.is_empty() {
        return false;
    }
    let keys: Vec<String> = all.keys().cloned().collect();
    for key in keys {
        if delete_anchors(&mut all[&key], is_condition(&key)) {
            all.remove(&key);
        }
    }
    strip(all);
    all.is_empty()
}

/// Keys of conditions under which something is left to patch lose their anchor.
fn strip(all: &mut Map<String, Value>) {
    let keys: Vec<String> = all.keys().filter(|it| is_condition(it)).cloned().collect();
    for key in keys {
        if let (Some(anchor), Some(value)) = (Anchor::parse(&key), all.remove(&key)) {
            all.insert(anchor.key.to_owned(), value);
        }
    }
}
