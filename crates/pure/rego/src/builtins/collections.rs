//! Arrays, sets and objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Cx, Failure, Made, Row, whole, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("array.concat", 2, |cx, a| {
        let (x, y) = (array(a, 0)?, array(a, 1)?);
        cx.charge_bytes((x.len() + y.len()) * size_of::<Value>())?;
        Ok(Value::array(x.iter().chain(y).cloned().collect()))
    }),
    ("array.slice", 3, slice),
    ("array.reverse", 1, |cx, a| {
        let items = array(a, 0)?;
        cx.charge_bytes(size_of_val(items))?;
        Ok(Value::array(items.iter().rev().cloned().collect()))
    }),
    ("array.flatten", 1, flatten),
    ("and", 2, |cx, a| both(cx, a, |x, y| x.intersection(y).cloned().collect())),
    ("or", 2, |cx, a| both(cx, a, |x, y| x.union(y).cloned().collect())),
    ("set_diff", 2, |cx, a| both(cx, a, |x, y| x.difference(y).cloned().collect())),
    ("intersection", 1, |cx, a| nested(cx, a, |x, y| x.intersection(y).cloned().collect())),
    ("union", 1, |cx, a| nested(cx, a, |x, y| x.union(y).cloned().collect())),
    ("object.get", 3, get),
    ("object.keys", 1, |cx, a| {
        let fields = object(a, 0)?;
        cx.charge_bytes(fields.len() * size_of::<Value>())?;
        Ok(Value::set(fields.keys().cloned()))
    }),
    ("object.remove", 2, |cx, a| chosen(cx, a, |listed| !listed)),
    ("object.filter", 2, |cx, a| chosen(cx, a, |listed| listed)),
    ("object.union", 2, |cx, a| {
        object(a, 0)?;
        object(a, 1)?;
        merged(cx, &a[0], &a[1])
    }),
    ("object.union_n", 1, |cx, a| {
        array(a, 0)?.iter().try_fold(Value::object([]), |out, next| match next {
            Value::Object(_) => merged(cx, &out, next),
            _ => Err(Failure::Type("operand 1 must be an array of objects".to_owned())),
        })
    }),
    ("object.subset", 2, |cx, a| Ok(subset(cx, &a[0], &a[1])?.into())),
    ("json.remove", 2, |cx, a| {
        object(a, 0)?;
        paths(a, 1)?.iter().try_fold(a[0].clone(), |out, path| without(cx, &out, path))
    }),
    ("json.filter", 2, |cx, a| {
        object(a, 0)?;
        let mut parts = BTreeMap::new();
        for path in paths(a, 1)? {
            cx.step(path.len() as u64)?;
            wish(&mut parts, path)?;
        }
        filtered(cx, &a[0], &parts)
    }),
];

fn array(args: &[Value], at: usize) -> Result<&[Value], Failure> {
    match &args[at] {
        Value::Array(items) => Ok(items),
        _ => Err(wrong_type(args, at, "array")),
    }
}

fn object(args: &[Value], at: usize) -> Result<&BTreeMap<Value, Value>, Failure> {
    match &args[at] {
        Value::Object(fields) => Ok(fields),
        _ => Err(wrong_type(args, at, "object")),
    }
}

fn set(args: &[Value], at: usize) -> Result<&BTreeSet<Value>, Failure> {
    match &args[at] {
        Value::Set(members) => Ok(members),
        _ => Err(wrong_type(args, at, "set")),
    }
}

fn slice(cx: &mut Cx, args: &[Value]) -> Made {
    let items = array(args, 0)?;
    let clamp = |n: i128| n.clamp(0, items.len() as i128) as usize;
    let (from, to) = (clamp(whole(args, 1)?), clamp(whole(args, 2)?));
    cx.charge_bytes(to.saturating_sub(from) * size_of::<Value>())?;
    Ok(Value::array(if from < to { items[from..to].to_vec() } else { Vec::new() }))
}

