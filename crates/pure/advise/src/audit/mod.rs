//! Finds where a catalogue and its rules contradict themselves. Entry point: [`audit`].
//!
//! Nothing here knows the documents: lines that never fire, trees that choose differently for the same scenario, totals
//! that no plain sum gives, figures that differ between tables are found in any catalogue. What one finds in the embedded
//! one are the documents' own contradictions, which the advisor tells instead of hiding.

mod rational;
mod rules;
mod specs;
mod stars;

use serde::Serialize;

use crate::{Catalog, Severity, catalog::Source, reason::Reason, words::words};

words! {
    /// What kind of contradiction it is.
    Contradiction {
        /// A line that never fires.
        Unreachable = "unreachable", "unreachable rule", "不可达规则";
        /// A line that changes nothing.
        Redundant = "redundant", "redundant rule", "冗余规则";
        /// Trees that choose differently for one scenario.
        Disagreement = "disagreement", "trees disagree", "决策树互相矛盾";
        /// Trees whose last lines differ.
        Defaults = "defaults", "contradictory defaults", "默认值矛盾";
        /// A rule that names an option outside of its specification.
        Impossible = "impossible", "rule beyond a specification", "规则超出规格";
        /// Cases of a model that overlap, or scenarios that no case covers.
        Model = "model", "model by cases", "分段模型";
        /// Totals that the stars do not give.
        Stars = "stars", "scores that cannot be reproduced", "评分无法复现";
        /// Figures that differ between tables.
        Specification = "specification", "specifications that differ", "规格不一致";
        /// A choice whose figures its own parts contradict.
        Reference = "reference", "choice beyond a specification", "案例超出规格";
    }
}

/// A contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind.
    pub kind: Contradiction,
    /// How much it matters.
    pub severity: Severity,
    /// The sections concerned.
    pub sections: Vec<String>,
    /// Where it stands in the catalogue's files.
    pub places: Vec<Source>,
    /// What it is.
    pub reason: Reason,
}

/// Every contradiction, the gravest first and then in the order of the catalogue.
pub fn audit(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    rules::audit(catalog, &mut findings);
    stars::audit(catalog, &mut findings);
    specs::audit(catalog, &mut findings);
    findings.sort_by_key(|it| (std::cmp::Reverse(it.severity), it.kind));
    findings
}
