//! Which fields Gatekeeper's own kinds have, and what shape they are. Entry points: [`of_kind`], [`matching`], [`template`].
//!
//! What a schema cannot say is checked by the engine.

use serde_json::{Map, Value, json};

fn text() -> Value {
    json!({"type": "string"})
}

fn one_of(values: &[&str]) -> Value {
    json!({"type": "string", "enum": values})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

fn texts() -> Value {
    list(text())
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields: Map<String, Value> = fields.into_iter().map(|(name, it)| (name.to_owned(), it)).collect();
    json!({"type": "object", "properties": fields})
}

/// An object that may hold anything.
pub(crate) fn open() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A value that may be anything.
fn any() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}

fn with(mut schema: Value, field: &str, value: Value) -> Value {
    schema[field] = value;
    schema
}

fn kind() -> Value {
    object([("group", text()), ("version", text()), ("kind", text())])
}

fn glob() -> Value {
    json!({"type": "string", "pattern": r"^\*?[-:a-z0-9]*\*?$"})
}

fn selector() -> Value {
    let expression = object([("key", text()), ("operator", text()), ("values", texts())]);
    let expression = with(expression, "required", json!(["key", "operator"]));
    let labels = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let selector = object([("matchExpressions", list(expression)), ("matchLabels", labels)]);
    with(selector, "x-kubernetes-map-type", "atomic".into())
}

/// `match` of constraints and mutators.
pub(crate) fn matching() -> Value {
    let kinds = object([("apiGroups", texts()), ("kinds", texts())]);
    object([
        ("kinds", list(kinds)),
        ("scope", text()),
        ("namespaces", list(glob())),
        ("excludedNamespaces", list(glob())),
        ("labelSelector", selector()),
        ("namespaceSelector", selector()),
        ("name", glob()),
        ("source", one_of(&["All", "Generated", "Original"])),
    ])
}

fn apply_to() -> Value {
    list(object([
        ("groups", texts()),
        ("versions", texts()),
        ("kinds", texts()),
        ("operations", list(one_of(&["CREATE", "UPDATE", "*"]))),
    ]))
}

fn path_tests() -> Value {
    list(object([("subPath", text()), ("condition", one_of(&["MustExist", "MustNotExist"]))]))
}

fn assigned() -> Value {
    let source = with(one_of(&["ValueAtLocation", "Username"]), "default", "ValueAtLocation".into());
    let failure = with(one_of(&["UseDefault", "Ignore", "Fail"]), "default", "Fail".into());
    let external =
        object([("provider", text()), ("dataSource", source), ("failurePolicy", failure), ("default", text())]);
    object([("value", any()), ("fromMetadata", object([("field", text())])), ("externalData", external)])
}

/// A mutator with these parameters.
fn mutator(parameters: Value, applies: bool) -> Value {
    let mut spec = object([("match", matching()), ("location", text()), ("parameters", parameters)]);
    if applies {
        spec["properties"]["applyTo"] = apply_to();
    }
    spec
}

/// `spec` of a kind of Gatekeeper's.
pub(crate) fn of_kind(kind_name: &str) -> Value {
    match kind_name {
        "Assign" => mutator(object([("assign", assigned()), ("pathTests", path_tests())]), true),
        "AssignMetadata" => mutator(object([("assign", assigned())]), false),
        "ModifySet" => {
            let operation = with(one_of(&["merge", "prune"]), "default", "merge".into());
            mutator(object([("operation", operation), ("values", open()), ("pathTests", path_tests())]), true)
        }
        "AssignImage" => {
            let parts = [("assignDomain", text()), ("assignPath", text()), ("assignTag", text())];
            let mut parameters = object(parts);
            parameters["properties"]["pathTests"] = path_tests();
            mutator(parameters, true)
        }
        "Config" => {
            let trace = object([("user", text()), ("kind", kind()), ("dump", text())]);
            let entry = object([("excludedNamespaces", list(glob())), ("processes", texts())]);
            object([
                ("sync", object([("syncOnly", list(kind()))])),
                ("match", list(entry)),
                ("validation", object([("traces", list(trace))])),
                ("readiness", object([("statsEnabled", flag())])),
            ])
        }
        "SyncSet" => object([("gvks", list(kind()))]),
        "ExpansionTemplate" => object([
            ("applyTo", list(object([("groups", texts()), ("versions", texts()), ("kinds", texts())]))),
            ("templateSource", text()),
            ("enforcementAction", text()),
            ("generatedGVK", kind()),
        ]),
        "Provider" => object([("url", text()), ("timeout", json!({"type": "integer"})), ("caBundle", text())]),
        "ConstraintTemplate" => template(),
        _ => open(),
    }
}

/// `spec` of a template.
fn template() -> Value {
    let names = object([("kind", text()), ("shortNames", texts())]);
    let validation = object([("legacySchema", flag()), ("openAPIV3Schema", open())]);
    let crd = object([("spec", object([("names", names), ("validation", validation)]))]);
    let code = object([("engine", text()), ("source", open())]);
    let target = object([
        ("target", text()),
        ("rego", text()),
        ("libs", texts()),
        ("code", list(code)),
        ("operations", texts()),
    ]);
    object([("crd", crd), ("targets", list(target))])
}

/// `scopedEnforcementActions` of constraints.
pub(crate) fn scoped_actions() -> Value {
    let points = list(object([("name", text())]));
    list(object([("action", text()), ("enforcementPoints", points)]))
}
