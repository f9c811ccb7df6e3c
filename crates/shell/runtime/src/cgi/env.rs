//! A request's head as environment variables: CGI's (RFC 3875, 4.1), WAGI's, and those of OpenFaaS' watchdog. Pure.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName, Version, header, request::Parts};

/// Bytes of all variables that a request brings; a head is 64 KiB at most, and its headers may come under two names.
const BYTES_MAX: usize = 256 << 10;

/// The environment of one request: its own variables first, then those of `own` whose names are not taken. `length` is that of
/// its body, where it is known.
pub(super) fn variables(
    asked: &Parts,
    length: Option<u64>,
    own: &[(String, String)],
    has_watchdog_names: bool,
) -> Vec<(String, String)> {
    let mut out = cgi(asked, length);
    out.extend(headers(&asked.headers).map(|(name, value)| (format!("HTTP_{}", name.to_ascii_uppercase()), value)));
    if has_watchdog_names {
        out.extend(watchdog(asked, length));
    }
    let mut bytes = 0usize;
    out.retain(|(name, value)| {
        bytes = bytes.saturating_add(name.len() + value.len());
        bytes <= BYTES_MAX
    });
    let taken: HashSet<&str> = out.iter().map(|it| it.0.as_str()).collect();
    let left: Vec<_> = own.iter().filter(|it| !taken.contains(it.0.as_str())).cloned().collect();
    out.extend(left);
    out
}

fn cgi(asked: &Parts, length: Option<u64>) -> Vec<(String, String)> {
    let text = |name: HeaderName| asked.headers.get(name).map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    let path = asked.uri.path();
    let query = asked.uri.query().unwrap_or_default();
    let host = text(header::HOST).or_else(|| asked.uri.authority().map(ToString::to_string)).unwrap_or_default();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => (name, port),
        _ => (host.as_str(), "80"),
    };
    let peer = text(HeaderName::from_static("x-forwarded-for")).unwrap_or_default();
    let peer = peer.rsplit(',').next().unwrap_or_default().trim();
    let plain = percent_decoded(path);
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut out: Vec<(String, String)> = [
        ("AUTH_TYPE", ""),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("PATH_INFO", plain.as_str()),
        ("PATH_TRANSLATED", plain.as_str()),
        ("QUERY_STRING", query),
        ("REMOTE_ADDR", peer),
        ("REMOTE_HOST", peer),
        ("REMOTE_USER", ""),
        ("REQUEST_METHOD", asked.method.as_str()),
        ("REQUEST_URI", target.as_str()),
        ("SCRIPT_NAME", ""),
        ("SERVER_NAME", name),
        ("SERVER_PORT", port),
        ("SERVER_PROTOCOL", protocol(asked.version)),
        ("SERVER_SOFTWARE", concat!("eyot/", env!("CARGO_PKG_VERSION"))),
        ("X_FULL_URL", &format!("http://{host}{target}")),
        ("X_RAW_PATH_INFO", path),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    if let Some(kind) = text(header::CONTENT_TYPE) {
        out.push(("CONTENT_TYPE".to_owned(), kind));
    }
    if let Some(length) = length {
        out.push(("CONTENT_LENGTH".to_owned(), length.to_string()));
    }
    out
}

