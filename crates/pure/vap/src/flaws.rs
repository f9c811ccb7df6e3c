//! What is wrong with a policy or binding that is written. Entry points: [`policy`], [`binding`].
//!
//! What the schema demands was checked before; expressions are compiled here.

use eyot_model::{meta, selector::LabelSelector, status::Cause, validate::names::qualified_name};
use eyot_rules::{
    Variable,
    types::{self, Type},
};
use serde_json::Value;

use crate::policy::{Language, Surroundings};

const CONDITIONS_MAX: usize = 64;
const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

/// Everything that is wrong with a policy.
pub fn policy(object: &Value, mutates: bool, language: &Language) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    let variables = around(spec, language, &mut causes);
    let around = Surroundings { language, variables: &variables, makes_messages: true };
    if mutates {
        mutations(spec, &around, &mut causes);
    } else {
        validations(spec, &around, &mut causes);
    }
    causes
}

/// What is wrong with what stands around a policy's demands and changes: what it is about, its conditions and variables.
pub fn surroundings(object: &Value, language: &Language) -> Vec<Cause> {
    let mut causes = Vec::new();
    around(&object["spec"], language, &mut causes);
    causes
}

fn around(spec: &Value, language: &Language, causes: &mut Vec<Cause>) -> Vec<Variable> {
    one_of(&spec["failurePolicy"], "spec.failurePolicy", &["Fail", "Ignore"], causes);
    let param_kind = &spec["paramKind"];
    if param_kind.is_object() {
        for field in ["apiVersion", "kind"].iter().filter(|it| is_empty(&param_kind[**it])) {
            causes.push(Cause::required(format!("spec.paramKind.{field}"), ""));
        }
    }
    let constraints = &spec["matchConstraints"];
    if constraints.is_object() {
        matching(constraints, "spec.matchConstraints", causes);
        if meta::list(constraints.get("resourceRules")).is_empty() {
            causes.push(Cause::required("spec.matchConstraints.resourceRules", ""));
        }
    } else {
        causes.push(Cause::required("spec.matchConstraints", ""));
    }
    let variables = variables(spec, language, causes);
    let bare = Surroundings { language, variables: &variables, makes_messages: false }.of_conditions();
    conditions(&spec["matchConditions"], "spec.matchConditions", &bare, causes);
    variables
}

fn is_empty(value: &Value) -> bool {
    value.as_str().is_none_or(str::is_empty)
}

fn one_of(value: &Value, path: &str, known: &[&str], causes: &mut Vec<Cause>) {
    if !value.is_null() && !value.as_str().is_some_and(|it| known.contains(&it)) {
        causes.push(Cause::not_supported(path, value, known));
    }
}

fn matching(matching: &Value, path: &str, causes: &mut Vec<Cause>) {
    one_of(&matching["matchPolicy"], &format!("{path}.matchPolicy"), &["Equivalent", "Exact"], causes);
    for field in ["namespaceSelector", "objectSelector"] {
        selector(&matching[field], &format!("{path}.{field}"), causes);
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (i, rule) in meta::list(matching.get(list)).iter().enumerate() {
            resource_rule(rule, &format!("{path}.{list}[{i}]"), causes);
        }
    }
}

fn selector(selector: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !selector.is_null()
        && let Err(error) = LabelSelector::from_value(selector)
    {
        causes.push(Cause::invalid(path, selector, &error.to_string()));
    }
}

fn resource_rule(rule: &Value, path: &str, causes: &mut Vec<Cause>) {
    for field in ["operations", "apiGroups", "apiVersions", "resources"] {
        let list = meta::list(rule.get(field));
        if list.is_empty() {
            causes.push(Cause::required(format!("{path}.{field}"), ""));
        }
        if field != "resources" && list.len() > 1 && list.iter().any(|it| it == "*") {
            let why = "if '*' is present, must not specify other values";
            causes.push(Cause::invalid(format!("{path}.{field}"), &rule[field], why));
        }
    }
    const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (i, operation) in meta::list(rule.get("operations")).iter().enumerate() {
        one_of(operation, &format!("{path}.operations[{i}]"), &OPERATIONS, causes);
    }
    one_of(&rule["scope"], &format!("{path}.scope"), &["*", "Cluster", "Namespaced"], causes);
}

