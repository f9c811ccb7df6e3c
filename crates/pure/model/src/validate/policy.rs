//! Checks of admission policies and their bindings. Expressions are not compiled here.

use super::{at::At, names, workload::label_selector};
use crate::status::Cause;

const MATCH_CONDITIONS_MAX: usize = 64;

pub(super) fn validating(spec: &At<'_>, causes: &mut Vec<Cause>) {
    shared(spec, causes);
    let (validations, audits) = (spec.get("validations"), spec.get("auditAnnotations"));
    if validations.is_empty() && audits.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        causes.push(validations.required(why));
        causes.push(audits.required(why));
    }
    for validation in validations.items() {
        expression(&validation.get("expression"), "expression is not specified", causes);
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        validation.get("reason").one_of(&reasons, causes);
        if validation.get("message").text().contains('\n') {
            causes.push(validation.get("message").invalid("message must not contain line breaks"));
        }
    }
    for annotation in audits.items() {
        annotation.get("key").grammar(names::qualified_name, causes);
        expression(&annotation.get("valueExpression"), "valueExpression is not specified", causes);
    }
}

pub(super) fn mutating(spec: &At<'_>, causes: &mut Vec<Cause>) {
    shared(spec, causes);
    let mutations = spec.get("mutations");
    if mutations.is_empty() {
        causes.push(mutations.required("mutations must contain at least one item"));
    }
    for mutation in mutations.items() {
        mutation.get("patchType").one_of(&["ApplyConfiguration", "JSONPatch"], causes);
    }
    if spec.get("reinvocationPolicy").is_empty() {
        causes.push(spec.get("reinvocationPolicy").required(""));
    }
    spec.get("reinvocationPolicy").one_of(&["IfNeeded", "Never"], causes);
}

/// What policies of both sorts have.
fn shared(spec: &At<'_>, causes: &mut Vec<Cause>) {
    spec.get("failurePolicy").one_of(&["Fail", "Ignore"], causes);
    let kind = spec.get("paramKind");
    if !kind.is_absent() {
        for field in ["apiVersion", "kind"] {
            if kind.get(field).is_empty() {
                causes.push(kind.get(field).required(""));
            }
        }
    }
    let constraints = spec.get("matchConstraints");
    if constraints.is_absent() {
        causes.push(constraints.required(""));
    } else {
        resources(&constraints, causes);
        if constraints.get("resourceRules").is_empty() {
            causes.push(constraints.get("resourceRules").required(""));
        }
    }
    let conditions = spec.get("matchConditions");
    conditions.unique("name", causes);
    if conditions.items().count() > MATCH_CONDITIONS_MAX {
        causes.push(Cause::too_many(&conditions.path, conditions.items().count(), MATCH_CONDITIONS_MAX));
    }
    for condition in conditions.items() {
        condition.get("name").grammar(names::qualified_name, causes);
        expression(&condition.get("expression"), "", causes);
    }
    let variables = spec.get("variables");
    variables.unique("name", causes);
    for variable in variables.items() {
        expression(&variable.get("expression"), "expression is not specified", causes);
    }
}

pub(super) fn binding(spec: &At<'_>, validating: bool, causes: &mut Vec<Cause>) {
    if spec.get("policyName").is_empty() {
        causes.push(spec.get("policyName").required(""));
    }
    spec.get("policyName").grammar(names::dns1123_subdomain, causes);
    let parameters = spec.get("paramRef");
    if !parameters.is_absent() {
        let (name, selector) = (parameters.get("name"), parameters.get("selector"));
        match (name.is_empty(), selector.is_absent()) {
            (true, true) => causes.push(parameters.required("one of name or selector must be specified")),
            (false, false) => causes.push(name.forbidden("name and selector are mutually exclusive")),
            _ => {}
        }
        if parameters.get("parameterNotFoundAction").is_empty() {
            causes.push(parameters.get("parameterNotFoundAction").required(""));
        }
        parameters.get("parameterNotFoundAction").one_of(&["Allow", "Deny"], causes);
        label_selector(&selector, causes);
    }
    resources(&spec.get("matchResources"), causes);
    let actions = spec.get("validationActions");
    if !validating {
        return;
    }
    if actions.is_empty() {
        causes.push(actions.required(""));
    }
    let mut seen = std::collections::HashSet::new();
    for action in actions.items() {
        action.one_of(&["Audit", "Deny", "Warn"], causes);
        if !seen.insert(action.text()) {
            causes.push(action.duplicate());
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        causes.push(actions.invalid("must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"));
    }
}

fn resources(at: &At<'_>, causes: &mut Vec<Cause>) {
    at.get("matchPolicy").one_of(&["Equivalent", "Exact"], causes);
    label_selector(&at.get("namespaceSelector"), causes);
    label_selector(&at.get("objectSelector"), causes);
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in at.get(list).items() {
            for field in ["operations", "apiGroups", "apiVersions", "resources"] {
                if rule.get(field).is_empty() {
                    causes.push(rule.get(field).required(""));
                }
            }
            let operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
            rule.get("operations").items().for_each(|it| it.one_of(&operations, causes));
            rule.get("scope").one_of(&["*", "Cluster", "Namespaced"], causes);
        }
    }
}

fn expression(at: &At<'_>, why: &str, causes: &mut Vec<Cause>) {
    if at.text().trim().is_empty() {
        causes.push(Cause::required(&at.path, why));
    }
}
