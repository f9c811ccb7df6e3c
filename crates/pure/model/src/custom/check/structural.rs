//! Whether a schema is structural: every value has a type, and junctors only judge. Entry point: [`check`].

use serde_json::Value;

use crate::{
    custom::{
        prune,
        schema::{Schema, pattern},
        value,
    },
    status::Cause,
    validate::at::At,
};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
/// What only schemas themselves may say, and not the junctors in them.
const SHAPING: [&str; 11] = [
    "additionalProperties",
    "default",
    "description",
    "nullable",
    "type",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
];
/// What JSON schema has and Kubernetes has not.
const UNSUPPORTED: [&str; 7] =
    ["id", "$ref", "patternProperties", "additionalItems", "definitions", "dependencies", "$schema"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

/// Everything wrong with `openAPIV3Schema`.
pub(super) fn check(schema: &At<'_>, causes: &mut Vec<Cause>) {
    structure(schema, Level::Root, causes);
}

fn structure(schema: &At<'_>, level: Level, causes: &mut Vec<Cause>) {
    if !schema.value.is_object() {
        causes.push(schema.invalid("must be a schema object"));
        return;
    }
    kind_of(schema, level, causes);
    supported(schema, causes);
    extensions(schema, causes);
    list(schema, causes);
    map(schema, causes);
    default(schema, causes);
    rules(schema, causes);
    junctors(schema, causes);
    if level == Level::Root || schema.get("x-kubernetes-embedded-resource").truth() {
        metadata(&schema.get("properties"), causes);
    }
    for (_, property) in schema.get("properties").entries() {
        structure(&property, Level::Field, causes);
    }
    let additional = schema.get("additionalProperties");
    if additional.value.is_object() {
        structure(&additional, Level::Field, causes);
    }
    if schema.get("items").value.is_object() {
        structure(&schema.get("items"), Level::Item, causes);
    }
}

fn kind_of(schema: &At<'_>, level: Level, causes: &mut Vec<Cause>) {
    let of_type = schema.get("type");
    let flag = |name: &str| schema.get(name).truth();
    const EMBEDDED: &str = "must be object if x-kubernetes-embedded-resource is true";
    if of_type.text() == "null" {
        causes.push(of_type.forbidden("type cannot be set to null, use nullable as an alternative"));
        return;
    }
    of_type.one_of(&TYPES, causes);
    match of_type.text() {
        "" if flag("x-kubernetes-embedded-resource") => causes.push(of_type.required(EMBEDDED)),
        "" if flag("x-kubernetes-int-or-string") => {}
        "" if flag("x-kubernetes-preserve-unknown-fields") && level != Level::Root => {}
        "" => causes.push(of_type.required(match level {
            Level::Root => "must not be empty at the root",
            Level::Field => "must not be empty for specified object fields",
            Level::Item => "must not be empty for specified array items",
        })),
        "object" => {}
        _ if level == Level::Root => causes.push(of_type.invalid("must be object at the root")),
        _ if flag("x-kubernetes-embedded-resource") => causes.push(of_type.invalid(EMBEDDED)),
        "array" if schema.get("items").is_absent() && !flag("x-kubernetes-preserve-unknown-fields") => {
            causes.push(schema.get("items").required("must be specified"));
        }
        _ => {}
    }
}

fn supported(schema: &At<'_>, causes: &mut Vec<Cause>) {
    for name in UNSUPPORTED.iter().filter(|it| **it != "$schema") {
        let at = schema.get(name);
        let says_nothing = at.is_absent() || (at.value.is_object() && at.is_empty());
        if !says_nothing {
            causes.push(at.forbidden(&format!("{name} is not supported")));
        }
    }
    if schema.get("items").value.is_array() {
        causes.push(schema.get("items").forbidden("items must be a schema object and not an array"));
    }
    let unique = schema.get("uniqueItems");
    if unique.truth() {
        causes
            .push(unique.forbidden("uniqueItems cannot be set to true since the runtime complexity becomes quadratic"));
    }
    let additional = schema.get("additionalProperties");
    if additional.value == &Value::Bool(false) {
        causes.push(additional.forbidden("additionalProperties cannot be set to false"));
    } else if !additional.is_absent() && !schema.get("properties").is_empty() {
        causes.push(additional.forbidden("additionalProperties and properties are mutual exclusive"));
    }
    let expression = schema.get("pattern");
    if let Some(Err(why)) = Some(expression.text()).filter(|it| !it.is_empty()).map(pattern::check) {
        causes.push(expression.invalid(&format!("must be a valid regular expression, but isn't: {why}")));
    }
}

fn extensions(schema: &At<'_>, causes: &mut Vec<Cause>) {
    let flag = |name: &str| schema.get(name).truth();
    let preserve = schema.get("x-kubernetes-preserve-unknown-fields");
    if preserve.value == &Value::Bool(false) {
        causes.push(preserve.invalid("must be true or undefined"));
    }
    if flag("x-kubernetes-int-or-string") {
        for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
            if flag(name) {
                causes.push(schema.get(name).invalid("must be false if x-kubernetes-int-or-string is true"));
            }
        }
        if !schema.get("type").is_empty() {
            causes.push(schema.get("type").forbidden("must be empty if x-kubernetes-int-or-string is true"));
        }
    }
    if flag("x-kubernetes-embedded-resource") {
        let additional = schema.get("additionalProperties");
        if !additional.is_absent() {
            causes.push(additional.forbidden("must not be used if x-kubernetes-embedded-resource is set"));
        }
        if !preserve.truth() && schema.get("properties").is_empty() {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            causes.push(schema.get("properties").required(why));
        }
    }
}

