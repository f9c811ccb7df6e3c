//! What the documents chose themselves: [`Reference`], [`Matrix`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::technology::{Id, Source};
use crate::{
    layer::{Dimension, Layer, Level, Metric},
    text::Text,
    unit::Range,
    words::words,
};

words! {
    /// What kind of choice a reference is.
    Origin {
        /// A combination of §05.2.2.
        Combination = "combination", "combination", "组合方案";
        /// A reference stack of §05.4.
        Stack = "stack", "reference stack", "成熟技术栈";
        /// A case of §05.5.
        Case = "case", "case", "应用案例";
        /// A scenario of §11.2 and §11.3.
        Scenario = "scenario", "scenario", "场景";
    }
}

/// A stack that a document names.
#[derive(Clone, Debug, Serialize)]
pub struct Reference {
    /// Its name.
    pub id: Id,
    /// What kind it is.
    pub origin: Origin,
    /// What people call it.
    pub name: Text,
    /// The section.
    pub section: String,
    /// The options that it names for a layer: any of them is as written.
    pub choose: BTreeMap<Layer, Vec<Id>>,
    /// What else it names, in the document's words.
    pub also: BTreeMap<String, Text>,
    /// Stars for maturity, where given.
    pub maturity: Option<u8>,
    /// Whether it is in production, where told.
    pub production: Option<Level>,
    /// The figures that it reports.
    pub figures: BTreeMap<Metric, Range>,
    /// The scenario file that describes it, under `examples/scenarios/`.
    pub scenario: Option<String>,
    /// What of it contradicts the same documents, by layer.
    pub conflicts: BTreeMap<Layer, Text>,
    /// Where it stands.
    pub source: Source,
}

/// A decision matrix with stars.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Its name.
    pub id: Id,
    /// The section.
    pub section: String,
    /// What each column is about, in the order in which the text ranks the weights.
    pub columns: Vec<(Dimension, Text)>,
    /// Its rows, in the order of the document.
    pub rows: Vec<MatrixRow>,
    /// Where it stands.
    pub source: Source,
}

/// A row of a matrix.
#[derive(Clone, Debug)]
pub struct MatrixRow {
    /// The options that it names.
    pub options: Vec<Id>,
    /// Stars by column.
    pub stars: Vec<i64>,
    /// The total that the document gives.
    pub total: i64,
    /// Its verdict.
    pub verdict: Level,
    /// Where it stands.
    pub source: Source,
}
