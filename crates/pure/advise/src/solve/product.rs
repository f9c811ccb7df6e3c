//! All combinations that are left, without building them. Entry points: [`Product::of`], [`best`].
//!
//! Layers up to a cut make fronts, the others make backs. What a back may hold depends on its front only by which options
//! still go with it and which the front brings along; fronts that agree in both share their backs. Stars add up over the
//! layers, so a combination is a front and a back whose sums are added. The best, the next best, a rank, and what wins
//! when a weight moves follow exactly from both halves, and those are hundreds where combinations are hundred thousands.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap, binary_heap::PeekMut},
};

use super::space::Space;
use crate::layer::{DIMENSIONS, LAYERS};

/// Most halves that are kept, some forty megabytes of them. The embedded catalogue has thousands with everything open.
pub(super) const HALVES_MAX: usize = 500_000;

/// A combination by the place of each option in its layer, or half of one: then the other layers are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) choice: [u8; LAYERS],
    /// Stars times layer weights, summed over the layers.
    pub(super) sums: [i64; DIMENSIONS],
    /// The sums times the weights.
    pub(super) score: i64,
    /// All sums together.
    pub(super) stars: i64,
}

impl Found {
    /// The better one first: by score, then by all stars together (so that a dominated combination never comes first),
    /// then by the order of the catalogue. What holds for two halves each holds for the combination of both.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let apart = (other.score, other.stars).cmp(&(self.score, self.stars));
        apart.then_with(|| self.choice.cmp(&other.choice))
    }

    /// A front with a back.
    fn and(&self, back: &Self) -> Self {
        Self {
            choice: std::array::from_fn(|at| self.choice[at] + back.choice[at]),
            sums: std::array::from_fn(|at| self.sums[at] + back.sums[at]),
            score: self.score + back.score,
            stars: self.stars + back.stars,
        }
    }
}

/// Fronts with the backs that each of them can have; none is empty.
#[derive(Debug, Default)]
struct Group {
    fronts: Vec<Found>,
    backs: Vec<Found>,
}

/// All combinations that are left.
#[derive(Debug)]
pub(super) struct Product {
    cut: usize,
    /// Both halves of each in order, the best first.
    groups: Vec<Group>,
}

impl Product {
    /// What the constraints leave; none if there are too many.
    pub(super) fn of(space: &Space<'_>) -> Option<Self> {
        let walk = Walk::new(space, &[u128::MAX; LAYERS], false);
        let mut groups = walk.groups()?;
        for half in groups.iter_mut().flat_map(|it| [&mut it.fronts, &mut it.backs]) {
            half.sort_unstable_by(Found::order);
        }
        Some(Self { cut: walk.cut, groups })
    }

    /// How many combinations there are.
    pub(super) fn len(&self) -> usize {
        self.groups.iter().map(|it| it.fronts.len() * it.backs.len()).sum()
    }

    /// Up to `most` of them, in order.
    pub(super) fn first(&self, most: usize) -> Vec<Found> {
        let mut found = Vec::with_capacity(self.len().min(most));
        let next = |at: usize, front: usize, back: usize| {
            let group = &self.groups[at];
            Some(Next::new(group.fronts.get(front)?, group.backs.get(back)?, (at, front, back)))
        };
        let mut waiting: BinaryHeap<Next> = (0..self.groups.len()).filter_map(|at| next(at, 0, 0)).collect();
        while found.len() < most {
            let Some(mut top) = waiting.peek_mut() else { break };
            let (at, front, back) = top.at;
            found.push(self.groups[at].fronts[front].and(&self.groups[at].backs[back]));
            match next(at, front, back + 1) {
                // What comes after it mostly stays near the top: cheaper than to leave and come back.
                Some(after) => {
                    *top = after;
                    drop(top);
                }
                None => drop(PeekMut::pop(top)),
            }
            // Nothing of the next front comes before the best of this one.
            waiting.extend((back == 0).then(|| next(at, front + 1, 0)).flatten());
        }
        found
    }

    /// The best that has the option at that place of a layer.
    pub(super) fn best_with(&self, layer: usize, option: usize) -> Option<Found> {
        let has = |it: &&Found| usize::from(it.choice[layer]) == option;
        let best = |it: &Group| {
            let (front, back) = match layer < self.cut {
                true => (it.fronts.iter().find(has), it.backs.first()),
                false => (it.fronts.first(), it.backs.iter().find(has)),
            };
            Some(front?.and(back?))
        };
        self.groups.iter().filter_map(best).min_by(Found::order)
    }

    /// The rank of a combination, from one.
    pub(super) fn rank(&self, of: &Found) -> usize {
        1 + self.groups.iter().map(|it| it.before(of)).sum::<usize>()
    }

    /// Whether some combination has the option at that place of a layer.
    pub(super) fn reaches(&self, layer: usize, option: usize) -> bool {
        let has = |it: &Found| usize::from(it.choice[layer]) == option;
        self.groups.iter().any(|it| if layer < self.cut { it.fronts.iter().any(has) } else { it.backs.iter().any(has) })
    }

