//! The space of a scenario: the options of each layer with what is known about them before any is combined. Entry point:
//! [`Space::new`].

use super::{
    Match, Points, RuledOut, Stack, Weight,
    product::{Found, Product},
    requirement::{Judged, matches, stars},
};
use crate::{
    Catalog, Scenario,
    catalog::{Id, Technology},
    layer::{DIMENSIONS, Dimension, LAYERS, Layer},
    reason::Reason,
    tree::Position,
};

/// Most options of all layers together: the bits of a mask.
pub(crate) const OPTIONS_MAX: usize = 128;

/// An option of a layer.
#[derive(Clone, Debug)]
pub(super) struct Choice<'a> {
    pub(super) technology: &'a Technology,
    /// Stars by dimension, in thousandths.
    pub(super) stars: [i64; DIMENSIONS],
    /// The same if the orchestration brings it along.
    pub(super) included: [i64; DIMENSIONS],
    pub(super) judged: Vec<Judged>,
    /// Why it cannot be chosen.
    pub(super) out: Option<RuledOut>,
    /// Its bit.
    pub(super) bit: u128,
    /// The bits of all options that it goes with.
    pub(super) with: u128,
    /// The bits of what it brings along.
    pub(super) brings: u128,
}

/// Everything that ranking needs.
#[derive(Clone, Debug)]
pub(super) struct Space<'a> {
    pub(super) layers: [Vec<Choice<'a>>; LAYERS],
    pub(super) weights: [Weight; DIMENSIONS],
    pub(super) layer_weights: [i64; LAYERS],
    /// What the combinations come to without any constraint.
    pub(super) combinations: u64,
}

impl<'a> Space<'a> {
    pub(super) fn new(catalog: &'a Catalog, scenario: &Scenario) -> Self {
        let mut layers: [Vec<Choice<'a>>; LAYERS] = Default::default();
        for technology in catalog.technologies.iter().filter(|it| it.option) {
            let bit = 1_u128 << layers.iter().map(Vec::len).sum::<usize>().min(OPTIONS_MAX - 1);
            layers[technology.layer as usize].push(choice(catalog, scenario, technology, bit));
        }
        let combinations = layers.iter().map(|it| it.len() as u64).product();
        link(&mut layers);
        let mut space =
            Self { layers, weights: weights(catalog, scenario), layer_weights: catalog.layer_weights, combinations };
        rule_out(catalog, scenario, &mut space);
        space
    }

    pub(super) fn at(&self, layer: Layer) -> &[Choice<'a>] {
        &self.layers[layer as usize]
    }

    pub(super) fn chosen(&self, found: &Found, layer: Layer) -> &Choice<'a> {
        &self.layers[layer as usize][usize::from(found.choice[layer as usize])]
    }

    pub(super) fn stack(&self, found: &Found) -> Stack {
        Stack(std::array::from_fn(|at| self.layers[at][usize::from(found.choice[at])].technology.id.clone()))
    }

    /// Sums over layers become averages.
    pub(super) fn dimensions(&self, found: &Found) -> [Points; DIMENSIONS] {
        let sum: i64 = self.layer_weights.iter().sum();
        found.sums.map(|it| Points(it / sum.max(1)))
    }

    pub(super) fn score(&self, found: &Found) -> Points {
        let weights: i128 = self.weights.iter().map(|it| i128::from(it.0)).sum();
        let layers: i128 = self.layer_weights.iter().map(|it| i128::from(*it)).sum();
        Points((i128::from(found.score) / (weights * layers).max(1)) as i64)
    }

    /// Notes options that nothing rules out by itself and that yet are in no combination.
    pub(super) fn rule_out_unreached(&mut self, product: &Product) {
        for at in 0..LAYERS {
            for index in 0..self.layers[at].len() {
                let choice = &self.layers[at][index];
                if choice.out.is_none() && !product.reaches(at, index) {
                    let reason = self.unreached(choice);
                    let technology = choice.technology;
                    self.layers[at][index].out = Some(ruled_out(technology, "", Position::default(), reason));
                }
            }
        }
    }

    /// The layer in which nothing that goes with the option is left.
    fn unreached(&self, choice: &Choice<'_>) -> Reason {
        let left = |it: &&Vec<Choice<'_>>| it.iter().any(|other| other.out.is_none() && other.with & choice.bit != 0);
        let lone = Layer::ALL.iter().find(|it| **it != choice.technology.layer && !left(&&self.layers[**it as usize]));
        let Some(layer) = lone else { return Reason::NeverTogether };
        let needed = choice.technology.needs.get(layer).cloned().unwrap_or_default();
        Reason::NothingGoesWith { layer: *layer, needed: names(&needed) }
    }
}

pub(super) fn names(ids: &[Id]) -> String {
    ids.iter().map(Id::as_str).collect::<Vec<_>>().join(", ")
}

