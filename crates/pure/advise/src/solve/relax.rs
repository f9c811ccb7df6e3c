//! What excludes each other in a scenario that nothing satisfies, and the nearest changes after which something does.
//! Entry point: [`no_answer`].

use std::collections::BTreeSet;

use super::{
    NoAnswer, Relaxation, RuledOut, Stack, explain, process,
    product::best,
    space::{Space, names},
};
use crate::{
    Catalog, Scenario,
    catalog::Want,
    flaw::Flaw,
    layer::{LAYERS, Layer},
    reason::Reason,
    scenario::{Field, Given, Kind, Sense},
    unit::{Quantity, Range},
};

/// Most changes that are told.
const RELAXATIONS_MAX: usize = 5;
/// The distance of taking a key away: as far as a change to the fourth part.
const KEY: i64 = 2000;

/// A change and how far it goes.
type Change = (String, String, i64);

pub(super) fn no_answer(catalog: &Catalog, scenario: &Scenario, space: &Space<'_>) -> NoAnswer {
    NoAnswer {
        scenario: scenario.title().to_owned(),
        conflicts: conflicts(scenario, space),
        relaxations: nearest(catalog, scenario, space),
        ruled_out: explain::ruled_out(space),
        steps: process::opening(space, scenario),
    }
}

/// The layers in which nothing is left, each with every key that took part, at the key that stands last; where each has
/// something left, the pairs of layers that exclude each other.
fn conflicts(scenario: &Scenario, space: &Space<'_>) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for layer in Layer::ALL {
        let outs: Vec<&RuledOut> = space.at(*layer).iter().filter_map(|it| it.out.as_ref()).collect();
        if outs.len() < space.at(*layer).len() {
            continue;
        }
        // What no key of the scenario rules out was never meant for it, and no change brings it back.
        let asked: Vec<&RuledOut> = outs.iter().copied().filter(|it| !it.key.is_empty()).collect();
        let told = if asked.is_empty() { outs } else { asked };
        let at = told.iter().map(|it| it.at).max().unwrap_or_default();
        let because = told.iter().map(|it| (it.technology.to_string(), it.key.clone(), it.reason.clone())).collect();
        flaws.push(Flaw::new(&scenario.file, at, Reason::LayerExhausted { layer: *layer, because }));
    }
    if flaws.is_empty() {
        flaws.extend(apart(scenario, space));
    }
    if flaws.is_empty() {
        flaws.push(Flaw::new(&scenario.file, Default::default(), Reason::NothingFitsTogether));
    }
    flaws
}

/// Pairs of layers of whose remaining options none goes with one of the other.
fn apart(scenario: &Scenario, space: &Space<'_>) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (at, one) in Layer::ALL.iter().enumerate() {
        for other in &Layer::ALL[at + 1..] {
            let left = |layer: Layer| space.at(layer).iter().filter(|it| it.out.is_none());
            if left(*one).any(|a| left(*other).any(|b| a.with & b.bit != 0)) {
                continue;
            }
            let outs = [*one, *other].into_iter().flat_map(|it| space.at(it)).filter_map(|it| it.out.as_ref());
            let place = outs.map(|it| it.at).max().unwrap_or_default();
            let told = |layer| names(&left(layer).map(|it| it.technology.id.clone()).collect::<Vec<_>>());
            let reason = Reason::LayersExclude { one: (*one, told(*one)), other: (*other, told(*other)) };
            flaws.push(Flaw::new(&scenario.file, place, reason));
        }
    }
    flaws
}

/// The nearest changes: single ones if there are any, else pairs.
fn nearest(catalog: &Catalog, scenario: &Scenario, space: &Space<'_>) -> Vec<Relaxation> {
    let changes = changes(catalog, scenario, space);
    let mut found: Vec<Relaxation> = changes.iter().filter_map(|it| attempt(catalog, scenario, &[it])).collect();
    if found.is_empty() {
        for (at, one) in changes.iter().enumerate() {
            let apart = |other: &&Change| other.0 != one.0;
            let pairs = changes[at + 1..].iter().filter(apart);
            found.extend(pairs.filter_map(|other| attempt(catalog, scenario, &[one, other])));
        }
    }
    found.sort_by(|a, b| a.distance.cmp(&b.distance).then_with(|| a.changes.cmp(&b.changes)));
    // Of several amounts for the same keys the nearest is told; lists are kept apart.
    let about = |(key, value): &(String, String)| {
        (key.clone(), if key.starts_with("hard.") { value.clone() } else { String::new() })
    };
    let mut seen = BTreeSet::new();
    found.retain(|it| seen.insert(it.changes.iter().map(about).collect::<BTreeSet<_>>()));
    found.truncate(RELAXATIONS_MAX);
    found
}

