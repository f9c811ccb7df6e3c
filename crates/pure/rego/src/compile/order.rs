//! The order in which the statements of a body are evaluated: the written one, except that a statement waits until what
//! it needs is bound by others.
//!
//! Entry point: [`order`].

use crate::ir::{Closure, Kind, Makes, Node, Slot, Step, StepKind, With};

/// Which variables have a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bound(Vec<bool>);

impl Bound {
    /// All variables below `slot`.
    pub(crate) fn below(slot: Slot) -> Bound {
        Bound(vec![true; slot as usize])
    }

    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.0.get(slot as usize).copied().unwrap_or(false)
    }

    pub(crate) fn add(&mut self, slot: Slot) {
        let at = slot as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, false);
        }
        self.0[at] = true;
    }

    pub(crate) fn add_all(&mut self, slots: &[Slot]) {
        slots.iter().for_each(|slot| self.add(*slot));
    }
}

/// `steps` in an order that works, with what is bound after them added to `bound`; or the step and the variable that
/// nothing binds.
pub(crate) fn order(mut steps: Vec<Step>, bound: &mut Bound) -> Result<Vec<Step>, Box<(Step, Slot)>> {
    let mut out = Vec::with_capacity(steps.len());
    while !steps.is_empty() {
        let Some(at) = steps.iter().position(|step| missing(step, bound).is_none()) else {
            let step = steps.swap_remove(0);
            let slot = missing(&step, bound).unwrap_or(0);
            return Err(Box::new((step, slot)));
        };
        let step = steps.remove(at);
        bound.add_all(&binds(&step));
        out.push(step);
    }
    Ok(out)
}

/// A variable that `step` needs and `bound` has not.
fn missing(step: &Step, bound: &Bound) -> Option<Slot> {
    let mut hard = Vec::new();
    let mut soft = Vec::new();
    for with in step.with.iter().flat_map(|with| with.iter()) {
        with_needs(with, &mut hard);
    }
    match &step.kind {
        StepKind::Test(node) => {
            needs(node, &mut hard);
            soft.extend(&node.seeks);
        }
        StepKind::Print(nodes) => nodes.iter().for_each(|node| {
            needs(node, &mut hard);
            soft.extend(&node.seeks);
        }),
        StepKind::Unify(a, b) => {
            pattern_needs(a, &mut hard);
            pattern_needs(b, &mut hard);
            soft.extend(a.seeks.iter().chain(&b.seeks));
            let mut after = bound.clone();
            after.add_all(&soft);
            if let Some(slot) = hard.iter().find(|slot| !after.has(**slot)) {
                return Some(*slot);
            }
            return flows(a, b, &mut after);
        }
        StepKind::Not(inner) => all(inner, &mut hard),
        StepKind::In { key, value, of } => {
            needs(of, &mut hard);
            soft.extend(&of.seeks);
            key.iter().for_each(|key| pattern_needs(key, &mut hard));
            pattern_needs(value, &mut hard);
        }
        StepKind::Every { domain, outer, .. } => {
            needs(domain, &mut hard);
            hard.extend(outer);
        }
    }
    hard.into_iter().find(|slot| !bound.has(*slot) && !soft.contains(slot))
}

/// The variables that have a value after `step`.
fn binds(step: &Step) -> Vec<Slot> {
    let mut out = Vec::new();
    match &step.kind {
        StepKind::Test(node) => out.extend(&node.seeks),
        StepKind::Unify(a, b) => {
            a.pattern_slots(&mut out);
            b.pattern_slots(&mut out);
        }
        StepKind::In { key, value, of } => {
            out.extend(&of.seeks);
            key.iter().for_each(|key| key.pattern_slots(&mut out));
            value.pattern_slots(&mut out);
        }
        StepKind::Not(_) | StepKind::Every { .. } | StepKind::Print(_) => {}
    }
    out
}

/// A variable that keeps `a` and `b` from being unified, or nothing; binds what unifying them binds.
fn flows(a: &Node, b: &Node, bound: &mut Bound) -> Option<Slot> {
    let (open_a, open_b) = (open(a, bound), open(b, bound));
    if let (Some(slot), Some(_)) = (open_a, open_b) {
        return match (&a.kind, &b.kind) {
            (Kind::Array(a), Kind::Array(b)) if a.len() == b.len() => {
                // Twice, since a later pair may bind what an earlier one lacks.
                let once = a.iter().zip(b).filter_map(|(a, b)| flows(a, b, bound)).count();
                if once == 0 { None } else { a.iter().zip(b).find_map(|(a, b)| flows(a, b, bound)) }
            }
            (Kind::Object(a), Kind::Object(b)) if a.len() == b.len() => {
                a.iter().zip(b).find_map(|((_, a), (_, b))| flows(a, b, bound))
            }
            _ => Some(slot),
        };
    }
    let mut slots = Vec::new();
    a.pattern_slots(&mut slots);
    b.pattern_slots(&mut slots);
    bound.add_all(&slots);
    None
}

