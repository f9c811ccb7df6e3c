//! Times in the layouts of Go: `2006-01-02T15:04:05Z07:00`.
//!
//! Entry points: [`parse`] and [`Moment`]. Deliberately absent: names of time zones other than UTC, GMT and Z, which
//! need a database; and formatting in layouts other than RFC 3339.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

/// The layout of RFC 3339.
pub(crate) const RFC3339: &str = "2006-01-02T15:04:05Z07:00";

/// From the first year, where Go starts to count, to 1970.
const YEAR_ONE_SECONDS: i128 = 62_135_596_800;
const NANOS: i128 = 1_000_000_000;

/// A point in time as seen at an offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Nanoseconds since 1970.
    nanos: i128,
    offset_seconds: i32,
}

impl Moment {
    pub(crate) fn from_timestamp(time: Timestamp) -> Moment {
        Moment { nanos: time.as_nanosecond(), offset_seconds: 0 }
    }

    pub(crate) fn from_seconds(seconds: i64) -> Moment {
        Moment { nanos: i128::from(seconds) * NANOS, offset_seconds: 0 }
    }

    /// What orders moments.
    pub(crate) fn instant(self) -> i128 {
        self.nanos
    }

    pub(crate) fn add(self, nanos: i64) -> Moment {
        Moment { nanos: self.nanos + i128::from(nanos), ..self }
    }

    /// Nanoseconds from another moment to this one.
    pub(crate) fn since(self, other: Moment) -> i64 {
        (self.nanos - other.nanos).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    pub(crate) fn utc(self) -> Moment {
        Moment { offset_seconds: 0, ..self }
    }

    /// Rounded down to a multiple of a span, counted from the first year.
    pub(crate) fn truncate(self, nanos: i64) -> Moment {
        if nanos <= 0 {
            return self;
        }
        let rest = (self.nanos + YEAR_ONE_SECONDS * NANOS).rem_euclid(i128::from(nanos));
        Moment { nanos: self.nanos - rest, ..self }
    }

    /// Date and time at its offset.
    pub(crate) fn civil(self) -> DateTime {
        let offset = Offset::from_seconds(self.offset_seconds).unwrap_or(Offset::UTC);
        let time = Timestamp::from_nanosecond(self.nanos).unwrap_or(Timestamp::UNIX_EPOCH);
        offset.to_datetime(time)
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.civil().strftime("%Y-%m-%dT%H:%M:%S"))?;
        match self.offset_seconds {
            0 => f.write_str("Z"),
            it => {
                let (sign, it) = if it < 0 { ('-', -it) } else { ('+', it) };
                write!(f, "{sign}{:02}:{:02}", it / 3600, it / 60 % 60)
            }
        }
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// What stands in a layout for a part of a time, longest first where one begins another.
const PARTS: [&str; 24] = [
    "2006", "January", "Monday", "-07:00", "Z07:00", "-0700", "Z0700", "Jan", "Mon", "MST", "-07", "01", "02", "03",
    "04", "05", "06", "15", "PM", "pm", "_2", "1", "2", "3",
];

#[derive(Default)]
struct Read {
    year: i16,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
    afternoon: Option<bool>,
    offset_seconds: i32,
}

/// Reads a time as a layout says.
pub(crate) fn parse(layout: &str, text: &str) -> Result<Moment, String> {
    let wrong = |rest: &str| format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?}");
    let mut read = Read { month: 1, day: 1, ..Read::default() };
    let (mut pattern, mut rest) = (layout, text);
    while let Some(first) = pattern.chars().next() {
        if let Some(part) = PARTS.iter().find(|it| pattern.starts_with(**it)) {
            rest = read.part(part, rest).ok_or_else(|| wrong(rest))?;
            pattern = &pattern[part.len()..];
            if matches!(*part, "05") {
                rest = read.fraction(&mut pattern, rest);
            }
        } else if matches!(first, '4' | '5') {
            rest = read.part(&pattern[..1], rest).ok_or_else(|| wrong(rest))?;
            pattern = &pattern[1..];
        } else {
            rest = rest.strip_prefix(first).ok_or_else(|| wrong(rest))?;
            pattern = &pattern[first.len_utf8()..];
        }
    }
    if !rest.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {rest:?}"));
    }
    read.moment().ok_or_else(|| format!("parsing time {text:?}: out of range"))
}

