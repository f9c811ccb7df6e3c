//! What changed between two versions of an object. Entry point: [`compare`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    element::{Element, Path},
    reset::Ignored,
    set::Set,
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
    let mut walk = Walk { path: Path::new(), found: Comparison::default() };
    if old != new {
        walk.value(of, Some(old), Some(new), of.has_given());
    }
    walk.found
}

struct Walk {
    path: Path,
    found: Comparison,
}

impl Walk {
    /// Compares what is at the path; the caller has seen that it differs.
    fn value(&mut self, of: Type<'_>, old: Option<&Value>, new: Option<&Value>, given: bool) {
        let (before, after) = (old.and_then(|it| of.form(it)), new.and_then(|it| of.form(it)));
        let by_part = match (before, after) {
            (Some(Form::Map), Some(Form::Map) | None) | (None, Some(Form::Map)) => {
                self.map(of, old.and_then(Value::as_object), new.and_then(Value::as_object), given)
            }
            (Some(Form::List(list)), Some(Form::List(_)) | None) | (None, Some(Form::List(list))) => {
                self.list(list, old.and_then(Value::as_array), new.and_then(Value::as_array))
            }
            (Some(Form::Map), Some(Form::Leaf)) => self.map(of, old.and_then(Value::as_object), None, false),
            (Some(Form::Leaf), Some(Form::Map)) => self.map(of, None, new.and_then(Value::as_object), false),
            _ => false,
        };
        let changed_form = matches!((before, after), (Some(Form::Map), Some(Form::Leaf)) | (Some(Form::Leaf), Some(_)));
        match (old, new) {
            _ if given && by_part => {}
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            _ if !by_part || changed_form => self.found.modified.insert(&self.path),
            _ => {}
        }
    }

    /// Whether there was anything to compare by part: two empty maps are leaves.
    fn map(
        &mut self,
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
        for (name, before) in old.into_iter().flatten() {
            self.field(of, name, Some(before), new.and_then(|it| it.get(name)), given);
        }
        for (name, after) in new.into_iter().flatten().filter(|(name, _)| !old.is_some_and(|it| it.contains_key(*name)))
        {
            self.field(of, name, None, Some(after), given);
        }
        true
    }

    fn field(&mut self, of: Type<'_>, name: &str, old: Option<&Value>, new: Option<&Value>, given: bool) {
        if old == new {
            return;
        }
        let field = of.field(name);
        self.path.push(Element::field(name));
        self.value(field.of, old, new, given && field.given);
        self.path.pop();
    }

    fn list(&mut self, list: List<'_>, old: Option<&Vec<Value>>, new: Option<&Vec<Value>>) -> bool {
        let filled = |it: Option<&Vec<Value>>| it.is_some_and(|it| !it.is_empty());
        if !filled(old) && !filled(new) {
            return false;
        }
        let (Some(old), Some(new)) = (index(list, old), index(list, new)) else { return false };
        let elements: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
        for element in elements {
            let (before, after) = (items(&old, element), items(&new, element));
            if before == after {
                continue;
            }
            self.path.push(element.clone());
            match (before, after) {
                ([_, _, ..], [_, _, ..]) => self.found.modified.insert(&self.path),
                // Of several alike only one can be merged with; going from or to several is a new beginning.
                ([_, _, ..], after) => {
                    self.found.removed.insert(&self.path);
                    if let Some(after) = after.first() {
                        self.value(list.item, None, Some(after), false);
                    }
                }
                (before, [_, _, ..]) => {
                    if let Some(before) = before.first() {
                        self.value(list.item, Some(before), None, false);
                    }
                    self.found.added.insert(&self.path);
                }
                (before, after) => {
                    self.value(list.item, before.first().copied(), after.first().copied(), false);
                }
            }
            self.path.pop();
        }
        true
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
