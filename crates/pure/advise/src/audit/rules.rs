//! Rules: lines that never fire, trees that disagree, choices beyond a specification, cases that overlap.

use super::{Contradiction, Finding};
use crate::{
    Catalog, Severity,
    catalog::{Id, Model, Origin, Tree, Want},
    condition::{Atom, Expr, Witness, witness},
    layer::{Layer, Metric},
    reason::Reason,
    scenario::Given,
    unit::Range,
};

pub(super) fn audit(catalog: &Catalog, findings: &mut Vec<Finding>) {
    for tree in &catalog.trees {
        lines(tree, findings);
        impossible(catalog, tree, findings);
    }
    for (at, one) in catalog.trees.iter().enumerate() {
        for other in &catalog.trees[at + 1..] {
            disagree(one, other, findings);
        }
    }
    catalog.models.iter().for_each(|it| model(it, findings));
    paths(catalog, findings);
}

/// What a witness gives, as one would write it in a scenario.
fn told(witness: &Witness) -> String {
    let given = witness.iter().filter_map(|(key, given)| {
        let text = match given.as_ref()? {
            Given::Text(text) => text.clone(),
            Given::Word(word) => (*word).to_owned(),
            Given::Words(words) => format!("[{}]", words.join(", ")),
            Given::Flag(flag) => flag.to_string(),
            Given::Range(range) => range.to_string(),
        };
        Some(format!("{key}: {text}"))
    });
    given.collect::<Vec<_>>().join(", ")
}

/// That the line at `at` is the one that fires.
fn fires(tree: &Tree, at: usize) -> Expr {
    let before = tree.rules[..at].iter().map(|it| Expr::Not(Box::new(it.when.expr.clone())));
    let own = [tree.applies.expr.clone(), tree.rules[at].when.expr.clone()];
    Expr::All(own.into_iter().chain(before).collect())
}

fn lines(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut add = |kind, severity, at: usize, reason| {
        let (sections, places) = (vec![tree.section.clone()], vec![tree.rules[at].source.clone()]);
        findings.push(Finding { kind, severity, sections, places, reason });
    };
    for (at, rule) in tree.rules.iter().enumerate() {
        let (name, line, when) = (tree.title.clone(), at + 1, rule.when.to_string());
        if witness(&fires(tree, at)).is_none() {
            add(Contradiction::Unreachable, Severity::Warning, at, Reason::NeverFires { name, line, when });
        } else if let Some(next) = tree.rules.get(at + 1)
            && tree.rules.len() == at + 2
            && next.when.expr == Expr::Always
            && (&next.choose, &next.leads_to) == (&rule.choose, &rule.leads_to)
        {
            add(Contradiction::Redundant, Severity::Note, at, Reason::ChangesNothing { name, line, when });
        } else if let Some(part) = dead_part(tree, at) {
            add(Contradiction::Unreachable, Severity::Warning, at, Reason::PartNeverDecides { name, line, part });
        }
    }
}

/// An alternative of the line's condition that is never what makes it fire.
fn dead_part(tree: &Tree, at: usize) -> Option<String> {
    let Expr::Any(parts) = &tree.rules[at].when.expr else { return None };
    let before: Vec<Expr> = tree.rules[..at].iter().map(|it| Expr::Not(Box::new(it.when.expr.clone()))).collect();
    let dead = parts.iter().find(|part| {
        let all = [tree.applies.expr.clone(), (*part).clone()].into_iter().chain(before.iter().cloned());
        witness(&Expr::All(all.collect())).is_none()
    });
    dead.map(name_of)
}

fn name_of(part: &Expr) -> String {
    match part {
        Expr::Fact(name, _) => name.clone(),
        Expr::Atom(atom) => atom.key().to_owned(),
        _ => "…".to_owned(),
    }
}

/// Scenarios for which two trees choose differently; their last lines first, since those are the defaults.
fn disagree(one: &Tree, other: &Tree, findings: &mut Vec<Finding>) {
    for layer in Layer::ALL {
        let pairs = pairs(one, other, *layer);
        let defaults = |it: &&(usize, usize)| {
            let last = |tree: &Tree, at: usize| at + 1 == tree.rules.len() && tree.rules[at].when.expr == Expr::Always;
            last(one, it.0) && last(other, it.1)
        };
        let ordered = pairs.iter().filter(defaults).chain(pairs.iter().filter(|it| !defaults(it)));
        for (a, b) in ordered {
            let both = Expr::All(vec![fires(one, *a), fires(other, *b)]);
            let Some(found) = witness(&both) else { continue };
            let is_default = defaults(&&(*a, *b));
            let chosen = |tree: &Tree, at: usize| names(&tree.rules[at].choose[layer]);
            findings.push(Finding {
                kind: if is_default { Contradiction::Defaults } else { Contradiction::Disagreement },
                severity: Severity::Warning,
                sections: vec![one.section.clone(), other.section.clone()],
                places: vec![one.rules[*a].source.clone(), other.rules[*b].source.clone()],
                reason: Reason::ChooseDifferently {
                    layer: *layer,
                    one: Box::new((one.section.clone(), a + 1, chosen(one, *a))),
                    other: Box::new((other.section.clone(), b + 1, chosen(other, *b))),
                    scenario: told(&found),
                },
            });
            break;
        }
    }
}

