//! Checks of roles and bindings. What a writer may grant is not checked here.

use serde_json::Value;

use super::{at::At, names};
use crate::{kinds::Kind, rbac::GROUP, selector::LabelSelector, status::Cause};

/// Checks a Role or ClusterRole.
pub(super) fn role(kind: &Kind, object: &At<'_>, causes: &mut Vec<Cause>) {
    object.get("rules").items().for_each(|it| rule(&it, kind.namespaced, causes));
    let gathering = object.get("aggregationRule");
    if kind.namespaced || gathering.is_absent() {
        return;
    }
    let selectors = gathering.get("clusterRoleSelectors");
    if selectors.is_empty() {
        causes.push(selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil"));
    }
    for selector in selectors.items().filter(|it| LabelSelector::from_value(it.value).is_err()) {
        causes.push(selector.invalid("invalid label selector."));
    }
}

fn rule(rule: &At<'_>, namespaced: bool, causes: &mut Vec<Cause>) {
    if rule.get("verbs").is_empty() {
        causes.push(rule.get("verbs").required("verbs must contain at least one value"));
    }
    let paths = rule.get("nonResourceURLs");
    if !paths.is_empty() {
        if namespaced {
            causes.push(paths.invalid("namespaced rules cannot apply to non-resource URLs"));
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|it| !rule.get(it).is_empty()) {
            causes.push(paths.invalid("rules cannot apply to both regular resources and non-resource URLs"));
        }
        return;
    }
    if rule.get("apiGroups").is_empty() {
        causes.push(rule.get("apiGroups").required("resource rules must supply at least one api group"));
    }
    if rule.get("resources").is_empty() {
        causes.push(rule.get("resources").required("resource rules must supply at least one resource"));
    }
}

/// Checks a RoleBinding or ClusterRoleBinding.
pub(super) fn binding(kind: &Kind, object: &At<'_>, causes: &mut Vec<Cause>) {
    let kinds: &[&str] = if kind.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    object.at("roleRef.kind").one_of(kinds, causes);
    object.at("roleRef.apiGroup").one_of(&[GROUP], causes);
    object.at("roleRef.name").grammar(names::path_segment, causes);
    for subject in object.get("subjects").items() {
        let group = subject.get("apiGroup");
        match subject.get("kind").text() {
            "ServiceAccount" => {
                subject.get("name").grammar(names::dns1123_subdomain, causes);
                if !group.is_empty() {
                    causes.push(Cause::not_supported(&group.path, group.value, &[""]));
                }
                // In a RoleBinding it is one of the binding's own namespace.
                if !kind.namespaced && subject.get("namespace").is_empty() {
                    causes.push(subject.get("namespace").required(""));
                }
            }
            "User" | "Group" if group.text() != GROUP => {
                let found = if group.is_absent() { &Value::Null } else { group.value };
                causes.push(Cause::not_supported(&group.path, found, &[GROUP]));
            }
            "User" | "Group" => {}
            _ => subject.get("kind").one_of(&["Group", "ServiceAccount", "User"], causes),
        }
    }
}
