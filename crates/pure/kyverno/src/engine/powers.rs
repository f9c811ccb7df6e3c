//! What a policy would do by itself: whoever writes it must be allowed to do that. Entry point: [`powers`].
//!
//! The server makes, changes and deletes what policies want with all of its own rights. So nobody may want of a policy what
//! they could not do themselves, just as nobody grants a role that they do not hold. Where a kind or a namespace follows
//! only from a variable or an expression, it may be any.

use eyot_model::{
    kinds::{Kind, Table, split_api_version},
    meta, rbac,
};
use eyot_policy::Power;
use serde_json::Value;

use super::check::is_cel;
use crate::{
    Policy,
    celpolicy::Role,
    matching::{KindPattern, Match},
    spec::{Generate, GeneratePattern, Mutate},
    variables, wildcard,
};

const ANY: &str = "*";

/// What an object of the engine would do by itself.
pub(super) fn powers(object: &Value, kinds: &Table) -> Vec<Power> {
    let own = meta::namespace(object).unwrap_or_default();
    let mut powers = Powers { kinds, own, all: Vec::new() };
    let kind = object["kind"].as_str().unwrap_or_default();
    match (is_cel(object), kind) {
        (true, _) => powers.of_cel(&object["spec"], kind),
        (false, "ClusterPolicy" | "Policy") => powers.of_rules(object),
        (false, "ClusterCleanupPolicy" | "CleanupPolicy") => {
            let matches: Match = serde_json::from_value(object["spec"]["match"].clone()).unwrap_or_default();
            matches.kinds().for_each(|it| powers.on_pattern(&["delete"], it, "", "spec.match"));
        }
        _ => {}
    }
    let mut all = powers.all;
    all.dedup();
    all
}

struct Powers<'p> {
    kinds: &'p Table,
    /// The namespace that the policy cannot leave, or empty.
    own: &'p str,
    all: Vec<Power>,
}

