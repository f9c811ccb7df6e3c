//! How many instances a load asks for, as Knative's autoscaler decides it.
//!
//! Entry point: [`Scaler::decide`], given a [`Reading`] of the revision's counters, at any moment: at ticks, and at once when
//! the load crosses [`Decision::alarm_at`]. The load is averaged over a stable window and over a shorter one; when the
//! shorter one asks for much more than there is, the scaler panics: it goes by the shorter one and never down, until a
//! whole stable window has passed without another rush.
//!
//! It differs from Knative's in what it is told: counters that never stop counting instead of samples, so that an average is
//! exact, and the number of requests under way now, so that a rush is seen when it begins. There is no grace period for
//! networks to be programmed, because whoever holds requests is always in the way here.

#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;

use crate::{Metric, Scaling};
use window::Window;

/// A time in milliseconds, of any clock that goes forward.
pub type Millis = i64;

/// Between two looks at a revision that has work.
pub const TICK: Millis = 2_000;
/// How many times more instances one decision may ask for.
const UP_RATE: f64 = 1000.0;
/// How many times fewer.
const DOWN_RATE: f64 = 2.0;

/// What a revision's counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// When.
    pub at: Millis,
    /// Requests under way, those that wait included.
    pub in_flight: u32,
    /// Time that all requests together have been under way, in milliseconds.
    pub used: i64,
    /// Requests that have begun.
    pub requests: i64,
}

/// The revision as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// Instances asked for.
    pub asked: i32,
    /// Instances that take requests.
    pub ready: i32,
    /// Whether a route leads to it.
    pub is_reachable: bool,
    /// Whether it has had its initial scale once.
    pub is_initialized: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// So many instances.
    pub desired: i32,
    /// Why, for logs and events.
    pub why: String,
    /// Whether it panics.
    pub panics: bool,
    /// When to look again by itself; not at all where only a request can change anything.
    pub again: Option<Millis>,
    /// With so many requests under way it wants to look again at once.
    pub alarm_at: u32,
}

/// One revision's autoscaler: what it remembers from one decision to the next.
#[derive(Clone, Debug, Default)]
pub struct Scaler {
    window: Window,
    panics_since: Option<Millis>,
    /// Most that was asked for in this panic.
    panic_most: i32,
    /// What was wanted when, the largest first, for the delay of scaling down.
    wanted: VecDeque<(Millis, i32)>,
    /// Since when nothing is wanted.
    idle_since: Option<Millis>,
    /// Requests that had begun at the last decision, and when there last were new ones.
    requests: i64,
    asked_at: Option<Millis>,
}

impl Scaler {
    /// Decides. `target` is what one instance shall have of the metric, as [`Scaling::target`] tells.
    pub fn decide(&mut self, scaling: &Scaling, target: f64, present: Present, reading: Reading) -> Decision {
        let now = reading.at;
        let stable_span = millis(scaling.window);
        self.window.take(reading, stable_span);
        let is_asked = reading.requests != self.requests;
        if is_asked {
            (self.requests, self.asked_at) = (reading.requests, Some(now));
        }
        let (stable, panic) = self.loads(scaling, reading);
        let ready = f64::from(present.ready.max(1));
        let (up_most, down_least) = ((ready * UP_RATE).ceil(), (ready / DOWN_RATE).floor());
        let ask = |load: f64| (load / target).ceil();
        let limited = |asked: f64| whole(asked.max(if present.ready > 0 { down_least } else { 0.0 }).min(up_most));
        let (by_stable, by_panic) = (limited(ask(stable)), limited(ask(panic)));
        let rushes = ask(panic) / ready >= scaling.panic_threshold && present.ready > 0;
        self.note_rush(rushes, now, stable_span);
        let mut desired = by_stable;
        let mut why = format!("stable load {stable:.2}");
        if self.panics_since.is_some() {
            if by_panic.max(by_stable) > self.panic_most {
                self.panics_since = Some(now);
                self.panic_most = by_panic.max(by_stable);
            }
            desired = self.panic_most;
            why = format!("panic load {panic:.2}");
        } else if present.ready == 0 {
            // From nothing there is no window to go by yet.
            // A request that was answered already, by whoever needs no instance for it, was one all the same.
            desired = by_stable.max(by_panic).max(i32::from(is_asked));
            why = format!("load {panic:.2} at zero");
        }
        // What only shrinks step by step on its way to nothing is not raised again.
        if ask(stable) > 0.0 || ask(panic) > 0.0 {
            desired = desired.max(scaling.activation);
        }
        // Nor does the last one go while a request is inside, however long ago that came.
        if reading.in_flight > 0 && present.asked > 0 {
            desired = desired.max(1);
        }
        desired = self.delayed(desired, now, millis(scaling.down_delay));
        desired = self.last_instance(desired, scaling, present, now);
        let bounded = bounds(desired, scaling, present);
        if bounded != desired {
            why = format!("{why}, bounded from {desired}");
        }
        let (again, alarm_at) = self.next(bounded, scaling, present, target, reading);
        Decision { desired: bounded, why, panics: self.panics_since.is_some(), again, alarm_at }
    }

