//! Where the answer of an asynchronous call is sent, and how it is told. Pure.

use std::time::Duration;

use eyot_serving::openfaas::USUAL_NAMESPACE;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::front::{CALL_ID, FUNCTIONS};

/// The header that names it.
const CALLBACK: HeaderName = HeaderName::from_static("x-callback-url");
/// Hosts by which functions know OpenFaaS' gateway inside a cluster.
const GATEWAYS: [&str; 4] =
    ["gateway", "gateway.openfaas", "gateway.openfaas.svc", "gateway.openfaas.svc.cluster.local"];

/// The URL that a request names, checked.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<String>, String> {
    let Some(url) = headers.get(CALLBACK).filter(|it| !it.is_empty()) else { return Ok(None) };
    let text = url.to_str().map_err(|_| "X-Callback-Url: it is no URL".to_owned())?;
    let uri: Uri = text.parse().map_err(|_| format!("X-Callback-Url: {text:?} is no URL"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(Some(text.to_owned())),
        _ => Err(format!("X-Callback-Url: {text:?} is no http or https URL")),
    }
}

/// Where a callback really goes: what names a function at the gateway goes to that function, in `namespace` where it names
/// none.
pub(super) fn target(url: &str, namespace: &str, domain: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else { return url.to_owned() };
    let at_gateway = uri.host().is_some_and(|it| GATEWAYS.contains(&it));
    let Some(path) = uri.path().strip_prefix(FUNCTIONS).filter(|_| at_gateway) else { return url.to_owned() };
    let (named, rest) = path.find('/').map_or((path, "/"), |at| path.split_at(at));
    let Some((name, of)) = eyot_serving::openfaas::name_parts(named) else { return url.to_owned() };
    let query = uri.query().map_or_else(String::new, |it| format!("?{it}"));
    format!("http://{name}.{}.{domain}{rest}{query}", of.filter(|it| *it != USUAL_NAMESPACE).unwrap_or(namespace))
}

/// Headers of an answer that belong to its connection, or would be the function's word where it has none: which host is asked.
const LEFT_OUT: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers of a callback: those of the answer, and what became of the call.
pub(super) fn headers(answer: &HeaderMap, asked: &HeaderMap, function: &str, status: u16, took: Duration) -> HeaderMap {
    let mut out = answer.clone();
    LEFT_OUT.iter().for_each(|gone| drop(out.remove(*gone)));
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            out.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-duration-seconds", format!("{:.6}", took.as_secs_f64()));
    set("x-function-status", status.to_string());
    set("x-function-name", function.to_owned());
    for name in [CALL_ID, crate::front::START_TIME] {
        if let Some(value) = asked.get(&name) {
            out.insert(name, value.clone());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_an_absolute_url() {
        let read = |url: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CALLBACK, HeaderValue::from_str(url).unwrap());
            read(&headers)
        };
        assert_eq!(super::read(&HeaderMap::new()), Ok(None));
        assert_eq!(read("https://example.com/a?b").unwrap().as_deref(), Some("https://example.com/a?b"));
        for odd in ["/relative", "ftp://example.com/", "file:///etc/passwd", "http://"] {
            assert!(read(odd).unwrap_err().starts_with("X-Callback-Url: "), "{odd}");
        }
    }

    #[test]
    fn functions_at_the_gateway_are_reached_themselves() {
        for (url, want) in [
            ("http://gateway.openfaas:8080/function/b", "http://b.default.localhost/"),
            ("http://gateway.openfaas:8080/function/b.shop/x?y", "http://b.shop.localhost/x?y"),
            ("http://gateway.openfaas:8080/ui/", "http://gateway.openfaas:8080/ui/"),
            ("http://example.com/function/b", "http://example.com/function/b"),
        ] {
            assert_eq!(target(url, "default", "localhost"), want);
        }
    }

    #[test]
    fn a_callback_tells_what_became_of_its_call() {
        let (mut answer, mut asked) = (HeaderMap::new(), HeaderMap::new());
        answer.insert("content-type", HeaderValue::from_static("text/plain"));
        answer.insert("content-length", HeaderValue::from_static("9"));
        answer.insert("host", HeaderValue::from_static("inside"));
        asked.insert(CALL_ID, HeaderValue::from_static("id"));
        let headers = headers(&answer, &asked, "a.default", 500, Duration::from_millis(1500));
        let mut got: Vec<_> = headers.iter().map(|(name, it)| format!("{name}: {}", it.to_str().unwrap())).collect();
        got.sort();
        expect_test::expect![[r#"
            content-type: text/plain
            x-call-id: id
            x-duration-seconds: 1.500000
            x-function-name: a.default
            x-function-status: 500"#]]
        .assert_eq(&got.join("\n"));
    }
}
