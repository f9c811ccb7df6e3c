//! The grammars of names, labels and the like. Each check returns why a text breaks its grammar.

use std::net::IpAddr;

const DNS1123_LABEL_MAX: usize = 63;
const DNS1123_SUBDOMAIN_MAX: usize = 253;
const LABEL_VALUE_MAX: usize = 63;

const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL1035_MESSAGE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_MESSAGE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_MESSAGE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY_MESSAGE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME_MESSAGE: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// What a check says: nothing, or why not.
pub type Check = Result<(), String>;

/// A DNS-1123 label: names of namespaces, containers, ports.
pub fn dns1123_label(text: &str) -> Check {
    longest(text, DNS1123_LABEL_MAX)?;
    ensure(is_label(text.as_bytes()), LABEL_MESSAGE)
}

/// A DNS-1123 subdomain: names of most objects.
pub fn dns1123_subdomain(text: &str) -> Check {
    longest(text, DNS1123_SUBDOMAIN_MAX)?;
    ensure(text.split('.').all(|it| is_label(it.as_bytes())), SUBDOMAIN_MESSAGE)
}

/// A DNS-1123 subdomain that may start with `*.`: hosts of routes.
pub fn wildcard_subdomain(text: &str) -> Check {
    dns1123_subdomain(text.strip_prefix("*.").unwrap_or(text))
}

/// A DNS-1035 label: names of services before 1.36, of some others still.
pub fn dns1035_label(text: &str) -> Check {
    longest(text, DNS1123_LABEL_MAX)?;
    let starts = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    ensure(starts && is_label(text.as_bytes()), LABEL1035_MESSAGE)
}

/// A name that may be any single path segment: RBAC's.
pub fn path_segment(text: &str) -> Check {
    if matches!(text, "." | "..") {
        return Err(format!("may not be '{text}'"));
    }
    ensure(!text.contains('/'), "may not contain '/'")?;
    ensure(!text.contains('%'), "may not contain '%'")
}

/// A label or annotation key: an optional DNS prefix and `/`, then a name.
pub fn qualified_name(text: &str) -> Check {
    let name = match text.split_once('/') {
        Some(("", _)) => return Err("prefix part must be non-empty".into()),
        Some((prefix, name)) => {
            dns1123_subdomain(prefix).map_err(|why| format!("prefix part {why}"))?;
            name
        }
        None => text,
    };
    ensure(
        !name.contains('/'),
        "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
    )?;
    ensure(!name.is_empty(), "name part must be non-empty")?;
    ensure(name.len() <= LABEL_VALUE_MAX, "name part must be no more than 63 characters")?;
    ensure(is_word(name.as_bytes()), QUALIFIED_MESSAGE)
}

/// A label's value.
pub fn label_value(text: &str) -> Check {
    longest(text, LABEL_VALUE_MAX)?;
    ensure(text.is_empty() || is_word(text.as_bytes()), LABEL_VALUE_MESSAGE)
}

/// A key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Check {
    longest(text, DNS1123_SUBDOMAIN_MAX)?;
    let ok = |it: &u8| it.is_ascii_alphanumeric() || b"-._".contains(it);
    ensure(!text.is_empty() && text.as_bytes().iter().all(ok), CONFIG_KEY_MESSAGE)?;
    ensure(text != ".", "must not be '.'")?;
    ensure(text != "..", "must not be '..'")?;
    ensure(!text.starts_with(".."), "must not start with '..'")
}

/// The name of an environment variable.
pub fn env_name(text: &str) -> Check {
    let ok = |it: u8| (0x20..0x7f).contains(&it) && it != b'=';
    ensure(!text.is_empty() && text.bytes().all(ok), ENV_NAME_MESSAGE)
}

