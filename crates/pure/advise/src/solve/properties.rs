//! Properties that hold for every scenario. What the solver finds without building combinations is compared with all of
//! them, built one by one.

use proptest::prelude::*;

use super::{
    product::{Found, Product, best},
    sensitivity::{nearest, swings},
    space::Space,
};
use crate::{
    Catalog, Scenario,
    layer::{Dimension, LAYERS},
    scenario::{FIELDS, Kind},
    solve::Weight,
    unit::Unit,
};

/// A value of a field, by a number: one of its words, or an amount of a plausible size.
fn value(kind: Kind, pick: usize) -> String {
    let amounts: &[&str] = match kind {
        Kind::Text => return "it".to_owned(),
        Kind::Flag => &["true", "false"],
        Kind::Word(words) => words,
        Kind::Words(words) => return format!("[{}, {}]", words[pick % words.len()], words[(pick / 7) % words.len()]),
        Kind::Amount(Unit::Count, _) => &["1", "3", "50", "300", "1000", "1001", "3000", "20000"],
        Kind::Amount(Unit::Bytes, _) => &["512MB", "<2GB", "<4GB", "8GB", "64GB"],
        Kind::Amount(Unit::Cores, _) => &["500m", "2", "16"],
        Kind::Amount(Unit::Duration, _) => &["1ms", "<10ms", "8ms", "<50ms", "2s", "12h", "30d"],
    };
    amounts[pick % amounts.len()].to_owned()
}

/// Scenarios with some keys given; what contradicts itself is left out as it would be refused.
fn scenarios() -> impl Strategy<Value = Scenario> {
    let key = (0..FIELDS.len(), 0_usize..1000);
    let weight = (0..Dimension::ALL.len(), 0_u32..8);
    (proptest::collection::vec(key, 0..9), proptest::collection::vec(weight, 0..4)).prop_map(|(keys, weights)| {
        let mut scenario = Scenario::parse("it", "").expect("an empty scenario");
        for (at, pick) in keys {
            let field = &FIELDS[at];
            // What a scenario may say about an amount has two directions; a backwards bound is refused.
            if let Ok(next) = scenario.set(field.key, &value(field.kind, pick)) {
                scenario = next;
            }
        }
        for (at, weight) in weights {
            let key = format!("weights.{}", Dimension::ALL[at]);
            scenario = scenario.set(&key, &weight.to_string()).unwrap_or(scenario);
        }
        scenario
    })
}

fn ranking(scenario: &Scenario) -> (Space<'static>, Vec<Found>) {
    let space = Space::new(Catalog::embedded(), scenario);
    let found = every(&space);
    (space, found)
}

/// Every combination in order, built one by one.
fn every(space: &Space<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    build(space, u128::MAX, &mut Vec::new(), &mut found);
    found.sort_unstable_by(Found::order);
    found
}

/// Adds all combinations that begin with `chosen`: options that go with all of them, as places in their layers.
fn build(space: &Space<'_>, with: u128, chosen: &mut Vec<u8>, found: &mut Vec<Found>) {
    let layer = chosen.len();
    if layer == LAYERS {
        found.push(summed(space, chosen));
        return;
    }
    for (at, choice) in space.layers[layer].iter().enumerate() {
        if choice.out.is_none() && with & choice.bit != 0 {
            chosen.push(at as u8);
            build(space, with & choice.with, chosen, found);
            chosen.pop();
        }
    }
}

/// A whole combination with its sums.
fn summed(space: &Space<'_>, chosen: &[u8]) -> Found {
    let mut found = Found::default();
    let mut brought = 0;
    for (layer, at) in chosen.iter().enumerate() {
        let choice = &space.layers[layer][usize::from(*at)];
        let stars = if brought & choice.bit == 0 { &choice.stars } else { &choice.included };
        for (sum, star) in found.sums.iter_mut().zip(stars) {
            *sum += star * space.layer_weights[layer];
        }
        found.choice[layer] = *at;
        brought |= choice.brings;
    }
    found.stars = found.sums.iter().sum();
    found.score = found.sums.iter().zip(&space.weights).map(|(sum, weight)| sum * weight.0).sum();
    found
}

