//! Amounts such as `500m` and `1Gi`: `quantity(text)`, `isQuantity(text)` and what can be asked of one. Entry point:
//! [`register`].
//!
//! Those of the interpreter's library overflow for amounts beyond 10³⁸, and then compare as anything. These are the ones
//! that objects have: exact, and capped as in Kubernetes. The comparisons are those of versions, too, which share their
//! names.

use std::{cmp::Ordering, sync::Arc};

use eyot_model::quantity::Quantity;
use kube_cel::cel::{Context, ExecutionError, Value, extractors::This, objects::Opaque};

use crate::semver;

#[derive(Debug, PartialEq, Eq)]
struct Amount(Quantity);

impl Opaque for Amount {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Quantity"
    }
}

pub(crate) fn register(context: &mut Context<'_>) {
    context.add_function("quantity", |text: Arc<String>| match text.parse() {
        Ok(amount) => Ok(of(amount)),
        Err(why) => Err(ExecutionError::function_error("quantity", why)),
    });
    context.add_function("isQuantity", |text: Arc<String>| {
        Ok::<_, ExecutionError>(Value::Bool(text.parse::<Quantity>().is_ok()))
    });
    context.add_function("isInteger", |this: This<Value>| amount(&this.0).map(|it| Value::Bool(it.is_whole())));
    context.add_function("asInteger", |this: This<Value>| match amount(&this.0)? {
        it if it.is_whole() => Ok(Value::Int(it.units())),
        _ => Err(ExecutionError::function_error("asInteger", "cannot convert value to integer")),
    });
    context.add_function("asApproximateFloat", |this: This<Value>| {
        amount(&this.0).map(|it| Value::Float(it.ratio(Quantity::from_units(1))))
    });
    context.add_function("sign", |this: This<Value>| {
        amount(&this.0).map(|it| Value::Int(it.cmp(&Quantity::from_units(0)) as i64))
    });
    context.add_function("add", |this: This<Value>, other: Value| {
        Ok::<_, ExecutionError>(of(amount(&this.0)?.saturating_add(operand(&other)?)))
    });
    context.add_function("sub", |this: This<Value>, other: Value| {
        Ok::<_, ExecutionError>(of(amount(&this.0)?.saturating_sub(operand(&other)?)))
    });
    context.add_function("isGreaterThan", |this: This<Value>, other: Value| {
        compare(&this.0, &other).map(|it| Value::Bool(it.is_gt()))
    });
    context.add_function("isLessThan", |this: This<Value>, other: Value| {
        compare(&this.0, &other).map(|it| Value::Bool(it.is_lt()))
    });
    context.add_function("compareTo", |this: This<Value>, other: Value| {
        compare(&this.0, &other).map(|it| Value::Int(it as i64))
    });
}

fn of(amount: Quantity) -> Value {
    Value::Opaque(Arc::new(Amount(amount)))
}

fn amount(value: &Value) -> Result<Quantity, ExecutionError> {
    match value {
        Value::Opaque(it) => it.downcast_ref::<Amount>().map(|it| it.0).ok_or(ExecutionError::NoSuchOverload),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

/// What is added or taken away: an amount, or a number of units.
fn operand(value: &Value) -> Result<Quantity, ExecutionError> {
    match value {
        Value::Int(units) => Ok(Quantity::from_units(*units)),
        other => amount(other),
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, ExecutionError> {
    match semver::order(a, b) {
        Some(order) => Ok(order),
        None => Ok(amount(a)?.cmp(&amount(b)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, Program};

    fn check(text: &str) {
        let program = Program::compile(text, &[]).unwrap_or_else(|it| panic!("{text}: {it}"));
        assert_eq!(program.run(&[], 0, &mut Budget::new(10_000)), Ok(Value::Bool(true)), "{text}");
    }

    #[test]
    fn amounts_are_ordered_however_large_they_are() {
        check("quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1.5Gi').isLessThan(quantity('2Gi'))");
        for large in
            ["1e20", "1e29", "1e30", "1e38", "1e39", "1e45", "1e128", "1e2000000000", "9999999999999999999999E"]
        {
            check(&format!("quantity('{large}').isGreaterThan(quantity('8Ei').sub(quantity('1Ei')))"));
            check(&format!("!quantity('{large}').isLessThan(quantity('1n')) && quantity('{large}') != quantity('1')"));
        }
        for small in ["1e-30", "1e-45", "1e-2000000000"] {
            check(&format!(
                "quantity('{small}') == quantity('1n') && quantity('{small}').compareTo(quantity('1k')) == -1"
            ));
        }
    }

    #[test]
    fn amounts_are_what_they_are_in_objects() {
        check(
            "quantity('1Ki') == quantity('1024') && quantity('1024').asInteger() == 1024 && quantity('0.5') == quantity('500m')",
        );
        check(
            "quantity('500m').asApproximateFloat() == 0.5 && !quantity('500m').isInteger() && quantity('1e3').isInteger()",
        );
        check("quantity('1').add(quantity('500m')) == quantity('1500m') && quantity('1').sub(2).sign() == -1");
        check(
            "isQuantity('1.5Gi') && !isQuantity('1.5GI') && !isQuantity('') && !isQuantity('1 Gi') && !isQuantity('-')",
        );
        for text in
            ["quantity('x') == quantity('1')", "quantity('1.5').asInteger() == 1", "quantity('1').isLessThan(1)"]
        {
            let program = Program::compile(text, &[]).unwrap_or_else(|it| panic!("{text}: {it}"));
            assert!(program.run(&[], 0, &mut Budget::new(1000)).is_err(), "{text}");
        }
    }
}