/// A variable of the pattern `node` that has no value yet.
fn open(node: &Node, bound: &Bound) -> Option<Slot> {
    match &node.kind {
        Kind::Slot(slot) => Some(*slot).filter(|slot| !bound.has(*slot)),
        Kind::Array(items) => items.iter().find_map(|item| open(item, bound)),
        Kind::Object(fields) => fields.iter().find_map(|(_, value)| open(value, bound)),
        _ => None,
    }
}

/// What must be bound before `node` has a value.
pub(crate) fn needs(node: &Node, out: &mut Vec<Slot>) {
    for step in node.path().unwrap_or_default() {
        pattern_needs(step, out);
    }
    match &node.kind {
        Kind::Slot(slot) => out.push(*slot),
        Kind::Ref(head, _) => needs(head, out),
        Kind::Array(items) | Kind::Set(items) | Kind::Builtin(_, items) | Kind::Function(_, items) => {
            items.iter().for_each(|item| needs(item, out));
        }
        Kind::Object(fields) => fields.iter().for_each(|(key, value)| {
            needs(key, out);
            needs(value, out);
        }),
        Kind::Walk(of) => needs(of, out),
        Kind::Closure(closure) => out.extend(&closure.outer),
        Kind::Const(_) | Kind::Input(_) | Kind::Data(_) | Kind::Rule(..) => {}
    }
}

/// What must be bound before `node` can be matched with a value.
fn pattern_needs(node: &Node, out: &mut Vec<Slot>) {
    match &node.kind {
        Kind::Slot(_) => {}
        Kind::Array(items) => items.iter().for_each(|item| pattern_needs(item, out)),
        Kind::Object(fields) => fields.iter().for_each(|(key, value)| {
            needs(key, out);
            pattern_needs(value, out);
        }),
        _ => needs(node, out),
    }
}

fn with_needs(with: &With, out: &mut Vec<Slot>) {
    if let crate::ir::Replacement::Value(node) = &with.value {
        needs(node, out);
    }
}

/// Every variable that `step` mentions.
pub(crate) fn all(step: &Step, out: &mut Vec<Slot>) {
    for with in step.with.iter().flat_map(|with| with.iter()) {
        with_needs(with, out);
    }
    match &step.kind {
        StepKind::Test(node) => node_all(node, out),
        StepKind::Print(nodes) => nodes.iter().for_each(|node| node_all(node, out)),
        StepKind::Unify(a, b) => {
            node_all(a, out);
            node_all(b, out);
        }
        StepKind::Not(inner) => all(inner, out),
        StepKind::In { key, value, of } => {
            key.iter().for_each(|key| node_all(key, out));
            node_all(value, out);
            node_all(of, out);
        }
        StepKind::Every { domain, outer, .. } => {
            node_all(domain, out);
            out.extend(outer);
        }
    }
}

pub(crate) fn node_all(node: &Node, out: &mut Vec<Slot>) {
    for step in node.path().unwrap_or_default() {
        node_all(step, out);
    }
    match &node.kind {
        Kind::Ref(head, _) => node_all(head, out),
        Kind::Array(items) | Kind::Set(items) | Kind::Builtin(_, items) | Kind::Function(_, items) => {
            items.iter().for_each(|item| node_all(item, out));
        }
        Kind::Object(fields) => fields.iter().for_each(|(key, value)| {
            node_all(key, out);
            node_all(value, out);
        }),
        Kind::Walk(of) => node_all(of, out),
        _ => needs(node, out),
    }
}

/// The variables around a comprehension, or the body of an `every`, that it uses: those below `start`.
pub(crate) fn outer(makes: Option<&Makes>, body: &[Step], start: Slot) -> Box<[Slot]> {
    let mut slots = Vec::new();
    match makes {
        Some(Makes::Array(node) | Makes::Set(node)) => node_all(node, &mut slots),
        Some(Makes::Object(key, value)) => {
            node_all(key, &mut slots);
            node_all(value, &mut slots);
        }
        None => {}
    }
    body.iter().for_each(|step| all(step, &mut slots));
    slots.retain(|slot| *slot < start);
    slots.sort_unstable();
    slots.dedup();
    slots.into()
}

impl Closure {
    /// A comprehension whose variables begin at `start`.
    pub(crate) fn new(makes: Makes, body: Vec<Step>, start: Slot) -> Closure {
        let outer = outer(Some(&makes), &body, start);
        Closure { makes, body: body.into(), outer }
    }
}