/// The lines of both that choose for `layer` without an option in common.
fn pairs(one: &Tree, other: &Tree, layer: Layer) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (a, first) in one.rules.iter().enumerate() {
        for (b, second) in other.rules.iter().enumerate() {
            if let (Some(mine), Some(theirs)) = (first.choose.get(&layer), second.choose.get(&layer))
                && !mine.iter().any(|it| theirs.contains(it))
            {
                pairs.push((a, b));
            }
        }
    }
    pairs
}

fn names(ids: &[Id]) -> String {
    ids.iter().map(Id::as_str).collect::<Vec<_>>().join(", ")
}

/// Lines that fire for more than anything they name supports.
fn impossible(catalog: &Catalog, tree: &Tree, findings: &mut Vec<Finding>) {
    for (at, rule) in tree.rules.iter().enumerate() {
        for (layer, ids) in &rule.choose {
            let metrics =
                catalog.wanted.iter().filter(|it| it.layer == *layer && it.hard).filter_map(|it| match it.want {
                    Want::Metric { metric: metric @ Metric::Nodes, share: None, .. } => Some((metric, it.key.as_str())),
                    _ => None,
                });
            for (metric, key) in metrics {
                let stated = |id: &Id| catalog.technology(id.as_str())?.stated(metric)?.range.most();
                let Some(most) = ids.iter().map(stated).collect::<Option<Vec<_>>>().and_then(|it| it.into_iter().max())
                else {
                    continue;
                };
                let Some(field) = crate::scenario::Field::of(key) else { continue };
                let beyond = Range { low: most + 1, high: None, open: false, unit: metric.unit() };
                let more = Expr::Atom(Atom::Within(field.key, beyond));
                let Some(found) = witness(&Expr::All(vec![fires(tree, at), more])) else { continue };
                findings.push(Finding {
                    kind: Contradiction::Impossible,
                    severity: Severity::Warning,
                    sections: vec![tree.section.clone()],
                    places: vec![rule.source.clone()],
                    reason: Reason::NamesTooSmall {
                        line: at + 1,
                        section: tree.section.clone(),
                        names: names(ids),
                        metric,
                        most,
                        scenario: told(&found),
                    },
                });
            }
        }
    }
}

/// Cases that overlap, that never hold, and scenarios that none covers.
fn model(model: &Model, findings: &mut Vec<Finding>) {
    let mut add = |severity, reason| {
        findings.push(Finding {
            kind: Contradiction::Model,
            severity,
            sections: vec![model.section.clone()],
            places: vec![model.source.clone()],
            reason,
        });
    };
    for (at, one) in model.regions.iter().enumerate() {
        for other in &model.regions[at + 1..] {
            let both = Expr::All(vec![one.when.expr.clone(), other.when.expr.clone()]);
            if let Some(found) = witness(&both) {
                let (one, other) = (one.value.clone(), other.value.clone());
                add(
                    Severity::Note,
                    Reason::CasesOverlap { model: model.id.to_string(), one, other, scenario: told(&found) },
                );
            }
        }
    }
    let mut atoms = Vec::new();
    model.regions.iter().for_each(|it| it.when.expr.atoms(&mut atoms));
    let given = atoms.iter().map(|it| Expr::Atom(Atom::Given(it.key())));
    let none = model.regions.iter().map(|it| Expr::Not(Box::new(it.when.expr.clone())));
    if let Some(found) = witness(&Expr::All(given.chain(none).collect())) {
        add(Severity::Note, Reason::NoCase { model: model.id.to_string(), scenario: told(&found) });
    }
}

/// Reference stacks that no tree leads to, although one leads to others of their kind.
fn paths(catalog: &Catalog, findings: &mut Vec<Finding>) {
    let leads: Vec<&Id> = catalog.trees.iter().flat_map(|it| &it.rules).filter_map(|it| it.leads_to.as_ref()).collect();
    let Some(tree) = catalog.trees.iter().find(|it| it.rules.iter().any(|rule| rule.leads_to.is_some())) else {
        return;
    };
    let lost = catalog.references.iter().filter(|it| it.origin == Origin::Stack && !leads.contains(&&it.id));
    findings.extend(lost.map(|it| Finding {
        kind: Contradiction::Unreachable,
        severity: Severity::Warning,
        sections: vec![tree.section.clone(), it.section.clone()],
        places: vec![tree.source.clone(), it.source.clone()],
        reason: Reason::NoPathTo { name: it.name.clone(), section: tree.section.clone() },
    }));
}
