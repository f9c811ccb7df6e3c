//! Says what is served: groups, versions, resources, health, the version, and the schema.
//!
//! Everything here follows from the kind table, which changes with the definitions of custom kinds.

mod ask;
mod groups;
mod health;
pub(crate) mod openapi;

pub(crate) use ask::Ask;

use eyot_model::{kinds::Table, status::ApiError};
use http::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Body,
    request::{
        accept::{self, Form},
        path::Path,
    },
    respond,
};

/// The Kubernetes release whose API this is.
pub(crate) const KUBERNETES: (&str, &str) = ("1", "37");

/// Whether the path needs no identity.
pub(crate) fn is_public(path: &Path) -> bool {
    matches!(path, Path::Health(..) | Path::Version)
}

/// Answers every path that names no objects.
pub(crate) fn answer(table: &Table, path: &Path, ask: &Ask) -> Result<Response<Body>, ApiError> {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        return Err(not_allowed(&ask.method));
    }
    match path {
        // Probes and browsers ask with whatever `Accept` they like.
        Path::Health(which, check) => return health::answer(which, check.as_deref(), ask),
        Path::Version => return Ok(respond::json(200, &version())),
        Path::OpenApiV2 => return openapi::answer_v2(table, ask),
        Path::OpenApiV3Index => return openapi::answer_v3_index(table, ask),
        Path::OpenApiV3(group, version) => return openapi::answer_v3(table, group, version, ask),
        _ => {}
    }
    let form = accept::form(&ask.headers, false)?;
    match (path, form) {
        (Path::Root, _) => Ok(respond::json(200, &root(table))),
        (Path::CoreVersions, Form::Discovery(version)) => Ok(aggregated(table, version, ask, |it| it.is_empty())),
        (Path::Groups, Form::Discovery(version)) => Ok(aggregated(table, version, ask, |it| !it.is_empty())),
        (Path::CoreVersions, _) => Ok(respond::json(200, &groups::core())),
        (Path::Groups, _) => Ok(respond::json(200, &groups::all(table))),
        (Path::Group(group), _) => found(groups::one(table, group)),
        (Path::GroupVersion(group, version), _) => found(groups::resources(table, group, version)),
        _ => Err(ApiError::no_such_path()),
    }
}

/// Aggregated discovery, whose media type tells clients that they got it.
fn aggregated(table: &Table, version: &str, ask: &Ask, wanted: impl Fn(&str) -> bool) -> Response<Body> {
    let media_type = match version {
        "v2beta1" => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    };
    let bytes = groups::aggregated(table, version, wanted).to_string();
    let hash = hash(bytes.as_bytes());
    ask.tagged(respond::typed(bytes, media_type), &hash)
}

/// A hash of what was answered, as clients send it back to ask whether it still holds.
fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|it| format!("{it:02X}")).collect()
}

/// The error for a method that a path never takes.
pub(crate) fn not_allowed(method: &Method) -> ApiError {
    let message = format!("the server does not allow the method {method} on the requested resource");
    ApiError::new(405, eyot_model::status::Reason::MethodNotAllowed, message)
}

fn found(value: Option<Value>) -> Result<Response<Body>, ApiError> {
    value.map(|it| respond::json(200, &it)).ok_or_else(ApiError::no_such_path)
}

fn version() -> Value {
    let (major, minor) = KUBERNETES;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{major}.{minor}.0+eyot.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }),
    })
}

fn root(table: &Table) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in table.groups().into_iter().filter(|it| !it.0.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    let others =
        ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"];
    paths.push("/.well-known/openid-configuration".to_owned());
    paths.extend(others.map(str::to_owned));
    json!({ "paths": paths })
}
