//! Conditions: a key, an operator, a value.
//!
//! Entry points: [`Conditions::parse`], [`Conditions::evaluate`]. Operators compare durations, quantities, versions and
//! globs as well as plain values. Parts of it: [`compare`] (what an operator says of two values).

mod compare;
mod membership;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::{context::Context, text, variables};
pub use compare::Operator;

/// Blocks that must all hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    blocks: Vec<Block>,
}

/// `any` and `all` of one block; both must hold. An older policy's plain list is an `all`.
#[derive(Clone, Debug, Default)]
struct Block {
    any: Option<Vec<Condition>>,
    all: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Condition {
    key: Value,
    operator: Operator,
    value: Value,
    message: String,
}

impl Conditions {
    /// Reads conditions, or says where they are wrong (a path, a message).
    pub fn parse(value: &Value) -> Result<Conditions, (String, String)> {
        let blocks = match value {
            Value::Null => Vec::new(),
            Value::Object(_) => vec![block(value, "")?],
            Value::Array(all) if all.iter().all(|it| it.get("any").is_some() || it.get("all").is_some()) => {
                all.iter().enumerate().map(|(at, it)| block(it, &format!("[{at}]"))).collect::<Result<_, _>>()?
            }
            Value::Array(_) => vec![Block { any: None, all: conditions(value, "")? }],
            _ => return Err((String::new(), "conditions are a map with any or all, or a list".to_owned())),
        };
        Ok(Conditions { blocks })
    }

    /// Whether they hold, and the messages of what decided it.
    pub fn evaluate(&self, context: &mut Context<'_>) -> Result<(bool, String), String> {
        let mut messages = Vec::new();
        for block in &self.blocks {
            let (holds, message) = block.evaluate(context)?;
            if !holds {
                return Ok((false, message));
            }
            messages.push(message);
        }
        Ok((true, text::join_filled(messages.iter().map(String::as_str), ";")))
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Conditions::parse(&value).map_err(|(path, why)| D::Error::custom(format!("conditions{path}: {why}")))
    }
}

fn block(value: &Value, path: &str) -> Result<Block, (String, String)> {
    let fields = value.as_object().ok_or_else(|| (path.to_owned(), "must be a map".to_owned()))?;
    if let Some(key) = fields.keys().find(|it| !matches!(it.as_str(), "any" | "all")) {
        return Err((format!("{path}.{key}"), "unknown field; conditions have any and all".to_owned()));
    }
    let list = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(it) => conditions(it, &format!("{path}.{name}")).map(Some),
    };
    Ok(Block { any: list("any")?, all: list("all")?.unwrap_or_default() })
}

fn conditions(value: &Value, path: &str) -> Result<Vec<Condition>, (String, String)> {
    let all = value.as_array().ok_or_else(|| (path.to_owned(), "must be a list".to_owned()))?;
    all.iter().enumerate().map(|(at, it)| condition(it, &format!("{path}[{at}]"))).collect()
}

fn condition(value: &Value, path: &str) -> Result<Condition, (String, String)> {
    let fields = value.as_object().ok_or_else(|| (path.to_owned(), "must be a map".to_owned()))?;
    if let Some(key) = fields.keys().find(|it| !matches!(it.as_str(), "key" | "operator" | "value" | "message")) {
        return Err((format!("{path}.{key}"), "unknown field".to_owned()));
    }
    let name = fields.get("operator").and_then(Value::as_str).unwrap_or_default();
    let unknown = || (format!("{path}.operator"), format!("entered value of `operator` is invalid: {name:?}"));
    let operator = Operator::parse(name).ok_or_else(unknown)?;
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let message = fields.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Condition { key: field("key"), operator, value: field("value"), message })
}

impl Block {
    fn evaluate(&self, context: &mut Context<'_>) -> Result<(bool, String), String> {
        let (mut held, mut failed) = (Vec::new(), Vec::new());
        let mut any_holds = self.any.is_none();
        for condition in self.any.iter().flatten() {
            if condition.holds(context)? {
                any_holds = true;
                held.push(condition.message.as_str());
                break;
            }
            failed.push(condition.message.as_str());
        }
        let mut all_hold = true;
        for condition in &self.all {
            if !condition.holds(context)? {
                all_hold = false;
                failed.push(condition.message.as_str());
                break;
            }
            held.push(condition.message.as_str());
        }
        let holds = any_holds && all_hold;
        Ok((holds, text::join_filled(if holds { held } else { failed }, "; ")))
    }
}

impl Condition {
    fn holds(&self, context: &mut Context<'_>) -> Result<bool, String> {
        let key = variables::substitute(context, &self.key);
        let key = key.map_err(|it| format!("failed to substitute variables in condition key: {it}"))?;
        let value = variables::substitute(context, &self.value);
        let value = value.map_err(|it| format!("failed to substitute variables in condition value: {it}"))?;
        Ok(self.operator.holds(&key, &value))
    }
}
