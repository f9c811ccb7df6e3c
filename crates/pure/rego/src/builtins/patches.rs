//! `json.patch`: RFC 6902 over any value, sets included.

use std::{collections::BTreeMap, sync::Arc};

use super::{Cx, Failure, Made, Row, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[("json.patch", 2, patch)];

fn patch(cx: &mut Cx, args: &[Value]) -> Made {
    let Value::Array(operations) = &args[1] else { return Err(wrong_type(args, 1, "array")) };
    let mut target = args[0].clone();
    for operation in operations.iter() {
        cx.step(8)?;
        cx.charge_bytes(8 * size_of::<Value>())?;
        target = apply(target, operation)?;
    }
    Ok(target)
}

fn apply(target: Value, operation: &Value) -> Made {
    let path = |field: &str| -> Result<Vec<Value>, Failure> {
        let path = operation.field(field).ok_or_else(|| Failure::Error(format!("missing '{field}' attribute")))?;
        steps(path)
    };
    let value = || operation.field("value").cloned().ok_or_else(|| Failure::from("missing 'value' attribute"));
    let op = operation.field("op").and_then(Value::as_str).ok_or("missing 'op' attribute")?;
    match op {
        "add" => add(target, &path("path")?, value()?),
        "remove" => remove(target, &path("path")?).map(|it| it.0),
        "replace" => {
            let (path, value) = (path("path")?, value()?);
            if path.is_empty() {
                return Ok(value);
            }
            // A set's member goes; its replacement comes.
            let (target, _) = remove(target, &path)?;
            add(target, &path, value)
        }
        "move" => {
            let (target, moved) = remove(target, &path("from")?)?;
            add(target, &path("path")?, moved)
        }
        "copy" => {
            let copied = lookup(&target, &path("from")?)?.clone();
            add(target, &path("path")?, copied)
        }
        "test" => {
            let wanted = value()?;
            if *lookup(&target, &path("path")?)? == wanted { Ok(target) } else { Err("value differs".into()) }
        }
        other => Err(format!("bad op {other:?}").into()),
    }
}

fn steps(path: &Value) -> Result<Vec<Value>, Failure> {
    match path {
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => {
            let parts = text.strip_prefix('/').unwrap_or(text).split('/');
            Ok(parts.map(|it| Value::string(&it.replace("~1", "/").replace("~0", "~"))).collect())
        }
        Value::Array(items) => Ok(items.to_vec()),
        _ => Err("path must be a string or an array".into()),
    }
}

fn missing() -> Failure {
    "the path does not exist".into()
}

fn index(step: &Value) -> Option<usize> {
    match step {
        Value::Number(number) => usize::try_from(number.as_whole()?).ok(),
        Value::String(text) if text.len() > 1 && text.starts_with('0') => None,
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn lookup<'a>(value: &'a Value, path: &[Value]) -> Result<&'a Value, Failure> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => index(step).and_then(|it| items.get(it)).ok_or_else(missing),
        other => other.get(step).ok_or_else(missing),
    })
}

/// Changes the collection at the end of a path, on copies of what is shared.
fn change(target: Value, path: &[Value], change: &mut dyn FnMut(Value) -> Made) -> Made {
    let Some((first, rest)) = path.split_first() else { return change(target) };
    match target {
        Value::Object(mut fields) => {
            let part = Arc::make_mut(&mut fields).remove(first).ok_or_else(missing)?;
            let part = self::change(part, rest, change)?;
            Arc::make_mut(&mut fields).insert(first.clone(), part);
            Ok(Value::Object(fields))
        }
        Value::Array(mut items) => {
            let at = index(first).filter(|it| *it < items.len()).ok_or_else(missing)?;
            let part = std::mem::replace(&mut Arc::make_mut(&mut items)[at], Value::Null);
            Arc::make_mut(&mut items)[at] = self::change(part, rest, change)?;
            Ok(Value::Array(items))
        }
        Value::Set(mut members) => {
            let part = Arc::make_mut(&mut members).take(first).ok_or_else(missing)?;
            let part = self::change(part, rest, change)?;
            Arc::make_mut(&mut members).insert(part);
            Ok(Value::Set(members))
        }
        _ => Err(missing()),
    }
}

fn add(target: Value, path: &[Value], value: Value) -> Made {
    let Some((last, parents)) = path.split_last() else { return Ok(value) };
    change(target, parents, &mut |parent| match parent {
        Value::Object(fields) => {
            let mut fields: BTreeMap<Value, Value> = Arc::unwrap_or_clone(fields);
            fields.insert(last.clone(), value.clone());
            Ok(Value::Object(Arc::new(fields)))
        }
        Value::Array(items) => {
            let mut items = Arc::unwrap_or_clone(items);
            let at = if last.as_str() == Some("-") { Some(items.len()) } else { index(last) };
            items.insert(at.filter(|it| *it <= items.len()).ok_or_else(missing)?, value.clone());
            Ok(Value::array(items))
        }
        Value::Set(members) => {
            // The key of a set's member is the member.
            if *last != value {
                return Err("a set's member must be its own path".into());
            }
            let mut members = Arc::unwrap_or_clone(members);
            members.insert(value.clone());
            Ok(Value::Set(Arc::new(members)))
        }
        _ => Err(missing()),
    })
}

fn remove(target: Value, path: &[Value]) -> Result<(Value, Value), Failure> {
    let Some((last, parents)) = path.split_last() else { return Ok((Value::Null, target)) };
    let mut removed = None;
    let changed = change(target, parents, &mut |parent| match parent {
        Value::Object(fields) => {
            let mut fields = Arc::unwrap_or_clone(fields);
            removed = Some(fields.remove(last).ok_or_else(missing)?);
            Ok(Value::Object(Arc::new(fields)))
        }
        Value::Array(items) => {
            let mut items = Arc::unwrap_or_clone(items);
            let at = index(last).filter(|it| *it < items.len()).ok_or_else(missing)?;
            removed = Some(items.remove(at));
            Ok(Value::array(items))
        }
        Value::Set(members) => {
            let mut members = Arc::unwrap_or_clone(members);
            removed = Some(members.take(last).ok_or_else(missing)?);
            Ok(Value::Set(Arc::new(members)))
        }
        _ => Err(missing()),
    })?;
    removed.map(|it| (changed, it)).ok_or_else(missing)
}
