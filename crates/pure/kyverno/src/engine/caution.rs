//! What somebody who writes a policy is warned about. Entry point: [`warnings`].
//!
//! Words are Kyverno's: deprecated operators, kinds that nobody serves, fields that an expression in CEL looks for in vain.

use eyot_model::kinds::{Kind, Table};
use eyot_policy::Data;
use serde_json::{Value, json};

use crate::{Policy, matching::KindPattern, spec::Rule, wildcard};

/// Warnings about the rules that a policy was written with, which `own` counts.
pub(super) fn warnings(raw: &Value, policy: &Policy, own: usize, data: &dyn Data) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(action @ ("enforce" | "audit")) = raw["spec"]["validationFailureAction"].as_str() {
        all.push(format!("Validation failure action {action} is deprecated, use Enforce or Audit instead."));
    }
    let table = data.kinds();
    for (at, compiled) in policy.rules.iter().take(own).enumerate() {
        let raw = &raw["spec"]["rules"][at];
        unserved(&compiled.rule, &table, &mut all);
        operators(&raw["validate"], &mut all);
        all.extend(typed(raw, &compiled.rule, at, &table, data));
    }
    all.dedup();
    all
}

/// What rules say of where their objects lie, and from what they are copied; what they hold may change.
fn targets(policy: &Value) -> Vec<Value> {
    let rules = policy["spec"]["rules"].as_array().into_iter().flatten();
    let generate = rules.filter_map(|it| it.get("generate")?.as_object());
    let kept = generate.map(|it| {
        const CHANGING: [&str; 5] =
            ["data", "foreach", "synchronize", "orphanDownstreamOnPolicyDelete", "generateExisting"];
        Value::Object(it.iter().filter(|it| !CHANGING.contains(&it.0.as_str())).map(owned).collect())
    });
    kept.collect()
}

fn owned((field, value): (&String, &Value)) -> (String, Value) {
    (field.clone(), value.clone())
}

/// What a policy made stays where its rules do not look any more.
pub(super) fn stale(old: &Value, new: &Value) -> Option<String> {
    let targets = (targets(old), targets(new));
    let why = "no synchronization will be performed to the old target resource upon policy updates: changes in the generate \
               rule pattern could result in stale targets";
    targets.0.iter().any(|it| !targets.1.contains(it)).then(|| why.to_owned())
}

/// Kinds that nothing serves: a slip of the pen, or a definition that is still to come.
fn unserved(rule: &Rule, table: &Table, all: &mut Vec<String>) {
    let excluded = rule.exclude.iter().flat_map(|it| it.kinds());
    for pattern in rule.matches.kinds().chain(excluded) {
        let has = |it: &Kind| match pattern.subresource() {
            "" => true,
            sub => it.subresources.iter().any(|it| wildcard::matches(sub, &it.name)),
        };
        let carried = |it: &Kind| {
            let mut all = it.subresources.iter();
            pattern.subresource().is_empty() && all.any(|it| pattern.is_about(&it.group, &it.version, &it.kind))
        };
        let is_served =
            table.iter().any(|it| (pattern.is_about(&it.group, &it.version, &it.kind) && has(it)) || carried(it));
        if !is_served {
            all.push(format!(
                "the kind defined in the all match resource is invalid: unable to convert GVK to GVR for kinds {}",
                pattern.as_str()
            ));
        }
    }
}

/// Operators of conditions that are deprecated, wherever they stand.
fn operators(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| operators(it, all)),
        Value::Object(fields) => {
            if let (Some(_), Some(operator)) = (fields.get("key"), fields.get("operator").and_then(Value::as_str))
                && let Some(others) = instead_of(operator)
            {
                all.push(format!(
                    "Operator {operator} has been deprecated and will be removed soon. Use these instead: {others}"
                ));
            }
            fields.values().for_each(|it| operators(it, all));
        }
        _ => {}
    }
}

fn instead_of(operator: &str) -> Option<String> {
    let others = match operator {
        "In" => vec!["AllIn", "AnyIn"],
        "NotIn" => vec!["AllNotIn", "AnyNotIn"],
        _ => vec![operator.strip_prefix("Duration")?],
    };
    let quoted: Vec<String> = others.iter().map(|it| format!("{it:?}")).collect();
    Some(format!("[{}]", quoted.join(" ")))
}

