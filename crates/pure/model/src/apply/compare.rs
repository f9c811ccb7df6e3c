//! What changed between two versions of an object. Entry point: [`compare`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    element::Element,
    reset::Ignored,
    set::{Node, Set},
    types::{Form, List, Type},
};

/// The fields that came, went, and have another value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) removed: Set,
    pub(super) modified: Set,
}

impl Comparison {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }

    /// Leaves out what a write ignores.
    pub(super) fn without(mut self, ignored: &Ignored) -> Self {
        [&mut self.added, &mut self.removed, &mut self.modified].into_iter().for_each(|it| ignored.strip(it));
        self
    }

    /// The fields that have a new value.
    pub(super) fn written(&self) -> Set {
        let mut written = self.added.clone();
        written.union(self.modified.clone());
        written
    }
}

/// Compares two objects. Objects that Kubernetes' own types always have count as there, even if they are not.
pub(super) fn compare(of: Type<'_>, old: &Value, new: &Value) -> Comparison {
    if old == new {
        return Comparison::default();
    }
    let Found { added, removed, modified } = value(of, Some(old), Some(new), of.has_given());
    Comparison { added: added.below, removed: removed.below, modified: modified.below }
}

/// What changed at one place and below it.
#[derive(Default)]
struct Found {
    added: Node,
    removed: Node,
    modified: Node,
}

impl Found {
    /// Takes in what changed one step below.
    fn put(&mut self, element: Element, found: Found) {
        let Found { added, removed, modified } = found;
        let parts = [(&mut self.added, added), (&mut self.removed, removed), (&mut self.modified, modified)];
        for (here, below) in parts.into_iter().filter(|(_, below)| below.is_used()) {
            here.below.put(element.clone(), below);
        }
    }
}

/// Compares what is at one place; the caller has seen that it differs.
fn value(of: Type<'_>, old: Option<&Value>, new: Option<&Value>, given: bool) -> Found {
    let mut found = Found::default();
    let (before, after) = (old.and_then(|it| of.form(it)), new.and_then(|it| of.form(it)));
    let by_part = match (before, after) {
        (Some(Form::Map), Some(Form::Map) | None) | (None, Some(Form::Map)) => {
            map(&mut found, of, old.and_then(Value::as_object), new.and_then(Value::as_object), given)
        }
        (Some(Form::List(of)), Some(Form::List(_)) | None) | (None, Some(Form::List(of))) => {
            list(&mut found, of, old.and_then(Value::as_array), new.and_then(Value::as_array))
        }
        (Some(Form::Map), Some(Form::Leaf)) => map(&mut found, of, old.and_then(Value::as_object), None, false),
        (Some(Form::Leaf), Some(Form::Map)) => map(&mut found, of, None, new.and_then(Value::as_object), false),
        _ => false,
    };
    let changed_form = matches!((before, after), (Some(Form::Map), Some(Form::Leaf)) | (Some(Form::Leaf), Some(_)));
    match (old, new) {
        _ if given && by_part => {}
        (None, _) => found.added.member = true,
        (_, None) => found.removed.member = true,
        _ if !by_part || changed_form => found.modified.member = true,
        _ => {}
    }
    found
}

/// Whether there was anything to compare by part: two empty maps are leaves.
fn map(
    found: &mut Found,
    of: Type<'_>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    given: bool,
) -> bool {
    let is_filled = |map: Option<&Map<String, Value>>| map.is_some_and(|it| !it.is_empty());
    if !is_filled(old) && !is_filled(new) {
        // What is always there is as good as empty.
        return given;
    }
    let kept = old.into_iter().flatten().map(|(name, it)| (name, Some(it), new.and_then(|new| new.get(name))));
    let is_new = |name: &str| !old.is_some_and(|it| it.contains_key(name));
    let fresh = new.into_iter().flatten().filter(|(name, _)| is_new(name)).map(|(name, it)| (name, None, Some(it)));
    for (name, old, new) in kept.chain(fresh).filter(|(_, old, new)| old != new) {
        let field = of.field(name);
        found.put(Element::field(name), value(field.of, old, new, given && field.given));
    }
    true
}

fn list(found: &mut Found, list: List<'_>, old: Option<&Vec<Value>>, new: Option<&Vec<Value>>) -> bool {
    let filled = |it: Option<&Vec<Value>>| it.is_some_and(|it| !it.is_empty());
    if !filled(old) && !filled(new) {
        return false;
    }
    let (Some(old), Some(new)) = (index(list, old), index(list, new)) else { return false };
    let elements: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
    for element in elements {
        let (before, after) = (items(&old, element), items(&new, element));
        if before != after {
            found.put(element.clone(), item(list.item, before, after));
        }
    }
    true
}

/// Compares what a list has of one element: of several alike only one can be merged with, and going from or to several is
/// a new beginning.
fn item(of: Type<'_>, before: &[&Value], after: &[&Value]) -> Found {
    let (first, last) = (before.first().copied(), after.first().copied());
    match (before, after) {
        ([_, _, ..], [_, _, ..]) => Found { modified: Node::member(), ..Found::default() },
        ([_, _, ..], []) => Found { removed: Node::member(), ..Found::default() },
        ([_, _, ..], _) => {
            let mut found = value(of, None, last, false);
            found.removed.member = true;
            found
        }
        ([], [_, _, ..]) => Found { added: Node::member(), ..Found::default() },
        (_, [_, _, ..]) => {
            let mut found = value(of, first, None, false);
            found.added.member = true;
            found
        }
        _ => value(of, first, last, false),
    }
}

type Items<'a> = BTreeMap<Element, Vec<&'a Value>>;

/// Items by what tells them apart; `None` when that cannot be told.
fn index<'a>(list: List<'_>, items: Option<&'a Vec<Value>>) -> Option<Items<'a>> {
    let mut index = Items::new();
    for item in items.into_iter().flatten() {
        index.entry(list.element(item).ok()?).or_default().push(item);
    }
    Some(index)
}

fn items<'a, 'b>(items: &'a Items<'b>, element: &Element) -> &'a [&'b Value] {
    items.get(element).map_or(&[], Vec::as_slice)
}
