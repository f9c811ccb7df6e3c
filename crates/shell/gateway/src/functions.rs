//! Functions by name: `/function/NAME` and `/function/NAME.NAMESPACE` for clients, `http://NAME.NAMESPACE` for guests.
//!
//! Entry points: [`named`], [`host`]. Both lead to the host that the function's Route has, so that its weights and conditions
//! hold on every way; a route of a user's own for such a path, or a Service of such a name, goes first.

/// Where functions are by name.
const PREFIX: &str = "/function/";

/// The host of a function, its name in a namespace, in a domain of functions.
pub(crate) fn host(namespace: &str, name: &str, domain: &str) -> String {
    format!("{name}.{namespace}.{domain}")
}

/// The host that a path stands for, and the path that is left for the function.
pub(crate) fn named<'a>(path: &'a str, domain: &str) -> Option<(String, &'a str)> {
    let rest = path.strip_prefix(PREFIX)?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (function, left) = rest.split_at(end);
    let (name, namespace) = function.split_once('.').unwrap_or((function, "default"));
    let label =
        |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
    (label(name) && label(namespace)).then(|| (host(namespace, name, domain), if left.is_empty() { "/" } else { left }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_functions_and_leave_the_rest() {
        for (path, expected) in [
            ("/function/hello", Some("hello.default.localhost /")),
            ("/function/hello/", Some("hello.default.localhost /")),
            ("/function/hello.shop/a/b", Some("hello.shop.localhost /a/b")),
            ("/function/", None),
            ("/function/a.b.c", None),
            ("/function/A", None),
            ("/functions/a", None),
        ] {
            let found = named(path, "localhost").map(|(host, left)| format!("{host} {left}"));
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }
}
