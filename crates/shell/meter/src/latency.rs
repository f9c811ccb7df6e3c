//! How long answers took. Entry points: [`Histogram`] counts, [`Latencies`] is what was counted.
//!
//! Buckets are a quarter of a power of two apart, from a microsecond to two minutes: a quantile is off by at most a fifth.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Buckets of each power of two.
const PARTS: u32 = 4;
/// Powers of two of microseconds; what takes longer than 2^27 is in the last bucket.
const POWERS: u32 = 28;
const BUCKETS: usize = (PARTS * POWERS) as usize;

/// Counts by bucket.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

/// What a histogram had counted at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// By bucket; empty where nothing was counted.
    counts: Vec<u64>,
    micros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub(crate) fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }
}

fn bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let power = micros.ilog2();
    // The two bits below the highest one say which quarter it is.
    let part = ((micros << 2) >> power) & 3;
    ((power * PARTS) as usize + part as usize).min(BUCKETS - 1)
}

/// The least that is above a bucket.
fn end(bucket: usize) -> Duration {
    let (power, part) = (bucket as u32 / PARTS, bucket as u64 % u64::from(PARTS));
    Duration::from_nanos((1_000_u64 << power) * (5 + part) / 4)
}

impl Latencies {
    /// Adds what a histogram has counted by now.
    pub(crate) fn add(&mut self, counted: &Histogram) {
        self.counts.resize(BUCKETS, 0);
        for (sum, count) in self.counts.iter_mut().zip(&counted.counts) {
            *sum += count.load(Relaxed);
        }
        self.micros += counted.micros.load(Relaxed);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all of them took together.
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.micros)
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Latencies) -> Latencies {
        let at = |index: usize| before.counts.get(index).copied().unwrap_or_default();
        let counts = self.counts.iter().enumerate().map(|(index, it)| it.saturating_sub(at(index))).collect();
        Latencies { counts, micros: self.micros.saturating_sub(before.micros) }
    }

    /// Such a part (0 to 1) took no longer than this; `None` where nothing was counted.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|it| {
            seen += it;
            seen >= rank
        });
        found.map(end)
    }

    /// How many took less than 2^`power` microseconds.
    pub(crate) fn below(&self, power: u32) -> u64 {
        self.counts.iter().take((power * PARTS) as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_within_its_bucket() {
        for micros in [1, 2, 3, 4, 5, 7, 8, 100, 255, 256, 999, 1_000, 65_535, 1_000_000, 60_000_000] {
            let at = bucket(micros);
            assert!(Duration::from_micros(micros) < end(at), "{micros} in {at}");
            assert!(at == 0 || Duration::from_micros(micros) >= end(at - 1) || micros < 4, "{micros} in {at}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_off_by_a_fifth_at_most() {
        let histogram = Histogram::default();
        let read = || {
            let mut counted = Latencies::default();
            counted.add(&histogram);
            counted
        };
        assert_eq!(read().quantile(0.99), None);
        (1..=1000).for_each(|it| histogram.add(Duration::from_millis(it)));
        let before = read();
        for (part, millis) in [(0.5, 500), (0.9, 900), (0.99, 990)] {
            let found = before.quantile(part).unwrap().as_millis();
            assert!((millis..=millis * 5 / 4).contains(&found), "{part}: {found}");
        }
        (0..99).for_each(|_| histogram.add(Duration::from_millis(10)));
        histogram.add(Duration::from_secs(3));
        let since = read().since(&before);
        assert_eq!((since.count(), since.total().as_millis()), (100, 3_990));
        assert!(since.quantile(0.99).unwrap() < Duration::from_millis(13));
        assert!(since.quantile(1.0).unwrap() >= Duration::from_secs(3));
        assert_eq!((since.below(13), since.below(14)), (0, 99), "8 and 16 milliseconds");
    }
}