fn product_of(space: &Space<'_>) -> Product {
    Product::of(space).expect("not too many")
}

/// The rival that a moving weight meets first, looked for among all.
fn nearest_of_all(ranking: &[Found], at: usize, sign: i64) -> Option<(i64, &Found)> {
    let (best, rivals) = ranking.split_first()?;
    let apart = |it: &Found| ((best.score - it.score), (best.sums[at] - it.sums[at]) * sign);
    let ahead = rivals.iter().filter(|it| apart(it).1 > 0);
    let first = ahead.min_by(|a, b| {
        let ((lead, stars), (other_lead, other_stars)) = (apart(a), apart(b));
        let product = |a: i64, b: i64| i128::from(a) * i128::from(b);
        product(lead, other_stars).cmp(&product(other_lead, stars)).then(other_stars.cmp(&stars)).then(a.order(b))
    })?;
    Some((apart(first).0 / apart(first).1, first))
}

/// Changes that ask for more than before, of whatever the scenario says.
const TIGHTER: &[(&str, &[&str])] = &[
    ("latency", &["2s", "<50ms", "<10ms", "1ms"]),
    ("coldStart", &["2s", "<50ms", "<10ms", "1ms"]),
    ("policyLatency", &["10ms", "5ms", "1ms", "1us"]),
    ("scaleTime", &["1h", "30s", "1ms"]),
    ("density", &["1", "300", "301", "3000", "3001"]),
    ("offline", &["1h", "30d", "31d"]),
    ("memory", &["64GB", "8GB", "<4GB", "<2GB", "1GB", "64MB"]),
    ("highAvailability", &["false", "true"]),
    ("alphaApis", &["false", "true"]),
    ("mesh", &["optional", "required"]),
    ("gateway", &["optional", "required", "functions"]),
    ("triggers", &["optional", "required"]),
    ("gpu", &["optional", "required"]),
    ("networkPolicy", &["none", "basic", "full", "l7"]),
    ("monitoring", &["light", "full", "tracing"]),
    ("hard.forbid", &["[]", "[k3s]", "[k3s, calico, opa-wasm]"]),
    ("hard.match", &["[]", "[kind]"]),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn halves_tell_what_all_combinations_tell(scenario in scenarios(), most in 1_usize..20_000, picks in proptest::array::uniform4(0.0..1.0)) {
        let (space, all) = ranking(&scenario);
        let product = product_of(&space);
        prop_assert_eq!(product.len(), all.len());
        prop_assert!(product.first(most) == all[..all.len().min(most)]);
        prop_assert_eq!(best(&space, &[u128::MAX; LAYERS], false), all.first().copied());
        prop_assume!(!all.is_empty());
        for pick in picks {
            let at = (pick * all.len() as f64) as usize;
            prop_assert_eq!(product.rank(&all[at]), at + 1);
        }
        for (layer, options) in space.layers.iter().enumerate() {
            for at in 0..options.len() {
                let first = all.iter().find(|it| usize::from(it.choice[layer]) == at);
                prop_assert_eq!(product.best_with(layer, at), first.copied());
                prop_assert_eq!(product.reaches(layer, at), first.is_some());
            }
        }
        for at in 0..Dimension::ALL.len() {
            for sign in [1, -1] {
                let met = nearest(&product, &all[0], at, sign);
                prop_assert_eq!(met, nearest_of_all(&all, at, sign).map(|it| (it.0, *it.1)));
            }
        }
    }

    #[test]
    fn raising_a_weight_never_lowers_what_is_best_in_it(scenario in scenarios(), at in 0..Dimension::ALL.len(), by in 1_i64..5_000_000) {
        let (mut space, before) = ranking(&scenario);
        prop_assume!(!before.is_empty());
        let most = before.iter().map(|it| it.sums[at]).max().unwrap_or_default();
        space.weights[at] = Weight(space.weights[at].0 + by);
        let after = every(&space);
        let rank = |all: &[Found], of: &Found| all.iter().position(|it| it.choice == of.choice);
        for best in before.iter().filter(|it| it.sums[at] == most).take(20) {
            prop_assert!(rank(&after, best) <= rank(&before, best));
        }
    }

    #[test]
    fn tightening_never_adds_an_option(scenario in scenarios(), at in 0..TIGHTER.len(), from in 0_usize..6, to in 1_usize..6) {
        let (key, values) = TIGHTER[at];
        let from = from % values.len();
        let to = (from + to).min(values.len() - 1);
        let (Ok(loose), Ok(tight)) = (scenario.set(key, values[from]), scenario.set(key, values[to])) else {
            return Ok(());
        };
        let ((space, before), (_, after)) = (ranking(&loose), ranking(&tight));
        let before: std::collections::HashSet<_> = before.iter().map(|it| it.choice).collect();
        for one in &after {
            prop_assert!(before.contains(&one.choice), "{key}: {:?}", space.stack(one));
        }
    }

    #[test]
    fn a_dominated_option_never_wins(scenario in scenarios()) {
        let (space, ranking) = ranking(&scenario);
        let Some(best) = product_of(&space).first(1).pop() else { return Ok(()) };
        let dominates = |it: &&Found| it.sums != best.sums && it.sums.iter().zip(best.sums).all(|(mine, other)| *mine >= other);
        prop_assert!(!ranking.iter().any(|it| dominates(&it)));
    }

    #[test]
    fn beyond_a_bound_another_stack_wins_and_within_it_none_does(scenario in scenarios()) {
        let (mut space, found) = ranking(&scenario);
        prop_assume!(!found.is_empty());
        let best = found[0].choice;
        let weights = space.weights;
        let product = product_of(&space);
        for swing in swings(&space, &product, &found[0]) {
            let at = swing.dimension as usize;
            let mut wins = |weight: i64| {
                space.weights = weights;
                space.weights[at] = Weight(weight);
                product_of(&space).first(1)[0].choice == best
            };
            let (low, high) = (swing.low.map(|it| it.0), swing.high.map(|it| it.0));
            prop_assert!(high.is_none_or(|high| high <= weights[at].0 || wins(high - 1)));
            prop_assert!(high.is_none_or(|high| !wins(high + 1)));
            prop_assert!(low.is_none_or(|low| low >= weights[at].0 || wins(low + 1)));
            prop_assert!(low.is_none_or(|low| low == 0 || !wins(low - 1)));
            prop_assert!(high.is_some() || wins(weights[at].0 + 1_000_000_000));
            prop_assert!(low.is_some() || wins(0) || weights[at].0 == 0);
        }
    }

    #[test]
    fn the_same_scenario_gives_the_same_bytes(scenario in scenarios()) {
        let bytes = |scenario: &Scenario| match super::advise(Catalog::embedded(), scenario) {
            Ok(decision) => serde_json::to_string(&decision).expect("JSON"),
            Err(none) => serde_json::to_string(&none).expect("JSON"),
        };
        let text = scenario.to_yaml();
        let again = Scenario::parse("it", &text).expect("what was written can be read");
        prop_assert_eq!(&again.values.iter().map(|it| (it.0, &it.1.given)).collect::<Vec<_>>(),
            &scenario.values.iter().map(|it| (it.0, &it.1.given)).collect::<Vec<_>>());
        let once_more = Scenario::parse("it", &text).expect("what was written can be read");
        prop_assert_eq!(bytes(&again), bytes(&once_more));
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC{0,200}", lines in "[a-z:<>=\\[\\]{} 0-9.\n]{0,300}") {
        for text in [text, lines] {
            let _ = Scenario::parse("it", &text);
            let _ = Catalog::parse([("it", &text)]);
            let _ = crate::condition::parse(&text, &Default::default());
        }
    }
}
