//! `/system/secrets`: what functions read at `/var/openfaas/secrets`. Values go in and never come out.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::StatusCode,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use eyot_serving::openfaas::{MANAGED_BY, MANAGER};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Failure, Inner, api, functions::In};

/// What a client says of a secret. It has no `Debug`: it holds the value.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    name: String,
    namespace: Option<String>,
    value: String,
    /// Bytes in base64, where they are no text.
    #[serde(rename = "rawValue")]
    raw: Option<String>,
}

impl Wanted {
    fn read(body: &Bytes) -> Result<Wanted, Failure> {
        // What the parser says may repeat a part of the body.
        let wanted: Wanted =
            serde_json::from_slice(body).map_err(|_| Failure::new(400, "the body is no secret in JSON"))?;
        let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-.".contains(&it);
        if wanted.name.is_empty() || !wanted.name.bytes().all(fits) {
            return Err(Failure::new(400, "name: is required, in lower-case letters, digits, '-' and '.'"));
        }
        Ok(wanted)
    }

    /// The value as a Secret holds it.
    fn data(&self) -> Result<Value, Failure> {
        let value = match self.raw.as_deref().filter(|it| !it.is_empty()) {
            None => BASE64_STANDARD.encode(&self.value),
            Some(raw) if BASE64_STANDARD.decode(raw).is_ok() => raw.to_owned(),
            Some(_) => return Err(Failure::new(400, "rawValue: it is no base64")),
        };
        Ok(json!({ &self.name: value }))
    }
}

fn is_ours(secret: &Value) -> bool {
    secret["metadata"]["labels"][MANAGED_BY] == MANAGER
}

fn missing(name: &str) -> Failure {
    Failure::new(404, format!("secret {name} not found"))
}

/// Names of all.
pub(crate) async fn list(
    State(inner): State<Arc<Inner>>,
    Query(within): Query<In>,
) -> Result<Json<Vec<Value>>, Failure> {
    let namespace = inner.own_namespace(within.namespace.as_deref()).await?;
    let selector = format!("{}?labelSelector={MANAGED_BY}%3D{MANAGER}", api::secrets(&namespace, None));
    let found = inner.api.list(&selector).await?;
    let named = found.iter().map(|it| json!({ "name": it["metadata"]["name"], "namespace": namespace }));
    Ok(Json(named.collect()))
}

/// Makes one.
pub(crate) async fn create(State(inner): State<Arc<Inner>>, body: Bytes) -> Result<StatusCode, Failure> {
    let wanted = Wanted::read(&body)?;
    let namespace = inner.own_namespace(wanted.namespace.as_deref()).await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": wanted.data()?,
        "metadata": { "name": wanted.name, "namespace": namespace, "labels": { MANAGED_BY: MANAGER } },
    });
    inner.api.create(&api::secrets(&namespace, None), &secret).await?;
    Ok(StatusCode::CREATED)
}

/// Gives one another value.
pub(crate) async fn replace(State(inner): State<Arc<Inner>>, body: Bytes) -> Result<StatusCode, Failure> {
    let wanted = Wanted::read(&body)?;
    let namespace = inner.own_namespace(wanted.namespace.as_deref()).await?;
    let data = wanted.data()?;
    let path = api::secrets(&namespace, Some(&wanted.name));
    let changed = inner.api.change(&path, |secret| {
        let ours = is_ours(secret);
        secret["data"] = data.clone();
        ours
    });
    if changed.await? { Ok(StatusCode::OK) } else { Err(missing(&wanted.name)) }
}

/// Deletes one.
pub(crate) async fn delete(
    State(inner): State<Arc<Inner>>,
    Query(within): Query<In>,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    let wanted = Wanted::read(&body)?;
    let namespace = inner.own_namespace(wanted.namespace.or(within.namespace).as_deref()).await?;
    let path = api::secrets(&namespace, Some(&wanted.name));
    if !inner.api.get(&path).await?.is_some_and(|it| is_ours(&it)) {
        return Err(missing(&wanted.name));
    }
    inner.api.delete(&path).await?;
    // Not the 204 of the API's description, which the command-line client takes for a failure.
    Ok(StatusCode::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_text_or_base64() {
        let data = |body: &'static str| Wanted::read(&Bytes::from_static(body.as_bytes())).and_then(|it| it.data());
        assert_eq!(data(r#"{"name": "a", "value": "hi"}"#).unwrap(), json!({ "a": "aGk=" }));
        assert_eq!(data(r#"{"name": "a", "rawValue": "AAE="}"#).unwrap(), json!({ "a": "AAE=" }));
        assert_eq!(data(r#"{"name": "a", "rawValue": "?"}"#).unwrap_err().text, "rawValue: it is no base64");
        assert_eq!(data(r#"{"name": "A/b"}"#).unwrap_err().status, 400);
        let odd = data(r#"{"name": "a", "value": 77}"#).unwrap_err();
        assert_eq!(odd.text, "the body is no secret in JSON", "nothing of the value is repeated");
    }
}
