//! Rules and functions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Eval, Res};
use crate::error::{Fault, Position};
use crate::ir::{Group, GroupKind, Kind, Node, Rule, Step};
use crate::value::Value;

impl<'p> Eval<'p> {
    /// What the rules of a group make, computed once for each state of input and data.
    pub(super) fn group(&mut self, index: u32) -> Res<Option<Value>> {
        if let Some(Some(known)) = self.context.known.get(index as usize) {
            return Ok(known.clone());
        }
        let program = self.program;
        let group = &program.groups[index as usize];
        let value = match self.patched(group)? {
            Some(patched) => patched,
            None => {
                let value = self.made(group)?;
                self.overlaid(group, value)
            }
        };
        if let Some(known) = self.context.known.get_mut(index as usize) {
            *known = Some(value.clone());
        }
        Ok(value)
    }

    fn made(&mut self, group: &'p Group) -> Res<Option<Value>> {
        match group.kind {
            GroupKind::Complete => self.decided(group, &[], Position::default()),
            GroupKind::Function(_) => Ok(None),
            GroupKind::Set => {
                let mut out = BTreeSet::new();
                for rule in &group.rules {
                    self.framed(rule.frame, rule.module, |eval| {
                        eval.tick(rule.position)?;
                        eval.body(&rule.body, &mut |eval| {
                            eval.charge(size_of::<Value>(), rule.position)?;
                            out.extend(eval.value(&rule.value)?);
                            Ok(true)
                        })
                    })?;
                }
                Ok(Some(Value::Set(Arc::new(out))))
            }
            GroupKind::Object => self.fields(group).map(Some),
        }
    }

    fn fields(&mut self, group: &'p Group) -> Res<Value> {
        let mut out = Value::object([]);
        for rule in &group.rules {
            let mut pairs = Vec::new();
            self.framed(rule.frame, rule.module, |eval| {
                eval.tick(rule.position)?;
                eval.solutions(rule, &mut pairs)
            })?;
            for (keys, value) in pairs {
                let fits = if rule.member { gather(&mut out, &keys, value) } else { insert(&mut out, &keys, value) };
                if !fits {
                    let message = format!("data.{}: object keys must be unique", group.path.join("."));
                    let place = self.framed(0, rule.module, |eval| Ok(eval.place(rule.position)))?;
                    return Err(Fault::Conflict { place, message });
                }
            }
        }
        let default = group.default.as_ref().filter(|_| out.is_empty());
        match default {
            Some(rule) => Ok(self.applied(rule, &[])?.unwrap_or(out)),
            None => Ok(out),
        }
    }

    /// The keys and values of a rule that makes fields; the bodies after `else` where the first has none.
    fn solutions(&mut self, rule: &'p Rule, out: &mut Vec<(Vec<Value>, Value)>) -> Res<()> {
        self.body(&rule.body, &mut |eval| {
            eval.charge(3 * size_of::<Value>(), rule.position)?;
            let mut keys = Vec::with_capacity(rule.keys.len());
            for key in &rule.keys {
                match eval.value(key)? {
                    Some(key) => keys.push(key),
                    None => return Ok(true),
                }
            }
            out.extend(eval.value(&rule.value)?.map(|value| (keys, value)));
            Ok(true)
        })?;
        Ok(())
    }

    /// The value that all rules of a group agree on.
    fn decided(&mut self, group: &'p Group, args: &[Value], position: Position) -> Res<Option<Value>> {
        let mut found: Option<Value> = None;
        for rule in &group.rules {
            let value = self.applied(rule, args)?;
            match (&found, value) {
                (_, None) => {}
                (None, some) => found = some,
                (Some(old), Some(new)) if *old == new => {}
                _ => return Err(self.conflict(group, rule)),
            }
            if group.constant && found.is_some() {
                break;
            }
        }
        match (&found, &group.default) {
            (None, Some(default)) => self.applied(default, args),
            _ => {
                let _ = position;
                Ok(found)
            }
        }
    }

    fn conflict(&mut self, group: &Group, rule: &Rule) -> Fault {
        let what = if matches!(group.kind, GroupKind::Function(_)) {
            "functions must not produce multiple outputs for same inputs"
        } else {
            "complete rules must not produce multiple outputs"
        };
        let message = format!("data.{}: {what}", group.path.join("."));
        let module = std::mem::replace(&mut self.module, rule.module);
        let place = self.place(rule.position);
        self.module = module;
        Fault::Conflict { place, message }
    }

    /// The value of one rule.
    fn applied(&mut self, rule: &'p Rule, args: &[Value]) -> Res<Option<Value>> {
        self.framed(rule.frame, rule.module, |eval| {
            eval.tick(rule.position)?;
            for (param, arg) in rule.params.iter().zip(args) {
                if !eval.bind(param, arg)? {
                    return Ok(None);
                }
            }
            let mut value = eval.outcome(rule, &rule.value, &rule.body)?;
            for (otherwise, body) in &rule.otherwise {
                if value.is_some() {
                    break;
                }
                value = eval.outcome(rule, otherwise, body)?;
            }
            Ok(value)
        })
    }

    fn outcome(&mut self, rule: &'p Rule, value: &'p Node, body: &'p [Step]) -> Res<Option<Value>> {
        let constant = matches!(value.kind, Kind::Const(_));
        let mut found: Option<Value> = None;
        self.body(body, &mut |eval| {
            match (&found, eval.value(value)?) {
                (_, None) => {}
                (None, some) => found = some,
                (Some(old), Some(new)) if *old == new => {}
                _ => {
                    let message = "a rule must not produce multiple outputs".to_owned();
                    return Err(Fault::Conflict { place: eval.place(rule.position), message });
                }
            }
            Ok(!constant)
        })?;
        Ok(found)
    }

    pub(super) fn function(&mut self, index: u32, args: Vec<Value>, position: Position) -> Res<Option<Value>> {
        if let Some(mocked) = self.mocked_function(index, &args, position)? {
            return Ok(mocked);
        }
        let program = self.program;
        self.decided(&program.groups[index as usize], &args, position)
    }
}

/// Puts `member` into the set where `keys` lead; says whether nothing but a set was there.
fn gather(into: &mut Value, keys: &[Value], member: Value) -> bool {
    let Some((first, rest)) = keys.split_first() else {
        if into.is_empty() && !matches!(into, Value::Set(_)) {
            *into = Value::set([]);
        }
        let Value::Set(members) = into else { return false };
        Arc::make_mut(members).insert(member);
        return true;
    };
    let Value::Object(fields) = into else { return false };
    gather(Arc::make_mut(fields).entry(first.clone()).or_insert_with(|| Value::object([])), rest, member)
}

/// Puts `value` where `keys` lead; says whether nothing else was there.
pub(super) fn insert(into: &mut Value, keys: &[Value], value: Value) -> bool {
    let Some((first, rest)) = keys.split_first() else {
        let fits = into.is_empty() || *into == value;
        *into = value;
        return fits;
    };
    let Value::Object(fields) = into else { return false };
    let fields: &mut BTreeMap<Value, Value> = Arc::make_mut(fields);
    if rest.is_empty() {
        return match fields.get(first) {
            Some(old) => *old == value,
            None => {
                fields.insert(first.clone(), value);
                true
            }
        };
    }
    insert(fields.entry(first.clone()).or_insert_with(|| Value::object([])), rest, value)
}
