//! The body of a guest's response: what it wrote already, or a stream that keeps the guest running.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError, CallError};
use http::{Response, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::WasiBody;

use crate::{call::Exchange, meter::Meter, reuse::Instance, serve::Admission};

/// The response of a guest that has returned: all of its body is here, so its length is known, and counted. The instance is kept
/// if the body has an end.
pub(crate) fn finished(
    response: Response<WasiBody>,
    mut instance: Option<Instance>,
    meter: &Meter,
) -> Result<Response<Body>, CallError> {
    let (head, mut body) = response.into_parts();
    let mut whole = Whole::default();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        // Without tokio's budget, which would call a frame that is here pending.
        match std::pin::pin!(tokio::task::unconstrained(body.frame())).poll(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => whole.push(frame),
            Poll::Ready(Some(Err(error))) => return Err(CallError::Broken(format!("the guest's response: {error}"))),
            Poll::Ready(None) => {
                if let Some(instance) = instance {
                    instance.keep();
                }
                meter.sent(whole.bytes);
                return Ok(Response::from_parts(head, whole.into_body()));
            }
            // The body that it left open ends with the instance.
            Poll::Pending if instance.take().is_some() => {}
            Poll::Pending => return Err(CallError::Broken("the guest's response has no end".into())),
        }
    }
}

/// The response of a guest that is still running.
pub(crate) fn streaming(response: Response<WasiBody>, exchange: Exchange, admission: Admission) -> Response<Body> {
    let (head, body) = response.into_parts();
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    let (meter, guest) = (Arc::clone(exchange.meter()), Some((exchange, admission)));
    Response::from_parts(
        head,
        GuestBody { body, guest, meter, instance: None, length, sent: 0, asked: false, ended: false }.boxed_unsync(),
    )
}

/// A body whose chunks are all known.
#[derive(Default)]
struct Whole {
    frames: VecDeque<Frame<Bytes>>,
    bytes: u64,
}

impl Whole {
    fn push(&mut self, frame: Frame<Bytes>) {
        self.bytes += frame.data_ref().map_or(0, |it| it.len() as u64);
        self.frames.push_back(frame);
    }

    fn into_body(mut self) -> Body {
        match (self.frames.len(), self.frames.pop_front().map(Frame::into_data)) {
            (0, _) | (_, None) => eyot_dispatch::empty(),
            (1, Some(Ok(only))) => eyot_dispatch::full(only),
            (_, Some(first)) => {
                self.frames.push_front(first.map_or_else(|it| it, Frame::data));
                self.boxed_unsync()
            }
        }
    }
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = self.frames.pop_front();
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            self.bytes -= data.len() as u64;
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}

/// A body that its guest is still writing. Polling it lets the guest run; dropping it cancels the guest, unless the guest
/// has written all it announced and may finish its own business.
struct GuestBody {
    body: WasiBody,
    guest: Option<(Exchange, Admission)>,
    meter: Arc<Meter>,
    /// Where the guest wrote it, once it has ended, if that may answer another request when all of the body was taken. The request
    /// is inside for as long: a client that takes its time must not hold more instances than a guest may have.
    instance: Option<(Instance, Admission)>,
    /// What `content-length` announced.
    length: Option<u64>,
    sent: u64,
    /// Whether the next piece has been asked for. The guest's deadline runs only then: a slow client is not its fault.
    asked: bool,
    ended: bool,
}

impl GuestBody {
    fn guest_ended(&mut self, result: Result<Option<Instance>, CallError>) -> Result<(), CallError> {
        let admission = self.guest.take().map(|(_, it)| it);
        self.instance = result?.zip(admission);
        Ok(())
    }

    /// All of the body was taken.
    fn let_go(&mut self) {
        if let Some((instance, _admission)) = self.instance.take() {
            instance.keep();
        }
        if let Some((exchange, admission)) = self.guest.take() {
            exchange.detach(admission);
        }
    }
}

impl http_body::Body for GuestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some((exchange, _)) = &mut this.guest {
            if !std::mem::replace(&mut this.asked, true) {
                exchange.rearm();
            }
            if let Poll::Ready(result) = exchange.poll_end(cx)
                && let Err(error) = this.guest_ended(result)
            {
                // wasmtime ends the body of a dead guest as if it were complete; the client must learn that it is not.
                this.ended = true;
                return Poll::Ready(Some(Err(error.into())));
            }
        }
        let mut polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending() && this.instance.take().is_some() {
            // The guest has ended and left its body open, which ends with the instance.
            polled = Pin::new(&mut this.body).poll_frame(cx);
        }
        match std::task::ready!(polled) {
            Some(Ok(frame)) => {
                this.asked = false;
                let bytes = frame.data_ref().map_or(0, |it| it.len() as u64);
                this.sent += bytes;
                this.meter.sent(bytes);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.ended = true;
                (this.guest, this.instance) = (None, None);
                Poll::Ready(Some(Err(CallError::Broken(format!("the guest's response: {error}")).into())))
            }
            None => {
                this.ended = true;
                // Most guests end with their body: that is cheaper seen than waited for elsewhere.
                if let Some((exchange, _)) = &mut this.guest
                    && let Poll::Ready(ended) = exchange.poll_end(cx)
                {
                    // All of the body is there, whatever became of the guest after it.
                    let _ = this.guest_ended(ended);
                }
                this.let_go();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, |it| SizeHint::with_exact(it.saturating_sub(self.sent)))
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        // A server stops polling at the announced length without asking for the end.
        if !self.ended && self.length == Some(self.sent) {
            self.let_go();
        }
    }
}
