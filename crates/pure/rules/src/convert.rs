//! JSON to values of CEL and back. Entry points: [`json`], [`to_json`], and [`typed`] where a schema says what texts
//! and numbers mean.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use eyot_model::custom::schema::{Additional, Schema, Type};
use kube_cel::cel::{
    Value,
    objects::{Key, Map, OptionalValue},
};
use serde_json::Value as Json;

use crate::{
    budget::{self, Budget},
    program::Program,
};

/// A value as it is, its fields under their own names.
pub fn json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(list) => Value::List(Arc::new(list.iter().map(json).collect())),
        Json::Object(map) => self::map(map.iter().map(|(name, it)| (name.clone(), json(it)))),
    }
}

/// A value as its schema reads it: times, durations and bytes are such, numbers are floats, names of fields are escaped as
/// identifiers, and a field of an object that is null is not there. In lists and maps null is a value.
pub fn typed(value: &Json, schema: &Schema) -> Value {
    match value {
        Json::Number(number) if schema.of_type == Type::Number => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        Json::Number(number) if schema.of_type == Type::Integer => {
            let whole = number.as_i64().or_else(|| number.as_f64().map(|it| it as i64));
            whole.map_or_else(|| json(value), Value::Int)
        }
        Json::String(text) => {
            let format = schema.values.as_ref().map_or("", |it| it.format.as_str());
            formatted(text, format).unwrap_or_else(|| json(value))
        }
        Json::Array(list) => {
            let item = |it| schema.items.as_deref().map_or_else(|| json(it), |items| typed(it, items));
            Value::List(Arc::new(list.iter().map(item).collect()))
        }
        Json::Object(map) => {
            let is_map = schema.additional != Additional::Absent;
            let is_object = !is_map && !schema.properties.is_empty();
            let fields = map.iter().filter(|it| !(is_object && it.1.is_null()));
            self::map(fields.map(|(name, it)| {
                let value = schema.property(name).map_or_else(|| json(it), |property| typed(it, property));
                (if is_map { name.clone() } else { escape(name) }, value)
            }))
        }
        _ => json(value),
    }
}

/// A map with texts as keys.
pub fn map(fields: impl Iterator<Item = (String, Value)>) -> Value {
    let map: HashMap<Key, Value> = fields.map(|(name, it)| (Key::String(Arc::new(name)), it)).collect();
    Value::Map(Map { map: Arc::new(map) })
}

/// A point in time, given in RFC 3339; `None` for what is none.
pub fn timestamp(text: &str) -> Option<Value> {
    formatted(text, "date-time")
}

/// A text of a format that is a type of its own; `None` when it is none, or not written as it should be.
fn formatted(text: &str, format: &str) -> Option<Value> {
    match format {
        "byte" => STANDARD.decode(text).ok().map(|it| Value::Bytes(Arc::new(it))),
        "date-time" | "datetime" => call("timestamp(text)", text.to_owned()),
        "date" => call("timestamp(text)", format!("{text}T00:00:00Z")),
        "duration" => call("duration(text)", text.to_owned()),
        _ => None,
    }
}

/// Lets the interpreter make what it alone can make.
fn call(expression: &str, text: String) -> Option<Value> {
    let program = Program::compile(expression, &["text"]).ok()?;
    program.run(&[("text", &Value::String(Arc::new(text)))], 0, &mut Budget::new(1000)).ok()
}

/// Roughly the bytes of a value as JSON.
pub(crate) fn size(value: &Json) -> usize {
    8 + match value {
        Json::String(text) => text.len(),
        Json::Array(list) => list.iter().map(size).sum(),
        Json::Object(map) => map.iter().map(|(name, it)| name.len() + size(it)).sum(),
        _ => 0,
    }
}

/// Takes the room of a value, part by part; `None` where there is not enough, or it is nested too deeply.
pub(crate) fn take(value: &Value, room: &mut usize) -> Option<()> {
    take_at(value, room, budget::MADE_DEPTH_MAX)
}

/// The same for a part that has only so many levels.
pub(crate) fn take_at(value: &Value, room: &mut usize, levels: usize) -> Option<()> {
    let levels = levels.checked_sub(1)?;
    match value {
        Value::String(text) => budget::take(room, text.len()),
        Value::Bytes(bytes) => budget::take(room, bytes.len()),
        Value::List(list) => {
            budget::take(room, 0)?;
            list.iter().try_for_each(|it| take_at(it, room, levels))
        }
        Value::Map(map) => {
            budget::take(room, 0)?;
            map.map.iter().try_for_each(|(key, it)| {
                budget::take(room, if let Key::String(name) = key { name.len() } else { 0 })?;
                take_at(it, room, levels)
            })
        }
        Value::Opaque(it) => match it.downcast_ref::<OptionalValue>().and_then(OptionalValue::value) {
            Some(inner) => take_at(inner, room, levels),
            None => budget::take(room, 0),
        },
        _ => budget::take(room, 0),
    }
}

