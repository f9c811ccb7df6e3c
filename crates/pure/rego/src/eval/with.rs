//! The world that statements see, and what `with` replaces in it.

use std::sync::Arc;

use super::rules::insert;
use super::{Eval, Res};
use crate::builtins::{Builtin, Failure};
use crate::error::Position;
use crate::ir::{Group, Replacement, Target, With};
use crate::value::Value;

/// Input, data, and what was computed from them.
#[derive(Clone)]
pub(super) struct Context<'p> {
    pub(super) input: Option<Value>,
    pub(super) data: Value,
    /// The value of each group that was needed, `None` within for an undefined one.
    pub(super) known: Vec<Option<Option<Value>>>,
    /// Paths below `data` that were replaced.
    patches: Vec<Vec<Value>>,
    mocks: Vec<(Mocked, Mock<'p>)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mocked {
    Builtin(&'static str),
    Function(u32),
}

#[derive(Clone)]
enum Mock<'p> {
    Value(Value),
    Function(u32),
    Builtin(&'p Builtin),
}

impl Context<'_> {
    pub(super) fn new(input: Option<Value>, data: Value, groups: usize) -> Self {
        Context { input, data, known: vec![None; groups], patches: Vec::new(), mocks: Vec::new() }
    }
}

impl<'p> Eval<'p> {
    /// The world with `with` applied; nothing if a replacement is undefined.
    pub(super) fn replaced(&mut self, with: &'p [With], position: Position) -> Res<Option<Context<'p>>> {
        let mut next = self.context.clone();
        next.known = vec![None; next.known.len()];
        self.charge(next.known.len() * size_of::<Option<Value>>(), position)?;
        for one in with {
            let mock = match &one.value {
                Replacement::Value(node) => match self.value(node)? {
                    Some(value) => Mock::Value(value),
                    None => return Ok(None),
                },
                Replacement::Function(group) => Mock::Function(*group),
                Replacement::Builtin(builtin) => Mock::Builtin(builtin),
            };
            match (&one.target, mock) {
                (Target::Input(path), Mock::Value(value)) => {
                    let mut input = next.input.take().unwrap_or_else(|| Value::object([]));
                    replace(&mut input, path, value);
                    next.input = Some(input);
                }
                (Target::Data(path), Mock::Value(value)) => {
                    replace(&mut next.data, path, value);
                    next.patches.push(path.clone());
                }
                (Target::Builtin(name), mock) => next.mocks.push((Mocked::Builtin(name), mock)),
                (Target::Function(group), mock) => next.mocks.push((Mocked::Function(*group), mock)),
                // The compiler gives documents values only.
                _ => {}
            }
        }
        Ok(Some(next))
    }

    /// The value of a group whose document, or one around it, was replaced.
    pub(super) fn patched(&self, group: &Group) -> Res<Option<Option<Value>>> {
        if !self.context.patches.iter().any(|patch| starts_with(&group.path, patch)) {
            return Ok(None);
        }
        let key = |part: &Arc<str>| Value::String(part.clone());
        let found = group.path.iter().try_fold(&self.context.data, |value, part| value.get(&key(part)));
        Ok(Some(found.cloned()))
    }

    /// `value` with the parts of it that were replaced.
    pub(super) fn overlaid(&self, group: &Group, value: Option<Value>) -> Option<Value> {
        let mut value = value;
        for patch in &self.context.patches {
            let inside = patch.len() > group.path.len()
                && group.path.iter().zip(patch).all(|(part, key)| key.as_str() == Some(part));
            if !inside {
                continue;
            }
            let new = patch.iter().try_fold(&self.context.data, |value, key| value.get(key)).cloned();
            if let (Some(new), Some(old)) = (new, &mut value) {
                replace(old, &patch[group.path.len()..], new);
            }
        }
        value
    }

    /// What stands in for a built-in function, applied.
    pub(super) fn mocked_builtin(
        &mut self,
        name: &str,
        args: &[Value],
        position: Position,
    ) -> Res<Option<Option<Value>>> {
        if self.context.mocks.is_empty() {
            return Ok(None);
        }
        self.mocked(|mocked| matches!(mocked, Mocked::Builtin(other) if *other == name), args, position)
    }

    /// What stands in for a function of the program, applied.
    pub(super) fn mocked_function(
        &mut self,
        group: u32,
        args: &[Value],
        position: Position,
    ) -> Res<Option<Option<Value>>> {
        if self.context.mocks.is_empty() {
            return Ok(None);
        }
        self.mocked(|mocked| *mocked == Mocked::Function(group), args, position)
    }

    fn mocked(
        &mut self,
        is: impl Fn(&Mocked) -> bool,
        args: &[Value],
        position: Position,
    ) -> Res<Option<Option<Value>>> {
        let Some(at) = self.context.mocks.iter().rposition(|(mocked, _)| is(mocked)) else { return Ok(None) };
        let mock = self.context.mocks[at].1.clone();
        // A stand-in sees functions as they are, without itself or others standing in.
        let hidden = std::mem::take(&mut self.context.mocks);
        let value = match mock {
            Mock::Value(value) => Ok(Some(value)),
            Mock::Function(group) => self.function(group, args.to_vec(), position),
            Mock::Builtin(builtin) => match self.cx.look_at(args).and_then(|()| (builtin.call)(&mut self.cx, args)) {
                Ok(value) => Ok(Some(value)),
                Err(Failure::Error(_) | Failure::Type(_)) => Ok(None),
                Err(failure) => Err(self.fault(failure, position)),
            },
        };
        self.context.mocks = hidden;
        value.map(Some)
    }
}

fn starts_with(path: &[Arc<str>], patch: &[Value]) -> bool {
    patch.len() <= path.len() && patch.iter().zip(path).all(|(key, part)| key.as_str() == Some(part))
}

/// Puts `value` at `path`, making objects on the way.
fn replace(into: &mut Value, path: &[Value], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *into = value;
        return;
    };
    if !matches!(into, Value::Object(_)) {
        *into = Value::object([]);
    }
    if let Value::Object(fields) = into {
        let fields = Arc::make_mut(fields);
        if rest.is_empty() {
            fields.remove(first);
            insert(into, path, value);
        } else {
            replace(fields.entry(first.clone()).or_insert_with(|| Value::object([])), rest, value);
        }
    }
}
