//! Whether keys are in a list, a range or a text.
//!
//! Globs count on either side. A value that is neither a list nor a text has no members, and no operator holds.

use serde_json::Value;

use crate::{pattern, text, wildcard};

/// The key as one text or as several.
enum Keys {
    One(String),
    Many(Vec<String>),
}

fn keys(key: &Value) -> Option<Keys> {
    match key {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Some(Keys::One(text::plain(key))),
        Value::Array(all) => Some(Keys::Many(all.iter().map(text::plain).collect())),
        _ => None,
    }
}

fn alike(left: &str, right: &str) -> bool {
    wildcard::matches(left, right) || wildcard::matches(right, left)
}

/// Members that a value has: its elements, or those of the JSON that it is; a text that is no JSON is its only member.
fn members(value: &Value, lone: bool) -> Option<Vec<String>> {
    match value {
        Value::Array(all) => Some(all.iter().map(text::plain).collect()),
        Value::String(it) => match serde_json::from_str::<Value>(it) {
            Ok(Value::Array(all)) => all.iter().map(|it| it.as_str().map(str::to_owned)).collect(),
            Ok(_) => None,
            Err(_) if lone => Some(vec![it.clone()]),
            Err(_) => None,
        },
        _ => None,
    }
}

/// `In` and `NotIn`.
pub(super) fn is_in(key: &Value, value: &Value, negated: bool) -> bool {
    let found = match keys(key) {
        None => return false,
        Some(Keys::One(key)) => match value {
            Value::Array(all) => all.iter().any(|it| alike(&text::plain(it), &key)),
            Value::String(it) if wildcard::matches(it, &key) => true,
            value => match members(value, false) {
                Some(all) => all.contains(&key),
                None => return false,
            },
        },
        Some(Keys::Many(keys)) => match value.as_str() {
            Some(it) if keys.len() == 1 && keys[0] == it => return true,
            _ => match members(value, false) {
                Some(all) => keys.iter().all(|it| all.contains(it)),
                None => return false,
            },
        },
    };
    found != negated
}

/// Whether one key is in a list, a range or a text; nothing where the value has no members.
fn one(key: &str, value: &Value) -> Option<bool> {
    match value {
        Value::Array(all) => Some(all.iter().any(|it| alike(&text::plain(it), key))),
        Value::String(it) if wildcard::matches(it, key) => Some(true),
        Value::String(it) if pattern::is_range(it) => Some(pattern::fits(&key.into(), it)),
        value => Some(members(value, true)?.iter().any(|it| it == key)),
    }
}

/// `AnyIn` and `AnyNotIn`.
pub(super) fn any(key: &Value, value: &Value, negated: bool) -> bool {
    let keys = match keys(key) {
        None => return false,
        Some(Keys::One(key)) => return one(&key, value).is_some_and(|it| it != negated),
        Some(Keys::Many(keys)) => keys,
    };
    if let Value::String(text) = value {
        if keys.len() == 1 && keys[0] == *text {
            return !negated;
        }
        if pattern::is_range(text) {
            let range = if negated { text.replacen('-', "!-", 1) } else { text.clone() };
            return keys.iter().any(|it| pattern::fits(&it.as_str().into(), &range));
        }
    }
    let single = matches!(value, Value::Number(_) | Value::Bool(_)).then(|| vec![text::plain(value)]);
    let Some(all) = single.or_else(|| members(value, true)) else { return false };
    keys.iter().any(|key| all.iter().any(|it| alike(key, it)) != negated)
}

/// `AllIn` and `AllNotIn`.
pub(super) fn all(key: &Value, value: &Value, negated: bool) -> bool {
    let keys = match keys(key) {
        None => return false,
        Some(Keys::One(key)) => return one(&key, value).is_some_and(|it| it != negated),
        Some(Keys::Many(keys)) => keys,
    };
    if let Value::String(text) = value {
        if keys.len() == 1 && keys[0] == *text {
            return !negated;
        }
        if pattern::is_range(text) {
            return keys.iter().all(|it| pattern::fits(&it.as_str().into(), text) != negated);
        }
    }
    let Some(all) = members(value, true) else { return false };
    keys.iter().all(|key| all.iter().any(|it| alike(key, it)) != negated)
}
