//! A guest's standard output and error, as WASI streams into its log.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::{LogSink, LogStream};

/// Most bytes one write takes.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes after which a writer must let others run: a flood is as slow as its log, and no slower for its neighbours.
const TURN_BYTES: usize = 256 << 10;

/// One output stream of a guest.
#[derive(Clone)]
pub(crate) struct Output {
    log: Arc<dyn LogSink>,
    stream: LogStream,
    /// Bytes written since others last ran.
    turn_bytes: usize,
}

impl Output {
    pub(crate) fn new(log: Arc<dyn LogSink>, stream: LogStream) -> Self {
        Self { log, stream, turn_bytes: 0 }
    }

    /// Writes all of `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.log.write(self.stream, chunk);
        }
        self.turn_bytes += bytes.len();
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.turn_bytes < TURN_BYTES && self.log.ready().is_none() { CHUNK_BYTES } else { 0 })
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        if self.turn_bytes >= TURN_BYTES {
            self.turn_bytes = 0;
            tokio::task::yield_now().await;
        }
        if let Some(ready) = self.log.ready() {
            ready.await;
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Writer { output: self.clone(), waiting: Mutex::new(None) })
    }
}

/// What WASI 0.3 writes to: waits as [`Pollable`] does.
struct Writer {
    output: Output,
    /// Behind a lock only to be shareable; nobody shares it.
    waiting: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            let waiting = this.waiting.get_mut();
            if let Some(it) = waiting {
                std::task::ready!(it.as_mut().poll(cx));
                *waiting = None;
            }
            if this.output.turn_bytes >= TURN_BYTES {
                this.output.turn_bytes = 0;
                *waiting = Some(Box::pin(tokio::task::yield_now()));
            } else if let Some(ready) = this.output.log.ready() {
                *waiting = Some(ready);
            } else {
                let taken = bytes.len().min(CHUNK_BYTES);
                this.output.put(&bytes[..taken]);
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
