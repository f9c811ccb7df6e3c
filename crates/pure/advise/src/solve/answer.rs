//! What an answer holds. Entry point: [`Decision`].

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    catalog::Id,
    flaw::Flaw,
    formal::{Edge, Serverless},
    layer::{DIMENSIONS, Dimension, Feature, LAYERS, Layer, Metric},
    reason::Reason,
    text::Text,
    tree::Position,
    unit::thousandths,
    words::words,
};

/// Stars in thousandths: 4,250 are 4.25 of 5 stars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Points(pub i64);

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&thousandths(self.0))
    }
}

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0 as f64 / 1000.0)
    }
}

/// One option for every layer: T of §05.9.1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stack(pub [Id; LAYERS]);

impl Stack {
    /// The option of a layer.
    pub fn at(&self, layer: Layer) -> &Id {
        &self.0[layer as usize]
    }

    /// Every layer with its option.
    pub fn iter(&self) -> impl Iterator<Item = (Layer, &Id)> {
        Layer::ALL.iter().copied().zip(&self.0)
    }
}

impl Serialize for Stack {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

/// A stack with its score.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// The stack.
    pub stack: Stack,
    /// Score(T,S,C) over the sum of the weights: again from 0 to 5 stars.
    pub score: Points,
    /// f_i(T,S,C) of each dimension.
    pub dimensions: [Points; DIMENSIONS],
}

/// A weight, w_i, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(pub i64);

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&thousandths((self.0 + self.0.signum() * 500) / 1000))
    }
}

impl Serialize for Weight {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0 as f64 / 1_000_000.0)
    }
}

words! {
    /// How a specification answers a requirement: M(T,R) of §05.9.3.
    Match {
        /// The specification lies within the requirement.
        Match = "match", "match", "匹配";
        /// It does not, but the two are compatible.
        Partial = "partial", "partial", "部分匹配";
        /// Neither.
        Mismatch = "mismatch", "mismatch", "不匹配";
    }
}

/// A specification against a requirement.
#[derive(Clone, Debug, Serialize)]
pub struct Matched {
    /// The key of the scenario that asks.
    pub key: String,
    /// Where it stands.
    pub at: Position,
    /// The layer that answers.
    pub layer: Layer,
    /// The option of the layer.
    pub technology: Id,
    /// The number that was compared, if it was one.
    pub metric: Option<Metric>,
    /// The property, if it was one.
    pub feature: Option<Feature>,
    /// What is needed.
    pub need: String,
    /// What is stated.
    pub stated: String,
    /// Where that comes from; empty for properties without a source of their own.
    pub source: String,
    /// Whether the statement was measured.
    pub measured: bool,
    /// The verdict.
    pub verdict: Match,
    /// Why.
    pub reason: Reason,
}

/// An option that cannot be part of any answer, and why.
#[derive(Clone, Debug, Serialize)]
pub struct RuledOut {
    /// Its layer.
    pub layer: Layer,
    /// The option.
    pub technology: Id,
    /// The key of the scenario whose constraint it was; empty if other layers did it.
    pub key: String,
    /// Where the constraint stands.
    pub at: Position,
    /// Why.
    pub reason: Reason,
}

/// The rule of a decision tree that fired.
#[derive(Clone, Debug, Serialize)]
pub struct Fired {
    /// The tree, by its section.
    pub tree: String,
    /// Which line of it, from one.
    pub line: usize,
    /// Its condition, as the catalogue writes it.
    pub when: String,
    /// What that means.
    pub means: Text,
    /// What it says to choose.
    pub choose: Vec<Id>,
    /// Whether it names what was chosen.
    pub agrees: bool,
    /// Why not, if it does not.
    pub because: Option<Reason>,
}

/// How one layer came out.
#[derive(Clone, Debug, Serialize)]
pub struct LayerAnswer {
    /// The layer.
    pub layer: Layer,
    /// What was chosen.
    pub chosen: Id,
    /// The rules that fired, one for each tree that speaks of the layer; the most specific tree first.
    pub fired: Vec<Fired>,
    /// The best stack with each other option of this layer, where there is one; best first.
    pub alternatives: Vec<Alternative>,
}

/// What one would get with another option.
#[derive(Clone, Debug, Serialize)]
pub struct Alternative {
    /// The option.
    pub technology: Id,
    /// The score of the best stack that has it.
    pub score: Points,
    /// The rank of that stack, from one.
    pub rank: usize,
    /// The dimension that speaks most against it.
    pub loses_in: Option<Dimension>,
}

