//! A scenario: what somebody needs, in their own numbers. Entry points: [`Scenario::parse`], [`Scenario::set`], [`FIELDS`].

mod contradiction;
mod fields;
mod parse;
mod write;

use std::collections::BTreeMap;

use serde::Serialize;

pub use fields::{FIELDS, Field, Kind, Sense};

use crate::{
    catalog::Id,
    layer::Dimension,
    tree::{Node, Position},
    unit::Range,
};

/// A checked scenario. Holding one means that every key was known, every unit right, and nothing contradictory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scenario {
    /// The name under which its text was given.
    pub file: String,
    /// What each key of [`FIELDS`] was given as.
    pub values: BTreeMap<&'static str, Value>,
    /// Weights given instead of the usual ones, in millionths.
    pub weights: BTreeMap<Dimension, i64>,
    /// Options that must be chosen.
    pub require: Vec<Named>,
    /// Options that must not be chosen.
    pub forbid: Vec<Named>,
    /// Keys whose requirements must be matched in full.
    pub strict: Vec<Named>,
    /// Where weights stand.
    pub weight_positions: BTreeMap<Dimension, Position>,
    /// What it was read from, for [`Scenario::set`].
    #[serde(skip)]
    pub(crate) node: Option<Node>,
}

/// A name that the scenario mentions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The name.
    pub id: Id,
    /// Where it stands.
    pub at: Position,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Value {
    /// The value.
    pub given: Given,
    /// Where it stands; 0:0 if it was set without a text.
    pub at: Position,
    /// As it was written.
    pub text: String,
}

/// What a key can be given as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Given {
    /// Free text.
    Text(String),
    /// One of the field's words.
    Word(&'static str),
    /// Several of them.
    Words(Vec<&'static str>),
    /// Yes or no.
    Flag(bool),
    /// An amount, or a bound on one.
    Range(Range),
}

impl Scenario {
    /// The amount that `key` was given as.
    pub fn range(&self, key: &str) -> Option<Range> {
        match self.values.get(key)?.given {
            Given::Range(range) => Some(range),
            _ => None,
        }
    }

    /// The word that `key` was given as; empty if it was not.
    pub fn word(&self, key: &str) -> &str {
        match self.values.get(key).map(|it| &it.given) {
            Some(Given::Word(word)) => word,
            _ => "",
        }
    }

    /// Whether `key` was given as true.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.values.get(key).map(|it| &it.given), Some(Given::Flag(true)))
    }

    /// Whether the list `key` holds `word`.
    pub fn lists(&self, key: &str, word: &str) -> bool {
        matches!(self.values.get(key).map(|it| &it.given), Some(Given::Words(words)) if words.contains(&word))
    }

    /// Where the value of `key` stands.
    pub fn position(&self, key: &str) -> Position {
        self.values.get(key).map(|it| it.at).unwrap_or_default()
    }

    /// What it is called: its `name`, else that of its file.
    pub fn title(&self) -> &str {
        match self.values.get("name").map(|it| &it.given) {
            Some(Given::Text(name)) => name,
            _ => &self.file,
        }
    }
}
