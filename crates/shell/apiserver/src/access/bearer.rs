//! Finds the bearer token of a request. Entry point: [`token`].

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};

/// How browsers, which cannot set headers of a WebSocket, send a token: as one of the subprotocols they offer.
const SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// The token in `Authorization`, or in the subprotocols of a WebSocket, from which it is removed.
pub(super) fn token(headers: &mut HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned());
    }
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let protocols: Vec<&str> = offered.split(',').map(str::trim).collect();
    let encoded = protocols.iter().find_map(|it| it.strip_prefix(SUBPROTOCOL))?;
    let token = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()?;
    let rest: Vec<&str> = protocols.iter().copied().filter(|it| !it.starts_with(SUBPROTOCOL)).collect();
    match HeaderValue::from_str(&rest.join(", ")) {
        Ok(rest) if !rest.is_empty() => headers.insert(header::SEC_WEBSOCKET_PROTOCOL, rest),
        _ => headers.remove(header::SEC_WEBSOCKET_PROTOCOL),
    };
    Some(token).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_header_and_the_subprotocol() {
        let with = |name: header::HeaderName, value: &'static str| {
            let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
            let found = token(&mut headers);
            (found, headers.get(name).map(|it| it.to_str().unwrap().to_owned()))
        };
        for (value, want) in
            [("Bearer abc", Some("abc")), ("bearer  abc ", Some("abc")), ("Basic abc", None), ("Bearer ", None)]
        {
            assert_eq!(with(header::AUTHORIZATION, value).0.as_deref(), want, "{value}");
        }
        let offered = "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj";
        let (found, rest) = with(header::SEC_WEBSOCKET_PROTOCOL, offered);
        assert_eq!((found.as_deref(), rest.as_deref()), (Some("abc"), Some("v4.channel.k8s.io")));
        assert_eq!(with(header::SEC_WEBSOCKET_PROTOCOL, "v4.channel.k8s.io").0, None);
    }
}
