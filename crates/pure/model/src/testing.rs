//! Helpers of this crate's tests.

use serde_json::Value;

/// An object as a line for each leaf: `spec.ports[0].port: 80`.
pub(crate) fn flat(value: &Value) -> String {
    let mut lines = String::new();
    walk(value, "", &mut lines);
    lines
}

fn walk(value: &Value, path: &str, lines: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let dot = if path.is_empty() { "" } else { "." };
            map.iter().for_each(|(key, it)| walk(it, &format!("{path}{dot}{key}"), lines));
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(i, it)| walk(it, &format!("{path}[{i}]"), lines));
        }
        leaf => *lines += &format!("{path}: {leaf}\n"),
    }
}
