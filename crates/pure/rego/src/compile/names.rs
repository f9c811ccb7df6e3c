//! Which names a body makes its own.
//!
//! Rego has three kinds of local variables: parameters; those declared by `some`, `:=` and `every`; and any other name
//! that nothing outside explains. The first two hide rules and imports, the last do not.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{Expr, ExprKind, Term, TermKind};
use crate::ir::Slot;

/// The local variables in sight.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    levels: Vec<HashMap<Arc<str>, Slot>>,
    /// Variables whose `:=` or `some` was not reached yet: bodies within do not see them.
    hidden: Vec<Slot>,
    /// How many slots were handed out.
    pub(crate) slots: Slot,
}

impl Scope {
    pub(crate) fn enter(&mut self) {
        self.levels.push(HashMap::new());
    }

    pub(crate) fn leave(&mut self) {
        self.levels.pop();
    }

    pub(crate) fn fresh(&mut self) -> Slot {
        self.slots += 1;
        self.slots - 1
    }

    /// The slot of `name` in the innermost level, made where it is missing.
    pub(crate) fn declare(&mut self, name: &Arc<str>) -> Slot {
        if let Some(slot) = self.levels.last().and_then(|level| level.get(name)) {
            return *slot;
        }
        let slot = self.fresh();
        if let Some(level) = self.levels.last_mut() {
            level.insert(name.clone(), slot);
        }
        slot
    }

    pub(crate) fn find(&self, name: &str) -> Option<Slot> {
        let innermost = self.levels.last()?;
        innermost.get(name).copied().or_else(|| {
            let outer = self.levels.iter().rev().skip(1);
            outer.filter_map(|level| level.get(name)).copied().find(|slot| !self.hidden.contains(slot))
        })
    }

    pub(crate) fn hide(&mut self, slot: Slot) {
        self.hidden.push(slot);
    }

    /// Lets bodies within see the variables of the innermost level that `expr` declares.
    pub(crate) fn reveal(&mut self, expr: &Expr) {
        if self.hidden.is_empty() {
            return;
        }
        for name in declared(std::slice::from_ref(expr)) {
            let slot = self.levels.last().and_then(|level| level.get(&name)).copied();
            self.hidden.retain(|hidden| Some(*hidden) != slot);
        }
    }

    /// The innermost level's names.
    pub(crate) fn names(&self) -> Vec<(Arc<str>, Slot)> {
        let level = self.levels.last();
        level.map(|level| level.iter().map(|(name, slot)| (name.clone(), *slot)).collect()).unwrap_or_default()
    }
}

/// The names that the statements of `body` declare, in order.
pub(crate) fn declared(body: &[Expr]) -> Vec<Arc<str>> {
    let mut out = Vec::new();
    for expr in body {
        match &expr.kind {
            ExprKind::Some(names) => out.extend(names.iter().cloned()),
            ExprKind::Assign(left, _) => pattern(left, &mut out),
            ExprKind::SomeIn(key, value, _) => {
                key.iter().for_each(|key| pattern(key, &mut out));
                pattern(value, &mut out);
            }
            _ => {}
        }
    }
    out.retain(|name| &**name != "_");
    out
}

/// The variables of a pattern: what `:=` declares.
fn pattern(term: &Term, out: &mut Vec<Arc<str>>) {
    match &term.kind {
        TermKind::Var(name) => out.push(name.clone()),
        TermKind::Array(items) => items.iter().for_each(|item| pattern(item, out)),
        TermKind::Object(fields) => fields.iter().for_each(|(_, value)| pattern(value, out)),
        _ => {}
    }
}

/// Every name that occurs in `body` itself, not in the bodies within it.
pub(crate) fn mentioned(body: &[Expr], out: &mut Vec<Arc<str>>) {
    for expr in body {
        match &expr.kind {
            ExprKind::Test(term) => names(term, out),
            ExprKind::Unify(a, b) | ExprKind::Assign(a, b) => {
                names(a, out);
                names(b, out);
            }
            ExprKind::Not(inner) => mentioned(std::slice::from_ref(inner), out),
            ExprKind::Some(_) => {}
            ExprKind::SomeIn(key, value, of) => {
                key.iter().for_each(|key| names(key, out));
                names(value, out);
                names(of, out);
            }
            ExprKind::Every { domain, .. } => names(domain, out),
        }
        for (_, value) in &expr.with {
            names(value, out);
        }
    }
}

/// Every name that occurs in `term`, outside of comprehensions.
pub(crate) fn names(term: &Term, out: &mut Vec<Arc<str>>) {
    match &term.kind {
        TermKind::Const(_) | TermKind::ArrayOf(..) | TermKind::SetOf(..) | TermKind::ObjectOf(..) => {}
        TermKind::Var(name) => out.push(name.clone()),
        TermKind::Ref(head, path) => {
            names(head, out);
            path.iter().for_each(|step| names(step, out));
        }
        TermKind::Array(items) | TermKind::Set(items) | TermKind::Call(_, items) => {
            items.iter().for_each(|item| names(item, out));
        }
        TermKind::Object(fields) => fields.iter().for_each(|(key, value)| {
            names(key, out);
            names(value, out);
        }),
    }
}
