//! What of a policy could be evaluated and is refused all the same: it has no effect, or is not allowed where it stands.
//!
//! Entry points: [`policy`], [`exception`]. What is refused, and the words for it, are Kyverno's.

use std::collections::HashSet;

use eyot_model::kinds::Table;
use serde_json::Value;

use crate::{
    Flaw, Policy,
    matching::{KindPattern, Match, SubjectRef},
    podsecurity,
    spec::{Generate, Mutate, PodSecurityExclude, Rule},
    wildcard,
};

/// Everything that is refused of a policy that compiles; `own` counts the rules that it was written with.
pub(super) fn policy(raw: &Value, policy: &Policy, own: usize, kinds: &Table) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    of_spec(&raw["spec"], policy, &mut flaws);
    let mut names = HashSet::new();
    for (at, compiled) in policy.rules.iter().take(own).enumerate() {
        let (rule, raw, path) = (&compiled.rule, &raw["spec"]["rules"][at], format!("spec.rules[{at}]"));
        if !names.insert(rule.name.as_str()) {
            flaws.push(Flaw::new(format!("{path}.name"), format!("Duplicate rule name: '{}'", rule.name)));
        }
        of_filters(rule, raw, &path, &mut flaws);
        if policy.spec.background && rule.validate.is_some() {
            subresources(rule, &path, kinds, &mut flaws);
        }
        if !rule.cel_preconditions.is_empty() && rule.validate.as_ref().is_none_or(|it| it.cel.is_none()) {
            let why = "celPrecondition can only be used with validate.cel";
            flaws.push(Flaw::new(format!("{path}.celPreconditions"), why));
        }
        if let Some(security) = rule.validate.as_ref().and_then(|it| it.pod_security.as_ref()) {
            let path = format!("{path}.validate.podSecurity.exclude");
            excludes(&security.exclude, &path, security.level == "baseline", &mut flaws);
        }
        if let Some(mutate) = &rule.mutate {
            of_targets(mutate, policy, rule, raw, &path, &mut flaws);
        }
        if let Some(generate) = &rule.generate {
            of_generate(generate, &format!("{path}.generate"), kinds, &mut flaws);
        }
    }
    flaws
}

/// What is refused of the controls that an exception lets pass.
pub(super) fn exception(raw: &Value) -> Vec<Flaw> {
    let controls: Vec<PodSecurityExclude> =
        serde_json::from_value(raw["spec"]["podSecurity"].clone()).unwrap_or_default();
    let mut flaws = Vec::new();
    excludes(&controls, "spec.podSecurity", false, &mut flaws);
    flaws
}

fn of_spec(spec: &Value, policy: &Policy, flaws: &mut Vec<Flaw>) {
    let webhook = &spec["webhookConfiguration"];
    let timeouts = [
        ("webhookTimeoutSeconds", &spec["webhookTimeoutSeconds"]),
        ("webhookConfiguration.timeoutSeconds", &webhook["timeoutSeconds"]),
    ];
    for (field, seconds) in timeouts {
        if seconds.as_i64().is_some_and(|it| !(1..=30).contains(&it)) {
            let why = "the timeout value must be between 1 and 30 seconds";
            flaws.push(Flaw::new(format!("spec.{field}"), why));
        }
    }
    for (deprecated, field) in [("webhookTimeoutSeconds", "timeoutSeconds"), ("failurePolicy", "failurePolicy")] {
        if !spec[deprecated].is_null() && !webhook[field].is_null() {
            let why = format!("remove the deprecated field and use spec.webhookConfiguration.{field} instead");
            flaws.push(Flaw::new(format!("spec.{deprecated}"), why));
        }
    }
    let why = match (policy.spec.admission, policy.spec.background) {
        (false, false) => "disabling both admission and background processing is not allowed",
        (false, true) if policy.rules.iter().any(|it| it.rule.validate.is_none()) => {
            "disabling admission processing is only allowed with validation policies"
        }
        _ => return,
    };
    flaws.push(Flaw::new("spec.admission", why));
}

