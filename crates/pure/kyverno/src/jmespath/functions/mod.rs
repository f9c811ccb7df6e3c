//! The functions of JMESPath, and those that Kyverno adds.
//!
//! Entry points: [`find`], [`Function::call`]. Refused by name: `is_external_url` for names that are no addresses (it
//! would ask DNS in the middle of a write).

mod codec;
mod collections;
mod image;
mod math;
mod random;
mod standard;
mod strings;
mod time;
mod version;
mod x509;

use std::borrow::Cow;

use serde_json::Value;

use super::{Env, SearchError, interpret, parser::Node};

/// What a function is called with.
pub(super) enum Argument<'a> {
    Value(Cow<'a, Value>),
    Expression(&'a Node),
}

type Body = fn(&Call<'_>) -> Result<Value, SearchError>;

/// A function by name.
#[derive(Debug)]
pub(super) struct Function {
    name: &'static str,
    /// Arguments: at least, at most.
    count: (usize, usize),
    body: Body,
}

/// One call.
pub(super) struct Call<'a> {
    name: &'static str,
    arguments: &'a [Argument<'a>],
    env: &'a Env,
}

const ANY: usize = usize::MAX;
/// Most bytes of a text that a function makes: requests bring texts, and functions put them together.
const TEXT_BYTES_MAX: usize = 4 << 20;

const fn function(name: &'static str, count: usize, body: Body) -> Function {
    Function { name, count: (count, count), body }
}

pub(super) fn find(name: &str) -> Option<&'static Function> {
    let tables = [
        standard::TABLE,
        strings::TABLE,
        math::TABLE,
        time::TABLE,
        codec::TABLE,
        collections::TABLE,
        version::TABLE,
        image::TABLE,
        random::TABLE,
        x509::TABLE,
    ];
    tables.into_iter().flatten().find(|it| it.name == name)
}

impl Function {
    /// Says what is wrong with the number of arguments.
    pub(super) fn check_count(&self, given: usize) -> Result<(), String> {
        let (least, most) = self.count;
        if (least..=most).contains(&given) {
            return Ok(());
        }
        let wanted = if least == most { least.to_string() } else { format!("at least {least}") };
        Err(format!("{} takes {wanted} arguments, not {given}", self.name))
    }

    pub(super) fn call(&'static self, arguments: &[Argument<'_>], env: &Env) -> Result<Value, SearchError> {
        let call = Call { name: self.name, arguments, env };
        let made = (self.body)(&call)?;
        if let Value::String(text) = &made {
            call.fits(text.len())?;
        }
        Ok(made)
    }
}

impl Call<'_> {
    fn value(&self, at: usize) -> Result<&Value, SearchError> {
        match &self.arguments[at] {
            Argument::Value(it) => Ok(it),
            Argument::Expression(_) => Err(self.wrong_type(at, "value")),
        }
    }

    fn text(&self, at: usize) -> Result<&str, SearchError> {
        self.value(at)?.as_str().ok_or_else(|| self.wrong_type(at, "string"))
    }

    fn number(&self, at: usize) -> Result<f64, SearchError> {
        self.value(at)?.as_f64().ok_or_else(|| self.wrong_type(at, "float64"))
    }

    fn list(&self, at: usize) -> Result<&Vec<Value>, SearchError> {
        self.value(at)?.as_array().ok_or_else(|| self.wrong_type(at, "Array"))
    }

    fn object(&self, at: usize) -> Result<&serde_json::Map<String, Value>, SearchError> {
        self.value(at)?.as_object().ok_or_else(|| self.wrong_type(at, "Object"))
    }

    /// A text, a number or a truth value as text.
    fn scalar(&self, at: usize) -> Result<String, SearchError> {
        match self.value(at)? {
            Value::String(it) => Ok(it.clone()),
            Value::Number(it) => Ok(crate::text::json_number(it)),
            Value::Bool(it) => Ok(it.to_string()),
            _ => Err(self.wrong_type(at, "String or Real")),
        }
    }

    /// Evaluates a referenced expression on a value.
    fn apply(&self, at: usize, value: &Value) -> Result<Value, SearchError> {
        let Argument::Expression(node) = &self.arguments[at] else { return Err(self.wrong_type(at, "expression")) };
        match interpret::run(node, Cow::Borrowed(value), self.env) {
            Err(SearchError::NotFound(_)) => Ok(Value::Null),
            other => other.map(Cow::into_owned),
        }
    }

    /// Refuses to make a text that is too long.
    fn fits(&self, bytes: usize) -> Result<(), SearchError> {
        if bytes <= TEXT_BYTES_MAX {
            return Ok(());
        }
        Err(self.fails(format!("the text would have more than {TEXT_BYTES_MAX} bytes")))
    }

    fn wrong_type(&self, at: usize, wanted: &str) -> SearchError {
        self.fails(format!("argument #{} is not of type {wanted}", at + 1))
    }

    fn fails(&self, why: impl std::fmt::Display) -> SearchError {
        SearchError::Failed(format!("JMESPath function '{}': {why}", self.name))
    }
}
