//! The formats of strings that schemas can name. Entry point: [`is`]. Formats that Kubernetes does not know are not
//! checked; `isbn`, `isbn10`, `isbn13`, `creditcard` and `ssn`, which it knows, are not checked either.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::validate::names;

/// Whether a text has the format. Unknown formats fit everything.
pub fn is(format: &str, text: &str) -> bool {
    match format {
        "date" => is_date(text),
        "date-time" | "datetime" => is_date_time(text),
        "duration" => nanoseconds(text).is_some(),
        "byte" => is_base64(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(format, text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "email" => is_email(text),
        "hostname" => is_host(text),
        "uri" => is_uri(text),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|it| it.is_ascii_hexdigit()),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|it| it.is_ascii_hexdigit())
        }
        "rgbcolor" => is_rgb(text),
        "k8s-short-name" => names::dns1123_label(text).is_ok(),
        "k8s-long-name" => names::dns1123_subdomain(text).is_ok(),
        _ => true,
    }
}

fn is_date(text: &str) -> bool {
    let shape = text.len() == 10
        && text.bytes().enumerate().all(|(i, it)| match i {
            4 | 7 => it == b'-',
            _ => it.is_ascii_digit(),
        });
    shape && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['t', 'T']) else { return false };
    let zone = time.find(['z', 'Z', '+', '-']);
    let Some((clock, zone)) = zone.map(|at| time.split_at(at)) else { return false };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let within = |text: &str, max: u8| text.len() == 2 && text.parse::<u8>().is_ok_and(|it| it <= max);
    let mut parts = clock.split(':');
    let mut part = |max| parts.next().is_some_and(|it| within(it, max));
    let clock = part(23) && part(59) && part(59) && parts.next().is_none();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let zone = match zone {
        "z" | "Z" => true,
        zone => zone[1..].split_once(':').is_some_and(|(hours, minutes)| within(hours, 23) && within(minutes, 59)),
    };
    is_date(date) && clock && digits(fraction) && zone
}

/// The length of a duration as Go writes it (`1h30m`, `-1.5s`, `0`), or in words (`3 days`).
pub fn nanoseconds(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    let (rest, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1.0),
        None => (text.strip_prefix('+').unwrap_or(text), 1.0),
    };
    if rest == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (rest, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(0);
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let letters = after.find(|it: char| it.is_ascii_digit() || it == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = UNITS.iter().find(|it| it.0 == unit).map(|it| it.1).or_else(|| in_words(unit.trim()))?;
        sum += number * unit;
        rest = after;
    }
    (!text.is_empty() && sum <= i64::MAX as f64).then_some((sign * sum) as i64)
}

fn in_words(unit: &str) -> Option<f64> {
    Some(match unit.strip_suffix('s').unwrap_or(unit) {
        "nano" | "nanosecond" => 1.0,
        "micro" | "microsecond" => 1e3,
        "milli" | "millisecond" => 1e6,
        "sec" | "second" => 1e9,
        "min" | "minute" => 60e9,
        "hr" | "hour" => 3600e9,
        "d" | "day" => 86_400e9,
        "w" | "wk" | "week" => 7.0 * 86_400e9,
        _ => return None,
    })
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let ok = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/');
    text.len().is_multiple_of(4) && text.len() - body.len() <= 2 && body.bytes().all(ok)
}

fn is_uuid(format: &str, text: &str) -> bool {
    let hex: Vec<u8> = text.bytes().filter(|it| *it != b'-').map(|it| it.to_ascii_lowercase()).collect();
    let dashes = text.char_indices().filter(|it| it.1 == '-').all(|(at, _)| matches!(at, 8 | 13 | 18 | 23));
    let version = format.bytes().last().filter(u8::is_ascii_digit);
    let variant = !matches!(version, Some(b'4' | b'5')) || hex.get(16).is_some_and(|it| b"89ab".contains(it));
    hex.len() == 32
        && dashes
        && hex.iter().all(u8::is_ascii_hexdigit)
        && version.is_none_or(|it| hex[12] == it)
        && variant
}

