//! Comparison and membership.

use super::{Cx, Made, Row};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("equal", 2, |_, a| Ok((a[0] == a[1]).into())),
    ("neq", 2, |_, a| Ok((a[0] != a[1]).into())),
    ("lt", 2, |_, a| Ok((a[0] < a[1]).into())),
    ("lte", 2, |_, a| Ok((a[0] <= a[1]).into())),
    ("gt", 2, |_, a| Ok((a[0] > a[1]).into())),
    ("gte", 2, |_, a| Ok((a[0] >= a[1]).into())),
    ("internal.member_2", 2, member),
    ("internal.member_3", 3, |_, a| Ok((a[2].get(&a[0]) == Some(&a[1])).into())),
];

fn member(cx: &mut Cx, args: &[Value]) -> Made {
    if !matches!(args[1], Value::Set(_)) {
        cx.step(args[1].len().unwrap_or(0) as u64)?;
    }
    Ok(is_member(&args[0], &args[1]).into())
}

/// Whether `of` holds `value`.
pub(crate) fn is_member(value: &Value, of: &Value) -> bool {
    match of {
        Value::Array(items) => items.contains(value),
        Value::Set(members) => members.contains(value),
        Value::Object(fields) => fields.values().any(|field| field == value),
        _ => false,
    }
}
