//! The formal models of the documents, as functions with their names: [`e`], [`s`], [`m`], [`score`], [`t_star`].
//!
//! Amounts are sets: a scenario that asks for `<10ms` means every latency below 10 ms, and a condition on it holds when
//! it holds for all of them.

use crate::{
    Catalog, Scenario,
    layer::{DIMENSIONS, Level},
    solve::{Candidate, Decision, Match, NoAnswer, Points, Weight, advise},
    unit::{Range, Unit},
    words::words,
};

words! {
    /// The values of E(S,L,R,N).
    Edge {
        /// Computing beside a base station.
        Mec = "mec", "5G MEC", "5G MEC";
        /// Computing in a factory.
        Iot = "iot", "industrial IoT", "工业 IoT";
        /// Computing near players.
        Game = "game", "online game", "在线游戏";
    }
}

words! {
    /// The values of S(C,D,A).
    Serverless {
        /// Small functions.
        LightFunction = "lightFunction", "light function", "轻量函数";
        /// Functions as a service.
        Faas = "faas", "FaaS", "FaaS";
    }
}

words! {
    /// N: the stability of a network.
    Network {
        /// It is there.
        Stable = "stable", "stable", "稳定";
        /// It may be gone for a while.
        Unstable = "unstable", "unstable", "不稳定";
    }
}

const MS: i64 = 1_000_000;
const GB: i64 = 1_000_000_000;

fn below(range: Range, limit: i64) -> bool {
    range.within(&Range { low: 0, high: Some(limit), open: true, unit: range.unit })
}

/// E(S,L,R,N) of edge-serverless §11.8.1 for latency L, memory of a node R and network N. The cases overlap and leave
/// gaps; the first that holds counts, as in the document.
pub fn e(l: Range, r: Range, n: Network) -> Option<Edge> {
    if below(l, 10 * MS) && below(r, 4 * GB) && n == Network::Unstable {
        Some(Edge::Mec)
    } else if below(l, 50 * MS) && below(r, 2 * GB) && n == Network::Unstable {
        Some(Edge::Iot)
    } else if below(l, 50 * MS) && below(r, 8 * GB) && n == Network::Stable {
        Some(Edge::Game)
    } else {
        None
    }
}

/// S(C,D,A) of edge-serverless §11.8.2 for cold start C, density D and autoscaling A.
pub fn s(c: Range, d: Range, a: bool) -> Option<Serverless> {
    let above = |limit: i64| d.within(&Range { low: limit + 1, high: None, open: false, unit: Unit::Count });
    if below(c, 10 * MS) && above(1000) && a {
        Some(Serverless::LightFunction)
    } else if below(c, 50 * MS) && above(500) && a {
        Some(Serverless::Faas)
    } else {
        None
    }
}

/// M(T,R) of §05.9.3 for one dimension: a specification T_i and a requirement R_i. Where T_i is what is supported rather
/// than what is taken (`covers`), it is R_i that must lie within. Two sets that meet are compatible.
pub fn m(t: Range, r: Range, covers: bool) -> Match {
    let (inner, outer) = if covers { (r, t) } else { (t, r) };
    if inner.within(&outer) {
        Match::Match
    } else if t.meets(&r) {
        Match::Partial
    } else {
        Match::Mismatch
    }
}

/// M(T,R) for a property: a match from `full` on, partial from `least` on.
pub fn m_level(t: Level, least: Level, full: Level) -> Match {
    if t >= full {
        Match::Match
    } else if t >= least {
        Match::Partial
    } else {
        Match::Mismatch
    }
}

/// M(T,R) over all dimensions: a match if each is, a mismatch if one is, else partial.
pub fn m_all(each: impl IntoIterator<Item = Match>) -> Match {
    each.into_iter().max().unwrap_or(Match::Match)
}

/// Score(T,S,C) = Σ w_i · f_i(T,S,C) of §05.9.2, over the sum of the weights, so that it stays between 0 and 5 stars.
pub fn score(w: &[Weight; DIMENSIONS], f: &[Points; DIMENSIONS]) -> Points {
    let sum: i128 = w.iter().map(|it| i128::from(it.0)).sum();
    let product: i128 = w.iter().zip(f).map(|(w, f)| i128::from(w.0) * i128::from(f.0)).sum();
    Points(if sum == 0 { 0 } else { (product / sum) as i64 })
}

/// T*(S,C) = argmax Score(T,S,C) of §05.9.1, over every combination that the constraints leave; C is part of the scenario.
pub fn t_star(catalog: &Catalog, scenario: &Scenario) -> Result<Candidate, Box<NoAnswer>> {
    advise(catalog, scenario).map(|mut decision: Decision| decision.ranking.swap_remove(0))
}

/// E of a scenario, where it gives latency, memory and network.
pub fn edge_of(scenario: &Scenario) -> Option<Edge> {
    e(scenario.range("latency")?, scenario.range("memory")?, Network::from_word(scenario.word("network"))?)
}

/// S of a scenario, where it gives cold start and density.
pub fn serverless_of(scenario: &Scenario) -> Option<Serverless> {
    let scales = !matches!(scenario.word("autoscaling"), "" | "none");
    s(scenario.range("coldStart")?, scenario.range("density")?, scales)
}
