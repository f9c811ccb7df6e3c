//! The six steps of §05.6.2 with their way back. Entry point: [`steps`].
//!
//! The combination that the decision trees name is matched first. Where it does not satisfy the scenario it is adjusted,
//! layer by layer, and matched again, until it does; the argmax over all combinations is compared with it at the end.

use super::{
    Ranking, Step, Taken,
    product::best,
    space::{Space, names},
};
use crate::{
    Catalog, Scenario,
    layer::{LAYERS, Layer},
    reason::Reason,
};

pub(super) fn steps(catalog: &Catalog, scenario: &Scenario, space: &Space<'_>, ranking: &Ranking) -> Vec<Taken> {
    let mut steps = opening(space, scenario);
    let wanted = by_trees(catalog, scenario, space);
    adjust(space, wanted, &mut steps);
    let best = &ranking.first[0];
    let chosen = names(&space.stack(best).0);
    let reason = Reason::Chosen { names: chosen, score: space.score(best), of: ranking.product.len() };
    steps.push(Taken { step: Step::Choose, reason });
    steps
}

/// The steps before anything is combined; an infeasible scenario gets no further.
pub(super) fn opening(space: &Space<'_>, scenario: &Scenario) -> Vec<Taken> {
    let options = space.layers.iter().flatten();
    let left = options.clone().filter(|it| it.out.is_none()).count();
    let judged = || options.clone().filter(|it| it.out.is_none()).flat_map(|it| &it.judged);
    let full = judged().filter(|it| it.matched.verdict == super::Match::Match).count();
    vec![
        Taken { step: Step::Identify, reason: Reason::Identified { keys: scenario.values.len() } },
        Taken { step: Step::Constrain, reason: Reason::Constrained { out: options.clone().count() - left } },
        Taken { step: Step::Options, reason: Reason::OptionsLeft { left } },
        Taken { step: Step::Match, reason: Reason::MatchedOptions { full, all: judged().count() } },
    ]
}

/// The options that the most specific tree names, by layer; every option where no tree speaks.
fn by_trees(catalog: &Catalog, scenario: &Scenario, space: &Space<'_>) -> [u128; LAYERS] {
    std::array::from_fn(|at| {
        let layer = Layer::ALL[at];
        let named = catalog.trees.iter().find_map(|tree| tree.fired(scenario)?.1.choose.get(&layer));
        let Some(named) = named else { return u128::MAX };
        let options = space.at(layer).iter().filter(|it| named.contains(&it.technology.id));
        options.fold(0, |mask, it| mask | it.bit)
    })
}

/// Opens one layer after the other to all its options until a combination satisfies the scenario.
fn adjust(space: &Space<'_>, mut wanted: [u128; LAYERS], steps: &mut Vec<Taken>) {
    for _ in 0..=LAYERS {
        if let Some(found) = best(space, &wanted, false) {
            let reason = Reason::Satisfies { names: names(&space.stack(&found).0), score: space.score(&found) };
            steps.push(Taken { step: Step::Combine, reason });
            return;
        }
        // The first layer whose named options are all ruled out, else the first that is still narrowed.
        let is_out = |at: &usize| {
            let named = |it: &&super::space::Choice<'_>| it.bit & wanted[*at] != 0;
            wanted[*at] != u128::MAX && space.layers[*at].iter().filter(named).all(|it| it.out.is_some())
        };
        let next = (0..LAYERS).find(is_out).or_else(|| (0..LAYERS).find(|at| wanted[*at] != u128::MAX));
        let Some(at) = next else { return };
        let named = space.layers[at].iter().filter(|it| it.bit & wanted[at] != 0);
        let because = named.clone().find_map(|it| it.out.as_ref().map(|out| Box::new(out.reason.clone())));
        let ids: Vec<_> = named.map(|it| it.technology.id.clone()).collect();
        let reason = Reason::Adjusted { layer: Layer::ALL[at], names: names(&ids), because };
        steps.push(Taken { step: Step::Adjust, reason });
        wanted[at] = u128::MAX;
    }
}
