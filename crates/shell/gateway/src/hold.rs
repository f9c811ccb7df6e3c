//! Requests to what scales by them: counted from the moment they come, held while nothing takes them.
//!
//! Entry points: [`Hold::begin`] for every request, [`Hold::queue`] for one that finds no endpoint. A held request costs its
//! place in a bounded queue and no timer of its own; it goes on when endpoints change or one of them has room again. Whoever
//! counts instances out is woken through [`eyot_dispatch::Loads`], so nothing is polled on either side.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use eyot_dispatch::{Load, Loads, Using};
use eyot_meter::Exchange;
use futures::future::BoxFuture;
use tokio::sync::{Notify, futures::Notified};

use crate::early::Turn;

/// Requests held for one revision; as many as Knative's activator holds.
const QUEUE_MAX: usize = 10_000;
/// Requests held for all of them: each keeps its head, its body's stream and its connection, about 20 KiB together.
const QUEUES_MAX: usize = 50_000;
/// Time for a response to begin, and to end, where a revision says nothing.
const TIMEOUT_SECONDS: u64 = 300;
/// Longest that either may be, as Knative has it: a Service may say anything.
const TIMEOUT_SECONDS_MAX: u64 = 600;

/// What the Service of a revision says about requests to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// `namespace/name/uid` of the revision; empty where nobody says whose Service it is.
    pub(crate) revision: Arc<str>,
    /// Requests that one endpoint takes at once; 0 for any number.
    pub(crate) concurrency: u32,
    /// Longest time to the end of the response.
    pub(crate) timeout: Duration,
    /// Longest time to its beginning.
    pub(crate) start_timeout: Duration,
}

impl Terms {
    /// The terms of a Service with these labels and annotations; `None` where it is no revision's.
    pub(crate) fn of(
        labels: Option<&BTreeMap<String, String>>,
        annotations: Option<&BTreeMap<String, String>>,
    ) -> Option<Terms> {
        labels?.get("serving.knative.dev/revision")?;
        let number = |key: &str| annotations?.get(key)?.parse::<u64>().ok();
        let timeout = number("serving.knative.dev/timeoutSeconds").filter(|it| *it > 0);
        let timeout = timeout.unwrap_or(TIMEOUT_SECONDS).min(TIMEOUT_SECONDS_MAX);
        let start = number("serving.knative.dev/responseStartTimeoutSeconds").filter(|it| *it > 0).unwrap_or(timeout);
        let concurrency = number("serving.knative.dev/containerConcurrency").unwrap_or(0);
        Some(Terms {
            revision: Arc::default(),
            concurrency: u32::try_from(concurrency).unwrap_or(0),
            timeout: Duration::from_secs(timeout),
            start_timeout: Duration::from_secs(start.min(timeout)),
        })
    }
}

/// A request that is counted, by who measures and, where it asks for instances, by who scales; until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) exchange: Exchange,
    pub(crate) _using: Option<Using>,
}

/// Holds the requests of one revision.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) terms: Terms,
    load: Arc<Load>,
    waiting: AtomicUsize,
    all_waiting: Arc<AtomicUsize>,
    /// The Service is gone or has another pool: nothing comes here any more.
    closed: AtomicBool,
    /// An endpoint has room again; there only where endpoints have bounds.
    pub(crate) freed: Arc<Notify>,
    /// How requests are answered while there is no endpoint.
    pub(crate) early: Turn,
}

/// A request's place in the queue: free while an endpoint has the request, and when this is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    hold: &'a Hold,
    is_taken: bool,
}

impl Hold {
    pub(crate) fn new(name: &str, terms: Terms, loads: &Loads, all_waiting: Arc<AtomicUsize>) -> Self {
        let load = loads.of(name);
        let (waiting, closed, freed, early) = Default::default();
        Self { terms, load, waiting, all_waiting, closed, freed, early }
    }

