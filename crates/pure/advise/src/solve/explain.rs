//! Turns a ranking into an answer with its reasons. Entry point: [`decision`].

use super::{
    Alternative, Assumption, Candidate, Decision, Extra, Fired, LayerAnswer, Match, Matched, Points, Ranking, RuledOut,
    Swing, process,
    product::Found,
    sensitivity::swings,
    space::{Choice, Space, names},
};
use crate::{
    Catalog, Scenario,
    catalog::Id,
    formal::{edge_of, serverless_of},
    layer::{Dimension, Layer},
    reason::Reason,
};

pub(super) fn decision(catalog: &Catalog, scenario: &Scenario, space: &Space<'_>, ranking: &Ranking) -> Decision {
    let best = &ranking.first[0];
    let layers: Vec<LayerAnswer> = Layer::ALL.iter().map(|it| layer(catalog, scenario, space, ranking, *it)).collect();
    let matches: Vec<Matched> =
        Layer::ALL.iter().flat_map(|it| space.chosen(best, *it).judged.iter().map(|it| it.matched.clone())).collect();
    let sensitivity = swings(space, &ranking.product, best);
    let extras = catalog.extras.iter().filter(|it| it.when.holds(scenario));
    Decision {
        scenario: scenario.title().to_owned(),
        edge: edge_of(scenario),
        serverless: serverless_of(scenario),
        weights: space.weights,
        ranking: ranking.first.iter().map(|it| candidate(space, it)).collect(),
        ranked: ranking.product.len(),
        combinations: space.combinations,
        weakest: weakest(space, &ranking.first, &matches, &sensitivity),
        conflicts: conflicts(&layers, space),
        steps: process::steps(catalog, scenario, space, ranking),
        layers,
        matches,
        ruled_out: ruled_out(space),
        sensitivity,
        extras: extras.map(|it| Extra { name: it.name.clone(), source: it.section.clone() }).collect(),
    }
}

pub(super) fn candidate(space: &Space<'_>, found: &Found) -> Candidate {
    Candidate { stack: space.stack(found), score: space.score(found), dimensions: space.dimensions(found) }
}

/// Everything that is ruled out, in the order of the catalogue.
pub(super) fn ruled_out(space: &Space<'_>) -> Vec<RuledOut> {
    space.layers.iter().flatten().filter_map(|it| it.out.clone()).collect()
}

fn layer(catalog: &Catalog, scenario: &Scenario, space: &Space<'_>, ranking: &Ranking, layer: Layer) -> LayerAnswer {
    let chosen = space.chosen(&ranking.first[0], layer).technology.id.clone();
    let alternatives = alternatives(space, ranking, layer);
    let fired = fired(catalog, scenario, space, layer, &chosen, &alternatives);
    LayerAnswer { layer, chosen, fired, alternatives }
}

/// The best combination of each other option, best first.
fn alternatives(space: &Space<'_>, Ranking { first, product }: &Ranking, layer: Layer) -> Vec<Alternative> {
    let (best, at) = (&first[0], layer as usize);
    let options = (0..space.at(layer).len()).filter(|it| *it != usize::from(best.choice[at]));
    let mut others: Vec<Found> = options.filter_map(|it| product.best_with(at, it)).collect();
    others.sort_unstable_by(Found::order);
    let told = |it: &Found| Alternative {
        technology: space.chosen(it, layer).technology.id.clone(),
        score: space.score(it),
        rank: product.rank(it),
        loses_in: loses_in(space, best, it),
    };
    others.iter().map(told).collect()
}

/// The dimension whose weighted stars speak most against `other`.
pub(super) fn loses_in(space: &Space<'_>, best: &Found, other: &Found) -> Option<Dimension> {
    let behind = |at: usize| (best.sums[at] - other.sums[at]) * space.weights[at].0;
    let at = (0..best.sums.len()).max_by_key(|at| (behind(*at), std::cmp::Reverse(*at)))?;
    (behind(at) > 0).then(|| Dimension::ALL[at])
}

fn fired(
    catalog: &Catalog,
    scenario: &Scenario,
    space: &Space<'_>,
    layer: Layer,
    chosen: &Id,
    alternatives: &[Alternative],
) -> Vec<Fired> {
    let mut all = Vec::new();
    for tree in &catalog.trees {
        let Some((line, rule)) = tree.fired(scenario) else { continue };
        let Some(choose) = rule.choose.get(&layer) else { continue };
        // What is a part of the option is chosen with it: K3s with KubeEdge on K3s.
        let parts = catalog.technology(chosen.as_str()).map(|it| it.parts.as_slice()).unwrap_or_default();
        let agrees = choose.contains(chosen) || parts.iter().any(|it| choose.contains(it));
        all.push(Fired {
            tree: tree.section.clone(),
            line: line + 1,
            when: rule.when.to_string(),
            means: rule.when.means(&catalog.facts),
            choose: choose.clone(),
            agrees,
            because: (!agrees).then(|| against(space, layer, choose, alternatives)),
        });
    }
    all
}

