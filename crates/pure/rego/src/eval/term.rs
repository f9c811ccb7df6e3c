//! Terms: the value of one that has a single value, all values of one that iterates, and patterns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Each, Eval, Res};
use crate::builtins::Failure;
use crate::error::{Fault, Position};
use crate::ir::{Closure, Kind, Makes, Node};
use crate::value::Value;

impl<'p> Eval<'p> {
    /// Whether `node` has several values as long as its variables are free.
    pub(super) fn seeks(&self, node: &Node) -> bool {
        matches!(node.kind, Kind::Walk(_)) || node.seeks.iter().any(|slot| self.slot(*slot).is_none())
    }

    /// Whether the pattern `node` has a free variable.
    pub(super) fn open(&self, node: &Node) -> bool {
        match &node.kind {
            Kind::Slot(slot) => self.slot(*slot).is_none(),
            Kind::Array(items) => items.iter().any(|item| self.open(item)),
            Kind::Object(fields) => fields.iter().any(|(_, value)| self.open(value)),
            _ => false,
        }
    }

    /// The value of `node`, which does not iterate; nothing if it is undefined.
    pub(super) fn value(&mut self, node: &'p Node) -> Res<Option<Value>> {
        Ok(match &node.kind {
            Kind::Const(value) => Some(value.clone()),
            Kind::Slot(slot) => self.slot(*slot).cloned(),
            Kind::Input(path) => {
                let input = self.context.input.clone();
                self.follow(input, path)?
            }
            Kind::Rule(group, path) => {
                let value = self.group(*group)?;
                self.follow(value, path)?
            }
            Kind::Ref(head, path) => {
                let value = self.value(head)?;
                self.follow(value, path)?
            }
            Kind::Data(_) | Kind::Walk(_) => {
                let mut found = None;
                self.each(node, &mut |_, value| {
                    found = Some(value.clone());
                    Ok(false)
                })?;
                found
            }
            Kind::Array(items) => self.elements(items, node.position)?.map(Value::array),
            Kind::Set(items) => self.elements(items, node.position)?.map(Value::set),
            Kind::Object(fields) => self.object(fields, node.position)?,
            Kind::Closure(closure) => Some(self.closure(closure, node.position)?),
            Kind::Builtin(builtin, args) => match self.values(args)? {
                Some(args) => self.builtin(builtin, args, node.position)?,
                None => None,
            },
            Kind::Function(group, args) => match self.values(args)? {
                Some(args) => self.function(*group, args, node.position)?,
                None => None,
            },
        })
    }

    /// The part of `value` that `path` leads to.
    fn follow(&mut self, value: Option<Value>, path: &'p [Node]) -> Res<Option<Value>> {
        let Some(value) = value else { return Ok(None) };
        if path.is_empty() {
            return Ok(Some(value));
        }
        let mut at = &value;
        for step in path {
            let part = match &step.kind {
                Kind::Const(key) => at.get(key),
                _ => self.value(step)?.and_then(|key| at.get(&key)),
            };
            match part {
                Some(part) => at = part,
                None => return Ok(None),
            }
        }
        Ok(Some(at.clone()))
    }

    fn elements(&mut self, nodes: &'p [Node], position: Position) -> Res<Option<Vec<Value>>> {
        self.charge(nodes.len() * size_of::<Value>(), position)?;
        self.values(nodes)
    }

