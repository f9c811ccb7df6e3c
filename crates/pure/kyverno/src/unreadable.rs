//! Policies that an earlier version took and this one cannot read.
//!
//! Entry point: [`policy`]. What such a policy demands nobody knows: to each of its rules whatever the rule may be about is an error,
//! of which its failure policy makes what it makes of others. What of a filter cannot be read leaves nothing out.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Flaw, Policy, Request, autogen, cel, celpolicy, engine,
    matching::{Filter, KindPattern, Match, Resources},
    policy::{Compiled, compile_rule},
    spec::{Rule, Spec},
};

/// A policy without demands, in the place of one that has these flaws.
pub(crate) fn policy(object: &Value, flaws: &[Flaw]) -> Policy {
    let flaws: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    let why: Arc<str> = format!("the policy cannot be read: {}", flaws.join("; ")).into();
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let spec = spec(&object["spec"]);
    Policy {
        kind: text("/kind"),
        namespace: if object["kind"] == "Policy" { text("/metadata/namespace") } else { String::new() },
        name: text("/metadata/name"),
        uid: text("/metadata/uid"),
        annotations: object["metadata"]["annotations"].as_object().cloned().unwrap_or_default(),
        rules: autogen::rules(object).iter().filter(|it| judges(it)).filter_map(|it| rule(it, &why)).collect(),
        names_roles: false,
        conditions: cel::Conditions::compile(&spec.webhook_configuration.match_conditions).unwrap_or_default(),
        spec,
    }
}

/// Whether a rule says nothing of a request, so that what cannot be read can be repaired, and be deleted where nothing else was said.
pub(crate) fn spares(rule: &Rule, request: &Request<'_>) -> bool {
    let is_own = [engine::GROUP, celpolicy::GROUP].contains(&request.group);
    is_own || (request.operation == "DELETE" && !rule.matches.names_operation("DELETE"))
}

/// What of a `spec` decides about requests, as far as it can be read.
fn spec(spec: &Value) -> Spec {
    let webhook = &spec["webhookConfiguration"];
    let parts = [
        ("failurePolicy", spec["failurePolicy"].clone()),
        ("admission", spec["admission"].clone()),
        ("background", spec["background"].clone()),
        ("webhookConfiguration", json!({ "failurePolicy": webhook["failurePolicy"] })),
        ("webhookConfiguration", webhook.clone()),
    ];
    let mut known = Map::new();
    for (field, value) in parts {
        let mut more = known.clone();
        more.insert(field.to_owned(), value);
        if Spec::deserialize(&Value::Object(more.clone())).is_ok() {
            known = more;
        }
    }
    Spec::deserialize(&Value::Object(known)).expect("every part was read before, and none is needed")
}

/// Whether requests wait for what a rule does: what it makes, or changes elsewhere, is made behind them.
fn judges(rule: &Value) -> bool {
    rule.get("generate").is_none() && rule["mutate"]["targets"].as_array().is_none_or(Vec::is_empty)
}

/// A rule that is about what `rule` may be about. `None` never comes: it has nothing that could be wrong.
fn rule(rule: &Value, why: &Arc<str>) -> Option<Compiled> {
    let known = json!({ "name": rule["name"].as_str().unwrap_or("rule"), "match": {}, "validate": {} });
    let mut compiled = compile_rule(known, "", false).ok()?;
    compiled.rule.matches = Match::deserialize(&rule["match"]).unwrap_or_else(|_| kinds(&rule["match"]));
    compiled.rule.exclude = Match::deserialize(&rule["exclude"]).ok();
    compiled.unreadable = Some(why.clone());
    Some(compiled)
}

/// The kinds that a filter names which cannot be read otherwise; all where one part of it names none.
fn kinds(matches: &Value) -> Match {
    let nested = ["any", "all"].into_iter().flat_map(|it| matches[it].as_array().into_iter().flatten());
    let own = matches.get("resources").map(|_| matches);
    let named: Option<Vec<Vec<KindPattern>>> = nested
        .chain(own)
        .map(|it| Vec::deserialize(&it["resources"]["kinds"]).ok().filter(|it| !it.is_empty()))
        .collect();
    let mut kinds = named.unwrap_or_default().concat();
    if kinds.is_empty() {
        kinds.push(KindPattern::parse("*"));
    }
    let resources = Resources { kinds, ..Resources::default() };
    Match { any: vec![Filter { resources, ..Filter::default() }], ..Match::default() }
}
