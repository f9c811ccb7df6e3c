//! One technology: what it is, what it states about itself, and where that was written. Entry point: [`Technology`].

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Serialize, Serializer};

use crate::{
    condition::Condition,
    layer::{DIMENSIONS, Feature, Layer, Level, Metric},
    text::Text,
    tree::Position,
    unit::Range,
};

/// The name of a technology, a rule, a stack or a case: letters, digits and `-`, `+`, `.`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

impl Id {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Id {
    fn from(it: &str) -> Self {
        Self(it.into())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// Where an entry stands in the catalogue's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The file of the catalogue.
    pub file: String,
    /// Where in it.
    pub at: Position,
}

/// An option of a layer, or a part of one.
#[derive(Clone, Debug, Serialize)]
pub struct Technology {
    /// What data calls it.
    pub id: Id,
    /// What people call it.
    pub name: Text,
    /// The layer it is an option of.
    pub layer: Layer,
    /// Whether it may be chosen; what may not is part of others.
    pub option: bool,
    /// Whether it stands for leaving the layer out.
    pub empty: bool,
    /// What it consists of.
    pub parts: Vec<Id>,
    /// Versions that the documents name.
    pub versions: Vec<String>,
    /// Options of other layers that it brings along, so that they take nothing further to set up.
    pub includes: Vec<Id>,
    /// The scenarios that it is an option for.
    #[serde(skip)]
    pub when: Condition,
    /// Its numbers.
    pub specs: BTreeMap<Metric, Spec>,
    /// Its properties; what is not named is absent.
    pub features: BTreeMap<Feature, Level>,
    /// Stars in each dimension, in thousandths, from 0 to 5,000; `fit` is not among them.
    pub stars: [i64; DIMENSIONS],
    /// How mature it is.
    pub maturity: Option<Maturity>,
    /// What other layers must then be: one of the named options.
    pub needs: BTreeMap<Layer, Vec<Id>>,
    /// Facts without a number, such as the policy language; in the words of the document.
    pub facts: BTreeMap<String, Text>,
    /// Sections of the documents that it was taken from.
    pub sources: Vec<String>,
    /// Where the entry stands.
    pub source: Source,
}

/// How mature a technology is, after §05.2.4. Stars are whole ones.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Maturity {
    /// Activity of the community.
    pub community: Option<u8>,
    /// Stability of versions.
    pub stability: Option<u8>,
    /// Use in production.
    pub production: Option<u8>,
    /// Documentation.
    pub documentation: Option<u8>,
    /// Plug-ins, tools, integrations.
    pub ecosystem: Option<u8>,
    /// The document's own verdict.
    pub score: u8,
    /// Stars on GitHub, as written.
    pub github: Option<String>,
    /// How often there is a release, as written.
    pub releases: Option<Text>,
    /// Why, for each of the five, as the document gives it in short.
    pub because: BTreeMap<String, Text>,
    /// The section.
    pub source: String,
}

/// All that is known about one number of a technology.
#[derive(Clone, Debug, Serialize)]
pub struct Spec {
    /// What is counted.
    pub metric: Metric,
    /// Every statement, in the order of the file.
    pub stated: Vec<Stated>,
}

/// A number, who says so, and whether somebody measured it.
#[derive(Clone, Debug, Serialize)]
pub struct Stated {
    /// The number.
    pub range: Range,
    /// A section of a document, or a page of ours.
    pub source: String,
    /// How it was measured; none if it is only claimed.
    pub measured: Option<Measured>,
    /// Where the statement stands.
    pub at: Source,
}

/// The circumstances of a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// The software that was measured, with its version.
    pub with: String,
    /// The machine.
    pub on: String,
    /// When, as a date or a month.
    pub date: String,
}

impl Spec {
    /// What counts: the last measurement, else the first claim.
    pub fn effective(&self) -> Option<&Stated> {
        self.stated.iter().rev().find(|it| it.measured.is_some()).or_else(|| self.stated.first())
    }

    /// The first claim.
    pub fn claimed(&self) -> Option<&Stated> {
        self.stated.iter().find(|it| it.measured.is_none())
    }
}

impl Technology {
    /// How much of `feature` it has.
    pub fn level(&self, feature: Feature) -> Level {
        self.features.get(&feature).copied().unwrap_or(Level::None)
    }

    /// The statement about `metric` that counts.
    pub fn stated(&self, metric: Metric) -> Option<&Stated> {
        self.specs.get(&metric)?.effective()
    }
}
