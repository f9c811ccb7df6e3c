//! Evaluation: top down, with backtracking.
//!
//! Entry points: [`Eval::query`] and [`Eval::document`]. A statement that can hold in several ways calls its
//! continuation once for each; variables that it bound are free again afterwards. Functions, rules and comprehensions
//! run to their end before their value is used, each in a frame of its own.
//!
//! Everything is charged: steps, bytes that are built, and depth, by the address of a local variable against the one at
//! the start. An evaluation that exceeds a bound ends with a [`Fault`], never with an answer.

mod body;
mod data;
mod rules;
mod term;
mod with;

use std::sync::Arc;

use crate::builtins::{Cx, Failure};
use crate::error::{Fault, Place, Position};
use crate::ir::{Slot, Step};
use crate::program::{Outcome, Print, Program, Query, Request, Solution};
use crate::value::Value;
use with::Context;

pub(crate) type Res<T> = Result<T, Fault>;

/// What is called for every solution; it says whether to look for more.
type Next<'a, 'p> = &'a mut dyn FnMut(&mut Eval<'p>) -> Res<bool>;
/// What is called for every value.
type Each<'a, 'p> = &'a mut dyn FnMut(&mut Eval<'p>, &Value) -> Res<bool>;

/// How much stack an evaluation may use: half of what a thread of the runtime has.
const STACK_BYTES_MAX: usize = 1 << 20;

/// How many lines `print` may write in one evaluation.
const PRINTS_MAX: usize = 1_000;

pub(crate) struct Eval<'p> {
    program: &'p Program,
    /// The frames, one after another.
    slots: Vec<Option<Value>>,
    base: usize,
    /// Which slots were bound, in order.
    trail: Vec<usize>,
    context: Context<'p>,
    cx: Cx,
    strict: bool,
    /// The module of the rule that runs.
    module: u32,
    prints: Vec<Print>,
    stack_top: usize,
}

impl<'p> Eval<'p> {
    pub(crate) fn new(program: &'p Program, request: &Request) -> Eval<'p> {
        Eval {
            program,
            slots: Vec::with_capacity(32),
            base: 0,
            trail: Vec::with_capacity(32),
            context: Context::new(request.input.clone(), request.data.clone(), program.groups.len()),
            cx: Cx::new(request.bounds, request.now_ns),
            strict: request.strict,
            module: u32::MAX,
            prints: Vec::new(),
            stack_top: here(),
        }
    }

    /// The document at `path` below `data`.
    pub(crate) fn document_at(&mut self, path: &[Value]) -> Res<Option<Value>> {
        let mut tree = Some(&self.program.tree);
        let mut base = Some(self.context.data.clone());
        for (at, key) in path.iter().enumerate() {
            tree = tree.and_then(|tree| tree.children.get(key));
            base = base.as_ref().and_then(|base| base.get(key)).cloned();
            if let Some(group) = tree.and_then(|tree| tree.group) {
                let value = self.group(group)?;
                let rest = &path[at + 1..];
                return Ok(value.and_then(|value| rest.iter().try_fold(value, |value, key| value.get(key).cloned())));
            }
        }
        self.document(tree, base)
    }

    pub(crate) fn query(&mut self, query: &'p Query) -> Res<Outcome> {
        self.slots.resize(query.frame as usize, None);
        let mut results = Vec::new();
        self.body(&query.steps, &mut |eval| {
            let expressions = query.shown.iter().map(|(text, slot, position)| {
                let value = slot.and_then(|slot| eval.slot(slot).cloned()).unwrap_or(Value::Bool(true));
                (text.clone(), value, *position)
            });
            let expressions = expressions.collect();
            let bound = query.bindings.iter().filter_map(|(name, slot)| Some((name, eval.slot(*slot)?)));
            let bindings = bound.map(|(name, value)| (name.to_string(), value.clone())).collect();
            eval.charge(64, Position::default())?;
            results.push(Solution { expressions, bindings });
            Ok(true)
        })?;
        Ok(Outcome { results, prints: self.take_prints(), steps: self.cx.steps() })
    }

    /// What `print` wrote.
    pub(crate) fn take_prints(&mut self) -> Vec<Print> {
        std::mem::take(&mut self.prints)
    }

    fn slot(&self, slot: Slot) -> Option<&Value> {
        self.slots[self.base + slot as usize].as_ref()
    }

    fn set(&mut self, slot: Slot, value: Value) {
        let at = self.base + slot as usize;
        self.slots[at] = Some(value);
        self.trail.push(at);
    }

    /// Frees every variable that was bound since the trail had `mark` entries.
    fn undo(&mut self, mark: usize) {
        while self.trail.len() > mark {
            if let Some(at) = self.trail.pop() {
                self.slots[at] = None;
            }
        }
    }

    /// Runs `run` in a new frame of `slots` variables, in `module`.
    fn framed<T>(&mut self, slots: u32, module: u32, run: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        let (base, mark) = (self.base, self.trail.len());
        let module = std::mem::replace(&mut self.module, module);
        self.base = self.slots.len();
        self.slots.resize(self.base + slots as usize, None);
        let out = run(self);
        self.trail.truncate(mark);
        self.slots.truncate(self.base);
        (self.base, self.module) = (base, module);
        out
    }

    fn place(&self, position: Position) -> Place {
        let file = self.program.files.get(self.module as usize).map_or("query", |file| file);
        Place { file: file.to_owned(), position }
    }

    /// Charges one step, and looks at the stack.
    fn tick(&mut self, position: Position) -> Res<()> {
        if self.stack_top.abs_diff(here()) > STACK_BYTES_MAX {
            return Err(Fault::Depth { place: self.place(position) });
        }
        self.cx.step(1).map_err(|failure| self.fault(failure, position))
    }

    /// Charges what is about to be built.
    fn charge(&mut self, bytes: usize, position: Position) -> Res<()> {
        self.cx.charge_bytes(bytes).map_err(|failure| self.fault(failure, position))
    }

    fn fault(&self, failure: Failure, position: Position) -> Fault {
        let place = self.place(position);
        match failure {
            Failure::Steps(steps) => Fault::Steps { place, steps },
            Failure::Bytes(bytes) => Fault::Bytes { place, bytes },
            Failure::Error(message) | Failure::Refused(message) => {
                Fault::Builtin { place, code: "eval_builtin_error", message }
            }
            Failure::Type(message) => Fault::Builtin { place, code: "eval_type_error", message },
        }
    }

    /// Whether `step` holds in any way.
    fn holds(&mut self, step: &'p Step) -> Res<bool> {
        let mark = self.trail.len();
        let mut found = false;
        self.many(step, &mut |_| {
            found = true;
            Ok(false)
        })?;
        self.undo(mark);
        Ok(found)
    }
}

/// Where on the stack the caller is.
#[inline(always)]
fn here() -> usize {
    let local = 0u8;
    std::ptr::addr_of!(local) as usize
}

/// A program's file names are shared with what is reported of them.
pub(crate) type Files = Vec<Arc<str>>;
