//! Patterns of whole objects, with anchors.
//!
//! Entry point: [`match_pattern`]. `(key)` is a condition, `<(key)` one for the whole object, `=(key)` looks only where
//! the key is there, `X(key)` forbids it, `^(key)` wants at least one element of a list, `+(key)` belongs to changes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    pattern,
    place::{Place, Step},
    text, wildcard,
};

/// What stands before the parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modifier {
    Condition,
    Global,
    Negation,
    AddIfAbsent,
    Equality,
    Existence,
}

/// A key with an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor<'a> {
    pub(crate) modifier: Modifier,
    pub(crate) key: &'a str,
}

impl<'a> Anchor<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Anchor<'a>> {
        // Most keys are plain names.
        if text.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric) {
            return None;
        }
        let text = text.trim();
        let (modifier, rest) = match text.as_bytes().first()? {
            b'(' => (Modifier::Condition, text),
            b'<' => (Modifier::Global, &text[1..]),
            b'X' => (Modifier::Negation, &text[1..]),
            b'+' => (Modifier::AddIfAbsent, &text[1..]),
            b'=' => (Modifier::Equality, &text[1..]),
            b'^' => (Modifier::Existence, &text[1..]),
            _ => return None,
        };
        let key = rest.strip_prefix('(')?.strip_suffix(')')?;
        (!key.is_empty()).then_some(Anchor { modifier, key })
    }

    /// The same anchor around another key.
    fn around(self, key: &str) -> String {
        let sign = match self.modifier {
            Modifier::Condition => "",
            Modifier::Global => "<",
            Modifier::Negation => "X",
            Modifier::AddIfAbsent => "+",
            Modifier::Equality => "=",
            Modifier::Existence => "^",
        };
        format!("{sign}({key})")
    }
}

fn modifier(key: &str) -> Option<Modifier> {
    Anchor::parse(key).map(|it| it.modifier)
}

/// A path without anchors.
pub(crate) fn bare_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').map(|it| Anchor::parse(it).map_or(it, |it| it.key)).collect();
    parts.join("/")
}

/// Why an object does not match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Mismatch {
    pub(crate) message: String,
    /// Where: `/spec/containers/0/image/`. Empty where the pattern's condition found nothing to look at.
    pub(crate) path: String,
    /// Whether the pattern does not apply.
    pub(crate) skip: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Plain,
    Negation,
    /// A condition that does not hold.
    Unmet,
    /// Everything below does not apply.
    Skipped,
}

struct Failure {
    class: Class,
    message: String,
    path: String,
}

impl Failure {
    fn plain(path: &Place<'_>, message: String) -> Failure {
        Failure { class: Class::Plain, message, path: path.to_string() }
    }

    fn skips(&self) -> bool {
        matches!(self.class, Class::Unmet | Class::Skipped)
    }
}

type Outcome = Result<(), Failure>;

/// Holds a resource against a pattern.
pub(crate) fn match_pattern(resource: &Value, pattern: &Value) -> Result<(), Mismatch> {
    let mut matcher = Matcher { seen: BTreeMap::new() };
    let Err(failure) = matcher.element(resource, pattern, &Place::default()) else {
        return Ok(());
    };
    let skip = failure.skips();
    let aimless = failure.class == Class::Plain && matcher.misses_keys();
    let path = if skip || aimless { String::new() } else { failure.path };
    Err(Mismatch { message: failure.message, path, skip })
}

struct Matcher {
    /// Anchored keys of the pattern, and whether any resource had them.
    seen: BTreeMap<String, bool>,
}

impl Matcher {
    fn misses_keys(&self) -> bool {
        self.seen.iter().any(|(key, seen)| !seen && modifier(key) != Some(Modifier::Negation))
    }

    fn note(&mut self, pattern: &Map<String, Value>, resource: &Map<String, Value>) {
        for key in pattern.keys() {
            let Some(anchor) = Anchor::parse(key) else { continue };
            if !matches!(anchor.modifier, Modifier::Condition | Modifier::Existence | Modifier::Negation) {
                continue;
            }
            let seen = self.seen.entry(key.clone()).or_default();
            *seen |= resource.contains_key(anchor.key);
        }
    }