    /// The combination whose value is the largest, the first of several. Values of halves must add up to those of
    /// combinations.
    pub(super) fn most(&self, value: impl Fn(&Found) -> (i128, i64)) -> Option<Found> {
        let most = |all: &mut dyn Iterator<Item = Found>| {
            let valued = all.map(|it| (value(&it), it));
            valued.min_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.order(&b.1))).map(|it| it.1)
        };
        let of = |it: &Group| Some(most(&mut it.fronts.iter().copied())?.and(&most(&mut it.backs.iter().copied())?));
        most(&mut self.groups.iter().filter_map(of))
    }
}

impl Group {
    /// How many of its combinations come before that one.
    fn before(&self, of: &Found) -> usize {
        let precedes = |front: &Found, back: &Found| {
            let mine = (front.score + back.score, front.stars + back.stars);
            match mine.cmp(&(of.score, of.stars)) {
                Ordering::Equal => front.and(back).choice < of.choice,
                apart => apart.is_gt(),
            }
        };
        let (mut before, mut left) = (0, self.backs.len());
        for front in &self.fronts {
            // With a worse front, fewer backs suffice.
            while left > 0 && !precedes(front, &self.backs[left - 1]) {
                left -= 1;
            }
            before += left;
        }
        before
    }
}

/// The best of what is left of a front, with its place: the group, the front and the back. The largest comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    score: i64,
    stars: i64,
    choice: Reverse<[u8; LAYERS]>,
    at: (usize, usize, usize),
}

impl Next {
    fn new(front: &Found, back: &Found, at: (usize, usize, usize)) -> Self {
        let Found { score, stars, choice, .. } = front.and(back);
        Self { score, stars, choice: Reverse(choice), at }
    }
}

/// The best of the combinations that `wanted` allows in each layer, also of those that are ruled out if `any`.
pub(super) fn best(space: &Space<'_>, wanted: &[u128; LAYERS], any: bool) -> Option<Found> {
    let first = |half: &[Found]| half.iter().copied().min_by(Found::order);
    let groups = Walk::new(space, wanted, any).groups()?;
    groups.iter().filter_map(|it| Some(first(&it.fronts)?.and(&first(&it.backs)?))).min_by(Found::order)
}

/// How halves are found.
struct Walk<'s, 'a> {
    space: &'s Space<'a>,
    /// The options of each layer that may be taken.
    open: [u128; LAYERS],
    /// The first layer of the backs.
    cut: usize,
}

impl<'s, 'a> Walk<'s, 'a> {
    fn new(space: &'s Space<'a>, wanted: &[u128; LAYERS], any: bool) -> Self {
        let open: [u128; LAYERS] = std::array::from_fn(|at| {
            let taken = space.layers[at].iter().filter(|it| any || it.out.is_none());
            taken.fold(0, |mask, it| mask | it.bit & wanted[at])
        });
        let count = |layers: &[u128]| layers.iter().fold(1, |all: u64, it| all.saturating_mul(it.count_ones().into()));
        let halves = |cut: &usize| count(&open[..*cut]).saturating_add(count(&open[*cut..]));
        let cut = (1..LAYERS).min_by_key(halves).unwrap_or(LAYERS / 2);
        Self { space, open, cut }
    }

    /// Every front with its backs; none if there are too many.
    fn groups(&self) -> Option<Vec<Group>> {
        let behind = self.open[self.cut..].iter().fold(0, |mask, it| mask | it);
        let mut groups: Vec<((u128, u128), Group)> = Vec::new();
        let mut places = HashMap::new();
        let mut room = HALVES_MAX;
        self.step(0..self.cut, u128::MAX, 0, Found::default(), &mut |front, with, brought| {
            let key = (with & behind, brought & behind);
            let at = *places.entry(key).or_insert(groups.len());
            if at == groups.len() {
                groups.push((key, Group::default()));
            }
            groups[at].1.fronts.push(front);
            take_room(&mut room)
        });
        for ((with, brought), group) in &mut groups {
            self.step(self.cut..LAYERS, *with, *brought, Found::default(), &mut |back, _, _| {
                group.backs.push(back);
                take_room(&mut room)
            });
        }
        (room > 0).then(|| groups.into_iter().map(|it| it.1).filter(|it| !it.backs.is_empty()).collect())
    }

    /// Calls `take` with every half whose options go together, what goes with it and what it brings, until it says no.
    fn step(
        &self,
        layers: std::ops::Range<usize>,
        with: u128,
        brought: u128,
        so_far: Found,
        take: &mut dyn FnMut(Found, u128, u128) -> bool,
    ) -> bool {
        if layers.is_empty() {
            let weighted = so_far.sums.iter().zip(&self.space.weights).map(|(sum, weight)| sum * weight.0);
            return take(Found { score: weighted.sum(), stars: so_far.sums.iter().sum(), ..so_far }, with, brought);
        }
        let layer = layers.start;
        let may = with & self.open[layer];
        self.space.layers[layer].iter().enumerate().filter(|(_, it)| may & it.bit != 0).all(|(at, choice)| {
            let stars = if brought & choice.bit == 0 { &choice.stars } else { &choice.included };
            let mut next = so_far;
            next.choice[layer] = at as u8;
            for (sum, star) in next.sums.iter_mut().zip(stars) {
                *sum += star * self.space.layer_weights[layer];
            }
            self.step(layer + 1..layers.end, with & choice.with, brought | choice.brings, next, take)
        })
    }
}

fn take_room(room: &mut usize) -> bool {
    *room = room.saturating_sub(1);
    *room > 0
}
