//! Headers that belong to one hop, and those that tell where a request came from.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, EXPECT, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
/// How often a request has gone from guest to guest; kept by guests that pass headers on.
pub(crate) const HOPS: HeaderName = HeaderName::from_static("x-eyot-hops");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes the headers of this hop. Returns the protocol that the sender wants to upgrade to.
///
/// One pass finds out whether there are any: most requests have none.
pub(crate) fn strip_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    if !headers.keys().any(is_hop) {
        return None;
    }
    let mut upgrade = None;
    // RFC 9110, 7.6.1: what Connection names goes with it.
    let connection: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    for token in connection.iter().filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(',')) {
        let token = token.trim();
        if token.eq_ignore_ascii_case("upgrade") {
            upgrade = headers.get(UPGRADE).cloned();
        } else if let Ok(name) = HeaderName::from_bytes(token.as_bytes())
            && !is_end_to_end(&name)
        {
            headers.remove(name);
        }
    }
    let trailers = headers.get(TE).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"trailers"));
    let hops = [
        CONNECTION,
        EXPECT,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in hops {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

fn is_hop(name: &HeaderName) -> bool {
    [CONNECTION, TRANSFER_ENCODING, UPGRADE, TE, EXPECT, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION].contains(name)
        || name == KEEP_ALIVE
        || name == PROXY_CONNECTION
}

/// Headers that a client cannot have removed by naming them in Connection.
fn is_end_to_end(name: &HeaderName) -> bool {
    [http::header::HOST, http::header::CONTENT_LENGTH, http::header::CONTENT_TYPE, http::header::AUTHORIZATION, TRAILER]
        .contains(name)
        || [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED].contains(name)
}

/// An element of `Forwarded` (RFC 7239) for a client: addresses with colons are quoted there.
pub(crate) fn forwarded_by(client: IpAddr) -> HeaderValue {
    let text = match client.to_canonical() {
        IpAddr::V4(it) => format!("for={it};proto=http"),
        IpAddr::V6(it) => format!("for=\"[{it}]\";proto=http"),
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("for=unknown;proto=http"))
}

/// Tells the receiver who asked, for which host and over what. `peer` is the client's address as text, `forwarded` what
/// [`forwarded_by`] makes of it.
pub(crate) fn set_forwarded(
    headers: &mut HeaderMap,
    peer: &HeaderValue,
    forwarded: &HeaderValue,
    host: Option<&HeaderValue>,
    trusted: bool,
) {
    // A list may be spread over several headers of its name.
    headers.append(FORWARDED, forwarded.clone());
    let before = headers.get(FORWARDED_FOR).and_then(|it| it.to_str().ok());
    let chain = before.and_then(|it| HeaderValue::try_from(format!("{it}, {}", peer.to_str().unwrap_or(""))).ok());
    headers.insert(FORWARDED_FOR, chain.unwrap_or_else(|| peer.clone()));
    if !(trusted && headers.contains_key(FORWARDED_PROTO)) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if trusted && headers.contains_key(FORWARDED_HOST) {
        return;
    }
    match host {
        Some(host) => drop(headers.insert(FORWARDED_HOST, host.clone())),
        None => drop(headers.remove(FORWARDED_HOST)),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_belongs_to_the_hop_goes_with_everything_connection_names() {
        let mut map = headers(&[
            ("host", "a"),
            ("connection", "keep-alive, X-Secret, host"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "Basic x"),
            ("accept", "*/*"),
        ]);
        assert_eq!(strip_hop(&mut map), None);
        expect![[r#"{"host": "a", "accept": "*/*", "te": "trailers"}"#]].assert_eq(&format!("{map:?}"));
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        assert_eq!(strip_hop(&mut headers(&[("upgrade", "websocket")])), None);
        let mut both = headers(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(strip_hop(&mut both).unwrap(), "websocket");
        assert!(both.is_empty());
    }

    #[test]
    fn the_chain_of_clients_grows_and_claims_of_untrusted_ones_are_replaced() {
        let pairs = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
        let peer = HeaderValue::from_static("2.2.2.2");
        let host = HeaderValue::from_static("a.example");
        let mut map = headers(&pairs);
        set_forwarded(&mut map, &peer, &forwarded_by([2, 2, 2, 2].into()), Some(&host), false);
        expect![[
            r#"{"x-forwarded-for": "1.1.1.1, 2.2.2.2", "x-forwarded-proto": "http", "x-forwarded-host": "a.example", "forwarded": "for=2.2.2.2;proto=http"}"#
        ]]
        .assert_eq(&format!("{map:?}"));
        let mut map = headers(&pairs);
        set_forwarded(&mut map, &peer, &forwarded_by("::1".parse().unwrap()), Some(&host), true);
        expect![[
            r#"{"x-forwarded-for": "1.1.1.1, 2.2.2.2", "x-forwarded-proto": "https", "x-forwarded-host": "evil", "forwarded": "for=\"[::1]\";proto=http"}"#
        ]]
        .assert_eq(&format!("{map:?}"));
    }
}
