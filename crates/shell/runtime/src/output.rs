//! A guest's standard output and error, as WASI streams into its log.

use std::sync::Arc;

use bytes::Bytes;
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
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        let taken = bytes.len().min(CHUNK_BYTES);
        self.put(&bytes[..taken]);
        std::task::Poll::Ready(Ok(taken))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
