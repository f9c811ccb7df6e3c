//! Replaces `{{ expressions }}` and `$(references)` in texts.
//!
//! Entry points: [`substitute`], [`substitute_at`] where `{{@}}` means the field of the object that is being changed.
//! A text that is one variable becomes the variable's value, whatever its type; others become texts. `\{{` stands for
//! itself.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;
use serde_json::{Map, Value};

use crate::{
    anchor::{self, Anchor},
    context::{Context, QueryError},
    place::{Place, Step},
    text,
};

/// How often the result of a substitution may hold variables itself.
const ROUNDS_MAX: usize = 64;
/// Bytes of a text after substitution.
const BYTES_MAX: usize = 4 << 20;

static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(^|[^\\])(\{\{(?:\{[^{}]*\}|[^{}])*\}\})").expect("the expression is correct"));
static REFERENCE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(^|[^\\])(\$\(.[^ ]*\))").expect("the expression is correct"));
static ESCAPED_REFERENCE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\(\$\(.[^ )]*\))").expect("the expression is correct"));

/// Why variables could not be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// A variable has no value.
    #[error("failed to resolve {variable} at path {path}: {source}")]
    Variable {
        /// Its expression.
        variable: String,
        /// Where it stands.
        path: String,
        /// Why.
        source: QueryError,
    },
    /// A reference leads nowhere.
    #[error("failed to resolve {reference} at path {path}: {why}")]
    Reference {
        /// The reference.
        reference: String,
        /// Where it stands.
        path: String,
        /// Why.
        why: String,
    },
    /// Variables whose values hold variables, without end.
    #[error("variables at path {0} do not come to an end")]
    Endless(String),
    /// A key of a map became something else than a text.
    #[error("expected string after substituting variables in key {0:?}")]
    Key(String),
}

/// Whether a text has anything to replace.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.contains("{{") && !text.contains("$(")
}

/// Whether a value has anything to replace.
pub(crate) fn is_constant(value: &Value) -> bool {
    match value {
        Value::String(it) => is_plain(it),
        Value::Array(all) => all.iter().all(is_constant),
        Value::Object(all) => all.iter().all(|(key, it)| is_plain(key) && is_constant(it)),
        _ => true,
    }
}

/// Replaces everything in a value.
pub fn substitute(context: &mut Context<'_>, value: &Value) -> Result<Value, SubstituteError> {
    substitute_at(context, value, &[])
}

/// The same, which copies nothing where there is nothing to replace.
pub(crate) fn substituted<'v>(context: &mut Context<'_>, value: &'v Value) -> Result<Cow<'v, Value>, SubstituteError> {
    if is_constant(value) { Ok(Cow::Borrowed(value)) } else { substitute(context, value).map(Cow::Owned) }
}

/// Replaces everything in a value; `field` is where in the object the value will go.
pub fn substitute_at(context: &mut Context<'_>, value: &Value, field: &[&str]) -> Result<Value, SubstituteError> {
    if is_constant(value) {
        return Ok(value.clone());
    }
    let is_delete = context.operation() == "DELETE";
    let mut walk = Walk { context, is_delete, field };
    match has_references(value) {
        true => walk.value(&references(value, value, "")?, &Place::default()),
        false => walk.value(value, &Place::default()),
    }
}

/// Whether a value refers to other places of itself.
fn has_references(value: &Value) -> bool {
    match value {
        Value::String(it) => it.contains("$("),
        Value::Array(all) => all.iter().any(has_references),
        Value::Object(all) => all.iter().any(|(key, it)| key.contains("$(") || has_references(it)),
        _ => false,
    }
}

struct Walk<'w, 'c, 'f> {
    context: &'w mut Context<'c>,
    is_delete: bool,
    field: &'f [&'f str],
}

