//! What a call must not do on a thread that serves: take long, or touch much memory at once.
//!
//! A guest yields every tick, and a call that took [`TIME`] leaves the threads that serve. Where most calls of a guest are like
//! that, the next begin elsewhere ([`Habit`]): a thread that serves ten of them would have them all for their first turns.
//!
//! One operation on memory (`memory.fill`, `memory.copy`) is not interrupted, and where it touches pages for the first time each
//! costs the kernel's time too: 64 MiB are some 20 ms in which all other requests of that thread stand still. So a call leaves
//! before it can ([`is_heavy`]). Interpreters begin with tens of MiB and fill none of it at once; whether a guest is like that is
//! seen by its first calls, which are made elsewhere ([`Trust`]). Who polls a call says with [`serving`] where it is, and whatever makes it heavy waits with
//! [`leave`].

use std::{
    cell::Cell,
    future::poll_fn,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    task::Poll::{Pending, Ready},
    time::Duration,
};

/// Time on the caller's thread after which a call goes on in the background. Far above an ordinary request, low enough
/// that a few spinning ones do not hold up the serving threads.
pub(crate) const TIME: Duration = Duration::from_millis(5);

/// So many more long calls than short ones make a habit.
const LONG: u32 = 4;

/// And no more are remembered: as many short ones less [`LONG`] break it.
const LONG_MAX: u32 = 8;

/// Whether calls of a guest are usually long.
#[derive(Default)]
pub(crate) struct Habit(AtomicU32);

impl Habit {
    /// A call has taken so much of a processor. Not of the clock on the wall: a busy machine is not the guest's habit.
    pub(crate) fn saw(&self, used: Duration) {
        let now = self.0.load(Relaxed);
        let then = if used >= TIME { LONG_MAX.min(now + 1) } else { now.saturating_sub(1) };
        if then != now {
            // Of two that end at once one may be forgotten.
            self.0.store(then, Relaxed);
        }
    }

    /// Whether the next one should not begin on a thread that serves.
    pub(crate) fn is_long(&self) -> bool {
        self.0.load(Relaxed) >= LONG
    }
}

/// Memory that an instance may have on a thread that serves. Those of large interpreters begin with a quarter of it.
const BYTES_MAX: u64 = 64 << 20;

/// Memory that it may have there before its guest is trusted: filling all of it takes about [`TIME`].
const BYTES_UNTRIED: u64 = 16 << 20;

/// So many calls without a long turn make a guest trusted, and so many once it had one: too rare for its neighbours' 99 in a
/// hundred to notice.
const CALLS_FIRST: u32 = 8;
const CALLS_AGAIN: u32 = 1000;

/// Whether a guest gives its thread back when it is told to: how many calls are left until that is believed.
#[derive(Debug)]
pub(crate) struct Trust(AtomicU32);

impl Default for Trust {
    fn default() -> Self {
        Trust(AtomicU32::new(CALLS_FIRST))
    }
}

impl Trust {
    /// A turn took so much of a processor. Turns end with a tick, but for what cannot be interrupted.
    pub(crate) fn saw(&self, used: Duration) {
        if used >= TIME {
            self.0.store(CALLS_AGAIN, Relaxed);
        }
    }

    /// A call has ended without a long turn.
    pub(crate) fn grow(&self) {
        let left = self.0.load(Relaxed);
        if left > 0 {
            // Of two that end at once one may be forgotten.
            self.0.store(left - 1, Relaxed);
        }
    }