/// How far a weight can move while all others stay, before another stack wins.
#[derive(Clone, Debug, Serialize)]
pub struct Swing {
    /// The dimension.
    pub dimension: Dimension,
    /// Its weight.
    pub weight: Weight,
    /// Below this the answer changes; none if it never does down to zero.
    pub low: Option<Weight>,
    /// What wins below.
    pub below: Option<Stack>,
    /// Above this the answer changes; none if it never does.
    pub high: Option<Weight>,
    /// What wins above.
    pub above: Option<Stack>,
}

/// What the answer leans on most.
#[derive(Clone, Debug, Serialize)]
pub struct Assumption {
    /// The option it is about, if it is about one.
    pub technology: Option<Id>,
    /// The key of the scenario concerned; empty if none.
    pub key: String,
    /// What is assumed.
    pub reason: Reason,
}

/// Something that comes with the stack without being a layer of it.
#[derive(Clone, Debug, Serialize)]
pub struct Extra {
    /// What.
    pub name: Text,
    /// The section that asks for it.
    pub source: String,
}

words! {
    /// The six steps of §05.6.2, and the way back.
    Step {
        /// Identify the scenario's needs.
        Identify = "identify", "identify the scenario's needs", "识别场景需求";
        /// Analyse the constraints.
        Constrain = "constrain", "analyse the constraints", "分析技术约束";
        /// Evaluate the options of each layer.
        Options = "options", "evaluate the options", "评估技术选项";
        /// Match specifications.
        Match = "match", "match the specifications", "匹配技术规格";
        /// Evaluate combinations.
        Combine = "combine", "evaluate the combinations", "评估组合方案";
        /// Adjust the combination and match again.
        Adjust = "adjust", "adjust the combination", "调整技术组合";
        /// Choose the best.
        Choose = "choose", "choose the best", "选择最优方案";
    }
}

/// One step that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    /// Which.
    pub step: Step,
    /// What came of it.
    pub reason: Reason,
}

/// Most stacks that an answer holds. Scenarios that mean something leave thousands at most; one that leaves everything
/// open ranks more than anybody reads, and its answer would take a hundred times the memory.
pub const RIVALS_MAX: usize = 10_000;

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// The scenario's title.
    pub scenario: String,
    /// E(S,L,R,N) of edge-serverless §11.8.1, where it is defined.
    pub edge: Option<Edge>,
    /// S(C,D,A) of edge-serverless §11.8.2, where it is defined.
    pub serverless: Option<Serverless>,
    /// The weights used, in the order of [`Dimension::ALL`].
    pub weights: [Weight; DIMENSIONS],
    /// Every stack that remains, best first; the first is the answer. Never empty, and cut after [`RIVALS_MAX`].
    pub ranking: Vec<Candidate>,
    /// How many stacks were ranked.
    pub ranked: usize,
    /// How many combinations there are without any constraint.
    pub combinations: u64,
    /// Each layer of the answer.
    pub layers: Vec<LayerAnswer>,
    /// Each requirement against the specification of the chosen option.
    pub matches: Vec<Matched>,
    /// The options that no answer can hold.
    pub ruled_out: Vec<RuledOut>,
    /// How far each weight can move.
    pub sensitivity: Vec<Swing>,
    /// The weakest assumption.
    pub weakest: Assumption,
    /// What comes with the stack.
    pub extras: Vec<Extra>,
    /// What the documents contradict themselves in, as far as it touches this answer.
    pub conflicts: Vec<Reason>,
    /// The way that was taken.
    pub steps: Vec<Taken>,
}

impl Decision {
    /// The best stack.
    pub fn chosen(&self) -> &Candidate {
        &self.ranking[0]
    }
}

/// Nothing satisfies the scenario.
#[derive(Clone, Debug, Serialize)]
pub struct NoAnswer {
    /// The scenario's title.
    pub scenario: String,
    /// The constraints that exclude each other, at their places.
    pub conflicts: Vec<Flaw>,
    /// The smallest changes that leave an answer, nearest first.
    pub relaxations: Vec<Relaxation>,
    /// What was ruled out.
    pub ruled_out: Vec<RuledOut>,
    /// The way that was taken.
    pub steps: Vec<Taken>,
}

/// A change of the scenario after which there is an answer.
#[derive(Clone, Debug, Serialize)]
pub struct Relaxation {
    /// Keys with their new value; an empty value takes the key away.
    pub changes: Vec<(String, String)>,
    /// How far that is from what was asked, in thousandths: 1,000 is a doubling, 2,000 the loss of a key.
    pub distance: i64,
    /// The best stack that it leaves.
    pub stack: Stack,
}
