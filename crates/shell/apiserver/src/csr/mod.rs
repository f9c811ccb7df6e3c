//! Requests for certificates: who asked is written down, who approves must be allowed to, and what is approved is signed.
//! Entry points: [`stamp`] for each write, [`authorize`] for approvals, [`settle`] after them.
//!
//! Signed are the three signers of Kubernetes whose certificates this server itself believes; requests for others wait for
//! a signer of their own.

mod signer;

use base64::{Engine, engine::general_purpose::STANDARD};
use eyot_model::{
    kinds::{self, Kind},
    meta,
    rbac::{Ask, Resource},
    status::{ApiError, Cause},
};
use eyot_store::Key;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    Identity, MASTERS, access,
    admit::Attempt,
    commit::{self, Stored},
    object,
    pki::Wish,
    server::Shared,
};

/// Where requests are stored.
pub(crate) const STORAGE: &str = "certificates.k8s.io/certificatesigningrequests";

const GROUP: &str = "certificates.k8s.io";
const KIND: &str = "CertificateSigningRequest";
/// How long a request is kept that was decided, and one that waits for it.
const KEPT: [SignedDuration; 2] = [SignedDuration::from_hours(1), SignedDuration::from_hours(24)];
/// Shortest life of a certificate that can be asked for.
const SECONDS_MIN: i64 = 600;
/// Rounds against concurrent writers.
const ROUNDS_MAX: usize = 8;

/// Whether a request has had its time: it was signed, denied or failed an hour ago, or nobody decided for a day.
pub(crate) fn is_over(request: &Value, now: Timestamp) -> bool {
    let conditions = meta::list(request.pointer("/status/conditions"));
    let decided = conditions.iter().filter(|it| matches!(it["type"].as_str(), Some("Approved" | "Denied" | "Failed")));
    let decided: Vec<&Value> = decided.collect();
    let waits = request.pointer("/status/certificate").is_none();
    // Approved and not signed: its signer may still come.
    if waits && decided.iter().any(|it| it["type"] == "Approved") && decided.len() == 1 {
        return false;
    }
    let last = decided.iter().filter_map(|it| meta::time(it.get("lastUpdateTime"))).max();
    let kept = KEPT[usize::from(decided.is_empty())];
    last.or_else(|| meta::created(request)).is_some_and(|it| now.duration_since(it) > kept)
}

/// Whether it is the kind that this module is about.
pub(crate) fn is_request(kind: &Kind) -> bool {
    kind.is(GROUP, KIND)
}

/// Writes down who asks, which nobody can say of themselves, and keeps it. Other kinds pass.
pub(crate) fn stamp(attempt: &Attempt<'_>, request: &mut Value) -> Result<(), ApiError> {
    if !is_request(attempt.kind) {
        return Ok(());
    }
    if let Some(old) = attempt.old {
        let spec = old.get("spec").cloned().unwrap_or_default();
        meta::as_map(request).insert("spec".into(), spec);
        match attempt.subresource {
            "approval" => keep_certificate(request, old),
            "status" => keep_verdict(request, old),
            _ => {}
        }
        stamp_conditions(request, old);
        return Ok(());
    }
    let Identity { user, uid, groups, extra } = attempt.identity;
    let spec = meta::entry(request, "spec");
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    spec.insert("username".into(), user.as_str().into());
    spec.insert("groups".into(), json!(groups));
    if !uid.is_empty() {
        spec.insert("uid".into(), uid.as_str().into());
    }
    if !extra.is_empty() {
        spec.insert("extra".into(), json!(extra));
    }
    check(attempt.kind, request)
}

/// Who approves does not sign.
fn keep_certificate(request: &mut Value, old: &Value) {
    let status = meta::entry(request, "status");
    match old.pointer("/status/certificate") {
        Some(certificate) => status.insert("certificate".into(), certificate.clone()),
        None => status.remove("certificate"),
    };
}

/// Who signs does not approve.
fn keep_verdict(request: &mut Value, old: &Value) {
    let is_verdict = |it: &Value| matches!(it["type"].as_str(), Some("Approved" | "Denied"));
    let conditions = |object: &Value| meta::list(object.pointer("/status/conditions")).to_vec();
    let kept = conditions(old).into_iter().filter(is_verdict);
    let all: Vec<Value> = kept.chain(conditions(request).into_iter().filter(|it| !is_verdict(it))).collect();
    let status = meta::entry(request, "status");
    match all.is_empty() {
        true => status.remove("conditions"),
        false => status.insert("conditions".into(), all.into()),
    };
}

/// Conditions carry the time when they came and changed.
fn stamp_conditions(request: &mut Value, old: &Value) {
    let now = meta::format_time(Timestamp::now());
    let before = meta::list(old.pointer("/status/conditions"));
    let conditions = request.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        let known = before.iter().find(|it| it.get("type") == condition.get("type"));
        let same = known.is_some_and(|it| it.get("status") == condition.get("status"));
        for field in ["lastUpdateTime", "lastTransitionTime"] {
            let absent = condition.get(field).is_none_or(Value::is_null);
            if absent {
                let kept = known.filter(|_| same).and_then(|it| it.get(field)).cloned();
                condition.insert(field.into(), kept.unwrap_or_else(|| now.as_str().into()));
            }
        }
    }
}

