//! Properties that hold for every scenario.

use proptest::prelude::*;

use super::{
    space::Space,
    walk::{Found, ranked},
};
use crate::{
    Catalog, Scenario,
    layer::Dimension,
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
    let found = in_order(&space);
    (space, found)
}

/// All of them in order, also what an answer does not hold any more.
fn in_order(space: &Space<'_>) -> Vec<Found> {
    let mut found = ranked(space).expect("not too many");
    let told = found.len().min(super::RIVALS_MAX);
    let sorted = found[..told].to_vec();
    found.sort_unstable_by(Found::order);
    assert!(sorted == found[..told], "the part that is told is in order, and the best");
    found
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
    fn raising_a_weight_never_lowers_what_is_best_in_it(scenario in scenarios(), at in 0..Dimension::ALL.len(), by in 1_i64..5_000_000) {
        let (mut space, before) = ranking(&scenario);
        prop_assume!(!before.is_empty());
        let most = before.iter().map(|it| it.sums[at]).max().unwrap_or_default();
        space.weights[at] = Weight(space.weights[at].0 + by);
        let after = in_order(&space);
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
        let (_, ranking) = ranking(&scenario);
        let Some(best) = ranking.first() else { return Ok(()) };
        let dominates = |it: &&Found| it.sums != best.sums && it.sums.iter().zip(best.sums).all(|(mine, other)| *mine >= other);
        prop_assert!(!ranking.iter().any(|it| dominates(&it)));
    }

    #[test]
    fn beyond_a_bound_another_stack_wins_and_within_it_none_does(scenario in scenarios()) {
        let (mut space, found) = ranking(&scenario);
        prop_assume!(!found.is_empty());
        let best = found[0].choice;
        let weights = space.weights;
        for swing in super::sensitivity::swings(&space, &found) {
            let at = swing.dimension as usize;
            let mut wins = |weight: i64| {
                space.weights = weights;
                space.weights[at] = Weight(weight);
                in_order(&space)[0].choice == best
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
