//! Bodies of requests to functions, up to a bound.
//!
//! Start at [`bound`]. A body whose length is told beforehand and is too much is refused before anything of it is read and
//! before anybody is woken for it; of any other so much is passed on as the bound allows, and then it breaks off. What has no
//! bound, or no body, costs nothing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use eyot_dispatch::BoxError;
use http_body::{Body, Frame, SizeHint};

/// A body that ends with an error where it passes its bound.
#[derive(Debug)]
pub(crate) struct Bounded<B> {
    body: B,
    /// Bytes that may still come.
    left: u64,
    /// Set when more come; absent where none can be too many.
    passed: Option<Arc<AtomicBool>>,
}

/// Tells whether a body passed its bound, after it was given away.
#[derive(Debug)]
pub(crate) struct Passed(Option<Arc<AtomicBool>>);

impl Passed {
    /// Whether it did.
    pub(crate) fn is_true(&self) -> bool {
        self.0.as_ref().is_some_and(|it| it.load(Relaxed))
    }
}

/// `body` with at most `most` bytes, if there is a bound; `None` where it says by itself that it has more.
pub(crate) fn bound<B: Body>(body: B, most: Option<u64>) -> Option<(Bounded<B>, Passed)> {
    let left = most.unwrap_or(u64::MAX);
    if body.size_hint().lower() > left {
        return None;
    }
    let passed = (most.is_some() && !body.is_end_stream()).then(Arc::default);
    Some((Bounded { body, left, passed: passed.clone() }, Passed(passed)))
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        let size = frame.data_ref().map_or(0, |it| it.len() as u64);
        match self.left.checked_sub(size) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.left = 0;
                if let Some(passed) = &self.passed {
                    passed.store(true, Relaxed);
                }
                Poll::Ready(Some(Err("the request's body is larger than functions take".into())))
            }
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
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_body_ends_at_its_bound_and_one_that_tells_its_length_before_it() {
        assert!(bound(full("12345"), Some(4)).is_none());
        let (whole, passed) = bound(full("1234"), Some(4)).unwrap();
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "1234");
        assert!(!passed.is_true());
        let parts = ["123", "4", "5"].map(|it| Ok::<_, BoxError>(Frame::data(Bytes::from_static(it.as_bytes()))));
        let (mut long, passed) = bound(StreamBody::new(futures::stream::iter(parts)), Some(4)).unwrap();
        for part in ["123", "4"] {
            assert_eq!(long.frame().await.unwrap().unwrap().into_data().unwrap(), part);
            assert!(!passed.is_true());
        }
        assert!(long.frame().await.unwrap().is_err() && passed.is_true());
    }

    #[tokio::test]
    async fn what_cannot_be_too_long_is_not_watched() {
        let (whole, passed) = bound(full("12345"), None).unwrap();
        assert!(passed.0.is_none());
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "12345");
        let (_, passed) = bound(eyot_dispatch::empty(), Some(4)).unwrap();
        assert!(passed.0.is_none() && !passed.is_true());
    }
}