    fn is_earned(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

/// Memory that it may gain there: fresh pages, some milliseconds of work for the kernel.
const GROWN_BYTES_MAX: u64 = 16 << 20;

thread_local! {
    static HERE: Cell<Here> = const { Cell::new(Here::Elsewhere) };
}

/// What is under way on a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    /// No call, or one that may take its time.
    Elsewhere,
    /// A call on the thread of whoever waits for it.
    Serving,
    /// Such a call, which goes no further here.
    Leaving,
}

/// Whether an instance with so much memory, of which it has gained so much since it began, may hold a thread up for long.
pub(crate) fn is_heavy(bytes: u64, grown_bytes: u64, trust: &Trust) -> bool {
    bytes > BYTES_MAX || grown_bytes > GROWN_BYTES_MAX || (bytes > BYTES_UNTRIED && !trust.is_earned())
}

/// Does `turn`, a turn of a call on a thread that serves: what it gives, and whether the call must go on elsewhere.
pub(crate) fn serving<T>(turn: impl FnOnce() -> T) -> (T, bool) {
    // A guest that asks another one has its call within its own.
    let _outer = Outer(HERE.replace(Here::Serving));
    let outcome = turn();
    (outcome, HERE.get() == Here::Leaving)
}

/// Gives the thread back its outer call.
struct Outer(Here);

impl Drop for Outer {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

/// On a thread that serves, waits once, so that the call goes on elsewhere.
pub(crate) async fn leave() {
    let mut asked = false;
    poll_fn(|cx| {
        if asked || HERE.get() == Here::Elsewhere {
            return Ready(());
        }
        asked = true;
        HERE.set(Here::Leaving);
        // Should nobody take it elsewhere, it goes on here.
        cx.waker().wake_by_ref();
        Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::{Context, Waker},
    };

    use super::*;

    fn poll(work: Pin<&mut impl Future<Output = ()>>) -> bool {
        work.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn long_calls_become_a_habit_and_short_ones_break_it() {
        let (long, short) = (TIME, TIME / 2);
        let habit = Habit::default();
        let after = |calls: &[Duration]| {
            calls.iter().for_each(|it| habit.saw(*it));
            habit.is_long()
        };
        assert!(!after(&[short; 100]));
        assert!(!after(&[long; 3]));
        assert!(after(&[long]), "the short ones before do not count for ever");
        assert!(after(&[long; 100]));
        assert!(after(&[short; 4]));
        assert!(!after(&[short]), "nor do the long ones");
        assert!(!after(&[long, short, short, long, short].repeat(20)));
    }

    #[test]
    fn much_memory_is_heavy_and_so_is_much_that_is_new() {
        for (bytes, grown, heavy) in [
            (BYTES_MAX, 0, false),
            (BYTES_MAX + 1, 0, true),
            (GROWN_BYTES_MAX, GROWN_BYTES_MAX, false),
            (GROWN_BYTES_MAX + 1, GROWN_BYTES_MAX + 1, true),
        ] {
            assert_eq!(is_heavy(bytes, grown, &Trust(AtomicU32::new(0))), heavy, "{bytes} {grown}");
        }
    }

    #[test]
    fn who_is_not_known_has_less_memory_and_one_long_turn_makes_unknown_for_long() {
        let trust = Trust::default();
        let has = |bytes| is_heavy(bytes, 0, &trust);
        let calls = |count| (0..count).for_each(|_| trust.grow());
        assert!(!has(BYTES_UNTRIED) && has(BYTES_UNTRIED + 1));
        calls(CALLS_FIRST - 1);
        assert!(has(BYTES_UNTRIED + 1));
        calls(1);
        assert!(!has(BYTES_MAX));
        trust.saw(TIME / 2);
        assert!(!has(BYTES_MAX));
        trust.saw(TIME);
        calls(CALLS_AGAIN - 1);
        assert!(has(BYTES_MAX));
        calls(1);
        assert!(!has(BYTES_MAX));
    }

    #[test]
    fn a_call_that_becomes_heavy_where_requests_are_served_goes_on_elsewhere() {
        let mut work = pin!(leave());
        assert_eq!(serving(|| poll(work.as_mut())), (false, true));
        assert!(poll(work.as_mut()), "elsewhere it goes on");
        assert!(poll(pin!(leave())), "who is elsewhere stays");
        assert_eq!(serving(|| 7), (7, false), "who does nothing of the kind stays");
    }

    #[test]
    fn a_call_that_nobody_takes_elsewhere_goes_on() {
        let mut work = pin!(leave());
        assert_eq!(serving(|| poll(work.as_mut())), (false, true));
        assert_eq!(serving(|| poll(work.as_mut())), (true, false));
    }

    #[test]
    fn a_call_within_a_call_leaves_alone() {
        let mut inner = pin!(leave());
        let outer = serving(|| serving(|| poll(inner.as_mut())));
        assert_eq!(outer, ((false, true), false));
        let mut outer = pin!(leave());
        let both = serving(|| {
            let first = poll(outer.as_mut());
            (first, serving(|| 7))
        });
        assert_eq!(both, ((false, (7, false)), true), "and does not keep the outer one");
    }
}
