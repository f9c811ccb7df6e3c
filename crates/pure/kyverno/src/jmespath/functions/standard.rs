//! What the standard has.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{ANY, Call, Function, SearchError, function};
use crate::text;

type Made = Result<Value, SearchError>;

pub(super) const TABLE: &[Function] = &[
    function("abs", 1, |it| Ok(text::from_f64(it.number(0)?.abs()))),
    function("avg", 1, average),
    function("ceil", 1, |it| Ok(text::from_f64(it.number(0)?.ceil()))),
    function("contains", 2, contains),
    function("ends_with", 2, |it| Ok(it.text(0)?.ends_with(it.text(1)?).into())),
    function("floor", 1, |it| Ok(text::from_f64(it.number(0)?.floor()))),
    function("join", 2, join),
    function("keys", 1, |it| Ok(it.object(0)?.keys().cloned().map(Value::String).collect())),
    function("length", 1, length),
    function("map", 2, map),
    function("max", 1, |it| Ok(extreme(it, it.list(0)?, Ordering::Greater)?.unwrap_or_default())),
    function("max_by", 2, |it| extreme_by(it, Ordering::Greater)),
    Function { name: "merge", count: (1, ANY), body: merge },
    function("min", 1, |it| Ok(extreme(it, it.list(0)?, Ordering::Less)?.unwrap_or_default())),
    function("min_by", 2, |it| extreme_by(it, Ordering::Less)),
    Function { name: "not_null", count: (1, ANY), body: not_null },
    function("reverse", 1, reverse),
    function("sort", 1, sort),
    function("sort_by", 2, sort_by),
    function("starts_with", 2, |it| Ok(it.text(0)?.starts_with(it.text(1)?).into())),
    function("to_array", 1, to_array),
    function("to_number", 1, to_number),
    function("to_string", 1, to_string),
    function("type", 1, type_of),
    function("values", 1, |it| Ok(it.object(0)?.values().cloned().collect())),
];

fn average(call: &Call<'_>) -> Made {
    let all = call.list(0)?;
    if all.is_empty() {
        return Ok(Value::Null);
    }
    let numbers: Option<Vec<f64>> = all.iter().map(Value::as_f64).collect();
    let numbers = numbers.ok_or_else(|| call.wrong_type(0, "array of numbers"))?;
    Ok(text::from_f64(numbers.iter().sum::<f64>() / numbers.len() as f64))
}

fn contains(call: &Call<'_>) -> Made {
    let wanted = call.value(1)?;
    match call.value(0)? {
        Value::String(it) => Ok(wanted.as_str().is_some_and(|wanted| it.contains(wanted)).into()),
        Value::Array(all) => Ok(all.iter().any(|it| text::equal(it, wanted)).into()),
        _ => Err(call.wrong_type(0, "string or array")),
    }
}

fn join(call: &Call<'_>) -> Made {
    let texts: Option<Vec<&str>> = call.list(1)?.iter().map(Value::as_str).collect();
    let texts = texts.ok_or_else(|| call.wrong_type(1, "array of strings"))?;
    let between = call.text(0)?;
    let bytes = texts.iter().map(|it| it.len() + between.len()).fold(0, usize::saturating_add);
    call.fits(bytes)?;
    Ok(texts.join(between).into())
}

fn length(call: &Call<'_>) -> Made {
    match call.value(0)? {
        Value::String(it) => Ok(it.chars().count().into()),
        Value::Array(it) => Ok(it.len().into()),
        Value::Object(it) => Ok(it.len().into()),
        _ => Err(call.wrong_type(0, "string, array or object")),
    }
}

fn map(call: &Call<'_>) -> Made {
    call.list(1)?.iter().map(|it| call.apply(0, it)).collect()
}

fn merge(call: &Call<'_>) -> Made {
    let mut merged = Map::new();
    for at in 0..call.arguments.len() {
        merged.extend(call.object(at)?.clone());
    }
    Ok(Value::Object(merged))
}

fn not_null(call: &Call<'_>) -> Made {
    for at in 0..call.arguments.len() {
        let value = call.value(at)?;
        if !value.is_null() {
            return Ok(value.clone());
        }
    }
    Ok(Value::Null)
}

fn reverse(call: &Call<'_>) -> Made {
    match call.value(0)? {
        Value::String(it) => Ok(it.chars().rev().collect::<String>().into()),
        Value::Array(all) => Ok(all.iter().rev().cloned().collect()),
        _ => Err(call.wrong_type(0, "string or array")),
    }
}

/// Order among numbers or among texts.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        _ => None,
    }
}

fn check_keys<'a>(call: &Call<'_>, keys: impl IntoIterator<Item = &'a Value>) -> Result<(), SearchError> {
    let mut keys = keys.into_iter();
    let Some(first) = keys.next() else { return Ok(()) };
    if order(first, first).is_none() || keys.any(|it| order(first, it).is_none()) {
        return Err(call.wrong_type(0, "array of numbers or of strings"));
    }
    Ok(())
}

fn extreme(call: &Call<'_>, all: &[Value], wanted: Ordering) -> Result<Option<Value>, SearchError> {
    check_keys(call, all)?;
    let better = |best: &Value, it: &Value| order(it, best) == Some(wanted);
    Ok(all.iter().reduce(|best, it| if better(best, it) { it } else { best }).cloned())
}

fn keyed(call: &Call<'_>) -> Result<Vec<(Value, Value)>, SearchError> {
    let all = call.list(0)?.iter().map(|it| Ok((call.apply(1, it)?, it.clone())));
    let all: Vec<(Value, Value)> = all.collect::<Result<_, SearchError>>()?;
    check_keys(call, all.iter().map(|it| &it.0))?;
    Ok(all)
}

fn extreme_by(call: &Call<'_>, wanted: Ordering) -> Made {
    let all = keyed(call)?;
    let best = all.into_iter().reduce(|best, it| if order(&it.0, &best.0) == Some(wanted) { it } else { best });
    Ok(best.map(|it| it.1).unwrap_or_default())
}

fn sort(call: &Call<'_>) -> Made {
    let mut all = call.list(0)?.clone();
    check_keys(call, &all)?;
    all.sort_by(|left, right| order(left, right).unwrap_or(Ordering::Equal));
    Ok(Value::Array(all))
}

fn sort_by(call: &Call<'_>) -> Made {
    let mut all = keyed(call)?;
    all.sort_by(|left, right| order(&left.0, &right.0).unwrap_or(Ordering::Equal));
    Ok(all.into_iter().map(|it| it.1).collect())
}

fn to_array(call: &Call<'_>) -> Made {
    Ok(match call.value(0)? {
        Value::Array(all) => Value::Array(all.clone()),
        other => Value::Array(vec![other.clone()]),
    })
}

fn to_number(call: &Call<'_>) -> Made {
    Ok(match call.value(0)? {
        Value::Number(it) => Value::Number(it.clone()),
        Value::String(it) => it.parse::<f64>().map_or(Value::Null, text::from_f64),
        _ => Value::Null,
    })
}

fn to_string(call: &Call<'_>) -> Made {
    Ok(text::joined(call.value(0)?).into())
}

fn type_of(call: &Call<'_>) -> Made {
    Ok(match call.value(0)? {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
    .into())
}
