//! Copies of requests for whoever is to be tried with real ones. Entry point: [`copy`].
//!
//! A copy never holds its request up and never fails it: its body is taken along as the request's own is read, into a queue
//! with a bound. Whoever does not keep up loses the copy. Responses are read to their end, so that the receiver does all of its
//! work, and thrown away. Streams that change their protocol are not copied.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError};
use eyot_route::Action;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::{
    Gateway,
    connection::Connection,
    forward::{self, Sent},
    random,
    services::{Client, Pool},
};

/// Copies under way at once, for all routes.
pub(crate) const COPIES_MAX: usize = 256;
/// Parts of a body that wait for the receiver of a copy.
const FRAMES_MAX: usize = 32;
/// Bytes of a body that wait for it.
const BYTES_MAX: usize = 256 << 10;
/// Longest time for a copy, to the end of its response.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends the copies that the route asks for on their way. Gives back the body that the request itself goes on with.
pub(crate) fn copy<B>(connection: &Connection, action: &Action<Arc<Pool>>, head: &Parts, body: B) -> Tee<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut tee = Tee { body, copies: Vec::new() };
    for mirror in action.mirrors.iter().filter(|it| it.takes(random::next())) {
        let meters = &connection.gateway.config.meters;
        // Policies of the receiver are about requests of its own, which this is none of.
        if connection.gateway.judges(&mirror.target) {
            meters.mirrors_dropped.fetch_add(1, Relaxed);
            continue;
        }
        let Ok(permit) = connection.gateway.copies.clone().try_acquire_owned() else {
            meters.mirrors_dropped.fetch_add(1, Relaxed);
            continue;
        };
        meters.mirrored.fetch_add(1, Relaxed);
        let body = match tee.body.is_end_stream() {
            true => eyot_dispatch::empty(),
            false => tee.tap(),
        };
        let (gateway, pool) = (connection.gateway.clone(), mirror.target.clone());
        let client = connection.client;
        // What belongs to the connection stays with it.
        let mut head = head.clone();
        head.extensions.clear();
        tokio::spawn(send(gateway, pool, client, head, body, permit));
    }
    tee
}

async fn send(
    gateway: Arc<Gateway>,
    pool: Arc<Pool>,
    client: Client,
    head: Parts,
    body: Body,
    _permit: OwnedSemaphorePermit,
) {
    let exchange = async {
        let Sent { response, busy } = forward::forward(&gateway, &pool, client, &head, body, None, None).await?;
        let mut body = response.into_body();
        // Broken off or whole, it is nobody's.
        while let Some(Ok(_)) = body.frame().await {}
        drop(busy);
        Ok::<_, forward::ForwardError>(())
    };
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, service = %pool.name, "a copy had no response"),
        Err(_) => tracing::debug!(service = %pool.name, "a copy was given up"),
    }
}

/// A request's body, read once and passed on to copies too.
#[derive(Debug)]
pub(crate) struct Tee<B> {
    body: B,
    copies: Vec<Tap>,
}

#[derive(Debug)]
struct Tap {
    frames: mpsc::Sender<Option<Frame<Bytes>>>,
    /// Bytes that wait there.
    waiting: Arc<AtomicUsize>,
}

/// The body of a copy. Ends with an error where that of the request broke off, or the copy did not keep up.
struct Copied {
    frames: mpsc::Receiver<Option<Frame<Bytes>>>,
    waiting: Arc<AtomicUsize>,
    ended: bool,
}

impl<B> Tee<B> {
    fn tap(&mut self) -> Body {
        let (sender, frames) = mpsc::channel(FRAMES_MAX + 1);
        let waiting = Arc::new(AtomicUsize::new(0));
        self.copies.push(Tap { frames: sender, waiting: waiting.clone() });
        Body::new(Copied { frames, waiting, ended: false })
    }

    /// Passes a part on; a copy that has no room for it is given up.
    fn pass(&mut self, frame: &Frame<Bytes>) {
        self.copies.retain(|it| {
            let (part, size) = match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => (Frame::data(data.clone()), data.len()),
                (None, Some(trailers)) => (Frame::trailers(trailers.clone()), 0),
                (None, None) => return true,
            };
            // The first part always has room, however large it is.
            let before = it.waiting.fetch_add(size, Release);
            (before == 0 || before + size <= BYTES_MAX)
                && it.frames.capacity() > 1
                && it.frames.try_send(Some(part)).is_ok()
        });
    }

    /// Tells the copies that this was all.
    fn end(&mut self) {
        // There is room: what is passed on leaves a place free.
        self.copies.drain(..).for_each(|it| drop(it.frames.try_send(None)));
    }
}

impl<B> HttpBody for Tee<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                self.pass(frame);
                if self.body.is_end_stream() {
                    self.end();
                }
            }
            Some(Err(_)) => self.copies.clear(),
            None => self.end(),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl HttpBody for Copied {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.frames.poll_recv(cx));
        Poll::Ready(match next {
            Some(Some(frame)) => {
                let size = frame.data_ref().map_or(0, Bytes::len);
                // Read by who decides whether there is room.
                debug_assert!(self.waiting.load(Acquire) >= size);
                self.waiting.fetch_sub(size, Release);
                Some(Ok(frame))
            }
            Some(None) => {
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                Some(Err("the request that this is a copy of broke off, or was faster".into()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn tee<B: HttpBody<Data = Bytes> + Unpin>(body: B) -> (Tee<B>, Body) {
        let mut tee = Tee { body, copies: Vec::new() };
        let copy = tee.tap();
        (tee, copy)
    }

    fn stream(parts: Vec<Result<Bytes, BoxError>>) -> impl HttpBody<Data = Bytes, Error = BoxError> + Unpin {
        StreamBody::new(futures::stream::iter(parts).map(|it| it.map(Frame::data)))
    }

    #[tokio::test]
    async fn a_copy_gets_what_the_request_got() {
        let (body, copy) = tee(Full::new(Bytes::from_static(b"abc")));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
        assert_eq!(copy.collect().await.unwrap().to_bytes(), "abc");
        let (body, copy) = tee(stream(vec![Ok("a".into()), Ok("b".into())]));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
        assert_eq!(copy.collect().await.unwrap().to_bytes(), "ab");
    }

    #[tokio::test]
    async fn a_copy_that_does_not_keep_up_is_given_up_and_the_request_goes_on() {
        let large = vec![7_u8; BYTES_MAX / 2 + 1];
        let (body, copy) = tee(stream((0..4).map(|_| Ok(large.clone().into())).collect()));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 4 * large.len());
        assert!(copy.collect().await.unwrap_err().to_string().contains("was faster"));
        let (body, copy) = tee(stream((0..FRAMES_MAX + 8).map(|_| Ok("x".into())).collect()));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), FRAMES_MAX + 8);
        assert!(copy.collect().await.is_err());
        let (body, copy) = tee(Full::new(Bytes::from(vec![7_u8; 4 * BYTES_MAX])));
        body.collect().await.unwrap();
        assert_eq!(copy.collect().await.unwrap().to_bytes().len(), 4 * BYTES_MAX, "one part always has room");
    }

    #[tokio::test]
    async fn a_request_that_breaks_off_is_no_whole_copy() {
        let (body, copy) = tee(stream(vec![Ok("a".into()), Err("gone".into())]));
        assert!(body.collect().await.is_err());
        assert!(copy.collect().await.is_err());
        let (body, copy) = tee(stream(vec![Ok("a".into()), Ok("b".into())]));
        drop(body);
        assert!(copy.collect().await.is_err());
    }
}
