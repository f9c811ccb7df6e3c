//! What of a user's objects stands in the way. Entry point: [`judge`].
//!
//! `pods` looks at whatever holds a pod, `network`, `storage` and `rules` at the kinds that their names tell. A rule
//! names an entry of `catalog/migration/findings.yaml`, which holds the words.

mod network;
mod pods;
mod rules;
mod storage;

use serde::Serialize;
use serde_json::Value;

use super::{
    book::{Book, Weight},
    combination::Combination,
    inventory::Item,
};
use crate::Text;

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The place of its object in the inventory.
    pub index: usize,
    /// How bad it is.
    pub weight: Weight,
    /// The rule that found it.
    pub rule: String,
    /// The object: `Kind namespace/name`.
    pub object: String,
    /// The file the object came from.
    pub file: String,
    /// The line on which its document begins.
    pub line: usize,
    /// Where in the object; empty for all of it.
    pub path: String,
    /// What was found.
    pub says: Text,
    /// What to do about it.
    pub fix: Text,
    /// Where the rule comes from.
    pub source: String,
}

/// What changes, as the rules ask for it.
pub(super) struct Change<'a> {
    pub(super) from: &'a Combination,
    pub(super) to: &'a Combination,
}

impl Change<'_> {
    /// Containers become Wasm.
    pub(super) fn to_wasm(&self) -> bool {
        self.to.runs_wasm() && !self.from.runs_wasm()
    }

    pub(super) fn to_eyot(&self) -> bool {
        self.becomes("orchestration", "eyot")
    }

    /// The layer was something else before.
    pub(super) fn becomes(&self, layer: &str, id: &str) -> bool {
        self.to.is(layer, id) && !self.from.is(layer, id)
    }

    /// The layer was that, and no longer is.
    pub(super) fn leaves(&self, layer: &str, id: &str) -> bool {
        self.from.is(layer, id) && !self.to.is(layer, id)
    }
}

/// What the rules write to while they look at one object.
pub(super) struct Notes<'a> {
    book: &'a Book,
    item: &'a Item,
    index: usize,
    found: Vec<Finding>,
}

impl Notes<'_> {
    /// Reports what a rule found.
    pub(super) fn add(&mut self, rule: &str, path: impl Into<String>, value: &str) {
        let saying = self.book.saying(rule);
        let fill = |text: &Text| Text::new(text.en.replace("{value}", value), text.zh.replace("{value}", value));
        let finding = Finding {
            index: self.index,
            weight: saying.weight,
            rule: rule.to_owned(),
            object: label(&self.item.object),
            file: self.item.file.clone(),
            line: self.item.line,
            path: path.into(),
            says: fill(&saying.says),
            fix: fill(&saying.fix),
            source: saying.source.clone(),
        };
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }
}

/// Judges every object; worst first, then in the order of the inventory.
pub(super) fn judge(from: &Combination, to: &Combination, inventory: &[Item], book: &Book) -> Vec<Finding> {
    let change = Change { from, to };
    let mut found = Vec::new();
    for (index, item) in inventory.iter().enumerate() {
        let mut notes = Notes { book, item, index, found: Vec::new() };
        let object = &item.object;
        pods::judge(object, &change, &mut notes);
        network::judge(object, &change, &mut notes);
        storage::judge(object, &change, &mut notes);
        rules::judge(object, &change, &mut notes);
        found.append(&mut notes.found);
    }
    found.sort_by_key(|it| (it.weight, it.index));
    found
}

/// `Kind namespace/name`.
fn label(object: &Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let name = text("/metadata/name").or(text("/metadata/generateName")).unwrap_or("-");
    match text("/metadata/namespace") {
        Some(namespace) => format!("{} {namespace}/{name}", kind(object)),
        None => format!("{} {name}", kind(object)),
    }
}

pub(super) fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// The group of `apiVersion`; empty for the core.
pub(super) fn group(object: &Value) -> &str {
    object["apiVersion"].as_str().and_then(|it| it.split_once('/')).map_or("", |it| it.0)
}

/// The items of a list, none when it is absent or no list.
pub(super) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rules_and_texts_are_the_same_set() {
        let sources =
            [include_str!("pods.rs"), include_str!("network.rs"), include_str!("storage.rs"), include_str!("rules.rs")];
        let quoted = sources.iter().flat_map(|it| it.split('"').skip(1).step_by(2));
        let quoted: BTreeSet<&str> = quoted.collect();
        let book = Book::embedded();
        for saying in &book.sayings {
            assert!(quoted.contains(saying.id.as_str()), "no rule says {}", saying.id);
        }
        for source in sources {
            for call in source.split("notes.add(\"").skip(1) {
                let id = call.split('"').next().unwrap_or_default();
                assert!(book.sayings.iter().any(|it| it.id == id), "{id} has no text");
            }
        }
    }
}
