//! Whether rules lie within other rules, so that nobody grants more than they hold. Entry point: [`missing`].

use std::collections::BTreeSet;

use super::{
    Rule,
    rule::{has, path_covers},
};

/// Those parts of `wanted` that `held` does not cover; empty when everything is covered.
///
/// A wanted rule is taken apart into single rights first: several held rules may cover it together.
pub fn missing<'a>(held: &[&Rule], wanted: impl IntoIterator<Item = &'a Rule>) -> Vec<Rule> {
    let rights = wanted.into_iter().flat_map(single_rights);
    rights.filter(|right| !held.iter().any(|it| covers(it, right))).collect()
}

/// What Kubernetes calls a compact description, one line a rule, sorted; verbs of the same thing joined.
pub fn describe(rules: &[Rule]) -> String {
    let mut joined: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = |it: &&mut Rule| {
            (&it.groups, &it.resources, &it.names, &it.paths)
                == (&rule.groups, &rule.resources, &rule.names, &rule.paths)
        };
        match joined.iter_mut().find(same) {
            Some(found) => found.verbs.extend(rule.verbs.iter().cloned()),
            None => joined.push(rule.clone()),
        }
    }
    let lines: BTreeSet<String> = joined.iter().map(describe_one).collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

fn describe_one(rule: &Rule) -> String {
    let fields = [
        ("APIGroups", &rule.groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.paths),
        ("ResourceNames", &rule.names),
        ("Verbs", &rule.verbs),
    ];
    let quoted = |list: &[String]| list.iter().map(|it| format!("{it:?}")).collect::<Vec<_>>().join(" ");
    let fields = fields.into_iter().filter(|it| !it.1.is_empty());
    let fields: Vec<String> = fields.map(|(name, list)| format!("{name}:[{}]", quoted(list))).collect();
    format!("{{{}}}", fields.join(", "))
}

/// Takes a rule apart: one group, resource, name and verb each, or one path and verb.
fn single_rights(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let mut rights = Vec::new();
    for verb in &rule.verbs {
        for group in &rule.groups {
            for resource in &rule.resources {
                let right = Rule { verbs: one(verb), groups: one(group), resources: one(resource), ..Rule::default() };
                match rule.names.as_slice() {
                    [] => rights.push(right),
                    names => rights.extend(names.iter().map(|it| Rule { names: one(it), ..right.clone() })),
                }
            }
        }
        rights.extend(rule.paths.iter().map(|it| Rule { verbs: one(verb), paths: one(it), ..Rule::default() }));
    }
    rights
}

/// Whether one rule covers a single right.
fn covers(held: &Rule, right: &Rule) -> bool {
    let all = |held: &[String], wanted: &[String]| wanted.iter().all(|it| has(held, it));
    all(&held.verbs, &right.verbs)
        && all(&held.groups, &right.groups)
        && right.resources.iter().all(|it| held.resources.iter().any(|held| resource_covers(held, it)))
        && right.paths.iter().all(|it| held.paths.iter().any(|held| path_covers(held, it)))
        && (held.names.is_empty() || (!right.names.is_empty() && right.names.iter().all(|it| held.names.contains(it))))
}

fn resource_covers(held: &str, wanted: &str) -> bool {
    let of_any = |sub: &str| wanted.split_once('/').is_some_and(|it| it.1 == sub);
    held == "*" || held == wanted || held.strip_prefix("*/").is_some_and(of_any)
}
