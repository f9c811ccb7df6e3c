//! Time: what most policies ask of it.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{Cx, Failure, Made, Row, layout, text, whole, wrong_type};
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
    ("time.format", 1, |cx, a| {
        let layout = match &a[0] {
            Value::Array(items) => {
                items.get(2).map(|it| it.as_str().ok_or("the layout must be a string")).transpose()?
            }
            _ => None,
        };
        let text = layout::format(&zoned(a)?, layout.unwrap_or("RFC3339Nano"));
        cx.text(&text)
    }),
    ("time.parse_ns", 2, |_, a| {
        let ns = layout::parse(text(a, 1)?, text(a, 0)?);
        in_range(ns.ok_or_else(|| Failure::Error(format!("parsing time {} as {}", a[1], a[0])))?)
    }),
    ("time.add_date", 4, add_date),
    ("time.diff", 2, |_, a| diff(&zoned(&a[..1])?, &zoned(&a[1..])?)),
];

fn in_range(ns: i128) -> Made {
    i64::try_from(ns).map(Value::int).map_err(|_| "time outside of valid range".into())
}

/// Adds years, months and days as calendars do; a day that a month does not have runs over into the next.
fn add_date(_: &mut Cx, args: &[Value]) -> Made {
    let out = || Failure::from("time outside of valid range");
    let at = zoned(args)?;
    let (years, months, days) = (whole(args, 1)?, whole(args, 2)?, whole(args, 3)?);
    let month = i128::from(at.month()) - 1 + months;
    let year = i128::from(at.year()) + years + month.div_euclid(12);
    let year = i16::try_from(year).map_err(|_| out())?;
    let month = i8::try_from(month.rem_euclid(12) + 1).map_err(|_| out())?;
    let first = jiff::civil::Date::new(year, month, 1).map_err(|_| out())?;
    let days = i64::try_from(days).map_err(|_| out())?.checked_add(i64::from(at.day()) - 1).ok_or_else(out)?;
    let span = jiff::Span::new().try_days(days).map_err(|_| out())?;
    let date = first.checked_add(span).map_err(|_| out())?;
    let moved = date.to_datetime(at.time()).to_zoned(at.time_zone().clone()).map_err(|_| out())?;
    in_range(moved.timestamp().as_nanosecond())
}

/// Years, months, days, hours, minutes and seconds between two times.
fn diff(one: &Zoned, other: &Zoned) -> Made {
    let other = other.with_time_zone(one.time_zone().clone());
    let (from, to) = if one.timestamp() <= other.timestamp() { (one, &other) } else { (&other, one) };
    let parts = |at: &Zoned| {
        [at.year().into(), at.month().into(), at.day().into(), at.hour().into(), at.minute().into(), at.second().into()]
    };
    let (a, b): ([i64; 6], [i64; 6]) = (parts(from), parts(to));
    let mut parts: [i64; 6] = std::array::from_fn(|at| b[at] - a[at]);
    for (at, whole) in [(5, 60), (4, 60), (3, 24)] {
        if parts[at] < 0 {
            parts[at] += whole;
            parts[at - 1] -= 1;
        }
    }
    if parts[2] < 0 {
        // The days of the month that the earlier time lies in.
        parts[2] += i64::from(from.days_in_month());
        parts[1] -= 1;
    }
    if parts[1] < 0 {
        parts[1] += 12;
        parts[0] -= 1;
    }
    Ok(Value::array(parts.into_iter().map(Value::int).collect()))
}

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