/// What is wrong with whom a rule is about.
fn of_filters(rule: &Rule, raw: &Value, path: &str, flaws: &mut Vec<Flaw>) {
    for (field, filters) in [("match", Some(&rule.matches)), ("exclude", rule.exclude.as_ref())] {
        let Some(filters) = filters else { continue };
        let path = format!("{path}.{field}");
        if !filters.any.is_empty() && !filters.all.is_empty() {
            flaws.push(Flaw::new(&*path, "Can't specify any and all together"));
        }
        users(filters, &path, flaws);
    }
    let list = |part: &str, field: &str| raw[part][field].as_array().cloned().unwrap_or_default();
    let has_all = !list("match", "all").is_empty() || !list("exclude", "all").is_empty();
    let excluded = list("exclude", "any");
    if !has_all && list("match", "any").iter().any(|it| excluded.contains(it)) {
        flaws.push(Flaw::new(path, "Rule is matching an empty set"));
    }
}

fn users(filters: &Match, path: &str, flaws: &mut Vec<Flaw>) {
    subjects(&filters.subjects, path, flaws);
    roles(&filters.roles, path, flaws);
    for (name, list) in [("any", &filters.any), ("all", &filters.all)] {
        for (at, filter) in list.iter().enumerate() {
            let path = format!("{path}.{name}[{at}]");
            subjects(&filter.subjects, &path, flaws);
            roles(&filter.roles, &path, flaws);
        }
    }
}

fn subjects(all: &[SubjectRef], path: &str, flaws: &mut Vec<Flaw>) {
    for (at, subject) in all.iter().enumerate() {
        let path = format!("{path}.subjects[{at}]");
        match subject.kind.as_str() {
            "ServiceAccount" if subject.namespace.is_empty() => {
                let why = "namespace is required when Kind is ServiceAccount";
                flaws.push(Flaw::new(format!("{path}.namespace"), why));
            }
            "User" | "Group" | "ServiceAccount" => {}
            _ => {
                let why = "kind must be 'User', 'Group', or 'ServiceAccount'";
                flaws.push(Flaw::new(format!("{path}.kind"), why));
            }
        }
    }
}

fn roles(all: &[String], path: &str, flaws: &mut Vec<Flaw>) {
    if let Some(at) = all.iter().position(|it| it.split(':').count() != 2) {
        flaws.push(Flaw::new(format!("{path}.roles[{at}]"), "Role is expected to be in namespace:name format"));
    }
}

/// Stored objects are judged as they are; of a subresource there is nothing to judge.
fn subresources(rule: &Rule, path: &str, kinds: &Table, flaws: &mut Vec<Flaw>) {
    let is_one = |it: &&KindPattern| !it.subresource().is_empty() || is_carried_only(it, kinds);
    if let Some(pattern) = rule.matches.kinds().find(is_one) {
        let why = format!("background scan enabled with subresource {}", pattern.as_str());
        flaws.push(Flaw::new(format!("{path}.match"), why));
    }
}

/// Whether a kind has no objects of its own: subresources such as `scale` carry it.
fn is_carried_only(pattern: &KindPattern, kinds: &Table) -> bool {
    !wildcard::is_glob(pattern.kind())
        && !kinds.iter().any(|it| it.kind == pattern.kind())
        && kinds.iter().any(|it| it.subresources.iter().any(|it| it.kind == pattern.kind()))
}

fn excludes(all: &[PodSecurityExclude], path: &str, is_baseline: bool, flaws: &mut Vec<Flaw>) {
    for (at, exclude) in all.iter().enumerate() {
        let whys = [
            ("controlName", podsecurity::misplaced(exclude, is_baseline)),
            (
                "values",
                (!exclude.restricted_field.is_empty() && exclude.values.is_empty()).then_some("values is required"),
            ),
            (
                "restrictedField",
                (exclude.restricted_field.is_empty() && !exclude.values.is_empty())
                    .then_some("restrictedField is required"),
            ),
        ];
        let told = whys.into_iter().filter_map(|(field, why)| Some((field, why?)));
        flaws.extend(told.map(|(field, why)| Flaw::new(format!("{path}[{at}].{field}"), why)));
    }
}

/// What a rule that changes other objects says before these are known.
fn of_targets(mutate: &Mutate, policy: &Policy, rule: &Rule, raw: &Value, path: &str, flaws: &mut Vec<Flaw>) {
    if mutate.targets.is_empty() {
        if policy.spec.mutate_existing_on_policy_update {
            let why = "has to be specified when mutateExistingOnPolicyUpdate is set";
            flaws.push(Flaw::new(format!("{path}.mutate.targets"), why));
        }
        return;
    }
    if rule.context.iter().any(|it| &*it.name == "target") {
        return;
    }
    for field in ["context", "preconditions"] {
        if names_target(&raw[field]) {
            let why = "variable target is not known there: it is what mutate.targets find afterwards";
            flaws.push(Flaw::new(format!("{path}.{field}"), why));
        }
    }
}

