//! How much is asked of what scales by it: counted where requests are carried, read where instances are counted out.
//!
//! Entry points: [`Loads::of`] and [`Load::begin`] for whoever carries requests, [`Load::read`] and [`Loads::raised`] for
//! whoever scales. Nobody polls: a load that reaches its alarm wakes the one who waits in [`Loads::raised`].

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The loads by name, and which of them raised an alarm. Reads of known ones take no lock.
pub struct Loads {
    by_name: papaya::HashMap<Arc<str>, Arc<Load>>,
    alarms: Arc<Alarms>,
}

/// Loads that have reached their alarm; each is here at most once.
#[derive(Default)]
struct Alarms {
    raised: Mutex<VecDeque<Arc<Load>>>,
    more: Notify,
}

/// What is asked of one thing that scales.
pub struct Load {
    name: Arc<str>,
    began: Instant,
    counts: Mutex<Counts>,
    /// So many requests under way raise an alarm.
    alarm_at: AtomicU32,
    is_raised: AtomicBool,
    /// Its requests are answered meanwhile.
    is_answered: AtomicBool,
    alarms: Arc<Alarms>,
}

/// Counters, changed together.
#[derive(Clone, Copy, Default)]
struct Counts {
    in_flight: u32,
    /// Sum of the moments at which requests ended, less those at which they began: with what is under way, the time that all
    /// have taken together. In microseconds.
    offset: i64,
    requests: i64,
}

/// What a load's counters said at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReading {
    /// Milliseconds since the load was first heard of.
    pub at_millis: i64,
    /// Requests under way.
    pub in_flight: u32,
    /// Milliseconds that all requests together have been under way.
    pub used_millis: i64,
    /// Requests that have begun.
    pub requests: i64,
}

/// A request under way, waiting or being answered; ends when dropped.
pub struct Using(Arc<Load>);

impl Default for Loads {
    fn default() -> Self {
        Self { by_name: papaya::HashMap::new(), alarms: Arc::default() }
    }
}

impl Loads {
    /// The load of `name`; a new one raises its alarm at the first request.
    pub fn of(&self, name: &str) -> Arc<Load> {
        let loads = self.by_name.pin();
        if let Some(known) = loads.get(name) {
            return known.clone();
        }
        let fresh = || {
            Arc::new(Load {
                name: name.into(),
                began: Instant::now(),
                counts: Mutex::default(),
                alarm_at: AtomicU32::new(1),
                is_raised: AtomicBool::new(false),
                is_answered: AtomicBool::new(false),
                alarms: self.alarms.clone(),
            })
        };
        loads.get_or_insert_with(name.into(), fresh).clone()
    }

    /// Requests that `name` has begun, if it was ever heard of. Makes nothing.
    pub fn requests(&self, name: &str) -> Option<i64> {
        self.by_name.pin().get(name).map(|it| it.counts.lock().requests)
    }

    /// Forgets the load of `name`. Requests under way go on being counted where nobody looks.
    pub fn forget(&self, name: &str) {
        self.by_name.pin().remove(name);
    }

    /// Waits for the next load that raises an alarm. It may do so again from here on.
    pub async fn raised(&self) -> Arc<Load> {
        loop {
            let more = self.alarms.more.notified();
            if let Some(load) = self.alarms.raised.lock().pop_front() {
                load.is_raised.store(false, Release);
                return load;
            }
            more.await;
        }
    }
}

impl Load {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a request.
    pub fn begin(self: &Arc<Self>) -> Using {
        let in_flight = {
            let mut counts = self.counts.lock();
            // Looked at under the lock: the sums must not go back.
            let now = self.micros();
            counts.in_flight += 1;
            counts.offset -= now;
            counts.requests += 1;
            counts.in_flight
        };
        if in_flight >= self.alarm_at.load(Acquire) {
            self.raise();
        }
        Using(self.clone())
    }

    /// Asks for attention at once, whatever the alarm is set to.
    pub fn raise(self: &Arc<Self>) {
        if !self.is_raised.swap(true, AcqRel) {
            self.alarms.raised.lock().push_back(self.clone());
            self.alarms.more.notify_one();
        }
    }

    /// Says whether its requests are answered though there is no instance: then whoever scales need not hurry.
    pub fn set_answered(&self, is_answered: bool) {
        self.is_answered.store(is_answered, Release);
    }

    /// Whether its requests are answered though there is no instance.
    pub fn is_answered(&self) -> bool {
        self.is_answered.load(Acquire)
    }

    /// Sets with how many requests under way it wants attention, and tells whether there are so many already.
    pub fn set_alarm(&self, in_flight: u32) -> bool {
        self.alarm_at.store(in_flight, Release);
        self.counts.lock().in_flight >= in_flight
    }

    /// The counters now.
    pub fn read(&self) -> LoadReading {
        let held = self.counts.lock();
        let (counts, now) = (*held, self.micros());
        drop(held);
        LoadReading {
            at_millis: now / 1000,
            in_flight: counts.in_flight,
            used_millis: (counts.offset + i64::from(counts.in_flight) * now) / 1000,
            requests: counts.requests,
        }
    }

    fn micros(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        let mut counts = self.0.counts.lock();
        let now = self.0.micros();
        counts.in_flight -= 1;
        counts.offset += now;
    }
}

impl fmt::Debug for Loads {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Loads").field("len", &self.by_name.len()).finish()
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Load").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Using {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Using").field(&self.0.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_alarm_is_raised_once_until_somebody_looks() {
        let loads = Loads::default();
        let load = loads.of("ns/a");
        assert!(Arc::ptr_eq(&load, &loads.of("ns/a")));
        assert!(loads.raised().now_or_never().is_none());
        let (one, two) = (load.begin(), load.begin());
        assert_eq!(loads.raised().await.name(), "ns/a");
        assert!(loads.raised().now_or_never().is_none(), "both requests are one alarm");
        assert!(!load.set_alarm(3));
        let three = load.begin();
        assert!(loads.raised().now_or_never().is_some());
        assert!(load.set_alarm(3), "as many as that are under way already");
        drop((one, two, three));
        assert_eq!(load.read().in_flight, 0);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let loads = Arc::new(Loads::default());
        let waiting = tokio::spawn({
            let loads = loads.clone();
            async move { loads.raised().await.name().to_owned() }
        });
        tokio::task::yield_now().await;
        let _using = loads.of("ns/b").begin();
        assert_eq!(waiting.await.unwrap(), "ns/b");
    }

    #[test]
    fn time_is_counted_while_requests_last() {
        let loads = Loads::default();
        let load = loads.of("ns/c");
        let one = load.begin();
        std::thread::sleep(Duration::from_millis(20));
        let two = load.begin();
        std::thread::sleep(Duration::from_millis(20));
        drop(one);
        let reading = load.read();
        assert_eq!((reading.in_flight, reading.requests), (1, 2));
        assert!(reading.used_millis >= 59, "{reading:?}");
        drop(two);
        let after = load.read();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(load.read().used_millis, after.used_millis, "nothing is under way");
    }
}