fn check(kind: &Kind, request: &Value) -> Result<(), ApiError> {
    let name = meta::name(request).unwrap_or_default();
    let spec = &request["spec"];
    let mut causes = Vec::new();
    let signer = spec["signerName"].as_str().unwrap_or_default();
    if signer.is_empty() {
        causes.push(Cause::required("spec.signerName", ""));
    } else if signer.split_once('/').is_none_or(|(domain, path)| !domain.contains('.') || path.is_empty()) {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        causes.push(Cause::invalid("spec.signerName", &spec["signerName"], why));
    }
    if meta::list(spec.get("usages")).is_empty() {
        causes.push(Cause::required("spec.usages", "at least one usage is needed"));
    }
    for (at, usage) in meta::list(spec.get("usages")).iter().enumerate() {
        if !signer::USAGES.iter().any(|it| usage == it) {
            causes.push(Cause::not_supported(format!("spec.usages[{at}]"), usage, &signer::USAGES));
        }
    }
    if spec["expirationSeconds"].as_i64().is_some_and(|it| it < SECONDS_MIN) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        causes.push(Cause::invalid("spec.expirationSeconds", &spec["expirationSeconds"], why));
    }
    let wish = wish(request);
    if let Err(why) = &wish {
        causes.push(Cause::invalid("spec.request", &"".into(), why));
    }
    if !causes.is_empty() {
        return Err(ApiError::invalid(kind, name, causes));
    }
    let masters = wish.is_ok_and(|it| it.organizations.iter().any(|it| it == MASTERS));
    if signer == signer::CLIENT && masters {
        let why = format!("use of {signer} signer with {MASTERS} group is not allowed");
        return Err(ApiError::forbidden(kind, name, &why));
    }
    Ok(())
}

fn wish(request: &Value) -> Result<Wish, String> {
    let text = request.pointer("/spec/request").and_then(Value::as_str).unwrap_or_default();
    let bytes = STANDARD.decode(text).map_err(|it| it.to_string())?;
    Wish::parse(&String::from_utf8(bytes).map_err(|it| it.to_string())?)
}

/// Who approves or signs must be allowed to for the signer that the request names, beside being allowed to write it.
pub(crate) fn authorize(server: &Shared, identity: &Identity, name: &str, subresource: &str) -> Result<(), ApiError> {
    let verb = if subresource == "approval" { "approve" } else { "sign" };
    let kind = kinds::builtin().by_kind(GROUP, "v1", KIND).ok_or_else(ApiError::no_such_path)?;
    let Some(entry) = server.store.get(&Key::new(kind.storage.as_str(), "", name)) else {
        return Err(ApiError::not_found(kind, name));
    };
    let request = object::parse(&entry)?;
    let signer = request.pointer("/spec/signerName").and_then(Value::as_str).unwrap_or_default();
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    let may = |name: &str| {
        let ask = Resource { verb, group: GROUP, resource: "signers", name, ..Resource::default() };
        access::may(server, identity, &Ask::Resource(ask))
    };
    if may(signer) || may(&domain) {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(ApiError::forbidden(kind, name, &why))
}

/// Signs a request that is approved and has no certificate yet, or says why it is not signed.
pub(crate) async fn settle(server: &Shared, name: &str) {
    let Some(kind) = kinds::builtin().by_kind(GROUP, "v1", KIND) else { return };
    let Ok(credentials) = server.credentials() else { return };
    let Some(authority) = &credentials.clients else { return };
    for _ in 0..ROUNDS_MAX {
        let Some(entry) = server.store.get(&Key::new(kind.storage.as_str(), "", name)) else { return };
        let Ok(mut request) = object::parse(&entry) else { return };
        let Some(outcome) = signer::decide(&request, authority, Timestamp::now()) else { return };
        let status = meta::entry(&mut request, "status");
        match outcome {
            Ok(certificate) => {
                status.insert("certificate".into(), STANDARD.encode(certificate).into());
            }
            Err(why) => {
                let now = meta::format_time(Timestamp::now());
                let conditions = status.entry("conditions").or_insert_with(|| json!([]));
                if let Some(list) = conditions.as_array_mut() {
                    list.push(json!({
                        "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why,
                        "lastUpdateTime": now, "lastTransitionTime": now,
                    }));
                }
            }
        }
        let Ok(stored) = Stored::new(kind, request) else { return };
        match commit::replace(server, entry.key.clone(), entry.revision, stored).await {
            Err(eyot_store::WriteError::Conflict { .. }) => {}
            Ok(_) => return,
            Err(error) => return tracing::error!(%error, name, "storing a certificate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_kept_until_they_are_done_with() {
        let over = |status: Value, hours: i64| {
            let created = "2026-01-01T00:00:00Z";
            let request = json!({"metadata": {"creationTimestamp": created}, "status": status});
            let now = created.parse::<Timestamp>().unwrap();
            is_over(&request, now.checked_add(SignedDuration::from_hours(hours)).unwrap())
        };
        let condition = |of_type: &str| json!({"type": of_type, "lastUpdateTime": "2026-01-01T00:00:00Z"});
        assert!(!over(json!({}), 23) && over(json!({}), 25));
        let approved = json!({"conditions": [condition("Approved")]});
        assert!(!over(approved.clone(), 100), "its signer may still come");
        let mut signed = approved.clone();
        signed["certificate"] = "x".into();
        assert!(over(signed, 2));
        assert!(over(json!({"conditions": [condition("Approved"), condition("Failed")]}), 2));
        assert!(over(json!({"conditions": [condition("Denied")]}), 2));
        assert!(!over(json!({"conditions": [condition("Denied")]}), 1));
    }
}
