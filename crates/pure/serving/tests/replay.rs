//! Days of recorded load, replayed through the autoscaler in a moment.
//!
//! A trace has the form of the Azure Functions data set of 2019: a row for each function with what calls it, and a column for
//! each minute of a day with how often it was called. The one here is made up, with the kinds of rows that the real one has:
//! timers, queues that come in bursts, HTTP that follows the day, and functions that are called a few times a day. A real file
//! can be named in `EYOT_TRACE`; the bounds hold for that as well.

use std::fmt::Write;

use eyot_serving::{
    Scaling,
    scale::{Millis, Present, Reading, Scaler},
};

const MINUTES: usize = 1440;
/// How long a call takes, by what calls the function, in milliseconds.
const DURATIONS: [(&str, i64); 4] = [("timer", 2_000), ("queue", 400), ("http", 120), ("others", 30_000)];

/// How much later than a window after the last call everything may be gone.
const SLACK: Millis = 10_000;

/// One function of a trace.
struct Row {
    name: String,
    duration: i64,
    counts: Vec<u32>,
}

/// Reads a trace: `HashOwner,HashApp,HashFunction,Trigger,1,…,1440`.
fn read(csv: &str) -> Vec<Row> {
    let mut lines = csv.lines();
    let head = lines.next().unwrap_or_default();
    assert!(head.starts_with("HashOwner,HashApp,HashFunction,Trigger,1,2,"), "{head}");
    let rows = lines.map(|line| {
        let mut cells = line.split(',');
        let name = cells.by_ref().take(3).collect::<Vec<_>>().join("/");
        let trigger = cells.next().unwrap_or_default();
        let duration = DURATIONS.iter().find(|it| it.0 == trigger).map_or(1_000, |it| it.1);
        let counts: Vec<u32> = cells.map(|it| it.parse().unwrap()).collect();
        assert_eq!(counts.len(), MINUTES, "{name}");
        Row { name, duration, counts }
    });
    rows.collect()
}

/// How many calls a minute of the day has.
type Calls = fn(usize) -> usize;

/// A day of made-up calls.
fn made_up() -> String {
    let mut csv = "HashOwner,HashApp,HashFunction,Trigger".to_owned();
    (1..=MINUTES).for_each(|it| write!(csv, ",{it}").unwrap());
    let patterns: [(&str, &str, Calls); 6] = [
        ("cleanup", "timer", |it| usize::from(it % 5 == 0)),
        ("report", "timer", |it| usize::from(it == 180)),
        ("thumbnail", "queue", |it| if it % 97 < 3 { 900 } else { 0 }),
        ("shop", "http", |it| 4 + 300 * (it.abs_diff(840) < 400) as usize * (400 - it.abs_diff(840).min(400)) / 400),
        ("webhook", "http", |it| usize::from(it * 7919 % 311 == 0)),
        ("training", "others", |it| if (600..620).contains(&it) { 12 } else { 0 }),
    ];
    for (name, trigger, count) in patterns {
        write!(csv, "\nacme,{name},{name},{trigger}").unwrap();
        (0..MINUTES).for_each(|it| write!(csv, ",{}", count(it)).unwrap());
    }
    csv
}

/// What a replay came to.
#[derive(Debug, Default, PartialEq)]
struct Told {
    log: String,
    decisions: u64,
    /// Time that all instances together were there.
    instance_seconds: i64,
    /// Time with a call under way, and a window and a little after each.
    warm_seconds: i64,
    most: i32,
    most_in_flight: u32,
    /// Longest that calls were under way without any instance.
    without: Millis,
    /// Longest that the last instance stayed without a call.
    idle: Millis,
}

fn millis(span: std::time::Duration) -> Millis {
    Millis::try_from(span.as_millis()).unwrap()
}

