//! Answers and errors in OPA's form, and the parameters that shape them.

use std::time::Instant;

use axum::{
    extract::{FromRequestParts, Query},
    response::{IntoResponse, Response},
};
use eyot_rego::{Fault, Flaw};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE, request::Parts};
use serde_json::{Value, json};

/// An error as OPA tells it.
#[derive(Debug)]
pub(super) struct Failure {
    status: u16,
    body: Value,
}

impl Failure {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Failure {
        Failure { status, body: json!({"code": code, "message": message.into()}) }
    }

    pub(super) fn bad(message: impl Into<String>) -> Failure {
        Failure::new(400, "invalid_parameter", message)
    }

    pub(super) fn not_found(what: &str) -> Failure {
        Failure::new(404, "resource_not_found", what)
    }

    /// Modules or a query that do not compile.
    pub(super) fn flaws(message: &str, flaws: &[Flaw]) -> Failure {
        let errors = flaws.iter().map(|it| {
            let location = json!({"file": it.file, "row": it.position.line, "col": it.position.column});
            json!({"code": it.code, "message": it.message, "location": location})
        });
        let mut failure = Failure::bad(message);
        failure.body["errors"] = errors.collect();
        failure
    }

    pub(super) fn fault(fault: &Fault) -> Failure {
        let mut failure = Failure::new(500, "internal_error", "error(s) occurred while evaluating query");
        failure.body["errors"] = json!([{"code": fault.code(), "message": fault.to_string()}]);
        failure
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(self.body)).into_response()
    }
}

/// What is not offered, by name.
pub(super) async fn refused(what: &'static str) -> Failure {
    Failure::new(501, "not_implemented", what)
}

/// The parameters of a URL.
#[derive(Debug)]
pub(super) struct Asked {
    pairs: Vec<(String, String)>,
    started: Instant,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let asked = Asked { pairs: query.map_err(|it| Failure::bad(it.to_string()))?.0, started: Instant::now() };
        if asked.text("explain").is_some_and(|it| it != "off") {
            return Err(Failure::bad("explanations (?explain) are not supported"));
        }
        if asked.is("instrument") {
            return Err(Failure::bad("instrumentation (?instrument) is not supported"));
        }
        Ok(asked)
    }
}

impl Asked {
    /// Whether a flag is given, also without a value.
    pub(super) fn is(&self, name: &str) -> bool {
        self.text(name).is_some_and(|it| it.is_empty() || it == "true")
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Answers with an object, completed by what was asked for about it.
    pub(super) fn answer(&self, mut body: Value) -> Response {
        if self.is("provenance") {
            body["provenance"] = json!({"version": env!("CARGO_PKG_VERSION"), "bundles": {}});
        }
        if self.is("metrics") {
            let nanos = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            body["metrics"] = json!({"timer_server_handler_ns": nanos});
        }
        self.plain(&body)
    }

    /// Answers with a document and nothing around it.
    pub(super) fn plain(&self, body: &Value) -> Response {
        let text = if self.is("pretty") { serde_json::to_string_pretty(body) } else { serde_json::to_string(body) };
        let mut response = (text.unwrap_or_default() + "\n").into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