/// What is certainly wrong in expressions in CEL for the kinds that a rule names.
fn typed(raw: &Value, rule: &Rule, at: usize, table: &Table, data: &dyn Data) -> Vec<String> {
    const FIELD: &str = "spec.validations";
    let cel = &raw["validate"]["cel"];
    if !cel.is_object() {
        return Vec::new();
    }
    let named = |it: &&KindPattern| it.subresource().is_empty() && !wildcard::is_glob(it.kind());
    let rules = rule.matches.kinds().filter(named).flat_map(|pattern| {
        // One version is enough: expressions see the same fields in most.
        let is_best =
            move |it: &Kind| table.preferred(&it.group, &it.kind).is_some_and(|best| best.version == it.version);
        table.iter().filter(move |it| pattern.is_about(&it.group, &it.version, &it.kind) && is_best(it))
    });
    let rules = rules.map(|it| json!({"apiGroups": [it.group], "apiVersions": [it.version], "resources": [it.plural]}));
    let rules: Vec<Value> = rules.collect();
    let as_kubernetes_has_it = json!({"spec": {
        "matchConstraints": {"resourceRules": rules},
        "validations": cel["expressions"],
        "variables": cel["variables"],
        "paramKind": cel["paramKind"],
    }});
    let checked = eyot_vap::type_check(&as_kubernetes_has_it, data);
    let told = |it: &Value| {
        let field = it["fieldRef"].as_str().unwrap_or_default();
        let field = field.replacen(FIELD, &format!("spec.rules[{at}].validate.cel.expressions"), 1);
        format!("{field}:{}", it["warning"].as_str().unwrap_or_default().replace('\n', ";"))
    };
    checked["expressionWarnings"].as_array().into_iter().flatten().map(told).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use eyot_policy::Objects;

    use super::*;

    fn warned(kind: &str, body: Value) -> String {
        let mut rule = body;
        rule["name"] = "r".into();
        rule["match"] = json!({"any": [{"resources": {"kinds": [kind]}}]});
        let raw = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"rules": [rule]}});
        let policy = Policy::compile(&raw).unwrap_or_else(|it| panic!("{it:?}"));
        warnings(&raw, &policy, 1, &Objects::new([])).iter().map(|it| format!("{it}\n")).collect()
    }

    #[test]
    fn a_change_of_where_objects_lie_is_warned_about() {
        let of = |name: &str, data: &str| json!({"spec": {"rules": [{"name": "r", "generate": {"kind": "Secret", "name": name, "data": data}}]}});
        assert_eq!(stale(&of("a", "x"), &of("a", "y")), None);
        assert!(stale(&of("a", "x"), &of("b", "x")).is_some_and(|it| it.contains("stale targets")));
    }

    #[test]
    fn what_is_old_or_in_vain_is_warned_about() {
        let deny = |operator: &str| json!({"validate": {"deny": {"conditions": {"any": [{"key": "a", "operator": operator, "value": ["b"]}]}}}});
        let cel = |text: &str| json!({"validate": {"cel": {"expressions": [{"expression": text}]}}});
        let all = [
            warned("Pod", deny("AnyIn")),
            warned("Pod", deny("NotIn")),
            warned("Pod", deny("DurationGreaterThan")),
            warned("Podd", deny("AnyIn")),
            warned("Pod/scale", deny("AnyIn")),
            warned("Deployment/scale", deny("AnyIn")),
            warned("Scale", deny("AnyIn")),
            warned("apps/v1/Deploy*", cel("object.replicas > 1")),
            warned("Deployment", cel("object.spec.replicas > 1")),
            warned("Deployment", cel("object.replicas > 1")),
        ];
        expect![[r#"
            Operator NotIn has been deprecated and will be removed soon. Use these instead: ["AllNotIn" "AnyNotIn"]
            Operator DurationGreaterThan has been deprecated and will be removed soon. Use these instead: ["GreaterThan"]
            the kind defined in the all match resource is invalid: unable to convert GVK to GVR for kinds Podd
            the kind defined in the all match resource is invalid: unable to convert GVK to GVR for kinds Pod/scale
            spec.rules[0].validate.cel.expressions[0].expression:apps/v1, Kind=Deployment: ERROR: undefined field 'replicas';
        "#]]
        .assert_eq(&all.concat());
    }
}
