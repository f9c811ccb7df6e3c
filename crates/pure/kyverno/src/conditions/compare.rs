//! What an operator says of two values.

use std::cmp::Ordering;

use eyot_model::quantity::Quantity;
use serde_json::Value;

use super::membership;
use crate::{duration, text, version::Version, wildcard};

/// How a key is held against a value. Names do not heed case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `Equals`, `Equal`
    Equals,
    /// `NotEquals`, `NotEqual`
    NotEquals,
    /// `In`, deprecated.
    In,
    /// `AnyIn`
    AnyIn,
    /// `AllIn`
    AllIn,
    /// `NotIn`, deprecated.
    NotIn,
    /// `AnyNotIn`
    AnyNotIn,
    /// `AllNotIn`
    AllNotIn,
    /// `GreaterThan`, `LessThanOrEquals` and so on.
    Order(Comparison),
    /// `DurationGreaterThan` and so on, deprecated.
    Duration(Comparison),
}

/// What an order must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl Comparison {
    fn parse(name: &str) -> Option<Comparison> {
        Some(match name {
            "greaterthan" => Comparison::Greater,
            "greaterthanorequals" => Comparison::GreaterOrEqual,
            "lessthan" => Comparison::Less,
            "lessthanorequals" => Comparison::LessOrEqual,
            _ => return None,
        })
    }

    fn allows(self, order: Ordering) -> bool {
        match self {
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
        }
    }
}

impl Operator {
    /// An operator by name.
    pub fn parse(name: &str) -> Option<Operator> {
        let name = name.to_lowercase();
        Some(match name.as_str() {
            "equal" | "equals" => Operator::Equals,
            "notequal" | "notequals" => Operator::NotEquals,
            "in" => Operator::In,
            "anyin" => Operator::AnyIn,
            "allin" => Operator::AllIn,
            "notin" => Operator::NotIn,
            "anynotin" => Operator::AnyNotIn,
            "allnotin" => Operator::AllNotIn,
            name => match name.strip_prefix("duration") {
                Some(rest) => Operator::Duration(Comparison::parse(rest)?),
                None => Operator::Order(Comparison::parse(name)?),
            },
        })
    }

    /// Whether the key stands to the value as the operator says.
    pub fn holds(self, key: &Value, value: &Value) -> bool {
        match self {
            Operator::Equals => equals(key, value).unwrap_or(false),
            // A key of no comparable type satisfies neither operator.
            Operator::NotEquals => equals(key, value).is_some_and(|it| !it),
            Operator::Order(comparison) => order(key, value).is_some_and(|it| comparison.allows(it)),
            Operator::Duration(comparison) => {
                durations(key, value).is_some_and(|(key, value)| comparison.allows(key.cmp(&value)))
            }
            Operator::In => membership::is_in(key, value, false),
            Operator::NotIn => membership::is_in(key, value, true),
            Operator::AnyIn => membership::any(key, value, false),
            Operator::AnyNotIn => membership::any(key, value, true),
            Operator::AllIn => membership::all(key, value, false),
            Operator::AllNotIn => membership::all(key, value, true),
        }
    }
}

/// Both as nanoseconds, where at least one is written as a duration; a number means seconds.
fn written_durations(key: &Value, value: &Value) -> Option<(i64, i64)> {
    let written = |it: &Value| it.as_str().filter(|it| *it != "0").and_then(duration::parse);
    let (left, right) = (written(key), written(value));
    if left.is_none() && right.is_none() {
        return None;
    }
    let seconds = |it: &Value| it.as_f64().map(|it| (it as i64).saturating_mul(1_000_000_000));
    Some((left.or_else(|| seconds(key))?, right.or_else(|| seconds(value))?))
}

/// Both as nanoseconds; a number means seconds.
fn durations(key: &Value, value: &Value) -> Option<(i64, i64)> {
    let nanos = |it: &Value| match it {
        Value::String(it) => duration::parse(it),
        it => it.as_f64().map(|it| (it as i64).saturating_mul(1_000_000_000)),
    };
    Some((nanos(key)?, nanos(value)?))
}

/// Whether they are equal; nothing for keys that cannot be compared.
fn equals(key: &Value, value: &Value) -> Option<bool> {
    Some(match key {
        Value::Null => return None,
        Value::Bool(_) => key == value,
        Value::Array(_) | Value::Object(_) => text::equal(key, value),
        Value::Number(_) => match value {
            Value::String(it) => it.parse::<f64>().ok() == key.as_f64(),
            value => text::equal(key, value),
        },
        Value::String(key_text) => {
            if let Some((key, value)) = written_durations(key, value) {
                return Some(key == value);
            }
            let Value::String(value) = value else { return Some(false) };
            if let (Some(key), Some(value)) = (long_number(key_text), long_number(value)) {
                return Some(key == value);
            }
            match (key_text.parse::<Quantity>(), value.parse::<Quantity>()) {
                (Ok(key), Ok(value)) => key == value,
                // An amount and something that is none.
                (Ok(_), Err(_)) => false,
                _ => wildcard::matches(value, key_text),
            }
        }
    })
}

/// The digits of a whole number that is too large to be held as an amount: a key's modulus, a serial number.
fn long_number(text: &str) -> Option<&str> {
    let digits = text.trim_start_matches('0');
    (digits.len() > 18 && digits.bytes().all(|it| it.is_ascii_digit())).then_some(digits)
}

fn order(key: &Value, value: &Value) -> Option<Ordering> {
    match key {
        Value::Number(_) => number_order(key, value),
        Value::String(text) => {
            if let Some((key, value)) = written_durations(key, value) {
                return Some(key.cmp(&value));
            }
            if let (Ok(key), Some(Ok(value))) = (text.parse::<Quantity>(), value.as_str().map(str::parse::<Quantity>)) {
                return Some(key.cmp(&value));
            }
            if let Ok(number) = text.parse::<f64>() {
                return number_order(&text::from_f64(number), value);
            }
            Some(Version::parse(text)?.cmp(&Version::parse(value.as_str()?)?))
        }
        _ => None,
    }
}

fn number_order(key: &Value, value: &Value) -> Option<Ordering> {
    if let Some((key, value)) = written_durations(key, value) {
        return Some(key.cmp(&value));
    }
    let value = match value {
        Value::String(it) => it.parse().ok()?,
        it => it.as_f64()?,
    };
    key.as_f64()?.partial_cmp(&value)
}
