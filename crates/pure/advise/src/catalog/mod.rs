//! The catalogue: technologies with their specifications, rules, reference stacks, cases. Entry
//! points: [`Catalog::embedded`], [`Catalog::parse`].
//!
//! All of it is data: the files under `catalog/` are embedded, and others may stand in their place. Reading files from
//! a disk is left to the caller. How to get from one stack to another is in `migrate`.

mod chart;
mod embedded;
mod load;
mod reference;
mod rules;
mod technology;

pub use chart::{Chart, Shape};
pub use embedded::FILES;
pub(crate) use load::not_quantity;
pub use reference::{Matrix, MatrixRow, Origin, Reference};
pub use rules::{Derived, ExtraRule, Fact, Model, Region, Rule, Tree, Want, Wanted, Weighing};
pub use technology::{Id, Maturity, Measured, Source, Spec, Stated, Technology};

use crate::layer::{LAYERS, Layer};

/// Everything that the advisor knows.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The technologies, by layer and then in the order of the files.
    pub technologies: Vec<Technology>,
    /// Names for conditions that several rules share.
    pub facts: Vec<Fact>,
    /// The decision trees, the most specific first.
    pub trees: Vec<Tree>,
    /// What scenarios ask of technologies.
    pub wanted: Vec<Wanted>,
    /// The usual weights.
    pub weighings: Vec<Weighing>,
    /// How stars follow from specifications.
    pub derived: Vec<Derived>,
    /// How much each layer counts in a score.
    pub layer_weights: [i64; LAYERS],
    /// What comes with a stack.
    pub extras: Vec<ExtraRule>,
    /// The formal models' cases, as the documents give their bounds.
    pub models: Vec<Model>,
    /// Combinations, reference stacks, cases and scenarios of the documents.
    pub references: Vec<Reference>,
    /// Decision matrices with stars and totals.
    pub matrices: Vec<Matrix>,
    /// The keys of other projects' files that rendering may write.
    pub charts: Vec<Chart>,
}

impl Catalog {
    /// The technology of that name.
    pub fn technology(&self, id: &str) -> Option<&Technology> {
        self.technologies.iter().find(|it| it.id.as_str() == id)
    }

    /// The options of a layer.
    pub fn options(&self, layer: Layer) -> impl Iterator<Item = &Technology> {
        self.technologies.iter().filter(move |it| it.layer == layer && it.option)
    }

    /// The reference of that name.
    pub fn reference(&self, id: &str) -> Option<&Reference> {
        self.references.iter().find(|it| it.id.as_str() == id)
    }
}
