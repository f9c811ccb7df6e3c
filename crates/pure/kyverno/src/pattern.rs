//! Patterns of single values: `nginx | *:1.?`, `>= 1Gi`, `10-20`, `!default`.
//!
//! Entry point: [`matches`]. Durations compare as durations, amounts as amounts, everything else as globs. The shape of
//! whole objects is the business of [`anchor`](crate::anchor).

use std::{borrow::Cow, cmp::Ordering, sync::LazyLock};

use eyot_model::quantity::Quantity;
use regex::Regex;
use serde_json::Value;

use crate::{duration, text, wildcard};

static RANGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^([-|\+]?\d+(?:\.\d+)?[A-Za-z]*)(!?)-([-|\+]?\d+(?:\.\d+)?[A-Za-z]*)$")
        .expect("the expression is correct")
});

/// Whether a value fits a pattern that is no list and no map of conditions.
pub(crate) fn matches(value: &Value, pattern: &Value) -> bool {
    match pattern {
        Value::Bool(_) => value == pattern,
        Value::Number(number) => match value {
            Value::Number(_) => text::equal(value, pattern),
            Value::String(it) => it.parse::<f64>().ok() == number.as_f64(),
            _ => false,
        },
        Value::Null => match value {
            Value::Null => true,
            Value::Bool(it) => !it,
            Value::Number(it) => it.as_f64() == Some(0.0),
            Value::String(it) => it.is_empty(),
            _ => false,
        },
        Value::String(it) => fits(value, it),
        Value::Object(_) => value.is_object(),
        Value::Array(_) => false,
    }
}

/// Whether a value fits a text with alternatives (`|`) of conjunctions (`&`).
pub(crate) fn fits(value: &Value, pattern: &str) -> bool {
    if value.as_str() == Some(pattern) {
        return true;
    }
    pattern.split('|').any(|it| it.split('&').all(|it| fits_one(value, it.trim_matches(' '))))
}

/// Whether a text is a range: `1-10`.
pub(crate) fn is_range(text: &str) -> bool {
    operator(text).is_empty() && RANGE.captures(text).is_some_and(|it| it[2].is_empty())
}

fn operator(pattern: &str) -> &'static str {
    if pattern.len() < 2 {
        return "";
    }
    [">=", "<=", ">", "<", "!"].into_iter().find(|it| pattern.starts_with(it)).unwrap_or("")
}

fn fits_one(value: &Value, pattern: &str) -> bool {
    let operator = operator(pattern);
    if operator.is_empty()
        && pattern.len() >= 3
        && may_be_amount(pattern)
        && let Some(found) = RANGE.captures(pattern)
    {
        let (low, high) = (&found[1], &found[3]);
        return match &found[2] {
            "" => compared(value, low, ">=") && compared(value, high, "<="),
            _ => compared(value, low, "<") || compared(value, high, ">"),
        };
    }
    compared(value, pattern[operator.len()..].trim(), operator)
}

/// Whether a text begins as amounts, durations and ranges do: most patterns do not.
fn may_be_amount(pattern: &str) -> bool {
    pattern.starts_with(|it: char| it.is_ascii_digit() || matches!(it, '+' | '-' | '.' | '|'))
}

fn compared(value: &Value, pattern: &str, operator: &str) -> bool {
    if let Some(order) = order(value, pattern) {
        return match operator {
            ">=" => order.is_ge(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            "<" => order.is_lt(),
            "!" => order.is_ne(),
            _ => order.is_eq(),
        };
    }
    let text = match value {
        Value::String(it) => Cow::Borrowed(it.as_str()),
        Value::Number(_) | Value::Bool(_) => Cow::Owned(text::plain(value)),
        _ => return false,
    };
    match operator {
        "" => wildcard::matches(pattern, &text),
        "!" => !wildcard::matches(pattern, &text),
        _ => false,
    }
}

/// Order among durations or among amounts; nothing counts as none of them.
fn order(value: &Value, pattern: &str) -> Option<Ordering> {
    if !may_be_amount(pattern) {
        return None;
    }
    let amount = || match value {
        Value::Null => Some(Cow::Borrowed("0")),
        Value::String(it) => Some(Cow::Borrowed(it.as_str())),
        Value::Number(it) => Some(Cow::Owned(text::json_number(it))),
        _ => None,
    };
    if let Some(pattern) = duration::parse(pattern)
        && let Some(value) = duration::parse(&amount()?)
    {
        return Some(value.cmp(&pattern));
    }
    let pattern = pattern.parse::<Quantity>().ok()?;
    Some(amount()?.parse::<Quantity>().ok()?.cmp(&pattern))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_fit_patterns() {
        for (value, pattern, fits) in [
            (json!("nginx:latest"), json!("*:latest"), true),
            (json!("nginx:1"), json!("!*:latest"), true),
            (json!("nginx:latest"), json!("!*:latest"), false),
            (json!("b"), json!("a | b"), true),
            (json!("ab"), json!("a* & *b"), true),
            (json!("a"), json!("a* & *b"), false),
            (json!("2Gi"), json!(">1Gi"), true),
            (json!("512Mi"), json!(">= 1Gi"), false),
            (json!(5), json!("1-10"), true),
            (json!(11), json!("1-10"), false),
            (json!("11"), json!("1!-10"), true),
            (json!("10m"), json!("<1h"), true),
            (json!("300s"), json!("5m"), true),
            (json!(null), json!("?*"), false),
            (json!(null), json!("*"), false),
            (json!(null), json!("0"), true),
            (json!(null), json!(null), true),
            (json!(""), json!(null), true),
            (json!(1.0), json!(1), true),
            (json!("1"), json!(1), true),
            (json!(true), json!("true"), true),
            (json!({}), json!("*"), false),
            (json!(8080), json!("80*"), true),
            (json!("a|b"), json!("a|b"), true),
        ] {
            assert_eq!(matches(&value, &pattern), fits, "{value} {pattern}");
        }
    }
}
