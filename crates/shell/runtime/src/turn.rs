//! How much of a processor one turn of a guest takes.
//!
//! The kernel counts it exactly, but asking costs a quarter of a microsecond, and twice that is some percent of a short request.
//! The clock on the wall costs nothing and is right for a turn that nobody interrupted, as every turn far shorter than a time
//! slice is. So it decides for short turns; longer ones are asked of the kernel, together with what the thread had used shortly
//! before. Start at [`Turn::begin`].

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Turns up to here are taken at their length: the scheduler's slices are thirty times as long.
const SHORT: Duration = Duration::from_micros(100);

/// A reading of the thread's clock is good for this long, and a long turn is told too long by no more.
const STALE: Duration = Duration::from_micros(200);

thread_local! {
    static READ: Cell<Option<Reading>> = const { Cell::new(None) };
}

/// What this thread had used at an instant.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    used: Duration,
}

/// A turn that has ended.
pub(crate) struct Ended {
    pub(crate) started: Instant,
    /// How long it lasted.
    pub(crate) wall: Duration,
    /// The processor's time that it took.
    pub(crate) used: Duration,
}

/// A turn that is under way on this thread, and ends on it.
pub(crate) struct Turn {
    started: Instant,
}

impl Turn {
    pub(crate) fn begin() -> Self {
        let started = Instant::now();
        if READ.get().is_none_or(|it| started.duration_since(it.at) > STALE) {
            READ.set(Some(Reading { at: started, used: thread_time() }));
        }
        Self { started }
    }

    pub(crate) fn end(self) -> Ended {
        let now = Instant::now();
        let (started, wall) = (self.started, now.duration_since(self.started));
        if wall <= SHORT {
            return Ended { started, wall, used: wall };
        }
        let used = thread_time();
        let before = READ.replace(Some(Reading { at: now, used }));
        Ended { started, wall, used: before.map_or(wall, |it| used.saturating_sub(it.used).min(wall)) }
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_the_wall_is_not_charged_while_the_thread_does_nothing() {
        let turn = Turn::begin();
        std::thread::sleep(Duration::from_millis(20));
        let Ended { wall, used, .. } = turn.end();
        assert!(wall >= Duration::from_millis(20) && used < Duration::from_millis(5), "{wall:?} {used:?}");
    }

    #[test]
    fn what_a_thread_computes_is_charged() {
        let turn = Turn::begin();
        let before = thread_time();
        while thread_time() - before < Duration::from_millis(5) {}
        let used = turn.end().used;
        assert!((Duration::from_millis(5)..Duration::from_millis(8)).contains(&used), "{used:?}");
    }

    #[test]
    fn a_short_turn_is_what_the_clock_says() {
        let Ended { started, wall, used } = Turn::begin().end();
        assert!(used <= wall && wall <= started.elapsed());
    }
}
