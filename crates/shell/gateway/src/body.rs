//! Bodies on their way through: requests that can be taken back untouched, responses that keep their endpoint busy.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError};
use eyot_meter::Exchange as Metered;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Sleep;

use crate::{connection::Exchange, limits::Permit, services::Busy};

/// A request body that can be offered to one endpoint after another until one of them polls it.
#[derive(Debug)]
pub(crate) struct Payload<B> {
    /// `None` for a body without frames.
    slot: Option<Arc<Mutex<Slot<B>>>>,
    stall_timeout: Duration,
}

#[derive(Debug)]
struct Slot<B> {
    body: B,
    touched: bool,
    /// Which offer may poll: an endpoint that refused a body but kept it gets nothing more.
    offer: u32,
}

impl<B> Payload<B>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(body: B, stall_timeout: Duration) -> Self {
        let slot = (!body.is_end_stream()).then(|| Arc::new(Mutex::new(Slot { body, touched: false, offer: 0 })));
        Self { slot, stall_timeout }
    }

    /// The body for the next endpoint, or `None` once an endpoint has begun to read it.
    pub(crate) fn offer(&self) -> Option<Body> {
        let Some(shared) = &self.slot else { return Some(eyot_dispatch::empty()) };
        let offer = {
            let mut slot = shared.lock();
            if slot.touched {
                return None;
            }
            slot.offer += 1;
            slot.offer
        };
        Some(Body::new(Offer { slot: shared.clone(), offer, stall: None, stall_timeout: self.stall_timeout }))
    }
}

/// One endpoint's view of a request body. Ends with an error where the client sends nothing for too long.
struct Offer<B> {
    slot: Arc<Mutex<Slot<B>>>,
    offer: u32,
    stall: Option<Pin<Box<Sleep>>>,
    stall_timeout: Duration,
}

impl<B> HttpBody for Offer<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = {
            let mut slot = this.slot.lock();
            if slot.offer != this.offer {
                return Poll::Ready(Some(Err("the request was given to another endpoint".into())));
            }
            slot.touched = true;
            Pin::new(&mut slot.body).poll_frame(cx)
        };
        if let Poll::Ready(frame) = polled {
            this.stall = None;
            return Poll::Ready(frame.map(|it| it.map_err(Into::into)));
        }
        let stall = this.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.stall_timeout)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Some(Err("the client sent nothing for too long".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.slot.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.slot.lock().body.size_hint()
    }
}

/// A response body together with what lasts as long as it does.
pub(crate) struct Reply {
    body: Body,
    held: Held,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// What ends when a response has been sent, or its body is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    _busy: Option<Busy>,
    _permit: Option<Permit>,
    exchange: Option<Exchange>,
    _metered: Option<Metered>,
}

impl Held {
    /// For a client's request: its endpoint, its connection, and the count of its route.
    pub(crate) fn by_client(busy: Option<Busy>, exchange: Exchange, metered: Option<Metered>) -> Self {
        Self { _busy: busy, _permit: None, exchange: Some(exchange), _metered: metered }
    }

    /// For a guest's request: its endpoint and its place under the pod's bound.
    pub(crate) fn by_guest(busy: Option<Busy>, permit: Permit) -> Self {
        Self { _busy: busy, _permit: Some(permit), exchange: None, _metered: None }
    }
}

impl Reply {
    pub(crate) fn new(body: Body, held: Held, deadline: Option<Pin<Box<Sleep>>>) -> Self {
        Self { body, held, deadline }
    }
}

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(exchange) = &mut self.held.exchange {
            exchange.set_unsent(polled.is_ready());
        }
        if let Poll::Ready(frame) = polled {
            if !matches!(frame, Some(Ok(_))) {
                self.held = Held::default();
            }
            return Poll::Ready(frame);
        }
        match &mut self.deadline {
            Some(deadline) => {
                ready!(deadline.as_mut().poll(cx));
                self.body = eyot_dispatch::empty();
                Poll::Ready(Some(Err("the route's timeout passed while the response was sent".into())))
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use eyot_dispatch::full;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_is_offered_again_until_an_endpoint_reads_it() {
        let payload = Payload::new(full("abc"), Duration::from_secs(1));
        let first = payload.offer().unwrap();
        let mut second = payload.offer().unwrap();
        assert!(first.collect().await.is_err(), "the first endpoint has lost its claim");
        assert_eq!(second.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(payload.offer().is_none());
    }

    #[tokio::test]
    async fn an_empty_body_can_always_be_offered() {
        let payload = Payload::new(eyot_dispatch::empty(), Duration::from_secs(1));
        payload.offer().unwrap().collect().await.unwrap();
        assert!(payload.offer().is_some());
    }

    #[tokio::test]
    async fn a_body_that_stalls_ends_with_an_error() {
        let pending = http_body_util::StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let payload = Payload::new(pending, Duration::from_millis(20));
        let error = payload.offer().unwrap().collect().await.unwrap_err();
        assert_eq!(error.to_string(), "the client sent nothing for too long");
    }
}