/// The name of a port (IANA service name): at most 15 of `a-z0-9-`, with a letter.
pub fn port_name(text: &str) -> Check {
    ensure(text.len() <= 15, "must be no more than 15 characters")?;
    let ok = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    ensure(text.bytes().all(ok), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")?;
    let letter = text.bytes().any(|it| it.is_ascii_lowercase());
    ensure(letter, "must contain at least one letter (a-z)")?;
    ensure(!text.contains("--"), "must not contain consecutive hyphens")?;
    ensure(!text.starts_with('-') && !text.ends_with('-'), "must not begin or end with a hyphen")
}

/// A port number.
pub fn port_number(port: i64) -> Check {
    ensure((1..=65535).contains(&port), "must be between 1 and 65535, inclusive")
}

/// An IP address of either family.
pub fn ip(text: &str) -> Check {
    ensure(text.parse::<IpAddr>().is_ok(), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
}

/// An address that a Service may lead to: not one of the host itself. Where pods cannot be routed they have loopback addresses
/// too, but never those with a zero in second place, where the services of a host are.
pub fn endpoint_ip(text: &str) -> Check {
    ip(text)?;
    let Ok(address) = text.parse::<IpAddr>() else { return Ok(()) };
    let (loopback, link_local, multicast) = match address.to_canonical() {
        IpAddr::V4(it) => (it.octets()[..2] == [127, 0], it.is_link_local(), it.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(it) => (it.is_loopback(), it.is_unicast_link_local(), it.segments()[0] & 0xff0f == 0xff02),
    };
    if address.to_canonical().is_unspecified() {
        return Err(format!("may not be unspecified ({text:?})"));
    }
    ensure(!loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)")?;
    ensure(!link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")?;
    ensure(!multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
}

fn is_label(text: &[u8]) -> bool {
    let inner = |it: &u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    ends_meet(text, inner) && text.iter().all(|it| inner(it) || *it == b'-')
}

fn is_word(text: &[u8]) -> bool {
    let inner = u8::is_ascii_alphanumeric;
    ends_meet(text, inner) && text.iter().all(|it| inner(it) || b"-_.".contains(it))
}

fn ends_meet(text: &[u8], ok: impl Fn(&u8) -> bool) -> bool {
    text.first().is_some_and(&ok) && text.last().is_some_and(&ok)
}

fn longest(text: &str, max: usize) -> Check {
    if text.len() <= max { Ok(()) } else { Err(format!("must be no more than {max} bytes")) }
}

fn ensure(holds: bool, why: &str) -> Check {
    if holds { Ok(()) } else { Err(why.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(grammar: fn(&str) -> Check, good: &[&str], bad: &[&str]) {
        good.iter().for_each(|it| assert_eq!(grammar(it), Ok(()), "{it}"));
        bad.iter().for_each(|it| assert!(grammar(it).is_err(), "{it}"));
    }

    #[test]
    fn grammars_accept_and_refuse() {
        let long = "a".repeat(64);
        check(dns1123_label, &["a", "a-b", "0a"], &["", "A", "-a", "a-", "a.b", "a_b", "ü", &long]);
        check(dns1123_subdomain, &["a.b", "a-1.b2", &long], &["", "a..b", ".a", "a.", "a_b"]);
        check(dns1035_label, &["a1"], &["1a", ""]);
        check(wildcard_subdomain, &["*.a.b", "a"], &["*", "a.*"]);
        check(qualified_name, &["a", "A_b.c", "x.io/a"], &["", "/a", "x.io/", "X/a", "a/b/c", "-a", &long]);
        check(label_value, &["", "A", "1_2.3"], &["-", "a b", &long]);
        check(config_key, &["a.b", ".x", "A_"], &["", ".", "..", "..a", "a/b", "a b"]);
        check(env_name, &["A", "a.b-c", "1 x"], &["", "a=b", "ä"]);
        check(port_name, &["http", "a-1"], &["", "1", "a--b", "-a", "Http", "a234567890123456"]);
        check(path_segment, &["system:node", "a b"], &[".", "..", "a/b", "a%b"]);
        check(ip, &["10.0.0.1", "::1"], &["", "10.0.0", "a", "010.0.0.1"]);
    }
}
