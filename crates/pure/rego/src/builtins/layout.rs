//! Go's way to write how a time looks: the layout is the time of Monday, January 2nd 2006, 15:04:05, in zone -0700.
//!
//! Entry points: [`format`] and [`parse`].

use jiff::{
    Zoned,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

/// A part of a layout.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part<'a> {
    Text(&'a str),
    Year,
    YearShort,
    Month(Digits),
    MonthName {
        long: bool,
    },
    Day(Digits),
    DayOfYear,
    WeekdayName {
        long: bool,
    },
    Hour,
    HourTwelve(Digits),
    Minute(Digits),
    Second(Digits),
    /// A separator and how many digits; whether zeros at the end go.
    Fraction {
        digits: usize,
        trimmed: bool,
    },
    Meridiem {
        upper: bool,
    },
    ZoneName,
    /// Whether UTC is `Z`, whether with colons, and whether minutes and seconds are written.
    ZoneOffset {
        z: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
}

/// How a number is padded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Digits {
    Plain,
    Zero,
    Space,
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
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Layouts by the names that Go has for them.
fn named(layout: &str) -> &str {
    match layout {
        "ANSIC" => "Mon Jan _2 15:04:05 2006",
        "UnixDate" => "Mon Jan _2 15:04:05 MST 2006",
        "RubyDate" => "Mon Jan 02 15:04:05 -0700 2006",
        "RFC822" => "02 Jan 06 15:04 MST",
        "RFC822Z" => "02 Jan 06 15:04 -0700",
        "RFC850" => "Monday, 02-Jan-06 15:04:05 MST",
        "RFC1123" => "Mon, 02 Jan 2006 15:04:05 MST",
        "RFC1123Z" => "Mon, 02 Jan 2006 15:04:05 -0700",
        "RFC3339" => "2006-01-02T15:04:05Z07:00",
        "RFC3339Nano" => "2006-01-02T15:04:05.999999999Z07:00",
        other => other,
    }
}

const fn zone(z: bool, colon: bool, minutes: bool, seconds: bool) -> Part<'static> {
    Part::ZoneOffset { z, colon, minutes, seconds }
}

/// What parts look like in a layout, longer ones first where one begins another.
const TABLE: &[(&str, Part<'static>)] = &[
    ("January", Part::MonthName { long: true }),
    ("Jan", Part::MonthName { long: false }),
    ("Monday", Part::WeekdayName { long: true }),
    ("Mon", Part::WeekdayName { long: false }),
    ("MST", Part::ZoneName),
    ("2006", Part::Year),
    ("002", Part::DayOfYear),
    ("01", Part::Month(Digits::Zero)),
    ("02", Part::Day(Digits::Zero)),
    ("03", Part::HourTwelve(Digits::Zero)),
    ("04", Part::Minute(Digits::Zero)),
    ("05", Part::Second(Digits::Zero)),
    ("06", Part::YearShort),
    ("15", Part::Hour),
    ("_2006", Part::Text("_")),
    ("_2", Part::Day(Digits::Space)),
    ("PM", Part::Meridiem { upper: true }),
    ("pm", Part::Meridiem { upper: false }),
    ("-07:00:00", zone(false, true, true, true)),
    ("-07:00", zone(false, true, true, false)),
    ("-070000", zone(false, false, true, true)),
    ("-0700", zone(false, false, true, false)),
    ("-07", zone(false, false, false, false)),
    ("Z07:00:00", zone(true, true, true, true)),
    ("Z07:00", zone(true, true, true, false)),
    ("Z070000", zone(true, false, true, true)),
    ("Z0700", zone(true, false, true, false)),
    ("Z07", zone(true, false, false, false)),
    ("1", Part::Month(Digits::Plain)),
    ("2", Part::Day(Digits::Plain)),
    ("3", Part::HourTwelve(Digits::Plain)),
    ("4", Part::Minute(Digits::Plain)),
    ("5", Part::Second(Digits::Plain)),
];

fn parts(layout: &str) -> Vec<Part<'_>> {
    let (mut out, mut at, mut text) = (Vec::new(), 0, 0);
    while at < layout.len() {
        let rest = &layout[at..];
        let fraction = fraction(rest);
        let found = TABLE.iter().find(|(word, _)| rest.starts_with(word));
        let (part, len) = match (fraction, found) {
            (Some(found), _) => found,
            (None, Some(("_2006", _))) => (Part::Text("_"), 1),
            (None, Some((word, part))) => (*part, word.len()),
            (None, None) => {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
        };
        if text < at {
            out.push(Part::Text(&layout[text..at]));
        }
        out.push(part);
        at += len;
        text = at;
    }
    if text < layout.len() {
        out.push(Part::Text(&layout[text..]));
    }
    out
}

/// `.000` or `,999`, not followed by a digit.
fn fraction(rest: &str) -> Option<(Part<'static>, usize)> {
    let digits = rest.strip_prefix(['.', ','])?;
    let first = digits.chars().next().filter(|it| *it == '0' || *it == '9')?;
    let count = digits.chars().take_while(|it| *it == first).count();
    let ends = !digits[count..].starts_with(|c: char| c.is_ascii_digit());
    ends.then_some((Part::Fraction { digits: count, trimmed: first == '9' }, count + 1))
}

/// A time as a layout says.
pub(super) fn format(at: &Zoned, layout: &str) -> String {
    let mut out = String::new();
    for part in parts(named(layout)) {
        let padded = |number: i32, digits: Digits| match digits {
            Digits::Plain => number.to_string(),
            Digits::Zero => format!("{number:02}"),
            Digits::Space => format!("{number:2}"),
        };
        let twelve = match at.hour() % 12 {
            0 => 12,
            hour => i32::from(hour),
        };
        let name = |names: &[&'static str], index: i8, long: bool| {
            let name = names[usize::try_from(index).unwrap_or(0) % names.len()];
            if long { name.to_owned() } else { name[..3].to_owned() }
        };
        out.push_str(&match part {
            Part::Text(text) => text.to_owned(),
            Part::Year => format!("{:04}", at.year()),
            Part::YearShort => format!("{:02}", at.year().rem_euclid(100)),
            Part::Month(digits) => padded(at.month().into(), digits),
            Part::MonthName { long } => name(&MONTHS, at.month() - 1, long),
            Part::Day(digits) => padded(at.day().into(), digits),
            Part::DayOfYear => format!("{:03}", at.day_of_year()),
            Part::WeekdayName { long } => name(&DAYS, at.weekday().to_sunday_zero_offset(), long),
            Part::Hour => format!("{:02}", at.hour()),
            Part::HourTwelve(digits) => padded(twelve, digits),
            Part::Minute(digits) => padded(at.minute().into(), digits),
            Part::Second(digits) => padded(at.second().into(), digits),
            Part::Fraction { digits, trimmed } => {
                let all = format!("{:09}", at.subsec_nanosecond());
                let cut = &all[..digits.min(9)];
                let cut = if trimmed { cut.trim_end_matches('0') } else { cut };
                if cut.is_empty() { String::new() } else { format!(".{cut}") }
            }
            Part::Meridiem { upper } => match (at.hour() >= 12, upper) {
                (true, true) => "PM".to_owned(),
                (true, false) => "pm".to_owned(),
                (false, true) => "AM".to_owned(),
                (false, false) => "am".to_owned(),
            },
            Part::ZoneName => at.strftime("%Z").to_string(),
            Part::ZoneOffset { z, colon, minutes, seconds } => {
                offset(at.offset().seconds(), z, colon, minutes, seconds)
            }
        });
    }
    out
}

fn offset(total: i32, z: bool, colon: bool, minutes: bool, seconds: bool) -> String {
    if z && total == 0 {
        return "Z".to_owned();
    }
    let (sign, total) = if total < 0 { ('-', -total) } else { ('+', total) };
    let mark = if colon { ":" } else { "" };
    let mut out = format!("{sign}{:02}", total / 3600);
    if minutes {
        out.push_str(&format!("{mark}{:02}", total / 60 % 60));
    }
    if seconds {
        out.push_str(&format!("{mark}{:02}", total % 60));
    }
    out
}

/// The nanoseconds since 1970 of a time that looks as a layout says.
pub(super) fn parse(text: &str, layout: &str) -> Option<i128> {
    let mut reader = Reader { rest: text };
    let (mut year, mut month, mut day, mut hour, mut minute, mut second, mut nano) = (0_i32, 1, 1, 0, 0, 0, 0);
    let (mut afternoon, mut zone) = (None, 0_i32);
    let mut day_of_year = None;
    for part in parts(named(layout)) {
        match part {
            Part::Text(expected) => reader.take(expected)?,
            Part::Year => year = reader.digits(4, 4)?,
            Part::YearShort => {
                let short = reader.digits(2, 2)?;
                year = if short >= 69 { 1900 + short } else { 2000 + short };
            }
            Part::Month(digits) => month = reader.number(digits)?,
            Part::MonthName { long } => month = reader.name(&MONTHS, long)? + 1,
            Part::Day(digits) => day = reader.number(digits)?,
            Part::DayOfYear => day_of_year = Some(reader.digits(3, 3)?),
            Part::WeekdayName { long } => drop(reader.name(&DAYS, long)?),
            Part::Hour => hour = reader.digits(1, 2)?,
            Part::HourTwelve(digits) => hour = reader.number(digits)?,
            Part::Minute(digits) => minute = reader.number(digits)?,
            Part::Second(digits) => {
                second = reader.number(digits)?;
                // A fraction may follow that the layout does not speak of.
                nano = reader.fraction().unwrap_or(nano);
            }
            Part::Fraction { .. } => nano = reader.fraction().unwrap_or(nano),
            Part::Meridiem { upper } => {
                let words = if upper { ["AM", "PM"] } else { ["am", "pm"] };
                let at = words.iter().position(|it| reader.rest.starts_with(it))?;
                reader.rest = &reader.rest[2..];
                afternoon = Some(at == 1);
            }
            Part::ZoneName => {
                let len = reader.rest.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(reader.rest.len());
                if len < 3 {
                    return None;
                }
                // A name without an offset says nothing else here than UTC.
                reader.rest = &reader.rest[len..];
            }
            Part::ZoneOffset { z, colon, minutes, seconds } => zone = reader.offset(z, colon, minutes, seconds)?,
        }
    }
    if !reader.rest.is_empty() {
        return None;
    }
    hour = match afternoon {
        Some(true) if hour < 12 => hour + 12,
        Some(false) if hour == 12 => 0,
        _ => hour,
    };
    let small = |number: i32| i8::try_from(number).ok();
    let date = match day_of_year {
        Some(days) => jiff::civil::Date::new(i16::try_from(year).ok()?, 1, 1)
            .ok()?
            .checked_add(jiff::Span::new().days(days - 1))
            .ok()?,
        None => jiff::civil::Date::new(i16::try_from(year).ok()?, small(month)?, small(day)?).ok()?,
    };
    let time = jiff::civil::Time::new(small(hour)?, small(minute)?, small(second)?, nano).ok()?;
    let zone = TimeZone::fixed(Offset::from_seconds(zone).ok()?);
    let at = DateTime::from_parts(date, time).to_zoned(zone).ok()?;
    Some(at.timestamp().as_nanosecond())
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn take(&mut self, expected: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(expected)?;
        Some(())
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i32> {
        let count = self.rest.chars().take(most).take_while(char::is_ascii_digit).count();
        if count < least {
            return None;
        }
        let (number, rest) = self.rest.split_at(count);
        self.rest = rest;
        number.parse().ok()
    }

    fn number(&mut self, digits: Digits) -> Option<i32> {
        match digits {
            Digits::Plain => self.digits(1, 2),
            Digits::Zero => self.digits(2, 2),
            Digits::Space => {
                self.rest = self.rest.strip_prefix(' ').unwrap_or(self.rest);
                self.digits(1, 2)
            }
        }
    }

    fn name(&mut self, names: &[&str], long: bool) -> Option<i32> {
        let fits = |it: &&str| {
            let wanted = if long { it } else { &it[..3] };
            self.rest.get(..wanted.len()).is_some_and(|it| it.eq_ignore_ascii_case(wanted))
        };
        let at = names.iter().position(fits)?;
        let len = if long { names[at].len() } else { 3 };
        self.rest = &self.rest[len..];
        i32::try_from(at).ok()
    }

    fn fraction(&mut self) -> Option<i32> {
        let digits = self.rest.strip_prefix(['.', ','])?;
        let count = digits.chars().take_while(char::is_ascii_digit).count();
        if count == 0 {
            return None;
        }
        let nanos = format!("{:0<9}", &digits[..count.min(9)]);
        self.rest = &digits[count..];
        nanos.parse().ok()
    }

    fn offset(&mut self, z: bool, colon: bool, minutes: bool, seconds: bool) -> Option<i32> {
        if z && self.take("Z").is_some() {
            return Some(0);
        }
        let sign = match self.rest.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        self.rest = &self.rest[1..];
        let mut total = self.digits(2, 2)? * 3600;
        for (wanted, unit) in [(minutes, 60), (seconds, 1)] {
            if wanted {
                if colon {
                    self.take(":")?;
                }
                total += self.digits(2, 2)? * unit;
            }
        }
        Some(sign * total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_as_their_layout_and_are_read_back() {
        let at: Zoned = "2017-06-02T19:05:09.5-07:00[America/Los_Angeles]".parse().unwrap();
        for (layout, text) in [
            ("RFC3339", "2017-06-02T19:05:09-07:00"),
            ("RFC3339Nano", "2017-06-02T19:05:09.5-07:00"),
            ("RFC1123Z", "Fri, 02 Jun 2017 19:05:09 -0700"),
            ("2006/1/_2 3:04PM", "2017/6/ 2 7:05PM"),
            ("Monday, January 2 2006 at 15h04.000", "Friday, June 2 2017 at 19h05.500"),
        ] {
            assert_eq!(format(&at, layout), text);
        }
        let ns = at.timestamp().as_nanosecond();
        assert_eq!(parse("2017-06-02T19:05:09.5-07:00", "RFC3339"), Some(ns));
        assert_eq!(parse("2017-06-03T02:05:09.5Z", "2006-01-02T15:04:05Z07:00"), Some(ns));
        assert_eq!(parse("2017-06-02", "2006-01-02"), Some(1_496_361_600_000_000_000));
        for (text, layout) in
            [("2017-13-02", "2006-01-02"), ("x", "RFC3339"), ("2017-06-02 ", "2006-01-02"), ("", "2006")]
        {
            assert_eq!(parse(text, layout), None, "{text}");
        }
    }
}
