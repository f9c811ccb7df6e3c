//! Meters of Services and routes. Entry points: [`Meters`], [`Meter::begin`].

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{AcqRel, Relaxed, Release, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use eyot_dispatch::serving::PerThread;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    latency::{Histogram, Latencies},
    recent::Recent,
    scale::Scales,
};

/// What a meter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A Service, whichever way requests come to it.
    Service,
    /// An HTTPRoute.
    Route,
    /// An Ingress.
    Ingress,
}

/// All meters. Reads of known ones take no lock.
pub struct Meters {
    by_name: [papaya::HashMap<Arc<str>, Arc<Meter>>; 3],
    raised: Arc<Raised>,
    began: Instant,
    /// What autoscalers made of it.
    pub scales: Scales,
    /// Copies of requests that were sent, and those that were not for want of room.
    pub mirrored: AtomicU64,
    /// Copies of requests given up: too many at once, or a body that their receiver did not keep up with.
    pub mirrors_dropped: AtomicU64,
}

/// Meters that passed their alarm; each is here at most once.
#[derive(Default)]
struct Raised {
    meters: Mutex<VecDeque<Arc<Meter>>>,
    more: Notify,
}

/// Counts of one Service or route since it was first asked for.
pub struct Meter {
    name: Arc<str>,
    subject: Subject,
    waiting: AtomicU32,
    refused: AtomicU64,
    retries: AtomicU64,
    alarm: AlarmAt,
    /// When the first request came, in seconds since the meters began.
    since: OnceLock<f64>,
    counts: PerThread<Arc<Counts>>,
    raised: Arc<Raised>,
    began: Instant,
}

/// What one thread has counted.
struct Counts {
    begun: AtomicU64,
    /// Those that began on this thread, wherever they end.
    in_flight: AtomicU32,
    /// By first digit of the status: 1xx to 5xx, then those without a response.
    outcomes: [AtomicU64; 6],
    requests: Recent,
    errors: Recent,
    latency: Histogram,
    /// When the meters began.
    began: Instant,
}

/// When a meter wants attention. What is not set is never reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// With so many requests under way.
    pub in_flight: u32,
    /// When so many further requests have begun.
    pub requests: u64,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { in_flight: u32::MAX, requests: u64::MAX }
    }
}

struct AlarmAt {
    is_set: AtomicBool,
    in_flight: AtomicU32,
    requests: AtomicU64,
    is_raised: AtomicBool,
}

/// What a meter says at one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Requests that have begun.
    pub requests: u64,
    /// Outcomes by class of status: 1xx, 2xx, 3xx, 4xx, 5xx, and no response.
    pub outcomes: [u64; 6],
    /// Requests under way, those that wait included.
    pub in_flight: u32,
    /// Requests that wait for an instance.
    pub waiting: u32,
    /// Requests that found no place, or no endpoint.
    pub refused: u64,
    /// Further endpoints tried after one took nothing.
    pub retries: u64,
    /// Requests each second, over the last [`crate::WINDOW_SECONDS`].
    pub per_second: f64,
    /// The same of those that failed: 5xx, and no response.
    pub errors_per_second: f64,
    /// Time to the beginning of the response.
    pub latencies: Latencies,
}

impl Reading {
    /// Those that have an outcome.
    pub fn ended(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Those that failed: 5xx, and no response.
    pub fn failed(&self) -> u64 {
        self.outcomes[4] + self.outcomes[5]
    }
}

/// A request under way; ends when dropped.
pub struct Exchange {
    counts: Arc<Counts>,
    began: Instant,
}

/// A request that waits; ends when dropped.
#[derive(Debug)]
pub struct Waiting(Arc<Meter>);

impl Default for Meters {
    fn default() -> Self {
        Self {
            by_name: std::array::from_fn(|_| papaya::HashMap::new()),
            raised: Arc::default(),
            began: Instant::now(),
            scales: Scales::default(),
            mirrored: AtomicU64::new(0),
            mirrors_dropped: AtomicU64::new(0),
        }
    }
}

impl Meters {
    /// The meter of `namespace/name`.
    pub fn of(&self, subject: Subject, name: &str) -> Arc<Meter> {
        let meters = self.by_name[subject as usize].pin();
        if let Some(known) = meters.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        let fresh = || Arc::new(Meter::new(name.clone(), subject, self.raised.clone(), self.began));
        meters.get_or_insert_with(name.clone(), fresh).clone()
    }

