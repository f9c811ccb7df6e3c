//! Walks the product of the options. Entry points: [`ranked`], [`best`].

use super::{RIVALS_MAX, space::Space};
use crate::layer::{DIMENSIONS, LAYERS};

/// A combination, by the place of each option in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) choice: [u8; LAYERS],
    /// Stars times layer weights, summed over the layers.
    pub(super) sums: [i64; DIMENSIONS],
    /// The sums times the weights.
    pub(super) score: i64,
}

impl Found {
    /// The better one first: by score, then by all stars together (so that a dominated combination never comes first),
    /// then by the order of the catalogue.
    pub(super) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let stars = |it: &Self| it.sums.iter().sum::<i64>();
        other
            .score
            .cmp(&self.score)
            .then_with(|| stars(other).cmp(&stars(self)))
            .then_with(|| self.choice.cmp(&other.choice))
    }
}

/// Most combinations that are looked at. The embedded catalogue leaves some hundred thousand at most; a foreign one with
/// everything open could take any amount of memory.
pub(super) const COMBINATIONS_MAX: usize = 2_000_000;

/// Every combination that is left; the first [`RIVALS_MAX`] are in order, best first, and what follows is worse than
/// they are, in no order of its own. None if there are too many.
pub(super) fn ranked(space: &Space<'_>) -> Option<Vec<Found>> {
    let mut found = Vec::new();
    walk(space, true, &mut |one| {
        found.push(one);
        found.len() <= COMBINATIONS_MAX
    });
    if found.len() > RIVALS_MAX {
        found.select_nth_unstable_by(RIVALS_MAX, Found::order);
    }
    let told = found.len().min(RIVALS_MAX);
    found[..told].sort_unstable_by(Found::order);
    (found.len() <= COMBINATIONS_MAX).then_some(found)
}

/// The rank of the combination at `at`, from one.
pub(super) fn rank(found: &[Found], at: usize) -> usize {
    if at < RIVALS_MAX { at + 1 } else { found.iter().filter(|it| it.order(&found[at]).is_lt()).count() + 1 }
}

/// The best of the combinations that `wanted` allows in each layer, also of those that are ruled out if `any`.
pub(super) fn best(space: &Space<'_>, wanted: &[u128; LAYERS], any: bool) -> Option<Found> {
    let mut narrowed = space.clone();
    for (layer, mask) in narrowed.layers.iter_mut().zip(wanted) {
        for choice in layer.iter_mut() {
            if choice.bit & mask == 0 {
                choice.with = 0;
            }
        }
    }
    let mut best: Option<Found> = None;
    let mut seen = 0;
    walk(&narrowed, !any, &mut |one| {
        seen += 1;
        if best.is_none_or(|it| one.order(&it).is_lt()) {
            best = Some(one);
        }
        seen <= COMBINATIONS_MAX
    });
    best
}

/// Calls `take` with every combination whose options go together, until it says no.
fn walk(space: &Space<'_>, constrained: bool, take: &mut dyn FnMut(Found) -> bool) {
    let start = Found { choice: [0; LAYERS], sums: [0; DIMENSIONS], score: 0 };
    step(space, constrained, 0, u128::MAX, 0, start, take);
}

fn step(
    space: &Space<'_>,
    constrained: bool,
    layer: usize,
    with: u128,
    brought: u128,
    so_far: Found,
    take: &mut dyn FnMut(Found) -> bool,
) -> bool {
    if layer == LAYERS {
        let score = so_far.sums.iter().zip(&space.weights).map(|(sum, weight)| sum * weight.0).sum();
        return take(Found { score, ..so_far });
    }
    for (at, choice) in space.layers[layer].iter().enumerate() {
        if with & choice.bit == 0 || choice.with == 0 || constrained && choice.out.is_some() {
            continue;
        }
        let stars = if brought & choice.bit == 0 { &choice.stars } else { &choice.included };
        let mut next = so_far;
        next.choice[layer] = at as u8;
        for (sum, star) in next.sums.iter_mut().zip(stars) {
            *sum += star * space.layer_weights[layer];
        }
        if !step(space, constrained, layer + 1, with & choice.with, brought | choice.brings, next, take) {
            return false;
        }
    }
    true
}