    /// The load over the stable window, and the one that tells a rush: what is under way now counts where it is more than the
    /// short window shows.
    fn loads(&self, scaling: &Scaling, reading: Reading) -> (f64, f64) {
        let stable = self.window.average(millis(scaling.window));
        let panic = self.window.average(millis(scaling.panic_window));
        match scaling.metric {
            Metric::Rps => (stable.1, panic.1.max(f64::from(u8::from(reading.in_flight > 0)))),
            _ => (stable.0, panic.0.max(f64::from(reading.in_flight))),
        }
    }

    fn note_rush(&mut self, rushes: bool, now: Millis, span: Millis) {
        match self.panics_since {
            None if rushes => (self.panics_since, self.panic_most) = (Some(now), 0),
            Some(_) if rushes => self.panics_since = Some(now),
            Some(since) if since + span < now => (self.panics_since, self.panic_most) = (None, 0),
            _ => {}
        }
    }

    /// The most that was wanted within the delay.
    fn delayed(&mut self, desired: i32, now: Millis, delay: Millis) -> i32 {
        if delay == 0 {
            return desired;
        }
        self.wanted.retain(|it| it.0 > now - delay && it.1 > desired);
        self.wanted.push_back((now, desired));
        self.wanted.front().map_or(desired, |it| it.1)
    }

    /// The last instance goes after the retention period, and only once a whole window was seen without a request.
    fn last_instance(&mut self, desired: i32, scaling: &Scaling, present: Present, now: Millis) -> i32 {
        if desired > 0 || present.asked == 0 {
            self.idle_since = None;
            return desired;
        }
        let window = millis(scaling.window);
        let seen = self.window.begins().is_some_and(|it| it <= now - window)
            && self.asked_at.is_none_or(|it| it <= now - window);
        if !seen {
            return 1;
        }
        let since = *self.idle_since.get_or_insert(now);
        if now - since >= millis(scaling.retention) { 0 } else { 1 }
    }

    /// When to look again: by itself while anything may still change without a request.
    fn next(
        &self,
        desired: i32,
        scaling: &Scaling,
        present: Present,
        target: f64,
        reading: Reading,
    ) -> (Option<Millis>, u32) {
        let least = floor(scaling, present);
        let (stable, _) = self.window.average(millis(scaling.window));
        let rests = reading.in_flight == 0
            && stable == 0.0
            && self.panics_since.is_none()
            && desired == least
            && present.asked == desired
            && (present.is_initialized || present.asked == 0);
        if rests {
            return (None, 1);
        }
        let capacity = f64::from(present.ready.max(desired).max(1)) * target;
        let alarm_at = match scaling.metric {
            Metric::Rps => u32::MAX,
            _ => whole((capacity * scaling.panic_threshold).ceil()).unsigned_abs().max(1),
        };
        // What is under way already raises no further alarm before it has grown.
        let alarm_at = if desired == 0 { 1 } else { alarm_at.max(reading.in_flight.saturating_add(1)) };
        (Some(TICK), alarm_at)
    }
}

/// The fewest instances: those of `min-scale`, unless nothing leads here.
fn floor(scaling: &Scaling, present: Present) -> i32 {
    let min = if present.is_reachable { scaling.min } else { 0 };
    if present.is_initialized { min } else { min.max(scaling.initial) }
}

fn bounds(desired: i32, scaling: &Scaling, present: Present) -> i32 {
    let desired = desired.max(floor(scaling, present));
    if scaling.max > 0 { desired.min(scaling.max) } else { desired }
}

/// A count that fits; loads are never so large that it matters.
fn whole(number: f64) -> i32 {
    number.clamp(0.0, f64::from(i32::MAX)) as i32
}

fn millis(span: std::time::Duration) -> Millis {
    Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX)
}