/// Compiles an expression, and says whether it can have a wanted type.
fn expression(value: &Value, path: &str, around: &Surroundings<'_>, wanted: &[Type<'_>], causes: &mut Vec<Cause>) {
    let text = value.as_str().unwrap_or_default().trim();
    if text.is_empty() {
        causes.push(Cause::required(path, ""));
        return;
    }
    if let Err(why) = around.compile(text) {
        causes.push(Cause::invalid(path, value, &why));
        return;
    }
    // Of what is looked at nothing is known; what comes of literals and operators is.
    let unknown: Vec<(String, Type<'_>)> = Vec::new();
    match types::check(text, &[], &unknown) {
        Err(why) => causes.push(Cause::invalid(path, value, &format!("compilation failed: {why}"))),
        Ok(Type::Dyn) => {}
        Ok(found) if wanted.is_empty() || wanted.contains(&found) => {}
        Ok(_) => {
            let wanted = wanted.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(" or ");
            causes.push(Cause::invalid(path, value, &format!("must evaluate to {wanted}")));
        }
    }
}

fn conditions(list: &Value, path: &str, around: &Surroundings<'_>, causes: &mut Vec<Cause>) {
    let list = meta::list(Some(list));
    if list.len() > CONDITIONS_MAX {
        causes.push(Cause::too_many(path, list.len(), CONDITIONS_MAX));
    }
    for (i, condition) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        named(condition, "name", &path, &list[..i], causes);
        if let Err(why) = qualified_name(condition["name"].as_str().unwrap_or_default()) {
            causes.push(Cause::invalid(format!("{path}.name"), &condition["name"], &why));
        }
        expression(&condition["expression"], &format!("{path}.expression"), around, &[Type::Bool], causes);
    }
}

/// Everything that is wrong with conditions that stand somewhere else than in a policy.
pub fn bare_conditions(list: &Value, path: &str, language: &Language) -> Vec<Cause> {
    let mut causes = Vec::new();
    conditions(list, path, &Surroundings { language, variables: &[], makes_messages: false }, &mut causes);
    causes
}

/// A name that must be there, and not twice.
fn named(item: &Value, field: &str, path: &str, before: &[Value], causes: &mut Vec<Cause>) {
    if is_empty(&item[field]) {
        causes.push(Cause::required(format!("{path}.{field}"), ""));
    } else if before.iter().any(|it| it[field] == item[field]) {
        causes.push(Cause::duplicate(format!("{path}.{field}"), &item[field]));
    }
}

fn variables(spec: &Value, language: &Language, causes: &mut Vec<Cause>) -> Vec<Variable> {
    let list = meta::list(spec.get("variables"));
    let mut variables = Vec::new();
    for (i, variable) in list.iter().enumerate() {
        let path = format!("spec.variables[{i}]");
        named(variable, "name", &path, &list[..i], causes);
        let name = variable["name"].as_str().unwrap_or_default();
        let is_identifier = name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
            && !name.starts_with(|it: char| it.is_ascii_digit());
        if !is_identifier {
            let why = "name is not a valid CEL identifier";
            causes.push(Cause::invalid(format!("{path}.name"), &variable["name"], why));
        }
        let around = Surroundings { language, variables: &variables, makes_messages: true };
        expression(&variable["expression"], &format!("{path}.expression"), &around, &[], causes);
        if let Ok(program) = around.compile(variable["expression"].as_str().unwrap_or_default()) {
            variables.push(Variable { name: name.to_owned(), program });
        }
    }
    variables
}

fn validations(spec: &Value, around: &Surroundings<'_>, causes: &mut Vec<Cause>) {
    let (list, annotations) = (meta::list(spec.get("validations")), meta::list(spec.get("auditAnnotations")));
    if list.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        causes.extend(["spec.validations", "spec.auditAnnotations"].map(|it| Cause::required(it, why)));
    }
    for (i, validation) in list.iter().enumerate() {
        let path = format!("spec.validations[{i}]");
        expression(&validation["expression"], &format!("{path}.expression"), around, &[Type::Bool], causes);
        let message = &validation["message"];
        if around.language.is_strict && message.as_str().is_some_and(|it| it.trim().contains('\n')) {
            causes.push(Cause::invalid(format!("{path}.message"), message, "message must not contain line breaks"));
        }
        if !is_empty(&validation["messageExpression"]) {
            let path = format!("{path}.messageExpression");
            expression(&validation["messageExpression"], &path, around, &[Type::String], causes);
        }
        one_of(&validation["reason"], &format!("{path}.reason"), &REASONS, causes);
    }
    for (i, annotation) in annotations.iter().enumerate() {
        let path = format!("spec.auditAnnotations[{i}]");
        named(annotation, "key", &path, &annotations[..i], causes);
        let wanted = [Type::String, Type::Null];
        expression(&annotation["valueExpression"], &format!("{path}.valueExpression"), around, &wanted, causes);
    }
}

