use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;

/// A revision whose instances are ready as soon as they are asked for, under a load given second by second.
struct Simulation {
    scaling: Scaling,
    scaler: Scaler,
    present: Present,
    reading: Reading,
    alarm_at: u32,
    most: i32,
    log: String,
}

impl Simulation {
    fn new(scaling: Scaling) -> Self {
        let present = Present { asked: 0, ready: 0, is_reachable: true, is_initialized: true };
        let (scaler, reading, log) = (Scaler::default(), Reading::default(), String::new());
        Self { scaling, scaler, present, reading, alarm_at: 1, most: 0, log }
    }

    fn decide(&mut self) {
        let decision = self.scaler.decide(&self.scaling, self.scaling.target(0), self.present, self.reading);
        self.alarm_at = decision.alarm_at;
        if decision.desired != self.present.asked {
            let panics = if decision.panics { " panics" } else { "" };
            writeln!(
                self.log,
                "{:.1}s {} -> {}{panics}",
                self.reading.at as f64 / 1e3,
                self.present.asked,
                decision.desired
            )
            .unwrap();
            self.present.asked = decision.desired;
            self.present.ready = decision.desired;
            self.most = self.most.max(decision.desired);
        }
    }

    /// Holds `in_flight` requests for `seconds`.
    fn hold(&mut self, in_flight: u32, seconds: i64) -> &mut Self {
        for tick in 0..seconds * 10 {
            self.reading.requests += i64::from(in_flight > 0);
            self.reading.in_flight = in_flight;
            let alarmed = in_flight >= self.alarm_at;
            if alarmed || tick % 20 == 0 {
                self.decide();
            }
            self.reading.at += 100;
            self.reading.used += i64::from(in_flight) * 100;
        }
        self
    }
}

#[track_caller]
fn check(scaling: Scaling, load: &[(u32, i64)], want: Expect) {
    let mut simulation = Simulation::new(scaling);
    load.iter().for_each(|(in_flight, seconds)| {
        simulation.hold(*in_flight, *seconds);
    });
    want.assert_eq(&simulation.log);
}

fn target(target: f64) -> Scaling {
    Scaling { target: Some(target), utilization: 1.0, ..Scaling::default() }
}

