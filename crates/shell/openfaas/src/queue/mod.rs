//! Calls that are answered later: taken at `/async-function/NAME`, kept on disk until they were made.
//!
//! Start at [`submit`] and [`work`]. What was answered with 202 is on disk; a call that is under way when the node stops is
//! made again at the next start, so that a function may see it twice, but never not at all. The queue is bounded, and one
//! function that is slow holds up others only as far as its share of the workers goes.

mod body;
mod call;
mod callback;
mod worker;

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use axum::{
    body::Body,
    extract::State,
    http::{Request, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use eyot_bucket::{Bounds, BucketError, Buckets, Tenant};
use eyot_dispatch::Outbound;
use eyot_serving::openfaas::name_parts;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Failure, Inner, api, front};
use call::Call;
pub(crate) use worker::work;

/// Largest body of a call.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 20;
/// Calls that wait or are under way.
const CALLS_MAX: usize = 10_000;
/// Bytes of the file that they are kept in.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// The bucket in that file.
const CALLS: &str = "calls";
/// Where asynchronous functions are by name.
const PREFIX: &str = "/async-function/";

/// The calls.
pub(crate) struct Queue {
    kept: Arc<Tenant>,
    outbound: Arc<dyn Outbound>,
    state: Mutex<Waiting>,
    /// A call came, or one was made.
    more: Notify,
    /// Calls that have a place, those included that are being written.
    places: AtomicUsize,
    numbers: AtomicU64,
    /// Bytes of calls that are being taken.
    held: AtomicUsize,
    pub(crate) counts: Counts,
}

/// Counts since the start.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) undelivered: AtomicU64,
}

/// A call on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ticket {
    key: String,
    function: Box<str>,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Ticket>,
    running: HashMap<Box<str>, usize>,
}

impl Waiting {
    /// The oldest call of a function that has less than `share` under way.
    fn next(&mut self, share: usize) -> Option<Ticket> {
        let running = &self.running;
        let at = self.calls.iter().position(|it| running.get(&it.function).copied().unwrap_or(0) < share)?;
        let ticket = self.calls.remove(at)?;
        *self.running.entry(ticket.function.clone()).or_default() += 1;
        Some(ticket)
    }

    fn done(&mut self, function: &str) {
        if let Some(count) = self.running.get_mut(function) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(function);
            }
        }
    }
}

impl Queue {
    /// The queue in `dir`, with the calls that were left there.
    pub(crate) async fn open(dir: &Path, outbound: Arc<dyn Outbound>) -> Result<Queue, BucketError> {
        let bounds =
            Bounds { tenant_bytes: FILE_BYTES_MAX, value_bytes: BODY_BYTES_MAX + (1 << 20), ..Bounds::default() };
        let kept = Buckets::open(dir, bounds).tenant("async")?;
        let mut calls = VecDeque::new();
        let mut after = None;
        loop {
            let (keys, more) = kept.keys(CALLS, after.take()).await?;
            after = keys.last().cloned();
            calls.extend(keys.into_iter().filter_map(Ticket::of_key));
            if !more {
                break;
            }
        }
        if !calls.is_empty() {
            tracing::info!(calls = calls.len(), "taking up calls that were accepted before");
        }
        let last = calls.back().and_then(|it| it.key.split('/').next()?.parse::<u64>().ok()).unwrap_or(0);
        Ok(Queue {
            kept,
            outbound,
            places: AtomicUsize::new(calls.len()),
            state: Mutex::new(Waiting { calls, ..Waiting::default() }),
            more: Notify::new(),
            numbers: AtomicU64::new(last + 1),
            held: AtomicUsize::new(0),
            counts: Counts::default(),
        })
    }

    /// How many calls wait or are under way.
    pub(crate) fn waiting(&self) -> usize {
        self.places.load(Relaxed)
    }

