//! Numbers of different types: `1`, `1u` and `1.0` are the same wherever values are compared, looked for, or are keys. Entry
//! points: [`lift`] rewrites an expression, [`register`] adds what it then calls.
//!
//! The interpreter orders numbers of two types and holds no two of them to be equal. Where a number may be compared its
//! operators are therefore replaced by functions; where a text, a truth value or null is written down they stay.

use kube_cel::cel::{
    Context, ExecutionError, Value,
    common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue},
    objects::Key,
};

use crate::expand::{children, of};

/// `@equal(a, b)`.
pub(crate) const EQUAL: &str = "@equal";
/// `@unequal(a, b)`.
pub(crate) const UNEQUAL: &str = "@unequal";
/// `@among(item, list or map)`.
pub(crate) const AMONG: &str = "@among";
/// `@key(value)`: the key that a number is, whatever its type.
pub(crate) const KEY: &str = "@key";

/// From here on a double does not say which whole number it is.
const WHOLE_END: f64 = 9_223_372_036_854_775_808.0;

/// Makes calls of what compares numbers by their type.
pub(crate) fn lift(expression: &mut IdedExpr) {
    let done: Result<(), std::convert::Infallible> = children(expression, &mut |it| {
        lift(it);
        Ok(())
    });
    let Ok(()) = done;
    match &mut expression.expr {
        Expr::Call(call) if call.target.is_none() => {
            let [a, b] = call.args.as_mut_slice() else { return };
            match call.func_name.as_str() {
                "_==_" | "_!=_" if is_no_number(a) || is_no_number(b) => {}
                "_==_" => EQUAL.clone_into(&mut call.func_name),
                "_!=_" => UNEQUAL.clone_into(&mut call.func_name),
                "@in" if !is_no_number(a) && !has_no_number(b) => AMONG.clone_into(&mut call.func_name),
                "_[_]" => key_of(b),
                _ => {}
            }
        }
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| {
            if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                key_of(&mut entry.key);
            }
        }),
        _ => {}
    }
}

/// Has a key that may be a number of any type be one of integers.
fn key_of(expression: &mut IdedExpr) {
    if !is_no_number(expression) && !matches!(expression.expr, Expr::Literal(LiteralValue::Int(_))) {
        let key = std::mem::take(expression);
        *expression = of(KEY, vec![key]);
    }
}

/// Whether an expression is certainly not a number, nor has one in it.
fn is_no_number(expression: &IdedExpr) -> bool {
    matches!(
        expression.expr,
        Expr::Literal(LiteralValue::String(_) | LiteralValue::Boolean(_) | LiteralValue::Null | LiteralValue::Bytes(_))
    )
}

/// Whether a list is written down in which there is certainly no number.
fn has_no_number(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::List(list) if list.elements.iter().all(is_no_number))
}

/// Adds the functions.
pub(crate) fn register(context: &mut Context<'_>) {
    context.add_function(EQUAL, |a: Value, b: Value| Ok::<_, ExecutionError>(Value::Bool(a == b)));
    context.add_function(UNEQUAL, |a: Value, b: Value| Ok::<_, ExecutionError>(Value::Bool(a != b)));
    context.add_function(AMONG, among);
    context.add_function(KEY, |value: Value| Ok::<_, ExecutionError>(key(value)));
}

fn among(item: Value, of: Value) -> Result<Value, ExecutionError> {
    match of {
        Value::List(items) => Ok(Value::Bool(items.contains(&item))),
        Value::Map(map) => {
            let key: Key = key(item).try_into().map_err(|_| ExecutionError::NoSuchOverload)?;
            Ok(Value::Bool(map.map.contains_key(&key)))
        }
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

/// A number that is whole as an integer; everything else as it is.
pub(crate) fn key(value: Value) -> Value {
    let whole = match value {
        Value::UInt(it) => i64::try_from(it).ok(),
        Value::Float(it) => whole(it),
        _ => None,
    };
    whole.map_or(value, Value::Int)
}

/// The integer that a double is.
pub(crate) fn whole(it: f64) -> Option<i64> {
    (it.fract() == 0.0 && (-WHOLE_END..WHOLE_END).contains(&it)).then_some(it as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Budget, Program, ROOTS, convert};

    /// Evaluates an expression by the interpreter alone, and as policies do.
    fn check(text: &str, expected: bool) {
        let object = json!({"i": 1, "f": 1.0, "big": u64::MAX, "half": 1.5, "list": [1, 2.0], "name": "n"});
        let program = Program::compile(text, &["object"]).unwrap_or_else(|it| panic!("{text}: {it}"));
        let found = program.run(&[("object", &convert::json(&object))], 0, &mut Budget::new(10_000));
        assert_eq!(found, Ok(Value::Bool(expected)), "{text}");
        let program = Program::compile_for(text, &ROOTS, &[], false).unwrap_or_else(|it| panic!("{text}: {it}"));
        let environment = crate::Environment::new().with("object", std::sync::Arc::new(object));
        let found = environment.run(&program, &mut Budget::new(10_000));
        assert_eq!(found, Ok(Value::Bool(expected)), "{text}");
    }

    #[test]
    fn numbers_are_equal_whatever_their_type() {
        for text in [
            "object.i == object.f && 1u == object.i && object.f == 1u && object.i == 1.0",
            "object.half != object.i && object.big != object.i && -1 != 18446744073709551615u",
            "object.list == [1.0, 2u] && {'a': [1]} == {'a': [1.0]} && [{'a': object.i}] == [{'a': object.f}]",
            "optional.of(1) == optional.of(1.0) && optional.none() == optional.none() && optional.of(1) != optional.none()",
            "1.0 / 0.0 != object.i && 0.0 / 0.0 != 0.0 / 0.0",
        ] {
            check(text, true);
        }
        for text in ["object.i == object.half", "object.i == '1'", "object.name == object.i", "[1] == [1, 1]"] {
            check(text, false);
        }
    }

    #[test]
    fn numbers_are_found_whatever_their_type() {
        for text in [
            "object.f in object.list && 2 in object.list && 2u in object.list && !(object.half in object.list)",
            "1.0 in {1: 'a'} && 1u in {1: 'a'} && 1 in {1u: 'a'} && !(2 in {1: 'a'})",
            "{1: 'a'}[object.f] == 'a' && {1u: 'a'}[object.i] == 'a' && {1: 'a'} == {1u: 'a'}",
            "object.list[object.f] == 2 && object.list[1u] == 2 && object.?list[?object.f].value() == 2",
            "sets.contains([1, 2], [1.0, 2u])",
        ] {
            check(text, true);
        }
    }

    #[test]
    fn numbers_are_ordered_whatever_their_type() {
        for text in [
            "object.i < object.half && object.half > 1u && 1u <= object.f && object.f >= object.i",
            "-1 < 0u && object.big > object.i && 1.5 > object.i && object.i < 18446744073709551615u",
        ] {
            check(text, true);
        }
    }
}
