//! Why something is so: [`Reason`], a closed set, each told in both languages by [`Reason::text`].

mod findings;
mod text;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    layer::{Dimension, Feature, Layer, Metric},
    solve::{Points, Weight},
    text::Text,
    unit::Unit,
};

/// Why. Fields are what the words need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the wording of each, in text.rs, tells what its fields are")]
pub enum Reason {
    // Texts that cannot be read.
    NotYaml {
        message: String,
    },
    Misfit {
        message: String,
    },
    NotAMapping,
    NotAScalar {
        key: String,
    },
    TooLarge,
    KeyMissing {
        key: String,
    },
    UnknownKey {
        key: String,
        meant: Option<String>,
    },
    UnknownName {
        name: String,
        meant: Option<String>,
    },
    UnknownWord {
        key: String,
        word: String,
        words: Vec<String>,
        meant: Option<String>,
    },
    NameTwice {
        name: String,
    },
    LayerEmpty {
        layer: Layer,
    },
    NoWay {
        from: String,
        to: String,
    },
    UnitMissing {
        key: String,
        text: String,
        unit: Unit,
        meant: String,
    },
    UnitWrong {
        key: String,
        text: String,
        unit: Unit,
        of: Option<Unit>,
        suffix: String,
    },
    NotAmount {
        key: String,
        text: String,
        unit: Unit,
    },
    AmountOutOfRange {
        key: String,
        text: String,
    },
    BoundBackwards {
        key: String,
        text: String,
        most: bool,
    },
    TooManyStars {
        key: String,
    },
    NotWeight {
        key: String,
        text: String,
    },
    WeightsZero,
    ConditionUnexpected {
        word: String,
    },
    ConditionEnds,
    ConditionName {
        name: String,
        meant: Option<String>,
    },
    ConditionCompare {
        key: String,
        with: String,
    },
    // Scenarios that contradict themselves.
    RequiredAndForbidden {
        name: String,
    },
    StrictWithoutKey {
        key: String,
    },
    Contradiction {
        key: String,
        other: String,
        line: u32,
        because: Text,
    },
    // Verdicts.
    Within {
        metric: Metric,
        stated: String,
        need: String,
    },
    Overlaps {
        metric: Metric,
        stated: String,
        need: String,
    },
    Outside {
        metric: Metric,
        stated: String,
        need: String,
    },
    NothingStated {
        name: Text,
        metric: Metric,
    },
    Has {
        feature: Feature,
    },
    PartlyHas {
        feature: Feature,
        enough: bool,
    },
    Lacks {
        feature: Feature,
    },
    // What is ruled out.
    Forbidden,
    AnotherRequired {
        name: String,
    },
    OnlyWhen {
        when: Text,
    },
    MustBe {
        section: String,
        names: String,
    },
    OnlyPartly {
        because: Box<Reason>,
    },
    NothingGoesWith {
        layer: Layer,
        needed: String,
    },
    NeverTogether,
    ScoresLess {
        name: String,
        score: Points,
        loses_in: Option<Dimension>,
    },
    IsRuledOut {
        name: String,
        because: Box<Reason>,
    },
    ExcludeEachOther {
        names: String,
    },
    LayerExhausted {
        layer: Layer,
        because: Vec<(String, String, Reason)>,
    },
    LayersExclude {
        one: (Layer, String),
        other: (Layer, String),
    },
    NothingFitsTogether,
    TooManyCombinations {
        most: usize,
    },
    // Conflicts of the documents.
    TreesDisagree {
        layer: Layer,
        sides: Vec<(String, String)>,
    },
    TreeImpossible {
        layer: Layer,
        sections: String,
        name: String,
        because: Box<Reason>,
    },
    // Contradictions of a catalogue.
    NeverFires {
        name: Text,
        line: usize,
        when: String,
    },
    PartNeverDecides {
        name: Text,
        line: usize,
        part: String,
    },
    ChangesNothing {
        name: Text,
        line: usize,
        when: String,
    },
    ChooseDifferently {
        layer: Layer,
        one: Box<(String, usize, String)>,
        other: Box<(String, usize, String)>,
        scenario: String,
    },
    NamesTooSmall {
        line: usize,
        section: String,
        names: String,
        metric: Metric,
        most: i64,
        scenario: String,
    },
    CasesOverlap {
        model: String,
        one: String,
        other: String,
        scenario: String,
    },
    NoCase {
        model: String,
        scenario: String,
    },
    NoPathTo {
        name: Text,
        section: String,
    },
    TotalsAreNoSums {
        totals: String,
        sums: String,
        weights: Option<Vec<(Dimension, String)>>,
    },
    WeightsOutOfOrder {
        first: (Dimension, String),
        second: (Dimension, String),
    },
    VerdictAboveStars {
        name: Text,
        score: u8,
        most: u8,
    },
    RatedAbovePart {
        name: Text,
        stars: u8,
        part: String,
        least: u8,
    },
    StatedDifferently {
        name: Text,
        metric: Metric,
        one: Box<(String, String)>,
        other: Box<(String, String)>,
    },
    MeasuredDifferently {
        name: Text,
        metric: Metric,
        one: Box<(String, String)>,
        other: Box<(String, String)>,
        with: String,
    },
    ChoiceBeyond {
        reference: Box<Text>,
        figure: String,
        metric: Metric,
        name: Box<Text>,
        stated: String,
    },
    DoesNotFit {
        name: Box<Text>,
        density: String,
        each: String,
        total: String,
        case_and_node: Box<(String, String)>,
    },
    // What an answer leans on.
    LeansOnShortfall {
        name: String,
        key: String,
        because: Box<Reason>,
    },
    LeansOnClaim {
        name: String,
        key: String,
        stated: String,
        section: String,
    },
    LeansOnWeight {
        dimension: Dimension,
        weight: Weight,
        to: Weight,
    },
    LeansOnLead {
        lead: Points,
    },
    // Steps.
    Identified {
        keys: usize,
    },
    Constrained {
        out: usize,
    },
    OptionsLeft {
        left: usize,
    },
    MatchedOptions {
        full: usize,
        all: usize,
    },
    Satisfies {
        names: String,
        score: Points,
    },
    Adjusted {
        layer: Layer,
        names: String,
        because: Option<Box<Reason>>,
    },
    Chosen {
        names: String,
        score: Points,
        of: usize,
    },
}

impl Reason {
    /// In both languages.
    pub fn text(&self) -> Text {
        text::of(self)
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        let debug = format!("{self:?}");
        let code = debug.split([' ', '{', '(']).next().unwrap_or_default();
        let mut fields = to.serialize_struct("Reason", 3)?;
        fields.serialize_field("code", &snake(code))?;
        fields.serialize_field("en", &text.en)?;
        fields.serialize_field("zh", &text.zh)?;
        fields.end()
    }
}

/// `UnknownKey` as `unknown_key`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}
