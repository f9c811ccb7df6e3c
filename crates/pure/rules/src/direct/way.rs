//! A way into an object, taken apart once. Entry points: [`Way::new`], [`Way::find`], [`Way::leads`].

use std::sync::Arc;

use serde_json::Value as Json;

use crate::{convert::unescape, frame::ROOTS, path};

/// A way from one of [`ROOTS`].
#[derive(Debug)]
pub(crate) struct Way {
    /// As expressions have it.
    pub(crate) text: Arc<str>,
    /// The place of the root in [`ROOTS`].
    pub(crate) root: usize,
    steps: Box<[Step]>,
}

#[derive(Debug)]
struct Step {
    mark: Mark,
    name: Box<str>,
    /// The name that it stands for as an identifier, where that is another one.
    plain: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Field,
    Optional,
    Bracket,
}

/// What lies at the end.
pub(crate) enum End<'v> {
    Value(&'v Json),
    /// It was asked for in a way that lets it be absent.
    Optional(Option<&'v Json>),
}

impl Way {
    pub(crate) fn new(text: &str) -> Option<Way> {
        let (root, steps) = path::split(text);
        let root = ROOTS.iter().position(|it| *it == root)?;
        let steps = if steps.is_empty() { Some(Vec::new()) } else { path::steps(steps).map(Step::new).collect() };
        Some(Way { text: Arc::from(text), root, steps: steps?.into() })
    }

    /// Goes all steps; `None` where that fails.
    pub(crate) fn find<'v>(&self, root: &'v Json) -> Option<End<'v>> {
        walk(root, &self.steps)
    }

    /// Whether the last step leads somewhere; `None` where those before it fail.
    pub(crate) fn leads(&self, root: &Json) -> Option<bool> {
        let (last, before) = self.steps.split_last()?;
        match walk(root, before)? {
            End::Value(value) => Some(last.go(value)?.is_some()),
            End::Optional(None) => Some(false),
            End::Optional(Some(value)) => Some(last.go(value)?.is_some()),
        }
    }
}

fn walk<'v>(mut value: &'v Json, steps: &[Step]) -> Option<End<'v>> {
    let mut optional = false;
    for step in steps {
        optional |= step.mark == Mark::Optional;
        match step.go(value)? {
            Some(it) => value = it,
            None if optional => return Some(End::Optional(None)),
            None => return None,
        }
    }
    Some(if optional { End::Optional(Some(value)) } else { End::Value(value) })
}

impl Step {
    fn new((mark, name): (&str, &str)) -> Option<Step> {
        let mark = match mark {
            "." => Mark::Field,
            "?" => Mark::Optional,
            "!" => Mark::Bracket,
            _ => return None,
        };
        let plain = Some(unescape(name)).filter(|it| mark == Mark::Field && it != name);
        Some(Step { mark, name: name.into(), plain: plain.map(Into::into) })
    }

    /// `None` for what has no fields, nothing in it for what is not there.
    fn go<'v>(&self, value: &'v Json) -> Option<Option<&'v Json>> {
        match value {
            Json::Object(map) => {
                Some(map.get(&*self.name).or_else(|| self.plain.as_ref().and_then(|it| map.get(&**it))))
            }
            Json::Null => Some(None),
            _ => None,
        }
    }
}