fn list(schema: &At<'_>, causes: &mut Vec<Cause>) {
    let (of_list, keys) = (schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys"));
    let of_type = schema.get("type");
    of_list.one_of(&["atomic", "map", "set"], causes);
    if !of_list.is_absent() && of_type.text() != "array" {
        let why = "must be array if x-kubernetes-list-type is specified";
        causes.push(if of_type.is_empty() { of_type.required(why) } else { of_type.invalid(why) });
    }
    if !keys.is_empty() && of_list.text() != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        causes.push(if of_list.is_empty() { of_list.required(why) } else { of_list.invalid(why) });
    }
    if of_list.text() != "map" {
        return;
    }
    if keys.is_empty() {
        causes.push(keys.required("must not be empty if x-kubernetes-list-type is map"));
    }
    let items = schema.get("items");
    if items.get("type").text() != "object" {
        causes.push(items.get("type").invalid("must be object if parent array's x-kubernetes-list-type is map"));
        return;
    }
    for key in keys.items() {
        let found = items.get("properties").entries().find(|it| it.0 == key.text()).map(|it| it.1);
        let Some(property) = found else {
            causes.push(keys.invalid("entries must all be names of item properties"));
            continue;
        };
        if ["array", "object"].contains(&property.get("type").text()) {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            causes.push(property.get("type").invalid(why));
        }
        let required = items.get("required").items().any(|it| it.text() == key.text());
        if !required && property.get("default").is_absent() {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            causes.push(property.get("default").required(why));
        }
    }
}

fn map(schema: &At<'_>, causes: &mut Vec<Cause>) {
    let of_map = schema.get("x-kubernetes-map-type");
    of_map.one_of(&["atomic", "granular"], causes);
    let of_type = schema.get("type");
    if !of_map.is_absent() && of_type.text() != "object" {
        let why = "must be object if x-kubernetes-map-type is specified";
        causes.push(if of_type.is_empty() { of_type.required(why) } else { of_type.invalid(why) });
    }
}

/// What a schema says of an object's metadata is the name's grammar at most.
fn metadata(properties: &At<'_>, causes: &mut Vec<Cause>) {
    for (name, property) in properties.entries() {
        let wanted = match name {
            "apiVersion" | "kind" => "string",
            "metadata" => "object",
            _ => continue,
        };
        if !property.get("type").is_empty() && property.get("type").text() != wanted {
            causes.push(property.get("type").invalid(&format!("must be {wanted}")));
        }
        let inner = property.get("properties");
        if name == "metadata" && inner.entries().any(|it| !matches!(it.0, "name" | "generateName")) {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            causes.push(property.forbidden(why));
        }
    }
}