impl Powers<'_> {
    fn of_rules(&mut self, object: &Value) {
        let Ok(policy) = Policy::compile(object) else { return };
        for (at, rule) in policy.rules.iter().map(|it| &it.rule).enumerate() {
            let path = format!("spec.rules[{at}]");
            if let Some(generate) = &rule.generate {
                self.of_generate(generate, &format!("{path}.generate"));
            }
            if let Some(mutate) = &rule.mutate {
                self.of_targets(mutate, &format!("{path}.mutate.targets"));
            }
        }
    }

    fn of_generate(&mut self, generate: &Generate, field: &str) {
        let verbs: &[&str] = if generate.synchronize { &["create", "update", "delete"] } else { &["create"] };
        let each = generate.foreach.iter().map(|it| &it.pattern);
        for GeneratePattern { api_version, kind, namespace, clone, clone_list, .. } in
            std::iter::once(&generate.pattern).chain(each)
        {
            if let Some(list) = clone_list {
                for kind in list.kinds.iter().map(|it| KindPattern::parse(it)) {
                    self.on_pattern(verbs, &kind, namespace, field);
                    self.on_pattern(&["list"], &kind, &list.namespace, field);
                }
            } else if !kind.is_empty() {
                self.on_kind(verbs, (api_version, kind), namespace, field);
                if let Some(from) = clone {
                    self.on_kind(&["get"], (api_version, kind), &from.namespace, field);
                }
            }
        }
    }

    fn of_targets(&mut self, mutate: &Mutate, field: &str) {
        for target in &mutate.targets {
            let kind = target.kind.split_once('/').map_or(target.kind.as_str(), |it| it.0);
            self.on_kind(&["update"], (&target.api_version, kind), &target.namespace, field);
        }
    }

    fn of_cel(&mut self, spec: &Value, kind: &str) {
        match Role::of(kind) {
            // Expressions may make anything.
            Some(Role::Generator) => self.on_anything("", "spec.generate"),
            Some(Role::Deleter) => self.on_resources("delete", &spec["matchConstraints"], "spec.matchConstraints"),
            Some(Role::Policy { mutates: true }) if spec["evaluation"]["mutateExisting"]["enabled"] == true => {
                let targets = &spec["targetMatchConstraints"];
                if targets["expression"].as_str().is_some_and(|it| !it.is_empty()) {
                    self.on_anything("", "spec.targetMatchConstraints");
                } else if meta::list(targets.get("resourceRules")).is_empty() {
                    self.on_resources("update", &spec["matchConstraints"], "spec.matchConstraints");
                } else {
                    self.on_resources("update", targets, "spec.targetMatchConstraints");
                }
            }
            _ => {}
        }
    }

    /// Verbs on a kind by its names, which may be variables.
    fn on_kind(&mut self, verbs: &[&'static str], (api_version, kind): (&str, &str), namespace: &str, field: &str) {
        let is_known = |it: &str| variables::is_plain(it) && !wildcard::is_glob(it);
        let (group, version) = split_api_version(api_version);
        let found = if version.is_empty() {
            self.kinds.iter().find(|it| it.kind == kind)
        } else {
            self.kinds.by_kind(group, version, kind)
        };
        match found.filter(|_| is_known(api_version) && is_known(kind)).cloned() {
            Some(kind) => self.on(verbs, &kind, namespace, field),
            None => self.on_anything(namespace, field),
        }
    }

    /// Verbs on all kinds that a pattern names.
    fn on_pattern(&mut self, verbs: &[&'static str], pattern: &KindPattern, namespace: &str, field: &str) {
        let kinds = self.kinds;
        let named = kinds.iter().filter(|it| pattern.is_about(&it.group, &it.version, &it.kind));
        let named: Vec<_> = named.filter(|_| !wildcard::is_glob(pattern.kind())).collect();
        if named.is_empty() {
            self.on_anything(namespace, field);
        }
        named.into_iter().for_each(|it| self.on(verbs, it, namespace, field));
    }

    /// A verb on the resources of a `matchConstraints`.
    fn on_resources(&mut self, verb: &'static str, constraints: &Value, field: &str) {
        let texts = |rule: &Value, field: &str| -> Vec<String> {
            meta::list(rule.get(field)).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        for rule in meta::list(constraints.get("resourceRules")) {
            for group in texts(rule, "apiGroups") {
                for resource in texts(rule, "resources").iter().filter(|it| !it.contains('/')) {
                    let namespace = self.own.to_owned();
                    self.push(verb, &group, resource, namespace, field);
                }
            }
        }
    }

    fn on(&mut self, verbs: &[&'static str], kind: &Kind, namespace: &str, field: &str) {
        let place = if kind.namespaced { self.place(namespace) } else { String::new() };
        for verb in verbs.iter().copied() {
            self.push(verb, &kind.group, &kind.plural, place.clone(), field);
        }
        if kind.group != rbac::GROUP || !verbs.iter().any(|it| ["create", "update"].contains(it)) {
            return;
        }
        // Who may write a role may not thereby write any role.
        match kind.plural.as_str() {
            "roles" | "clusterroles" => self.push("escalate", &kind.group, &kind.plural, place, field),
            _ => {
                for role in ["roles", "clusterroles"] {
                    self.push("bind", &kind.group, role, place.clone(), field);
                }
            }
        }
    }

    /// Everything, since it is not known what it will be.
    fn on_anything(&mut self, namespace: &str, field: &str) {
        // Without a namespace of its own a policy may turn to kinds that have none.
        let place = if self.own.is_empty() { String::new() } else { self.place(namespace) };
        self.push(ANY, ANY, ANY, place, field);
    }

    /// The namespace that a text stands for; empty for any.
    fn place(&self, namespace: &str) -> String {
        let is_known = variables::is_plain(namespace) && !wildcard::is_glob(namespace);
        match (self.own, is_known) {
            ("", true) => namespace.to_owned(),
            ("", false) => String::new(),
            (own, _) => own.to_owned(),
        }
    }

    fn push(&mut self, verb: &'static str, group: &str, resource: &str, namespace: String, field: &str) {
        let (group, resource, field) = (group.to_owned(), resource.to_owned(), field.to_owned());
        self.all.push(Power { verb, group, resource, namespace, field });
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use eyot_model::kinds::builtin;
    use serde_json::json;

    use super::*;

    fn of(group: &str, kind: &str, namespace: Option<&str>, spec: Value) -> String {
        let object = json!({"apiVersion": format!("{group}/v1"), "kind": kind,
            "metadata": {"name": "p", "namespace": namespace}, "spec": spec});
        let one = |it: Power| format!("{} {}/{} in {:?}\n", it.verb, it.group, it.resource, it.namespace);
        powers(&object, builtin()).into_iter().map(one).collect()
    }

    fn rule(body: Value) -> Value {
        let mut rule = body;
        rule["name"] = "r".into();
        rule["match"] = json!({"any": [{"resources": {"kinds": ["Namespace"]}}]});
        json!({"rules": [rule]})
    }

    fn generate(mut pattern: Value, api_version: &str, kind: &str) -> Value {
        pattern["apiVersion"] = api_version.into();
        pattern["kind"] = kind.into();
        pattern["name"] = "n".into();
        rule(json!({ "generate": pattern }))
    }

    #[test]
    fn a_rule_may_do_what_its_author_may() {
        let named = json!({"namespace": "{{ request.object.metadata.name }}", "synchronize": true, "data": {}});
        let copied = json!({"namespace": "x", "clone": {"name": "a", "namespace": "kube-system"}});
        let kinds = json!({"namespace": "x", "cloneList": {"namespace": "y", "kinds": ["v1/Secret"]}});
        let target = json!({"mutate": {"targets": [{"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "z"}],
            "patchStrategicMerge": {"a": "b"}}});
        let cluster = |spec: Value| of("kyverno.io", "ClusterPolicy", None, spec);
        let all = [
            cluster(generate(named.clone(), "v1", "ConfigMap")),
            cluster(generate(copied, "v1", "Secret")),
            cluster(rule(json!({ "generate": kinds }))),
            cluster(rule(target)),
            cluster(generate(named.clone(), "v1", "{{ request.object.kind }}")),
            cluster(rule(json!({"validate": {"deny": {}}}))),
            of("kyverno.io", "Policy", Some("own"), generate(named.clone(), "example.org/v1", "Unserved")),
            of("kyverno.io", "Policy", Some("own"), generate(named, "rbac.authorization.k8s.io/v1", "RoleBinding")),
        ];
        expect![[r#"
            create /configmaps in ""
            update /configmaps in ""
            delete /configmaps in ""
            create /secrets in "x"
            get /secrets in "kube-system"
            create /secrets in "x"
            list /secrets in "y"
            update apps/deployments in "z"
            * */* in ""
            * */* in "own"
            create rbac.authorization.k8s.io/rolebindings in "own"
            update rbac.authorization.k8s.io/rolebindings in "own"
            delete rbac.authorization.k8s.io/rolebindings in "own"
            bind rbac.authorization.k8s.io/roles in "own"
            bind rbac.authorization.k8s.io/clusterroles in "own"
        "#]]
        .assert_eq(&all.concat());
    }

    #[test]
    fn so_may_policies_that_clean_up_and_those_in_cel() {
        let pods = json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/status"], "operations": ["*"]}]});
        let cel = "policies.kyverno.io";
        let existing = json!({"mutateExisting": {"enabled": true}});
        let all = [
            of(
                "kyverno.io",
                "CleanupPolicy",
                Some("own"),
                json!({"match": {"any": [{"resources": {"kinds": ["Pod"]}}]}}),
            ),
            of(
                "kyverno.io",
                "ClusterCleanupPolicy",
                None,
                json!({"match": {"any": [{"resources": {"kinds": ["*"]}}]}}),
            ),
            of(cel, "DeletingPolicy", None, json!({"matchConstraints": pods})),
            of(cel, "NamespacedGeneratingPolicy", Some("own"), json!({"generate": []})),
            of(cel, "MutatingPolicy", None, json!({"matchConstraints": pods})),
            of(cel, "MutatingPolicy", None, json!({"matchConstraints": pods, "evaluation": existing})),
            of(
                cel,
                "MutatingPolicy",
                None,
                json!({"targetMatchConstraints": {"expression": "x"}, "evaluation": existing}),
            ),
        ];
        expect![[r#"
            delete /pods in "own"
            * */* in ""
            delete /pods in ""
            * */* in "own"
            update /pods in ""
            * */* in ""
        "#]]
        .assert_eq(&all.concat());
    }
}