impl Walk<'_, '_, '_> {
    fn value(&mut self, value: &Value, path: &Place<'_>) -> Result<Value, SubstituteError> {
        Ok(match value {
            Value::String(it) => self.text(it, path)?,
            Value::Array(all) => {
                let all = all.iter().enumerate().map(|(at, it)| self.value(it, &path.at(Step::Item(at))));
                Value::Array(all.collect::<Result<_, _>>()?)
            }
            Value::Object(all) => {
                let mut made = Map::new();
                for (key, it) in all {
                    let new = match self.text(key, path)? {
                        Value::String(it) => it,
                        Value::Null => key.clone(),
                        _ => return Err(SubstituteError::Key(key.clone())),
                    };
                    let it = self.value(it, &path.at(Step::Field(key)))?;
                    made.insert(new, it);
                }
                Value::Object(made)
            }
            other => other.clone(),
        })
    }

    fn text(&mut self, text: &str, path: &Place<'_>) -> Result<Value, SubstituteError> {
        if !text.contains("{{") {
            return Ok(Value::String(text.to_owned()));
        }
        let mut text = text.to_owned();
        for _ in 0..ROUNDS_MAX {
            let found: Vec<(String, String)> =
                VARIABLE.captures_iter(&text).map(|it| (it[1].to_owned(), it[2].to_owned())).collect();
            if found.is_empty() {
                return Ok(Value::String(text.replace("\\{{", "{{")));
            }
            let original = text.clone();
            let mut shallow = false;
            for (prefix, variable) in found {
                let (name, is_shallow) = inner(&variable);
                shallow = is_shallow;
                let value = self.lookup(name, path)?;
                if original == variable {
                    return Ok(value);
                }
                let mut value = text::joined(&value);
                if shallow {
                    value = value.replace("{{", "\\{{");
                }
                text = text.replacen(&format!("{prefix}{variable}"), &format!("{prefix}{value}"), 1);
                if text.len() > BYTES_MAX {
                    return Err(SubstituteError::Endless(path.as_pointer()));
                }
            }
            if shallow {
                return Ok(Value::String(text.replace("\\{{", "{{")));
            }
        }
        Err(SubstituteError::Endless(path.as_pointer()))
    }

    fn lookup(&mut self, mut name: String, path: &Place<'_>) -> Result<Value, SubstituteError> {
        if name == "@" {
            name = self.own_field(path);
        }
        if self.is_delete {
            name = name.replace("request.object", "request.oldObject");
        }
        self.context.query(&name).map_err(|source| SubstituteError::Variable {
            variable: name,
            path: path.as_pointer(),
            source,
        })
    }

    /// The field that stands at this place in the object.
    fn own_field(&mut self, path: &Place<'_>) -> String {
        let base = if self.context.query("target").is_ok() { "target" } else { "request.object" };
        let mut name = base.to_owned();
        let below = path.as_pointer().replace("\\/", "\u{0}");
        for part in self.field.iter().copied().chain(below.split('/').filter(|it| !it.is_empty())) {
            let part = part.replace('\u{0}', "/");
            let part = Anchor::parse(&part).map_or(part.as_str(), |it| it.key).to_owned();
            match part.parse::<usize>() {
                Ok(at) => name.push_str(&format!("[{at}]")),
                Err(_) => name.push_str(&format!(".{}", Value::String(part))),
            }
        }
        name
    }
}

/// What stands between the braces, and whether its value is taken as it is.
fn inner(variable: &str) -> (String, bool) {
    let name = variable.replace("{{", "").replace("}}", "");
    match name.trim().strip_prefix('-') {
        Some(name) => (name.trim().to_owned(), true),
        None => (name.trim().to_owned(), false),
    }
}

/// Replaces references to other places of the same document.
fn references(document: &Value, value: &Value, path: &str) -> Result<Value, SubstituteError> {
    Ok(match value {
        Value::String(it) if it.contains("$(") => Value::String(reference_text(document, it, path)?),
        Value::Array(all) => {
            let all = all.iter().enumerate().map(|(at, it)| references(document, it, &format!("{path}/{at}")));
            Value::Array(all.collect::<Result<_, _>>()?)
        }
        Value::Object(all) => {
            let mut made = Map::new();
            for (key, it) in all {
                let new = if key.contains("$(") { reference_text(document, key, path)? } else { key.clone() };
                made.insert(new, references(document, it, &format!("{path}/{}", key.replace('/', "\\/")))?);
            }
            Value::Object(made)
        }
        other => other.clone(),
    })
}

fn reference_text(document: &Value, text: &str, path: &str) -> Result<String, SubstituteError> {
    let mut text = text.to_owned();
    let found: Vec<(String, String)> =
        REFERENCE.captures_iter(&text).map(|it| (it[1].to_owned(), it[2].to_owned())).collect();
    for (prefix, reference) in found {
        let error = |why: &str| SubstituteError::Reference {
            reference: reference.clone(),
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let inner = reference.trim_matches(['$', '(', ')']);
        let operator = [">=", "<=", ">", "<", "!"].into_iter().find(|it| inner.starts_with(it)).unwrap_or("");
        let target = &inner[operator.len()..];
        if target.is_empty() {
            return Err(error("expected path, found empty reference"));
        }
        let absolute = joined_path(if target.starts_with('/') { "" } else { path }, target);
        let value = leaf_at(document, &absolute, "").ok_or_else(|| error("it leads nowhere"))?;
        let value = match value {
            Value::String(it) => it,
            Value::Number(it) if !operator.is_empty() => it.to_string(),
            _ => return Err(error("it does not lead to a text")),
        };
        text = text.replacen(&format!("{prefix}{reference}"), &format!("{prefix}{operator}{value}"), 1);
    }
    Ok(ESCAPED_REFERENCE.replace_all(&text, "$1").into_owned())
}

/// A path relative to another, without `.` and `..`.
fn joined_path(base: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(relative.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The leaf at a path, where anchors do not count.
fn leaf_at(value: &Value, wanted: &str, path: &str) -> Option<Value> {
    match value {
        Value::Array(all) => all.iter().enumerate().find_map(|(at, it)| leaf_at(it, wanted, &format!("{path}/{at}"))),
        Value::Object(all) => {
            all.iter().find_map(|(key, it)| leaf_at(it, wanted, &format!("{path}/{}", key.replace('/', "\\/"))))
        }
        leaf => (anchor::bare_path(path) == anchor::bare_path(wanted)).then(|| leaf.clone()),
    }
}
