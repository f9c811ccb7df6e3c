//! Bodies of calls on their way to the disk: each up to a bound, and all together up to another, so that however many clients
//! send however slowly, memory holds no more than what they have sent. Entry point: [`read`].

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::{BODY_BYTES_MAX, Queue};
use crate::Failure;

/// Bytes of all bodies that are being taken: 64 of the largest.
const HELD_MAX: usize = 256 << 20;
/// Longest that a body may take to come: a quarter of a megabit a second for the largest.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooLong,
    Broken,
    Late,
    /// Others hold what there is.
    NoRoom,
}

impl Refused {
    /// As a client is told.
    pub(super) fn told(self, queue: &Queue) -> Failure {
        match self {
            Refused::TooLong => Failure::new(413, format!("the body has more than {BODY_BYTES_MAX} bytes")),
            Refused::Broken => Failure::new(400, "the body broke off"),
            Refused::Late => Failure::new(408, format!("the body did not come within {} s", TIMEOUT.as_secs())),
            Refused::NoRoom => queue.refused("too many bodies are on their way already"),
        }
    }
}

/// What a body takes of the bytes that all may have; given back when dropped.
#[derive(Debug)]
pub(super) struct Room<'a> {
    held: &'a AtomicUsize,
    mine: usize,
}

impl Room<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), Refused> {
        self.mine += bytes;
        let before = self.held.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > HELD_MAX { Err(Refused::NoRoom) } else { Ok(()) }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.held.fetch_sub(self.mine, Relaxed);
    }
}

/// Reads a body whole; `held` counts the bytes of all.
pub(super) async fn read(body: Body, held: &AtomicUsize) -> Result<(Bytes, Room<'_>), Refused> {
    within(TIMEOUT, body, held).await
}

async fn within(timeout: Duration, body: Body, held: &AtomicUsize) -> Result<(Bytes, Room<'_>), Refused> {
    tokio::time::timeout(timeout, gather(body, held)).await.unwrap_or(Err(Refused::Late))
}

async fn gather(mut body: Body, held: &AtomicUsize) -> Result<(Bytes, Room<'_>), Refused> {
    let (mut out, mut room) = (Vec::new(), Room { held, mine: 0 });
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| Refused::Broken)?.into_data().unwrap_or_default();
        if out.len() + data.len() > BODY_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        room.take(data.len())?;
        out.extend_from_slice(&data);
    }
    Ok((out.into(), room))
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn in_parts(sizes: &[usize]) -> Body {
        let parts = sizes.iter().map(|it| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![0; *it]))));
        Body::new(StreamBody::new(stream::iter(parts.collect::<Vec<_>>())))
    }

    #[tokio::test]
    async fn a_body_has_a_bound_and_so_have_all_together() {
        let held = AtomicUsize::new(0);
        let (body, room) = read(in_parts(&[3, 4]), &held).await.unwrap();
        assert_eq!((body.len(), held.load(Relaxed)), (7, 7));
        drop(room);
        assert_eq!(held.load(Relaxed), 0);
        assert_eq!(read(Body::from(vec![0; BODY_BYTES_MAX + 1]), &held).await.unwrap_err(), Refused::TooLong);
        assert_eq!(read(in_parts(&[BODY_BYTES_MAX, 1]), &held).await.unwrap_err(), Refused::TooLong);
        assert_eq!(held.load(Relaxed), 0, "what was refused holds nothing");
        held.store(HELD_MAX - 5, Relaxed);
        assert_eq!(read(in_parts(&[3, 3]), &held).await.unwrap_err(), Refused::NoRoom);
        assert!(read(in_parts(&[3, 2]), &held).await.is_ok());
        assert_eq!(held.load(Relaxed), HELD_MAX - 5);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_taken_for_a_whole_one() {
        let parts = [Ok(Frame::data(Bytes::from_static(b"abc"))), Err(std::io::Error::other("gone"))];
        let body = Body::new(StreamBody::new(stream::iter(parts)));
        let held = AtomicUsize::new(0);
        assert_eq!(read(body, &held).await.unwrap_err(), Refused::Broken);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let body = Body::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, std::io::Error>>()));
        let held = AtomicUsize::new(0);
        let late = within(Duration::from_millis(20), body, &held).await;
        assert_eq!(late.unwrap_err(), Refused::Late);
    }
}
