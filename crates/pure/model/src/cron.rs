//! Schedules of CronJobs: five fields, or a name such as `@daily`, as Kubernetes reads them.
//!
//! Entry points: [`Schedule::parse`] and [`Schedule::next`].
//!
//! A local time that a clock change leaves out does not come; one that it repeats comes twice. Deliberately absent:
//! seconds, years, and `L`, `W` and `#`, which Kubernetes does not know either.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// A schedule that never comes up within so many years, such as 30 February, counts as never.
const YEARS_MAX: i16 = 5;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// At local times.
    At(Fields),
    /// So many seconds after the last time (`@every`).
    Every(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
}

/// Numbers below 64, and whether they were written as a plain star.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    bits: u64,
    star: bool,
}

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|it| self.bits & (1u64 << it.min(63)) != 0)
    }

    fn numbers(self) -> impl Iterator<Item = i8> {
        (0..60i8).filter(move |it| self.has(*it))
    }
}

/// What a field may hold.
struct Bounds {
    name: &'static str,
    low: u8,
    high: u8,
    names: &'static [&'static str],
}

const MINUTE: Bounds = Bounds { name: "minute", low: 0, high: 59, names: &[] };
const HOUR: Bounds = Bounds { name: "hour", low: 0, high: 23, names: &[] };
const DAY: Bounds = Bounds { name: "day of month", low: 1, high: 31, names: &[] };
const MONTH: Bounds = Bounds { name: "month", low: 1, high: 12, names: &MONTHS };
const WEEKDAY: Bounds = Bounds { name: "day of week", low: 0, high: 6, names: &DAYS };

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix('@') {
            return named(name);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        Ok(Self(Kind::At(Fields {
            minutes: set(minute, &MINUTE)?,
            hours: set(hour, &HOUR)?,
            days: set(day, &DAY)?,
            months: set(month, &MONTH)?,
            weekdays: set(weekday, &WEEKDAY)?,
        })))
    }

    /// The first time after `after`; `None` when there is none within years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.0 {
            Kind::Every(seconds) => Timestamp::from_second(after.as_second().checked_add(*seconds)?).ok(),
            Kind::At(fields) => fields.next(after, zone),
        }
    }
}

fn named(name: &str) -> Result<Schedule, String> {
    let fields = match name {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => {
            let Some(every) = name.strip_prefix("every ") else {
                return Err(format!("unrecognized descriptor: @{name}"));
            };
            let pause: SignedDuration =
                every.trim().parse().map_err(|it| format!("failed to parse duration @{name}: {it}"))?;
            return Ok(Schedule(Kind::Every(pause.as_secs().max(1))));
        }
    };
    Schedule::parse(fields)
}

fn set(text: &str, bounds: &Bounds) -> Result<Set, String> {
    let mut set = Set { bits: 0, star: false };
    for part in text.split(',') {
        let part = range(part, bounds).map_err(|it| format!("{}: {it}: {part}", bounds.name))?;
        set.bits |= part.bits;
        set.star |= part.star;
    }
    Ok(set)
}

/// `*`, `?`, `N` or `N-M`, each with an optional `/STEP`; `N/STEP` goes on to the end.
fn range(text: &str, bounds: &Bounds) -> Result<Set, String> {
    let (span, step) = match text.split_once('/') {
        Some((span, step)) => (span, Some(number(step, &[])?)),
        None => (text, None),
    };
    let star = matches!(span, "*" | "?");
    let (low, high) = match span.split_once('-') {
        _ if star => (bounds.low, bounds.high),
        Some((low, high)) => (number(low, bounds.names)?, number(high, bounds.names)?),
        None => {
            let low = number(span, bounds.names)?;
            (low, if step.is_some() { bounds.high } else { low })
        }
    };
    // Names count from the lowest number.
    if low < bounds.low {
        return Err(format!("beginning of range ({low}) below minimum ({})", bounds.low));
    }
    if high > bounds.high {
        return Err(format!("end of range ({high}) above maximum ({})", bounds.high));
    }
    if low > high {
        return Err(format!("beginning of range ({low}) beyond end of range ({high})"));
    }
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err("step of range should be a positive number".to_owned());
    }
    let bits = (low..=high).step_by(step.into()).fold(0u64, |bits, it| bits | 1 << it);
    Ok(Set { bits, star: star && step == 1 })
}

