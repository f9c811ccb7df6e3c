//! A `wasi:http` guest: admission, failures and statistics around the instances that answer.
//!
//! Start at [`HttpGuest`]'s [`Handler`]; one request is [`crate::call`].

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use eyot_dispatch::{Body, CallError, Handler};
use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::{Notify, watch};

use crate::{
    PerRequest, call, cgi,
    foreground::Habit,
    guest::Guest,
    program::{Code, Linked},
    share::{Crowd, Source},
    traffic,
};

/// Set in [`HttpGuest::admitted`] once no more requests are taken.
const DRAINING: usize = 1 << (usize::BITS - 1);

/// Answers requests with a fresh instance each, or with kept ones where its spec says so. Idle, it holds what its spec needs and shares its program.
pub struct HttpGuest {
    pub(crate) code: Arc<Code>,
    pub(crate) guest: Arc<Guest>,
    pub(crate) deadline: Duration,
    /// How a command answers; `None` for a component that answers by itself.
    per_request: Option<Arc<PerRequest>>,
    /// Whether its calls begin on the threads that serve.
    pub(crate) habit: Habit,
    /// Whose instances count together with its own.
    crowd: Arc<Crowd>,
    requests_max: usize,
    /// Requests inside, and whether more are taken.
    admitted: AtomicUsize,
    emptied: Notify,
    failed: AtomicU64,
    /// Made by the first watcher or failure: most guests see neither.
    failures: OnceLock<watch::Sender<Failures>>,
}

/// What a guest has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpStats {
    /// Requests taken.
    pub requests: u64,
    /// Of those, how many failed.
    pub failures: u64,
    /// Time spent running guest code and the host calls it made.
    pub cpu: Duration,
    /// Linear memory of the instances alive now, in bytes, those that are kept for reuse included.
    pub memory_bytes: u64,
    /// Most linear memory that one instance had, in bytes.
    pub memory_peak_bytes: u64,
    /// Bytes of bodies that came to it: of requests, and of responses to its own.
    pub received_bytes: u64,
    /// Bytes of bodies that it gave: of responses, and of its own requests.
    pub sent_bytes: u64,
}

/// The failed requests of a guest, by what went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Those of [`FailureKind::Guest`].
    pub guest: u64,
    /// What the most recent of these said.
    pub message: String,
    /// Those of [`FailureKind::OutOfMemory`].
    pub out_of_memory: u64,
    /// Those of [`FailureKind::Deadline`].
    pub deadline: u64,
}

/// What went wrong in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The guest trapped, exited or broke the rules of `wasi:http`.
    Guest(String),
    /// The guest passed its memory limit.
    OutOfMemory,
    /// The guest did not finish in time.
    Deadline,
}

impl Failures {
    fn add(&mut self, kind: FailureKind) {
        match kind {
            FailureKind::Guest(message) => {
                self.guest += 1;
                self.message = message;
            }
            FailureKind::OutOfMemory => self.out_of_memory += 1,
            FailureKind::Deadline => self.deadline += 1,
        }
    }
}

/// A request is inside the guest until this is dropped.
pub(crate) struct Admission {
    guest: Arc<HttpGuest>,
    /// Where its instance has its places. A command's has them for as long as it runs.
    place: Option<Source>,
}

impl HttpGuest {
    pub(crate) fn new(
        code: Arc<Code>,
        guest: Arc<Guest>,
        deadline: Duration,
        requests_max: u32,
        per_request: Option<PerRequest>,
    ) -> Self {
        Self {
            crowd: code.core.crowds.of(&guest.caller.namespace, &code.digest),
            code,
            guest,
            deadline,
            per_request: per_request.map(Arc::new),
            requests_max: requests_max.max(1) as usize,
            habit: Habit::default(),
            admitted: AtomicUsize::new(0),
            emptied: Notify::new(),
            failed: AtomicU64::new(0),
            failures: OnceLock::new(),
        }
    }

    /// Requests whose response, body included, has not ended.
    pub fn in_flight(&self) -> usize {
        self.admitted.load(Acquire) & !DRAINING
    }

