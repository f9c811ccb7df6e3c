//! One call as it is kept: a line of JSON that is its head, then its body.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use eyot_dispatch::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, request::Parts};
use serde::{Deserialize, Serialize};

/// Headers that belong to the connection on which the call came, or would be false for the one on which it is made.
const LEFT_OUT: [&str; 11] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "host",
];

/// A call that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// `NAME.NAMESPACE`.
    pub(super) function: String,
    head: Head,
    pub(super) body: Bytes,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Head {
    method: String,
    /// Path and query that the function sees.
    target: String,
    /// Names and values; values in base64, since they are bytes.
    headers: Vec<(String, String)>,
    callback: Option<String>,
}

impl Call {
    pub(super) fn new(function: String, asked: &Parts, target: String, callback: Option<String>, body: Bytes) -> Call {
        let kept = asked.headers.iter().filter(|it| !LEFT_OUT.contains(&it.0.as_str()));
        let headers = kept.map(|(name, value)| (name.as_str().to_owned(), BASE64_STANDARD.encode(value.as_bytes())));
        let head = Head { method: asked.method.to_string(), target, headers: headers.collect(), callback };
        Call { function, head, body }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = serde_json::to_vec(&self.head).unwrap_or_default();
        out.push(b'\n');
        out.extend_from_slice(&self.body);
        out
    }

    /// The call that was kept for `function`, unless it is none.
    pub(super) fn decode(function: &str, kept: Vec<u8>) -> Option<Call> {
        let kept = Bytes::from(kept);
        let line = kept.iter().position(|it| *it == b'\n')?;
        let head = serde_json::from_slice(&kept[..line]).ok()?;
        Some(Call { function: function.to_owned(), head, body: kept.slice(line + 1..) })
    }

    /// Its headers.
    pub(super) fn headers(&self) -> HeaderMap {
        let one = |(name, value): &(String, String)| {
            let value = BASE64_STANDARD.decode(value).ok()?;
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(&value).ok()?))
        };
        let mut out = HeaderMap::new();
        for (name, value) in self.head.headers.iter().filter_map(one) {
            out.append(name, value);
        }
        out
    }

    /// Where its answer is sent.
    pub(super) fn callback(&self) -> Option<&str> {
        self.head.callback.as_deref()
    }

    /// The request to the function, whose host ends in `domain`.
    pub(super) fn request(&self, domain: &str) -> Result<Request<Body>, http::Error> {
        let method: Method = self.head.method.parse().unwrap_or(Method::POST);
        let uri = format!("http://{}.{domain}{}", self.function, self.head.target);
        let body = if self.body.is_empty() { eyot_dispatch::empty() } else { eyot_dispatch::full(self.body.clone()) };
        let mut request = Request::builder().method(method).uri(uri).body(body)?;
        *request.headers_mut() = self.headers();
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_asked() {
        let asked = Request::post("/async-function/a/b?c=d")
            .header("host", "gateway")
            .header("transfer-encoding", "chunked")
            .header("x-call-id", "1")
            .header("x-odd", HeaderValue::from_bytes(b"\xff").unwrap())
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let body = Bytes::from_static(b"one\ntwo\0");
        let call = Call::new("a.default".into(), &asked, "/b?c=d".into(), Some("http://x/".into()), body);
        let again = Call::decode("a.default", call.encode()).unwrap();
        assert_eq!(again, call);
        let request = again.request("localhost").unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().to_string().as_str()),
            ("POST", "http://a.default.localhost/b?c=d")
        );
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-call-id", "x-odd"]);
        assert_eq!(request.headers()["x-odd"].as_bytes(), b"\xff");
        assert!(Call::decode("a.default", b"damaged".to_vec()).is_none());
    }
}
