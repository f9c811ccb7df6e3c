//! Walks the tree.
//!
//! Values are borrowed from the input as long as nothing new is made of them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    Env, SearchError,
    functions::Argument,
    parser::{Comparison, Node},
};
use crate::text;

type Found<'a> = Result<Cow<'a, Value>, SearchError>;

const NULL: Cow<'static, Value> = Cow::Owned(Value::Null);

pub(super) fn run<'a>(node: &'a Node, value: Cow<'a, Value>, env: &Env) -> Found<'a> {
    env.charge(1)?;
    match node {
        Node::Current => Ok(value),
        Node::Literal(it) => Ok(Cow::Borrowed(it)),
        Node::Field(name) => field(name, value),
        Node::Index(at) => Ok(index(*at, value)),
        Node::Slice(parts) => slice(parts, &value, env),
        Node::Sub(left, right) => {
            let left = run(left, value, env)?;
            run(right, left, env)
        }
        Node::Pipe(left, right) => {
            let left = lenient(run(left, value, env))?;
            lenient(run(right, left, env))
        }
        Node::Or(left, right) => {
            let found = lenient(run(left, value.clone(), env))?;
            if is_true(&found) { Ok(found) } else { lenient(run(right, value, env)) }
        }
        Node::And(left, right) => {
            let found = lenient(run(left, value.clone(), env))?;
            if is_true(&found) { run(right, value, env) } else { Ok(found) }
        }
        Node::Not(inner) => Ok(Cow::Owned(Value::Bool(!is_true(&*lenient(run(inner, value, env))?)))),
        Node::Compare(comparison, left, right) => {
            let left = lenient(run(left, value.clone(), env))?;
            let right = lenient(run(right, value, env))?;
            Ok(Cow::Owned(compare(*comparison, &left, &right)))
        }
        Node::Flatten(inner) => flatten(forgiving(run(inner, value, env))?, env),
        Node::Project(left, then) => project(elements(lenient(run(left, value, env))?), None, then, env),
        Node::Filter { of, test, then } => project(elements(forgiving(run(of, value, env))?), Some(test), then, env),
        Node::Values(left, then) => {
            let values = match forgiving(run(left, value, env))? {
                Cow::Borrowed(Value::Object(all)) => Some(all.values().map(Cow::Borrowed).collect()),
                Cow::Owned(Value::Object(all)) => Some(all.into_iter().map(|(_, it)| Cow::Owned(it)).collect()),
                _ => None,
            };
            project(values, None, then, env)
        }
        Node::List(all) => {
            if value.is_null() {
                return Ok(NULL);
            }
            let all = all.iter().map(|it| copied(run(it, value.clone(), env), env));
            Ok(Cow::Owned(Value::Array(all.collect::<Result<_, _>>()?)))
        }
        Node::Hash(all) => {
            if value.is_null() {
                return Ok(NULL);
            }
            let all = all.iter().map(|(name, it)| Ok((name.clone(), copied(run(it, value.clone(), env), env)?)));
            Ok(Cow::Owned(Value::Object(all.collect::<Result<Map<_, _>, _>>()?)))
        }
        Node::Call(function, arguments) => {
            let mut given = Vec::with_capacity(arguments.len());
            for argument in arguments {
                given.push(match argument {
                    Node::Reference(inner) => Argument::Expression(inner),
                    node => Argument::Value(lenient(run(node, value.clone(), env))?),
                });
            }
            let made = function.call(&given, env)?;
            env.charge(size(&made) / 64)?;
            Ok(Cow::Owned(made))
        }
        Node::Reference(_) => Err(SearchError::Failed("a reference is only an argument".to_owned())),
    }
}

/// A value that goes into a list or map that is made: it is there once more.
fn copied(found: Found<'_>, env: &Env) -> Result<Value, SearchError> {
    let value = lenient(found)?.into_owned();
    env.charge(size(&value) / 4)?;
    Ok(value)
}

/// A missing field counts as null here.
fn lenient(found: Found<'_>) -> Found<'_> {
    match found {
        Err(SearchError::NotFound(_)) => Ok(NULL),
        other => other,
    }
}

/// Every failure but an exhausted budget counts as null here.
fn forgiving(found: Found<'_>) -> Found<'_> {
    match found {
        Err(SearchError::Cost) => Err(SearchError::Cost),
        Err(_) => Ok(NULL),
        other => other,
    }
}

pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(it) => *it,
        Value::String(it) => !it.is_empty(),
        Value::Array(it) => !it.is_empty(),
        Value::Object(it) => !it.is_empty(),
        Value::Number(_) => true,
    }
}

