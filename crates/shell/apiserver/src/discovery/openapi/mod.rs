//! The schema of every kind as OpenAPI documents, made from the model's table of fields and the glossary's texts.
//!
//! Entry points: [`answer_v2`], [`answer_v3_index`], [`answer_v3`]. Documents are made when they are asked for and not
//! kept: together they are some megabytes, and clients keep them by hash.

mod custom;
mod gnostic;
mod hashes;
mod paths;
mod schemas;

use eyot_model::{
    kinds::{Kind, Table},
    status::ApiError,
};
use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use self::schemas::Dialect;
use super::{KUBERNETES, ask::Ask, hash};
use crate::{
    Body,
    request::accept::{self, Schema},
    respond,
};

/// Answers `/openapi/v2`: every kind, as JSON or as gnostic's messages.
pub(super) fn answer_v2(table: &Table, ask: &Ask) -> Result<Response<Body>, ApiError> {
    let form = accept::schema(&ask.headers)?;
    let document = v2(table);
    let response = match form {
        Schema::Json => {
            let text = document.to_string();
            let hash = hash(text.as_bytes());
            (respond::typed(text, "application/json"), hash)
        }
        Schema::Protobuf(media_type) => {
            let bytes = gnostic::encode(&document);
            let hash = hash(&bytes);
            (respond::typed(bytes, media_type), hash)
        }
    };
    Ok(ask.tagged(response.0, &response.1))
}

/// Answers `/openapi/v3`.
pub(super) fn answer_v3_index(table: &Table, ask: &Ask) -> Result<Response<Body>, ApiError> {
    accept::form(&ask.headers, false)?;
    let text = v3_index(table).to_string();
    let hash = hash(text.as_bytes());
    Ok(ask.tagged(respond::typed(text, "application/json"), &hash))
}

/// Answers `/openapi/v3/…`. What is asked for by its hash never changes; by another hash, the client is sent on.
pub(super) fn answer_v3(table: &Table, group: &str, version: &str, ask: &Ask) -> Result<Response<Body>, ApiError> {
    accept::form(&ask.headers, false)?;
    let document = v3(table, group, version).ok_or_else(ApiError::no_such_path)?;
    let text = document.to_string();
    let hash = hash(text.as_bytes());
    let wanted = ask.options("hash");
    if wanted.first().is_some_and(|it| *it != hash) {
        let mut response = respond::typed("", "text/plain; charset=utf-8");
        *response.status_mut() = http::StatusCode::MOVED_PERMANENTLY;
        let place = HeaderValue::from_str(&format!("/openapi/v3/{}?hash={hash}", path_of(group, version)));
        response.headers_mut().insert(header::LOCATION, place.map_err(ApiError::internal)?);
        return Ok(response);
    }
    let mut response = respond::typed(text, "application/json");
    if !wanted.is_empty() {
        respond::keep(&mut response);
    }
    Ok(ask.tagged(response, &hash))
}

/// Where a group and version is below `/openapi/v3/`.
fn path_of(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

/// The document of OpenAPI v2: every kind.
fn v2(table: &Table) -> Value {
    let kinds: Vec<&Kind> = table.iter().map(|it| &**it).collect();
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths::of(&kinds, Dialect::V2),
        "definitions": schemas::of(&kinds, Dialect::V2),
    })
}

/// One group and version in OpenAPI v3.
fn v3(table: &Table, group: &str, version: &str) -> Option<Value> {
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
fn v3_index(table: &Table) -> Value {
    let paths: Map<String, Value> = hashes::of(table)
        .into_iter()
        .map(|(path, hash)| {
            let url = format!("/openapi/v3/{path}?hash={hash}");
            (path, json!({ "serverRelativeURL": url }))
        })
        .collect();
    json!({ "paths": paths })
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
    use eyot_model::kinds::builtin as table;

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
    fn what_is_asked_for_is_described() {
        let document = v3(table(), "", "v1").unwrap();
        let schemas = &document["components"]["schemas"];
        let spec = &schemas["io.k8s.api.core.v1.PodSpec"];
        for at in [
            "/description",
            "/properties/containers/description",
            "/properties/affinity/description",
            "/properties/nodeName/description",
        ] {
            assert!(spec.pointer(at).and_then(Value::as_str).is_some_and(|it| it.len() > 10), "{at}");
        }
        assert_eq!(
            spec["properties"]["affinity"]["allOf"][0]["$ref"],
            "#/components/schemas/io.k8s.api.core.v1.Affinity"
        );
        let described = |it: &&String| schemas[it.as_str()]["description"].as_str().is_some_and(|it| !it.is_empty());
        let all: Vec<&String> = schemas.as_object().unwrap().keys().collect();
        let lacking: Vec<_> = all.iter().filter(|it| !described(it)).collect();
        assert!(lacking.len() < 10, "{lacking:?}");
    }

    #[test]
    fn hashes_of_the_index_are_those_of_the_documents() {
        let hashes = hashes::of(table());
        assert_eq!(hashes, hashes::of(table()));
        let document = v3(table(), "apps", "v1").unwrap().to_string();
        assert_eq!(hashes["apis/apps/v1"], hash(document.as_bytes()));
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
