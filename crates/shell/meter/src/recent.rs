//! How many there were lately. Entry point: [`Recent`].
//!
//! Each second has a slot that says which second it is about, so that the past needs nobody to clear it away.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Seconds that a rate is told over.
pub const WINDOW_SECONDS: u32 = 10;
/// Slots: the window, the second under way, and some that may be written while they are read.
const SLOTS: usize = 16;

/// Counts of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Recent([AtomicU64; SLOTS]);

impl Recent {
    /// Counts one in this second.
    pub(crate) fn add(&self, second: u32) {
        let slot = &self.0[second as usize % SLOTS];
        let tag = u64::from(second) << 32;
        let mut seen = slot.load(Relaxed);
        loop {
            // A second that is over was counted elsewhere by then, or is forgotten.
            let next = if seen >> 32 == u64::from(second) { seen + 1 } else { tag | 1 };
            match slot.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// How many there were each second on average over the window that ends `millis` into `second`, or over `age_seconds` where
    /// that is shorter.
    pub(crate) fn rate(&self, second: u32, millis: u32, age_seconds: f64) -> f64 {
        let span = f64::from(WINDOW_SECONDS - 1) + f64::from(millis) / 1e3;
        let from = second.saturating_sub(WINDOW_SECONDS - 1);
        let count: u64 = self
            .0
            .iter()
            .map(|it| it.load(Relaxed))
            .filter(|it| (u64::from(from)..=u64::from(second)).contains(&(it >> 32)))
            .map(|it| it & u64::from(u32::MAX))
            .sum();
        // Under a second there is no rate to speak of: what came counts as that second's.
        count as f64 / span.min(age_seconds).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let recent = Recent::default();
        for second in 100..140 {
            (0..20).for_each(|_| recent.add(second));
        }
        assert!((recent.rate(140, 0, 1e6) - 20.0).abs() < 1e-9, "the second under way has not begun");
        assert!((recent.rate(143, 500, 1e6) - 20.0 * 6.0 / 9.5).abs() < 1e-9, "{}", recent.rate(143, 500, 1e6));
        assert_eq!(recent.rate(160, 0, 1e6), 0.0);
    }

    #[test]
    fn a_young_meter_has_only_its_age() {
        let recent = Recent::default();
        (0..30).for_each(|_| recent.add(7));
        assert_eq!(recent.rate(7, 400, 0.4), 30.0);
        assert_eq!(recent.rate(9, 0, 2.0), 15.0);
    }
}
