//! The catalogue: technologies with their specifications, rules, reference stacks, cases, ways of evolution. Entry
//! points: [`Catalog::embedded`], [`Catalog::parse`].
//!
//! All of it is data: the files under `catalog/` are embedded, and others may stand in their place. Reading files from
//! a disk is left to the caller.

mod technology;

pub use technology::{Id, Maturity, Measured, Source, Spec, Stated, Technology};

/// Everything that the advisor knows.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The technologies, by layer and then in the order of the files.
    pub technologies: Vec<Technology>,
}

impl Catalog {
    /// The technology of that name.
    pub fn technology(&self, id: &str) -> Option<&Technology> {
        self.technologies.iter().find(|it| it.id.as_str() == id)
    }
}
