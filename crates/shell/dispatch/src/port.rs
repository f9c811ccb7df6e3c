//! The port of a request's URI.

use http::{Uri, uri::Scheme};

/// The port that `uri` names, or that of its scheme; `None` where what it names is no number up to 65535, which is not the same as
/// naming none.
pub fn port(uri: &Uri) -> Option<u16> {
    let whole = uri.authority().map_or("", |it| it.as_str());
    // A host with colons of its own is in brackets.
    let after_host = whole.rsplit(['@', ']']).next().unwrap_or_default();
    match after_host.split_once(':').map_or("", |it| it.1) {
        "" => Some(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 }),
        text => text.parse().ok().filter(|_| text.bytes().all(|it| it.is_ascii_digit())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_port_is_not_taken_for_none() {
        for (uri, want) in [
            ("http://web/x", Some(80)),
            ("https://web", Some(443)),
            ("http://web:/", Some(80)),
            ("http://web:8080/", Some(8080)),
            ("http://me:secret@web:65535/", Some(65535)),
            ("http://me:99999@web/", Some(80)),
            ("https://[::1]/", Some(443)),
            ("http://[::1]:81/", Some(81)),
            ("http://[::1]:99999/", None),
            ("http://web:65536/", None),
            ("http://web:99999/", None),
            ("http://web:http/", None),
            ("http://web:-1/", None),
            ("http://web:+80/", None),
        ] {
            assert_eq!(uri.parse::<Uri>().map(|it| port(&it)).ok(), Some(want), "{uri}");
        }
    }
}
