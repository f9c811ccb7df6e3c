//! What a command writes, on its way into an answer: bytes of many small writes together, and never more than a bound.
//!
//! Start at [`pipe`]. A writer waits while the pipe is full, and learns when nobody reads any more.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

/// Bytes held for a reader; a writer that finds as many waits. It passes this by one write at most.
const ROOM: usize = 128 << 10;
/// Most bytes that one write takes.
const CHUNK: usize = 64 << 10;

#[derive(Default)]
struct Inside {
    bytes: BytesMut,
    writers: usize,
    is_left: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The writing end; clones write into the same.
pub(crate) struct Pipe(Arc<Mutex<Inside>>);

/// The reading end. Dropping it tells writers.
pub(crate) struct Written(Arc<Mutex<Inside>>);

/// An empty pipe.
pub(crate) fn pipe() -> (Pipe, Written) {
    let inside = Arc::new(Mutex::new(Inside { writers: 1, ..Inside::default() }));
    (Pipe(inside.clone()), Written(inside))
}

impl Clone for Pipe {
    fn clone(&self) -> Self {
        self.0.lock().writers += 1;
        Pipe(self.0.clone())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let reader = {
            let mut inside = self.0.lock();
            inside.writers -= 1;
            if inside.writers == 0 { inside.reader.take() } else { None }
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Pipe {
    fn put(&self, bytes: &[u8]) -> StreamResult<()> {
        let reader = {
            let mut inside = self.0.lock();
            if inside.is_left {
                return Err(StreamError::Closed);
            }
            inside.bytes.extend_from_slice(bytes);
            inside.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inside = self.0.lock();
        if inside.is_left || inside.bytes.len() < ROOM {
            return Poll::Ready(());
        }
        inside.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Written {
    /// What was written since; `None` when all writers are gone.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut inside = self.0.lock();
        if !inside.bytes.is_empty() {
            let bytes = inside.bytes.split().freeze();
            let writer = inside.writer.take();
            drop(inside);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Some(bytes));
        }
        if inside.writers == 0 {
            return Poll::Ready(None);
        }
        inside.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let writer = {
            let mut inside = self.0.lock();
            inside.is_left = true;
            inside.bytes = BytesMut::new();
            inside.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

#[async_trait]
impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let inside = self.0.lock();
        match inside.is_left {
            true => Err(StreamError::Closed),
            false => Ok(if inside.bytes.len() < ROOM { CHUNK } else { 0 }),
        }
    }
}

#[async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.poll_room(cx)).await;
    }
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        std::task::ready!(self.poll_room(cx));
        let taken = bytes.len().min(CHUNK);
        match self.put(&bytes[..taken]) {
            Ok(()) => Poll::Ready(Ok(taken)),
            Err(_) => Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_are_read_together_and_a_full_pipe_makes_its_writer_wait() {
        let (mut pipe, mut written) = pipe();
        let mut cx = Context::from_waker(Waker::noop());
        for piece in ["a", "b"] {
            pipe.write(Bytes::from_static(piece.as_bytes())).unwrap();
        }
        assert_eq!(written.poll_read(&mut cx), Poll::Ready(Some(Bytes::from_static(b"ab"))));
        assert_eq!(written.poll_read(&mut cx), Poll::Pending);
        while pipe.check_write().unwrap() > 0 {
            pipe.write(Bytes::from(vec![0; CHUNK])).unwrap();
        }
        assert!(pipe.poll_room(&mut cx).is_pending());
        assert!(written.0.lock().bytes.len() <= ROOM + CHUNK);
        assert!(written.poll_read(&mut cx).is_ready());
        pipe.ready().await;
        let second = pipe.clone();
        drop(pipe);
        assert_eq!(written.poll_read(&mut cx), Poll::Pending, "one writer is left");
        drop(second);
        assert_eq!(written.poll_read(&mut cx), Poll::Ready(None));
    }

    #[tokio::test]
    async fn whoever_writes_learns_that_nobody_reads() {
        let (mut pipe, written) = pipe();
        drop(written);
        assert!(matches!(pipe.check_write(), Err(StreamError::Closed)));
        assert!(matches!(pipe.write(Bytes::from_static(b"a")), Err(StreamError::Closed)));
        pipe.ready().await;
    }
}
