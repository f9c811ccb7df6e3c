//! Kinds that are asked, not stored: who am I, and may I? Entry point: [`answer`].
//!
//! There are no roles yet: members of `system:masters` may do everything, others nothing but ask these questions.

use bytes::Bytes;
use eyot_model::status::ApiError;
use http::Response;
use serde_json::{Value, json};

use crate::{Body, Identity, MASTERS, call::Call, incoming, respond, subresource};

/// Answers `POST` of a kind that is never stored.
pub(crate) async fn answer(call: &mut Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    if call.kind.kind == "Binding" {
        return subresource::bind_posted(call, body).await;
    }
    let mut review = incoming::object(call, &body)?;
    let status = match call.kind.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": user_info(&call.identity)}),
        "SelfSubjectAccessReview" => verdict(call.identity.is_master()),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => verdict(names_master(&review["spec"])),
        "SelfSubjectRulesReview" => rules(&call.identity),
        "TokenReview" => json!({"authenticated": false, "user": {}, "error": "tokens are not issued yet"}),
        other => {
            return Err(ApiError::new(
                501,
                eyot_model::status::Reason::MethodNotAllowed,
                format!("{other} is not served"),
            ));
        }
    };
    review["status"] = status;
    Ok(respond::json(201, &review))
}

/// Whether an identity may ask this kind although it may do nothing else.
pub(crate) fn is_about_oneself(kind: &str) -> bool {
    matches!(kind, "SelfSubjectReview" | "SelfSubjectAccessReview" | "SelfSubjectRulesReview")
}

fn user_info(identity: &Identity) -> Value {
    json!({"username": identity.user, "groups": identity.groups})
}

fn verdict(allowed: bool) -> Value {
    match allowed {
        true => json!({"allowed": true}),
        false => json!({"allowed": false, "reason": format!("only members of {MASTERS} are allowed anything yet")}),
    }
}

fn names_master(spec: &Value) -> bool {
    eyot_model::meta::list(spec.get("groups")).iter().any(|it| it == MASTERS)
}

fn rules(identity: &Identity) -> Value {
    let (resources, paths) = match identity.is_master() {
        true => (
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]),
            json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        ),
        false => (json!([]), json!([])),
    };
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