/// Replays one function for so many days, in steps of a second. Instances are there a step after they were asked for.
fn replay(row: &Row, scaling: &Scaling, days: usize) -> Told {
    let (mut scaler, mut told) = (Scaler::default(), Told::default());
    let mut present = Present { asked: 0, ready: 0, is_reachable: true, is_initialized: true };
    let (mut reading, mut alarm_at, mut due): (Reading, u32, Option<Millis>) = (Reading::default(), 1, None);
    // Calls end evenly over the steps after they began.
    let mut left: Vec<(Millis, u32)> = Vec::new();
    let (mut since_without, mut last_call) = (None, 0);
    for minute in 0..days * MINUTES {
        let count = row.counts[minute % MINUTES];
        if count == 0 && left.is_empty() && due.is_none() && present.asked == 0 {
            reading.at += 60_000;
            continue;
        }
        for second in 0..60_u32 {
            let begins = count * (second + 1) / 60 - count * second / 60;
            if begins > 0 {
                left.push((reading.at + row.duration, begins));
                reading.requests += i64::from(begins);
                last_call = reading.at;
            }
            reading.in_flight = left.iter().map(|it| it.1).sum();
            told.most_in_flight = told.most_in_flight.max(reading.in_flight);
            if reading.in_flight >= alarm_at || due.is_some_and(|it| it <= reading.at) {
                let decision = scaler.decide(scaling, scaling.target(0), present, reading);
                told.decisions += 1;
                alarm_at = decision.alarm_at;
                due = decision.again.map(|it| reading.at + it);
                if decision.desired != present.asked {
                    writeln!(told.log, "{} {} {}", row.name, reading.at / 1000, decision.desired).unwrap();
                    if decision.desired == 0 {
                        told.idle = told.idle.max(reading.at - last_call - row.duration);
                    }
                    present.asked = decision.desired;
                    due = Some(reading.at + 1000);
                }
            }
            match (present.ready, reading.in_flight) {
                (0, 1..) => told.without = told.without.max(reading.at - *since_without.get_or_insert(reading.at)),
                _ => since_without = None,
            }
            reading.at += 1000;
            reading.used +=
                left.iter().map(|it| (it.0 - reading.at + 1000).clamp(0, 1000) * i64::from(it.1)).sum::<i64>();
            left.retain(|it| it.0 > reading.at);
            let is_warm =
                reading.in_flight > 0 || reading.at - last_call - row.duration <= millis(scaling.window) + SLACK;
            told.warm_seconds += i64::from(is_warm);
            told.instance_seconds += i64::from(present.ready);
            told.most = told.most.max(present.ready);
            present.ready = present.asked;
        }
    }
    told
}

#[test]
fn days_of_load_come_to_the_same_decisions_within_bounds() {
    let named = std::env::var_os("EYOT_TRACE").map(|it| std::fs::read_to_string(it).unwrap());
    let rows = read(&named.unwrap_or_else(made_up));
    let scaling = Scaling { target: Some(5.0), utilization: 1.0, max: 50, ..Scaling::default() };
    for row in &rows {
        let told = replay(row, &scaling, 3);
        assert_eq!(told, replay(row, &scaling, 3), "{}: another run decides otherwise", row.name);
        let calls: u32 = row.counts.iter().sum();
        assert_eq!(told.most > 0, calls > 0, "{}", row.name);
        let needed = told.most_in_flight.div_ceil(5).min(50) as i32;
        assert!(told.most <= needed, "{}: {} instances for {} calls at once", row.name, told.most, told.most_in_flight);
        assert!(told.without <= 2_000, "{}: calls waited {} ms", row.name, told.without);
        assert!(
            told.idle <= millis(scaling.window) + SLACK,
            "{}: it stayed for {} ms without a call",
            row.name,
            told.idle
        );
        let most = i64::from(told.most) * told.warm_seconds;
        assert!(
            told.instance_seconds <= most,
            "{}: {} instance seconds, {most} at most",
            row.name,
            told.instance_seconds
        );
        // It is looked at every two seconds while there is work, and when a load reaches its alarm.
        let alive = told.instance_seconds as u64 + 3 * u64::from(calls);
        assert!(told.decisions <= alive, "{}: {} decisions", row.name, told.decisions);
    }
}

#[test]
fn a_timer_keeps_one_instance_for_a_window_and_none_between() {
    let rows = read(&made_up());
    let report = rows.iter().find(|it| it.name.ends_with("report")).unwrap();
    let told = replay(report, &Scaling::default(), 2);
    assert_eq!(
        told.log,
        "acme/report/report 10859 1\nacme/report/report 10922 0\nacme/report/report 97259 1\nacme/report/report 97322 0\n"
    );
}