fn number(text: &str, names: &[&str]) -> Result<u8, String> {
    if let Some(at) = names.iter().position(|it| text.eq_ignore_ascii_case(it)) {
        // Months are counted from one.
        return u8::try_from(at + usize::from(names.len() == MONTHS.len())).map_err(|it| it.to_string());
    }
    let plain = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or_else(|| format!("failed to parse int from {text:?}"))
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = zone.to_datetime(after).date();
        let last = date.year().checked_add(YEARS_MAX)?;
        while date.year() <= last {
            if !self.months.has(date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                continue;
            }
            if self.takes(date)
                && let Some(found) = self.on(date, after, zone)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Where both kinds of day are given, either will do; a star leaves the word to the other.
    fn takes(&self, date: Date) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        if self.days.star || self.weekdays.star { day && weekday } else { day || weekday }
    }

    /// The first time of a day after `after`.
    fn on(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = zone.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
        let end = zone.to_timestamp(date.tomorrow().ok()?.at(0, 0, 0, 0)).ok()?;
        let plain = end.duration_since(start) == SignedDuration::from_hours(24);
        let mut best: Option<Timestamp> = None;
        for hour in self.hours.numbers() {
            if plain && start.checked_add(SignedDuration::from_hours(i64::from(hour) + 1)).ok()? <= after {
                continue;
            }
            for minute in self.minutes.numbers() {
                let local = date.at(hour, minute, 0, 0);
                if plain {
                    let minutes = i64::from(hour) * 60 + i64::from(minute);
                    let time = start.checked_add(SignedDuration::from_mins(minutes)).ok()?;
                    if time > after {
                        return Some(time);
                    }
                    continue;
                }
                for time in instants(local, zone).into_iter().flatten() {
                    if time > after && best.is_none_or(|it| time < it) {
                        best = Some(time);
                    }
                }
            }
        }
        best
    }
}

