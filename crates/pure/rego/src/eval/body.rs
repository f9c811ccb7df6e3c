//! Statements.

use super::{Eval, Next, Res};
use crate::ir::{Kind, Node, Slot, Step, StepKind};
use crate::program::Print;
use crate::value::Value;

impl<'p> Eval<'p> {
    /// Calls `next` for every way in which all `steps` hold.
    pub(super) fn body(&mut self, steps: &'p [Step], next: Next<'_, 'p>) -> Res<bool> {
        let mark = self.trail.len();
        let more = self.steps(steps, next);
        self.undo(mark);
        more
    }

    fn steps(&mut self, steps: &'p [Step], next: Next<'_, 'p>) -> Res<bool> {
        for (at, step) in steps.iter().enumerate() {
            self.tick(step.position)?;
            let single = if step.with.is_none() { self.single(step)? } else { None };
            match single {
                Some(true) => {}
                Some(false) => return Ok(true),
                None => {
                    let rest = &steps[at + 1..];
                    return self.many(step, &mut |eval| eval.body(rest, next));
                }
            }
        }
        next(self)
    }

    /// Whether `step` holds, if it holds in at most one way.
    fn single(&mut self, step: &'p Step) -> Res<Option<bool>> {
        Ok(match &step.kind {
            StepKind::Test(node) if self.seeks(node) => None,
            StepKind::Test(node) => Some(self.value(node)?.is_some_and(truthy)),
            StepKind::Unify(a, b) if self.seeks(a) || self.seeks(b) => None,
            StepKind::Unify(a, b) => Some(self.unify(a, b)?),
            StepKind::Not(inner) => Some(!self.holds(inner)?),
            StepKind::In { key: None, value, of } if !self.open(value) => {
                let (Some(of), Some(value)) = (self.value(of)?, self.value(value)?) else { return Ok(Some(false)) };
                Some(crate::builtins::is_member(&value, &of))
            }
            StepKind::In { .. } => None,
            StepKind::Every { key, value, domain, body, .. } => Some(self.every(*key, *value, domain, body)?),
            StepKind::Print(nodes) => {
                self.print(nodes, step)?;
                Some(true)
            }
        })
    }

    /// Calls `next` for every way in which `step` holds.
    pub(super) fn many(&mut self, step: &'p Step, next: Next<'_, 'p>) -> Res<bool> {
        let Some(with) = &step.with else { return self.plain(step, next) };
        let Some(mut other) = self.replaced(with, step.position)? else { return Ok(true) };
        std::mem::swap(&mut self.context, &mut other);
        let more = self.plain(step, &mut |eval| {
            // What follows the statement sees the world as it is without the replacements.
            std::mem::swap(&mut eval.context, &mut other);
            let more = next(eval);
            std::mem::swap(&mut eval.context, &mut other);
            more
        });
        std::mem::swap(&mut self.context, &mut other);
        more
    }

    fn plain(&mut self, step: &'p Step, next: Next<'_, 'p>) -> Res<bool> {
        match self.single(step)? {
            Some(true) => return next(self),
            Some(false) => return Ok(true),
            None => {}
        }
        match &step.kind {
            StepKind::Test(node) => {
                self.each(node, &mut |eval, value| if truthy(value.clone()) { next(eval) } else { Ok(true) })
            }
            StepKind::Unify(a, b) => {
                let (first, second) = if self.seeks(a) { (a, b) } else { (b, a) };
                self.each(first, &mut |eval, value| eval.matching(second, value, next))
            }
            StepKind::In { key, value, of } => {
                let Some(of) = self.value(of)? else { return Ok(true) };
                self.members(&of, step.position, &mut |eval, k, v| {
                    let mark = eval.trail.len();
                    let fits = match key {
                        Some(key) => eval.bind(key, k)?,
                        None => true,
                    };
                    let more = if fits && eval.bind(value, v)? { next(eval)? } else { true };
                    eval.undo(mark);
                    Ok(more)
                })
            }
            _ => Ok(true),
        }
    }

    /// Calls `next` for every way in which `pattern` fits `value`.
    fn matching(&mut self, pattern: &'p Node, value: &Value, next: Next<'_, 'p>) -> Res<bool> {
        if self.seeks(pattern) {
            return self.each(pattern, &mut |eval, other| if other == value { next(eval) } else { Ok(true) });
        }
        let mark = self.trail.len();
        let more = if self.bind(pattern, value)? { next(self)? } else { true };
        self.undo(mark);
        Ok(more)
    }

    /// Makes `a` and `b` equal, where neither iterates.
    fn unify(&mut self, a: &'p Node, b: &'p Node) -> Res<bool> {
        if !self.open(a) {
            return match self.value(a)? {
                Some(value) => self.bind(b, &value),
                None => Ok(false),
            };
        }
        if !self.open(b) {
            return match self.value(b)? {
                Some(value) => self.bind(a, &value),
                None => Ok(false),
            };
        }
        match (&a.kind, &b.kind) {
            (Kind::Array(a), Kind::Array(b)) if a.len() == b.len() => {
                // What one pair binds, another may need: pairs that are open on both sides wait.
                let mut later: Vec<(&'p Node, &'p Node)> = a.iter().zip(b).collect();
                while !later.is_empty() {
                    let ready = later.iter().position(|(a, b)| !self.open(a) || !self.open(b)).unwrap_or(0);
                    let (a, b) = later.remove(ready);
                    if !self.unify(a, b)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Kind::Object(a), Kind::Object(b)) if a.len() == b.len() => {
                for ((ka, va), (kb, vb)) in a.iter().zip(b) {
                    if self.value(ka)? != self.value(kb)? || !self.unify(va, vb)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn every(&mut self, key: Slot, value: Slot, domain: &'p Node, body: &'p [Step]) -> Res<bool> {
        let Some(domain) = self.value(domain)? else { return Ok(false) };
        if domain.len().is_none() {
            return Ok(false);
        }
        let mut all = true;
        let position = body.first().map(|step| step.position).unwrap_or_default();
        self.members(&domain, position, &mut |eval, k, v| {
            let mark = eval.trail.len();
            eval.set(key, k.clone());
            eval.set(value, v.clone());
            let mut holds = false;
            eval.body(body, &mut |_| {
                holds = true;
                Ok(false)
            })?;
            eval.undo(mark);
            all &= holds;
            Ok(holds)
        })?;
        Ok(all)
    }

    fn print(&mut self, nodes: &'p [Node], step: &'p Step) -> Res<()> {
        if self.prints.len() >= super::PRINTS_MAX {
            return Ok(());
        }
        let mut words = Vec::with_capacity(nodes.len());
        for node in nodes {
            let mut word = None;
            let mark = self.trail.len();
            self.each(node, &mut |_, value| {
                word = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                Ok(false)
            })?;
            self.undo(mark);
            words.push(word.unwrap_or_else(|| "<undefined>".to_owned()));
        }
        let text = words.join(" ");
        self.charge(text.len(), step.position)?;
        let place = self.place(step.position);
        self.prints.push(Print { place, text });
        Ok(())
    }
}

/// Whether a statement that has this value holds.
pub(super) fn truthy(value: Value) -> bool {
    value != Value::Bool(false)
}