impl Read {
    /// Takes a part off the text.
    fn part<'a>(&mut self, part: &str, text: &'a str) -> Option<&'a str> {
        let mut rest = text;
        match part {
            "2006" => self.year = digits(&mut rest, 4, 4)?,
            "06" => {
                let year: i16 = digits(&mut rest, 2, 2)?;
                self.year = if year >= 69 { 1900 + year } else { 2000 + year };
            }
            "January" => self.month = named(&mut rest, &MONTHS, false)? + 1,
            "Jan" => self.month = named(&mut rest, &MONTHS, true)? + 1,
            "Monday" => drop(named(&mut rest, &DAYS, false)?),
            "Mon" => drop(named(&mut rest, &DAYS, true)?),
            "01" => self.month = digits(&mut rest, 2, 2)?,
            "1" => self.month = digits(&mut rest, 1, 2)?,
            "02" => self.day = digits(&mut rest, 2, 2)?,
            "_2" | "2" => {
                rest = rest.trim_start_matches(' ');
                self.day = digits(&mut rest, 1, 2)?;
            }
            "15" | "03" => self.hour = digits(&mut rest, 2, 2)?,
            "3" => self.hour = digits(&mut rest, 1, 2)?,
            "04" => self.minute = digits(&mut rest, 2, 2)?,
            "4" => self.minute = digits(&mut rest, 1, 2)?,
            "05" => self.second = digits(&mut rest, 2, 2)?,
            "5" => self.second = digits(&mut rest, 1, 2)?,
            "PM" | "pm" => {
                let half = rest.get(..2)?.to_ascii_uppercase();
                self.afternoon = Some(half == "PM");
                rest = rest.get(2..).filter(|_| half == "PM" || half == "AM")?;
            }
            "MST" => rest = ["UTC", "GMT", "Z"].iter().find_map(|it| rest.strip_prefix(it))?,
            zone => rest = self.zone(zone, rest)?,
        }
        Some(rest)
    }

    fn zone<'a>(&mut self, zone: &str, text: &'a str) -> Option<&'a str> {
        if let (true, Some(rest)) = (zone.starts_with('Z'), text.strip_prefix('Z')) {
            return Some(rest);
        }
        let sign = match text.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        let mut rest = &text[1..];
        let hours: i32 = digits(&mut rest, 2, 2)?;
        let mut minutes = 0;
        if zone != "-07" {
            if zone.ends_with(":00") {
                rest = rest.strip_prefix(':')?;
            }
            minutes = digits(&mut rest, 2, 2)?;
        }
        self.offset_seconds = sign * (hours * 3600 + minutes * 60);
        Some(rest)
    }

    /// A fraction of a second is read wherever one stands, whether or not the layout has it.
    fn fraction<'a>(&mut self, pattern: &mut &str, text: &'a str) -> &'a str {
        if let Some(after) = pattern.strip_prefix(['.', ','])
            && after.starts_with(['0', '9'])
        {
            *pattern = after.trim_start_matches(['0', '9']);
        }
        let Some(after) = text.strip_prefix(['.', ',']) else { return text };
        let end = after.find(|it: char| !it.is_ascii_digit()).unwrap_or(after.len());
        if end == 0 {
            return text;
        }
        let digits = format!("{:0<9}", &after[..end.min(9)]);
        self.nanos = digits.parse().unwrap_or(0);
        &after[end..]
    }

    fn moment(&self) -> Option<Moment> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let civil = DateTime::new(self.year, self.month, self.day, hour, self.minute, self.second, self.nanos).ok()?;
        let time = Offset::UTC.to_timestamp(civil).ok()?;
        let nanos = time.as_nanosecond() - i128::from(self.offset_seconds) * NANOS;
        Some(Moment { nanos, offset_seconds: self.offset_seconds })
    }
}

/// A number of that many digits.
fn digits<T: std::str::FromStr>(text: &mut &str, least: usize, most: usize) -> Option<T> {
    let end = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if end < least {
        return None;
    }
    let (number, rest) = text.split_at(end);
    *text = rest;
    number.parse().ok()
}

/// The place of a name in a list; `short` names have three letters.
fn named(text: &mut &str, names: &[&str], short: bool) -> Option<i8> {
    let at = names.iter().position(|it| {
        let name = if short { &it[..3] } else { it };
        text.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name))
    })?;
    *text = &text[if short { 3 } else { names[at].len() }..];
    i8::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_go_are_read() {
        for (layout, text, shown) in [
            (RFC3339, "2023-01-12T12:37:56Z", "2023-01-12T12:37:56Z"),
            (RFC3339, "2023-01-12T12:37:56.5+05:30", "2023-01-12T12:37:56+05:30"),
            ("Mon Jan 2 15:04:05 MST 2006", "Mon Jan 02 15:04:05 UTC 2023", "2023-01-02T15:04:05Z"),
            ("Monday, 02-Jan-06 15:04:05 MST", "Monday, 02-Jan-06 15:04:05 GMT", "2006-01-02T15:04:05Z"),
            ("2006-01-02", "2021-12-31", "2021-12-31T00:00:00Z"),
            ("Jan _2 3:04PM -0700 2006", "Feb  3 4:05PM -0100 2020", "2020-02-03T16:05:00-01:00"),
        ] {
            assert_eq!(parse(layout, text).map(|it| it.to_string()).as_deref(), Ok(shown), "{text}");
        }
        assert!(parse(RFC3339, "yesterday").is_err());
        assert!(parse(RFC3339, "2023-02-30T00:00:00Z").is_err());
    }

    #[test]
    fn moments_are_cut_to_multiples_of_a_span() {
        let time = parse(RFC3339, "2021-01-02T15:04:05Z").unwrap();
        assert_eq!(time.truncate(3_600_000_000_000).to_string(), "2021-01-02T15:00:00Z");
        assert_eq!(time.truncate(0), time);
    }
}