    fn values(&mut self, nodes: &'p [Node]) -> Res<Option<Vec<Value>>> {
        let mut out = Vec::with_capacity(nodes.len());
        for node in nodes {
            match self.value(node)? {
                Some(value) => out.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(out))
    }

    fn object(&mut self, fields: &'p [(Node, Node)], position: Position) -> Res<Option<Value>> {
        self.charge(fields.len() * 2 * size_of::<Value>(), position)?;
        let mut out = BTreeMap::new();
        for (key, value) in fields {
            match (self.value(key)?, self.value(value)?) {
                (Some(key), Some(value)) => out.insert(key, value),
                _ => return Ok(None),
            };
        }
        Ok(Some(Value::Object(Arc::new(out))))
    }

    fn closure(&mut self, closure: &'p Closure, position: Position) -> Res<Value> {
        const ITEM: usize = size_of::<Value>();
        match &closure.makes {
            Makes::Array(node) => {
                let mut out = Vec::new();
                self.body(&closure.body, &mut |eval| {
                    eval.charge(ITEM, position)?;
                    out.extend(eval.value(node)?);
                    Ok(true)
                })?;
                Ok(Value::array(out))
            }
            Makes::Set(node) => {
                let mut out = BTreeSet::new();
                self.body(&closure.body, &mut |eval| {
                    eval.charge(ITEM, position)?;
                    out.extend(eval.value(node)?);
                    Ok(true)
                })?;
                Ok(Value::Set(Arc::new(out)))
            }
            Makes::Object(key, value) => {
                let mut out: BTreeMap<Value, Value> = BTreeMap::new();
                self.body(&closure.body, &mut |eval| {
                    eval.charge(2 * ITEM, position)?;
                    let (Some(key), Some(value)) = (eval.value(key)?, eval.value(value)?) else { return Ok(true) };
                    if out.get(&key).is_some_and(|old| *old != value) {
                        let message = "object keys must be unique".to_owned();
                        return Err(Fault::Conflict { place: eval.place(position), message });
                    }
                    out.insert(key, value);
                    Ok(true)
                })?;
                Ok(Value::Object(Arc::new(out)))
            }
        }
    }

    pub(super) fn builtin(
        &mut self,
        builtin: &'static crate::builtins::Builtin,
        args: Vec<Value>,
        position: Position,
    ) -> Res<Option<Value>> {
        if let Some(mocked) = self.mocked_builtin(builtin.name, &args, position)? {
            return Ok(mocked);
        }
        match self.cx.look_at(&args).and_then(|()| (builtin.call)(&mut self.cx, &args)) {
            Ok(value) => Ok(Some(value)),
            Err(Failure::Error(_) | Failure::Type(_)) if !self.strict => Ok(None),
            Err(failure) => Err(self.fault(failure, position)),
        }
    }

    /// Calls `each` with every value of `node`.
    pub(super) fn each(&mut self, node: &'p Node, each: Each<'_, 'p>) -> Res<bool> {
        match &node.kind {
            Kind::Input(path) => match self.context.input.clone() {
                Some(input) => self.walk_path(&input, path, each),
                None => Ok(true),
            },
            Kind::Rule(group, path) => match self.group(*group)? {
                Some(value) => self.walk_path(&value, path, each),
                None => Ok(true),
            },
            Kind::Ref(head, path) => self.each(head, &mut |eval, value| eval.walk_path(value, path, each)),
            Kind::Data(path) => {
                let base = self.context.data.clone();
                self.data(Some(&self.program.tree), Some(base), path, each)
            }
            Kind::Walk(of) => match self.value(of)? {
                Some(of) => self.walk(&of, &mut Vec::new(), node.position, each),
                None => Ok(true),
            },
            _ => match self.value(node)? {
                Some(value) => each(self, &value),
                None => Ok(true),
            },
        }
    }

    /// Calls `each` with every part of `value` that `path` leads to.
    pub(super) fn walk_path(&mut self, value: &Value, path: &'p [Node], each: Each<'_, 'p>) -> Res<bool> {
        let (mut value, mut path) = (value, path);
        let (first, rest) = loop {
            let Some((first, rest)) = path.split_first() else { return each(self, value) };
            if self.open(first) {
                break (first, rest);
            }
            let part = match &first.kind {
                Kind::Const(key) => value.get(key),
                _ => self.value(first)?.and_then(|key| value.get(&key)),
            };
            let Some(part) = part else { return Ok(true) };
            (value, path) = (part, rest);
        };
        self.members(value, first.position, &mut |eval, key, part| {
            let mark = eval.trail.len();
            // In a set, a member is its own key.
            let key = if matches!(value, Value::Set(_)) { part } else { key };
            let more = if eval.bind(first, key)? { eval.walk_path(part, rest, each)? } else { true };
            eval.undo(mark);
            Ok(more)
        })
    }

    /// Calls `each` with every key and value of a collection; the members of a set are their own keys.
    pub(super) fn members(
        &mut self,
        of: &Value,
        position: Position,
        each: &mut dyn FnMut(&mut Self, &Value, &Value) -> Res<bool>,
    ) -> Res<bool> {
        match of {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.tick(position)?;
                    if !each(self, &Value::int(at as i128), item)? {
                        return Ok(false);
                    }
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields.iter() {
                    self.tick(position)?;
                    if !each(self, key, value)? {
                        return Ok(false);
                    }
                }
            }
            Value::Set(members) => {
                for member in members.iter() {
                    self.tick(position)?;
                    if !each(self, member, member)? {
                        return Ok(false);
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// Calls `each` with `[path, value]` for `value` and everything in it.
    fn walk(&mut self, value: &Value, path: &mut Vec<Value>, position: Position, each: Each<'_, 'p>) -> Res<bool> {
        self.tick(position)?;
        self.charge((path.len() + 3) * size_of::<Value>(), position)?;
        let pair = Value::array(vec![Value::array(path.clone()), value.clone()]);
        if !each(self, &pair)? {
            return Ok(false);
        }
        self.members(value, position, &mut |eval, key, part| {
            path.push(key.clone());
            let more = eval.walk(part, path, position, each);
            path.pop();
            more
        })
    }

    /// Makes the pattern `node` equal to `value`; what that binds stays bound, also where it fails.
    pub(super) fn bind(&mut self, node: &'p Node, value: &Value) -> Res<bool> {
        match &node.kind {
            Kind::Slot(slot) => match self.slot(*slot) {
                Some(bound) => Ok(bound == value),
                None => {
                    self.set(*slot, value.clone());
                    Ok(true)
                }
            },
            Kind::Const(constant) => Ok(constant == value),
            Kind::Array(items) => {
                let Value::Array(values) = value else { return Ok(false) };
                if items.len() != values.len() {
                    return Ok(false);
                }
                for (item, value) in items.iter().zip(values.iter()) {
                    if !self.bind(item, value)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Kind::Object(fields) => {
                let Value::Object(values) = value else { return Ok(false) };
                if fields.len() != values.len() {
                    return Ok(false);
                }
                for (key, field) in fields.iter() {
                    let Some(key) = self.value(key)? else { return Ok(false) };
                    let Some(value) = values.get(&key) else { return Ok(false) };
                    if !self.bind(field, value)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(self.value(node)?.as_ref() == Some(value)),
        }
    }
}
