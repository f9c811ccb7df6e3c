//! One request in one instance: a fresh one, or one that is kept for reuse ([`crate::reuse`]).
//!
//! Start at [`call`]. The guest's call is polled by whoever waits for the response: first for its head, then, inside
//! [`crate::response::GuestBody`], together with its body, because a guest blocks when nobody takes the body. Dropping
//! either cancels the guest. A call that runs long moves to the background threads (see [`Exchange`]), and so does one that is
//! about to ([`crate::foreground`]).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use eyot_dispatch::{Body, CallError};
use http::{HeaderValue, Request, Response, header, uri};
use http_body::{Frame, SizeHint};
use tokio::{sync::oneshot, task::JoinHandle, time::Sleep};
use wasmtime::Store;
use wasmtime_wasi_http::{
    Error, WasiBody, WasiHttpView,
    p2::bindings::{
        Proxy,
        http::types::{ErrorCode, Scheme},
    },
};

use crate::{
    FailureKind, HttpGuest, foreground,
    meter::{Meter, Metered},
    outgoing, p3,
    program::Linked,
    response,
    reuse::{Export, Instance},
    serve::Admission,
    state::State,
    trap::{Ending, told},
};

/// A response, or the error that the guest gave in its place, in words.
pub(crate) type Head = Result<Response<WasiBody>, String>;

/// How a guest's call ended, and the instance, if it may answer another request once its response was taken.
pub(crate) type Ended = wasmtime::Result<Option<Instance>>;

/// Runs `request` in an instance and returns its response when the head is known.
pub(crate) async fn call(
    guest: Arc<HttpGuest>,
    admission: Admission,
    request: Request<Body>,
) -> Result<Response<Body>, CallError> {
    let (tell, mut told) = oneshot::channel();
    let (inner, asked) = (Arc::clone(&guest.guest), Arc::clone(&guest));
    let kept = inner.keep.as_ref().and_then(|it| it.take());
    let metered = match guest.code.linked {
        Linked::Service(_) => Metered::new(p3::answer(asked, kept, request, tell), inner),
        _ => Metered::new(execute(asked, kept, request, tell), inner),
    };
    let mut exchange = Exchange::new(Arc::clone(&guest), metered);
    let (ended, head) = std::future::poll_fn(|cx| {
        let ended = exchange.poll_end(cx);
        match (ended, poll_head(&mut told, cx)) {
            (Poll::Ready(ended), head) => Poll::Ready((Some(ended), head.or_else(|| told.try_recv().ok()))),
            (Poll::Pending, Some(head)) => Poll::Ready((None, Some(head))),
            (Poll::Pending, None) => Poll::Pending,
        }
    })
    .await;
    match (ended, head) {
        (Some(Err(error)), _) => Err(error),
        (Some(Ok(instance)), Some(head)) => response::finished(checked(&guest, head)?, instance, &guest.guest.meter),
        (Some(Ok(_)), None) => Err(broke(&guest, "returned without setting a response".into())),
        (None, Some(head)) => Ok(response::streaming(checked(&guest, head)?, exchange, admission)),
        (None, None) => Err(broke(&guest, "gave its response away".into())),
    }
}

