//! Measures the time guests run and holds them to their share of a core.
//!
//! Start at [`Metered`], a future around guest work. Guests yield every tick, so each poll is one short turn: it is timed
//! (see [`crate::turn`]), charged to the guest's [`Meter`], and the next turn waits until the share allows it.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use eyot_dispatch::serving::PerThread;
use futures::future::BoxFuture;
use tokio::time::Sleep;

use crate::{
    foreground::{TIME, Trust},
    guest::Guest,
    turn::{Ended, Turn},
};

/// A guest may save up this much wall time of its share and then run faster for a moment, as a CPU quota's period allows.
const BURST: Duration = Duration::from_millis(100);

/// What all instances of one guest use together.
#[derive(Debug)]
pub(crate) struct Meter {
    origin: Instant,
    /// Thousandths of a core, zero for no bound.
    millis: AtomicU32,
    /// Most bytes of memory of all instances together.
    memory_max: AtomicU64,
    /// The instant, in nanoseconds after `origin`, up to which the share has been spent.
    spent_until: AtomicU64,
    memory_now: AtomicU64,
    memory_peak: AtomicU64,
    sums: PerThread<Box<Sums>>,
    /// Whether its turns end when they are to.
    pub(crate) trust: Trust,
}

/// What bounds nothing.
#[derive(Debug, Default)]
struct Sums {
    requests: AtomicU64,
    cpu_nanos: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Meter {
    pub(crate) fn new(cpu_millis: Option<u32>, memory_bytes: Option<u64>) -> Self {
        Self {
            origin: Instant::now(),
            millis: AtomicU32::new(cpu_millis.map_or(0, |it| it.max(1))),
            memory_max: AtomicU64::new(memory_bytes.unwrap_or(u64::MAX)),
            spent_until: AtomicU64::new(0),
            memory_now: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            sums: PerThread::default(),
            trust: Trust::default(),
        }
    }

    /// Holds the guest to other limits from now on. A limit on memory below what is in use is not taken: false.
    pub(crate) fn limit(&self, cpu_millis: Option<u32>, memory_bytes: Option<u64>) -> bool {
        let memory = memory_bytes.unwrap_or(u64::MAX);
        if memory < self.memory_bytes() {
            return false;
        }
        self.millis.store(cpu_millis.map_or(0, |it| it.max(1)), Relaxed);
        self.memory_max.store(memory, Relaxed);
        true
    }

    /// Most bytes of memory of all instances together.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_max.load(Relaxed)
    }

    fn sums(&self) -> &Sums {
        self.sums.here(Box::default)
    }

    fn sum(&self, of: impl Fn(&Sums) -> &AtomicU64) -> u64 {
        self.sums.all().map(|it| of(it).load(Relaxed)).sum()
    }

    /// A request was taken.
    pub(crate) fn asked(&self) {
        self.sums().requests.fetch_add(1, Relaxed);
    }

    /// Requests taken.
    pub(crate) fn requests(&self) -> u64 {
        self.sum(|it| &it.requests)
    }

    /// Time spent running the guest.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.sum(|it| &it.cpu_nanos))
    }

    /// Linear memory of all live instances, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_now.load(Relaxed)
    }

    /// Most linear memory of one instance, in bytes.
    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        self.memory_peak.load(Relaxed)
    }

    /// So many bytes of a body have come to the guest.
    pub(crate) fn received(&self, bytes: u64) {
        self.sums().received_bytes.fetch_add(bytes, Relaxed);
    }

    /// So many bytes of a body have been taken from the guest.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sums().sent_bytes.fetch_add(bytes, Relaxed);
    }

    /// Bytes of bodies that came to the guest, and of those that it gave.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.sum(|it| &it.received_bytes), self.sum(|it| &it.sent_bytes))
    }

    /// Lets an instance grow by `by` bytes to `total`, if all instances together then have `limit` at most.
    pub(crate) fn grow_memory(&self, by: u64, total: u64, limit: u64) -> bool {
        let grown = |now: u64| now.checked_add(by).filter(|it| *it <= limit);
        let fits = self.memory_now.fetch_update(Relaxed, Relaxed, grown).is_ok();
        if fits && self.memory_peak.load(Relaxed) < total {
            self.memory_peak.fetch_max(total, Relaxed);
        }
        fits
    }

    /// An instance with `bytes` is gone.
    pub(crate) fn memory_released(&self, bytes: u64) {
        self.memory_now.fetch_sub(bytes, Relaxed);
    }

    fn charge(&self, started: Instant, used: Duration) {
        self.charge_until(started + used, used);
    }

    /// Charges `used`, run up to `now`.
    pub(crate) fn charge_until(&self, now: Instant, used: Duration) {
        let used = nanos(used);
        self.sums().cpu_nanos.fetch_add(used, Relaxed);
        let millis = self.millis.load(Relaxed);
        if millis > 0 {
            let now = nanos(now - self.origin);
            let _ = self.spent_until.fetch_update(Relaxed, Relaxed, |it| Some(spend(it, now, used, millis)));
        }
    }

    /// Whether it is held to a share of a core.
    pub(crate) fn is_bounded(&self) -> bool {
        self.millis.load(Relaxed) > 0
    }

    /// How long the guest must wait before its next turn.
    pub(crate) fn debt(&self, now: Instant) -> Option<Duration> {
        if self.millis.load(Relaxed) == 0 {
            return None;
        }
        let ahead = self.spent_until.load(Relaxed).saturating_sub(nanos(now - self.origin));
        (ahead > 0).then(|| Duration::from_nanos(ahead))
    }
}