fn flatten(cx: &mut Cx, args: &[Value]) -> Made {
    let mut out = Vec::new();
    for item in array(args, 0)? {
        // One level, as in OPA.
        let items = match item {
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        cx.charge_bytes(size_of_val(items))?;
        out.extend_from_slice(items);
    }
    Ok(Value::array(out))
}

type Join = fn(&BTreeSet<Value>, &BTreeSet<Value>) -> BTreeSet<Value>;

fn both(cx: &mut Cx, args: &[Value], join: Join) -> Made {
    let (a, b) = (set(args, 0)?, set(args, 1)?);
    cx.charge_bytes((a.len() + b.len()) * size_of::<Value>())?;
    Ok(Value::Set(Arc::new(join(a, b))))
}

fn nested(cx: &mut Cx, args: &[Value], join: Join) -> Made {
    let mut out: Option<BTreeSet<Value>> = None;
    for member in set(args, 0)? {
        let Value::Set(next) = member else { return Err(wrong_type(args, 0, "set of sets")) };
        cx.charge_bytes(next.len() * size_of::<Value>())?;
        cx.step(out.as_ref().map_or(0, |it| it.len() as u64))?;
        out = Some(out.map_or_else(|| (**next).clone(), |out| join(&out, next)));
    }
    Ok(Value::Set(Arc::new(out.unwrap_or_default())))
}

fn get(_: &mut Cx, args: &[Value]) -> Made {
    object(args, 0)?;
    let found = match &args[1] {
        Value::Array(path) => path.iter().try_fold(&args[0], |value, key| value.get(key)),
        key => args[0].get(key),
    };
    Ok(found.unwrap_or(&args[2]).clone())
}

fn chosen(cx: &mut Cx, args: &[Value], keep: fn(bool) -> bool) -> Made {
    let fields = object(args, 0)?;
    let listed = |key: &Value| match &args[1] {
        Value::Array(items) => Ok(items.contains(key)),
        Value::Set(members) => Ok(members.contains(key)),
        Value::Object(fields) => Ok(fields.contains_key(key)),
        _ => Err(wrong_type(args, 1, "array, set or object")),
    };
    cx.charge_bytes(fields.len() * 2 * size_of::<Value>())?;
    if let Value::Array(items) = &args[1] {
        cx.step(fields.len().saturating_mul(items.len()) as u64)?;
    }
    let mut out = BTreeMap::new();
    for (key, value) in fields {
        if keep(listed(key)?) {
            out.insert(key.clone(), value.clone());
        }
    }
    Ok(Value::Object(Arc::new(out)))
}

/// `a` with the fields of `b`, object into object.
fn merged(cx: &mut Cx, a: &Value, b: &Value) -> Made {
    let (Value::Object(x), Value::Object(y)) = (a, b) else { return Ok(b.clone()) };
    cx.charge_bytes((x.len() + y.len()) * 2 * size_of::<Value>())?;
    let mut out = (**x).clone();
    for (key, value) in y.iter() {
        let value = match out.get(key) {
            Some(old) => merged(cx, old, value)?,
            None => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    Ok(Value::Object(Arc::new(out)))
}

fn subset(cx: &mut Cx, whole: &Value, part: &Value) -> Result<bool, Failure> {
    cx.step(part.len().unwrap_or(1) as u64)?;
    Ok(match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part.iter() {
                let Some(other) = whole.get(key) else { return Ok(false) };
                let collections = value.len().is_some() && other.type_name() == value.type_name();
                if !(if collections { subset(cx, other, value)? } else { other == value }) {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Set(whole), Value::Set(part)) => part.is_subset(whole),
        (Value::Array(whole), Value::Array(part)) if part.is_empty() => whole.len() >= part.len(),
        (Value::Array(whole), Value::Array(part)) => whole.windows(part.len()).any(|window| window == part.as_slice()),
        (Value::Array(whole), Value::Set(part)) => part.iter().all(|member| whole.contains(member)),
        _ => return Err("both arguments must be objects, sets or arrays".into()),
    })
}

/// Paths given as arrays of keys or as strings with slashes.
fn paths(args: &[Value], at: usize) -> Result<Vec<Vec<Value>>, Failure> {
    let all: Vec<&Value> = match &args[at] {
        Value::Array(items) => items.iter().collect(),
        Value::Set(members) => members.iter().collect(),
        _ => return Err(wrong_type(args, at, "array or set")),
    };
    all.into_iter()
        .map(|path| match path {
            Value::Array(keys) => Ok(keys.to_vec()),
            Value::String(text) => {
                let keys = text.trim_start_matches('/').split('/');
                Ok(keys.map(|key| Value::string(&key.replace("~1", "/").replace("~0", "~"))).collect())
            }
            _ => Err(wrong_type(args, at, "a collection of paths")),
        })
        .collect()
}

/// A key of a path as it is meant for `value`: in arrays, a number may be written as text.
fn key_for(value: &Value, key: &Value) -> Value {
    match (value, key) {
        (Value::Array(_), Value::String(text)) => text.parse::<i64>().map_or_else(|_| key.clone(), Value::int),
        _ => key.clone(),
    }
}

fn without(cx: &mut Cx, value: &Value, path: &[Value]) -> Made {
    let Some((first, rest)) = path.split_first() else { return Ok(value.clone()) };
    let key = key_for(value, first);
    let Some(inner) = value.get(&key) else { return Ok(value.clone()) };
    let inner = if rest.is_empty() { None } else { Some(without(cx, inner, rest)?) };
    cx.charge_bytes(value.len().unwrap_or(0) * 2 * size_of::<Value>())?;
    Ok(match value {
        Value::Object(fields) => {
            let mut out = (**fields).clone();
            match inner {
                Some(inner) => out.insert(key, inner),
                None => out.remove(&key),
            };
            Value::Object(Arc::new(out))
        }
        Value::Array(items) => {
            let at = |n: usize| Value::int(n as i128) == key;
            let kept =
                items.iter().enumerate().filter_map(|(n, item)| if at(n) { inner.clone() } else { Some(item.clone()) });
            Value::array(kept.collect())
        }
        Value::Set(members) => Value::set(members.iter().filter(|member| **member != key).cloned()),
        other => other.clone(),
    })
}

/// What of a value is wanted.
enum Wanted {
    All,
    Parts(BTreeMap<Value, Wanted>),
}

/// More parts of a path than a value is deep.
const PATH_PARTS_MAX: usize = 256;

/// Adds a path to what is wanted; a longer one than another that is wanted as a whole adds nothing.
fn wish(mut parts: &mut BTreeMap<Value, Wanted>, mut path: Vec<Value>) -> Result<(), Failure> {
    if path.len() > PATH_PARTS_MAX {
        return Err(format!("a path has more than {PATH_PARTS_MAX} parts").into());
    }
    let Some(last) = path.pop() else { return Ok(()) };
    for key in path {
        match parts.entry(key).or_insert_with(|| Wanted::Parts(BTreeMap::new())) {
            Wanted::All => return Ok(()),
            Wanted::Parts(inner) => parts = inner,
        }
    }
    parts.insert(last, Wanted::All);
    Ok(())
}

/// What is wanted of a value; one without parts stays as it is.
fn filtered(cx: &mut Cx, value: &Value, parts: &BTreeMap<Value, Wanted>) -> Made {
    cx.charge_bytes((value.len().unwrap_or(0).min(parts.len()) + 1) * 2 * size_of::<Value>())?;
    let mut kept = |wanted: &Wanted, it: &Value| match wanted {
        Wanted::All => Ok(it.clone()),
        Wanted::Parts(parts) => filtered(cx, it, parts),
    };
    match value {
        Value::Object(fields) => {
            let found = parts.iter().filter_map(|(key, wanted)| Some((key, wanted, fields.get(key)?)));
            let made: Result<BTreeMap<Value, Value>, Failure> =
                found.map(|(key, wanted, it)| Ok((key.clone(), kept(wanted, it)?))).collect();
            Ok(Value::Object(Arc::new(made?)))
        }
        Value::Array(items) => {
            let mut found: Vec<(usize, &Wanted)> =
                parts.iter().filter_map(|(key, wanted)| Some((place(key)?, wanted))).collect();
            found.sort_by_key(|it| it.0);
            found.dedup_by_key(|it| it.0);
            let made: Result<Vec<Value>, Failure> =
                found.into_iter().filter_map(|(at, wanted)| Some(kept(wanted, items.get(at)?))).collect();
            Ok(Value::array(made?))
        }
        Value::Set(members) => {
            let found = parts.iter().filter_map(|(key, wanted)| Some((wanted, members.get(key)?)));
            let made: Result<Vec<Value>, Failure> = found.map(|(wanted, it)| kept(wanted, it)).collect();
            Ok(Value::set(made?))
        }
        other => Ok(other.clone()),
    }
}

/// The place in an array that a part of a path names.
fn place(key: &Value) -> Option<usize> {
    match key {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => usize::try_from(number.as_whole()?).ok(),
        _ => None,
    }
}
