//! One value from many.

use super::{Cx, Failure, Made, Row, wrong_type};
use crate::number::Number;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("count", 1, count),
    ("sum", 1, |cx, a| fold(cx, a, 0, i128::checked_add, |a, b| a + b)),
    ("product", 1, |cx, a| fold(cx, a, 1, i128::checked_mul, |a, b| a * b)),
    ("max", 1, |cx, a| items(cx, a)?.into_iter().max().cloned().ok_or_else(|| "empty collection".into())),
    ("min", 1, |cx, a| items(cx, a)?.into_iter().min().cloned().ok_or_else(|| "empty collection".into())),
    ("sort", 1, |cx, a| {
        let mut all: Vec<Value> = items(cx, a)?.into_iter().cloned().collect();
        all.sort();
        Ok(Value::array(all))
    }),
    ("all", 1, |cx, a| Ok(items(cx, a)?.into_iter().all(|item| *item == Value::Bool(true)).into())),
    ("any", 1, |cx, a| Ok(items(cx, a)?.into_iter().any(|item| *item == Value::Bool(true)).into())),
];

fn count(_: &mut Cx, args: &[Value]) -> Made {
    match &args[0] {
        Value::String(s) => Ok(Value::int(s.chars().count() as i128)),
        other => match other.len() {
            Some(n) => Ok(Value::int(n as i128)),
            None => Err(wrong_type(args, 0, "array, object, set or string")),
        },
    }
}

/// The items of an array or the members of a set.
pub(super) fn items<'a>(cx: &mut Cx, args: &'a [Value]) -> Result<Vec<&'a Value>, Failure> {
    let all: Vec<&Value> = match &args[0] {
        Value::Array(items) => items.iter().collect(),
        Value::Set(members) => members.iter().collect(),
        _ => return Err(wrong_type(args, 0, "array or set")),
    };
    cx.step(all.len() as u64)?;
    cx.charge_bytes(all.len() * size_of::<Value>())?;
    Ok(all)
}

fn fold(
    cx: &mut Cx,
    args: &[Value],
    start: i64,
    whole: impl Fn(i128, i128) -> Option<i128> + Copy,
    float: impl Fn(f64, f64) -> f64 + Copy,
) -> Made {
    let mut out = Number::Int(start);
    for item in items(cx, args)? {
        let Value::Number(n) = item else { return Err(wrong_type(args, 0, "a collection of numbers")) };
        out = out.combine(n, whole, float).ok_or("result is not a number")?;
    }
    Ok(Value::Number(out))
}
