//! Holds outcomes against what a test expects.

use serde_json::{Map, Value};

use super::{
    Expected, Files, Row,
    evaluate::{Outcome, Response},
    load::{self, Loaded},
};
use crate::{RuleKind, RuleResult, Status, autogen, generate::label, text};

/// The rows of one expectation.
pub(super) fn rows(
    expected: &Expected,
    outcomes: &[Outcome],
    loaded: &Loaded,
    files: &dyn Files,
) -> Result<Vec<Row>, String> {
    let outcomes: Vec<&Outcome> = outcomes.iter().filter(|it| it.operation == expected.operation).collect();
    let named = expected.resources.iter().chain(Some(&expected.resource).filter(|it| !it.is_empty()));
    let mut chosen: Vec<&Outcome> = Vec::new();
    for name in named {
        chosen.extend(outcomes.iter().copied().filter(|it| is_named(&it.resource, name)));
    }
    for spec in &expected.resource_specs {
        chosen.extend(outcomes.iter().copied().filter(|it| is_specified(&it.resource, spec)));
    }
    let targets: Vec<&Value> =
        loaded.targets.iter().filter(|it| expected.resources.iter().any(|name| is_named(it, name))).collect();
    if chosen.is_empty() && targets.is_empty() {
        chosen.clone_from(&outcomes);
    }
    let mut rows = Vec::new();
    for outcome in chosen {
        rows.extend(of_outcome(expected, outcome, loaded, files));
    }
    for target in targets {
        rows.extend(of_target(expected, target, &outcomes, files));
    }
    Ok(rows)
}

fn is_named(resource: &Value, name: &str) -> bool {
    let metadata = &resource["metadata"];
    match name.split_once('/') {
        Some((namespace, name)) => metadata["namespace"] == namespace && metadata["name"] == name,
        None => metadata["name"] == name,
    }
}

fn is_specified(resource: &Value, spec: &Value) -> bool {
    let text = |field: &str| spec[field].as_str().unwrap_or_default();
    let api_version = eyot_model::kinds::api_version(text("group"), text("version"));
    let metadata = &resource["metadata"];
    resource["apiVersion"] == api_version.as_str()
        && metadata["name"] == text("name")
        && metadata["namespace"].as_str().unwrap_or_default() == text("namespace")
}

fn show(resource: &Value) -> String {
    let text = |pointer: &str| resource.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let namespace = text("/metadata/namespace");
    format!("{}/{}/{namespace}/{}", text("/apiVersion"), text("/kind"), text("/metadata/name"))
}

fn row(expected: &Expected, rule: &str, resource: &Value, ok: bool, reason: &str, message: &str) -> Row {
    Row {
        policy: expected.policy.clone(),
        rule: rule.to_owned(),
        resource: show(resource),
        expected: expected.result.clone(),
        ok,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

fn is_policy(expected: &Expected, response: &Response) -> bool {
    expected.policy.rsplit('/').next() == Some(response.policy.as_str())
}

fn is_rule(expected: &Expected, response: &Response, rule: &str) -> bool {
    expected.rule.is_empty() || !response.has_rules || rule == expected.rule || autogen::origin(rule) == expected.rule
}

fn of_outcome(expected: &Expected, outcome: &Outcome, loaded: &Loaded, files: &dyn Files) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut left_out = false;
    let responses = outcome.responses.iter().filter(|it| is_policy(expected, it));
    for response in responses {
        for rule in response.rules.iter().filter(|it| is_rule(expected, response, &it.rule)) {
            for row in of_rule(expected, outcome, response, rule, files) {
                match row {
                    Some(row) => rows.push(row),
                    None => left_out = true,
                }
            }
        }
        if rows.is_empty() && !left_out {
            // The policy is not about this resource.
            rows.push(row(expected, &expected.rule, &outcome.resource, true, "Excluded", ""));
        }
    }
    if rows.is_empty() && !left_out {
        let other = loaded.others.iter().find(|it| expected.policy.rsplit('/').next() == Some(it.1.as_str()));
        let (reason, message) = other.map_or(("Not found", ""), |it| ("Not judged", it.2.as_str()));
        rows.push(row(expected, &expected.rule, &outcome.resource, false, reason, message));
    }
    rows
}

/// The rows of one rule; nothing for a resource that the expected file does not have.
fn of_rule(
    expected: &Expected,
    outcome: &Outcome,
    response: &Response,
    rule: &RuleResult,
    files: &dyn Files,
) -> Vec<Option<Row>> {
    let status = |resource: &Value| {
        let found = status(response, rule);
        let ok = found == expected.result;
        let reason = if ok { "Ok".to_owned() } else { format!("Want {}, got {found}", expected.result) };
        Some(row(expected, &rule.rule, resource, ok, &reason, &rule.message))
    };
    let differs =
        |resource: &Value, why: String| Some(row(expected, &rule.rule, resource, false, "Resource diff", &why));
    if rule.kind == RuleKind::Generation && !rule.generated.is_empty() {
        let each = rule.generated.iter().map(|made| {
            let wanted: Vec<&String> = match expected.generated_resources.is_empty() {
                true => Some(&expected.generated_resource).filter(|it| !it.is_empty()).into_iter().collect(),
                false => expected.generated_resources.iter().collect(),
            };
            if wanted.is_empty() {
                return status(&made.object);
            }
            let results: Vec<Found> = wanted.into_iter().map(|it| same_in(it, &made.object, files)).collect();
            if results.iter().any(|it| matches!(it, Found::Same)) {
                return status(&made.object);
            }
            differs(&made.object, results.into_iter().map(Found::why).collect::<Vec<_>>().join("; "))
        });
        return each.collect();
    }
    if !expected.patched_resources.is_empty() {
        let patched = if rule.kind == RuleKind::Mutation { &response.patched } else { &outcome.resource };
        match same_in(&expected.patched_resources, patched, files) {
            Found::Same => {}
            Found::Missing if !expected.fail_on_missing_resources => return vec![None],
            other => return vec![differs(&outcome.resource, other.why())],
        }
    }
    vec![status(&outcome.resource)]
}

fn status(response: &Response, rule: &RuleResult) -> &'static str {
    match rule.status {
        Status::Fail if !response.is_scored => Status::Warn.as_str(),
        other => other.as_str(),
    }
}

