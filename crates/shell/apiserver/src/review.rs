//! Kinds that are asked, not stored: who am I, whose token is this, and may I? Entry point: [`answer`].

mod access;

use bytes::Bytes;
use eyot_model::{
    meta,
    status::{ApiError, Cause, Reason},
};
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    Body,
    call::Call,
    incoming, respond, subresource,
    token::{self, ISSUER},
};

/// Answers `POST` of a kind that is never stored.
pub(crate) async fn answer(call: &mut Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    if call.kind.kind == "Binding" {
        return subresource::bind_posted(call, body).await;
    }
    let mut review = incoming::object(call, &body)?;
    let spec = review.get("spec").cloned().unwrap_or_default();
    let status = match call.kind.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": call.identity.to_value()}),
        "SelfSubjectAccessReview" => access::of_oneself(call, &spec)?,
        "SubjectAccessReview" => access::of_somebody(call, &spec)?,
        "LocalSubjectAccessReview" => access::of_somebody_here(call, &spec)?,
        "SelfSubjectRulesReview" => access::rules(call, &spec)?,
        "TokenReview" => whose(call, &spec)?,
        other => return Err(ApiError::new(501, Reason::MethodNotAllowed, format!("{other} is not served"))),
    };
    meta::metadata_mut(&mut review).insert("creationTimestamp".into(), meta::format_time(Timestamp::now()).into());
    review["status"] = status;
    Ok(respond::json(201, &review))
}

/// The status of a TokenReview. The spec holds a secret: it is answered, never logged.
fn whose(call: &Call, spec: &Value) -> Result<Value, ApiError> {
    let server = call.shared();
    let text = spec["token"].as_str().unwrap_or_default();
    if text.is_empty() {
        return Err(ApiError::invalid(&call.kind, "", vec![Cause::required("spec.token", "token is required")]));
    }
    let strings = meta::list(spec.get("audiences")).iter().filter_map(Value::as_str);
    let mut audiences: Vec<String> = strings.map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    // Tokens of the file are for this server alone.
    let listed = server.credentials()?.static_tokens.find(text).filter(|_| audiences.iter().any(|it| it == ISSUER));
    let known = match listed {
        Some(identity) => Ok((identity, vec![ISSUER.to_owned()])),
        None => token::verify(server, text, &audiences).map(|it| (it.identity, it.audiences)),
    };
    Ok(match known {
        Ok((identity, audiences)) => {
            json!({"authenticated": true, "user": identity.to_value(), "audiences": audiences})
        }
        Err(refusal) => json!({"authenticated": false, "user": {}, "error": refusal.to_string()}),
    })
}