/// Why none of what a rule names was chosen.
fn against(space: &Space<'_>, layer: Layer, choose: &[Id], alternatives: &[Alternative]) -> Reason {
    if let Some(it) = alternatives.iter().find(|it| choose.contains(&it.technology)) {
        return Reason::ScoresLess { name: it.technology.to_string(), score: it.score, loses_in: it.loses_in };
    }
    let named = |it: &&Choice<'_>| choose.contains(&it.technology.id);
    match space.at(layer).iter().find(named).and_then(|it| it.out.as_ref()) {
        Some(out) => Reason::IsRuledOut { name: out.technology.to_string(), because: Box::new(out.reason.clone()) },
        None => Reason::NeverTogether,
    }
}

/// Where the trees contradict each other or the specifications, as far as this scenario meets it.
fn conflicts(layers: &[LayerAnswer], space: &Space<'_>) -> Vec<Reason> {
    let mut conflicts = Vec::new();
    for answer in layers {
        let sides = sides(&answer.fired);
        let apart = |one: &[Id], other: &[Id]| !one.iter().any(|it| other.contains(it));
        if sides.iter().any(|one| sides.iter().any(|other| apart(one.0, other.0))) {
            let told = sides.iter().map(|(choose, sections)| (sections.clone(), names(choose))).collect();
            conflicts.push(Reason::TreesDisagree { layer: answer.layer, sides: told });
        }
        for (choose, sections) in sides {
            let out = |id: &Id| space.at(answer.layer).iter().find(|it| it.technology.id == *id)?.out.clone();
            let outs: Vec<RuledOut> = choose.iter().filter_map(out).collect();
            let stands = answer.fired.iter().any(|it| it.choose == choose && it.agrees);
            if outs.len() == choose.len()
                && !stands
                && let Some(first) = outs.into_iter().next()
            {
                let (name, because) = (first.technology.to_string(), Box::new(first.reason));
                conflicts.push(Reason::TreeImpossible { layer: answer.layer, sections, name, because });
            }
        }
    }
    conflicts
}

/// What was chosen by which trees, in their order.
fn sides(fired: &[Fired]) -> Vec<(&[Id], String)> {
    let mut sides: Vec<(&[Id], String)> = Vec::new();
    for one in fired {
        match sides.iter_mut().find(|it| it.0 == one.choose) {
            Some((_, sections)) => *sections += &format!(", §{}", one.tree),
            None => sides.push((&one.choose, format!("§{}", one.tree))),
        }
    }
    sides
}

/// What the answer leans on most: what nobody states, then what is only partly true, then what is claimed without a
/// measurement although another option waits, then the weight that needs to move least.
fn weakest(space: &Space<'_>, found: &[Found], matches: &[Matched], sensitivity: &[Swing]) -> Assumption {
    let of = |it: &Matched, reason: Reason| Assumption {
        technology: Some(it.technology.clone()),
        key: it.key.clone(),
        reason,
    };
    let falls_short = matches.iter().find(|it| it.verdict == Match::Mismatch);
    let unstated = matches.iter().find(|it| it.metric.is_some() && it.stated.is_empty());
    let partial = matches.iter().find(|it| it.verdict == Match::Partial);
    if let Some(it) = falls_short.or(unstated).or(partial) {
        let because = Box::new(it.reason.clone());
        return of(it, Reason::LeansOnShortfall { name: it.technology.to_string(), key: it.key.clone(), because });
    }
    let claimed = matches.iter().find(|it| it.metric.is_some() && !it.measured);
    let narrow = narrowest(sensitivity);
    if let Some((swing, to, stack)) = narrow
        && (swing.weight.0 - to).abs() * 4 < swing.weight.0
    {
        let reason = Reason::LeansOnWeight { dimension: swing.dimension, weight: swing.weight, to: super::Weight(to) };
        let differs = Layer::ALL.iter().find(|it| stack.at(**it) != &space.stack(&found[0]).0[**it as usize]);
        return Assumption { technology: differs.map(|it| stack.at(*it).clone()), key: String::new(), reason };
    }
    if let Some(it) = claimed {
        let reason = Reason::LeansOnClaim {
            name: it.technology.to_string(),
            key: it.key.clone(),
            stated: it.stated.clone(),
            section: it.source.clone(),
        };
        return of(it, reason);
    }
    let lead = found.get(1).map_or(Points(5000), |it| Points(space.score(&found[0]).0 - space.score(it).0));
    Assumption { technology: None, key: String::new(), reason: Reason::LeansOnLead { lead } }
}

/// The weight that needs to move least in proportion, with where to and what wins then.
fn narrowest(sensitivity: &[Swing]) -> Option<(&Swing, i64, &super::Stack)> {
    let ends = sensitivity.iter().flat_map(|it| {
        let low = it.low.zip(it.below.as_ref()).map(|(to, stack)| (it, to.0, stack));
        let high = it.high.zip(it.above.as_ref()).map(|(to, stack)| (it, to.0, stack));
        [low, high].into_iter().flatten()
    });
    ends.filter(|it| it.0.weight.0 > 0).min_by_key(|(swing, to, _)| (to - swing.weight.0).abs() * 1000 / swing.weight.0)
}