/// Whether an expression in a value begins at the variable `target`.
fn names_target(value: &Value) -> bool {
    match value {
        Value::String(text) => text.split("{{").skip(1).any(|it| {
            let inside = it.split("}}").next().unwrap_or_default();
            inside.trim_start().starts_with("target.")
        }),
        Value::Array(all) => all.iter().any(names_target),
        Value::Object(all) => all.values().any(names_target),
        _ => false,
    }
}

fn of_generate(generate: &Generate, path: &str, kinds: &Table, flaws: &mut Vec<Flaw>) {
    if ways(generate) > 1 {
        let why = "only one of generate patterns(data, clone, cloneList and foreach) can be specified";
        flaws.push(Flaw::new(path, why));
    }
    let each = generate.foreach.iter().map(|it| &it.pattern);
    for pattern in std::iter::once(&generate.pattern).chain(each) {
        let why = match kinds.by_api_version(&pattern.api_version, &pattern.kind) {
            Some(kind) if kind.namespaced && pattern.namespace.is_empty() => {
                "target namespace must be set for a namespaced resource"
            }
            Some(kind) if !kind.namespaced && !pattern.namespace.is_empty() => {
                "target namespace must not be set for a cluster-wide resource"
            }
            _ => continue,
        };
        flaws.push(Flaw::new(format!("{path}.namespace"), why));
    }
}

