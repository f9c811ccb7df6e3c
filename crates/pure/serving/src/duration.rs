//! Durations as Go writes them: `1h30m`, `6s`, `500ms`. Entry points: [`parse`], [`show`].

use std::time::Duration;

/// Reads a duration that is not negative. `None` when it is malformed.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|it: char| it.is_ascii_digit() || it == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).ok()
}

/// As Go prints it.
pub(crate) fn show(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 && millis > 0 {
        return format!("{millis}ms");
    }
    let (hours, minutes, left) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let left =
        if millis == 0 { left.to_string() } else { format!("{left}.{millis:03}").trim_end_matches('0').to_owned() };
    match (hours, minutes) {
        (0, 0) => format!("{left}s"),
        (0, _) => format!("{minutes}m{left}s"),
        _ => format!("{hours}h{minutes}m{left}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_in_go() {
        for (text, shown) in [
            ("6s", Some("6s")),
            ("1h", Some("1h0m0s")),
            ("90s", Some("1m30s")),
            ("1.5s", Some("1.5s")),
            ("1h1m1s", Some("1h1m1s")),
            ("250ms", Some("250ms")),
            ("0", Some("0s")),
            ("", None),
            ("6", None),
            ("s", None),
            ("-1s", None),
            ("6 s", None),
        ] {
            assert_eq!(parse(text).map(show).as_deref(), shown, "{text}");
        }
    }
}
