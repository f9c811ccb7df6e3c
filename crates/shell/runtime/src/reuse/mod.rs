//! Instances that answer more than one request, for guests whose spec asks for it ([`Reuse`]).
//!
//! An instance that answered well goes to its guest's [`Keep`] and answers the next request: never two at once, and none after a
//! trap, a deadline, a request that was given up, or one that left something of itself behind. Kept instances have their memory
//! counted as any other's, take a bounded part of the runtime's slots ([`Shelf`]), and make room for whoever needs theirs. Start
//! at [`Instance`].
//!
//! Deliberately absent: choosing by request, which would promise that a client finds its state again; and keeping code that was
//! compiled in a hurry.

mod instance;
mod keep;
mod shelf;

use std::time::Duration;

pub(crate) use instance::{Export, Instance};
pub(crate) use keep::Keep;
pub(crate) use shelf::{Shelf, kept_max};

/// How far instances of a guest are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// Most requests that one instance answers.
    pub requests_max: u32,
    /// Longest time that one is kept without a request.
    pub idle: Duration,
}

/// Most resources that a guest's first request may leave for the next: streams of its output, its directories, connections that
/// it holds on to.
const LEFT_MAX: usize = 64;

/// What an instance has done when a request to it has ended.
#[derive(Clone, Copy, Debug)]
struct Done {
    /// Requests that it answered.
    requests: u32,
    /// Resources that it had before the last of them, `None` before the first.
    before: Option<usize>,
    /// Resources that it has now.
    now: usize,
    /// Whether it still has the request's body, or what would read it.
    has_body: bool,
}

/// Why an instance answers no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spent {
    /// It has answered as many requests as it may.
    Used,
    /// It left behind what it was given or made for the request.
    Untidy,
}

/// Whether an instance may answer another request.
fn judge(terms: Reuse, done: Done) -> Result<(), Spent> {
    let grown = match done.before {
        None => done.now > LEFT_MAX,
        Some(before) => done.now > before,
    };
    if grown || done.has_body {
        return Err(Spent::Untidy);
    }
    if done.requests >= terms.requests_max { Err(Spent::Used) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(requests: u32, before: Option<usize>, now: usize, has_body: bool, want: Result<(), Spent>) {
        let terms = Reuse { requests_max: 3, idle: Duration::from_secs(1) };
        assert_eq!(judge(terms, Done { requests, before, now, has_body }), want);
    }

    #[test]
    fn an_instance_answers_as_many_requests_as_it_may() {
        check(1, None, 0, false, Ok(()));
        check(2, Some(0), 0, false, Ok(()));
        check(3, Some(0), 0, false, Err(Spent::Used));
    }

    #[test]
    fn what_the_first_request_opened_may_stay_and_no_more_may_come() {
        check(1, None, LEFT_MAX, false, Ok(()));
        check(1, None, LEFT_MAX + 1, false, Err(Spent::Untidy));
        check(2, Some(5), 5, false, Ok(()));
        check(2, Some(5), 4, false, Ok(()));
        check(2, Some(5), 6, false, Err(Spent::Untidy));
    }

    #[test]
    fn who_holds_on_to_a_body_answers_no_more() {
        check(1, None, 1, true, Err(Spent::Untidy));
        check(3, Some(1), 1, true, Err(Spent::Untidy));
    }
}
