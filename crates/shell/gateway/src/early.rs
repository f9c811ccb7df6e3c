//! Requests to a revision at zero, answered before it has an endpoint.
//!
//! Entry points: [`choose`] and [`prepare`], asked by [`crate::forward`] when a pool is empty. Such a request is bound by the
//! revision's terms like any other, and counted before it gets here, so that an instance follows; when that does not come
//! within [`SPAN_MAX`], requests wait for it as they would without this.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::AtomicU32},
    time::{Duration, Instant},
};

use eyot_dispatch::Handler;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::{
    Gateway,
    hold::Hold,
    services::{Busy, Pool},
};

/// What stands for an address where there is none yet.
pub(crate) const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// How long requests are answered while no endpoint comes. A thousand functions that are woken at once have theirs by then;
/// what has none by then will hardly get one, and says why in its objects.
const SPAN_MAX: Duration = Duration::from_secs(60);
/// Between two calls for an instance in such a time.
const CALL_PERIOD: Duration = Duration::from_secs(1);
/// Requests answered early at once for one revision; the rest waits its turn. A little less than a guest takes.
const AT_ONCE_MAX: u32 = 192;

/// How one revision's requests are answered early.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Requests under way, here and at the endpoint that comes first: together they are one instance.
    pub(crate) in_flight: Arc<AtomicU32>,
    span: Mutex<Span>,
}

/// Since when requests were answered without an endpoint.
#[derive(Debug, Default)]
struct Span {
    began: Option<Instant>,
    last: Option<Instant>,
    called: Option<Instant>,
    doubted: bool,
}

/// What becomes of a request that finds no endpoint.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It may be answered early.
    Answer,
    /// The same, and somebody is to be told that an instance is wanted.
    AnswerAndCall,
    /// It has to wait. Said for the first time in this span.
    Doubt,
    /// It has to wait.
    Wait,
}

impl Span {
    fn judge(&mut self, now: Instant) -> Verdict {
        let is_past = |since: Option<Instant>, span| since.is_none_or(|it| now.duration_since(it) > span);
        if is_past(self.last, SPAN_MAX) {
            *self = Span { began: Some(now), ..Span::default() };
        }
        self.last = Some(now);
        if is_past(self.began, SPAN_MAX) {
            return if std::mem::replace(&mut self.doubted, true) { Verdict::Wait } else { Verdict::Doubt };
        }
        if is_past(self.called, CALL_PERIOD) {
            self.called = Some(now);
            return Verdict::AnswerAndCall;
        }
        Verdict::Answer
    }
}

impl Turn {
    /// An endpoint is there.
    pub(crate) fn end(&self) {
        *self.span.lock() = Span::default();
    }

    /// How many requests may be under way, where the terms say `concurrency`.
    pub(crate) fn bound(concurrency: u32) -> u32 {
        if concurrency == 0 { AT_ONCE_MAX } else { concurrency.min(AT_ONCE_MAX) }
    }
}

/// Who answers a request to `pool` while it has no endpoint; `None` where it has to wait. `is_held` says whether policies
/// decide where its sender may connect.
pub(crate) fn choose(gateway: &Gateway, pool: &Pool, tried: &[SocketAddr], is_held: bool) -> Option<Busy> {
    let (early, hold) = (gateway.early.get()?, open(gateway, pool, is_held)?);
    if tried.contains(&ADDRESS) {
        return None;
    }
    let handler: Arc<dyn Handler> = early.ready(&hold.terms.revision)?;
    let verdict = hold.early.span.lock().judge(Instant::now());
    match verdict {
        Verdict::Answer => {}
        Verdict::AnswerAndCall => hold.call_early(),
        Verdict::Doubt => {
            hold.end_early();
            early.doubt(&hold.terms.revision);
            return None;
        }
        Verdict::Wait => return None,
    }
    pool.take_early(hold, handler)
}

/// Makes the revision of `pool` ready to answer, where that is not so and can be; to be waited for beside an endpoint.
pub(crate) fn prepare(gateway: &Gateway, pool: &Pool, is_held: bool) -> Option<BoxFuture<'static, bool>> {
    let (early, hold) = (gateway.early.get()?, open(gateway, pool, is_held)?);
    if early.ready(&hold.terms.revision).is_some() {
        return None;
    }
    let preparing = early.clone().prepare(&hold.terms.revision);
    Some(Box::pin(async move { preparing.await.is_some() }))
}

/// The hold of a pool that may be answered for: open, without endpoint, and where no policy judges connections by the
/// addresses and labels of pods, which there are none of.
fn open<'a>(gateway: &Gateway, pool: &'a Pool, is_held: bool) -> Option<&'a Hold> {
    let hold = pool.hold.as_ref().filter(|it| it.is_open() && !it.terms.revision.is_empty() && pool.is_empty())?;
    let namespace = hold.terms.revision.split('/').next().unwrap_or_default();
    let may_be_held = gateway.egress.is_used() || !gateway.egress.is_known();
    let is_judged = is_held && may_be_held || gateway.egress.rules(namespace);
    (!is_judged).then_some(hold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_answered_early_for_a_while_and_an_instance_is_called_for_now_and_then() {
        let (mut span, began) = (Span::default(), Instant::now());
        let mut at = |seconds: u64| span.judge(began + Duration::from_secs(seconds));
        assert_eq!(at(0), Verdict::AnswerAndCall);
        assert_eq!(at(1), Verdict::Answer);
        assert_eq!(at(2), Verdict::AnswerAndCall);
        assert_eq!(at(60), Verdict::AnswerAndCall);
        assert_eq!(at(61), Verdict::Doubt);
        assert_eq!(at(70), Verdict::Wait, "as long as requests keep coming");
        assert_eq!(at(131), Verdict::AnswerAndCall, "after a rest it is another time");
    }

    #[test]
    fn a_bound_of_the_revision_holds_and_there_always_is_one() {
        assert_eq!([0, 1, 500].map(Turn::bound), [AT_ONCE_MAX, 1, AT_ONCE_MAX]);
    }
}
