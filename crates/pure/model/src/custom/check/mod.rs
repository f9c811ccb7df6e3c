//! Whether a CustomResourceDefinition is one that Kubernetes accepts, with its causes. Entry point: [`definition`].
//!
//! `names` checks what a definition is called, `version` what each version says of itself, `structural` its schema.
//! Deliberately absent: the compilation of CEL rules, which needs an interpreter.

mod names;
mod structural;
mod version;

use std::collections::HashSet;

use super::format;
use crate::{
    status::Cause,
    validate::{at::At, names as grammar},
};

/// What an annotation of a protected group is called.
const APPROVED: &str = "api-approved.kubernetes.io";
const IMMUTABLE: &str = "field is immutable";

/// Everything wrong with a definition, given the stored one that it replaces.
pub(crate) fn definition(object: &At<'_>, old: Option<&At<'_>>, causes: &mut Vec<Cause>) {
    let spec = object.get("spec");
    names::check(object, causes);
    group(object, causes);
    let scope = spec.get("scope");
    if scope.is_empty() {
        causes.push(scope.required(""));
    }
    scope.one_of(&["Cluster", "Namespaced"], causes);
    let preserve = spec.get("preserveUnknownFields");
    if preserve.truth() {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        causes.push(preserve.invalid(why));
    }
    versions(&spec, causes);
    conversion(&spec.get("conversion"), causes);
    stored_versions(object, causes);
    if let Some(old) = old {
        update(object, old, causes);
    }
}

fn group(object: &At<'_>, causes: &mut Vec<Cause>) {
    let group = object.at("spec.group");
    group.grammar(grammar::dns1123_subdomain, causes);
    if group.is_empty() {
        causes.push(group.required(""));
    } else if !group.text().contains('.') {
        causes.push(group.invalid("should be a domain with at least one dot"));
    }
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|it| group.text() == *it || group.text().strip_suffix(it).is_some_and(|rest| rest.ends_with('.')));
    let annotations = object.at("metadata.annotations");
    let approval = annotations.get(APPROVED).text();
    let path = format!("{}[{APPROVED}]", annotations.path);
    if protected && approval.is_empty() {
        let why = format!(
            "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        causes.push(Cause::required(path, &why));
    } else if protected && !approval.starts_with("unapproved") && !format::is("uri", approval) {
        let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111";
        causes.push(Cause::invalid(path, &approval.into(), why));
    }
}

fn versions(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let versions = spec.get("versions");
    let mut seen = HashSet::new();
    for it in versions.items() {
        version::check(&it, causes);
        if !seen.insert(it.get("name").text()) {
            causes.push(Cause::invalid(
                &versions.path,
                &it.get("name").text().into(),
                "must contain unique version names",
            ));
        }
    }
    let storing = versions.items().filter(|it| it.get("storage").truth()).count();
    if storing != 1 {
        let names: Vec<&str> = versions.items().map(|it| it.get("name").text()).collect();
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid(&versions.path, &names.into(), why));
    }
}

fn conversion(conversion: &At<'_>, causes: &mut Vec<Cause>) {
    let strategy = conversion.get("strategy");
    strategy.one_of(&["None", "Webhook"], causes);
    let hook = conversion.get("webhook");
    if strategy.text() != "Webhook" {
        if !hook.is_absent() {
            causes.push(hook.forbidden("should not be set when strategy is not set to Webhook"));
        }
        return;
    }
    let client = hook.get("clientConfig");
    if client.is_absent() {
        causes.push(client.required("required when strategy is set to Webhook"));
    } else if client.get("url").is_absent() == client.get("service").is_absent() {
        causes.push(client.required("exactly one of url or service is required"));
    } else if !client.get("url").is_absent() && !client.get("url").text().starts_with("https://") {
        causes.push(client.get("url").invalid("'https' is the only allowed URL scheme"));
    }
    for field in ["namespace", "name"] {
        let at = client.get("service").get(field);
        if !client.get("service").is_absent() && at.is_empty() {
            causes.push(at.required(""));
        }
    }
    let reviews = hook.get("conversionReviewVersions");
    if reviews.is_empty() {
        causes.push(reviews.required(""));
    } else if !reviews.items().any(|it| ["v1", "v1beta1"].contains(&it.text())) {
        causes.push(reviews.invalid("must include at least one of v1, v1beta1"));
    }
}

/// Objects may be stored in these versions, so that the definition must still know them.
pub(crate) fn stored_versions(object: &At<'_>, causes: &mut Vec<Cause>) {
    let (stored, versions) = (object.at("status.storedVersions"), object.at("spec.versions"));
    let named = |name: &str| versions.items().any(|it| it.get("name").text() == name);
    for it in stored.items().filter(|it| !named(it.text())) {
        let name = it.text();
        let why = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        );
        causes.push(it.invalid(&why));
    }
    let storage = versions.items().find(|it| it.get("storage").truth());
    if let Some(storage) = storage.filter(|_| !stored.is_absent())
        && !stored.items().any(|it| it.text() == storage.get("name").text())
    {
        let why = format!("must have the storage version {}", storage.get("name").text());
        causes.push(stored.invalid(&why));
    }
}

fn update(object: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    let established = old
        .at("status.conditions")
        .items()
        .any(|it| it.get("type").text() == "Established" && it.get("status").text() == "True");
    let always = ["spec.group", "spec.names.plural"];
    let once_established: &[&str] = if established { &["spec.scope", "spec.names.kind"] } else { &[] };
    for field in always.iter().chain(once_established) {
        let at = object.at(field);
        if at.value != old.at(field).value {
            causes.push(at.invalid(IMMUTABLE));
        }
    }
}

#[cfg(test)]
mod tests;