    fn element(&mut self, resource: &Value, pattern: &Value, path: &Place<'_>) -> Outcome {
        match pattern {
            Value::Object(pattern) => {
                let Value::Object(resource) = resource else {
                    return Err(Failure::plain(
                        path,
                        format!(
                            "pattern and resource have different structures. Path: {path}. Expected map[string]interface {{}}, found {}",
                            type_name(resource)
                        ),
                    ));
                };
                self.note(pattern, resource);
                self.map(resource, pattern, path)
            }
            Value::Array(pattern) => {
                let Value::Array(resource) = resource else {
                    return Err(Failure::plain(
                        path,
                        format!(
                            "validation rule failed at path {path}, resource does not satisfy the expected overlay pattern"
                        ),
                    ));
                };
                self.array(resource, pattern, path)
            }
            leaf => {
                let fits = match resource {
                    Value::Array(all) => all.iter().all(|it| pattern::matches(it, leaf)),
                    other => pattern::matches(other, leaf),
                };
                if fits {
                    return Ok(());
                }
                let (is, should) = (text::plain(resource), text::plain(leaf));
                Err(Failure::plain(path, format!("resource value '{is}' does not match '{should}' at path {path}")))
            }
        }
    }

    fn map(&mut self, resource: &Map<String, Value>, pattern: &Map<String, Value>, path: &Place<'_>) -> Outcome {
        let expanded = expand_metadata(pattern, resource);
        let pattern = expanded.as_ref().unwrap_or(pattern);
        let is_anchor = |key: &str| {
            matches!(
                modifier(key),
                Some(Modifier::Condition | Modifier::Existence | Modifier::Equality | Modifier::Negation)
            )
        };
        let mut skips: Vec<Failure> = Vec::new();
        let mut applied = 0;
        for (key, value) in pattern.iter().filter(|(key, _)| is_anchor(key)) {
            match self.anchored(key, value, resource, path) {
                Ok(()) => applied += 1,
                Err(failure) if failure.skips() => skips.push(failure),
                Err(failure) if !skips.iter().any(|it| it.class == Class::Unmet) => return Err(failure),
                Err(_) => {}
            }
        }
        if !skips.is_empty() && (applied == 0 || skips.iter().any(|it| it.class == Class::Unmet)) {
            return Err(skipped(path, skips));
        }
        for key in ordered(pattern, is_anchor) {
            self.anchored(key, &pattern[key], resource, path)?;
        }
        Ok(())
    }

    /// One key of a pattern.
    fn anchored(&mut self, key: &str, pattern: &Value, resource: &Map<String, Value>, path: &Place<'_>) -> Outcome {
        let Some(anchor) = Anchor::parse(key).filter(|it| it.modifier != Modifier::AddIfAbsent) else {
            return self.bare(key, pattern, resource, path);
        };
        let below = path.at(Step::Field(anchor.key));
        let value = resource.get(anchor.key);
        let fails = |class: Class, message: String| Err(Failure { class, message, path: below.to_string() });
        match (anchor.modifier, value) {
            (Modifier::Negation, Some(_)) => {
                fails(Class::Negation, format!("negation anchor matched in resource: {below} is not allowed"))
            }
            (Modifier::Condition, None) => {
                let message = "conditional anchor mismatch: conditional anchor key doesn't exist in the resource";
                fails(Class::Unmet, message.to_owned())
            }
            (_, None) => Ok(()),
            (Modifier::Condition, Some(value)) => self.element(value, pattern, &below).map_err(|it| Failure {
                class: Class::Unmet,
                message: format!("conditional anchor mismatch: {}", it.message),
                path: it.path,
            }),
            (Modifier::Global, Some(value)) => self.element(value, pattern, &below).map_err(|it| Failure {
                class: Class::Unmet,
                message: format!("global anchor mismatch: {}", it.message),
                path: it.path,
            }),
            (Modifier::Existence, Some(value)) => self.existence(value, pattern, &below),
            (_, Some(value)) => self.element(value, pattern, &below),
        }
    }

    fn bare(&mut self, key: &str, pattern: &Value, resource: &Map<String, Value>, path: &Place<'_>) -> Outcome {
        let value = resource.get(key).unwrap_or(&Value::Null);
        if pattern == "*" {
            if value.is_null() {
                return Err(Failure::plain(path, format!("{path}/{key} not found")));
            }
            return Ok(());
        }
        self.element(value, pattern, &path.at(Step::Field(key)))
    }

    fn existence(&mut self, value: &Value, pattern: &Value, path: &Place<'_>) -> Outcome {
        let Value::Array(all) = value else {
            let message = format!(
                "invalid resource type {}: Existence ^ () anchor can be used only on list/array type resource",
                type_name(value)
            );
            return Err(Failure::plain(path, message));
        };
        let Value::Array(patterns) = pattern else {
            let message = format!(
                "invalid pattern type {}: Pattern has to be of list to compare against resource",
                type_name(pattern)
            );
            return Err(Failure::plain(path, message));
        };
        for pattern in patterns {
            let fits = |(at, it): (usize, &Value)| self.element(it, pattern, &path.at(Step::Item(at))).is_ok();
            if !all.iter().enumerate().any(fits) {
                return Err(Failure::plain(path, format!("existence anchor validation failed at path {path}")));
            }
        }
        Ok(())
    }

