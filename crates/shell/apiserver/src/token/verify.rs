//! Checks a ServiceAccount's token against the keys, the clock and the objects it is bound to. Entry point: [`verify`].

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use eyot_model::meta;
use eyot_store::{Entry, Key};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{ISSUER, legacy};
use crate::{Identity, server::Shared};

/// How long after its deletion began an account, pod or node is still believed in: a pod's last words need its token.
const DELETED_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("invalid bearer token")]
    Unknown,
    #[error("service account token has expired")]
    Expired,
    #[error("service account token is not valid yet")]
    NotYet,
    #[error("token audiences {found:?} is invalid for the target audiences {wanted:?}")]
    Audience { found: Vec<String>, wanted: Vec<String> },
    #[error("{what} {name:?} not found")]
    Gone { what: &'static str, name: String },
    #[error("{what} {name:?} is another one now")]
    Replaced { what: &'static str, name: String },
}

/// What a good token says.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) identity: Identity,
    /// Those of the audiences asked for that it is meant for.
    pub(crate) audiences: Vec<String>,
}

/// Checks a token meant for one of `audiences`.
pub(crate) fn verify(server: &Shared, token: &str, audiences: &[String]) -> Result<Verified, Refusal> {
    let credentials = server.credentials().map_err(|_| Refusal::Unknown)?;
    let claims = credentials.tokens.open_token(token).ok_or(Refusal::Unknown)?;
    match claims["iss"].as_str() {
        Some(ISSUER) => bound(server, &claims, audiences, Timestamp::now()),
        Some(legacy::ISSUER) => by_secret(server, token, &claims, audiences),
        _ => Err(Refusal::Unknown),
    }
}

/// A token of the TokenRequest API.
fn bound(server: &Shared, claims: &Value, wanted: &[String], now: Timestamp) -> Result<Verified, Refusal> {
    let seconds = |field: &str| claims[field].as_i64().ok_or(Refusal::Unknown);
    if now.as_second() >= seconds("exp")? {
        return Err(Refusal::Expired);
    }
    if now.as_second() < seconds("nbf")? {
        return Err(Refusal::NotYet);
    }
    let found: Vec<String> = serde_json::from_value(claims["aud"].clone()).map_err(|_| Refusal::Unknown)?;
    let audiences = matching(&found, wanted)?;
    let private = &claims["kubernetes.io"];
    let text = |pointer: &str| private.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, account, uid) = (text("/namespace"), text("/serviceaccount/name"), text("/serviceaccount/uid"));
    exists(server, "serviceaccount", "/serviceaccounts", namespace, account, uid, now)?;
    let mut identity = Identity::account(namespace, account, uid);
    for (kind, what, resource) in
        [("pod", "pod", "/pods"), ("secret", "secret", "/secrets"), ("node", "node", "/nodes")]
    {
        let Some(reference) = private.get(kind) else { continue };
        let [name, uid] = ["name", "uid"].map(|it| reference[it].as_str().unwrap_or_default());
        let place = if kind == "node" { "" } else { namespace };
        // The node of a pod is told to whom it concerns; the pod's life decides.
        if kind != "node" || private.get("pod").is_none() {
            exists(server, what, resource, place, name, uid, now)?;
        }
        if kind != "secret" {
            let extra = [("name", name), ("uid", uid)]
                .map(|(field, value)| (format!("authentication.kubernetes.io/{kind}-{field}"), vec![value.to_owned()]));
            identity.extra.extend(extra);
        }
    }
    let id = format!("JTI={}", claims["jti"].as_str().unwrap_or_default());
    identity.extra.extend(BTreeMap::from([("authentication.kubernetes.io/credential-id".to_owned(), vec![id])]));
    Ok(Verified { identity, audiences })
}

/// A token without end that lives in a Secret, and with it.
fn by_secret(server: &Shared, token: &str, claims: &Value, wanted: &[String]) -> Result<Verified, Refusal> {
    let now = Timestamp::now();
    let text = |field: &str| claims[format!("kubernetes.io/serviceaccount/{field}")].as_str().unwrap_or_default();
    let (namespace, secret) = (text("namespace"), text("secret.name"));
    let (account, uid) = (text("service-account.name"), text("service-account.uid"));
    let audiences = matching(&[ISSUER.to_owned()], wanted)?;
    let gone = || Refusal::Gone { what: "secret", name: secret.to_owned() };
    let entry = server.store.get(&Key::new("/secrets", namespace, secret)).ok_or_else(gone)?;
    let stored: Value = serde_json::from_slice(&entry.value).map_err(|_| gone())?;
    let held = stored.pointer("/data/token").and_then(Value::as_str).and_then(|it| STANDARD.decode(it).ok());
    if held.as_deref() != Some(token.as_bytes()) || is_over(meta::deleted(&stored), now) {
        return Err(gone());
    }
    exists(server, "serviceaccount", "/serviceaccounts", namespace, account, uid, now)?;
    Ok(Verified { identity: Identity::account(namespace, account, uid), audiences })
}

fn matching(found: &[String], wanted: &[String]) -> Result<Vec<String>, Refusal> {
    let both: Vec<String> = wanted.iter().filter(|it| found.contains(it)).cloned().collect();
    match both.is_empty() {
        true => Err(Refusal::Audience { found: found.to_vec(), wanted: wanted.to_vec() }),
        false => Ok(both),
    }
}

/// Whether an object is still the one that was meant.
fn exists(
    server: &Shared,
    what: &'static str,
    resource: &str,
    namespace: &str,
    name: &str,
    uid: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let gone = || Refusal::Gone { what, name: name.to_owned() };
    let entry = server.store.get(&Key::new(resource, namespace, name)).ok_or_else(gone)?;
    let found = head(&entry).ok_or_else(gone)?;
    if found.uid != uid {
        return Err(Refusal::Replaced { what, name: name.to_owned() });
    }
    if is_over(found.deletion_timestamp.as_deref().and_then(|it| it.parse().ok()), now) { Err(gone()) } else { Ok(()) }
}

fn is_over(deleted: Option<Timestamp>, now: Timestamp) -> bool {
    deleted.is_some_and(|it| now.duration_since(it) > DELETED_LEEWAY)
}

/// What of an object's metadata decides; the rest is skipped unparsed.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Head {
    pub(super) uid: String,
    deletion_timestamp: Option<String>,
}

pub(super) fn head(entry: &Entry) -> Option<Head> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Head,
    }
    serde_json::from_slice::<Object>(&entry.value).ok().map(|it| it.metadata)
}
