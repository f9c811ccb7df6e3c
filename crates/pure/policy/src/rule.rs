//! Rules of `admissionregistration.k8s.io`: operations, groups, versions, resources. Entry point: [`Rule`].

use eyot_model::{kinds::Kind, meta, selector::LabelSelector};
use serde_json::Value;

use crate::{Operation, Review};

/// Which requests a webhook or policy is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    /// Names of objects; empty for all.
    names: Vec<String>,
}

impl Rule {
    /// Reads a `RuleWithOperations` or a `NamedRuleWithOperations`.
    pub fn read(rule: &Value) -> Rule {
        let texts =
            |field: &str| meta::list(rule.get(field)).iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Rule {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
            names: texts("resourceNames"),
        }
    }

    /// Whether it is about something done to a resource, which `kind` shows in one of its versions.
    pub fn matches(&self, operation: Operation, kind: &Kind, subresource: &str, name: &str) -> bool {
        let holds = |list: &[String], word: &str| list.iter().any(|it| it == "*" || it == word);
        holds(&self.operations, operation.as_str())
            && holds(&self.groups, &kind.group)
            && holds(&self.versions, &kind.version)
            && self.resources.iter().any(|it| names(it, &kind.plural, subresource))
            && match self.scope.as_str() {
                "Namespaced" => kind.namespaced,
                "Cluster" => !kind.namespaced,
                _ => true,
            }
            && (self.names.is_empty() || self.names.iter().any(|it| it == name))
    }

    /// Whether it may be about something done to a resource, in whatever group and version that comes.
    pub fn may_match(&self, operation: Operation, plural: &str, subresource: &str) -> bool {
        self.operations.iter().any(|it| it == "*" || it == operation.as_str())
            && self.resources.iter().any(|it| names(it, plural, subresource))
    }

    /// The resources that it is about without their subresources, `*` for all: for indexes.
    pub fn plurals(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(|it| it.split_once('/').map_or(it.as_str(), |it| it.0))
    }

    /// The groups, versions and plurals that it names, those with a star left out.
    pub fn named(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let plain = |list: &'_ [String]| list.iter().all(|it| it != "*");
        let all = plain(&self.groups) && plain(&self.versions);
        let groups = self.groups.iter().filter(move |_| all);
        groups.flat_map(move |group| {
            self.versions.iter().flat_map(move |version| {
                let plurals = self.resources.iter().filter(|it| !it.contains(['*', '/']));
                plurals.map(move |plural| (group.as_str(), version.as_str(), plural.as_str()))
            })
        })
    }
}

/// Whether `pods`, `pods/status`, `pods/*`, `*/scale`, `*` or `*/*` means a resource and subresource.
fn names(pattern: &str, plural: &str, subresource: &str) -> bool {
    let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == plural) && (sub == "*" || sub == subresource)
}

/// Whether a request's namespace has the labels that a selector asks for. Of a Namespace they are its own; kinds without
/// namespaces match every selector.
pub fn selects_namespace(selector: &LabelSelector, review: &Review<'_>) -> bool {
    if selector.is_empty() {
        return true;
    }
    if review.resource.is("", "Namespace") {
        let carries_it = review.carried().2 == "Namespace" && !review.object.is_null();
        let namespace = if carries_it { review.object } else { review.old.unwrap_or(review.object) };
        return selector.matches_object(namespace);
    }
    if !review.resource.namespaced {
        return true;
    }
    review.namespace_object.is_some_and(|it| selector.matches_object(it))
}

/// Whether either version of a request's object has the labels that a selector asks for: nothing gets out of sight by
/// changing them.
pub fn selects_object(selector: &LabelSelector, review: &Review<'_>) -> bool {
    let has = |it: &Value| it.get("metadata").is_some_and(Value::is_object) && selector.matches_object(it);
    selector.is_empty() || has(review.object) || review.old.is_some_and(has)
}

#[cfg(test)]
mod tests {
    use eyot_model::kinds;
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_name_resources_and_subresources() {
        for (pattern, subresource, want) in [
            ("pods", "", true),
            ("pods", "status", false),
            ("pods/status", "status", true),
            ("pods/*", "status", true),
            ("pods/*", "", true),
            ("*", "", true),
            ("*", "status", false),
            ("*/*", "", true),
            ("*/*", "exec", true),
            ("*/scale", "scale", true),
            ("*/scale", "", false),
            ("services", "", false),
        ] {
            assert_eq!(names(pattern, "pods", subresource), want, "{pattern} {subresource}");
        }
    }

    #[test]
    fn rules_are_about_operations_versions_scopes_and_names() {
        let rule = |scope: &str, names: Value| {
            Rule::read(&json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"],
                "resources": ["deployments"], "scope": scope, "resourceNames": names}))
        };
        let deployments = kinds::builtin().by_plural("apps", "v1", "deployments").unwrap();
        let create = |rule: &Rule, name: &str| rule.matches(Operation::Create, deployments, "", name);
        assert!(create(&rule("*", json!([])), "a") && create(&rule("Namespaced", json!(["a"])), "a"));
        assert!(!create(&rule("Cluster", json!([])), "a") && !create(&rule("*", json!(["b"])), "a"));
        assert!(!rule("*", json!([])).matches(Operation::Update, deployments, "", "a"));
        let rule = rule("*", json!([]));
        assert!(rule.may_match(Operation::Create, "deployments", ""));
        assert!(
            !rule.may_match(Operation::Delete, "deployments", "") && !rule.may_match(Operation::Create, "pods", "")
        );
        assert_eq!(rule.plurals().collect::<Vec<_>>(), ["deployments"]);
        assert_eq!(rule.named().collect::<Vec<_>>(), [("apps", "v1", "deployments")]);
    }
}
