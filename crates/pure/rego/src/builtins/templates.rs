//! `internal.template_string`: what `$"…{expression}…"` becomes.

use super::{Cx, Failure, Made, Row, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[("internal.template_string", 1, template)];

/// Joins the parts: texts as they are, and of each expression, which comes as a set, its one value.
fn template(cx: &mut Cx, args: &[Value]) -> Made {
    let Value::Array(parts) = &args[0] else { return Err(wrong_type(args, 0, "array")) };
    let mut text = String::new();
    for part in parts.iter() {
        match part {
            Value::String(literal) => text.push_str(literal),
            Value::Set(values) => match values.len() {
                0 => text.push_str("<undefined>"),
                1 => values.iter().for_each(|it| match it.as_str() {
                    Some(plain) => text.push_str(plain),
                    None => text.push_str(&it.to_string()),
                }),
                _ => return Err(Failure::from("template-strings must not produce multiple outputs")),
            },
            _ => return Err(wrong_type(args, 0, "an array of strings and sets")),
        }
        cx.charge_bytes(text.len())?;
    }
    cx.text(&text)
}