    /// Keeps a call. It is on disk when this returns.
    async fn push(&self, call: &Call) -> Result<(), Failure> {
        let place = Place::take(self).ok_or_else(|| self.refused("too many calls wait already"))?;
        let number = self.numbers.fetch_add(1, Relaxed);
        let ticket = Ticket { key: format!("{number:020}/{}", call.function), function: call.function.as_str().into() };
        self.kept.set(CALLS, vec![(ticket.key.clone(), call.encode())]).await.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "keeping an asynchronous call");
            match error {
                BucketError::Full { .. } | BucketError::DiskFull { .. } => {
                    self.refused("the calls that wait leave no room on disk")
                }
                _ => Failure::new(500, "Error queuing request: it could not be kept"),
            }
        })?;
        self.state.lock().calls.push_back(ticket);
        place.keep();
        self.counts.accepted.fetch_add(1, Relaxed);
        self.more.notify_one();
        Ok(())
    }

    fn refused(&self, why: &str) -> Failure {
        self.counts.refused.fetch_add(1, Relaxed);
        Failure::new(503, why)
    }
}

impl Ticket {
    fn of_key(key: String) -> Option<Ticket> {
        let function = key.split_once('/')?.1.into();
        Some(Ticket { key, function })
    }
}

/// A place in the queue; given back when dropped, unless it is kept.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(queue: &'a Queue) -> Option<Place<'a>> {
        let place = Place(&queue.places);
        let before = queue.places.fetch_add(1, Relaxed);
        (before < CALLS_MAX).then_some(place)
    }

    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The call that is asked for here, as it would be made at once.
pub(crate) fn call_of(asked: &Uri) -> Option<Uri> {
    let target = asked.path_and_query()?.as_str().strip_prefix(PREFIX)?;
    let mut parts = asked.clone().into_parts();
    parts.path_and_query = Some(format!("{}{target}", front::FUNCTIONS).parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Takes a call and answers with its id.
pub(crate) async fn submit(State(inner): State<Arc<Inner>>, request: Request<Body>) -> Response {
    match take(&inner, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn take(inner: &Inner, request: Request<Body>) -> Result<Response, Failure> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let (named, rest) = path.find('/').map_or((path.as_str(), "/"), |at| path.split_at(at));
    let (name, namespace) =
        name_parts(named).ok_or_else(|| Failure::new(404, format!("function {named:?} not found")))?;
    let namespace = inner.namespace(namespace)?;
    let callback = callback::read(&head.headers).map_err(|why| Failure::new(400, why))?;
    if inner.api.get(&api::services(&namespace, Some(name))).await?.is_none() {
        return Err(Failure::no_function(name, &namespace));
    }
    // Counted until the call is on disk.
    let (body, _room) = body::read(body, &inner.queue.held).await.map_err(|why| why.told(&inner.queue))?;
    let stamps = front::stamp(&mut head);
    let target = match head.uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    let call = Call::new(format!("{name}.{namespace}"), &head, target, callback, body);
    inner.queue.push(&call).await?;
    let mut response = StatusCode::ACCEPTED.into_response();
    response.headers_mut().extend(stamps);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(names: &[&str]) -> Waiting {
        let calls = names.iter().enumerate().map(|(at, name)| Ticket { key: at.to_string(), function: (*name).into() });
        Waiting { calls: calls.collect(), ..Waiting::default() }
    }

    #[test]
    fn what_is_asked_for_later_is_judged_as_the_call_that_it_is() {
        for (asked, call) in [
            ("/async-function/a", Some("/function/a")),
            (
                "http://h:1/async-function/a.shop/x?y=/async-function/",
                Some("http://h:1/function/a.shop/x?y=/async-function/"),
            ),
            ("/function/a", None),
            ("/system/info", None),
        ] {
            assert_eq!(call_of(&asked.parse().unwrap()).map(|it| it.to_string()).as_deref(), call, "{asked}");
        }
    }

    #[test]
    fn a_function_with_its_share_under_way_lets_others_pass() {
        let mut waiting = waiting(&["a", "a", "a", "b"]);
        let mut order = Vec::new();
        while let Some(ticket) = waiting.next(2) {
            order.push(ticket.key);
        }
        assert_eq!(order, ["0", "1", "3"]);
        waiting.done("a");
        assert_eq!(waiting.next(2).unwrap().key, "2");
        waiting.done("a");
        waiting.done("a");
        waiting.done("b");
        assert!(waiting.running.is_empty());
    }
}
