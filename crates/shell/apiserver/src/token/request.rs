//! Answers `POST` of `serviceaccounts/NAME/token`: issues a token for a while, for an audience, bound to an object.
//! Entry point: [`issue`].

use bytes::Bytes;
use eyot_model::{
    kinds, meta,
    rbac::account_user,
    status::{ApiError, Cause},
};
use eyot_store::Key;
use http::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{ISSUER, verify::head};
use crate::{Body, access, call::Call, object, respond};

/// How long a token lives that was not asked to live longer or shorter.
const SECONDS: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

/// Issues a token for the ServiceAccount called `name`.
pub(crate) async fn issue(call: &mut Call, name: &str, body: Bytes) -> Result<Response<Body>, ApiError> {
    let mut request = if body.is_empty() { json!({}) } else { call.decode(&body)?.value };
    complete(call, name, &mut request)?;
    check(name, &request)?;
    let account = object::parse(&*call.get(name)?)?;
    let place = (call.namespace.as_deref().unwrap_or_default(), name);
    let reference = &request["spec"]["boundObjectRef"];
    access::judge_token_of_node(call.shared(), &call.identity, &call.kind, place, reference)?;
    let now = Timestamp::now();
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(SECONDS);
    let end = now.checked_add(SignedDuration::from_secs(seconds)).map_err(ApiError::internal)?;
    let claims = claims(call, name, &account, &request, now, end)?;
    let status = if call.query.dry_run {
        json!({"token": "fake", "expirationTimestamp": meta::format_time(end)})
    } else {
        let token = call.shared().credentials()?.tokens.sign(&claims);
        let token = token.ok_or_else(|| ApiError::internal("signing a token"))?;
        json!({"token": token, "expirationTimestamp": meta::format_time(end)})
    };
    meta::as_map(&mut request).insert("status".into(), status);
    Ok(respond::json(201, &request))
}

/// Settles what the request leaves open.
fn complete(call: &Call, name: &str, request: &mut Value) -> Result<(), ApiError> {
    let wrong = |what: &str| ApiError::bad_request(format!("the body of the request is not a TokenRequest: {what}"));
    if !request.is_object() {
        return Err(wrong("not an object"));
    }
    for (field, want) in [("kind", "TokenRequest"), ("apiVersion", "authentication.k8s.io/v1")] {
        match request.get(field).and_then(Value::as_str).unwrap_or_default() {
            "" => request[field] = want.into(),
            found if found == want => {}
            found => return Err(wrong(&format!("{field} is {found}"))),
        }
    }
    if let Some(found) = meta::name(request).filter(|it| *it != name) {
        let message = format!("the name of the object ({found}) does not match the name on the URL ({name})");
        return Err(ApiError::bad_request(message));
    }
    let namespace = call.namespace.clone().unwrap_or_default();
    let metadata = meta::metadata_mut(request);
    metadata.insert("name".into(), name.into());
    metadata.insert("namespace".into(), namespace.into());
    metadata.insert("creationTimestamp".into(), meta::format_time(Timestamp::now()).into());
    let spec = meta::entry(request, "spec");
    if spec.get("expirationSeconds").is_none_or(Value::is_null) {
        spec.insert("expirationSeconds".into(), SECONDS.into());
    }
    if meta::list(spec.get("audiences")).is_empty() {
        spec.insert("audiences".into(), json!([ISSUER]));
    }
    Ok(())
}

/// What Kubernetes checks of a TokenRequest.
fn check(name: &str, request: &Value) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    let seconds = &request["spec"]["expirationSeconds"];
    let field = "spec.expirationSeconds";
    match seconds.as_i64() {
        None => causes.push(Cause::invalid(field, seconds, "must be a number of seconds")),
        Some(it) if it < SECONDS_MIN => {
            causes.push(Cause::invalid(field, seconds, "may not specify a duration less than 10 minutes"));
        }
        Some(it) if it > SECONDS_MAX => {
            causes.push(Cause::invalid(field, seconds, "may not specify a duration larger than 2^32 seconds"));
        }
        Some(_) => {}
    }
    let audiences = &request["spec"]["audiences"];
    if !audiences.as_array().is_some_and(|it| it.iter().all(Value::is_string)) {
        causes.push(Cause::invalid("spec.audiences", audiences, "must be a list of strings"));
    }
    if causes.is_empty() {
        return Ok(());
    }
    let mut error = match kinds::builtin().by_kind("", "v1", "ServiceAccount") {
        Some(kind) => ApiError::invalid(kind, name, causes),
        None => ApiError::no_such_path(),
    };
    error.message = error.message.replacen("ServiceAccount", "TokenRequest.authentication.k8s.io", 1);
    error.details.group = "authentication.k8s.io".to_owned();
    error.details.kind = "TokenRequest".to_owned();
    Err(error)
}

fn claims(
    call: &Call,
    name: &str,
    account: &Value,
    request: &Value,
    now: Timestamp,
    end: Timestamp,
) -> Result<Value, ApiError> {
    let namespace = meta::namespace(account).unwrap_or_default();
    let mut private = json!({
        "namespace": namespace,
        "serviceaccount": {"name": name, "uid": meta::uid(account).unwrap_or_default()},
    });
    if let Some(reference) = request.pointer("/spec/boundObjectRef").filter(|it| !it.is_null()) {
        bind(call, name, namespace, reference, &mut private)?;
    }
    Ok(json!({
        "aud": request["spec"]["audiences"],
        "exp": end.as_second(),
        "iat": now.as_second(),
        "iss": ISSUER,
        "jti": uuid::Uuid::new_v4().to_string(),
        "kubernetes.io": private,
        "nbf": now.as_second(),
        "sub": account_user(namespace, name),
    }))
}

/// Binds the token to a pod, Secret or node, which must exist and be the one that is meant.
fn bind(call: &Call, account: &str, namespace: &str, reference: &Value, private: &mut Value) -> Result<(), ApiError> {
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    let (claim, place) = match (text("apiVersion"), kind) {
        ("v1", "Pod") => ("pod", namespace),
        ("v1", "Secret") => ("secret", namespace),
        ("v1", "Node") => ("node", ""),
        (version, _) => {
            let group = version.split_once('/').map_or("", |it| it.0);
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to object of type {group}, Kind={kind}: use Pod, Secret or Node of v1"
            )));
        }
    };
    let found = kinds::builtin().by_kind("", "v1", kind).ok_or_else(ApiError::no_such_path)?;
    let key = Key::new(found.storage.as_str(), place, name);
    let entry = call.shared().store.get(&key).ok_or_else(|| ApiError::not_found(found, name))?;
    let uid = head(&entry).map(|it| it.uid).unwrap_or_default();
    let wanted = text("uid");
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(found, name, &why));
    }
    private[claim] = json!({"name": name, "uid": uid});
    if kind == "Pod" {
        let pod = object::parse(&entry)?;
        let spec = |field: &str| pod["spec"][field].as_str().unwrap_or_default();
        if spec("serviceAccountName") != account {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            )));
        }
        if let Some(node) = call.shared().store.get(&Key::new("/nodes", "", spec("nodeName"))).and_then(|it| head(&it))
        {
            private["node"] = json!({"name": spec("nodeName"), "uid": node.uid});
        }
    }
    Ok(())
}