    /// Refuses new requests from now on and returns when the last one inside has ended. Dropping the returned future stops
    /// the waiting, not the refusing.
    pub async fn drain(&self) {
        self.admitted.fetch_or(DRAINING, AcqRel);
        if let Some(keep) = &self.guest.keep {
            keep.close();
        }
        loop {
            let emptied = self.emptied.notified();
            if self.in_flight() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Bytes of memory that each of its instances starts with.
    pub fn memory_bytes_min(&self) -> u64 {
        self.code.memory_initial_bytes
    }

    /// Holds it to other limits from now on, as [`crate::Process::limit`] does. Nor is a limit taken that no instance could start in.
    pub fn limit(&self, cpu_millis: Option<u32>, memory_bytes: Option<u64>) -> bool {
        if memory_bytes.is_some_and(|it| it < self.memory_bytes_min()) {
            return false;
        }
        let meter = &self.guest.meter;
        if let Some(keep) = &self.guest.keep
            && memory_bytes.is_some_and(|it| it < meter.memory_bytes())
        {
            keep.clear();
        }
        meter.limit(cpu_millis, memory_bytes)
    }

    /// What it has used so far.
    pub fn stats(&self) -> HttpStats {
        let meter = &self.guest.meter;
        let (received_bytes, sent_bytes) = meter.traffic();
        HttpStats {
            requests: meter.requests(),
            failures: self.failed.load(Relaxed),
            cpu: meter.cpu(),
            memory_bytes: meter.memory_bytes(),
            memory_peak_bytes: meter.memory_peak_bytes(),
            received_bytes,
            sent_bytes,
        }
    }

    /// What failed so far; changes with every failure.
    pub fn failures(&self) -> watch::Receiver<Failures> {
        self.failure_sender().subscribe()
    }

    fn failure_sender(&self) -> &watch::Sender<Failures> {
        self.failures.get_or_init(|| watch::channel(Failures::default()).0)
    }

    /// Counts and announces a failed request.
    pub(crate) fn fail(&self, kind: FailureKind) {
        self.failed.fetch_add(1, Relaxed);
        self.failure_sender().send_modify(|it| it.add(kind));
        // Last: whoever sees this count sees the failure.
        self.code.core.failures.fetch_add(1, Release);
    }

    fn admit(self: &Arc<Self>) -> Result<Admission, CallError> {
        let before = self.admitted.fetch_add(1, AcqRel);
        // From here on what was counted is given back when this is dropped.
        let mut admission = Admission { guest: Arc::clone(self), place: None };
        if before & DRAINING != 0 {
            return Err(CallError::Draining);
        }
        if before >= self.requests_max {
            return Err(CallError::Overloaded(format!("{} requests inside the guest already", self.requests_max)));
        }
        if self.per_request.is_none() {
            let source = self.source();
            self.enter(source)?;
            admission.place = Some(source);
        }
        self.guest.meter.asked();
        Ok(admission)
    }

    /// Where the instance for a request that comes now is from.
    fn source(&self) -> Source {
        match &self.code.linked {
            Linked::Http(tiers) if !tiers.is_optimised() => Source::EarlyPool,
            Linked::Service(_) => Source::ConcurrentPool,
            _ => Source::Pool,
        }
    }

    /// Takes the places of an instance, if there are as many for this guest.
    pub(crate) fn enter(&self, source: Source) -> Result<(), CallError> {
        let room = self.code.core.rooms.of(source);
        room.enter(&self.crowd, self.code.places).map_err(|refused| CallError::Overloaded(refused.to_string()))
    }

    /// Gives the places of an instance back.
    pub(crate) fn leave(&self, source: Source) {
        self.code.core.rooms.of(source).leave(&self.crowd, self.code.places);
    }
}

impl Drop for HttpGuest {
    fn drop(&mut self) {
        if let Some(keep) = &self.guest.keep {
            keep.close();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(source) = self.place {
            self.guest.leave(source);
        }
        if self.guest.admitted.fetch_sub(1, AcqRel) == DRAINING | 1 {
            self.guest.emptied.notify_waiters();
        }
    }
}

impl Handler for HttpGuest {
    fn handle(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async move {
            let admission = self.admit()?;
            let request = request.map(|body| traffic::received(body, &self.guest.meter));
            match self.per_request.clone() {
                None => call::call(self, admission, request).await,
                Some(terms) => {
                    let meter = Arc::clone(&self.guest.meter);
                    let response = cgi::call(self, terms, admission, request).await?;
                    Ok(response.map(|body| traffic::sent(body, &meter)))
                }
            }
        })
    }
}

impl fmt::Debug for HttpGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpGuest")
            .field("digest", &self.code.digest)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_guest_costs_less_than_a_kibibyte() {
        let bytes = size_of::<HttpGuest>() + size_of::<Guest>() + size_of::<crate::meter::Meter>();
        assert!(bytes < 1024, "{bytes}");
    }
}