/// Until when a share of `millis` is spent, once `used` more was run up to `now`. All in nanoseconds.
fn spend(spent_until: u64, now: u64, used: u64, millis: u32) -> u64 {
    let oldest = now.saturating_sub(nanos(BURST));
    let cost = u128::from(used) * 1000 / u128::from(millis);
    spent_until.max(oldest).saturating_add(u64::try_from(cost).unwrap_or(u64::MAX))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Guest work that is timed and throttled.
pub(crate) struct Metered<T> {
    work: BoxFuture<'static, T>,
    guest: Arc<Guest>,
    /// On the wall: a guest whose thread waits holds it up as much as one that computes.
    ran: Duration,
    /// Of a processor: what it took itself.
    used: Duration,
    /// Of a processor: its longest turn.
    longest: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<T> Metered<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static, guest: Arc<Guest>) -> Self {
        // Guests yield by the clock. tokio's own budget would make them yield by the number of host calls as well, and turn
        // what is ready into what is not.
        let work = Box::pin(tokio::task::unconstrained(work));
        Self { work, guest, ran: Duration::ZERO, used: Duration::ZERO, longest: Duration::ZERO, pause: None }
    }

    /// How long this work has had threads so far.
    pub(crate) fn ran(&self) -> Duration {
        self.ran
    }

    /// How much of a processor it has had so far.
    pub(crate) fn used(&self) -> Duration {
        self.used
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.guest.meter.millis.load(Relaxed) == 0 {
            // The clock is asked only for those who are held to a share.
            return Poll::Ready(());
        }
        if let Some(debt) = self.guest.meter.debt(Instant::now()) {
            let mut pause = Box::pin(tokio::time::sleep(debt));
            let state = pause.as_mut().poll(cx);
            self.pause = state.is_pending().then_some(pause);
            return state;
        }
        Poll::Ready(())
    }
}

impl<T> Future for Metered<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        std::task::ready!(this.poll_pause(cx));
        let turn = Turn::begin();
        let outcome = {
            let _running = this.guest.ticker.enter();
            this.work.as_mut().poll(cx)
        };
        let Ended { started, wall, used } = turn.end();
        this.ran += wall;
        this.used += used;
        this.longest = this.longest.max(used);
        let meter = &this.guest.meter;
        meter.charge(started, used);
        meter.trust.saw(used);
        if outcome.is_ready() && this.longest < TIME {
            meter.trust.grow();
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn half_a_core_pays_two_for_one_after_its_burst() {
        // At one second, with a burst of 100 ms saved up, 10 ms of work cost 20 ms of the past.
        assert_eq!(spend(0, 1000 * MS, 10 * MS, 500), 920 * MS);
        // With nothing saved up the guest is 20 ms ahead of the clock.
        assert_eq!(spend(1000 * MS, 1000 * MS, 10 * MS, 500), 1020 * MS);
    }

    #[test]
    fn more_than_a_core_never_waits_on_one_thread() {
        let mut spent = 0;
        for turn in 1..1000 {
            spent = spend(spent, turn * MS, MS, 2000);
        }
        assert!(spent < 999 * MS, "{spent}");
    }

    #[test]
    fn a_guest_without_bound_owes_nothing() {
        let meter = Meter::new(None, None);
        meter.charge(meter.origin, Duration::from_secs(5));
        assert_eq!(meter.debt(meter.origin), None);
        assert_eq!(meter.cpu(), Duration::from_secs(5));
    }

    #[test]
    fn limits_change_while_the_guest_runs_but_never_below_what_it_uses() {
        let meter = Meter::new(None, Some(100));
        assert!(meter.grow_memory(80, 80, meter.memory_bytes_max()));
        assert!(!meter.limit(Some(500), Some(79)), "it uses 80");
        assert_eq!((meter.memory_bytes_max(), meter.debt(meter.origin)), (100, None));
        assert!(meter.limit(Some(500), Some(80)));
        meter.charge(meter.origin, Duration::from_secs(5));
        assert!(meter.debt(meter.origin).is_some(), "it has a share now");
        assert!(meter.limit(None, None));
        assert_eq!(meter.memory_bytes_max(), u64::MAX);
    }

    #[test]
    fn the_smallest_share_is_one_thousandth() {
        let meter = Meter::new(Some(0), None);
        meter.charge(meter.origin, Duration::from_millis(1));
        assert!(meter.debt(meter.origin).unwrap() > Duration::from_millis(800));
    }
}
