//! What was measured lately. Entry point: [`Window`].

use std::collections::VecDeque;

use super::{Millis, Reading};

/// Between two readings that are kept, at least.
const GRAIN: Millis = 250;

/// Readings of a revision's counters over the longest window asked about.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    readings: VecDeque<Reading>,
}

impl Window {
    /// Takes a reading in and forgets what lies more than `span` back. A clock that went back starts afresh, and so does a
    /// rest longer than that: nobody looked because nothing was asked, and its hours would thin out what comes now.
    pub(super) fn take(&mut self, reading: Reading, span: Millis) {
        let apart = |it: &Reading| it.at > reading.at || it.used > reading.used || it.at + span < reading.at;
        if self.readings.back().is_some_and(apart) {
            self.readings.clear();
        }
        // The first is always kept, and so is one for each grain.
        if self.readings.len() > 1 && self.readings[self.readings.len() - 2].at + GRAIN > reading.at {
            self.readings.pop_back();
        }
        self.readings.push_back(reading);
        while self.readings.get(1).is_some_and(|it| it.at <= reading.at - span) {
            self.readings.pop_front();
        }
    }

    /// Since when anything is known.
    pub(super) fn begins(&self) -> Option<Millis> {
        self.readings.front().map(|it| it.at)
    }

    /// Requests under way at once, and requests per second, on average over the last `span`; over as much of it as is known.
    pub(super) fn average(&self, span: Millis) -> (f64, f64) {
        let Some(last) = self.readings.back() else { return (0.0, 0.0) };
        let from = self.readings.iter().rev().find(|it| it.at <= last.at - span).or(self.readings.front());
        let Some(from) = from.filter(|it| it.at < last.at) else { return (0.0, 0.0) };
        let millis = (last.at - from.at) as f64;
        ((last.used - from.used) as f64 / millis, (last.requests - from.requests) as f64 * 1e3 / millis)
    }
}
