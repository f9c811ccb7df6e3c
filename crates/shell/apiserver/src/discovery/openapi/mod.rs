//! The schema of every kind as OpenAPI documents, made from the model's table of fields.
//!
//! Entry points: [`v2`], [`v3_index`], [`v3`]. Documents are made when they are asked for and not kept: together they
//! are some megabytes, and clients keep them by hash. Deliberately absent: descriptions.

mod paths;
mod schemas;

use std::{collections::BTreeMap, sync::OnceLock};

use eyot_model::kinds::{Kind, Table};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use self::schemas::Dialect;
use super::KUBERNETES;

/// The document of OpenAPI v2: every kind.
pub(super) fn v2(table: &Table) -> Value {
    let kinds: Vec<&Kind> = table.iter().map(|it| &**it).collect();
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths::of(&kinds, Dialect::V2),
        "definitions": schemas::of(&kinds, Dialect::V2),
    })
}

/// One group and version in OpenAPI v3.
pub(super) fn v3(table: &Table, group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<&Kind> =
        table.iter().map(|it| &**it).filter(|it| it.group == group && it.version == version).collect();
    if kinds.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths::of(&kinds, Dialect::V3),
        "components": {"schemas": schemas::of(&kinds, Dialect::V3)},
    }))
}

/// The index of OpenAPI v3: where each group and version is, with a hash that changes when the document does.
pub(super) fn v3_index(table: &Table) -> Value {
    static HASHES: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    let hashes = HASHES.get_or_init(|| hashes(table));
    let paths: Map<String, Value> = hashes
        .iter()
        .map(|(path, hash)| (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")})))
        .collect();
    json!({ "paths": paths })
}

fn hashes(table: &Table) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for (group, versions) in table.groups() {
        for version in versions {
            let path = match group {
                "" => format!("api/{version}"),
                group => format!("apis/{group}/{version}"),
            };
            if let Some(document) = v3(table, group, version) {
                hashes.insert(path, hash(document.to_string().as_bytes()));
            }
        }
    }
    hashes
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|it| format!("{it:02X}")).collect()
}

fn info() -> Value {
    let (major, minor) = KUBERNETES;
    json!({"title": "Kubernetes", "version": format!("v{major}.{minor}.0")})
}

/// `x-kubernetes-group-version-kind` of a kind.
fn group_version_kind(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::table;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| match value {
                Value::String(text) if key == "$ref" => found.push(text.clone()),
                value => references(value, found),
            }),
            Value::Array(list) => list.iter().for_each(|it| references(it, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let mut documents = vec![v2(table())];
        for (group, versions) in table().groups() {
            documents.extend(versions.iter().filter_map(|version| v3(table(), group, version)));
        }
        for document in documents {
            let mut found = Vec::new();
            references(&document, &mut found);
            for reference in found {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
        }
    }

    #[test]
    fn apply_finds_what_it_looks_for() {
        let document = v3(table(), "apps", "v1").unwrap();
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
        let parameters = patch["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|it| it["name"] == "fieldValidation"));
        let containers = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    }
}
