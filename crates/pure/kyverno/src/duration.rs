//! Durations as Go writes them: `1h30m`, `-1.5s`, `300ms`.
//!
//! Entry points: [`parse`] and [`format`]. A duration is a number of nanoseconds in an `i64`, as in Go; what does not
//! fit is no duration.

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Nanoseconds of a text, if it is a duration.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.').filter(|it| *it > 0)?;
        let (number, tail) = rest.split_at(end);
        if number == "." || number.matches('.').count() > 1 {
            return None;
        }
        let stop = tail.find(|it: char| it.is_ascii_digit() || it == '.').unwrap_or(tail.len());
        let unit = UNITS.iter().find(|it| it.0 == &tail[..stop])?.1;
        nanos += number.parse::<f64>().ok()? * unit;
        rest = &tail[stop..];
    }
    let nanos = if negative { -nanos } else { nanos };
    (nanos.abs() <= i64::MAX as f64).then_some(nanos as i64)
}

/// The text of a duration: `1h0m0s`, `1.5s`, `0s`.
pub(crate) fn format(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let all = nanos.unsigned_abs();
    let small = |unit: u64, name: &str| format!("{sign}{}{name}", decimal(all, unit));
    match all {
        ..1_000 => small(1, "ns"),
        1_000..1_000_000 => small(1_000, "µs"),
        1_000_000..1_000_000_000 => small(1_000_000, "ms"),
        _ => {
            let minutes = all / 60_000_000_000;
            let seconds = decimal(all % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `value / unit` without trailing zeros.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, part) = (value / unit, value % unit);
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{part:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_nanoseconds_and_back() {
        for (text, shown) in [
            ("1h", "1h0m0s"),
            ("90m", "1h30m0s"),
            ("1.5s", "1.5s"),
            ("-2s", "-2s"),
            ("300ms", "300ms"),
            ("0", "0s"),
            ("0s", "0s"),
            ("1h1m1s1ms", "1h1m1.001s"),
            ("1500us", "1.5ms"),
            ("61s", "1m1s"),
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(shown), "{text}");
        }
        for bad in ["", "1", "-", "h", "1x", "1.s.", "1h2", " 1h", "1d", "99999999999999h"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
