//! The solver: enumerates every combination of options that the constraints leave and ranks them. Entry points:
//! [`advise`], [`compare`].
//!
//! A space is prepared first: for each layer its options with their stars, their verdicts on what the scenario asks,
//! and whether something rules them out. The product of what is left is kept as two halves, out of which come the stacks in
//! order, the rank of any of them, and the bounds of the weights; a branch is dropped as soon as two of its options exclude
//! each other. All sums are whole numbers, so that ranks are exact and the same everywhere.

mod answer;
mod compare;
mod explain;
mod process;
mod product;
#[cfg(test)]
mod properties;
mod relax;
mod requirement;
mod sensitivity;
mod space;

pub use answer::*;
pub use compare::{Comparison, Crossing, Side, compare, options_of};

use crate::{Catalog, Scenario, flaw::Flaw, reason::Reason};
use product::{Found, Product};
pub(crate) use space::OPTIONS_MAX;
use space::Space;

/// All that is left, and the part of it that an answer tells.
struct Ranking {
    /// The first [`RIVALS_MAX`], in order; never empty.
    first: Vec<Found>,
    product: Product,
}

/// Chooses a stack for a scenario.
///
/// # Errors
///
/// When no combination satisfies the scenario, with what excludes each other and the nearest changes that help.
pub fn advise(catalog: &Catalog, scenario: &Scenario) -> Result<Decision, Box<NoAnswer>> {
    let refused = |conflicts| {
        let scenario = scenario.title().to_owned();
        Box::new(NoAnswer { scenario, conflicts, relaxations: Vec::new(), ruled_out: Vec::new(), steps: Vec::new() })
    };
    let unknown = unknown_names(catalog, scenario);
    if !unknown.is_empty() {
        return Err(refused(unknown));
    }
    let mut space = Space::new(catalog, scenario);
    let Some(product) = Product::of(&space) else {
        let reason = Reason::TooManyCombinations { most: product::HALVES_MAX };
        return Err(refused(vec![Flaw::new(&scenario.file, Default::default(), reason)]));
    };
    let first = product.first(RIVALS_MAX);
    if first.is_empty() {
        return Err(Box::new(relax::no_answer(catalog, scenario, &space)));
    }
    space.rule_out_unreached(&product);
    Ok(explain::decision(catalog, scenario, &space, &Ranking { first, product }))
}

/// Names of options that the catalogue does not have.
fn unknown_names(catalog: &Catalog, scenario: &Scenario) -> Vec<Flaw> {
    let ids = || catalog.technologies.iter().filter(|it| it.option).map(|it| it.id.as_str());
    let mentioned = scenario.require.iter().chain(&scenario.forbid);
    let unknown = mentioned.filter(|it| !ids().any(|id| id == it.id.as_str()));
    unknown
        .map(|it| {
            let name = it.id.to_string();
            let meant = crate::tree::closest(&name, ids());
            Flaw::new(&scenario.file, it.at, Reason::UnknownName { name, meant })
        })
        .collect()
}
