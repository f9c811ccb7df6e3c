//! Definitions of kinds: those that Gatekeeper has, and those that templates make.

use eyot_model::meta;
use serde_json::{Map, Value, json};

use crate::{CONFIG, CONSTRAINTS, EXPANSION, EXTERNAL, MUTATIONS, SYNCSET, TEMPLATES, schema};

/// The definitions of Gatekeeper's own kinds.
pub(crate) fn own() -> Vec<Value> {
    let mutators = |kind: &str, plural: &str| definition(MUTATIONS, kind, plural, &["v1", "v1beta1", "v1alpha1"]);
    vec![
        definition(TEMPLATES, "ConstraintTemplate", "constrainttemplates", &["v1", "v1beta1", "v1alpha1"]),
        definition(CONFIG, "Config", "configs", &["v1alpha1"]),
        definition(SYNCSET, "SyncSet", "syncsets", &["v1alpha1"]),
        mutators("Assign", "assign"),
        mutators("AssignMetadata", "assignmetadata"),
        mutators("ModifySet", "modifyset"),
        mutators("AssignImage", "assignimage"),
        definition(EXPANSION, "ExpansionTemplate", "expansiontemplate", &["v1beta1", "v1alpha1"]),
        definition(EXTERNAL, "Provider", "providers", &["v1beta1", "v1alpha1"]),
    ]
}

fn definition(group: &str, kind: &str, plural: &str, versions: &[&str]) -> Value {
    let fields = json!({"spec": schema::of_kind(kind), "status": schema::open()});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": fields}});
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(n, version)| {
            json!({"name": version, "served": true, "storage": n == 0, "schema": schema, "subresources": {"status": {}}})
        })
        .collect();
    let scope = if kind == "Config" { "Namespaced" } else { "Cluster" };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"), "labels": {"gatekeeper.sh/system": "yes"}},
        "spec": {
            "group": group, "scope": scope, "versions": versions,
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
        },
    })
}

/// The schema of a template's parameters, if it has one.
pub(crate) fn parameters(template: &Value) -> Option<Value> {
    let validation = template.pointer("/spec/crd/spec/validation")?;
    let schema = validation.get("openAPIV3Schema").filter(|it| it.is_object())?;
    let by_default = !template["apiVersion"].as_str().unwrap_or_default().ends_with("/v1");
    let legacy = validation.get("legacySchema").and_then(Value::as_bool).unwrap_or(by_default);
    Some(if legacy { lenient(schema) } else { schema.clone() })
}

/// A schema from before schemas had to be structural: types that are missing are guessed, and nothing is pruned.
fn lenient(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return json!({"x-kubernetes-preserve-unknown-fields": true}) };
    let mut out: Map<String, Value> = fields.clone();
    if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
        let properties: Map<String, Value> = properties.iter().map(|(name, it)| (name.clone(), lenient(it))).collect();
        out.insert("properties".to_owned(), properties.into());
        out.entry("type").or_insert_with(|| "object".into());
    }
    if let Some(items) = fields.get("items") {
        out.insert("items".to_owned(), lenient(items));
        out.entry("type").or_insert_with(|| "array".into());
    }
    if let Some(additional) = fields.get("additionalProperties").filter(|it| it.is_object()) {
        out.insert("additionalProperties".to_owned(), lenient(additional));
        out.entry("type").or_insert_with(|| "object".into());
    }
    let open = out.get("type").is_none_or(|it| it == "object") && !out.contains_key("additionalProperties");
    if open {
        out.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
    }
    out.into()
}

/// The kind of a template's constraints.
pub(crate) fn of_template(template: &Value) -> Option<Value> {
    let names = template.pointer("/spec/crd/spec/names")?;
    let kind = names["kind"].as_str()?;
    let plural = kind.to_lowercase();
    let parameters = parameters(template).unwrap_or_else(schema::open);
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 63}}},
        "spec": {"type": "object", "properties": {
            "match": schema::matching(),
            "enforcementAction": {"type": "string"},
            "scopedEnforcementActions": schema::scoped_actions(),
            "parameters": parameters,
        }},
        "status": schema::open(),
    }}});
    let columns = json!([
        {"name": "enforcement-action", "type": "string", "jsonPath": ".spec.enforcementAction",
            "description": "Type of enforcement action"},
        {"name": "total-violations", "type": "integer", "jsonPath": ".status.totalViolations",
            "description": "Total number of violations"},
    ]);
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": schema, "subresources": {"status": {}},
            "additionalPrinterColumns": columns})
    };
    let mut labels: Map<String, Value> = meta::labels(template).map(|(k, v)| (k.to_owned(), v.into())).collect();
    labels.insert("gatekeeper.sh/constraint".to_owned(), "yes".into());
    let short = names.get("shortNames").filter(|it| it.is_array()).cloned().unwrap_or_else(|| json!([]));
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{CONSTRAINTS}"), "labels": labels},
        "spec": {
            "group": CONSTRAINTS, "scope": "Cluster",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": plural,
                "shortNames": short, "categories": ["constraint", "constraints"]},
            "versions": [version("v1beta1", true), version("v1alpha1", false)],
        },
    }))
}
