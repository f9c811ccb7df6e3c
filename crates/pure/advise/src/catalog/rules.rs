//! Rules, as data: [`Tree`], [`Wanted`], [`Weighing`], [`Derived`], [`Fact`], [`ExtraRule`], [`Model`].

use std::collections::BTreeMap;

use super::technology::{Id, Source};
use crate::{
    condition::Condition,
    layer::{Dimension, Feature, Layer, Level, Metric},
    solve::Weight,
    text::Text,
    unit::Range,
};

/// A name for a condition.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// When it holds.
    pub when: Condition,
    /// What it means.
    pub text: Text,
    /// The section that speaks of it.
    pub section: String,
    /// Where it stands.
    pub source: Source,
}

/// A decision tree of the documents: the first rule that holds decides.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The name.
    pub id: Id,
    /// What it decides.
    pub title: Text,
    /// The section.
    pub section: String,
    /// The scenarios that it speaks of.
    pub applies: Condition,
    /// Its lines, in order.
    pub rules: Vec<Rule>,
    /// Where it stands.
    pub source: Source,
}

/// One line of a tree.
#[derive(Clone, Debug)]
pub struct Rule {
    /// When it fires.
    pub when: Condition,
    /// What it chooses; several options of a layer are all fine with it.
    pub choose: BTreeMap<Layer, Vec<Id>>,
    /// The layers for which nothing else is allowed.
    pub must: Vec<Layer>,
    /// The reference that it leads to, for trees over whole stacks.
    pub leads_to: Option<Id>,
    /// Where it stands.
    pub source: Source,
}

impl Tree {
    /// The line that fires, with its place in the tree.
    pub fn fired(&self, scenario: &crate::Scenario) -> Option<(usize, &Rule)> {
        if !self.applies.holds(scenario) {
            return None;
        }
        self.rules.iter().enumerate().find(|it| it.1.when.holds(scenario))
    }
}

/// What a scenario asks of a layer.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The key that asks.
    pub key: String,
    /// The layer that answers.
    pub layer: Layer,
    /// When it asks, beside being given.
    pub when: Condition,
    /// For what.
    pub want: Want,
    /// Whether a mismatch rules an option out; otherwise it only costs.
    pub hard: bool,
    /// Why.
    pub because: Text,
    /// Where it stands.
    pub source: Source,
}

/// The object of a requirement.
#[derive(Clone, Debug)]
pub enum Want {
    /// A number.
    Metric {
        /// Which.
        metric: Metric,
        /// What the key's amount is divided by, if it is.
        share: Option<i64>,
        /// The key whose amount it is divided by, if it is.
        per: Option<String>,
    },
    /// A property.
    Feature {
        /// Which.
        feature: Feature,
        /// Below this it is a mismatch.
        least: Level,
        /// At this it is a match.
        full: Level,
    },
}

/// The usual weight of a dimension: that of the first line that holds.
#[derive(Clone, Debug)]
pub struct Weighing {
    /// The dimension.
    pub dimension: Dimension,
    /// Conditions with weights.
    pub lines: Vec<(Condition, Weight)>,
    /// Where it stands.
    pub source: Source,
}

/// Stars that follow from a number, on a logarithmic scale.
#[derive(Clone, Debug)]
pub struct Derived {
    /// The layer.
    pub layer: Layer,
    /// The dimension.
    pub dimension: Dimension,
    /// The number.
    pub metric: Metric,
    /// The amount that gets one star.
    pub worst: i64,
    /// The amount that gets five.
    pub best: i64,
    /// Where it stands.
    pub source: Source,
}

/// Something that comes with a stack.
#[derive(Clone, Debug)]
pub struct ExtraRule {
    /// When.
    pub when: Condition,
    /// What.
    pub name: Text,
    /// The section.
    pub section: String,
}

/// A function by cases over a scenario, as §11.8 writes them.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name: `E` or `S`.
    pub id: Id,
    /// The section.
    pub section: String,
    /// Its cases, in order.
    pub regions: Vec<Region>,
    /// Where it stands.
    pub source: Source,
}

/// One case of a model.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its value.
    pub value: String,
    /// Bounds on amounts, by key.
    pub within: BTreeMap<&'static str, Range>,
    /// The whole condition.
    pub when: Condition,
}
