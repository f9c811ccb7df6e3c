//! The data of migrations: names, stages, moves and texts of findings, as `catalog/migration/*.yaml` holds them.
//!
//! Entry point: [`Book`]; `read` makes one of texts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Text;

/// A technology as a combination names it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// How plans name it.
    pub id: String,
    /// Its layer: `orchestration`, `runtime`, `storage`, `network`, `mesh` or `policy`.
    pub layer: String,
    /// What users write instead.
    pub aliases: Vec<String>,
    /// How people write it.
    pub title: String,
}

/// What images are, by the beginnings of words of their names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Databases and brokers, which no one compiles to Wasm.
    pub stateful: Vec<String>,
    /// Language runtimes that need more of an operating system than WASI has.
    pub languages: Vec<String>,
}

/// A stage of the evolution path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Era {
    /// Its name.
    pub id: String,
    /// Where it is described.
    pub source: String,
    /// What it is.
    pub title: Text,
    /// The parts that make a combination be at this stage, by layer.
    pub has: BTreeMap<String, String>,
}

/// A step list between two technologies of a layer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The layer, or `*`.
    pub layer: String,
    /// Where it starts; `*` is anywhere.
    pub from: Vec<String>,
    /// Where it ends; `*` is anywhere.
    pub to: Vec<String>,
    /// Where it is described; `eyot` when the documents have none.
    pub source: String,
    /// What to do, in order.
    pub steps: Vec<Step>,
}

/// One step, with the way back.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is about.
    pub title: Text,
    /// What to do.
    pub act: Text,
    /// How to undo it.
    pub undo: Text,
    /// The layer that must change for the step to apply; always when absent.
    #[serde(default, skip_serializing)]
    pub when: Option<String>,
}

/// A row of the compatibility matrix.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Compatibility {
    /// The orchestrator.
    pub orchestration: String,
    /// The runtime.
    pub runtime: String,
    /// How far the Kubernetes API is the same.
    pub api: String,
    /// How far container images run.
    pub images: String,
    /// The network that goes with it.
    pub network: String,
    /// What to know of its storage.
    pub storage: String,
}

/// How bad a finding is, worst first.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// It does not run there as it is, and no edit of the manifest alone mends it.
    Blocks,
    /// It must be changed first.
    Change,
    /// Somebody should look at it.
    Look,
}

/// What a rule says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saying {
    /// The rule.
    pub id: String,
    /// How bad it is.
    pub weight: Weight,
    /// Where it comes from.
    pub source: String,
    /// What was found; `{value}` stands for the thing.
    pub says: Text,
    /// What to do about it.
    pub fix: Text,
}

/// All of it, checked: see [`Book::parse`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// The technologies.
    pub names: Vec<Name>,
    /// What an orchestrator brings when nothing else is said, by layer.
    pub usual: BTreeMap<String, BTreeMap<String, String>>,
    /// What images are.
    pub images: Images,
    /// The evolution path, in order.
    pub stages: Vec<Era>,
    /// The compatibility matrix.
    pub compatibility: Vec<Compatibility>,
    /// The step lists; the first that fits counts.
    pub moves: Vec<Move>,
    /// The texts of findings.
    #[serde(skip)]
    pub sayings: Vec<Saying>,
}

impl Book {
    /// The technology of that name or alias.
    pub fn name(&self, text: &str) -> Option<&Name> {
        let text = text.to_ascii_lowercase().replace('_', "-");
        self.names.iter().find(|it| it.id == text || it.aliases.contains(&text))
    }

    /// How people write a technology.
    pub fn title<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.iter().find(|it| it.id == id).map_or(id, |it| &it.title)
    }

    /// The step list from one technology of a layer to another.
    pub fn steps(&self, layer: &str, from: Option<&str>, to: &str) -> Option<&Move> {
        let any = |list: &[String], id: Option<&str>| list.iter().any(|it| it == "*" || Some(it.as_str()) == id);
        self.moves
            .iter()
            .find(|it| (it.layer == layer || it.layer == "*") && any(&it.from, from) && any(&it.to, Some(to)))
    }

    pub(super) fn saying(&self, id: &str) -> &Saying {
        self.sayings.iter().find(|it| it.id == id).expect("a book has words for every rule")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_can_be_undone_in_both_languages() {
        let book = Book::embedded();
        for step in book.moves.iter().flat_map(|it| &it.steps) {
            for text in [&step.title, &step.act, &step.undo] {
                assert!(!text.en.is_empty() && !text.zh.is_empty(), "{step:?}");
            }
        }
        for saying in &book.sayings {
            assert_eq!(saying.says.en.contains("{value}"), saying.says.zh.contains("{value}"), "{}", saying.id);
        }
    }
}