/// As the watchdog names them: `Http_X_Forwarded_For`.
fn watchdog(asked: &Parts, length: Option<u64>) -> impl Iterator<Item = (String, String)> {
    let titled = |name: &str| {
        let words: Vec<String> = name
            .split('_')
            .map(|word| {
                let mut letters = word.chars();
                letters.next().map_or_else(String::new, |it| it.to_ascii_uppercase().to_string() + letters.as_str())
            })
            .collect();
        format!("Http_{}", words.join("_"))
    };
    let length = length.map_or_else(|| "-1".to_owned(), |it| it.to_string());
    let own = [
        ("Http_Method", Some(asked.method.to_string())),
        ("Http_ContentLength", Some(length.clone())),
        ("Http_Content_Length", Some(length)),
        ("Http_Query", asked.uri.query().map(str::to_owned)),
        ("Http_Path", Some(asked.uri.path().to_owned())),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let named: Vec<_> = headers(&asked.headers).map(|(name, value)| (titled(&name), value)).collect();
    own.chain(named.into_iter().filter(|it| it.0 != "Http_Content_Length"))
}

/// Headers with underscores in their names. What came several times is joined. A `Proxy` header never becomes `HTTP_PROXY`,
/// which programs take for their own setting.
fn headers(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    let named = headers.keys().filter(|it| *it != "proxy");
    named.map(|name| {
        let values: Vec<_> = headers.get_all(name).iter().map(|it| String::from_utf8_lossy(it.as_bytes())).collect();
        let between = if name == header::COOKIE { "; " } else { ", " };
        (name.as_str().replace('-', "_"), values.join(between))
    })
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// A path without its percent signs. A NUL, which no variable can hold, stays as it was written.
fn percent_decoded(path: &str) -> String {
    let (bytes, mut out, mut at) = (path.as_bytes(), Vec::with_capacity(path.len()), 0);
    let digit = |at: usize| bytes.get(at).and_then(|it| char::from(*it).to_digit(16));
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) if high + low > 0 => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use http::Request;

    use super::*;

    #[track_caller]
    fn check(request: Request<()>, length: Option<u64>, own: &[(&str, &str)], watchdog: bool, want: Expect) {
        let own: Vec<_> = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let got = variables(&request.into_parts().0, length, &own, watchdog);
        let mut lines: Vec<String> = got.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.sort();
        want.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_request_has_the_names_of_cgi() {
        let request = Request::post("/a%20b/c?q=1&r=%20")
            .header("host", "f.example:8080")
            .header("content-type", "text/plain")
            .header("x-forwarded-for", "1.2.3.4, 5.6.7.8")
            .header("x-a", "1")
            .header("x-a", "2")
            .header("proxy", "http://evil")
            .body(())
            .unwrap();
        check(
            request,
            Some(3),
            &[("PATH", "/bin"), ("HTTP_PROXY", "http://ours"), ("HTTP_X_A", "ours")],
            false,
            expect![[r#"
                AUTH_TYPE=
                CONTENT_LENGTH=3
                CONTENT_TYPE=text/plain
                GATEWAY_INTERFACE=CGI/1.1
                HTTP_CONTENT_TYPE=text/plain
                HTTP_HOST=f.example:8080
                HTTP_PROXY=http://ours
                HTTP_X_A=1, 2
                HTTP_X_FORWARDED_FOR=1.2.3.4, 5.6.7.8
                PATH=/bin
                PATH_INFO=/a b/c
                PATH_TRANSLATED=/a b/c
                QUERY_STRING=q=1&r=%20
                REMOTE_ADDR=5.6.7.8
                REMOTE_HOST=5.6.7.8
                REMOTE_USER=
                REQUEST_METHOD=POST
                REQUEST_URI=/a%20b/c?q=1&r=%20
                SCRIPT_NAME=
                SERVER_NAME=f.example
                SERVER_PORT=8080
                SERVER_PROTOCOL=HTTP/1.1
                SERVER_SOFTWARE=eyot/0.1.0
                X_FULL_URL=http://f.example:8080/a%20b/c?q=1&r=%20
                X_RAW_PATH_INFO=/a%20b/c"#]],
        );
    }

    #[test]
    fn the_watchdogs_names_come_beside() {
        let request = Request::get("/p?q=1").header("x-forwarded-by", "me").body(()).unwrap();
        let all = variables(&request.into_parts().0, None, &[], true);
        let mut named: Vec<_> = all.iter().filter(|it| it.0.starts_with("Http_")).cloned().collect();
        named.sort();
        expect![[r#"
            [("Http_ContentLength", "-1"), ("Http_Content_Length", "-1"), ("Http_Method", "GET"), ("Http_Path", "/p"), ("Http_Query", "q=1"), ("Http_X_Forwarded_By", "me")]"#]]
        .assert_eq(&format!("{named:?}"));
    }

    #[test]
    fn odd_escapes_stay() {
        for (path, want) in [("/%41%zz%4", "/A%zz%4"), ("/%00", "/%00"), ("/%c3%bc", "/ü"), ("/%ff", "/\u{fffd}")] {
            assert_eq!(percent_decoded(path), want);
        }
    }
}
