//! The parts of a match beside host and path.

use http::{HeaderMap, Method};

use crate::{HeaderMatch, Match, QueryMatch, Wanted};

/// What the table needs to know of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Host in canonical form (see [`crate::canonical_host`]); empty if the request has none.
    pub host: &'a str,
    /// Path, percent-encoded as it came.
    pub path: &'a str,
    /// Query without the question mark; empty if there is none.
    pub query: &'a str,
    /// Method.
    pub method: &'a Method,
    /// Headers.
    pub headers: &'a HeaderMap,
}

/// Method, headers and query parameters of one match, duplicates removed.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    pub(crate) method: Option<Method>,
    pub(crate) headers: Box<[HeaderMatch]>,
    pub(crate) query: Box<[QueryMatch]>,
}

impl Conditions {
    pub(crate) fn of(one: &Match) -> Self {
        let mut headers: Vec<HeaderMatch> = Vec::with_capacity(one.headers.len());
        for header in &one.headers {
            if !headers.iter().any(|it| it.name == header.name) {
                headers.push(header.clone());
            }
        }
        let mut query: Vec<QueryMatch> = Vec::with_capacity(one.query.len());
        for parameter in &one.query {
            if !query.iter().any(|it| it.name == parameter.name) {
                query.push(parameter.clone());
            }
        }
        Self { method: one.method.clone(), headers: headers.into(), query: query.into() }
    }

    pub(crate) fn hold(&self, asked: &Asked<'_>) -> bool {
        self.method.as_ref().is_none_or(|it| it == asked.method)
            && self.headers.iter().all(|it| has_header(asked.headers, it))
            && self.query.iter().all(|it| has_parameter(asked.query, it))
    }
}

fn has_header(headers: &HeaderMap, wanted: &HeaderMatch) -> bool {
    headers.get_all(&wanted.name).iter().any(|value| wanted.value.fits(value.as_bytes()))
}

fn has_parameter(query: &str, wanted: &QueryMatch) -> bool {
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(name).eq(wanted.name.bytes()) {
            return match &wanted.value {
                Wanted::Exact(exact) => decoded(value).eq(exact.iter().copied()),
                pattern => pattern.fits(&decoded(value).collect::<Vec<u8>>()),
            };
        }
    }
    false
}

/// The bytes of a form-encoded text, decoded one by one. A broken escape stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'+' => Some(b' '),
            b'%' => {
                let high = bytes.get(at).and_then(|it| (*it as char).to_digit(16));
                let low = bytes.get(at + 1).and_then(|it| (*it as char).to_digit(16));
                match (high, low) {
                    (Some(high), Some(low)) => {
                        at += 2;
                        Some((high * 16 + low) as u8)
                    }
                    _ => Some(byte),
                }
            }
            _ => Some(byte),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_compare_decoded_and_the_first_occurrence_counts() {
        for (query, expected) in [
            ("animal=whale", true),
            ("x=1&animal=whale", true),
            ("animal=dolphin&animal=whale", false),
            ("animal=%77hale", true),
            ("%61nimal=whale", true),
            ("animal=whale2", false),
            ("animal", false),
            ("animal=%7", false),
            ("", false),
        ] {
            let wanted = QueryMatch { name: "animal".into(), value: Wanted::exact("whale") };
            assert_eq!(has_parameter(query, &wanted), expected, "{query}");
        }
        assert!(has_parameter("q=a+b%2B", &QueryMatch { name: "q".into(), value: Wanted::exact("a b+") }));
    }

    #[test]
    fn a_cookie_is_found_by_an_expression() {
        let wanted = Wanted::pattern(r"(.*;\s*)?canary=always(;.*)?").unwrap();
        for (cookie, expected) in [
            ("canary=always", true),
            ("a=b; canary=always; c=d", true),
            ("canary=never", false),
            ("xcanary=always", false),
            ("canary=alwaysnot", false),
        ] {
            assert_eq!(wanted.fits(cookie.as_bytes()), expected, "{cookie}");
        }
        let query = QueryMatch { name: "v".into(), value: Wanted::pattern("2[.].*").unwrap() };
        assert!(has_parameter("v=2%2E1", &query) && !has_parameter("v=21", &query));
        assert!(
            Wanted::pattern("(").is_err()
                && Wanted::pattern("a)(b").is_err()
                && Wanted::pattern("(a{1000}){1000}").is_err()
        );
    }

    #[test]
    fn of_two_header_matches_for_one_name_the_first_counts() {
        let header = |value: &'static str| HeaderMatch {
            name: http::HeaderName::from_static("version"),
            value: Wanted::exact(value),
        };
        let one =
            Match { headers: vec![header("one"), header("two")], ..Match::path(crate::PathMatch::Prefix("/".into())) };
        let conditions = Conditions::of(&one);
        let mut headers = HeaderMap::new();
        headers.append("version", "zero".parse().unwrap());
        headers.append("version", "one".parse().unwrap());
        let asked = Asked { host: "", path: "/", query: "", method: &Method::GET, headers: &headers };
        assert!(conditions.hold(&asked));
    }
}
