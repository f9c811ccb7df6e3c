//! A value together with the path that leads to it, for checks that report where they failed.

use serde_json::{Map, Value};

use super::names::Check;
use crate::{meta, status::Cause};

static NULL: Value = Value::Null;

/// A place in an object; a place that does not exist holds null.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub(crate) value: &'a Value,
    /// The path, empty unless paths are kept.
    pub(crate) path: String,
    /// Whether paths are kept: they cost more than the checks, and most objects have nothing to report.
    named: bool,
}

impl<'a> At<'a> {
    pub(crate) fn root(value: &'a Value, named: bool) -> Self {
        Self { value, path: String::new(), named }
    }

    /// The field of that name.
    pub(crate) fn get(&self, field: &str) -> At<'a> {
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = if self.named { format!("{}{dot}{field}", self.path) } else { String::new() };
        At { value: self.value.get(field).unwrap_or(&NULL), path, named: self.named }
    }

    /// The field at the end of a dotted path.
    pub(crate) fn at(&self, path: &str) -> At<'a> {
        path.split('.').fold(self.clone(), |at, field| at.get(field))
    }

    /// The elements of a list.
    pub(crate) fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let (path, named) = (self.path.clone(), self.named);
        let list = meta::list(Some(self.value)).iter().enumerate();
        list.map(move |(i, value)| {
            let path = if named { format!("{path}[{i}]") } else { String::new() };
            At { value, path, named }
        })
    }

    /// The entries of a map, by key.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let (path, named) = (self.path.clone(), self.named);
        let map = self.value.as_object().into_iter().flatten();
        map.map(move |(key, value)| {
            let path = if named { format!("{path}[{key}]") } else { String::new() };
            (key.as_str(), At { value, path, named })
        })
    }

    pub(crate) fn map(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object()
    }

    /// The text, empty when there is none.
    pub(crate) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or("")
    }

    pub(crate) fn number(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub(crate) fn truth(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// Whether there is nothing here, or nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        }
    }

    pub(crate) fn required(&self, why: &str) -> Cause {
        Cause::required(&self.path, why)
    }

    pub(crate) fn invalid(&self, why: &str) -> Cause {
        Cause::invalid(&self.path, self.value, why)
    }

    pub(crate) fn forbidden(&self, why: &str) -> Cause {
        Cause::forbidden(&self.path, why)
    }

    pub(crate) fn duplicate(&self) -> Cause {
        Cause::duplicate(&self.path, self.value)
    }

    /// Reports text that breaks a grammar; absent and empty text passes.
    pub(crate) fn grammar(&self, check: fn(&str) -> Check, causes: &mut Vec<Cause>) {
        if let Some(Err(why)) = Some(self.text()).filter(|it| !it.is_empty()).map(check) {
            causes.push(self.invalid(&why));
        }
    }

    /// Reports text outside a list of words; absent and empty text passes.
    pub(crate) fn one_of(&self, words: &[&str], causes: &mut Vec<Cause>) {
        if !self.text().is_empty() && !words.contains(&self.text()) {
            causes.push(Cause::not_supported(&self.path, self.value, words));
        }
    }

    /// Reports a number below a minimum; absence passes.
    pub(crate) fn at_least(&self, minimum: i64, causes: &mut Vec<Cause>) {
        if self.number().is_some_and(|it| it < minimum) {
            causes.push(self.invalid(&format!("must be greater than or equal to {minimum}")));
        }
    }

    /// Reports a number above a maximum; absence passes.
    pub(super) fn at_most(&self, maximum: i64, causes: &mut Vec<Cause>) {
        if self.number().is_some_and(|it| it > maximum) {
            causes.push(self.invalid(&format!("must be less than or equal to {maximum}")));
        }
    }

    /// Reports a number outside a port's range; absence passes.
    pub(crate) fn port(&self, causes: &mut Vec<Cause>) {
        if let Some(Err(why)) = self.number().map(super::names::port_number) {
            causes.push(self.invalid(&why));
        }
    }

    /// Reports elements whose field repeats that of an earlier one.
    pub(crate) fn unique(&self, field: &str, causes: &mut Vec<Cause>) {
        let mut seen = std::collections::HashSet::new();
        for item in self.items().map(|it| it.get(field)).filter(|it| !it.is_empty()) {
            if !seen.insert(item.value.to_string()) {
                causes.push(item.duplicate());
            }
        }
    }
}
