//! Time: what most policies ask of it.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{Cx, Failure, Made, Row, text, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("time.now_ns", 0, |cx, _| Ok(Value::int(cx.now_ns()))),
    ("time.parse_rfc3339_ns", 1, |_, a| {
        let at: Timestamp = text(a, 0)?.parse().map_err(|_| Failure::from("not a time in the form of RFC 3339"))?;
        i64::try_from(at.as_nanosecond()).map(Value::int).map_err(|_| "time is out of range".into())
    }),
    ("time.parse_duration_ns", 1, |_, a| duration(text(a, 0)?).map(Value::int)),
    ("time.date", 1, |_, a| {
        let at = zoned(a)?;
        Ok(Value::array(vec![Value::int(at.year()), Value::int(at.month()), Value::int(at.day())]))
    }),
    ("time.clock", 1, |_, a| {
        let at = zoned(a)?;
        Ok(Value::array(vec![Value::int(at.hour()), Value::int(at.minute()), Value::int(at.second())]))
    }),
    ("time.weekday", 1, weekday),
];

fn weekday(_: &mut Cx, args: &[Value]) -> Made {
    const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let day = zoned(args)?.weekday().to_sunday_zero_offset();
    Ok(Value::string(DAYS[usize::try_from(day).unwrap_or(0) % 7]))
}

/// A time given as nanoseconds, or as nanoseconds and the name of a zone.
pub(super) fn zoned(args: &[Value]) -> Result<Zoned, Failure> {
    let (ns, zone) = match &args[0] {
        Value::Array(items) => (items.first(), items.get(1).and_then(Value::as_str)),
        other => (Some(other), None),
    };
    let Some(Value::Number(ns)) = ns else { return Err(wrong_type(args, 0, "number or array")) };
    let ns = ns.as_whole().ok_or("time must be an integer")?;
    let at = Timestamp::from_nanosecond(ns).map_err(|_| Failure::from("time is out of range"))?;
    let zone = match zone {
        None | Some("" | "UTC") => TimeZone::UTC,
        Some("Local") => TimeZone::UTC,
        Some(name) => TimeZone::get(name).map_err(|_| Failure::from("unknown time zone"))?,
    };
    Ok(at.to_zoned(zone))
}

/// A duration in Go's form, such as `1h15m30.5s`, in nanoseconds.
fn duration(text: &str) -> Result<i128, Failure> {
    let wrong = || Failure::Error(format!("time: invalid duration {text:?}"));
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(wrong()),
        };
        total += number * unit;
        rest = &rest[end..];
    }
    Ok((sign * total) as i128)
}
