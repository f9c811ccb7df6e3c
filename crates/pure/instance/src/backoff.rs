//! How long to wait before trying again.

use std::time::Duration;

/// Delays that double from `base` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The first delay.
    pub base: Duration,
    /// No delay is longer.
    pub max: Duration,
    /// A container that ran this long starts again with the first delay.
    pub reset: Duration,
}

impl Default for Schedule {
    /// As the kubelet: 10 s, 20 s, … 300 s, forgotten after ten minutes of running.
    fn default() -> Self {
        Schedule { base: Duration::from_secs(10), max: Duration::from_secs(300), reset: Duration::from_secs(600) }
    }
}

impl Schedule {
    /// The delay after `failures` failures in a row, of which the first is number 1. Zero failures wait for nothing.
    pub fn delay(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        // 2^20 times any useful base is beyond any useful maximum.
        self.base.saturating_mul(1 << doublings.min(20)).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let schedule = Schedule::default();
        let seconds: Vec<u64> = [0, 1, 2, 3, 4, 5, 6, 7, 200].map(|n| schedule.delay(n).as_secs()).into();
        expect!["[0, 10, 20, 40, 80, 160, 300, 300, 300]"].assert_eq(&format!("{seconds:?}"));
    }
}
