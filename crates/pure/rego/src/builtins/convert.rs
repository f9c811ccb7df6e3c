//! Types and conversions.

use super::{Failure, Made, Row, wrong_type};
use crate::number::Number;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("is_null", 1, |_, a| is(a, "null")),
    ("is_boolean", 1, |_, a| is(a, "boolean")),
    ("is_number", 1, |_, a| is(a, "number")),
    ("is_string", 1, |_, a| is(a, "string")),
    ("is_array", 1, |_, a| is(a, "array")),
    ("is_object", 1, |_, a| is(a, "object")),
    ("is_set", 1, |_, a| is(a, "set")),
    ("type_name", 1, |_, a| Ok(Value::string(a[0].type_name()))),
    ("to_number", 1, |_, a| {
        match &a[0] {
            Value::Null => Some(Number::Int(0)),
            Value::Bool(b) => Some(Number::Int(i64::from(*b))),
            Value::Number(n) => Some(n.clone()),
            Value::String(s) => Number::parse(s),
            _ => return Err(wrong_type(a, 0, "null, boolean, number or string")),
        }
        .map(Value::Number)
        .ok_or_else(|| match a[0].as_str().map(str::to_lowercase) {
            Some(s) if matches!(s.trim_start_matches(['+', '-']), "nan" | "inf" | "infinity") => {
                Failure::Type("operand 1 must be valid number string".to_owned())
            }
            _ => "invalid syntax".into(),
        })
    }),
    ("cast_array", 1, |_, a| match &a[0] {
        Value::Array(_) => Ok(a[0].clone()),
        Value::Set(members) => Ok(Value::array(members.iter().cloned().collect())),
        _ => Err(wrong_type(a, 0, "array or set")),
    }),
    ("cast_set", 1, |_, a| match &a[0] {
        Value::Set(_) => Ok(a[0].clone()),
        Value::Array(items) => Ok(Value::set(items.iter().cloned())),
        _ => Err(wrong_type(a, 0, "array or set")),
    }),
    ("cast_string", 1, |_, a| cast(a, "string")),
    ("cast_boolean", 1, |_, a| cast(a, "boolean")),
    ("cast_null", 1, |_, a| cast(a, "null")),
    ("cast_object", 1, |_, a| cast(a, "object")),
    ("trace", 1, |_, _| Ok(Value::Bool(true))),
    ("opa.runtime", 0, |_, _| Ok(Value::object([]))),
];

fn is(args: &[Value], name: &str) -> Made {
    Ok((args[0].type_name() == name).into())
}

fn cast(args: &[Value], name: &str) -> Made {
    if args[0].type_name() == name { Ok(args[0].clone()) } else { Err(wrong_type(args, 0, name)) }
}
