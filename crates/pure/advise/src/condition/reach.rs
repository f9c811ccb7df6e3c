//! Whether some scenario satisfies a condition, exactly. Entry point: [`witness`].
//!
//! Keys are given one value after the other; a condition that is already decided is not looked at further. The values
//! tried for a key are one of each kind that the condition can tell apart, so that nothing is missed: absent, every word,
//! both truth values, and the amounts at and beside each bound.

use std::collections::BTreeMap;

use super::{Atom, Expr};
use crate::{
    scenario::{Field, Given, Kind, Sense},
    unit::Range,
};

/// Values that satisfy a condition; keys that are not in it are absent.
pub(crate) type Witness = BTreeMap<&'static str, Option<Given>>;

/// Values for which `expr` holds, if there are any.
pub(crate) fn witness(expr: &Expr) -> Option<Witness> {
    let mut atoms = Vec::new();
    expr.atoms(&mut atoms);
    let mut keys: Vec<&'static str> = atoms.iter().map(|it| it.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    let choices: Vec<_> = keys.iter().map(|key| (*key, values(key, &atoms))).collect();
    let mut chosen = Witness::new();
    search(expr, &choices, &mut chosen).then_some(chosen)
}

fn search(expr: &Expr, choices: &[(&'static str, Vec<Option<Given>>)], chosen: &mut Witness) -> bool {
    match decided(expr, chosen) {
        Some(verdict) => return verdict,
        None if choices.is_empty() => return false,
        None => {}
    }
    let (key, values) = &choices[0];
    for value in values {
        chosen.insert(key, value.clone());
        if search(expr, &choices[1..], chosen) {
            return true;
        }
    }
    chosen.remove(key);
    false
}

/// What the condition is by what is chosen so far, if that settles it.
fn decided(expr: &Expr, chosen: &Witness) -> Option<bool> {
    match expr {
        Expr::Always => Some(true),
        Expr::Not(it) => decided(it, chosen).map(|it| !it),
        Expr::Fact(_, it) => decided(it, chosen),
        Expr::Atom(it) => chosen.get(it.key()).map(|given| it.holds(given.as_ref())),
        Expr::All(all) => fold(all, chosen, false),
        Expr::Any(any) => fold(any, chosen, true),
    }
}

/// The verdict that one part alone can bring about, the opposite if all parts agree on it, or none yet.
fn fold(parts: &[Expr], chosen: &Witness, settles: bool) -> Option<bool> {
    let mut open = false;
    for part in parts {
        match decided(part, chosen) {
            Some(verdict) if verdict == settles => return Some(settles),
            Some(_) => {}
            None => open = true,
        }
    }
    if open { None } else { Some(!settles) }
}

/// One value of each kind that `atoms` can tell apart.
fn values(key: &'static str, atoms: &[&Atom]) -> Vec<Option<Given>> {
    let mut values = vec![None];
    match Field::of(key).map(|it| it.kind) {
        None => {}
        Some(Kind::Text) => values.push(Some(Given::Text(String::new()))),
        Some(Kind::Flag) => values.extend([true, false].map(|it| Some(Given::Flag(it)))),
        Some(Kind::Word(words)) => values.extend(words.iter().map(|it| Some(Given::Word(it)))),
        Some(Kind::Words(words)) => {
            // Every subset; these lists are short.
            let subset =
                |bits: usize| words.iter().enumerate().filter(|it| bits >> it.0 & 1 == 1).map(|it| *it.1).collect();
            values.extend((0..1_usize << words.len().min(8)).map(|bits| Some(Given::Words(subset(bits)))));
        }
        Some(Kind::Amount(unit, sense)) => {
            let bounds = amounts(key, atoms);
            let range = |low, high, open| Some(Given::Range(Range { low, high, open, unit }));
            values.extend(bounds.into_iter().map(|bound| match sense {
                Sense::AtMost => range(0, Some(bound), false),
                Sense::AtLeast => range(bound, None, false),
                Sense::Amount => range(bound, Some(bound), false),
            }));
        }
    }
    values
}

/// The bounds that `atoms` set, then an amount between each two neighbours, below all and above all.
fn amounts(key: &str, atoms: &[&Atom]) -> Vec<i64> {
    let within = |it: &&Atom| if let Atom::Within(_, range) = it { Some(*range) } else { None };
    let ranges = atoms.iter().filter(|it| it.key() == key).filter_map(within);
    let mut bounds: Vec<i64> = ranges.flat_map(|it| [Some(it.low), it.high]).flatten().filter(|it| *it > 0).collect();
    bounds.sort_unstable();
    bounds.dedup();
    let between: Vec<i64> = bounds.windows(2).map(|it| it[0] + (it[1] - it[0]) / 2).collect();
    let (least, most) = (bounds.first().copied().unwrap_or(2), bounds.last().copied().unwrap_or(1));
    bounds.extend(between);
    bounds.extend([most.saturating_mul(2), (least / 2).max(1)]);
    bounds
}