fn is_cidr(text: &str) -> bool {
    let Some((ip, bits)) = text.split_once('/') else { return false };
    let Ok(ip) = ip.parse::<IpAddr>() else { return false };
    let most = if ip.is_ipv4() { 32 } else { 128 };
    bits.bytes().all(|it| it.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|it| it <= most)
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    let pair = |it: &&str| it.len() == 2 && it.bytes().all(|it| it.is_ascii_hexdigit());
    matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(pair)
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let ok = |it: char| !it.is_whitespace() && !it.is_control() && !"()<>[]:;,\\\"".contains(it);
    !local.is_empty() && local.chars().all(ok) && is_host(domain)
}

fn is_host(text: &str) -> bool {
    let label = |it: &str| {
        let inner = |it: &u8| it.is_ascii_alphanumeric() || *it >= 0x80;
        (1..=63).contains(&it.len())
            && it.as_bytes().first().is_some_and(inner)
            && it.as_bytes().last().is_some_and(inner)
            && it.bytes().all(|it| inner(&it) || it == b'-' || it == b'_')
    };
    text.len() <= 255 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// What `url.ParseRequestURI` of Go takes: an absolute URI or an absolute path.
fn is_uri(text: &str) -> bool {
    let clean = !text.is_empty() && !text.bytes().any(|it| it <= b' ' || it == 0x7f);
    let scheme = |it: &str| {
        it.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it))
    };
    clean && (text.starts_with('/') || text.split_once(':').is_some_and(|it| scheme(it.0)))
}

fn is_rgb(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|it| it.strip_suffix(')'));
    let parts: Vec<&str> = inner.map(|it| it.split(',').map(str::trim).collect()).unwrap_or_default();
    parts.len() == 3 && parts.iter().all(|it| it.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, good: &[&str], bad: &[&str]) {
        good.iter().for_each(|it| assert!(is(format, it), "{format} {it}"));
        bad.iter().for_each(|it| assert!(!is(format, it), "{format} {it}"));
    }

    #[test]
    fn formats_fit_and_misfit() {
        check("date", &["2026-02-28"], &["2026-02-30", "26-2-2", ""]);
        check(
            "date-time",
            &["2026-01-02T03:04:05Z", "2026-01-02t03:04:05.123+01:00"],
            &["2026-01-02", "2026-01-02T25:00:00Z", "x"],
        );
        check("duration", &["1h30m", "-1.5s", "0", "3 days", "5us"], &["", "1", "h", "1x"]);
        check("byte", &["", "YQ=="], &["YQ", "Y!=="]);
        check("uuid", &["7d444840-9dc0-11d1-b245-5ffdce74fad2"], &["7d444840", "zd444840-9dc0-11d1-b245-5ffdce74fad2"]);
        check("uuid4", &["7d444840-9dc0-41d1-b245-5ffdce74fad2"], &["7d444840-9dc0-11d1-b245-5ffdce74fad2"]);
        check("ipv4", &["10.0.0.1"], &["::1", "10.0.0"]);
        check("ipv6", &["::1"], &["10.0.0.1"]);
        check("cidr", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33"]);
        check("mac", &["00:11:22:aa:BB:cc"], &["00:11"]);
        check("email", &["a@b.io"], &["a", "@b", "a@"]);
        check("hostname", &["a.b-c"], &["-a", "a..b", ""]);
        check("uri", &["http://x/y", "/a", "urn:x"], &["", "a b", "x/y"]);
        check("hexcolor", &["#fff", "AABBCC"], &["#ff"]);
        check("rgbcolor", &["rgb(1,2,3)"], &["rgb(1,2)", "rgb(256,0,0)"]);
        check("made-up", &["anything"], &[]);
    }
}