fn mutations(spec: &Value, around: &Surroundings<'_>, causes: &mut Vec<Cause>) {
    let list = meta::list(spec.get("mutations"));
    if list.is_empty() {
        causes.push(Cause::required("spec.mutations", "mutations must contain at least one item"));
    }
    match spec["reinvocationPolicy"].as_str() {
        None | Some("") if !around.language.is_strict => {}
        None | Some("") => causes.push(Cause::required("spec.reinvocationPolicy", "")),
        _ => one_of(&spec["reinvocationPolicy"], "spec.reinvocationPolicy", &["IfNeeded", "Never"], causes),
    }
    for (i, mutation) in list.iter().enumerate() {
        let path = format!("spec.mutations[{i}]");
        let (wanted, other) = match mutation["patchType"].as_str() {
            Some("ApplyConfiguration") => ("applyConfiguration", "jsonPatch"),
            Some("JSONPatch") => ("jsonPatch", "applyConfiguration"),
            None | Some("") => {
                causes.push(Cause::required(format!("{path}.patchType"), ""));
                continue;
            }
            _ => {
                one_of(
                    &mutation["patchType"],
                    &format!("{path}.patchType"),
                    &["ApplyConfiguration", "JSONPatch"],
                    causes,
                );
                continue;
            }
        };
        if mutation[other].is_object() {
            let why = format!(
                "must be specified only when patchType is {}",
                if other == "jsonPatch" { "JSONPatch" } else { "ApplyConfiguration" }
            );
            causes.push(Cause::invalid(format!("{path}.{other}"), &mutation[other], &why));
        }
        if !mutation[wanted].is_object() {
            let why =
                format!("must be specified when patchType is {}", mutation["patchType"].as_str().unwrap_or_default());
            causes.push(Cause::required(format!("{path}.{wanted}"), &why));
            continue;
        }
        let lists = [Type::List(Box::new(Type::Dyn))];
        let wanted_types = if wanted == "jsonPatch" { &lists[..] } else { &[] };
        expression(
            &mutation[wanted]["expression"],
            &format!("{path}.{wanted}.expression"),
            around,
            wanted_types,
            causes,
        );
    }
}

/// Everything that is wrong with a binding.
pub(crate) fn binding(object: &Value, mutates: bool) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    if is_empty(&spec["policyName"]) {
        causes.push(Cause::required("spec.policyName", ""));
    }
    let reference = &spec["paramRef"];
    if reference.is_object() {
        param_ref(reference, &mut causes);
    }
    if spec["matchResources"].is_object() {
        matching(&spec["matchResources"], "spec.matchResources", &mut causes);
    }
    if !mutates {
        actions(&spec["validationActions"], &mut causes);
    }
    causes
}

fn param_ref(reference: &Value, causes: &mut Vec<Cause>) {
    let (named, selected) = (!is_empty(&reference["name"]), reference["selector"].is_object());
    match (named, selected) {
        (true, true) => {
            causes.push(Cause::forbidden("spec.paramRef.name", "name and selector are mutually exclusive"));
            causes.push(Cause::forbidden("spec.paramRef.selector", "name and selector are mutually exclusive"));
        }
        (false, false) => causes.push(Cause::required("spec.paramRef", "one of name or selector must be specified")),
        _ => selector(&reference["selector"], "spec.paramRef.selector", causes),
    }
    let path = "spec.paramRef.parameterNotFoundAction";
    match reference["parameterNotFoundAction"].as_str() {
        None | Some("") => causes.push(Cause::required(path, "")),
        _ => one_of(&reference["parameterNotFoundAction"], path, &["Allow", "Deny"], causes),
    }
}

fn actions(actions: &Value, causes: &mut Vec<Cause>) {
    let path = "spec.validationActions";
    let list = meta::list(Some(actions));
    if list.is_empty() {
        causes.push(Cause::required(path, "at least one validation action is required"));
    }
    for (i, action) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        one_of(action, &path, &["Audit", "Deny", "Warn"], causes);
        if list[..i].contains(action) {
            causes.push(Cause::duplicate(path, action));
        }
    }
    if ["Deny", "Warn"].iter().all(|wanted| list.iter().any(|it| it == wanted)) {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        causes.push(Cause::invalid(path, actions, why));
    }
}