fn of_target(expected: &Expected, target: &Value, outcomes: &[&Outcome], files: &dyn Files) -> Vec<Row> {
    let is_target = |it: &Value| {
        it["apiVersion"] == target["apiVersion"]
            && it["kind"] == target["kind"]
            && it["metadata"]["name"] == target["metadata"]["name"]
            && it["metadata"]["namespace"] == target["metadata"]["namespace"]
    };
    let mut rows = Vec::new();
    for response in outcomes.iter().flat_map(|it| &it.responses).filter(|it| is_policy(expected, it)) {
        for rule in response.rules.iter().filter(|it| is_rule(expected, response, &it.rule)) {
            let Some(patched) = rule.targets.iter().find(|it| is_target(it)) else { continue };
            let found = match expected.patched_resources.as_str() {
                "" => Found::Same,
                path => same_in(path, patched, files),
            };
            rows.push(match found {
                Found::Same => {
                    let ok = expected.result == "pass";
                    row(expected, &rule.rule, target, ok, if ok { "Ok" } else { "Got pass" }, &rule.message)
                }
                other => row(expected, &rule.rule, target, false, "Resource diff", &other.why()),
            });
        }
    }
    if rows.is_empty() {
        rows.push(row(expected, &expected.rule, target, false, "Not found", "the target was not changed"));
    }
    rows
}

enum Found {
    Same,
    Missing,
    Different(String),
}

impl Found {
    fn why(self) -> String {
        match self {
            Found::Same => String::new(),
            Found::Missing => "not found in manifest".to_owned(),
            Found::Different(why) => why,
        }
    }
}

/// Whether a file has the same resource as one that was made.
fn same_in(path: &str, made: &Value, files: &dyn Files) -> Found {
    let all = match load::objects(&[path.to_owned()], files) {
        Ok(all) => all,
        Err(why) => return Found::Different(why),
    };
    let mut made = made.clone();
    let name = |it: &Value| {
        let fields = ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"];
        fields.map(|field| it.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned())
    };
    let wanted = name(&made);
    let Some(mut expected) = all.into_iter().find(|it| name(it) == wanted) else { return Found::Missing };
    tidy_labels(&mut made);
    tidy_labels(&mut expected);
    let (made, expected) = (tidy(&made).unwrap_or_default(), tidy(&expected).unwrap_or_default());
    if text::equal(&made, &expected) {
        return Found::Same;
    }
    Found::Different(difference(&made, &expected, ""))
}

/// Labels that generation adds do not count.
fn tidy_labels(object: &mut Value) {
    if !object["metadata"]["labels"].is_object() {
        object["metadata"]["labels"] = Value::Object(Map::new());
    }
    if let Some(labels) = object["metadata"]["labels"].as_object_mut() {
        labels.retain(|key, _| !key.starts_with("generate.kyverno.io/"));
        labels.entry(label::MANAGED_BY).or_insert_with(|| label::KYVERNO.into());
    }
}

/// Without nulls and empty maps and lists.
fn tidy(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(all) => {
            let kept: Map<String, Value> = all.iter().filter_map(|(key, it)| Some((key.clone(), tidy(it)?))).collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(all) => {
            let kept: Vec<Value> = all.iter().filter_map(tidy).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        other => Some(other.clone()),
    }
}

/// The first place at which two values differ.
fn difference(made: &Value, expected: &Value, path: &str) -> String {
    match (made, expected) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left.keys().chain(right.keys().filter(|it| !left.contains_key(*it)));
            for key in keys {
                let (left, right) = (left.get(key).unwrap_or(&Value::Null), right.get(key).unwrap_or(&Value::Null));
                if !text::equal(left, right) {
                    return difference(left, right, &format!("{path}.{key}"));
                }
            }
            String::new()
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let at = left.iter().zip(right).position(|(left, right)| !text::equal(left, right)).unwrap_or(0);
            difference(&left[at], &right[at], &format!("{path}[{at}]"))
        }
        _ => format!("{path} is {made}, not {expected}"),
    }
}