fn field<'a>(name: &str, value: Cow<'a, Value>) -> Found<'a> {
    let missing = || SearchError::NotFound(name.to_owned());
    match value {
        Cow::Borrowed(Value::Object(all)) => all.get(name).map(Cow::Borrowed).ok_or_else(missing),
        Cow::Owned(Value::Object(mut all)) => all.remove(name).map(Cow::Owned).ok_or_else(missing),
        _ => Ok(NULL),
    }
}

fn index(at: i64, value: Cow<'_, Value>) -> Cow<'_, Value> {
    let place = |length: usize| {
        let at = if at < 0 { at + length as i64 } else { at };
        usize::try_from(at).ok().filter(|it| *it < length)
    };
    match value {
        Cow::Borrowed(Value::Array(all)) => place(all.len()).map_or(NULL, |it| Cow::Borrowed(&all[it])),
        Cow::Owned(Value::Array(mut all)) => place(all.len()).map_or(NULL, |it| Cow::Owned(all.swap_remove(it))),
        _ => NULL,
    }
}

fn slice<'a>(parts: &[Option<i64>; 3], value: &Value, env: &Env) -> Found<'a> {
    let Value::Array(all) = value else { return Ok(NULL) };
    let step = parts[2].unwrap_or(1);
    if step == 0 {
        return Err(SearchError::Failed("Invalid slice, step cannot be 0".to_owned()));
    }
    env.charge(all.len() as u64)?;
    let length = all.len() as i64;
    let cap = |at: i64, low: i64, high: i64| if at < 0 { (at + length).max(low) } else { at.min(high) };
    let (start, stop) = if step > 0 {
        (parts[0].map_or(0, |it| cap(it, 0, length)), parts[1].map_or(length, |it| cap(it, 0, length)))
    } else {
        (parts[0].map_or(length - 1, |it| cap(it, -1, length - 1)), parts[1].map_or(-1, |it| cap(it, -1, length - 1)))
    };
    let mut found = Vec::new();
    let mut at = start;
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        found.push(all[at as usize].clone());
        at = at.saturating_add(step);
    }
    Ok(Cow::Owned(Value::Array(found)))
}

fn elements(value: Cow<'_, Value>) -> Option<Vec<Cow<'_, Value>>> {
    match value {
        Cow::Borrowed(Value::Array(all)) => Some(all.iter().map(Cow::Borrowed).collect()),
        Cow::Owned(Value::Array(all)) => Some(all.into_iter().map(Cow::Owned).collect()),
        _ => None,
    }
}

fn flatten<'a>(value: Cow<'a, Value>, env: &Env) -> Found<'a> {
    let Some(all) = elements(value) else { return Ok(NULL) };
    let mut flat = Vec::with_capacity(all.len());
    for element in all {
        env.charge(1)?;
        match element.into_owned() {
            Value::Array(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    Ok(Cow::Owned(Value::Array(flat)))
}

fn project<'a>(all: Option<Vec<Cow<'a, Value>>>, test: Option<&'a Node>, then: &'a Node, env: &Env) -> Found<'a> {
    let Some(all) = all else { return Ok(NULL) };
    let mut collected = Vec::with_capacity(all.len());
    for element in all {
        env.charge(1)?;
        if let Some(test) = test
            && !is_true(&*lenient(run(test, Cow::Borrowed(&*element), env).map(|it| Cow::Owned(it.into_owned())))?)
        {
            continue;
        }
        let found = lenient(run(then, element, env))?;
        if !found.is_null() {
            collected.push(found.into_owned());
        }
    }
    Ok(Cow::Owned(Value::Array(collected)))
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> Value {
    let numbers = || Some((left.as_f64()?, right.as_f64()?));
    let by = |test: fn(f64, f64) -> bool| numbers().map_or(Value::Null, |(left, right)| Value::Bool(test(left, right)));
    match comparison {
        Comparison::Equal => Value::Bool(text::equal(left, right)),
        Comparison::Unequal => Value::Bool(!text::equal(left, right)),
        Comparison::Greater => by(|left, right| left > right),
        Comparison::GreaterOrEqual => by(|left, right| left >= right),
        Comparison::Less => by(|left, right| left < right),
        Comparison::LessOrEqual => by(|left, right| left <= right),
    }
}

/// Bytes of a value, roughly.
pub(super) fn size(value: &Value) -> u64 {
    match value {
        Value::String(it) => it.len() as u64 + 2,
        Value::Array(all) => all.iter().map(size).sum::<u64>() + 2,
        Value::Object(all) => all.iter().map(|(key, it)| key.len() as u64 + 4 + size(it)).sum::<u64>() + 2,
        _ => 4,
    }
}
