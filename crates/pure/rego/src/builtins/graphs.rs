//! Graphs as objects: each node with its neighbours.

use std::collections::{BTreeSet, VecDeque};

use super::{Cx, Failure, Made, Row, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[("graph.reachable", 2, reachable), ("graph.reachable_paths", 2, reachable_paths)];

/// The members of an array or a set.
fn members(value: &Value) -> Option<Vec<&Value>> {
    match value {
        Value::Array(items) => Some(items.iter().collect()),
        Value::Set(items) => Some(items.iter().collect()),
        _ => None,
    }
}

fn starts(args: &[Value]) -> Result<Vec<&Value>, Failure> {
    if !matches!(args[0], Value::Object(_)) {
        return Err(wrong_type(args, 0, "object"));
    }
    members(&args[1]).ok_or_else(|| wrong_type(args, 1, "array or set"))
}

fn reachable(cx: &mut Cx, args: &[Value]) -> Made {
    let mut queue: VecDeque<&Value> = starts(args)?.into();
    let mut reached: BTreeSet<Value> = BTreeSet::new();
    while let Some(node) = queue.pop_front() {
        cx.step(1)?;
        let Some(edges) = args[0].get(node) else { continue };
        if reached.insert(node.clone()) {
            cx.charge_bytes(size_of::<Value>())?;
            queue.extend(members(edges).unwrap_or_default().into_iter().filter(|it| !reached.contains(*it)));
        }
    }
    Ok(Value::set(reached))
}

fn reachable_paths(cx: &mut Cx, args: &[Value]) -> Made {
    let mut paths = BTreeSet::new();
    for start in starts(args)? {
        if args[0].get(start).is_none() {
            continue;
        }
        walk(cx, &args[0], start, &mut Vec::new(), &mut paths)?;
    }
    Ok(Value::set(paths))
}

/// Follows every edge until there is none, or it leads back onto the path.
fn walk(
    cx: &mut Cx,
    graph: &Value,
    node: &Value,
    path: &mut Vec<Value>,
    paths: &mut BTreeSet<Value>,
) -> Result<(), Failure> {
    const DEPTH_MAX: usize = 1_000;
    cx.step(1)?;
    if path.len() >= DEPTH_MAX {
        return Err("a path is too long".into());
    }
    path.push(node.clone());
    let next: Vec<&Value> = graph.get(node).and_then(members).unwrap_or_default();
    let next: Vec<&Value> = next.into_iter().filter(|it| graph.get(it).is_some() && !path.contains(it)).collect();
    if next.is_empty() {
        cx.charge_bytes(path.len() * size_of::<Value>())?;
        paths.insert(Value::array(path.clone()));
    }
    for one in next {
        walk(cx, graph, one, path, paths)?;
    }
    path.pop();
    Ok(())
}
