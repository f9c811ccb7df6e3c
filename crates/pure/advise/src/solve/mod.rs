//! The solver: enumerates every combination of options that the constraints leave and ranks them. Entry points:
//! [`advise`], [`compare`].
//!
//! A space is prepared first: for each layer its options with their stars, their verdicts on what the scenario asks,
//! and whether something rules them out. Walking the product of what is left, option by option, drops a branch as soon as
//! two of its options exclude each other. All sums are whole numbers, so that ranks are exact and the same everywhere.

mod answer;
mod compare;
mod explain;
mod process;
#[cfg(test)]
mod properties;
mod relax;
mod requirement;
mod sensitivity;
mod space;
mod walk;

pub use answer::*;
pub use compare::{Comparison, Crossing, Side, compare, options_of};

use crate::{Catalog, Scenario, flaw::Flaw, reason::Reason};
pub(crate) use space::OPTIONS_MAX;
use space::Space;

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
    let Some(found) = walk::ranked(&space) else {
        let reason = Reason::TooManyCombinations { most: walk::COMBINATIONS_MAX };
        return Err(refused(vec![Flaw::new(&scenario.file, Default::default(), reason)]));
    };
    if found.is_empty() {
        return Err(Box::new(relax::no_answer(catalog, scenario, &space)));
    }
    space.rule_out_unreached(&found);
    Ok(explain::decision(catalog, scenario, &space, &found))
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
