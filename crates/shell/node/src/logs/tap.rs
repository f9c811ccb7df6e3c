//! What a guest prints, handed to a client that watches while it is printed.
//!
//! Start at [`pair`]. Nothing is lost and little is held: a guest whose client does not keep up waits, without a thread, and a
//! client that takes nothing for [`PATIENCE`], or lets [`HELD_MAX`] pile up, is left behind.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use eyot_runtime::{LogSink, LogStream};
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Bytes held for a client before the guest waits.
const BYTES_MAX: usize = 256 << 10;
/// Bytes held at most: what is said about a guest waits for no client, and a piece of each of its instances is on its way when the
/// first of them has to wait.
const HELD_MAX: usize = 32 << 20;
/// How long a guest waits for a client that takes nothing: its other clients and its log wait with it.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });

/// The end that takes what is printed. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Tap {
    shared: Arc<Shared>,
}

/// The client's end. Dropping it closes the tap.
pub(crate) struct Reader {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to read, or nothing will come any more.
    filled: Notify,
    /// There is room again, or nothing will be read any more.
    drained: Notify,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<(LogStream, Bytes)>,
    bytes: usize,
    closed: bool,
}

/// Both ends of a tap.
pub(crate) fn pair() -> (Tap, Reader) {
    let tap = Tap::default();
    let reader = Reader { shared: tap.shared.clone() };
    (tap, reader)
}

impl Shared {
    fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
        self.drained.notify_waiters();
    }

    fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.bytes >= BYTES_MAX && !state.closed
    }
}

impl Tap {
    /// Nothing more comes; what is held can still be read.
    pub(crate) fn close(&self) {
        self.shared.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.state.lock().closed
    }

    /// Waits until the client has taken something; gives the client up when that takes too long.
    async fn room(self) {
        let shared = &self.shared;
        let wait = async {
            loop {
                let mut drained = std::pin::pin!(shared.drained.notified());
                drained.as_mut().enable();
                if !shared.is_full() {
                    return;
                }
                drained.await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            tracing::debug!("a client that watches a guest takes nothing and is left behind");
            shared.close();
        }
    }
}

impl LogSink for Tap {
    fn write(&self, stream: LogStream, bytes: &[u8]) {
        let mut state = self.shared.state.lock();
        if state.closed || bytes.is_empty() {
            return;
        }
        state.bytes += bytes.len();
        state.chunks.push_back((stream, Bytes::copy_from_slice(bytes)));
        let is_too_much = state.bytes > HELD_MAX;
        drop(state);
        if is_too_much {
            tracing::debug!("a client that watches a guest takes too little and is left behind");
            return self.shared.close();
        }
        self.shared.filled.notify_one();
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        self.shared.is_full().then(|| self.clone().room().boxed())
    }
}

impl Reader {
    /// The next bytes, `None` when nothing will come any more. Safe to drop at any await.
    pub(crate) async fn next(&mut self) -> Option<(LogStream, Bytes)> {
        loop {
            {
                let mut state = self.shared.state.lock();
                if let Some((stream, bytes)) = state.chunks.pop_front() {
                    state.bytes -= bytes.len();
                    drop(state);
                    self.shared.drained.notify_waiters();
                    return Some((stream, bytes));
                }
                if state.closed {
                    return None;
                }
            }
            self.shared.filled.notified().await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_printed_is_read_in_order_and_the_end_comes_last() {
        let (tap, mut reader) = pair();
        tap.write(LogStream::Stdout, b"one");
        tap.write(LogStream::Stderr, b"two");
        tap.close();
        tap.write(LogStream::Stdout, b"late");
        assert_eq!(reader.next().await, Some((LogStream::Stdout, Bytes::from_static(b"one"))));
        assert_eq!(reader.next().await, Some((LogStream::Stderr, Bytes::from_static(b"two"))));
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test]
    async fn what_is_said_without_waiting_is_held_up_to_a_bound() {
        let (tap, mut reader) = pair();
        let mut written = 0;
        while !tap.is_closed() {
            assert!(written <= HELD_MAX, "it is held without a bound");
            tap.write(LogStream::Stderr, &[b'x'; 64 << 10]);
            written += 64 << 10;
        }
        let mut read = 0;
        while let Some((_, bytes)) = reader.next().await {
            read += bytes.len();
        }
        assert_eq!(read, written, "what is held can still be read");
    }

    #[tokio::test]
    async fn a_guest_waits_for_its_client_but_not_for_ever() {
        let (tap, mut reader) = pair();
        assert!(tap.ready().is_none());
        tap.write(LogStream::Stdout, &[b'x'; BYTES_MAX]);
        let wait = tap.ready().expect("it is full");
        let (chunk, ()) = tokio::join!(reader.next(), wait);
        assert_eq!(chunk.map(|it| it.1.len()), Some(BYTES_MAX));
        assert!(tap.ready().is_none() && !tap.is_closed());
        tap.write(LogStream::Stdout, &[b'x'; BYTES_MAX]);
        tap.ready().expect("it is full again").await;
        assert!(tap.is_closed(), "nobody read for a long time");
    }
}
