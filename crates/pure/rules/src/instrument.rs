//! Makes expressions pay: for rounds of loops, for what is quadratic, and for values that they put together. Entry point:
//! [`instrument`].
//!
//! A value that is named twice in a list is there twice, and lists of such lists grow with every step. What a literal, a
//! sum, or one of the [`GROWING`] functions makes is therefore charged for by what it takes, and refused beyond a bound.

use kube_cel::cel::common::{
    ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue},
    types::CelInt,
};

use crate::{
    functions::{CHARGE, CHARGE_SQUARE, GROWN, QUADRATIC},
    regexes,
};

/// Functions whose results may be larger than what they are given.
const GROWING: [&str; 9] = ["encode", "findAll", "format", "join", "marshal", "quote", "range", "replace", "split"];
/// Bytes of a text that cost as much as a node: it is copied and gone through as often as it is come across.
const LITERAL_BYTES_PER_NODE: usize = 64;
/// What compiling a regular expression costs that is worked out: about a millisecond's worth.
const PATTERN_STEPS: i64 = 10_000;

/// Makes loops, quadratic functions and what grows pay before they go on.
pub(crate) fn instrument(expression: &mut IdedExpr) {
    let nodes = i64::try_from(count(expression)).unwrap_or(i64::MAX);
    let is_constant = is_constant(expression);
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|it| instrument(it));
            call.args.iter_mut().for_each(instrument);
            let of_sets = call.target.as_ref().is_some_and(|it| it.expr == Expr::Ident("sets".to_owned()));
            let (is_square, grows) = (QUADRATIC.contains(&call.func_name.as_str()) || of_sets, grows(call));
            let pattern = regexes::pattern_of(expression);
            let makes_pattern = pattern.is_some_and(|it| !matches!(it.expr, Expr::Literal(_)));
            if is_square {
                charge_first(expression, call_of(CHARGE_SQUARE, Vec::new()));
            }
            if grows {
                pay(expression);
            }
            if makes_pattern {
                charge_first(expression, call_of(CHARGE, vec![literal(PATTERN_STEPS)]));
            }
        }
        Expr::Comprehension(it) => {
            for part in [&mut it.iter_range, &mut it.accu_init, &mut it.result] {
                instrument(part);
            }
            instrument_step(&mut it.loop_step, &it.accu_var);
            charge_first(&mut it.loop_cond, call_of(CHARGE, vec![literal(nodes)]));
        }
        Expr::List(_) | Expr::Map(_) if !is_constant => {
            instrument_parts(expression);
            pay(expression);
        }
        Expr::Select(select) => instrument(&mut select.operand),
        _ => {}
    }
}

/// What a loop's result becomes in a round: what is put behind it is paid for, and not all that was there before.
fn instrument_step(step: &mut IdedExpr, accumulator: &str) {
    if let Expr::Call(call) = &mut step.expr {
        match (call.func_name.as_str(), call.args.as_mut_slice()) {
            ("_?_:_", [condition, yes, no]) => {
                instrument(condition);
                instrument_step(yes, accumulator);
                return instrument_step(no, accumulator);
            }
            ("_+_", [IdedExpr { expr: Expr::Ident(name), .. }, items])
                if name == accumulator && matches!(items.expr, Expr::List(_)) =>
            {
                return instrument(items);
            }
            _ => {}
        }
    }
    instrument(step);
}

/// The parts of a literal; literals in it are paid for with it.
fn instrument_parts(expression: &mut IdedExpr) {
    let part = |it: &mut IdedExpr| match it.expr {
        Expr::List(_) | Expr::Map(_) => instrument_parts(it),
        _ => instrument(it),
    };
    match &mut expression.expr {
        Expr::List(list) => list.elements.iter_mut().for_each(part),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(it) = &mut entry.expr {
                    part(&mut it.key);
                    part(&mut it.value);
                }
            }
        }
        _ => {}
    }
}

fn grows(call: &CallExpr) -> bool {
    let is_number = |it: &IdedExpr| {
        matches!(it.expr, Expr::Literal(LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_)))
    };
    match call.func_name.as_str() {
        "_+_" => !call.args.iter().any(is_number),
        name => GROWING.contains(&name),
    }
}

/// Whether a literal is the same in every evaluation: its size is bounded by that of the text.
fn is_constant(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Literal(_) => true,
        Expr::List(list) => list.elements.iter().all(is_constant),
        Expr::Map(map) => map.entries.iter().all(|entry| match &entry.expr {
            EntryExpr::MapEntry(it) => is_constant(&it.key) && is_constant(&it.value),
            EntryExpr::StructField(_) => false,
        }),
        _ => false,
    }
}

/// The expression's value, once it is paid for.
fn pay(expression: &mut IdedExpr) {
    let made = std::mem::take(expression);
    *expression = call_of(GROWN, vec![made]);
}

/// The expression, once it is paid for: paying is true, or fails.
fn charge_first(expression: &mut IdedExpr, charge: IdedExpr) {
    let never = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Null) };
    let paid = std::mem::take(expression);
    *expression = call_of("_?_:_", vec![charge, paid, never]);
}

fn call_of(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }) }
}

fn literal(number: i64) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Int(CelInt::from(number))) }
}

/// Nodes of an expression.
fn count(expression: &IdedExpr) -> usize {
    let all = |it: &[IdedExpr]| it.iter().map(count).sum::<usize>();
    1 + match &expression.expr {
        Expr::Call(call) => all(&call.args) + call.target.as_ref().map_or(0, |it| count(it)),
        Expr::Comprehension(it) => {
            [&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result].map(count).iter().sum()
        }
        Expr::List(list) => all(&list.elements),
        Expr::Map(map) => map.entries.len() * 2,
        Expr::Select(select) => count(&select.operand),
        Expr::Literal(LiteralValue::String(text)) => text.inner().len() / LITERAL_BYTES_PER_NODE,
        Expr::Literal(LiteralValue::Bytes(bytes)) => bytes.inner().len() / LITERAL_BYTES_PER_NODE,
        _ => 0,
    }
}
