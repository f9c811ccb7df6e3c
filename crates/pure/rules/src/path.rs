//! Ways into an object: `object.spec.containers` as one look-up instead of three. Entry points: [`lift`] rewrites an
//! expression, [`find`] and [`has`] go such a way. [`look_up`] is for what is selected from anything else.

use kube_cel::cel::{
    ExecutionError,
    common::ast::{Expr, IdedExpr, LiteralValue},
};
use serde_json::Value as Json;

use crate::{
    convert::unescape,
    expand::{OPT_SELECT, children, of, text},
};

/// `@get(path)`.
pub(crate) const GET: &str = "@get";
/// `@has(path)`.
pub(crate) const HAS: &str = "@has";
/// `@variable(name)`.
pub(crate) const VARIABLE: &str = "@variable";

/// Ends a part of a path; no field has it in its name.
const END: char = '\u{1}';

/// Makes look-ups of what an expression selects from these variables, and from `variables`.
pub(crate) fn lift(expression: &mut IdedExpr, roots: &[&str]) {
    walk(expression, roots, &mut Vec::new());
}

fn walk(expression: &mut IdedExpr, roots: &[&str], local: &mut Vec<String>) {
    if let Some(lifted) = lifted(expression, roots, local) {
        *expression = lifted;
        return;
    }
    if let Expr::Comprehension(it) = &mut expression.expr {
        walk(&mut it.iter_range, roots, local);
        walk(&mut it.accu_init, roots, local);
        let outer = local.len();
        local.push(it.accu_var.clone());
        walk(&mut it.result, roots, local);
        local.push(it.iter_var.clone());
        walk(&mut it.loop_cond, roots, local);
        walk(&mut it.loop_step, roots, local);
        local.truncate(outer);
        return;
    }
    let done: Result<(), std::convert::Infallible> = children(expression, &mut |it| {
        walk(it, roots, local);
        Ok(())
    });
    let Ok(()) = done;
}

fn lifted(expression: &IdedExpr, roots: &[&str], local: &[String]) -> Option<IdedExpr> {
    if let Expr::Select(select) = &expression.expr {
        if let Expr::Ident(name) = &select.operand.expr
            && !local.contains(name)
        {
            match name.as_str() {
                // One that is declared is there, whatever its value.
                "variables" if select.test => {
                    return Some(IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Boolean(true.into())) });
                }
                "variables" => return Some(of(VARIABLE, vec![text(&select.field)])),
                "authorizer" => {
                    let name = format!("authorizer.{}", select.field);
                    return Some(IdedExpr { id: 0, expr: Expr::Ident(name) });
                }
                _ => {}
            }
        }
        if select.test {
            let path = path(&select.operand, roots, local)?;
            return Some(of(HAS, vec![text(&format!("{path}{END}.{}", select.field))]));
        }
    }
    Some(of(GET, vec![text(&path(expression, roots, local)?)]))
}

/// Makes look-ups by key of what is selected from other values: the interpreter takes a field of what has none for false,
/// and a demand that something be not so would hold.
pub(crate) fn look_up(expression: &mut IdedExpr) {
    let done: Result<(), std::convert::Infallible> = children(expression, &mut |it| {
        look_up(it);
        Ok(())
    });
    let Ok(()) = done;
    if let Expr::Select(select) = &mut expression.expr
        && !select.test
    {
        let select = std::mem::take(select);
        *expression = of("_[_]", vec![*select.operand, text(&select.field)]);
    }
}

/// The path that an expression is: a root, then `.field` or `?field` each.
fn path(expression: &IdedExpr, roots: &[&str], local: &[String]) -> Option<String> {
    let literal = |it: &IdedExpr| match &it.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_string()).filter(|it| !it.contains(END)),
        _ => None,
    };
    match &expression.expr {
        Expr::Ident(name) if roots.contains(&name.as_str()) && !local.contains(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}{END}.{}", path(&select.operand, roots, local)?, select.field))
        }
        Expr::Call(call) if call.target.is_none() && call.args.len() == 2 => {
            // Names in brackets stand for themselves.
            let mark = match call.func_name.as_str() {
                "_[_]" => '!',
                OPT_SELECT => '?',
                _ => return None,
            };
            Some(format!("{}{END}{mark}{}", path(&call.args[0], roots, local)?, literal(&call.args[1])?))
        }
        _ => None,
    }
}

/// Whether a path begins at a root.
pub(crate) fn is_of(path: &str, root: &str) -> bool {
    split(path).0 == root
}

/// The root of a path, and its steps.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.split_once(END).unwrap_or((path, ""))
}

/// The marks and names of steps.
pub(crate) fn steps(steps: &str) -> impl Iterator<Item = (&str, &str)> {
    steps.split(END).map(|it| it.split_at(1))
}

/// What lies at the end of a path.
pub(crate) enum Found<'v> {
    /// It is there.
    Value(&'v Json),
    /// It was asked for in a way that lets it be absent.
    Optional(Option<&'v Json>),
}

/// Goes all steps of a path.
pub(crate) fn find<'v>(root: &'v Json, steps: &str) -> Result<Found<'v>, ExecutionError> {
    let (mut value, mut optional) = (root, false);
    for (mark, name) in self::steps(steps) {
        optional |= mark == "?";
        match child(value, mark, name)? {
            Some(it) => value = it,
            None if optional => return Ok(Found::Optional(None)),
            None => return Err(no_such_key(name)),
        }
    }
    Ok(if optional { Found::Optional(Some(value)) } else { Found::Value(value) })
}

/// Whether the last step of a path leads somewhere; those before it must.
pub(crate) fn has(root: &Json, steps: &str) -> Result<bool, ExecutionError> {
    let (before, last) = match steps.rsplit_once(END) {
        Some((before, last)) => (find(root, before)?, last),
        None => (Found::Value(root), steps),
    };
    let (mark, name) = last.split_at(1);
    match before {
        Found::Value(value) => Ok(child(value, mark, name)?.is_some()),
        Found::Optional(value) => value.map_or(Ok(false), |it| Ok(child(it, mark, name)?.is_some())),
    }
}

fn child<'v>(value: &'v Json, mark: &str, name: &str) -> Result<Option<&'v Json>, ExecutionError> {
    match value {
        Json::Object(map) => Ok(match mark {
            "." => map.get(name).or_else(|| map.get(&unescape(name))),
            _ => map.get(name),
        }),
        // Nothing is in null: what was not given has no fields.
        Json::Null => Ok(None),
        _ => Err(ExecutionError::function_error("select", format!("type has no field '{name}'"))),
    }
}

fn no_such_key(name: &str) -> ExecutionError {
    ExecutionError::NoSuchKey(std::sync::Arc::new(name.to_owned()))
}
