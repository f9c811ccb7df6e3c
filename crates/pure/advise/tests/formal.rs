//! The formal models, and the four-row matrix.

use eyot_advise::{
    Catalog, Scenario,
    catalog::{MatrixRow, Model},
    formal::{Edge, Network, Serverless, e, m, m_all, m_level, s, score},
    layer::Level,
    solve::{Match, Points, Weight, compare},
    unit::{Range, Unit},
};

fn time(text: &str) -> Range {
    Range::parse(text, Unit::Duration).expect("a time")
}

fn size(text: &str) -> Range {
    Range::parse(text, Unit::Bytes).expect("a size")
}

#[test]
fn e_is_that_of_the_document() {
    assert_eq!(e(time("<10ms"), size("<4GB"), Network::Unstable), Some(Edge::Mec));
    assert_eq!(e(time("<=10ms"), size("<4GB"), Network::Unstable), None, "10 ms are not below 10 ms");
    assert_eq!(e(time("<50ms"), size("<2GB"), Network::Unstable), Some(Edge::Iot));
    assert_eq!(e(time("<50ms"), size("<8GB"), Network::Stable), Some(Edge::Game));
    assert_eq!(e(time("<50ms"), size("<8GB"), Network::Unstable), None);
}

#[test]
fn s_is_that_of_the_document() {
    let many = |text| Range::parse(text, Unit::Count).expect("a number");
    assert_eq!(s(time("<10ms"), many(">1000"), true), Some(Serverless::LightFunction));
    assert_eq!(s(time("<10ms"), many(">=1000"), true), Some(Serverless::Faas));
    assert_eq!(s(time("<50ms"), many(">500"), true), Some(Serverless::Faas));
    assert_eq!(s(time("<10ms"), many(">1000"), false), None);
}

#[test]
fn m_tells_match_partial_and_mismatch() {
    assert_eq!(m(time("2.5ms..6ms"), time("<10ms"), false), Match::Match);
    assert_eq!(m(time("6ms..10ms"), time("<10ms"), false), Match::Partial);
    assert_eq!(m(time("1s..2s"), time("<10ms"), false), Match::Mismatch);
    assert_eq!(m(size("1B..1000B"), size("3B..5B"), true), Match::Match);
    assert_eq!(m_level(Level::Partial, Level::Partial, Level::Full), Match::Partial);
    assert_eq!(m_all([Match::Match, Match::Partial]), Match::Partial);
    assert_eq!(m_all([]), Match::Match);
}

#[test]
fn score_is_the_weighted_mean() {
    let (mut w, mut f) = ([Weight(0); 7], [Points(0); 7]);
    (w[0], w[1]) = (Weight(3_000_000), Weight(1_000_000));
    (f[0], f[1]) = (Points(5000), Points(1000));
    assert_eq!(score(&w, &f), Points(4000));
    assert_eq!(score(&[Weight(0); 7], &f), Points(0));
}

/// The functions in code and the models in the catalogue agree on every mixture of bounds.
#[test]
fn the_models_of_the_catalogue_are_the_functions() {
    let model = |id: &str| Catalog::embedded().models.iter().find(|it| it.id.as_str() == id).expect("a model");
    let by_data = |model: &Model, scenario: &Scenario| {
        model.regions.iter().find(|it| it.when.holds(scenario)).map(|it| it.value.clone())
    };
    for latency in ["<10ms", "10ms", "<50ms", "50ms"] {
        for memory in ["<2GB", "2GB", "<4GB", "<8GB", "8GB"] {
            for network in ["stable", "unstable"] {
                let text = format!("latency: {latency}\nmemory: {memory}\nnetwork: {network}\n");
                let scenario = Scenario::parse("it", &text).expect("sound");
                let by_code = eyot_advise::formal::edge_of(&scenario).map(|it| it.word().to_owned());
                assert_eq!(by_code, by_data(model("E"), &scenario), "{text}");
            }
        }
    }
    for (start, density, scales) in
        [("<10ms", "1001", "qps"), ("<10ms", "1000", "qps"), ("<50ms", "501", "load"), ("<50ms", "500", "none")]
    {
        let text = format!("coldStart: {start}\ndensity: {density}\nautoscaling: {scales}\n");
        let scenario = Scenario::parse("it", &text).expect("sound");
        let by_code = eyot_advise::formal::serverless_of(&scenario).map(|it| it.word().to_owned());
        assert_eq!(by_code, by_data(model("S"), &scenario), "{text}");
    }
}

/// §05.6.3: with the four columns as the only dimensions, the rows come out in the order of their totals, ruled out or
/// not, for the weights that the text gives and for those that its totals follow from.
#[test]
fn the_rows_of_the_matrix_keep_their_order() {
    let text = include_str!("../../../../examples/scenarios/edge-matrix.yaml");
    let ranked = Scenario::parse("edge-matrix", text).expect("sound");
    let solved = [("resources", "3"), ("performance", "1/3"), ("availability", "2/3"), ("maturity", "1")];
    let set = |it: Scenario, (key, weight): (&str, &str)| it.set(&format!("weights.{key}"), weight).expect("sound");
    let totalled = solved.into_iter().fold(ranked.clone(), set);
    let matrix = &Catalog::embedded().matrices[0];
    assert_eq!(matrix.rows.iter().map(|it| it.total).collect::<Vec<_>>(), [24, 18, 12, 10]);
    let name = |row: &MatrixRow| row.options.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(",");
    let names: Vec<String> = matrix.rows.iter().map(name).collect();
    for scenario in [ranked, totalled] {
        for pair in names.windows(2) {
            let found = compare(Catalog::embedded(), &scenario, &pair[0], &pair[1]).expect("both stand");
            let (a, b) = (found.a.candidate.score, found.b.candidate.score);
            assert!(a > b, "{} {a}, {} {b}", pair[0], pair[1]);
        }
        let both = compare(Catalog::embedded(), &scenario, &names[0], &names[3]).expect("both stand");
        assert_eq!(both.a.rank, Some(1), "the first is what the solver chooses");
        assert!(both.b.rank.is_none() && !both.b.violations.is_empty(), "the last is ruled out");
    }
}
