//! Says what is served: groups, versions, resources, health, the version, and the schema.
//!
//! Everything here follows from the kind table and never changes while the server runs.

mod groups;
pub(crate) mod openapi;

use eyot_model::{kinds::Table, status::ApiError};
use http::{Method, Response};
use serde_json::{Value, json};

use crate::{
    Body,
    request::{accept::Form, path::Path},
    respond,
};

/// The Kubernetes release whose API this is.
pub(crate) const KUBERNETES: (&str, &str) = ("1", "37");

/// Whether the path needs no identity.
pub(crate) fn is_public(path: &Path) -> bool {
    matches!(path, Path::Health | Path::Version)
}

/// Answers every path that names no objects.
pub(crate) fn answer(table: &Table, method: &Method, path: &Path, form: Form) -> Result<Response<Body>, ApiError> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(not_allowed(method));
    }
    match (path, form) {
        (Path::Health, _) => Ok(respond::text(200, "ok")),
        (Path::Version, _) => Ok(respond::json(200, &version())),
        (Path::Root, _) => Ok(respond::json(200, &root(table))),
        (Path::CoreVersions, Form::Discovery(version)) => {
            Ok(respond::discovery(&groups::aggregated(table, version, |it| it.is_empty()), version))
        }
        (Path::Groups, Form::Discovery(version)) => {
            Ok(respond::discovery(&groups::aggregated(table, version, |it| !it.is_empty()), version))
        }
        (Path::CoreVersions, _) => Ok(respond::json(200, &groups::core())),
        (Path::Groups, _) => Ok(respond::json(200, &groups::all(table))),
        (Path::Group(group), _) => found(groups::one(table, group)),
        (Path::GroupVersion(group, version), _) => found(groups::resources(table, group, version)),
        (Path::OpenApiV2, _) => Ok(respond::json(200, &openapi::v2(table))),
        (Path::OpenApiV3Index, _) => Ok(respond::json(200, &openapi::v3_index(table))),
        (Path::OpenApiV3(group, version), _) => found(openapi::v3(table, group, version)),
        (Path::Resource(_), _) => Err(ApiError::no_such_path()),
    }
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
    paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    json!({ "paths": paths })
}
