//! Arithmetic on numbers, quantities and durations.

use eyot_model::quantity::Quantity;
use serde_json::Value;

use super::{Call, Function, SearchError, function};
use crate::{duration, text};

type Made = Result<Value, SearchError>;

pub(super) const TABLE: &[Function] = &[
    function("add", 2, |it| add(it, operand(it, it.value(0)?)?, operand(it, it.value(1)?)?)),
    function("sum", 1, sum),
    function("subtract", 2, subtract),
    function("multiply", 2, multiply),
    function("divide", 2, divide),
    function("modulo", 2, modulo),
    function("round", 2, round),
];

#[derive(Clone, Copy)]
enum Operand {
    Number(f64),
    Quantity(Quantity),
    /// Nanoseconds.
    Duration(i64),
}
use Operand::{Duration, Number};

fn operand(call: &Call<'_>, value: &Value) -> Result<Operand, SearchError> {
    if let Some(it) = value.as_f64() {
        return Ok(Number(it));
    }
    let text = value.as_str().unwrap_or_default();
    let quantity = text.parse().ok().map(Operand::Quantity);
    quantity.or_else(|| duration::parse(text).map(Duration)).ok_or_else(|| call.fails("invalid operand"))
}

fn both(call: &Call<'_>) -> Result<(Operand, Operand), SearchError> {
    Ok((operand(call, call.value(0)?)?, operand(call, call.value(1)?)?))
}

fn mismatch(call: &Call<'_>) -> SearchError {
    call.fails("Types mismatch")
}

fn by_zero(call: &Call<'_>) -> SearchError {
    call.fails("Zero divisor passed")
}

fn show(nanos: i64) -> Value {
    duration::format(nanos).into()
}

fn add(call: &Call<'_>, left: Operand, right: Operand) -> Made {
    match (left, right) {
        (Number(left), Number(right)) => Ok(text::from_f64(left + right)),
        (Operand::Quantity(left), Operand::Quantity(right)) => Ok(left.saturating_add(right).to_string().into()),
        (Duration(left), Duration(right)) => Ok(show(left.saturating_add(right))),
        _ => Err(mismatch(call)),
    }
}

fn sum(call: &Call<'_>) -> Made {
    let all = call.list(0)?;
    let first = all.first().ok_or_else(|| call.fails("at least one element in the array is required"))?;
    let mut total = first.clone();
    for it in &all[1..] {
        total = add(call, operand(call, &total)?, operand(call, it)?)?;
    }
    Ok(total)
}

fn subtract(call: &Call<'_>) -> Made {
    match both(call)? {
        (Number(left), Number(right)) => Ok(text::from_f64(left - right)),
        (Operand::Quantity(left), Operand::Quantity(right)) => Ok(left.saturating_sub(right).to_string().into()),
        (Duration(left), Duration(right)) => Ok(show(left.saturating_sub(right))),
        _ => Err(mismatch(call)),
    }
}

fn multiply(call: &Call<'_>) -> Made {
    match both(call)? {
        (Number(left), Number(right)) => Ok(text::from_f64(left * right)),
        (Operand::Quantity(it), Number(by)) | (Number(by), Operand::Quantity(it)) => scaled(call, it, by, 1.0),
        (Duration(it), Number(by)) | (Number(by), Duration(it)) => Ok(show((it as f64 * by) as i64)),
        _ => Err(mismatch(call)),
    }
}

fn divide(call: &Call<'_>) -> Made {
    match both(call)? {
        (_, Number(0.0)) | (_, Duration(0)) => Err(by_zero(call)),
        (_, Operand::Quantity(by)) if by.is_zero() => Err(by_zero(call)),
        (Number(left), Number(right)) => Ok(text::from_f64(left / right)),
        (Operand::Quantity(left), Operand::Quantity(right)) => Ok(text::from_f64(left.ratio(right))),
        (Operand::Quantity(it), Number(by)) => scaled(call, it, 1.0, by),
        (Duration(left), Duration(right)) => Ok(text::from_f64(left as f64 / right as f64)),
        (Duration(it), Number(by)) => Ok(show((it as f64 / by) as i64)),
        _ => Err(mismatch(call)),
    }
}

/// A quantity times a fraction, in its own format.
fn scaled(call: &Call<'_>, quantity: Quantity, by: f64, over: f64) -> Made {
    let scaled = quantity.scale(by / over).ok_or_else(|| call.fails("invalid operand"))?;
    Ok(scaled.to_string().into())
}

fn modulo(call: &Call<'_>) -> Made {
    let whole = |it: f64| (it.fract() == 0.0).then_some(it as i64);
    let no_integer = || call.fails("Non-integer argument(s) passed for modulo");
    match both(call)? {
        (Number(left), Number(right)) => {
            let (left, right) = (whole(left).ok_or_else(no_integer)?, whole(right).ok_or_else(no_integer)?);
            left.checked_rem(right).map(Value::from).ok_or_else(|| by_zero(call))
        }
        (Operand::Quantity(left), Operand::Quantity(right)) => {
            if !left.is_whole() || !right.is_whole() {
                return Err(no_integer());
            }
            let rest = left.units().checked_rem(right.units()).ok_or_else(|| by_zero(call))?;
            let gone = Quantity::from_units(left.units().saturating_sub(rest));
            Ok(left.saturating_sub(gone).to_string().into())
        }
        (Duration(left), Duration(right)) => left.checked_rem(right).map(show).ok_or_else(|| by_zero(call)),
        _ => Err(mismatch(call)),
    }
}

fn round(call: &Call<'_>) -> Made {
    let (value, digits) = (call.number(0)?, call.number(1)?);
    if digits.fract() != 0.0 {
        return Err(call.fails("Non-integer argument(s) passed for round off"));
    }
    if !(0.0..=300.0).contains(&digits) {
        return Err(call.fails("argument is out of bounds"));
    }
    let shift = 10f64.powi(digits as i32);
    Ok(text::from_f64((value * shift).round() / shift))
}
