//! Chooses the form of an answer from `Accept`, and names the form of a body from `Content-Type`.

use eyot_model::{patch::PatchType, status::ApiError};
use http::{HeaderMap, header};

/// How a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// As a `meta.k8s.io` Table.
    Table(&'static str),
    /// Metadata only.
    Partial(&'static str),
    /// Aggregated discovery of this version.
    Discovery(&'static str),
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Finds the first acceptable form; clients that prefer protobuf fall back to JSON when they list it.
pub(crate) fn form(headers: &HeaderMap, watch: bool) -> Result<Form, ApiError> {
    let mut any = false;
    for value in headers.get_all(header::ACCEPT) {
        let value = value.to_str().map_err(|_| ApiError::bad_request("Accept is not ASCII"))?;
        for range in value.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            any = true;
            if let Some(form) = acceptable(range, watch) {
                return Ok(form);
            }
        }
    }
    if any { Err(ApiError::not_acceptable(&[JSON])) } else { Ok(Form::Object) }
}

fn acceptable(range: &str, watch: bool) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let essence = parts.next()?;
    let (mut form, mut version, mut group) = ("", "", "");
    for (key, value) in parts.filter_map(|it| it.split_once('=')) {
        match key.trim() {
            "as" => form = value.trim(),
            "v" => version = value.trim(),
            "g" => group = value.trim(),
            "stream" if !watch => return None,
            _ => {}
        }
    }
    if !matches!(essence, JSON | "application/*" | "*/*" | "text/*" | "text/plain") {
        return None;
    }
    let meta_version = || match (group, version) {
        ("meta.k8s.io", "v1") => Some("v1"),
        ("meta.k8s.io", "v1beta1") => Some("v1beta1"),
        _ => None,
    };
    match form {
        "" => Some(Form::Object),
        "Table" => meta_version().map(Form::Table),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => meta_version().map(Form::Partial),
        "APIGroupDiscoveryList" => match (group, version) {
            ("apidiscovery.k8s.io", "v2") => Some(Form::Discovery("v2")),
            ("apidiscovery.k8s.io", "v2beta1") => Some(Form::Discovery("v2beta1")),
            _ => None,
        },
        _ => None,
    }
}

/// How a client wants the document of OpenAPI v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    Json,
    /// gnostic's messages, of this media type; client-go asks for nothing else.
    Protobuf(&'static str),
}

/// The older of its two names has a character that media types may not have, so answers bear the newer one.
const SCHEMA_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];

/// Finds the first acceptable form of a schema.
pub(crate) fn schema(headers: &HeaderMap) -> Result<Schema, ApiError> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let essences = values.flat_map(|it| it.split(',')).map(|it| it.split(';').next().unwrap_or_default().trim());
    let mut essences = essences.filter(|it| !it.is_empty()).peekable();
    if essences.peek().is_none() {
        return Ok(Schema::Json);
    }
    let found = essences.find_map(|it| match it {
        JSON | "application/*" | "*/*" => Some(Schema::Json),
        it if SCHEMA_PROTOBUF.contains(&it) => Some(Schema::Protobuf(SCHEMA_PROTOBUF[0])),
        _ => None,
    });
    found.ok_or_else(|| ApiError::not_acceptable(&[JSON, SCHEMA_PROTOBUF[0]]))
}

/// How a request's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    Yaml,
    Protobuf,
}

/// The syntax of a body that is an object. No `Content-Type` means JSON.
pub(crate) fn syntax(headers: &HeaderMap) -> Result<Syntax, ApiError> {
    match essence(headers)?.as_str() {
        "" | JSON => Ok(Syntax::Json),
        YAML | "application/x-yaml" | "text/yaml" => Ok(Syntax::Yaml),
        PROTOBUF => Ok(Syntax::Protobuf),
        _ => Err(ApiError::unsupported_media_type(&[JSON, YAML, PROTOBUF])),
    }
}

/// What a `PATCH` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patching {
    /// A patch.
    Patch(PatchType),
    /// A configuration to apply.
    Apply,
}

/// What a `PATCH` carries, from its content type.
pub(crate) fn patching(headers: &HeaderMap) -> Result<Patching, ApiError> {
    const PATCHES: [&str; 4] = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];
    let essence = essence(headers)?;
    match PatchType::from_content_type(&essence) {
        Some(patch_type) => Ok(Patching::Patch(patch_type)),
        // JSON is YAML; some clients say so.
        None if matches!(essence.as_str(), "application/apply-patch+yaml" | "application/apply-patch+json") => {
            Ok(Patching::Apply)
        }
        None => Err(ApiError::unsupported_media_type(&PATCHES)),
    }
}

fn essence(headers: &HeaderMap) -> Result<String, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(String::new()) };
    let value = value.to_str().map_err(|_| ApiError::bad_request("Content-Type is not ASCII"))?;
    Ok(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Result<Form, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        form(&headers, false).map_err(|it| it.code)
    }

    #[test]
    fn prefers_what_comes_first_and_can_be_given() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(accept(&format!("{table},{JSON}")), Ok(Form::Table("v1")));
        assert_eq!(accept("application/json;as=Table;v=v9;g=meta.k8s.io, application/json"), Ok(Form::Object));
        assert_eq!(accept("application/vnd.kubernetes.protobuf,application/json"), Ok(Form::Object));
        assert_eq!(accept("application/vnd.kubernetes.protobuf"), Err(406));
        assert_eq!(accept("*/*"), Ok(Form::Object));
        let discovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        assert_eq!(accept(discovery), Ok(Form::Discovery("v2")));
    }

    #[test]
    fn schemas_come_as_protobuf_to_who_asks_for_it_first() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, value.parse().unwrap());
            schema(&headers).map_err(|it| it.code)
        };
        assert_eq!(of(SCHEMA_PROTOBUF[1]), Ok(Schema::Protobuf(SCHEMA_PROTOBUF[0])));
        assert_eq!(of("application/json, */*"), Ok(Schema::Json));
        assert_eq!(of("text/html"), Err(406));
        assert_eq!(schema(&HeaderMap::new()), Ok(Schema::Json));
    }

    #[test]
    fn names_the_kind_of_patch() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            patching(&headers).map_err(|it| (it.code, it.message.contains("apply-patch+yaml")))
        };
        assert_eq!(of("application/merge-patch+json; charset=utf-8"), Ok(Patching::Patch(PatchType::Merge)));
        assert_eq!(of("application/apply-patch+yaml"), Ok(Patching::Apply));
        assert_eq!(of("application/apply-patch+cbor"), Err((415, true)));
        assert_eq!(of("application/json"), Err((415, true)));
    }
}
