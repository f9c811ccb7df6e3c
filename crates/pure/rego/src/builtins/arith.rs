//! Numbers.

use super::{Cx, Failure, Made, Row, whole, wrong_type};
use crate::number::Number;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("plus", 2, |_, a| combine(a, i128::checked_add, |a, b| a + b)),
    ("minus", 2, minus),
    ("mul", 2, |_, a| combine(a, i128::checked_mul, |a, b| a * b)),
    ("div", 2, div),
    ("rem", 2, rem),
    ("abs", 1, |_, a| single(a, |n| n.checked_abs(), f64::abs)),
    ("ceil", 1, |_, a| single(a, Some, f64::ceil)),
    ("floor", 1, |_, a| single(a, Some, f64::floor)),
    ("round", 1, |_, a| single(a, Some, f64::round)),
    ("numbers.range", 2, |cx, a| range(cx, whole(a, 0)?, whole(a, 1)?, 1)),
    ("numbers.range_step", 3, |cx, a| match whole(a, 2)? {
        step if step > 0 => range(cx, whole(a, 0)?, whole(a, 1)?, step),
        _ => Err("numbers.range_step: step must be a positive number above zero".into()),
    }),
    ("bits.and", 2, |_, a| Ok(Value::int(whole(a, 0)? & whole(a, 1)?))),
    ("bits.or", 2, |_, a| Ok(Value::int(whole(a, 0)? | whole(a, 1)?))),
    ("bits.xor", 2, |_, a| Ok(Value::int(whole(a, 0)? ^ whole(a, 1)?))),
    ("bits.negate", 1, |_, a| Ok(Value::int(!whole(a, 0)?))),
    ("bits.lsh", 2, |_, a| shift(a, i128::checked_shl)),
    ("bits.rsh", 2, |_, a| shift(a, i128::checked_shr)),
];

pub(super) fn number(args: &[Value], at: usize) -> Result<&Number, Failure> {
    match &args[at] {
        Value::Number(n) => Ok(n),
        _ => Err(wrong_type(args, at, "number")),
    }
}

fn combine(args: &[Value], whole: impl Fn(i128, i128) -> Option<i128>, float: impl Fn(f64, f64) -> f64) -> Made {
    let n = number(args, 0)?.combine(number(args, 1)?, whole, float);
    n.map(Value::Number).ok_or_else(|| "result is not a number".into())
}

fn minus(_: &mut Cx, args: &[Value]) -> Made {
    if let (Value::Set(a), Value::Set(b)) = (&args[0], &args[1]) {
        return Ok(Value::set(a.difference(b).cloned()));
    }
    combine(args, i128::checked_sub, |a, b| a - b)
}

fn div(_: &mut Cx, args: &[Value]) -> Made {
    if number(args, 1)?.as_f64() == 0.0 {
        return Err("divide by zero".into());
    }
    combine(args, |a, b| if a % b == 0 { Some(a / b) } else { None }, |a, b| a / b)
}

fn rem(_: &mut Cx, args: &[Value]) -> Made {
    let (Some(a), Some(b)) = (number(args, 0)?.as_whole(), number(args, 1)?.as_whole()) else {
        return Err("modulo on floating-point number".into());
    };
    a.checked_rem(b).map(Value::int).ok_or_else(|| "modulo by zero".into())
}

fn single(args: &[Value], whole: impl Fn(i128) -> Option<i128>, float: impl Fn(f64) -> f64) -> Made {
    let n = number(args, 0)?;
    let out = match n.as_whole() {
        Some(n) => whole(n).map(Number::whole),
        None => Number::float(float(n.as_f64())),
    };
    out.map(Value::Number).ok_or_else(|| "result is not a number".into())
}

/// The numbers from `a` to `b`, both included, downwards if `b` is less.
fn range(cx: &mut Cx, a: i128, b: i128, step: i128) -> Made {
    let count = a.abs_diff(b) / step.unsigned_abs() + 1;
    let count = usize::try_from(count).map_err(|_| Failure::from("range is too long"))?;
    cx.charge_bytes(count.saturating_mul(size_of::<Value>()))?;
    cx.step(count as u64)?;
    let sign = if a <= b { step } else { -step };
    Ok(Value::array((0..count as i128).map(|n| Value::int(a + n * sign)).collect()))
}

fn shift(args: &[Value], by: impl Fn(i128, u32) -> Option<i128>) -> Made {
    let n = u32::try_from(whole(args, 1)?)
        .map_err(|_| Failure::Type("operand 2 must be an unsigned integer".to_owned()))?;
    by(whole(args, 0)?, n).filter(|_| n < 100).map(Value::int).ok_or_else(|| "shift is too far".into())
}
