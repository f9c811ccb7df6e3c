//! A work queue of keys: each key waits at most once, is worked on by at most one worker, and not too often.
//!
//! Entry points: [`Queue::add`] to ask for a pass over a key, [`drive`] to make the passes.
//!
//! It is bounded by the number of distinct objects, so nothing is ever dropped.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt::Display,
    future::Future,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::api::ApiError;

/// First pause after a failed pass; it doubles with each failure.
const RETRY_FIRST: Duration = Duration::from_millis(10);
/// Longest pause after failed passes.
const RETRY_LAST: Duration = Duration::from_secs(30);
/// Memory of past passes is swept when it exceeds this.
const PAST_MAX: usize = 1024;

/// What a pass over a key came to: when to look again by itself, or why it failed.
pub(crate) type Outcome = Result<Option<Duration>, ApiError>;

/// Keys that wait for a pass.
pub(crate) struct Queue<K> {
    name: &'static str,
    /// Shortest time between the starts of two passes over the same key.
    interval: Duration,
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, so that each is there once.
    queued: HashSet<K>,
    running: HashMap<K, Instant>,
    /// Keys asked for while running.
    again: HashSet<K>,
    later: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    /// No pass before this moment, by key.
    rests_until: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
    sequence: u64,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    pub(crate) fn new(name: &'static str, interval: Duration) -> Arc<Self> {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashMap::new(),
            again: HashSet::new(),
            later: BTreeMap::new(),
            due: HashMap::new(),
            rests_until: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        };
        Arc::new(Self { name, interval, state: Mutex::new(state), wake: Notify::new() })
    }

    /// Asks for a pass over `key`, soon.
    pub(crate) fn add(&self, key: K) {
        let mut state = self.state.lock();
        let rest = state.rests_until.get(&key).copied();
        let is_next = match rest.filter(|it| *it > Instant::now()) {
            Some(until) => state.schedule(key, until),
            None => state.push(key),
        };
        drop(state);
        // Of thousands of pods each asks for a pass over its controller: only who changes what comes next wakes anybody.
        if is_next {
            self.wake.notify_one();
        }
    }

    /// Asks for a pass over `key` after a pause, unless one is due before.
    pub(crate) fn add_after(&self, key: K, pause: Duration) {
        let is_next = self.state.lock().schedule(key, Instant::now() + pause);
        if is_next {
            self.wake.notify_one();
        }
    }

    async fn next(&self) -> K {
        loop {
            let wait = match self.state.lock().pop(Instant::now()) {
                Ok(key) => return key,
                Err(wait) => wait,
            };
            match wait {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.wake.notified()).await;
                }
                None => self.wake.notified().await,
            }
        }
    }

    fn done(&self, key: K, outcome: Outcome)
    where
        K: Display,
    {
        let mut state = self.state.lock();
        let now = Instant::now();
        let began = state.running.remove(&key).unwrap_or(now);
        let rest = began + self.interval;
        if state.rests_until.len() > PAST_MAX {
            state.rests_until.retain(|_, until| *until > now);
        }
        if rest > now && !self.interval.is_zero() {
            state.rests_until.insert(key.clone(), rest);
        }
        let retry = match outcome {
            Ok(again) => {
                state.failures.remove(&key);
                again
            }
            Err(error) => Some(self.failed(&mut state, &key, &error)),
        };
        if let Some(pause) = retry {
            state.schedule(key.clone(), now + pause);
        }
        if state.again.remove(&key) {
            state.schedule(key, rest.max(now));
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Counts the failure, logs it, and says how long to wait.
    fn failed(&self, state: &mut State<K>, key: &K, error: &ApiError) -> Duration
    where
        K: Display,
    {
        let failures = state.failures.entry(key.clone()).or_default();
        *failures += 1;
        let pause = (RETRY_FIRST * 2u32.saturating_pow((*failures - 1).min(16))).min(RETRY_LAST);
        // A conflict says that the cache was late; the next pass sees what it missed.
        if error.is_conflict() {
            debug!(controller = self.name, object = %key, %error, "read is out of date");
        } else {
            let cause = error.message();
            warn!(controller = self.name, object = %key, %error, %cause, ?pause, "pass failed, trying again");
        }
        pause
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    /// True when there is a key to work on that was not before.
    fn push(&mut self, key: K) -> bool {
        if self.running.contains_key(&key) {
            // Whoever works on it looks again at the end.
            self.again.insert(key);
            return false;
        }
        let is_new = self.queued.insert(key.clone());
        if is_new {
            if let Some(due) = self.due.remove(&key) {
                self.later.remove(&due);
            }
            self.ready.push_back(key);
        }
        is_new
    }

    /// True when nothing is due earlier.
    fn schedule(&mut self, key: K, at: Instant) -> bool {
        if self.queued.contains(&key) || self.due.get(&key).is_some_and(|due| due.0 <= at) {
            return false;
        }
        self.sequence += 1;
        let due = (at, self.sequence);
        if let Some(old) = self.due.insert(key.clone(), due) {
            self.later.remove(&old);
        }
        self.later.insert(due, key);
        self.later.first_key_value().is_some_and(|it| *it.0 == due)
    }

    /// The next key, or when to look again.
    fn pop(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        while let Some((due, _)) = self.later.first_key_value()
            && due.0 <= now
            && let Some((_, key)) = self.later.pop_first()
        {
            self.due.remove(&key);
            self.push(key);
        }
        match self.ready.pop_front() {
            Some(key) => {
                self.queued.remove(&key);
                self.running.insert(key.clone(), now);
                Ok(key)
            }
            None => Err(self.later.first_key_value().map(|(due, _)| due.0)),
        }
    }
}

/// Makes passes with up to `workers` at once until `token` is cancelled; dropping it drops the passes.
pub(crate) async fn drive<K, F, Fut>(queue: Arc<Queue<K>>, workers: usize, token: CancellationToken, pass: F)
where
    K: Clone + Eq + Hash + Display + Send + 'static,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let mut passes: JoinSet<(K, Outcome)> = JoinSet::new();
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            Some(ended) = passes.join_next() => match ended {
                Ok((key, outcome)) => queue.done(key, outcome),
                Err(error) => warn!(controller = queue.name, %error, "pass ended early"),
            },
            key = queue.next(), if passes.len() < workers => {
                let work = pass(key.clone());
                passes.spawn(async move { (key, work.await) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_requests_for_a_key_become_few_passes_and_none_is_lost() {
        let queue = Queue::new("test", Duration::from_millis(20));
        let (token, passes) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let counter = passes.clone();
        let driver = tokio::spawn(drive(queue.clone(), 4, token.clone(), move |_: String| {
            let counter = counter.clone();
            async move {
                counter.fetch_add(1, Ordering::SeqCst);
                Ok(None)
            }
        }));
        let began = Instant::now();
        for _ in 0..100 {
            queue.add("a".to_owned());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before_last = passes.load(Ordering::SeqCst);
        queue.add("a".to_owned());
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (seen, most) = (passes.load(Ordering::SeqCst), began.elapsed().as_millis() / 20 + 1);
        assert!(seen > before_last, "the last wish is heard");
        assert!(seen as u128 <= most && seen < 50, "{seen} passes");
        token.cancel();
        driver.await.unwrap();
    }

    #[tokio::test]
    async fn a_key_asked_for_during_its_pass_gets_another_and_never_two_at_once() {
        let queue = Queue::new("test", Duration::ZERO);
        let token = CancellationToken::new();
        let (running, passes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (r, p) = (running.clone(), passes.clone());
        tokio::spawn(drive(queue.clone(), 4, token.clone(), move |_: String| {
            let (running, passes) = (r.clone(), p.clone());
            async move {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                tokio::time::sleep(Duration::from_millis(10)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                passes.fetch_add(1, Ordering::SeqCst);
                Ok(None)
            }
        }));
        queue.add("a".to_owned());
        tokio::time::sleep(Duration::from_millis(5)).await;
        queue.add("a".to_owned());
        queue.add("a".to_owned());
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(passes.load(Ordering::SeqCst), 2);
        token.cancel();
    }

    #[tokio::test]
    async fn an_earlier_wish_replaces_a_later_one() {
        let queue: Arc<Queue<String>> = Queue::new("test", Duration::ZERO);
        queue.add_after("a".into(), Duration::from_secs(60));
        queue.add_after("a".into(), Duration::from_millis(20));
        queue.add_after("a".into(), Duration::from_secs(30));
        let next = tokio::time::timeout(Duration::from_secs(10), queue.next()).await;
        assert_eq!(next.unwrap(), "a");
        assert!(queue.state.lock().later.is_empty());
    }
}