    /// Holds nothing from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Release);
    }

    /// Whether there is something to wait for.
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Acquire)
    }

    /// Counts a request from here on.
    pub(crate) fn begin(&self) -> Using {
        self.load.begin()
    }

    /// Has an instance follow requests that are answered without one.
    pub(crate) fn call_early(&self) {
        self.load.set_answered(true);
        self.load.raise();
    }

    /// Requests wait for an endpoint from now on, or have one.
    pub(crate) fn end_early(&self) {
        self.load.set_answered(false);
    }

    /// Takes a place in the queue, if there is one.
    pub(crate) fn queue(&self) -> Option<Place<'_>> {
        let place = Place { hold: self, is_taken: true };
        let mine = self.waiting.fetch_add(1, Relaxed);
        let all = self.all_waiting.fetch_add(1, Relaxed);
        (mine < QUEUE_MAX && all < QUEUES_MAX).then_some(place)
    }

    /// Waits until endpoints change or one has room; `is_empty` where there is none at all, which somebody has to be told.
    /// `preparing` tells whether somebody can answer without an endpoint.
    pub(crate) async fn wait(
        &self,
        changed: Notified<'_>,
        is_empty: bool,
        preparing: Option<BoxFuture<'static, bool>>,
    ) {
        if is_empty {
            self.load.set_answered(false);
            self.load.raise();
        }
        let prepared = async {
            let is_prepared = match preparing {
                Some(preparing) => preparing.await,
                None => false,
            };
            if !is_prepared {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = changed => {}
            () = self.freed.notified() => {}
            () = prepared => {}
        }
    }
}

impl Place<'_> {
    /// An endpoint has the request: another one may wait.
    pub(crate) fn leave(&mut self) {
        if std::mem::replace(&mut self.is_taken, false) {
            self.hold.waiting.fetch_sub(1, Relaxed);
            self.hold.all_waiting.fetch_sub(1, Relaxed);
        }
    }

    /// No endpoint took it after all. Whoever was let in once is not turned away, were there others in its place by now: of
    /// those there are no more than endpoints have tried to take.
    pub(crate) fn take_again(&mut self) {
        if !std::mem::replace(&mut self.is_taken, true) {
            self.hold.waiting.fetch_add(1, Relaxed);
            self.hold.all_waiting.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (format!("serving.knative.dev/{key}"), (*value).to_owned())).collect()
    }

    #[test]
    fn only_services_of_revisions_hold_requests_on_their_terms() {
        assert_eq!(Terms::of(Some(&map(&[("service", "a")])), None), None);
        let labels = map(&[("revision", "a-00001")]);
        let usual = Terms::of(Some(&labels), None).unwrap();
        assert_eq!((usual.concurrency, usual.timeout, usual.start_timeout.as_secs()), (0, usual.start_timeout, 300));
        let endless = map(&[("timeoutSeconds", "18446744073709551615")]);
        assert_eq!(Terms::of(Some(&labels), Some(&endless)).unwrap().timeout.as_secs(), 600);
        let annotations =
            map(&[("containerConcurrency", "3"), ("timeoutSeconds", "9"), ("responseStartTimeoutSeconds", "4")]);
        let terms = Terms::of(Some(&labels), Some(&annotations)).unwrap();
        assert_eq!((terms.concurrency, terms.timeout.as_secs(), terms.start_timeout.as_secs()), (3, 9, 4));
    }

    #[test]
    fn the_queue_has_an_end_and_places_come_back() {
        let terms = Terms::of(Some(&map(&[("revision", "a")])), None).unwrap();
        let hold = Hold::new("ns/a", terms, &Loads::default(), Arc::default());
        let mut places: Vec<_> = (0..QUEUE_MAX).map(|_| hold.queue().unwrap()).collect();
        assert!(hold.queue().is_none());
        places[0].leave();
        places[0].leave();
        let another = hold.queue().expect("who has an endpoint does not wait");
        assert!(hold.queue().is_none());
        places[0].take_again();
        assert_eq!(hold.waiting.load(Relaxed), QUEUE_MAX + 1, "who comes back is let in");
        drop((places, another));
        assert!(hold.queue().is_some());
        assert_eq!(hold.all_waiting.load(Relaxed), 0);
    }
}