    /// Begins a request there.
    pub fn begin(&self, subject: Subject, name: &str) -> Exchange {
        let known = self.by_name[subject as usize].pin().get(name).map(Meter::begin);
        known.unwrap_or_else(|| self.of(subject, name).begin())
    }

    /// The same, if it is known.
    pub fn get(&self, subject: Subject, name: &str) -> Option<Arc<Meter>> {
        self.by_name[subject as usize].pin().get(name).cloned()
    }

    /// Forgets a meter. Requests under way go on being counted where nobody looks.
    pub fn forget(&self, subject: Subject, name: &str) {
        self.by_name[subject as usize].pin().remove(name);
    }

    /// Forgets every meter of that kind whose name is not `kept`.
    pub fn retain(&self, subject: Subject, kept: impl Fn(&str) -> bool) {
        self.by_name[subject as usize].pin().retain(|name, _| kept(name));
    }

    /// All meters of that kind, by name.
    pub fn all(&self, subject: Subject) -> Vec<Arc<Meter>> {
        let mut all: Vec<_> = self.by_name[subject as usize].pin().values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Waits for the next meter that passes its alarm. It may do so again from here on.
    pub async fn raised(&self) -> Arc<Meter> {
        loop {
            let more = self.raised.more.notified();
            if let Some(meter) = self.raised.meters.lock().pop_front() {
                meter.alarm.is_raised.store(false, Release);
                return meter;
            }
            more.await;
        }
    }
}

impl Meter {
    fn new(name: Arc<str>, subject: Subject, raised: Arc<Raised>, began: Instant) -> Self {
        let alarm = AlarmAt {
            is_set: AtomicBool::new(false),
            in_flight: AtomicU32::new(u32::MAX),
            requests: AtomicU64::new(u64::MAX),
            is_raised: AtomicBool::new(false),
        };
        let (waiting, refused, retries) = Default::default();
        let (since, counts) = Default::default();
        Self { name, subject, waiting, refused, retries, alarm, since, counts, raised, began }
    }

    /// `namespace/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// What this thread counts.
    fn here(&self) -> &Arc<Counts> {
        self.counts.here(|| {
            self.since.get_or_init(|| self.began.elapsed().as_secs_f64());
            Arc::new(Counts::new(self.began))
        })
    }

    /// How many requests have begun, and how many are under way.
    fn counted(&self) -> (u64, u32) {
        let each = self.counts.all().map(|it| (it.begun.load(SeqCst), it.in_flight.load(SeqCst)));
        each.fold((0, 0), |(begun, in_flight), it| (begun + it.0, in_flight + it.1))
    }

    /// Begins a request.
    pub fn begin(self: &Arc<Self>) -> Exchange {
        let began = Instant::now();
        let counts = Arc::clone(self.here());
        counts.requests.add(seconds(began - self.began));
        // Of two threads at least the later one sees what both have counted.
        counts.begun.fetch_add(1, SeqCst);
        counts.in_flight.fetch_add(1, SeqCst);
        if self.alarm.is_set.load(SeqCst) {
            let (begun, in_flight) = self.counted();
            if in_flight >= self.alarm.in_flight.load(SeqCst) || begun >= self.alarm.requests.load(SeqCst) {
                self.raise();
            }
        }
        Exchange { counts, began }
    }

    /// Counts a request that waits for an instance until the answer is dropped.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(self.clone())
    }

    /// Counts a request that found no place, or no endpoint.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts a request that was given up after such a time without a response.
    pub fn lost(&self, took: Duration) {
        self.here().count(0, took);
    }

    /// Counts a further endpoint that was tried.
    pub fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    fn raise(self: &Arc<Self>) {
        if !self.alarm.is_raised.swap(true, AcqRel) {
            self.raised.meters.lock().push_back(self.clone());
            self.raised.more.notify_one();
        }
    }

    /// Sets when it wants attention next; earlier alarms hold no more.
    pub fn set_alarm(&self, alarm: Alarm) {
        let (begun, _) = self.counted();
        self.alarm.in_flight.store(alarm.in_flight, SeqCst);
        self.alarm.requests.store(begun.saturating_add(alarm.requests), SeqCst);
        self.alarm.is_set.store(alarm != Alarm::default(), SeqCst);
    }