#[test]
fn from_zero_with_the_first_request_and_back_after_a_window() {
    check(
        target(10.0),
        &[(0, 30), (1, 5), (0, 120)],
        expect![[r#"
        30.0s 0 -> 1
        95.0s 1 -> 0
    "#]],
    );
}

#[test]
fn the_last_instance_stays_with_a_request_that_takes_longer_than_the_window() {
    let scaling = Scaling { metric: Metric::Rps, target: Some(10.0), ..Scaling::default() };
    let mut scaler = Scaler::default();
    let present = Present { asked: 1, ready: 1, is_reachable: true, is_initialized: true };
    let mut desired = |seconds: i64, in_flight: u32| {
        let at = seconds * 1000;
        let reading = Reading { at, in_flight, used: at.min(200_000), requests: 1 };
        scaler.decide(&scaling, scaling.target(0), present, reading).desired
    };
    for seconds in (0..=200).step_by(2) {
        assert_eq!(desired(seconds, 1), 1, "after {seconds} s");
    }
    assert_eq!(desired(202, 0), 0, "nobody has asked for longer than a window");
}

#[test]
fn a_burst_on_zero_asks_at_once_for_what_it_needs() {
    check(
        target(10.0),
        &[(100, 10), (0, 140)],
        expect![[r#"
        0.0s 0 -> 10
        12.0s 10 -> 9
        14.0s 9 -> 8
        16.0s 8 -> 7
        18.0s 7 -> 6
        20.0s 6 -> 5
        26.0s 5 -> 4
        34.0s 4 -> 3
        50.0s 3 -> 2
        64.0s 2 -> 1
        70.0s 1 -> 0
    "#]],
    );
}

#[test]
fn a_step_of_ten_panics_and_does_not_overshoot() {
    let mut simulation = Simulation::new(target(10.0));
    simulation.hold(20, 120).hold(200, 120);
    assert_eq!(simulation.most, 20, "{}", simulation.log);
    assert_eq!(simulation.present.asked, 20, "{}", simulation.log);
    let reaction = simulation.log.lines().find(|it| it.contains("-> 20")).unwrap();
    assert!(reaction.starts_with("120.0s"), "{reaction}");
}

#[test]
fn bounds_retention_delay_and_activation_hold() {
    check(
        Scaling { min: 2, max: 3, ..target(10.0) },
        &[(0, 4), (100, 10), (0, 200)],
        expect![[r#"
        0.0s 0 -> 2
        4.0s 2 -> 3 panics
        78.0s 3 -> 2
    "#]],
    );
    let kept = Scaling { retention: std::time::Duration::from_secs(30), ..target(10.0) };
    check(
        kept,
        &[(1, 1), (0, 140)],
        expect![[r#"
        0.0s 0 -> 1
        91.0s 1 -> 0
    "#]],
    );
    let slow = Scaling { down_delay: std::time::Duration::from_secs(60), ..target(10.0) };
    check(
        slow,
        &[(50, 4), (0, 400)],
        expect![[r#"
        0.0s 0 -> 5
        64.0s 5 -> 4
        66.0s 4 -> 3
        68.0s 3 -> 2
        126.0s 2 -> 1
        186.0s 1 -> 0
    "#]],
    );
    check(
        Scaling { activation: 3, ..target(10.0) },
        &[(1, 2), (0, 100)],
        expect![[r#"
        0.0s 0 -> 3
        62.0s 3 -> 1
        64.0s 1 -> 0
    "#]],
    );
}

#[test]
fn what_rests_is_not_looked_at_again() {
    let mut scaler = Scaler::default();
    let present = Present { asked: 0, ready: 0, is_reachable: true, is_initialized: true };
    let scaling = Scaling::default();
    let decision = scaler.decide(&scaling, 70.0, present, Reading { at: 5, ..Reading::default() });
    assert_eq!((decision.desired, decision.again, decision.alarm_at), (0, None, 1));
    let warm = Scaling { min: 2, ..Scaling::default() };
    let present = Present { asked: 2, ready: 2, ..present };
    let decision = scaler.decide(&warm, 70.0, present, Reading { at: 10, ..Reading::default() });
    assert_eq!((decision.desired, decision.again, decision.alarm_at), (2, None, 1), "pre-warmed costs nothing");
}

#[test]
fn a_revision_without_routes_keeps_no_minimum() {
    let mut scaler = Scaler::default();
    let scaling = Scaling { min: 3, ..Scaling::default() };
    let mut present = Present { asked: 3, ready: 3, is_reachable: false, is_initialized: true };
    let mut at = 0;
    while present.asked > 0 {
        present.asked = scaler.decide(&scaling, 70.0, present, Reading { at, ..Reading::default() }).desired;
        present.ready = present.asked;
        at += TICK;
        assert!(at < 100_000);
    }
    assert!(at >= 60_000, "not before a whole window was seen: {at}");
}

#[test]
fn a_revision_becomes_ready_at_its_initial_scale() {
    let mut scaler = Scaler::default();
    let scaling = Scaling { initial: 2, ..Scaling::default() };
    let present = Present { asked: 0, ready: 0, is_reachable: false, is_initialized: false };
    assert_eq!(scaler.decide(&scaling, 70.0, present, Reading::default()).desired, 2);
}

#[test]
fn a_clock_that_jumps_back_starts_a_new_window() {
    let mut scaler = Scaler::default();
    let present = Present { asked: 1, ready: 1, is_reachable: true, is_initialized: true };
    let scaling = Scaling::default();
    scaler.decide(&scaling, 70.0, present, Reading { at: 1_000_000, in_flight: 1, used: 5, requests: 1 });
    let decision = scaler.decide(&scaling, 70.0, present, Reading { at: 0, in_flight: 0, used: 5, requests: 1 });
    assert_eq!(decision.desired, 1, "nothing is known to be idle yet");
}

/// A trace of the shape of the Azure Functions data set of 2019: one line a function, invocations minute by minute.
const TRACE: &str = include_str!("trace.csv");

#[test]
fn a_recorded_trace_replays_to_the_same_decisions() {
    let mut out = String::new();
    for line in TRACE.lines().skip(1) {
        let mut cells = line.split(',');
        let function = cells.nth(2).unwrap();
        let seconds: u32 = cells.nth(1).unwrap().parse().unwrap();
        let mut simulation = Simulation::new(Scaling { target: Some(4.0), utilization: 1.0, ..Scaling::default() });
        for invocations in cells.map(|it| it.parse::<u32>().unwrap()) {
            // Little's law: so many are under way at once on average, spread over the busy part of the minute.
            let busy = if invocations == 0 { 0 } else { (invocations * seconds).div_ceil(60).max(1) };
            let length =
                if invocations == 0 { 0 } else { (i64::from(invocations * seconds) / i64::from(busy)).clamp(1, 60) };
            simulation.hold(busy, length).hold(0, 60 - length);
        }
        let changes = simulation.log.lines().count();
        writeln!(out, "{function}: {changes} changes, at most {}, now {}", simulation.most, simulation.present.asked)
            .unwrap();
    }
    expect![[r#"
        timer: 8 changes, at most 1, now 0
        http-steady: 1 changes, at most 1, now 1
        http-diurnal: 2 changes, at most 1, now 0
        queue-bursts: 90 changes, at most 5, now 1
        rare: 4 changes, at most 1, now 0
        storage-ramp: 5 changes, at most 5, now 5
    "#]]
    .assert_eq(&out);
}

#[test]
fn a_burst_after_a_long_rest_keeps_the_instances_that_it_asked_for() {
    let mut simulation = Simulation::new(target(10.0));
    simulation.hold(10, 60).hold(0, 200);
    assert_eq!(simulation.present.ready, 0, "{}", simulation.log);
    // Nobody looks at a revision at rest.
    simulation.reading.at += 3_600_000;
    simulation.reading.in_flight = 100;
    simulation.decide();
    assert_eq!(simulation.present.asked, 10, "{}", simulation.log);
    for ready in [6, 8, 10] {
        simulation.present.ready = ready;
        simulation.reading.at += 20;
        simulation.reading.used += 2_000;
        simulation.decide();
        simulation.present.ready = ready;
        assert_eq!(simulation.present.asked, 10, "{}", simulation.log);
    }
}
