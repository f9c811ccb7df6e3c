//! Tells other services how to verify tokens: OpenID discovery and the public keys. Entry points: [`configuration`],
//! [`keys`].

use eyot_model::status::ApiError;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

use super::ISSUER;
use crate::{Body, respond, server::Shared};

/// `/.well-known/openid-configuration`
pub(crate) fn configuration() -> Response<Body> {
    let value = json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    answer(&value, "application/json")
}

/// `/openid/v1/jwks`
pub(crate) fn keys(server: &Shared) -> Result<Response<Body>, ApiError> {
    Ok(answer(&server.credentials()?.tokens.to_jwks(), "application/jwk-set+json"))
}

fn answer(value: &Value, media_type: &'static str) -> Response<Body> {
    let mut response = respond::json(200, value);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}