    /// What it says now.
    pub fn read(&self) -> Reading {
        let (requests, in_flight) = self.counted();
        let mut reading = Reading {
            requests,
            in_flight,
            waiting: self.waiting.load(Relaxed),
            refused: self.refused.load(Relaxed),
            retries: self.retries.load(Relaxed),
            ..Reading::default()
        };
        let now = self.began.elapsed();
        let age = now.as_secs_f64() - self.since.get().copied().unwrap_or_default();
        for counts in self.counts.all() {
            for (sum, count) in reading.outcomes.iter_mut().zip(&counts.outcomes) {
                *sum += count.load(Relaxed);
            }
            reading.per_second += counts.requests.rate(seconds(now), now.subsec_millis(), age);
            reading.errors_per_second += counts.errors.rate(seconds(now), now.subsec_millis(), age);
            reading.latencies.add(&counts.latency);
        }
        reading
    }
}

/// Whole seconds since the meters began.
fn seconds(passed: Duration) -> u32 {
    u32::try_from(passed.as_secs()).unwrap_or(u32::MAX)
}

impl Counts {
    fn new(began: Instant) -> Self {
        let (begun, in_flight, outcomes) = Default::default();
        let (requests, errors, latency) = Default::default();
        Self { begun, in_flight, outcomes, requests, errors, latency, began }
    }

    /// Counts one outcome by its status; 0 stands for none.
    fn count(&self, status: u16, took: Duration) {
        let class = match status / 100 {
            class @ 1..=5 => usize::from(class) - 1,
            _ => 5,
        };
        self.outcomes[class].fetch_add(1, Relaxed);
        self.latency.add(took);
        if class >= 4 {
            self.errors.add(seconds(self.began.elapsed()));
        }
    }
}

impl Exchange {
    /// The response has begun with this status; 0 where there will be none.
    pub fn answered(&self, status: u16) {
        self.counts.count(status, self.began.elapsed());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.counts.in_flight.fetch_sub(1, SeqCst);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.by_name.iter().map(papaya::HashMap::len).sum::<usize>();
        out.debug_struct("Meters").field("len", &len).finish_non_exhaustive()
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Meter").field("name", &self.name).field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Exchange").field("began", &self.began).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_request_is_counted_from_its_beginning_to_its_end() {
        let meters = Meters::default();
        let meter = meters.of(Subject::Service, "ns/web");
        assert!(Arc::ptr_eq(&meter, &meters.of(Subject::Service, "ns/web")));
        assert!(meters.get(Subject::Route, "ns/web").is_none(), "another subject is another meter");
        let (one, two) = (meter.begin(), meter.begin());
        let waits = meter.wait();
        one.answered(200);
        two.answered(0);
        let reading = meter.read();
        assert_eq!((reading.requests, reading.in_flight, reading.waiting), (2, 2, 1));
        assert_eq!((reading.outcomes, reading.failed(), reading.ended()), ([0, 1, 0, 0, 0, 1], 1, 2));
        assert_eq!((reading.per_second, reading.errors_per_second), (2.0, 1.0));
        assert_eq!(reading.latencies.count(), 2);
        drop((one, two, waits));
        let after = meter.read();
        assert_eq!((after.in_flight, after.waiting), (0, 0));
        meters.forget(Subject::Service, "ns/web");
        assert!(meters.all(Subject::Service).is_empty());
    }

    #[test]
    fn an_alarm_is_raised_by_what_it_was_set_to_and_once_until_somebody_looks() {
        let meters = Meters::default();
        let meter = meters.of(Subject::Service, "ns/web");
        let raised = || meters.raised().now_or_never().is_some();
        let _one = meter.begin();
        assert!(!raised(), "nothing was set");
        meter.set_alarm(Alarm { in_flight: 3, ..Alarm::default() });
        let _two = meter.begin();
        assert!(!raised());
        let _more = [meter.begin(), meter.begin()];
        assert!(raised());
        assert!(!raised(), "both are one alarm");
        meter.set_alarm(Alarm { requests: 2, ..Alarm::default() });
        let _five = meter.begin();
        assert!(!raised(), "one more since it was set");
        let _six = meter.begin();
        assert!(raised());
    }
}
