//! The body of an answer that a command is still writing. Polling it lets the command run; dropping it ends the command.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use eyot_dispatch::{BoxError, CallError};
use http_body::Frame;
use tokio::sync::oneshot;

use super::{Outcome, exit_code, failed, pipe::Written};
use crate::{HttpGuest, call::Exchange, serve::Admission};

/// What came next of a run.
pub(super) enum Next {
    /// It wrote this.
    Chunk(Bytes),
    /// It has ended and everything it wrote was taken; the error is why it never came to an exit code.
    End(Result<(), CallError>),
}

/// A command that runs.
pub(super) struct Run {
    /// `None` when it has ended.
    exchange: Option<Exchange>,
    ended: Option<Result<(), CallError>>,
    written: Written,
    /// Whether the next piece was asked for: the deadline is about the command, not about a slow client.
    asked: bool,
    _admission: Admission,
}

impl Run {
    pub(super) fn new(exchange: Exchange, written: Written, admission: Admission) -> Run {
        Run { exchange: Some(exchange), ended: None, written, asked: true, _admission: admission }
    }

    /// Lets the command run until there is something of it.
    pub(super) async fn next(&mut self) -> Next {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(exchange) = &mut self.exchange {
            if !std::mem::replace(&mut self.asked, true) {
                exchange.rearm();
            }
            if let Poll::Ready(ended) = exchange.poll_end(cx) {
                self.exchange = None;
                self.ended = Some(ended.map(drop));
            }
        }
        if let Some(Err(_)) = &self.ended {
            // Nobody may take what a guest wrote before it was ended for its whole answer.
            return Poll::Ready(Next::End(self.ended.take().unwrap_or(Ok(()))));
        }
        match self.written.poll_read(cx) {
            Poll::Ready(Some(chunk)) => {
                self.asked = false;
                Poll::Ready(Next::Chunk(chunk))
            }
            Poll::Ready(None) => match self.ended.take() {
                Some(ended) => Poll::Ready(Next::End(ended)),
                // It has closed its output and goes on.
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The body.
pub(super) struct Answer {
    guest: Arc<HttpGuest>,
    /// What was written before the head was known.
    first: Bytes,
    run: Run,
    told: oneshot::Receiver<Outcome>,
    ended: bool,
}

impl Answer {
    pub(super) fn new(guest: Arc<HttpGuest>, first: Bytes, run: Run, told: oneshot::Receiver<Outcome>) -> Answer {
        Answer { guest, first, run, told, ended: false }
    }

    /// Why the answer is not whole, if it is not: too late for a status.
    fn verdict(&mut self, ended: Result<(), CallError>) -> Result<(), CallError> {
        ended?;
        match exit_code(&self.guest, self.told.try_recv().ok())? {
            0 => Ok(()),
            code => {
                failed(&self.guest, code);
                Err(CallError::Guest(format!("exited with code {code}")))
            }
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if !this.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.first)))));
        }
        match std::task::ready!(this.run.poll_next(cx)) {
            Next::Chunk(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            Next::End(ended) => {
                this.ended = true;
                Poll::Ready(this.verdict(ended).err().map(|error| Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