/// The head, when the guest has set it; perhaps only when polled once more, if the task has used its budget up. A guest that gave its outparam away leaves only its end to wait for.
fn poll_head(told: &mut oneshot::Receiver<Head>, cx: &mut Context<'_>) -> Option<Head> {
    if told.is_terminated() {
        return None;
    }
    match Pin::new(told).poll(cx) {
        Poll::Ready(Ok(head)) => Some(head),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

/// Refuses heads that cannot be sent on.
fn checked(guest: &HttpGuest, head: Head) -> Result<Response<WasiBody>, CallError> {
    match head {
        Ok(response) if response.status().is_informational() => {
            Err(broke(guest, format!("answered with status {}, which is no final response", response.status())))
        }
        Ok(response) => Ok(response),
        Err(code) => Err(broke(guest, format!("answered with the error {code}"))),
    }
}

/// Records that the guest broke the rules.
fn broke(guest: &HttpGuest, what: String) -> CallError {
    guest.guest.say(&format!("request failed: the guest {what}"));
    guest.fail(FailureKind::Guest(what.clone()));
    CallError::Guest(what)
}

/// The guest's side: instantiate if there is no instance, call, and let everything go that is not to be reused.
async fn execute(
    guest: Arc<HttpGuest>,
    kept: Option<Instance>,
    request: Request<Body>,
    tell: oneshot::Sender<Head>,
) -> Ended {
    let mut instance = match kept {
        Some(kept) => kept,
        None => Instance::new(&guest.code, &guest.guest).await?,
    };
    instance.begin().await;
    let lent = instance.lend();
    let Export::Proxy(proxy) = &instance.export else { wasmtime::bail!("this program is a service of WASI 0.3") };
    handle(proxy, &mut instance.store, lent, request, tell).await?;
    Ok(instance.rest())
}

/// Has an instance that exports `wasi:http/incoming-handler` answer.
pub(crate) async fn handle(
    proxy: &Proxy,
    store: &mut Store<State>,
    lent: Option<Arc<()>>,
    request: Request<Body>,
    tell: oneshot::Sender<Head>,
) -> wasmtime::Result<()> {
    let (scheme, request) = incoming(request, lent);
    let request = store.data_mut().http().new_incoming_request(scheme, request)?;
    // Nobody may be waiting any more.
    let tell = |head: Result<_, ErrorCode>| drop(tell.send(head.map_err(|code| told(&format!("{code:?}")))));
    let outparam = store.data_mut().http().new_response_outparam_from_callback(tell)?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, outparam).await
}

/// A request's body as wasmtime-wasi-http wants it: with its own error.
pub(crate) struct IncomingBody {
    body: Body,
    /// Held to tell that this is not gone, where somebody asks.
    _lent: Option<Arc<()>>,
}

impl http_body::Body for IncomingBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx).map_err(outgoing::broken)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What wasmtime-wasi-http wants: an authority, and its own error in the body, which holds `lent` as long as it is there.
pub(crate) fn incoming(mut request: Request<Body>, lent: Option<Arc<()>>) -> (Scheme, Request<IncomingBody>) {
    if request.uri().authority().is_none() && !request.headers().contains_key(header::HOST) {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    let https = request.uri().scheme() == Some(&uri::Scheme::HTTPS);
    let scheme = if https { Scheme::Https } else { Scheme::Http };
    (scheme, request.map(|body| IncomingBody { body, _lent: lent }))
}

/// The guest's call, its deadline, and where it runs.
pub(crate) struct Exchange {
    guest: Arc<HttpGuest>,
    run: Run,
    ends: Instant,
    /// Made when the guest first waits: most calls never do.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether it left the caller's thread for the time it took.
    was_long: bool,
}

enum Run {
    /// On the thread that polls.
    Here(Metered<Ended>),
    /// On the background threads, which tell how much of a processor it took in all.
    There(JoinHandle<(Ended, Duration)>),
    /// It has ended.
    Over,
}

impl Exchange {
    pub(crate) fn new(guest: Arc<HttpGuest>, work: Metered<Ended>) -> Self {
        let ends = Instant::now() + guest.deadline;
        let mut exchange = Self { guest, run: Run::Here(work), ends, timer: None, was_long: false };
        if exchange.guest.habit.is_long() {
            exchange.move_away();
        }
        exchange
    }

    /// Lets the guest go on. Ready once, when its call has ended and what it held is released, but for an instance that may be
    /// kept; failures are recorded.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Instance>, CallError>> {
        if p3::is_inside() && matches!(self.guest.code.linked, Linked::Service(_) | Linked::ConcurrentCommand(_)) {
            // Whoever waits for it is such a guest too.
            self.move_away();
        }
        let mut leaves = false;
        let polled = match &mut self.run {
            Run::Here(work) => {
                let polled;
                (polled, leaves) = foreground::serving(|| Pin::new(&mut *work).poll(cx));
                self.was_long = work.ran() >= foreground::TIME;
                leaves |= self.was_long;
                polled.map(|ended| (ended, work.used()))
            }
            Run::There(task) => {
                Pin::new(task).poll(cx).map(|it| it.unwrap_or_else(|error| (Err(lost(error)), Duration::ZERO)))
            }
            Run::Over => return Poll::Ready(Ok(None)),
        };
        if let Poll::Ready((result, used)) = polled {
            self.run = Run::Over;
            self.guest.habit.saw(used);
            return Poll::Ready(result.or_else(|error| self.failed(&error).map(|()| None)));
        }
        if Instant::now() >= self.ends || self.poll_timer(cx).is_ready() {
            self.abandon();
            self.guest.guest.say("request failed: deadline exceeded");
            self.guest.fail(FailureKind::Deadline);
            return Poll::Ready(Err(CallError::Deadline));
        }
        if leaves {
            self.move_away();
            // The new task has yet to be polled for its end.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// What counts its guest's bytes.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.guest.guest.meter
    }

    /// Gives the guest its whole deadline again, now that someone waits for the next piece of its response.
    pub(crate) fn rearm(&mut self) {
        self.ends = Instant::now() + self.guest.deadline;
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(self.ends.into());
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ends = self.ends;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(ends.into()))).as_mut().poll(cx)
    }

    /// Lets the call go on as a task of its own, unless it is one.
    fn move_away(&mut self) {
        self.run = match std::mem::replace(&mut self.run, Run::Over) {
            Run::Here(mut work) => Run::There(self.guest.code.core.background.spawn(async move {
                let ended = (&mut work).await;
                (ended, work.used())
            })),
            elsewhere => elsewhere,
        };
    }

    /// Lets the call go on without anyone waiting, until it ends by itself or by its deadline.
    pub(crate) fn detach(mut self, admission: Admission) {
        let background = self.guest.code.core.background.clone();
        background.spawn(async move {
            let _admission = admission;
            let ended = std::future::poll_fn(|cx| self.poll_end(cx)).await;
            if let Ok(Some(instance)) = ended {
                instance.keep();
            }
        });
    }

    fn abandon(&mut self) {
        if let Run::There(task) = std::mem::replace(&mut self.run, Run::Over) {
            task.abort();
            if self.was_long {
                // It may never have come to its end by itself.
                self.guest.habit.saw(foreground::TIME);
            }
        }
    }

    fn failed(&self, error: &wasmtime::Error) -> Result<(), CallError> {
        let (guest, log) = (&self.guest, &self.guest.guest);
        match Ending::new(error) {
            Ending::Exit(0) => Ok(()),
            Ending::Exit(code) => Err(broke(guest, format!("exited with code {code}"))),
            Ending::NoRoom(why) => Err(CallError::Overloaded(why)),
            Ending::OutOfMemory(why) => {
                log.say(&format!("request failed: {why}"));
                guest.fail(FailureKind::OutOfMemory);
                Err(CallError::OutOfMemory)
            }
            Ending::Trap { message, backtrace } => {
                log.say(&format!("request failed: {message}\n{backtrace}"));
                guest.fail(FailureKind::Guest(message.clone()));
                Err(CallError::Guest(message))
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.abandon();
    }
}

fn lost(error: tokio::task::JoinError) -> wasmtime::Error {
    wasmtime::format_err!("the guest's task was lost: {error}")
}