/// The moments at which clocks show a local time: none, one or two.
fn instants(local: jiff::civil::DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    if !ambiguous.is_ambiguous() {
        return [ambiguous.compatible().ok(), None];
    }
    match ambiguous.offset() {
        jiff::tz::AmbiguousOffset::Fold { .. } => [ambiguous.earlier().ok(), ambiguous.later().ok()],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn runs(schedule: &str, from: &str, zone: &str, count: usize) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let schedule = Schedule::parse(schedule).unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        let mut got = Vec::new();
        for _ in 0..count {
            match schedule.next(at, &zone) {
                Some(next) => {
                    assert!(next > at);
                    at = next;
                    got.push(next.to_zoned(zone.clone()).strftime("%a %d %b %Y %H:%M %Z").to_string());
                }
                None => got.push("never".to_owned()),
            }
        }
        got.join(", ")
    }

    #[test]
    fn schedules_come_up_as_cron_has_them() {
        let mut got = String::new();
        for schedule in [
            "* * * * *",
            "*/20 9-10 * * *",
            "5/25 * * * *",
            "0 0 1,15 * 1",
            "0 0 */10 * mon",
            "0 12 29 feb ?",
            "30 8 * * MON-FRI",
            "0 0 31 2 *",
            "@hourly",
            "@weekly",
            "@every 1h30m",
        ] {
            got += &format!("{schedule}: {}\n", runs(schedule, "2026-01-01T08:59:30Z", "UTC", 3));
        }
        expect![[r#"
            * * * * *: Thu 01 Jan 2026 09:00 UTC, Thu 01 Jan 2026 09:01 UTC, Thu 01 Jan 2026 09:02 UTC
            */20 9-10 * * *: Thu 01 Jan 2026 09:00 UTC, Thu 01 Jan 2026 09:20 UTC, Thu 01 Jan 2026 09:40 UTC
            5/25 * * * *: Thu 01 Jan 2026 09:05 UTC, Thu 01 Jan 2026 09:30 UTC, Thu 01 Jan 2026 09:55 UTC
            0 0 1,15 * 1: Mon 05 Jan 2026 00:00 UTC, Mon 12 Jan 2026 00:00 UTC, Thu 15 Jan 2026 00:00 UTC
            0 0 */10 * mon: Mon 05 Jan 2026 00:00 UTC, Sun 11 Jan 2026 00:00 UTC, Mon 12 Jan 2026 00:00 UTC
            0 12 29 feb ?: Tue 29 Feb 2028 12:00 UTC, Sun 29 Feb 2032 12:00 UTC, Fri 29 Feb 2036 12:00 UTC
            30 8 * * MON-FRI: Fri 02 Jan 2026 08:30 UTC, Mon 05 Jan 2026 08:30 UTC, Tue 06 Jan 2026 08:30 UTC
            0 0 31 2 *: never, never, never
            @hourly: Thu 01 Jan 2026 09:00 UTC, Thu 01 Jan 2026 10:00 UTC, Thu 01 Jan 2026 11:00 UTC
            @weekly: Sun 04 Jan 2026 00:00 UTC, Sun 11 Jan 2026 00:00 UTC, Sun 18 Jan 2026 00:00 UTC
            @every 1h30m: Thu 01 Jan 2026 10:29 UTC, Thu 01 Jan 2026 11:59 UTC, Thu 01 Jan 2026 13:29 UTC
        "#]]
        .assert_eq(&got);
    }

    #[test]
    fn clock_changes_skip_and_repeat_local_times() {
        let (spring, autumn) = ("2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z");
        expect!["Mon 30 Mar 2026 02:30 CEST, Tue 31 Mar 2026 02:30 CEST"].assert_eq(&runs(
            "30 2 * * *",
            spring,
            "Europe/Berlin",
            2,
        ));
        expect!["Sun 25 Oct 2026 02:30 CEST, Sun 25 Oct 2026 02:30 CET, Mon 26 Oct 2026 02:30 CET"].assert_eq(&runs(
            "30 2 * * *",
            autumn,
            "Europe/Berlin",
            3,
        ));
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_reason() {
        let mut got = String::new();
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1--2 * * * *",
            "@soon",
            "@every x",
            "* * * x-y *",
            "+5 * * * *",
        ] {
            got += &format!("{text:?}: {}\n", Schedule::parse(text).unwrap_err());
        }
        expect![[r#"
            "": expected exactly 5 fields, found 0: []
            "* * * *": expected exactly 5 fields, found 4: [* * * *]
            "60 * * * *": minute: end of range (60) above maximum (59): 60
            "* * 0 * *": day of month: beginning of range (0) below minimum (1): 0
            "* * * * 7": day of week: end of range (7) above maximum (6): 7
            "5-1 * * * *": minute: beginning of range (5) beyond end of range (1): 5-1
            "*/0 * * * *": minute: step of range should be a positive number: */0
            "a * * * *": minute: failed to parse int from "a": a
            "1--2 * * * *": minute: failed to parse int from "-2": 1--2
            "@soon": unrecognized descriptor: @soon
            "@every x": failed to parse duration @every x: failed to parse input in the "friendly" duration format: expected duration to start with a unit value (a decimal integer) after an optional sign, but no integer was found
            "* * * x-y *": month: failed to parse int from "x": x-y
            "+5 * * * *": minute: failed to parse int from "+5": +5
        "#]]
        .assert_eq(&got);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_time_only_goes_on(text in "[-*/?,0-9a-z@ ]{0,24}", at in 0i64..4_000_000_000) {
            if let Ok(schedule) = Schedule::parse(&text) {
                let at = Timestamp::from_second(at).unwrap();
                if let Some(next) = schedule.next(at, &TimeZone::UTC) {
                    proptest::prop_assert!(next > at);
                }
            }
        }
    }
}