/// In how many ways a rule says what it makes.
fn ways(generate: &Generate) -> usize {
    let pattern = &generate.pattern;
    let ways =
        [pattern.data.is_some(), pattern.clone.is_some(), pattern.clone_list.is_some(), !generate.foreach.is_empty()];
    ways.into_iter().filter(|it| *it).count()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use eyot_model::kinds::builtin;
    use serde_json::json;

    use super::*;

    fn refused(spec: Value) -> String {
        let raw =
            json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": spec});
        let compiled = Policy::compile(&raw).unwrap_or_else(|it| panic!("{it:?}"));
        let own = raw["spec"]["rules"].as_array().map_or(0, Vec::len);
        policy(&raw, &compiled, own, builtin()).iter().map(|it| format!("{it}\n")).collect()
    }

    fn rule(matching: Value, body: Value) -> Value {
        let mut rule = body;
        rule["name"] = "r".into();
        rule["match"] = matching;
        rule
    }

    fn of_kind(kind: &str) -> Value {
        json!({"any": [{"resources": {"kinds": [kind]}}]})
    }

    #[test]
    fn what_a_policy_says_of_itself_must_have_an_effect() {
        let deny = || json!([rule(of_kind("Pod"), json!({"validate": {"deny": {}}}))]);
        let label = json!([rule(of_kind("Pod"), json!({"mutate": {"patchStrategicMerge": {"a": "b"}}}))]);
        let all = [
            refused(json!({"rules": deny(), "webhookTimeoutSeconds": 30, "admission": false})),
            refused(json!({"rules": deny(), "webhookTimeoutSeconds": 31})),
            refused(json!({"rules": deny(), "failurePolicy": "Fail",
                "webhookConfiguration": {"timeoutSeconds": -1, "failurePolicy": "Ignore"}})),
            refused(json!({"rules": deny(), "admission": false, "background": false})),
            refused(json!({"rules": label, "admission": false})),
            refused(json!({"rules": label, "mutateExistingOnPolicyUpdate": true})),
            refused(json!({"rules": [deny()[0], deny()[0]]})),
        ];
        expect![[r#"
            spec.webhookTimeoutSeconds: the timeout value must be between 1 and 30 seconds
            spec.webhookConfiguration.timeoutSeconds: the timeout value must be between 1 and 30 seconds
            spec.failurePolicy: remove the deprecated field and use spec.webhookConfiguration.failurePolicy instead
            spec.admission: disabling both admission and background processing is not allowed
            spec.admission: disabling admission processing is only allowed with validation policies
            spec.rules[0].mutate.targets: has to be specified when mutateExistingOnPolicyUpdate is set
            spec.rules[1].name: Duplicate rule name: 'r'
        "#]]
        .assert_eq(&all.concat());
    }

    #[test]
    fn a_rule_is_about_what_can_be_and_nothing_of_it_is_idle() {
        let one = |matching: Value, body: Value| refused(json!({"rules": [rule(matching, body)]}));
        let deny = || json!({"validate": {"deny": {}}});
        let by = |subject: Value| json!({"any": [{"resources": {"kinds": ["ConfigMap"]}, "subjects": [subject]}]});
        let mut same = deny();
        same["exclude"] = of_kind("Pod");
        let secure = |exclude: Value| json!({"validate": {"podSecurity": {"level": "baseline", "exclude": [exclude]}}});
        let conditions = json!([{"name": "c", "expression": "true"}]);
        let target = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "t"});
        let made = |api_version: &str, kind: &str, namespace: &str| {
            json!({"generate":
            {"apiVersion": api_version, "kind": kind, "name": "n", "namespace": namespace, "data": {}}})
        };
        let all = [
            one(of_kind("Scale"), deny()),
            one(of_kind("*/*"), deny()),
            one(of_kind("Pod"), deny()),
            one(json!({"any": [{}], "all": [{}]}), deny()),
            one(by(json!({"kind": "Foo", "name": "f"})), deny()),
            one(by(json!({"kind": "ServiceAccount", "name": "f"})), deny()),
            one(of_kind("Pod"), same),
            one(of_kind("Pod"), json!({"celPreconditions": conditions, "validate": {"deny": {}}})),
            one(of_kind("Pod"), secure(json!({"controlName": "Capabilities"}))),
            one(of_kind("Pod"), secure(json!({"controlName": "Volume Types", "values": ["a"]}))),
            one(of_kind("Pod"), secure(json!({"controlName": "Sysctls", "restrictedField": "spec.x"}))),
            one(
                of_kind("ConfigMap"),
                json!({
                    "preconditions": {"all": [{"key": "{{ target.data.a }}", "operator": "Equals", "value": "b"}]},
                    "mutate": {"targets": [target], "patchStrategicMerge": {"data": {"a": "b"}}},
                }),
            ),
            one(
                of_kind("Namespace"),
                json!({"generate": {"apiVersion": "v1", "kind": "Secret", "name": "s",
                "namespace": "n", "data": {}, "clone": {"name": "a", "namespace": "b"}}}),
            ),
            one(of_kind("Namespace"), made("v1", "Secret", "")),
            one(of_kind("Namespace"), made("v1", "Namespace", "n")),
        ];
        expect![[r#"
            spec.rules[0].match: background scan enabled with subresource Scale
            spec.rules[0].match: background scan enabled with subresource */*
            spec.rules[0].match: Can't specify any and all together
            spec.rules[0].match.any[0].subjects[0].kind: kind must be 'User', 'Group', or 'ServiceAccount'
            spec.rules[0].match.any[0].subjects[0].namespace: namespace is required when Kind is ServiceAccount
            spec.rules[0]: Rule is matching an empty set
            spec.rules[0].celPreconditions: celPrecondition can only be used with validate.cel
            spec.rules[0].validate.podSecurity.exclude[0].controlName: exclude.images must be specified for the container level control
            spec.rules[0].validate.podSecurity.exclude[0].controlName: Invalid control name defined at the given level
            spec.rules[0].validate.podSecurity.exclude[0].restrictedField: restrictedField is required
            spec.rules[0].validate.podSecurity.exclude[0].values: values is required
            spec.rules[0].preconditions: variable target is not known there: it is what mutate.targets find afterwards
            spec.rules[0].generate: only one of generate patterns(data, clone, cloneList and foreach) can be specified
            spec.rules[0].generate.namespace: target namespace must be set for a namespaced resource
            spec.rules[0].generate.namespace: target namespace must not be set for a cluster-wide resource
        "#]]
        .assert_eq(&all.concat());
    }

    #[test]
    fn an_exception_says_which_containers_it_is_about() {
        let raw = json!({"spec": {"podSecurity": [{"controlName": "Capabilities"}, {"controlName": "Sysctls", "images": ["a"]}]}});
        let told: String = exception(&raw).iter().map(|it| format!("{it}\n")).collect();
        assert!(told.contains("spec.podSecurity[0].controlName: exclude.images must be specified"), "{told}");
        assert!(told.contains("spec.podSecurity[1].controlName: exclude.images must not be specified"), "{told}");
    }
}
