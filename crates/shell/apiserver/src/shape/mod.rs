//! The last touch on answers: indentation for people, compression for clients on other machines.
//!
//! Entry points: [`Shape::of`] reads from a request what its answer needs, [`Shape::apply`] does it. Both work while the
//! answer streams. Watches, logs, sessions and what comes from behind a proxy are left alone.

mod gzip;
mod pretty;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body as _;

use crate::{
    Body,
    request::{path::Path, query},
};

/// Smaller answers are not worth the work; Kubernetes' own limit.
const GZIP_BYTES_MIN: u64 = 128 << 10;

/// Put into requests that come from another machine: on this one compressing costs more than it saves.
#[derive(Clone)]
pub(crate) struct Far;

/// What is done to an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pretty: bool,
    gzip: bool,
}

impl Shape {
    /// Reads what a request asks for; `path` is its path.
    pub(crate) fn of(request: &Request<Body>, path: Option<&Path>) -> Shape {
        let shape = Shape {
            pretty: wants_indentation(request.uri(), request.headers()),
            gzip: request.method() == Method::GET
                && request.extensions().get::<Far>().is_some()
                && accepts_gzip(request.headers()),
        };
        if shape == Shape::default() || streams(request.uri(), path) { Shape::default() } else { shape }
    }

    /// Shapes an answer.
    pub(crate) fn apply(self, response: Response<Body>) -> Response<Body> {
        let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|it| it == "application/json");
        let plain = response.headers().get(header::CONTENT_ENCODING).is_none();
        if !json || !plain || response.body().is_end_stream() {
            return response;
        }
        let gzip = self.gzip && response.body().size_hint().lower() >= GZIP_BYTES_MIN;
        let mut response = match self.pretty {
            true => response.map(|body| Body::new(pretty::Indented::new(body))),
            false => response,
        };
        if gzip {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            response = response.map(|body| Body::new(gzip::Compressed::new(body)));
        }
        response
    }
}

/// As Kubernetes decides it: what the query says, or else whether a person seems to look at it.
fn wants_indentation(uri: &Uri, headers: &HeaderMap) -> bool {
    // Few queries say anything about it, and every request comes by here.
    let query = uri.query().filter(|it| it.contains("pretty")).unwrap_or_default();
    if let Some((_, value)) = query::pairs(query).find(|it| it.0 == "pretty" && !it.1.is_empty()) {
        return matches!(value.as_str(), "1" | "t" | "T" | "true" | "True" | "TRUE");
    }
    let agent = headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|it| agent.starts_with(it))
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|it| it.to_str().ok());
    values.flat_map(|it| it.split(',')).any(|it| it.split(';').next().unwrap_or_default().trim() == "gzip")
}

/// What comes in pieces that somebody waits for, or is not ours to change.
fn streams(uri: &Uri, path: Option<&Path>) -> bool {
    let watches = || query::pairs(uri.query().unwrap_or_default()).any(|it| it.0 == "watch");
    match path {
        Some(Path::Resource(it)) => {
            let passed_on = ["log", "exec", "attach", "portforward", "proxy"];
            it.watch || it.subresource.as_deref().is_some_and(|it| passed_on.contains(&it)) || watches()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::{request::path, respond};

    fn shape(uri: &str, agent: &str, far: bool) -> Shape {
        let mut request =
            Request::get(uri).header(header::USER_AGENT, agent).header(header::ACCEPT_ENCODING, "br, gzip");
        if far {
            request = request.extension(Far);
        }
        let request = request.body(Body::empty()).unwrap();
        Shape::of(&request, path::parse(request.uri().path()).as_ref())
    }

    #[test]
    fn people_get_lines_and_far_clients_less_bytes() {
        let (pretty, gzip) = (Shape { pretty: true, gzip: false }, Shape { pretty: false, gzip: true });
        for (uri, agent, far, want) in [
            ("/api/v1/pods", "kubectl/v1.36", false, Shape::default()),
            ("/api/v1/pods?pretty=true", "kubectl/v1.36", false, pretty),
            ("/api/v1/pods", "curl/8.0", false, pretty),
            ("/api/v1/pods?pretty=false", "curl/8.0", false, Shape::default()),
            ("/api/v1/pods", "kubectl/v1.36", true, gzip),
            ("/api/v1/pods?watch=true", "curl/8.0", true, Shape::default()),
            ("/api/v1/watch/pods", "curl/8.0", true, Shape::default()),
            ("/api/v1/namespaces/a/pods/p/proxy/x", "curl/8.0", true, Shape::default()),
            ("/apis", "curl/8.0", false, pretty),
        ] {
            assert_eq!(shape(uri, agent, far), want, "{uri} {agent} {far}");
        }
    }

    #[tokio::test]
    async fn a_large_answer_is_compressed_and_a_small_one_is_not() {
        use std::io::Read;
        let both = Shape { pretty: true, gzip: true };
        let small = both.apply(respond::json(200, &serde_json::json!({"a": [1, {}]})));
        assert!(small.headers().get(header::CONTENT_ENCODING).is_none());
        let small = small.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(small, "{\n  \"a\": [\n    1,\n    {}\n  ]\n}");
        let text = serde_json::json!({"a": "x".repeat(1 << 18)});
        let large = both.apply(respond::json(200, &text));
        assert_eq!(large.headers()[header::CONTENT_ENCODING], "gzip");
        let large = large.into_body().collect().await.unwrap().to_bytes();
        assert!(large.len() < 4096, "{} bytes", large.len());
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&*large).read_to_string(&mut plain).unwrap();
        assert_eq!(plain, serde_json::to_string_pretty(&text).unwrap());
    }
}
