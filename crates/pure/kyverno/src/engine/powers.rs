//! What a policy would do by itself: whoever writes it must be allowed to do that. Entry point: [`powers`].
//!
//! The server makes, changes, deletes and reads what policies want with all of its own rights. So nobody may want of a policy
//! what they could not do themselves, just as nobody grants a role that they do not hold: what a policy reads may come out
//! in a message or in an object that it makes. Where a kind or a namespace follows only from a variable or an expression, it
//! may be any.

use std::sync::LazyLock;

use eyot_model::{
    kinds::{Kind, Table, split_api_version},
    meta, rbac,
};
use eyot_policy::Power;
use regex::Regex;
use serde_json::Value;

use super::check::{entries, is_cel};
use crate::{
    Policy,
    celpolicy::Role,
    matching::{KindPattern, Match},
    path,
    spec::{Cel, ContextEntry, EntrySource, Generate, GeneratePattern, Mutate},
    variables, wildcard,
};

const ANY: &str = "*";

/// A call that reads or asks, and its first arguments as far as they are plain texts. Blanks, comments and parentheses may stand
/// in between.
static CALL: LazyLock<Regex> = LazyLock::new(|| {
    let text = r#"\s*["']([^"'\\]*)["']\s*"#;
    let call = r"\bresource(?:[\s)]|//[^\n]*(?:\n|$))*\.(?:\s|//[^\n]*(?:\n|$))*([Gg]et|[Ll]ist|[Pp]ost)\b";
    Regex::new(&format!(r"{call}(?:\({text},{text}[,)](?:{text}[,)])?)?")).expect("the expression is correct")
});

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
            let entries: Vec<ContextEntry> =
                serde_json::from_value(object["spec"]["context"].clone()).unwrap_or_default();
            powers.of_entries(&entries, "spec.context");
        }
        (false, "GlobalContextEntry") => powers.of_global(&object["spec"]),
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
            if let Some(cel) = rule.validate.as_ref().and_then(|it| it.cel.as_ref()) {
                self.of_params(cel, &format!("{path}.validate.cel.paramKind"));
            }
            self.of_entries(entries(rule), &format!("{path}.context"));
        }
    }

    /// What context entries read.
    fn of_entries<'e>(&mut self, entries: impl IntoIterator<Item = &'e ContextEntry>, field: &str) {
        for entry in entries {
            match &*entry.source {
                EntrySource::ConfigMap { namespace, .. } => {
                    let namespace = if namespace.is_empty() { "default" } else { namespace };
                    self.on_kind(&["get"], ("v1", "ConfigMap"), namespace, field);
                }
                EntrySource::ApiCall { service: None, data: Some(_), .. } => self.on_review(field),
                EntrySource::ApiCall { url_path, service: None, .. } => self.on_path(url_path, field),
                // Who wrote a GlobalContextEntry was asked; services and registries are refused.
                _ => {}
            }
        }
    }

    /// What a GlobalContextEntry reads, for every policy.
    fn of_global(&mut self, spec: &Value) {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        if let Some(it) = spec.get("kubernetesResource") {
            let namespace = self.place(&text(&it["namespace"]));
            self.push("list", &text(&it["group"]), &text(&it["resource"]), namespace, "spec.kubernetesResource");
        }
        if let Some(path) = spec["apiCall"]["urlPath"].as_str() {
            self.on_path(path, "spec.apiCall.urlPath");
        }
    }

    fn of_params(&mut self, cel: &Cel, field: &str) {
        let (Some(kind), Some(which)) = (&cel.param_kind, &cel.param_ref) else { return };
        let verb = if which.name.is_empty() { "list" } else { "get" };
        self.on_kind(&[verb], (&kind.api_version, &kind.kind), &which.namespace, field);
    }

    fn on_path(&mut self, written: &str, field: &str) {
        let starred = path::starred(written);
        let Some(it) = path::certain(&starred) else { return self.on_reading(field) };
        let verb = if it.name.is_empty() { "list" } else { "get" };
        let (group, version) = split_api_version(&it.api_version);
        match self.kinds.by_plural(group, version, it.plural).cloned() {
            // A role in a namespace may let the Namespace itself be read.
            Some(kind) if kind.is("", "Namespace") && !self.own.is_empty() => {
                self.push(verb, "", &kind.plural, self.own.to_owned(), field);
            }
            Some(kind) => self.on(&[verb], &kind, it.namespace, field),
            None => self.push(verb, group, it.plural, self.place(it.namespace), field),
        }
    }

    /// Asking what others may do.
    fn on_review(&mut self, field: &str) {
        self.push("create", "authorization.k8s.io", "subjectaccessreviews", String::new(), field);
    }

    /// Reading what is not known.
    fn on_reading(&mut self, field: &str) {
        for verb in ["get", "list"] {
            self.push(verb, ANY, ANY, self.own.to_owned(), field);
        }
    }

    /// What expressions read, wherever they stand.
    fn of_expressions(&mut self, value: &Value, field: &str) {
        match value {
            Value::String(text) => {
                for call in CALL.captures_iter(text) {
                    let part = |at: usize| call.get(at).map(|it| it.as_str());
                    let verb = match part(1).unwrap_or_default() {
                        "Get" | "get" => "get",
                        "List" | "list" => "list",
                        _ => {
                            self.on_review(field);
                            continue;
                        }
                    };
                    match (part(2), part(3)) {
                        (Some(api_version), Some(plural)) => {
                            let (group, version) = split_api_version(api_version);
                            let is_namespaced =
                                self.kinds.by_plural(group, version, plural).is_none_or(|it| it.namespaced);
                            let namespace = part(4).filter(|_| is_namespaced).unwrap_or_default();
                            self.push(verb, group, plural, self.place(namespace), field);
                        }
                        _ => self.on_reading(field),
                    }
                }
            }
            Value::Array(all) => {
                let each = all.iter().enumerate();
                each.for_each(|(at, it)| self.of_expressions(it, &format!("{field}[{at}]")));
            }
            Value::Object(all) => all.iter().for_each(|(key, it)| self.of_expressions(it, &format!("{field}.{key}"))),
            _ => {}
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
            Some(Role::Generator) | None => {}
            // It is evaluated with the policies that it names, which may be about all namespaces.
            Some(Role::Exception) => {
                let own = std::mem::take(&mut self.own);
                self.of_expressions(spec, "spec");
                self.own = own;
            }
            Some(_) => self.of_expressions(spec, "spec"),
        }
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

    #[test]
    fn what_a_policy_reads_its_author_may_read() {
        let context = |entries: Value| rule(json!({"validate": {"deny": {}}, "context": entries}));
        let call = |path: &str| json!([{"name": "it", "apiCall": {"urlPath": path}}]);
        let entries = [
            json!([{"name": "it", "configMap": {"name": "{{ a }}", "namespace": "kube-system"}}]),
            call("/api/v1/namespaces/{{ request.namespace }}/secrets/x"),
            call("/apis/apps/v1/namespaces/a/deployments?labelSelector={{ b }}"),
            call("/api/v1/nodes/{{ to_lower('{{ c }}') }}"),
            call("/apis/example.org/v1/unserved"),
            call("/api/v1/{{ d }}"),
        ];
        let post = json!([{"name": "it", "apiCall": {"urlPath": "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            "method": "POST", "data": [{"key": "kind", "value": "SubjectAccessReview"}]}}]);
        let params = json!({"validate": {"cel": {"expressions": [{"expression": "true"}],
            "paramKind": {"apiVersion": "v1", "kind": "Secret"}, "paramRef": {"name": "p", "namespace": "q"}}}});
        let each = json!({"mutate": {"foreach": [{"list": "x", "context": call("/api/v1/pods"),
            "patchStrategicMerge": {"a": "b"}}]}});
        let mut all: Vec<String> =
            entries.iter().map(|it| of("kyverno.io", "ClusterPolicy", None, context(it.clone()))).collect();
        all.push(of("kyverno.io", "ClusterPolicy", None, context(post)));
        all.extend([params, each].map(|it| of("kyverno.io", "ClusterPolicy", None, rule(it))));
        let itself = context(call("/api/v1/namespaces/{{ request.namespace }}"));
        all.push(of("kyverno.io", "Policy", Some("own"), itself));
        all.extend([1, 5].map(|at| of("kyverno.io", "Policy", Some("own"), context(entries[at].clone()))));
        let clean = json!({"match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "context": call("/api/v1/secrets")});
        all.push(of("kyverno.io", "ClusterCleanupPolicy", None, clean));
        for entry in [
            json!({"kubernetesResource": {"group": "apps", "version": "v1", "resource": "deployments", "namespace": "n"}}),
            json!({"apiCall": {"urlPath": "/api/v1/secrets"}}),
        ] {
            all.push(of("kyverno.io", "GlobalContextEntry", None, entry));
        }
        expect![[r#"
            get /configmaps in "kube-system"
            get /secrets in ""
            list apps/deployments in "a"
            get /nodes in ""
            list example.org/unserved in ""
            get */* in ""
            list */* in ""
            create authorization.k8s.io/subjectaccessreviews in ""
            get /secrets in "q"
            list /pods in ""
            get /namespaces in "own"
            get /secrets in "own"
            get */* in "own"
            list */* in "own"
            delete /pods in ""
            list /secrets in ""
            list apps/deployments in "n"
            list /secrets in ""
        "#]]
        .assert_eq(&all.concat());
    }

    #[test]
    fn so_does_what_expressions_read() {
        let cel = "policies.kyverno.io";
        let asks = |expression: &str| json!({"validations": [{ "expression": expression }]});
        let mut all: Vec<String> = [
            r#"resource.Get("v1", "configmaps", "a", "b").data.x == "y""#,
            r#"resource.List('apps/v1', 'deployments', object.metadata.namespace).items.size() > 0"#,
            r#"resource.Get("v1", "nodes", "", "n") != null"#,
            r#"resource.Get("v1", "secr" + "ets", "a", "b") != null"#,
            "(resource) // .Get\n . list(x, y, z) == null",
            r#"resource.Post("authorization.k8s.io/v1", "subjectaccessreviews", {}).status.allowed"#,
            "request.resource.resource == 'pods' && object.spec.resources.list == 1",
        ]
        .map(|it| of(cel, "ValidatingPolicy", None, asks(it)))
        .into();
        let own = asks(r#"resource.Get("v1", "secrets", "b") != null"#);
        all.push(of(cel, "NamespacedValidatingPolicy", Some("own"), own));
        let excuses =
            json!({"matchConditions": [{"expression": r#"resource.Get("v1", "secrets", "a", "b") != null"#}]});
        all.push(of(cel, "PolicyException", Some("own"), excuses));
        expect![[r#"
            get /configmaps in "a"
            list apps/deployments in ""
            get /nodes in ""
            get */* in ""
            list */* in ""
            get */* in ""
            list */* in ""
            create authorization.k8s.io/subjectaccessreviews in ""
            get /secrets in "own"
            get /secrets in "a"
        "#]]
        .assert_eq(&all.concat());
    }
}
