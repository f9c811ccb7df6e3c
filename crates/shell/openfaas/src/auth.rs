//! Basic authentication with the password in Secret `openfaas/basic-auth`, under the keys that OpenFaaS' own installation has.
//!
//! The Secret is read for each request, so that another password counts at once and one that is gone lets nobody in.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

use crate::{
    Failure, HOME, Inner,
    api::{self, Api},
};

const SECRET: &str = "basic-auth";
const USER: &str = "basic-auth-user";
const PASSWORD: &str = "basic-auth-password";

/// Makes namespace and Secret where they are missing.
pub(crate) async fn prepare(api: &Api) -> Result<(), Failure> {
    if api.get(&api::secrets(HOME, Some(SECRET))).await?.is_some() {
        return Ok(());
    }
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": HOME } });
    exists(api.create(&api::namespaces(None), &namespace).await)?;
    // 244 random bits.
    let password = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": SECRET, "namespace": HOME, "labels": { "app": "openfaas" } },
        "data": { USER: BASE64_STANDARD.encode("admin"), PASSWORD: BASE64_STANDARD.encode(password) },
    });
    exists(api.create(&api::secrets(HOME, None), &secret).await)
}

fn exists(made: Result<(), Failure>) -> Result<(), Failure> {
    made.or_else(|failure| if failure.status == StatusCode::CONFLICT { Ok(()) } else { Err(failure) })
}

/// Lets a request pass that knows the password.
pub(crate) async fn check(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    match inner.api.get(&api::secrets(HOME, Some(SECRET))).await {
        Ok(secret) if is_known(request.headers(), secret.as_ref()) => next.run(request).await,
        Ok(_) => {
            let mut response = (StatusCode::UNAUTHORIZED, "invalid credentials").into_response();
            let realm = HeaderValue::from_static("Basic realm=\"Restricted\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            response
        }
        Err(failure) => failure.into_response(),
    }
}

fn is_known(headers: &HeaderMap, secret: Option<&Value>) -> bool {
    let Some((user, password)) = given(headers) else { return false };
    let kept = |key: &str| {
        let text = secret?.pointer(&format!("/data/{key}"))?.as_str()?;
        BASE64_STANDARD.decode(text).ok().filter(|it| !it.is_empty())
    };
    let (Some(kept_user), Some(kept_password)) = (kept(USER), kept(PASSWORD)) else { return false };
    // Digests are compared: how long that takes tells nothing of the texts.
    let same = |a: &[u8], b: &[u8]| Sha256::digest(a) == Sha256::digest(b);
    same(&user, &kept_user) & same(&password, &kept_password)
}

fn given(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(token.trim()))?.ok()?;
    let colon = token.iter().position(|it| *it == b':')?;
    Some((token[..colon].to_vec(), token[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_in_the_secret_lets_in() {
        let secret = |user: &str, password: &str| json!({ "data": { USER: BASE64_STANDARD.encode(user), PASSWORD: BASE64_STANDARD.encode(password) } });
        let asks = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(text).unwrap());
            headers
        };
        let basic = |pair: &str| asks(&format!("Basic {}", BASE64_STANDARD.encode(pair)));
        let kept = secret("admin", "a:b");
        assert!(is_known(&basic("admin:a:b"), Some(&kept)));
        assert!(is_known(&asks(&format!("basic {}", BASE64_STANDARD.encode("admin:a:b"))), Some(&kept)));
        for wrong in ["admin:a", "admin:", "root:a:b", "admin"] {
            assert!(!is_known(&basic(wrong), Some(&kept)), "{wrong}");
        }
        assert!(!is_known(&asks("Bearer a"), Some(&kept)));
        assert!(!is_known(&asks("Basic %%%"), Some(&kept)));
        assert!(!is_known(&HeaderMap::new(), Some(&kept)));
        assert!(!is_known(&basic("admin:a:b"), None), "without a Secret nobody is let in");
        assert!(!is_known(&basic(":"), Some(&secret("", ""))), "nor with an empty one");
    }
}
