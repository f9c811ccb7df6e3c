//! Maps and lists.

use serde_json::{Map, Value, json};

use super::{Call, Function, SearchError, function};
use crate::text;

type Made = Result<Value, SearchError>;

pub(super) const TABLE: &[Function] =
    &[function("items", 3, items), function("object_from_lists", 2, object_from_lists), function("lookup", 2, lookup)];

fn items(call: &Call<'_>) -> Made {
    let (name, content) = (call.text(1)?, call.text(2)?);
    let pair = |key: Value, value: &Value| json!({ name: key, content: value });
    match call.value(0)? {
        Value::Object(all) => Ok(all.iter().map(|(key, value)| pair(key.as_str().into(), value)).collect()),
        Value::Array(all) => Ok(all.iter().enumerate().map(|(at, value)| pair(at.into(), value)).collect()),
        _ => Err(call.wrong_type(0, "Object or Array")),
    }
}

fn object_from_lists(call: &Call<'_>) -> Made {
    let (keys, values) = (call.list(0)?, call.list(1)?);
    let mut object = Map::new();
    for (at, key) in keys.iter().enumerate() {
        if key.is_object() || key.is_array() || key.is_null() {
            return Err(call.wrong_type(0, "StringArray"));
        }
        object.insert(text::joined(key), values.get(at).cloned().unwrap_or_default());
    }
    Ok(Value::Object(object))
}

fn lookup(call: &Call<'_>) -> Made {
    match call.value(0)? {
        Value::Object(all) => {
            let key = call.value(1)?.as_str().ok_or_else(|| call.wrong_type(1, "String"))?;
            Ok(all.get(key).cloned().unwrap_or_default())
        }
        Value::Array(all) => {
            let at = call.value(1)?.as_f64().ok_or_else(|| call.wrong_type(1, "Number"))?;
            if at.fract() != 0.0 {
                return Err(call.fails(format!("argument #2: expected an integer number but got: {at}")));
            }
            let at = (at >= 0.0).then_some(at as usize);
            Ok(at.and_then(|it| all.get(it)).cloned().unwrap_or_default())
        }
        _ => Err(call.wrong_type(0, "Object or Array")),
    }
}
