//! The fields that an object sets. Entry points: [`field_set`] and, for what a client applies, [`strict`].

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    element::{Element, Path, shown},
    set::Set,
    types::{Form, List, Type},
};

/// The fields that a stored object sets. What contradicts the schema counts as one value.
pub(super) fn field_set(of: Type<'_>, object: &Value) -> Set {
    let mut walk = Walk::default();
    walk.value(of, object);
    walk.set
}

/// The fields that a sent object sets.
///
/// # Errors
/// Everything that contradicts the schema, a line each: unknown fields, items that cannot be told apart.
pub(super) fn strict(of: Type<'_>, object: &Value) -> Result<Set, Vec<String>> {
    let mut walk = Walk::default();
    walk.value(of, object);
    if walk.problems.is_empty() { Ok(walk.set) } else { Err(walk.problems) }
}

/// Most problems told of one object.
const PROBLEMS_MAX: usize = 100;

#[derive(Default)]
struct Walk {
    path: Path,
    set: Set,
    problems: Vec<String>,
}

impl Walk {
    fn value(&mut self, of: Type<'_>, value: &Value) {
        if let Some(wanted) = of.mismatch(value) {
            self.problem(format!("expected {wanted}, got {value}"));
        }
        match (of.form(value), value) {
            (Some(Form::Map), Value::Object(map)) => {
                for (name, value) in map {
                    let field = of.field(name);
                    self.path.push(Element::field(name));
                    if !field.known {
                        self.problem("field not declared in schema".into());
                    }
                    self.value(field.of, value);
                    let hollow = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                    if hollow || !field.declared {
                        self.set.insert(&self.path);
                    }
                    self.path.pop();
                }
            }
            (Some(Form::List(list)), Value::Array(items)) => self.list(list, items),
            (Some(_), _) => self.set.insert(&self.path),
            // Whoever holds a null has already said so.
            (None, _) => {}
        }
    }

    fn list(&mut self, list: List<'_>, items: &[Value]) {
        let mut seen = BTreeSet::new();
        for (i, item) in items.iter().enumerate() {
            let element = match list.element(item) {
                Ok(element) => element,
                Err(why) => {
                    self.problem(format!("element {i}: {why}"));
                    self.set.insert(&self.path);
                    continue;
                }
            };
            if !seen.insert(element.clone()) {
                self.problem(format!("duplicate entries for key {element}"));
            }
            self.path.push(element);
            self.value(list.item, item);
            self.set.insert(&self.path);
            self.path.pop();
        }
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(format!("{}: {what}", shown(&self.path)));
        }
    }
}
