//! When an object goes that has the label `cleanup.kyverno.io/ttl`. Entry point: [`due`].
//!
//! The label is a duration since the object came to be (`90s`, `1h30m`, `2d`, `1w`), a date, or a time as
//! `2006-01-02T150405Z`: labels have no colons.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

/// The label.
pub const LABEL: &str = "cleanup.kyverno.io/ttl";
/// The annotation that tells how dependents go.
pub const PROPAGATION: &str = "cleanup.kyverno.io/propagation-policy";

/// Units beside those of Go, each with its plural, in seconds.
const UNITS: [(&str, i64); 18] = [
    ("sec", 1),
    ("secs", 1),
    ("second", 1),
    ("seconds", 1),
    ("min", 60),
    ("mins", 60),
    ("minute", 60),
    ("minutes", 60),
    ("hr", 3_600),
    ("hrs", 3_600),
    ("hour", 3_600),
    ("hours", 3_600),
    ("d", 86_400),
    ("day", 86_400),
    ("days", 86_400),
    ("w", 604_800),
    ("week", 604_800),
    ("weeks", 604_800),
];

/// When an object goes that was created at some time.
///
/// # Errors
/// Why the label does not say.
pub fn due(label: &str, created: Timestamp) -> Result<Timestamp, String> {
    if let Some(length) = duration(label) {
        return created.checked_add(length).map_err(|it| it.to_string());
    }
    let start = |it: civil::DateTime| it.to_zoned(TimeZone::UTC).map(|it| it.timestamp()).map_err(|it| it.to_string());
    if let Ok(time) = civil::DateTime::strptime("%Y-%m-%dT%H%M%SZ", label) {
        return start(time);
    }
    match civil::Date::strptime("%Y-%m-%d", label) {
        Ok(date) => start(date.to_datetime(civil::Time::midnight())),
        Err(_) => Err(format!("{label:?} is neither a duration nor a date nor a time such as 2006-01-02T150405Z")),
    }
}

fn duration(text: &str) -> Option<SignedDuration> {
    if let Some(nanos) = crate::duration::parse(text) {
        return Some(SignedDuration::from_nanos(nanos));
    }
    let (mut total, mut rest) = (SignedDuration::ZERO, text);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit()).filter(|it| *it > 0)?;
        let (number, tail) = rest.split_at(end);
        let stop = tail.find(|it: char| it.is_ascii_digit()).unwrap_or(tail.len());
        let unit = &tail[..stop];
        let one = match UNITS.iter().find(|it| it.0 == unit) {
            Some(it) => SignedDuration::from_secs(it.1),
            None => SignedDuration::from_nanos(crate::duration::parse(&format!("1{unit}"))?),
        };
        total = total.checked_add(one.checked_mul(number.parse().ok()?)?)?;
        rest = &tail[stop..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_dates_and_times_are_understood() {
        let created: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        for (label, when) in [
            ("90s", "2024-01-01T00:01:30Z"),
            ("1h30m", "2024-01-01T01:30:00Z"),
            ("2d", "2024-01-03T00:00:00Z"),
            ("1w1d", "2024-01-09T00:00:00Z"),
            ("3minutes", "2024-01-01T00:03:00Z"),
            ("2023-07-19", "2023-07-19T00:00:00Z"),
            ("2023-07-19T120000Z", "2023-07-19T12:00:00Z"),
        ] {
            assert_eq!(due(label, created).map(|it| it.to_string()), Ok(when.to_owned()), "{label}");
        }
        for label in ["10ay", "", "d", "1", "2023-7x", "99999999999999w"] {
            assert!(due(label, created).is_err(), "{label}");
        }
    }
}
