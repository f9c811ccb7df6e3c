//! Two stacks beside each other, also such that the scenario rules out. Entry point: [`compare`].

use serde::Serialize;

use super::{
    Candidate, Matched, Points, RuledOut, Weight,
    explain::candidate,
    product::{Found, Product, best},
    space::Space,
};
use crate::{
    Catalog, Scenario,
    catalog::Id,
    layer::{Dimension, LAYERS},
    reason::Reason,
};

/// One of the two.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// What was asked for.
    pub asked: String,
    /// The best stack that it stands for.
    pub candidate: Candidate,
    /// Its rank among what satisfies the scenario; none if it does not.
    pub rank: Option<usize>,
    /// What rules it out.
    pub violations: Vec<RuledOut>,
    /// Its requirements.
    pub matches: Vec<Matched>,
}

/// Where a weight makes both equal.
#[derive(Clone, Debug, Serialize)]
pub struct Crossing {
    /// The dimension.
    pub dimension: Dimension,
    /// Stars of the first less those of the second.
    pub stars: Points,
    /// What that comes to with the weight, in thousandths of stars of the score.
    pub weighted: Points,
    /// The weight at which both are equal; none if no weight makes them so.
    pub equal_at: Option<Weight>,
}

/// Both, with what tells them apart.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The first.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// Every dimension.
    pub dimensions: Vec<Crossing>,
}

/// What a name stands for: options by layer. A name is that of a reference, or options separated by commas.
pub fn options_of(catalog: &Catalog, name: &str) -> Result<Vec<Id>, Reason> {
    if let Some(reference) = catalog.reference(name) {
        return Ok(reference.choose.values().flatten().cloned().collect());
    }
    let option = |it: &str| {
        let known = || catalog.technologies.iter().filter(|it| it.option);
        let found = known().find(|option| option.id.as_str() == it).map(|it| it.id.clone());
        found.ok_or_else(|| Reason::UnknownName {
            name: it.to_owned(),
            meant: crate::tree::closest(
                it,
                known().map(|it| it.id.as_str()).chain(catalog.references.iter().map(|it| it.id.as_str())),
            ),
        })
    };
    name.split(',').map(str::trim).filter(|it| !it.is_empty()).map(option).collect()
}

/// Compares two stacks for a scenario. Layers that a name leaves open take their best option.
///
/// # Errors
///
/// When a name is unknown, or its options exclude each other.
pub fn compare(catalog: &Catalog, scenario: &Scenario, a: &str, b: &str) -> Result<Comparison, Reason> {
    let space = Space::new(catalog, scenario);
    let product = Product::of(&space);
    let (one, side_a) = side(catalog, &space, product.as_ref(), a)?;
    let (other, side_b) = side(catalog, &space, product.as_ref(), b)?;
    let dimensions = Dimension::ALL.iter().map(|it| crossing(&space, &one, &other, *it)).collect();
    Ok(Comparison { a: side_a, b: side_b, dimensions })
}

fn side(catalog: &Catalog, space: &Space<'_>, product: Option<&Product>, asked: &str) -> Result<(Found, Side), Reason> {
    let options = options_of(catalog, asked)?;
    let mut wanted = [0_u128; LAYERS];
    for choice in space.layers.iter().flatten().filter(|it| options.contains(&it.technology.id)) {
        wanted[choice.technology.layer as usize] |= choice.bit;
    }
    for mask in wanted.iter_mut().filter(|it| **it == 0) {
        *mask = u128::MAX;
    }
    let satisfies = best(space, &wanted, false);
    let found = satisfies.or_else(|| best(space, &open_layers(space, wanted), true));
    let found = found.ok_or_else(|| Reason::ExcludeEachOther { names: asked.to_owned() })?;
    let chosen = || crate::layer::Layer::ALL.iter().map(|it| space.chosen(&found, *it));
    let side = Side {
        asked: asked.to_owned(),
        candidate: candidate(space, &found),
        rank: satisfies.and_then(|it| Some(product?.rank(&it))),
        violations: chosen().filter_map(|it| it.out.clone()).collect(),
        matches: chosen().flat_map(|it| &it.judged).map(|it| it.matched.clone()).collect(),
    };
    Ok((found, side))
}

/// Where a layer was left open, only what the scenario allows, if it allows anything.
fn open_layers(space: &Space<'_>, wanted: [u128; LAYERS]) -> [u128; LAYERS] {
    std::array::from_fn(|at| {
        let allowed = space.layers[at].iter().filter(|it| it.out.is_none()).fold(0, |mask, it| mask | it.bit);
        if wanted[at] == u128::MAX && allowed != 0 { allowed } else { wanted[at] }
    })
}

fn crossing(space: &Space<'_>, a: &Found, b: &Found, dimension: Dimension) -> Crossing {
    let at = dimension as usize;
    let layers: i64 = space.layer_weights.iter().sum::<i64>().max(1);
    let weights: i128 = space.weights.iter().map(|it| i128::from(it.0)).sum::<i128>().max(1);
    let apart = a.sums[at] - b.sums[at];
    let weighted = i128::from(apart) * i128::from(space.weights[at].0) / (weights * i128::from(layers));
    // lead + δ · apart = 0
    let equal_at = (apart != 0).then(|| space.weights[at].0 - (a.score - b.score) / apart).filter(|it| *it >= 0);
    Crossing {
        dimension,
        stars: Points(apart / layers),
        weighted: Points(weighted as i64),
        equal_at: equal_at.map(Weight),
    }
}
