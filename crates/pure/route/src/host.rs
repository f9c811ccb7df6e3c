//! Host names of requests and the patterns routes give for them.

use std::{borrow::Cow, fmt};

/// Which host names a route or listener serves. Names are lower case, without port or trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Exactly this name.
    Exact(Box<str>),
    /// A leading wildcard: the text after `*`, starting with a dot.
    Wildcard {
        /// `.example.com` for `*.example.com`.
        suffix: Box<str>,
        /// Whether the wildcard stands for one label only, as in Ingress, or for one or more, as in the Gateway API.
        one_label: bool,
    },
    /// Every name, and requests without one.
    Any,
}

/// Why a text is not a host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name: expected labels of letters, digits and '-', with at most a leading \"*.\"")]
pub struct HostError(pub String);

impl HostPattern {
    /// Reads `example.com` or `*.example.com`; an empty text is [`HostPattern::Any`].
    pub fn parse(text: &str, one_label: bool) -> Result<Self, HostError> {
        if text.is_empty() {
            return Ok(HostPattern::Any);
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        if !is_host_name(name) {
            return Err(HostError(text.to_owned()));
        }
        let name = name.to_ascii_lowercase();
        if text.len() == name.len() {
            return Ok(HostPattern::Exact(name.into()));
        }
        Ok(HostPattern::Wildcard { suffix: format!(".{name}").into(), one_label })
    }

    /// Whether `host`, in canonical form, is one of the names.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => &**name == host,
            HostPattern::Wildcard { suffix, one_label } => match host.strip_suffix(&**suffix) {
                Some(front) => !front.is_empty() && (!*one_label || !front.contains('.')),
                None => false,
            },
            HostPattern::Any => true,
        }
    }

    /// The names that both patterns have, or `None` where they share none.
    pub fn intersect(&self, other: &HostPattern) -> Option<HostPattern> {
        match (self, other) {
            (HostPattern::Any, it) | (it, HostPattern::Any) => Some(it.clone()),
            (HostPattern::Exact(name), it) | (it, HostPattern::Exact(name)) => {
                it.matches(name).then(|| HostPattern::Exact(name.clone()))
            }
            (
                HostPattern::Wildcard { suffix: a, one_label: a_one },
                HostPattern::Wildcard { suffix: b, one_label: b_one },
            ) => {
                let (long, long_one, short, short_one) =
                    if a.len() >= b.len() { (a, a_one, b, b_one) } else { (b, b_one, a, a_one) };
                let nested = long == short || (long.ends_with(&**short) && !*short_one);
                nested.then(|| HostPattern::Wildcard { suffix: long.clone(), one_label: *long_one || *short_one })
            }
        }
    }

    /// Orders patterns from the most specific to the least: exact names, then longer wildcards, then any.
    pub fn specificity(&self) -> (u8, usize) {
        match self {
            HostPattern::Exact(name) => (2, name.len()),
            HostPattern::Wildcard { suffix, .. } => (1, suffix.len()),
            HostPattern::Any => (0, 0),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Wildcard { suffix, .. } => write!(f, "*{suffix}"),
            HostPattern::Any => f.write_str("*"),
        }
    }
}

fn is_host_name(name: &str) -> bool {
    // 253 octets is the longest DNS name.
    (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// The name in a Host header or URI authority: lower case, without port, brackets or trailing dot.
///
/// Allocates only when the name has upper-case letters.
pub fn canonical_host(authority: &str) -> Cow<'_, str> {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(pairs: &[(&str, &str)], expected: Expect) {
        let lines: Vec<String> = pairs
            .iter()
            .map(|(a, b)| {
                let both = HostPattern::parse(a, false).unwrap().intersect(&HostPattern::parse(b, false).unwrap());
                format!("{a} & {b} = {}\n", both.map_or("none".to_owned(), |it| it.to_string()))
            })
            .collect();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn listener_and_route_hosts_intersect_as_the_specification_says() {
        check(
            &[
                ("", "example.com"),
                ("*.example.com", ""),
                ("example.com", "example.com"),
                ("*.example.com", "test.example.com"),
                ("*.example.com", "a.b.example.com"),
                ("*.example.com", "example.com"),
                ("*.example.com", "*.test.example.com"),
                ("*.example.com", "*.example.net"),
                ("*.example.com", "*.ample.com"),
            ],
            expect![[r#"
                 & example.com = example.com
                *.example.com &  = *.example.com
                example.com & example.com = example.com
                *.example.com & test.example.com = test.example.com
                *.example.com & a.b.example.com = a.b.example.com
                *.example.com & example.com = none
                *.example.com & *.test.example.com = *.test.example.com
                *.example.com & *.example.net = none
                *.example.com & *.ample.com = none
            "#]],
        );
    }

    #[test]
    fn an_ingress_wildcard_stands_for_one_label() {
        let one = HostPattern::parse("*.foo.com", true).unwrap();
        assert!(one.matches("bar.foo.com"));
        assert!(!one.matches("baz.bar.foo.com"));
        assert!(!one.matches("foo.com"));
        assert!(!one.matches(".foo.com"));
    }

    #[test]
    fn authorities_become_names() {
        for (authority, name) in [
            ("Example.COM:8080", "example.com"),
            ("example.com.", "example.com"),
            ("[::1]:80", "::1"),
            ("user@example.com:1", "example.com"),
            ("", ""),
        ] {
            assert_eq!(canonical_host(authority), name);
        }
    }

    #[test]
    fn names_with_odd_characters_are_refused() {
        for text in ["a b", "*", "*.*.com", "a..b", "-a.com", "a/b", "foo.*.com"] {
            assert_eq!(HostPattern::parse(text, false), Err(HostError(text.to_owned())));
        }
    }
}
