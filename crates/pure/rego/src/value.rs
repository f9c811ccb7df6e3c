//! Documents of Rego: JSON, and sets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::number::Number;

/// A document. Cloning one copies a pointer.
///
/// The order of the variants is the order that Rego gives to values of different types.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` and `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Arc<str>),
    /// An array.
    Array(Arc<Vec<Value>>),
    /// An object; its keys may be any value.
    Object(Arc<BTreeMap<Value, Value>>),
    /// A set.
    Set(Arc<BTreeSet<Value>>),
}

impl Value {
    /// The string `s`.
    pub fn string(s: &str) -> Value {
        Value::String(Arc::from(s))
    }

    /// The whole number `n`.
    pub fn int(n: impl Into<i128>) -> Value {
        Value::Number(Number::whole(n.into()))
    }

    /// The array of `items`.
    pub fn array(items: Vec<Value>) -> Value {
        Value::Array(Arc::new(items))
    }

    /// The set of `items`.
    pub fn set(items: impl IntoIterator<Item = Value>) -> Value {
        Value::Set(Arc::new(items.into_iter().collect()))
    }

    /// The object of `fields`.
    pub fn object(fields: impl IntoIterator<Item = (Value, Value)>) -> Value {
        Value::Object(Arc::new(fields.into_iter().collect()))
    }

    /// An object whose keys are strings.
    pub fn record<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
        Value::object(fields.into_iter().map(|(name, value)| (Value::string(name), value)))
    }

    /// Its text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// What it holds under `key`: of an object the field, of an array the item, of a set the member itself.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        match self {
            Value::Object(fields) => fields.get(key),
            Value::Set(members) => members.get(key),
            Value::Array(items) => match key {
                Value::Number(Number::Int(n)) => usize::try_from(*n).ok().and_then(|n| items.get(n)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The field `name` of an object.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.get(&Value::string(name))
    }

    /// What Rego calls its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Set(_) => "set",
        }
    }

    /// How many items, fields or members it has; nothing for what has none.
    pub fn len(&self) -> Option<usize> {
        match self {
            Value::Array(items) => Some(items.len()),
            Value::Object(fields) => Some(fields.len()),
            Value::Set(members) => Some(members.len()),
            _ => None,
        }
    }

    /// Whether it is a collection without items.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// In JSON: sets become sorted arrays, keys that are not strings their JSON text.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Number(n) => n.to_json(),
            Value::String(s) => Json::String(s.to_string()),
            Value::Array(items) => Json::Array(items.iter().map(Value::to_json).collect()),
            Value::Set(members) => Json::Array(members.iter().map(Value::to_json).collect()),
            Value::Object(fields) => Json::Object(
                fields
                    .iter()
                    .map(|(key, value)| {
                        let key = key.as_str().map_or_else(|| key.to_json().to_string(), str::to_owned);
                        (key, value.to_json())
                    })
                    .collect(),
            ),
        }
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => Value::Number(n.into()),
            Json::String(s) => Value::string(s),
            Json::Array(items) => Value::array(items.iter().map(Value::from).collect()),
            Json::Object(fields) => Value::object(fields.iter().map(|(k, v)| (Value::string(k), v.into()))),
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}

/// As Rego writes it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(b) => b.fmt(f),
            Value::Number(n) => n.fmt(f),
            Value::String(s) => quote(f, s),
            Value::Array(items) => list(f, '[', items.iter(), ']'),
            Value::Set(members) if members.is_empty() => f.write_str("set()"),
            Value::Set(members) => list(f, '{', members.iter(), '}'),
            Value::Object(fields) => {
                f.write_char('{')?;
                for (n, (key, value)) in fields.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if n > 0 { ", " } else { "" })?;
                }
                f.write_char('}')
            }
        }
    }
}

fn list<'a>(
    f: &mut fmt::Formatter<'_>,
    open: char,
    items: impl Iterator<Item = &'a Value>,
    close: char,
) -> fmt::Result {
    f.write_char(open)?;
    for (n, item) in items.enumerate() {
        write!(f, "{}{item}", if n > 0 { ", " } else { "" })?;
    }
    f.write_char(close)
}

fn quote(f: &mut fmt::Formatter<'_>, s: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in s.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            c if (c as u32) < 0x20 => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
