//! One SPDY connection: pairs the client's streams and carries each pair to a port.
//!
//! For each connection to a port the client opens two streams of the same request id: one for an error message, one for
//! data. Start at [`run`].

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    task::JoinSet,
};

use super::{
    frame::{self, Frame, FrameError},
    headers::{HeaderError, Reader, Writer},
};
use crate::kubelet::forward::Ports;

/// Streams open at once on a connection: a browser opens tens.
const STREAMS_MAX: usize = 512;
/// Frames on their way to the client, over all streams.
const OUT_MAX: usize = 16;
/// Frames on their way to one port. A port that does not read holds up its connection, as flow control would.
const IN_MAX: usize = 64;
const CHUNK_BYTES: usize = 16 << 10;
const REFUSED: u32 = 3;

/// Why a connection broke.
#[derive(Debug, thiserror::Error)]
pub(in crate::kubelet::forward) enum SessionError {
    #[error("reading from the client")]
    Read(#[source] std::io::Error),
    #[error("parsing a frame")]
    Frame(#[source] FrameError),
    #[error("reading a stream's headers")]
    Headers(#[source] HeaderError),
}

/// Serves the connection until the client ends it.
pub(in crate::kubelet::forward) async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    ports: Ports,
) -> Result<(), SessionError> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (out, mut outgoing) = mpsc::channel::<Bytes>(OUT_MAX);
    let session = Session {
        ports,
        out,
        headers: Reader::new(),
        replies: Writer::new(),
        halves: HashMap::new(),
        inputs: HashMap::new(),
        tasks: JoinSet::new(),
    };
    let write = async {
        while let Some(bytes) = outgoing.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The client may be gone.
        let _ = writer.shutdown().await;
    };
    let (result, ()) = tokio::join!(session.read(&mut reader), write);
    result
}

struct Session {
    ports: Ports,
    out: mpsc::Sender<Bytes>,
    headers: Reader,
    replies: Writer,
    /// Streams that wait for the other of their pair, by request id.
    halves: HashMap<String, Half>,
    /// Where data of a stream goes.
    inputs: HashMap<u32, mpsc::Sender<Bytes>>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Half {
    port: Option<u16>,
    error: Option<u32>,
    data: Option<u32>,
}

impl Session {
    /// Reads frames until the client ends the connection. Everything it started ends with it.
    async fn read(mut self, reader: &mut (impl AsyncRead + Unpin)) -> Result<(), SessionError> {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        loop {
            while let Some(frame) = frame::take(&mut buffer).map_err(SessionError::Frame)? {
                if !self.take(frame).await? {
                    return Ok(());
                }
            }
            // Finished tasks are collected here, so that a long connection does not keep them.
            while self.tasks.try_join_next().is_some() {}
            if reader.read_buf(&mut buffer).await.map_err(SessionError::Read)? == 0 {
                return Ok(());
            }
        }
    }

    /// False when the writing end is gone.
    async fn take(&mut self, frame: Frame) -> Result<bool, SessionError> {
        match frame {
            Frame::Open { stream, block, .. } => {
                let headers = self.headers.read(&block).map_err(SessionError::Headers)?;
                return self.open(stream, &headers).await;
            }
            Frame::Headers { block } => drop(self.headers.read(&block).map_err(SessionError::Headers)?),
            Frame::Data { stream, fin, bytes } => {
                if let Some(input) = self.inputs.get(&stream)
                    && !bytes.is_empty()
                {
                    // A port that has closed takes no more.
                    let _ = input.send(bytes).await;
                }
                if fin {
                    self.inputs.remove(&stream);
                }
            }
            Frame::Reset { stream } => drop(self.inputs.remove(&stream)),
            Frame::Ping { id } => return Ok(self.out.send(frame::pong(id)).await.is_ok()),
            Frame::GoAway | Frame::Other => {}
        }
        Ok(true)
    }

    async fn open(&mut self, stream: u32, headers: &[(String, String)]) -> Result<bool, SessionError> {
        let header =
            |name: &str| headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let port = header("port").and_then(|it| it.parse::<u16>().ok()).filter(|it| *it > 0);
        let kind = header("streamtype");
        let (Some(port), Some(kind @ ("error" | "data"))) = (port, kind) else {
            return Ok(self.out.send(frame::reset(stream, REFUSED)).await.is_ok());
        };
        if self.inputs.len() + self.halves.len() >= STREAMS_MAX {
            return Ok(self.out.send(frame::reset(stream, REFUSED)).await.is_ok());
        }
        let reply = self.replies.write(&[]).map_err(SessionError::Headers)?;
        if self.out.send(frame::reply(stream, &reply)).await.is_err() {
            return Ok(false);
        }
        // Clients before request ids pair streams by port.
        let id = header("requestid").map_or_else(|| format!("port {port}"), str::to_owned);
        let half = self.halves.entry(id.clone()).or_default();
        half.port.get_or_insert(port);
        match kind {
            "error" => half.error = Some(stream),
            _ => half.data = Some(stream),
        }
        if let Half { port: Some(port), error: Some(error), data: Some(data) } = *half {
            self.halves.remove(&id);
            let (input, incoming) = mpsc::channel(IN_MAX);
            self.inputs.insert(data, input);
            self.tasks.spawn(carry(self.ports.clone(), port, Pair { error, data }, incoming, self.out.clone()));
        }
        Ok(true)
    }
}

#[derive(Clone, Copy)]
struct Pair {
    error: u32,
    data: u32,
}

async fn carry(ports: Ports, port: u16, pair: Pair, mut incoming: mpsc::Receiver<Bytes>, out: mpsc::Sender<Bytes>) {
    let message = match ports.open(port).await {
        Ok(connection) => {
            let (mut reader, mut writer) = tokio::io::split(connection);
            let inward = async {
                while let Some(bytes) = incoming.recv().await {
                    if writer.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                // The pod may have closed the connection already.
                let _ = writer.shutdown().await;
                std::future::pending::<()>().await;
            };
            let outward = async {
                let mut buffer = vec![0; CHUNK_BYTES];
                while let Ok(len @ 1..) = reader.read(&mut buffer).await {
                    if out.send(frame::data(pair.data, false, &buffer[..len])).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = inward => {}
                () = outward => {}
            }
            String::new()
        }
        Err(message) => message,
    };
    // The client may be gone; then there is nobody to tell.
    let _ = out.send(frame::data(pair.error, true, message.as_bytes())).await;
    let _ = out.send(frame::data(pair.data, true, &[])).await;
}
