//! Filters of a rule: header changes, redirects and rewrites.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, uri::Scheme};

use crate::path::replace_prefix;

/// Changes to a header map: set, then add, then remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChange {
    /// Headers given this one value.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Values added beside what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Headers taken away.
    pub remove: Vec<HeaderName>,
}

impl HeaderChange {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// Changes `headers`.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

/// How a path changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// The whole path is replaced.
    Full(Box<str>),
    /// The prefix that matched is replaced.
    Prefix(Box<str>),
}

impl PathChange {
    /// The path to use in place of `path`, of which the first `matched` bytes were matched as prefix.
    pub fn apply(&self, path: &str, matched: usize) -> String {
        match self {
            PathChange::Full(full) if full.starts_with('/') => full.to_string(),
            PathChange::Full(full) => format!("/{full}"),
            PathChange::Prefix(replacement) => replace_prefix(path, matched, replacement),
        }
    }
}

/// Changes made before a request is forwarded. The query stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Host to ask for instead.
    pub host: Option<Box<str>>,
    /// Path to ask for instead.
    pub path: Option<PathChange>,
}

/// An answer that sends the client elsewhere. The query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Scheme; the request's if `None`.
    pub scheme: Option<Scheme>,
    /// Host; the request's if `None`.
    pub host: Option<Box<str>>,
    /// Port. If `None`, the port that goes with `scheme`, or without a scheme the listener's.
    pub port: Option<u16>,
    /// Path; the request's if `None`.
    pub path: Option<PathChange>,
    /// Status code: 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// The request that a redirect answers.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// Host without port.
    pub host: &'a str,
    /// Path.
    pub path: &'a str,
    /// Query without the question mark, if there is one.
    pub query: Option<&'a str>,
    /// Bytes of the path that the rule's prefix matched.
    pub matched: usize,
    /// Port of the listener; its scheme is http.
    pub listener_port: u16,
}

impl Redirect {
    /// The value of the `Location` header.
    pub fn location(&self, request: &Forwarded<'_>) -> String {
        let scheme = self.scheme.as_ref().map_or("http", Scheme::as_str);
        let usual = if scheme == "https" { 443 } else { 80 };
        let port = match (self.port, &self.scheme) {
            (Some(port), _) => port,
            (None, Some(_)) => usual,
            (None, None) => request.listener_port,
        };
        let host = self.host.as_deref().unwrap_or(request.host);
        let path = match &self.path {
            Some(change) => change.apply(request.path, request.matched),
            None => request.path.to_owned(),
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let port = if port == usual { String::new() } else { format!(":{port}") };
        let query = request.query.map(|it| format!("?{it}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{path}{query}")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn redirect() -> Redirect {
        Redirect { scheme: None, host: None, port: None, path: None, status: StatusCode::FOUND }
    }

    #[test]
    fn locations_name_a_port_only_where_it_is_not_the_usual_one() {
        let request =
            Forwarded { host: "a.example", path: "/foo/x", query: Some("q=1"), matched: 4, listener_port: 8080 };
        let https = Some(Scheme::HTTPS);
        let cases = [
            redirect(),
            Redirect { scheme: https.clone(), ..redirect() },
            Redirect { scheme: https, port: Some(8443), ..redirect() },
            Redirect { scheme: Some(Scheme::HTTP), host: Some("b.example".into()), ..redirect() },
            Redirect { port: Some(80), path: Some(PathChange::Full("/all".into())), ..redirect() },
            Redirect { path: Some(PathChange::Prefix("/bar".into())), ..redirect() },
        ];
        let lines: String = cases.iter().map(|it| it.location(&request) + "\n").collect();
        expect![[r#"
            http://a.example:8080/foo/x?q=1
            https://a.example/foo/x?q=1
            https://a.example:8443/foo/x?q=1
            http://b.example/foo/x?q=1
            http://a.example/all?q=1
            http://a.example:8080/bar/x?q=1
        "#]]
        .assert_eq(&lines);
    }

    #[test]
    fn headers_are_set_added_and_removed() {
        let mut headers = HeaderMap::new();
        headers.insert("a", "1".parse().unwrap());
        headers.insert("b", "1".parse().unwrap());
        headers.insert("c", "1".parse().unwrap());
        let change = HeaderChange {
            set: vec![(HeaderName::from_static("a"), HeaderValue::from_static("2"))],
            add: vec![(HeaderName::from_static("b"), HeaderValue::from_static("2"))],
            remove: vec![HeaderName::from_static("c")],
        };
        change.apply(&mut headers);
        expect![[r#"{"a": "2", "b": "1", "b": "2"}"#]].assert_eq(&format!("{headers:?}"));
    }
}
