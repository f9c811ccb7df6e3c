//! Type checking of validating policies, whose outcome stands in their status. Entry point: [`check`].

use std::collections::BTreeSet;

use eyot_model::{
    kinds::{Kind, split_api_version},
    meta,
};
use eyot_policy::{Data, rule::Rule};
use eyot_rules::types::{self, Type};
use serde_json::{Value, json};

/// Kinds that one policy is checked against.
const KINDS_MAX: usize = 10;

/// `status.typeChecking`: what is certainly wrong in each expression, for each kind that the rules name without stars.
pub fn check(policy: &Value, data: &dyn Data) -> Value {
    let spec = &policy["spec"];
    let table = data.kinds();
    let mut wanted: BTreeSet<(String, String, String)> = BTreeSet::new();
    for rule in meta::list(spec.pointer("/matchConstraints/resourceRules")) {
        let rule = Rule::read(rule);
        let named = rule.named().filter_map(|(group, version, plural)| table.by_plural(group, version, plural));
        wanted.extend(named.map(|it| (it.group.clone(), it.version.clone(), it.kind.clone())));
    }
    let kinds = wanted.iter().take(KINDS_MAX).filter_map(|(group, version, kind)| table.by_kind(group, version, kind));
    let kinds: Vec<&Kind> = kinds.map(AsRef::as_ref).collect();
    let params = spec.get("paramKind").and_then(|it| {
        let (group, version) = split_api_version(it["apiVersion"].as_str()?);
        table.by_kind(group, version, it["kind"].as_str()?)
    });
    let params = params.map_or(Type::Dyn, |it| Type::of(it));
    let mut warnings = Vec::new();
    for (i, validation) in meta::list(spec.get("validations")).iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let text = validation[field].as_str().unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            let told: Vec<String> = kinds.iter().filter_map(|kind| wrong(text, kind, &params, spec)).collect();
            if !told.is_empty() {
                let field = format!("spec.validations[{i}].{field}");
                warnings.push(json!({"fieldRef": field, "warning": told.join("\n")}));
            }
        }
    }
    if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) }
}

fn wrong(text: &str, kind: &Kind, params: &Type<'_>, spec: &Value) -> Option<String> {
    let names = [("object", Type::of(kind)), ("oldObject", Type::of(kind)), ("params", params.clone())];
    let mut variables: Vec<(String, Type<'_>)> = Vec::new();
    for variable in meta::list(spec.get("variables")) {
        let text = |field: &str| variable[field].as_str().unwrap_or_default();
        // A variable that is wrong is told nowhere in Kubernetes either; what uses it may be anything.
        let of = types::check(text("expression"), &names, &variables).unwrap_or(Type::Dyn);
        variables.push((text("name").to_owned(), of));
    }
    let error = types::check(text, &names, &variables).err()?;
    Some(format!("{}, Kind={}: ERROR: {error}\n", kind.api_version(), kind.kind))
}
