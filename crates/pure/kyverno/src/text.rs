//! Values as Kyverno turns them into text: Go's way to print numbers, lists and maps.
//!
//! Entry points: [`plain`] (as in a condition's list), [`joined`] (inside a longer text). Deliberately absent: parsing.

use serde_json::{Number, Value};

/// A value as Go prints it: a text bare, a number in its shortest form, nothing as `<nil>`.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(it) => it.clone(),
        Value::Number(it) => number(it),
        Value::Bool(it) => it.to_string(),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(plain).collect();
            format!("[{}]", all.join(" "))
        }
        Value::Object(all) => {
            let all: Vec<String> = all.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", all.join(" "))
        }
    }
}

/// A value inside a longer text: a text bare, everything else as JSON.
pub(crate) fn joined(value: &Value) -> String {
    match value {
        Value::String(it) => it.clone(),
        Value::Number(it) => json_number(it),
        other => other.to_string(),
    }
}

/// A number without a fraction that it does not have: `3`, not `3.0`.
pub(crate) fn json_number(number: &Number) -> String {
    match number.as_f64() {
        Some(it) if !number.is_i64() && !number.is_u64() && it.fract() == 0.0 && it.abs() < 1e15 => {
            (it as i64).to_string()
        }
        _ => number.to_string(),
    }
}

fn number(number: &Number) -> String {
    match number.as_i64() {
        Some(it) => it.to_string(),
        None => json_number(number),
    }
}

/// A number as JSON value: whole where it is whole.
pub(crate) fn from_f64(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// Texts that are not empty, joined.
pub(crate) fn join_filled<'a>(texts: impl IntoIterator<Item = &'a str>, between: &str) -> String {
    let filled: Vec<&str> = texts.into_iter().filter(|it| !it.is_empty()).collect();
    filled.join(between)
}

/// Whether two values are equal, where numbers are equal by value: `1` equals `1.0`.
pub(crate) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| equal(left, right)))
        }
        _ => left == right,
    }
}