    fn array(&mut self, resource: &[Value], pattern: &[Value], path: &Place<'_>) -> Outcome {
        match pattern.first() {
            None => Err(Failure::plain(path, "pattern Array empty".to_owned())),
            // Only the first map of a pattern counts; it is for every element.
            Some(first @ Value::Object(_)) => {
                let pairs = resource.iter().map(|it| (it, first));
                self.each(pairs, path)
            }
            Some(Value::Array(_)) => {
                if resource.len() < pattern.len() {
                    let (is, should) = (resource.len(), pattern.len());
                    let message = format!(
                        "validate Array failed, array length mismatch, resource Array len is {is} and pattern Array len is {should}"
                    );
                    return Err(Failure { class: Class::Plain, message, path: String::new() });
                }
                self.each(resource.iter().zip(pattern), path)
            }
            Some(leaf) => match resource.iter().all(|it| pattern::matches(it, leaf)) {
                true => Ok(()),
                false => {
                    let is: Vec<String> = resource.iter().map(text::plain).collect();
                    let (is, should) = (is.join(" "), text::plain(leaf));
                    let message = format!("resource value '[{is}]' does not match '{should}' at path {path}");
                    Err(Failure::plain(path, message))
                }
            },
        }
    }

    fn each<'v>(&mut self, pairs: impl Iterator<Item = (&'v Value, &'v Value)>, path: &Place<'_>) -> Outcome {
        let mut applied = 0;
        let mut skips = Vec::new();
        for (at, (resource, pattern)) in pairs.enumerate() {
            match self.element(resource, pattern, &path.at(Step::Item(at))) {
                Ok(()) => applied += 1,
                Err(failure) if failure.skips() => skips.push(failure),
                Err(failure) => return Err(failure),
            }
        }
        if applied == 0 && !skips.is_empty() { Err(skipped(path, skips)) } else { Ok(()) }
    }
}

fn skipped(path: &Place<'_>, skips: Vec<Failure>) -> Failure {
    let messages: Vec<String> = skips.into_iter().map(|it| it.message).collect();
    Failure { class: Class::Skipped, message: messages.join("; "), path: path.to_string() }
}

/// Keys that are no anchors, in the order of their evaluation: those for the whole object and those with conditions
/// inside come first, the last of them foremost.
fn ordered(pattern: &Map<String, Value>, is_anchor: impl Fn(&str) -> bool) -> Vec<&str> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for (key, value) in pattern.iter().filter(|(key, _)| !is_anchor(key)) {
        if modifier(key) == Some(Modifier::Global) || has_anchors(value) {
            front.push(key.as_str());
        } else {
            back.push(key.as_str());
        }
    }
    front.reverse();
    front.extend(back);
    front
}

fn has_anchors(pattern: &Value) -> bool {
    match pattern {
        Value::Object(all) => all
            .iter()
            .any(|(key, value)| modifier(key).is_some_and(|it| it != Modifier::AddIfAbsent) || has_anchors(value)),
        Value::Array(all) => all.iter().any(has_anchors),
        _ => false,
    }
}

/// Replaces globs in the keys of `metadata.labels` and `metadata.annotations` by keys that the resource has.
fn expand_metadata(pattern: &Map<String, Value>, resource: &Map<String, Value>) -> Option<Map<String, Value>> {
    let find = |map: &Map<String, Value>, wanted: &str| {
        let is = |key: &str| key == wanted || Anchor::parse(key).is_some_and(|it| it.key == wanted);
        map.keys().find(|it| is(it)).cloned()
    };
    let key = find(pattern, "metadata")?;
    let metadata = pattern[&key].as_object()?;
    let given = resource.get("metadata")?.as_object()?;
    let mut changed = metadata.clone();
    let mut any = false;
    for tag in ["labels", "annotations"] {
        let Some(key) = find(metadata, tag) else { continue };
        let (Some(wanted), Some(given)) = (metadata[&key].as_object(), given.get(tag).and_then(Value::as_object))
        else {
            continue;
        };
        if !wanted.keys().any(|it| wildcard::is_glob(it)) {
            continue;
        }
        any = true;
        let expanded = wanted.iter().map(|(glob, value)| (expanded_key(glob, given), value.clone()));
        changed.insert(key, Value::Object(expanded.collect()));
    }
    let mut pattern = any.then(|| pattern.clone())?;
    pattern.insert(key, Value::Object(changed));
    Some(pattern)
}

fn expanded_key(glob: &str, given: &Map<String, Value>) -> String {
    let anchor = Anchor::parse(glob);
    let bare = anchor.map_or(glob, |it| it.key);
    match given.keys().find(|it| wildcard::matches(bare, it)) {
        Some(key) => anchor.map_or_else(|| key.clone(), |it| it.around(key)),
        None => glob.to_owned(),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
