//! `admission.k8s.io` AdmissionReview: the question to a hook, and what its answer means.
//!
//! Entry points: [`request`] and [`read`]. Audit annotations of answers are dropped, since there is no audit log.

use base64::{Engine, engine::general_purpose::STANDARD};
use eyot_model::status::{ApiError, Reason};
use serde_json::{Value, json};

use super::{
    super::{Attempt, Operation},
    call::Failure,
    hook::Hook,
    rules::Wanted,
};
use crate::policy;

/// What a hook answered to something it allows.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// A JSON patch.
    pub(super) patch: Option<Value>,
    pub(super) warnings: Vec<String>,
}

/// The whole review that is posted to a hook.
pub(super) fn review(hook: &Hook, uid: &str, wanted: &Wanted, attempt: &Attempt<'_>, object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": format!("admission.k8s.io/{}", hook.version),
        "request": request(uid, wanted, attempt, object),
    })
}

/// `AdmissionRequest` of an attempt, in the version that a hook wants.
pub(super) fn request(uid: &str, wanted: &Wanted, attempt: &Attempt<'_>, object: &Value) -> Value {
    let convert = |it: &Value| match attempt.is_of_the_kind() || attempt.operation == Operation::Delete {
        true => wanted.convert(attempt.kind, it.clone()),
        false => it.clone(),
    };
    let (object, old) = (convert(object), attempt.old.map(convert));
    let now = jiff::Timestamp::now();
    policy::step::review(attempt, &object, now).seen_as(wanted.kind(attempt.kind), &object, old.as_ref()).request(uid)
}

/// What an answer means.
pub(super) fn read(hook: &Hook, uid: &str, review: &Value) -> Result<Answer, Failure> {
    let bad = |what: String| Err(Failure::Answer(what));
    let want = (format!("admission.k8s.io/{}", hook.version), "AdmissionReview");
    let text = |field: &str| review[field].as_str().unwrap_or_default();
    if (text("apiVersion"), text("kind")) != (want.0.as_str(), want.1) {
        return bad(format!(
            "expected webhook response of {}, Kind={}, got {}, Kind={}",
            want.0,
            want.1,
            text("apiVersion"),
            text("kind")
        ));
    }
    let response = &review["response"];
    if !response.is_object() {
        return bad("webhook response was absent".to_owned());
    }
    if response["uid"] != uid {
        let got = response["uid"].as_str().unwrap_or_default();
        return bad(format!("expected response.uid={uid:?}, got {got:?}"));
    }
    if response["allowed"] != true {
        return Err(Failure::Refused(Box::new(refusal(&hook.name, &response["status"]))));
    }
    let warnings = eyot_model::meta::list(response.get("warnings")).iter().filter_map(Value::as_str);
    let patch = match (response["patch"].as_str(), response["patchType"].as_str()) {
        (None | Some(""), None) => None,
        (None | Some(""), Some(_)) => {
            return bad("webhook returned response.patchType but not response.patch".to_owned());
        }
        (Some(_), None) => return bad("webhook returned response.patch but not response.patchType".to_owned()),
        (Some(patch), Some("JSONPatch")) => Some(decode(patch)?),
        (Some(_), Some(other)) => return bad(format!("webhook returned invalid response.patchType of {other:?}")),
    };
    Ok(Answer { patch, warnings: warnings.map(str::to_owned).collect() })
}

fn decode(patch: &str) -> Result<Value, Failure> {
    let bytes = STANDARD.decode(patch).map_err(|it| Failure::Answer(format!("response.patch is not base64: {it}")))?;
    serde_json::from_slice(&bytes).map_err(|it| Failure::Answer(format!("response.patch is not JSON: {it}")))
}

/// The error that a client sees for what a hook refused.
fn refusal(name: &str, status: &Value) -> ApiError {
    let text = |field: &str| status[field].as_str().unwrap_or_default();
    let lead = format!("admission webhook {name:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{lead} without explanation"),
        ("", reason) => format!("{lead}: {reason}"),
        (message, _) => format!("{lead}: {message}"),
    };
    let code = status["code"].as_u64().and_then(|it| u16::try_from(it).ok()).filter(|it| (400..600).contains(it));
    let reason = Reason::parse(text("reason")).unwrap_or(Reason::Unknown);
    ApiError::new(code.unwrap_or(400), reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_the_hooks_name() {
        for (status, code, message) in [
            (json!(null), 400, "admission webhook \"a.b.c\" denied the request without explanation"),
            (json!({"code": 200, "message": "no"}), 400, "admission webhook \"a.b.c\" denied the request: no"),
            (
                json!({"code": 403, "reason": "Forbidden"}),
                403,
                "admission webhook \"a.b.c\" denied the request: Forbidden",
            ),
        ] {
            let error = refusal("a.b.c", &status);
            assert_eq!((error.code, error.message.as_str()), (code, message));
        }
    }
}