fn ruled_out(technology: &Technology, key: &str, at: Position, reason: Reason) -> RuledOut {
    RuledOut { layer: technology.layer, technology: technology.id.clone(), key: key.to_owned(), at, reason }
}

fn choice<'a>(catalog: &Catalog, scenario: &Scenario, technology: &'a Technology, bit: u128) -> Choice<'a> {
    let judged = matches(catalog, scenario, technology);
    let mut given = technology.stars;
    for derived in catalog.derived.iter().filter(|it| it.layer == technology.layer) {
        if let Some(stated) = technology.stated(derived.metric) {
            given[derived.dimension as usize] = stars(stated.range, derived.worst, derived.best);
        }
    }
    given[Dimension::Fit as usize] = fit(&judged);
    let mut included = given;
    included[Dimension::Cost as usize] = 5000;
    included[Dimension::Resources as usize] = (given[Dimension::Resources as usize] + 1000).min(5000);
    Choice { technology, stars: given, included, judged, out: None, bit, with: u128::MAX, brings: 0 }
}

/// The share of requirements that are matched, partial ones half, in thousandths of stars.
fn fit(judged: &[Judged]) -> i64 {
    if judged.is_empty() {
        return 5000;
    }
    let halves: i64 = judged.iter().map(|it| 2 - it.matched.verdict as i64).sum();
    halves * 5000 / (2 * judged.len() as i64)
}

/// Which options go with which: neither may need another one in the other's layer.
fn link(layers: &mut [Vec<Choice<'_>>; LAYERS]) {
    let all: Vec<(&Technology, u128)> = layers.iter().flatten().map(|it| (it.technology, it.bit)).collect();
    let allows = |one: &Technology, other: &Technology| {
        one.layer == other.layer || one.needs.get(&other.layer).is_none_or(|ids| ids.contains(&other.id))
    };
    for choice in layers.iter_mut().flatten() {
        let goes = all.iter().filter(|it| allows(choice.technology, it.0) && allows(it.0, choice.technology));
        choice.with = goes.fold(0, |mask, it| mask | it.1);
        let brought = all.iter().filter(|it| choice.technology.includes.contains(&it.0.id));
        choice.brings = brought.fold(0, |mask, it| mask | it.1);
    }
}

/// The weights of the scenario, else the usual ones.
pub(super) fn weights(catalog: &Catalog, scenario: &Scenario) -> [Weight; DIMENSIONS] {
    std::array::from_fn(|at| {
        let dimension = Dimension::ALL[at];
        if let Some(given) = scenario.weights.get(&dimension) {
            return Weight(*given);
        }
        let lines = catalog.weighings.iter().filter(|it| it.dimension == dimension).flat_map(|it| &it.lines);
        lines.into_iter().find(|it| it.0.holds(scenario)).map_or(Weight(1_000_000), |it| it.1)
    })
}

/// Applies every constraint that concerns one option by itself; the first that excludes it is told.
fn rule_out(catalog: &Catalog, scenario: &Scenario, space: &mut Space<'_>) {
    let fired: Vec<_> = catalog.trees.iter().filter_map(|tree| Some((tree, tree.fired(scenario)?.1))).collect();
    for choice in space.layers.iter_mut().flatten() {
        let technology = choice.technology;
        let forbidden = scenario.forbid.iter().find(|it| it.id == technology.id);
        let required = scenario.require.iter().find(|it| {
            let of = catalog.technology(it.id.as_str()).map(|it| it.layer);
            of == Some(technology.layer) && it.id != technology.id
        });
        let must = fired.iter().find_map(|(tree, rule)| {
            let names = rule.choose.get(&technology.layer)?;
            (rule.must.contains(&technology.layer) && !names.contains(&technology.id)).then_some((tree, names))
        });
        let mismatch = choice.judged.iter().find(|it| it.excludes());
        choice.out = if let Some(it) = forbidden {
            Some(ruled_out(technology, "hard.forbid", it.at, Reason::Forbidden))
        } else if let Some(it) = required {
            Some(ruled_out(technology, "hard.require", it.at, Reason::AnotherRequired { name: it.id.to_string() }))
        } else if !technology.when.holds(scenario) {
            let when = technology.when.means(&catalog.facts);
            let key = crate::condition::first_key(&technology.when, scenario);
            Some(ruled_out(technology, key, scenario.position(key), Reason::OnlyWhen { when }))
        } else if let Some((tree, names_of)) = must {
            let reason = Reason::MustBe { section: tree.section.clone(), names: names(names_of) };
            Some(ruled_out(technology, "kind", scenario.position("kind"), reason))
        } else {
            mismatch.map(|it| {
                let matched = &it.matched;
                let partial = matched.verdict == Match::Partial;
                let reason = if partial {
                    Reason::OnlyPartly { because: Box::new(matched.reason.clone()) }
                } else {
                    matched.reason.clone()
                };
                ruled_out(technology, &matched.key, matched.at, reason)
            })
        };
    }
}
