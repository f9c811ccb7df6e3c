//! Paths of requests: what a rule may ask of them, and how a matched prefix is replaced.

/// What the path of a request must be. Comparison is by bytes and case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// The whole path.
    Exact(Box<str>),
    /// Leading path elements: `/a/b` takes `/a/b` and `/a/b/c`, not `/a/bc`. A trailing slash means nothing.
    Prefix(Box<str>),
}

impl PathMatch {
    /// Whether `path` is asked for.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            PathMatch::Exact(exact) => &**exact == path,
            PathMatch::Prefix(prefix) => match path.strip_prefix(trimmed(prefix)) {
                Some(rest) => rest.is_empty() || rest.starts_with('/'),
                None => false,
            },
        }
    }
}

/// A prefix without its trailing slashes; the root becomes empty.
pub(crate) fn trimmed(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// The prefixes of `path` that end at an element boundary and are at most `longest` bytes, longest first.
pub(crate) fn prefixes(path: &str, longest: usize) -> impl Iterator<Item = &str> {
    let mut next = Some(path.len());
    std::iter::from_fn(move || {
        loop {
            let end = next?;
            next = if end == 0 { None } else { path[..end].rfind('/') };
            if end <= longest {
                return Some(&path[..end]);
            }
        }
    })
}

/// `path` with its first `matched` bytes (a prefix that [`PathMatch::Prefix`] matched) replaced.
pub fn replace_prefix(path: &str, matched: usize, replacement: &str) -> String {
    let rest = path.get(matched..).unwrap_or("");
    let front = trimmed(replacement);
    let joined = format!("{front}{rest}");
    if joined.starts_with('/') { joined } else { format!("/{joined}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_matches_whole_elements() {
        for (prefix, path, expected) in [
            ("/", "/", true),
            ("/", "/anything", true),
            ("/abc", "/abc", true),
            ("/abc", "/abc/", true),
            ("/abc", "/abc/def", true),
            ("/abc", "/abcd", false),
            ("/abc/", "/abc", true),
            ("/abc/", "/abc/def", true),
            ("/abc", "/Abc", false),
        ] {
            assert_eq!(PathMatch::Prefix(prefix.into()).matches(path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn every_element_boundary_is_a_prefix_longest_first() {
        let all: Vec<&str> = prefixes("/a/bc//d/", 100).collect();
        assert_eq!(all, ["/a/bc//d/", "/a/bc//d", "/a/bc/", "/a/bc", "/a", ""]);
        assert_eq!(prefixes("/a/bc/d", 2).collect::<Vec<_>>(), ["/a", ""]);
        assert_eq!(prefixes("", 9).collect::<Vec<_>>(), [""]);
    }

    /// The table in the Gateway API's description of `ReplacePrefixMatch`.
    #[test]
    fn prefixes_are_replaced_as_the_specification_tabulates() {
        for (path, prefix, replacement, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
        ] {
            assert_eq!(
                replace_prefix(path, trimmed(prefix).len(), replacement),
                expected,
                "{path} {prefix} {replacement}"
            );
        }
    }
}
