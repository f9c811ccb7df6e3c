//! Meters of Services and routes. Entry points: [`Meters`], [`Meter::begin`].

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

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
    /// By first digit of the status: 1xx to 5xx, then those without a response.
    outcomes: [AtomicU64; 6],
    in_flight: AtomicU32,
    waiting: AtomicU32,
    refused: AtomicU64,
    retries: AtomicU64,
    alarm: AlarmAt,
    /// Made by the first request.
    detail: OnceLock<Box<Detail>>,
    raised: Arc<Raised>,
    began: Instant,
}

#[derive(Default)]
struct Detail {
    /// When the first request came, in seconds since the meters began.
    since: f64,
    begun: AtomicU64,
    requests: Recent,
    errors: Recent,
    latency: Histogram,
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
    meter: Arc<Meter>,
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
            in_flight: AtomicU32::new(u32::MAX),
            requests: AtomicU64::new(u64::MAX),
            is_raised: AtomicBool::new(false),
        };
        let (outcomes, in_flight, waiting) = Default::default();
        let (refused, retries, detail) = Default::default();
        Self { name, subject, outcomes, in_flight, waiting, refused, retries, alarm, detail, raised, began }
    }

    /// `namespace/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    fn detail(&self) -> &Detail {
        self.detail.get_or_init(|| Box::new(Detail { since: self.began.elapsed().as_secs_f64(), ..Detail::default() }))
    }

    /// Begins a request.
    pub fn begin(self: &Arc<Self>) -> Exchange {
        let began = Instant::now();
        let detail = self.detail();
        let second = (began - self.began).as_secs() as u32;
        detail.requests.add(second);
        let begun = detail.begun.fetch_add(1, Relaxed) + 1;
        let in_flight = self.in_flight.fetch_add(1, Relaxed) + 1;
        if in_flight >= self.alarm.in_flight.load(Acquire) || begun >= self.alarm.requests.load(Acquire) {
            self.raise();
        }
        Exchange { meter: self.clone(), began }
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
        self.count(0, took);
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
        let begun = self.detail.get().map_or(0, |it| it.begun.load(Relaxed));
        self.alarm.in_flight.store(alarm.in_flight, Release);
        self.alarm.requests.store(begun.saturating_add(alarm.requests), Release);
    }

    /// What it says now.
    pub fn read(&self) -> Reading {
        let mut reading = Reading {
            outcomes: std::array::from_fn(|class| self.outcomes[class].load(Relaxed)),
            in_flight: self.in_flight.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            refused: self.refused.load(Relaxed),
            retries: self.retries.load(Relaxed),
            ..Reading::default()
        };
        if let Some(detail) = self.detail.get() {
            let now = self.began.elapsed();
            let (second, millis, age) = (now.as_secs() as u32, now.subsec_millis(), now.as_secs_f64() - detail.since);
            reading.requests = detail.begun.load(Relaxed);
            reading.per_second = detail.requests.rate(second, millis, age);
            reading.errors_per_second = detail.errors.rate(second, millis, age);
            reading.latencies = detail.latency.read();
        }
        reading
    }

    /// Counts one outcome by its status; 0 stands for none.
    fn count(&self, status: u16, took: Duration) {
        let class = match status / 100 {
            class @ 1..=5 => usize::from(class) - 1,
            _ => 5,
        };
        self.outcomes[class].fetch_add(1, Relaxed);
        let detail = self.detail();
        detail.latency.add(took);
        if class >= 4 {
            detail.errors.add(self.began.elapsed().as_secs() as u32);
        }
    }
}

impl Exchange {
    /// The response has begun with this status; 0 where there will be none.
    pub fn answered(&self, status: u16) {
        self.meter.count(status, self.began.elapsed());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.meter.in_flight.fetch_sub(1, Relaxed);
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
        out.debug_tuple("Exchange").field(&self.meter.name).finish()
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
