//! A guest's outgoing `wasi:http` requests: out through [`eyot_dispatch::Outbound`], streaming both ways.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError, CallError, ConnectWithin};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use crate::{guest::Guest, net::NOT_ALLOWED, slot::Slot, traffic};

/// How long a guest that sets no timeout waits for a response to begin, and for each next piece of its body.
const PATIENCE: Duration = Duration::from_secs(600);

/// Most outgoing requests of one guest under way at once, response bodies included.
const REQUESTS_MAX: usize = 256;

/// Bodies of one request that may be written in large pieces, each of which the host holds until it is taken.
const WIDE_BODIES_MAX: u32 = 64;
const WIDE_BYTES: usize = 256 << 10;
/// Pieces of further ones: whoever has so many gives most of them to nobody.
const NARROW_BYTES: usize = 4 << 10;

/// What wasmtime-wasi-http asks the host.
pub(crate) struct Hooks {
    pub(crate) guest: Arc<Guest>,
    /// Bodies that were begun, without those of requests that were sent.
    bodies: u32,
}

impl Hooks {
    pub(crate) fn new(guest: Arc<Guest>) -> Self {
        Hooks { guest, bodies: 0 }
    }

    /// Gets ready for another request.
    pub(crate) fn begin(&mut self) {
        self.bodies = 0;
    }
}

/// How much of a body the host takes at once when as many were begun before it.
fn piece_bytes(bodies: u32) -> usize {
    if bodies < WIDE_BODIES_MAX { WIDE_BYTES } else { NARROW_BYTES }
}

type Work = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Work), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        static FILTER: LazyLock<ForbiddenHeaderFilter> =
            LazyLock::new(|| Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name)));
        FILTER.clone()
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        let bytes = piece_bytes(self.bodies);
        self.bodies = self.bodies.saturating_add(1);
        bytes
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        // Asked for each body that somebody is to take. How many there are is held by the requests under way.
        WIDE_BYTES
    }

    fn send_request(&mut self, request: http::Request<WasiBody>, options: Option<RequestOptions>, _: Work) -> Sent {
        self.bodies = self.bodies.saturating_sub(1);
        let guest = Arc::clone(&self.guest);
        let options = options.unwrap_or_default();
        Box::new(async move {
            let slot = Slot::take(&guest.outgoing, REQUESTS_MAX).ok_or(Error::ConnectionLimitReached)?;
            // Connecting is the carrier's business, which keeps the timeout for it; from here it extends the other.
            let begin = options.first_byte_timeout.map(|it| it + options.connect_timeout.unwrap_or_default());
            let to = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            let port = eyot_dispatch::port(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
            if !guest.net.permits(request.uri(), port) {
                return Err(explain(&guest, &to, CallError::Denied(NOT_ALLOWED.into())));
            }
            let fault = Fault::default();
            let meter = &guest.meter;
            let mut request =
                request.map(|body| traffic::sent(Told { body, fault: Arc::clone(&fault) }.boxed_unsync(), meter));
            if let Some(limit) = options.connect_timeout {
                request.extensions_mut().insert(ConnectWithin(limit));
            }
            let sending = Arc::clone(&guest.outbound).send(guest.caller.clone(), request);
            let response = match tokio::time::timeout(begin.unwrap_or(PATIENCE), sending).await {
                Ok(sent) => sent.map_err(|error| fault.lock().take().unwrap_or_else(|| explain(&guest, &to, error)))?,
                Err(_) => return Err(Error::ConnectionReadTimeout),
            };
            let limit = options.between_bytes_timeout.unwrap_or(PATIENCE);
            let received = |body| traffic::received(body, meter);
            let response =
                response.map(|body| Paced { body: received(body), limit, timer: None, _slot: slot }.boxed_unsync());
            Ok((response, Box::new(std::future::ready(Ok(()))) as Work))
        })
    }
}

/// What was wrong with a request's own body, if it was that.
type Fault = Arc<Mutex<Option<Error>>>;

/// A request's body that keeps its error for the guest: whoever carries it knows only that it broke off.
struct Told {
    body: WasiBody,
    fault: Fault,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        Pin::new(&mut this.body).poll_frame(cx).map_err(|error| {
            let text = error.to_string();
            *this.fault.lock() = Some(error);
            text.into()
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body whose pieces must follow each other within a limit, counted while the guest waits for one.
struct Paced {
    body: Body,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    _slot: Slot,
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                // A guest that reads nothing ten times in a row is taken for broken by wasmtime.
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => continue,
                Poll::Ready(frame) => {
                    this.timer = None;
                    return Poll::Ready(frame.map(|it| it.map_err(cut_short)));
                }
                Poll::Pending => break,
            }
        }
        let limit = this.limit;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        timer.as_mut().poll(cx).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The `wasi:http` error code for a request that got no response.
fn explain(guest: &Guest, to: &str, error: CallError) -> Error {
    match error {
        CallError::Denied(why) => {
            guest.say(&format!("request to {to} denied: {why}"));
            Error::HttpRequestDenied
        }
        CallError::Prohibited(why) => {
            guest.say(&format!("request to {to} denied: {why}"));
            Error::DestinationIpProhibited
        }
        CallError::Overloaded(_) => Error::ConnectionLimitReached,
        CallError::Draining => Error::DestinationUnavailable,
        CallError::Connect(_) => Error::ConnectionRefused,
        CallError::ConnectTimeout(_) => Error::ConnectionTimeout,
        CallError::Lookup(_) => Error::DnsError { rcode: None, info_code: None },
        // The code alone does not tell a guest's owner what to do about it.
        CallError::Certificate(_) => {
            guest.say(&format!("request to {to} failed: {error}"));
            Error::TlsCertificateError
        }
        CallError::Tls(_) => {
            guest.say(&format!("request to {to} failed: {error}"));
            Error::TlsProtocolError
        }
        CallError::Protocol(_) => Error::HttpProtocolError,
        CallError::Deadline => Error::HttpResponseTimeout,
        CallError::Guest(why) | CallError::Broken(why) => Error::InternalError(Some(why)),
        CallError::OutOfMemory => Error::InternalError(Some("the called guest is out of memory".into())),
    }
}

/// A response that ended before its body did.
fn cut_short(error: BoxError) -> Error {
    let first: &(dyn std::error::Error + 'static) = &*error;
    let lost = |it: &(dyn std::error::Error + 'static)| {
        let kind = it.downcast_ref().map(std::io::Error::kind);
        matches!(kind, Some(std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset))
    };
    let is_lost = std::iter::successors(Some(first), |it| it.source()).any(lost);
    if is_lost { Error::HttpResponseIncomplete } else { broken(error) }
}

/// A body of either direction that ended early.
pub(crate) fn broken(error: BoxError) -> Error {
    Error::InternalError(Some(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::RESOURCES_MAX;

    #[test]
    fn bodies_that_nobody_takes_hold_little_however_many_there_are() {
        // A response, its body and the stream into it; two pieces may be on their way and one before them.
        let most = u32::try_from(RESOURCES_MAX / 3).unwrap();
        let held: usize = (0..most).map(|before| 3 * piece_bytes(before)).sum();
        assert!(held < 128 << 20, "{held}");
        assert_eq!(piece_bytes(0), 256 << 10);
    }
}