/// A field's name as an identifier: reserved words and marks that identifiers lack are spelled out.
pub(crate) fn escape(name: &str) -> String {
    const RESERVED: [&str; 21] = [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let name = name.replace("__", "__underscores__");
    name.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

/// The name that an identifier stands for: the reverse of [`escape`].
pub(crate) fn unescape(identifier: &str) -> String {
    if !identifier.contains("__") {
        return identifier.to_owned();
    }
    let inner = identifier.strip_prefix("__").and_then(|it| it.strip_suffix("__"));
    if let Some(word) = inner.filter(|it| escape(it) == identifier) {
        return word.to_owned();
    }
    let name = identifier.replace("__dot__", ".").replace("__dash__", "-").replace("__slash__", "/");
    name.replace("__underscores__", "__")
}

/// A value as JSON; `None` for what JSON cannot say.
pub fn to_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(it) => Json::Bool(*it),
        Value::Int(it) => (*it).into(),
        Value::UInt(it) => (*it).into(),
        Value::Float(it) => serde_json::Number::from_f64(*it).map(Json::Number)?,
        Value::String(it) => Json::String(it.to_string()),
        Value::Bytes(it) => Json::String(STANDARD.encode(it.as_slice())),
        Value::List(it) => Json::Array(it.iter().map(to_json).collect::<Option<_>>()?),
        Value::Map(it) => {
            let entry = |(key, value): (&Key, &Value)| match key {
                Key::String(key) => Some((key.to_string(), to_json(value)?)),
                _ => None,
            };
            Json::Object(it.map.iter().map(entry).collect::<Option<_>>()?)
        }
        // Times and durations, in the interpreter's own words.
        Value::Timestamp(_) | Value::Duration(_) => {
            let text = Program::compile("string(it)", &["it"]).ok()?.run(&[("it", value)], 0, &mut Budget::new(1000));
            match text.ok()? {
                Value::String(text) => Json::String(text.to_string()),
                _ => return None,
            }
        }
        Value::Opaque(it) => return it.downcast_ref::<OptionalValue>()?.value().map_or(Some(Json::Null), to_json),
        Value::Function(..) => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(rule: &str, schema: Json, value: Json) {
        let schema = Schema::parse(&json!({"type": "object", "properties": schema}));
        let program = Program::compile(rule, &["self"]).expect("compiles");
        let result = program.run(&[("self", &typed(&value, &schema))], 0, &mut Budget::new(10_000));
        assert_eq!(result, Ok(Value::Bool(true)), "{rule}");
    }

    #[test]
    fn schemas_say_what_values_are() {
        check(
            "self.n == 1.0 && self.i == 1",
            json!({"n": {"type": "number"}, "i": {"type": "integer"}}),
            json!({"n": 1, "i": 1}),
        );
        let times =
            json!({"t": {"type": "string", "format": "date-time"}, "d": {"type": "string", "format": "duration"}});
        check(
            "self.t.getFullYear() == 2026 && self.d > duration('1m')",
            times,
            json!({"t": "2026-01-02T03:04:05Z", "d": "1h"}),
        );
        check("size(self.b) == 2", json!({"b": {"type": "string", "format": "byte"}}), json!({"b": "YWI="}));
        let names = json!({"a-b": {"type": "string"}, "namespace": {"type": "string"}, "m": {"type": "object", "additionalProperties": {"type": "string"}}});
        check(
            "self.a__dash__b == 'x' && self.__namespace__ == 'y' && self.m['a-b'] == 'z'",
            names,
            json!({"a-b": "x", "namespace": "y", "m": {"a-b": "z"}}),
        );
    }

    #[test]
    fn a_field_that_is_null_is_not_there() {
        let text = json!({"type": "string", "nullable": true});
        let schema = json!({"f": text, "o": {"type": "object", "nullable": true, "properties": {"f": text}},
            "l": {"type": "array", "items": text}, "m": {"type": "object", "additionalProperties": text},
            "any": {"x-kubernetes-preserve-unknown-fields": true}});
        check(
            "!has(self.f) && !has(self.o) && self.?f.orValue('none') == 'none' && !('f' in self)",
            schema.clone(),
            json!({"f": null, "o": null}),
        );
        check(
            "has(self.o) && !has(self.o.f) && self.o.?f == optional.none()",
            schema.clone(),
            json!({"o": {"f": null}}),
        );
        check(
            "self.l == [null, 'a'] && self.l[0] == null && 'k' in self.m && has(self.m.k) && self.m.k == null",
            schema.clone(),
            json!({"l": [null, "a"], "m": {"k": null}}),
        );
        check("self.any.f == null", schema, json!({"any": {"f": null}}));
    }

    #[test]
    fn names_are_escaped_once() {
        for (name, escaped) in
            [("a_b", "a_b"), ("a__b", "a__underscores__b"), ("a.b/c", "a__dot__b__slash__c"), ("if", "__if__")]
        {
            assert_eq!((escape(name).as_str(), unescape(escaped).as_str()), (escaped, name));
        }
    }
}