fn attempt(catalog: &Catalog, scenario: &Scenario, changes: &[&Change]) -> Option<Relaxation> {
    let mut changed = scenario.clone();
    for (key, value, _) in changes {
        changed = changed.set(key, value).ok()?;
    }
    let space = Space::new(catalog, &changed);
    let stack: Stack = space.stack(&best(&space, &[u128::MAX; LAYERS], false)?);
    let told = changes.iter().map(|it| (it.0.clone(), it.1.clone())).collect();
    Some(Relaxation { changes: told, distance: changes.iter().map(|it| it.2).sum(), stack })
}

/// Every change that brings at least one option back: the nearest amounts that it allows, or the key left away.
fn changes(catalog: &Catalog, scenario: &Scenario, space: &Space<'_>) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for choice in space.layers.iter().flatten() {
        let Some(out) = &choice.out else { continue };
        let (key, name) = (out.key.as_str(), choice.technology.id.as_str());
        match key {
            "" => {}
            "hard.forbid" => changes.push(without(scenario, key, name)),
            "hard.require" => changes.extend(scenario.require.iter().map(|it| without(scenario, key, it.id.as_str()))),
            _ => changes.push((key.to_owned(), String::new(), KEY)),
        }
        for judged in choice.judged.iter().filter(|it| it.excludes()) {
            let key = judged.matched.key.as_str();
            if judged.strict {
                changes.push(without(scenario, "hard.match", key));
            }
            let wanted = catalog.wanted.iter().find(|it| {
                it.key == key
                    && it.layer == choice.technology.layer
                    && matches!(&it.want, Want::Metric { metric, .. } if Some(*metric) == judged.matched.metric)
            });
            let Some(Want::Metric { metric, share, per: None }) = wanted.map(|it| &it.want) else { continue };
            let stated = choice.technology.stated(*metric).map(|it| it.range);
            changes.extend(stated.and_then(|it| amount(scenario, key, it, share.unwrap_or(1))));
        }
    }
    changes.sort_by(|a, b| a.2.cmp(&b.2).then_with(|| a.cmp(b)));
    changes.dedup();
    changes
}

/// A list of `hard` without one of its names.
fn without(scenario: &Scenario, list: &str, name: &str) -> Change {
    let names = match list {
        "hard.forbid" => &scenario.forbid,
        "hard.require" => &scenario.require,
        _ => &scenario.strict,
    };
    let rest: Vec<&str> = names.iter().map(|it| it.id.as_str()).filter(|it| *it != name).collect();
    (list.to_owned(), if rest.is_empty() { String::new() } else { format!("[{}]", rest.join(", ")) }, KEY)
}

/// The amount of `key` nearest to what was asked that a specification allows.
fn amount(scenario: &Scenario, key: &str, stated: Range, share: i64) -> Option<Change> {
    let field = Field::of(key)?;
    let Kind::Amount(unit, sense) = field.kind else { return None };
    let asked = match scenario.values.get(key)?.given {
        Given::Range(range) => range,
        _ => return None,
    };
    let (from, to) = match sense {
        Sense::AtMost => (asked.high?, stated.low),
        Sense::AtLeast => (asked.low, stated.most()?),
        // A budget wants more, what must be supported wants less.
        Sense::Amount if share > 1 => (asked.high?, stated.low.checked_mul(share)?),
        Sense::Amount => (asked.high.unwrap_or(asked.low), stated.most().unwrap_or(stated.low)),
    };
    if to <= 0 || from <= 0 || to == from && !asked.open {
        return None;
    }
    let distance = ((to as f64 / from as f64).log2().abs() * 1000.0).round() as i64;
    Some((key.to_owned(), Quantity { value: to, unit }.to_string(), distance.max(1)))
}