fn default(schema: &At<'_>, causes: &mut Vec<Cause>) {
    let default = schema.get("default");
    if default.is_absent() {
        return;
    }
    let parsed = Schema::parse(schema.value);
    let mut pruned = default.value.clone();
    if !prune::prune_within(&mut pruned, &parsed).is_empty() {
        causes.push(default.invalid("must not have unknown fields"));
        return;
    }
    super::super::default::fill(&mut pruned, &parsed);
    causes.extend(value::check_at(&default.path, &pruned, None, &parsed));
}

fn rules(schema: &At<'_>, causes: &mut Vec<Cause>) {
    for it in schema.get("x-kubernetes-validations").items() {
        let (rule, message) = (it.get("rule"), it.get("message"));
        if rule.text().trim().is_empty() {
            causes.push(rule.required("rule is not specified"));
        }
        if message.text().contains(['\n', '\r']) {
            causes.push(message.invalid("message must not contain line breaks"));
        } else if message.is_absent() && it.get("messageExpression").is_absent() && rule.text().trim().contains('\n') {
            causes.push(message.required("message must be specified if rule contains line breaks"));
        } else if !message.is_absent() && message.text().trim().is_empty() {
            causes.push(message.invalid("message must be non-empty if specified"));
        }
        it.get("reason").one_of(&REASONS, causes);
        let path = it.get("fieldPath");
        if !path.is_empty() && !path.text().starts_with(['.', '[']) {
            let why = "fieldPath must be a valid path: expected [ or . to start it";
            causes.push(path.invalid(why));
        }
    }
}

fn junctors(schema: &At<'_>, causes: &mut Vec<Cause>) {
    let branches = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|it| schema.get(it).items().collect::<Vec<_>>());
    let not = Some(schema.get("not")).filter(|it| !it.is_absent());
    for branch in branches.chain(not) {
        // The one exception, as Kubernetes generates it itself.
        let spelled_out = schema.get("x-kubernetes-int-or-string").truth() && only_types(branch.value);
        if !spelled_out {
            nested(&branch, schema, causes);
        }
    }
}

/// `{type: integer}` and the like, also inside of `anyOf`.
fn only_types(value: &Value) -> bool {
    let Some(map) = value.as_object() else { return false };
    map.iter().all(|(key, value)| match key.as_str() {
        "type" => ["integer", "string"].contains(&value.as_str().unwrap_or_default()),
        "anyOf" => value.as_array().is_some_and(|it| it.iter().all(only_types)),
        "pattern" => true,
        _ => false,
    })
}

/// Judges a junctor's branch, which may only name what the schema around it names.
fn nested(branch: &At<'_>, schema: &At<'_>, causes: &mut Vec<Cause>) {
    for name in SHAPING {
        let at = branch.get(name);
        if !at.is_absent() {
            causes.push(at.forbidden("must be empty to be structural"));
        }
    }
    supported(branch, causes);
    rules(branch, causes);
    for (name, property) in branch.get("properties").entries() {
        let known = schema.get("properties").entries().find(|it| it.0 == name).map(|it| it.1);
        let additional = Some(schema.get("additionalProperties")).filter(|it| it.value.is_object());
        match known.or(additional) {
            Some(known) => nested(&property, &known, causes),
            None if name == "metadata" || schema.get("x-kubernetes-preserve-unknown-fields").truth() => {}
            None => causes.push(Cause::required(
                format!("{}.properties[{name}]", schema.path),
                &format!("because it is defined in {}", property.path),
            )),
        }
    }
    let items = branch.get("items");
    if items.value.is_object() {
        match schema.get("items") {
            known if known.value.is_object() => nested(&items, &known, causes),
            known => causes.push(known.required(&format!("because it is defined in {}", items.path))),
        }
    }
    junctors_within(branch, schema, causes);
}

fn junctors_within(branch: &At<'_>, schema: &At<'_>, causes: &mut Vec<Cause>) {
    let branches = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|it| branch.get(it).items().collect::<Vec<_>>());
    let not = Some(branch.get("not")).filter(|it| !it.is_absent());
    branches.chain(not).for_each(|it| nested(&it, schema, causes));
}
