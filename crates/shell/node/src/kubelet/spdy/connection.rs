//! One SPDY connection: reads frames, and leaves what the client's streams mean to an [`Acceptor`].
//!
//! Start at [`run`].

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
use crate::kubelet::queued::Room;

/// Streams open at once on a connection, two for each that is carried to a port: a browser opens tens.
const STREAMS_MAX: usize = 256;
/// Frames on their way to the client, over all streams.
const OUT_MAX: usize = 16;
/// Frames on their way to the reader of one stream. Who does not read holds up the connection, as flow control would.
const IN_MAX: usize = 16;
const CHUNK_BYTES: usize = 16 << 10;
const REFUSED: u32 = 3;

/// Why a connection broke.
#[derive(Debug, thiserror::Error)]
pub(in crate::kubelet) enum ConnectionError {
    #[error("reading from the client")]
    Read(#[source] std::io::Error),
    #[error("parsing a frame")]
    Frame(#[source] FrameError),
    #[error("reading a stream's headers")]
    Headers(#[source] HeaderError),
}

/// Decides what becomes of the streams that a client opens.
pub(in crate::kubelet) trait Acceptor {
    /// A stream is asked for. False refuses it.
    fn open(&mut self, stream: u32, headers: &[(String, String)], io: &mut Io) -> bool;
}

/// What an [`Acceptor`] works with.
pub(in crate::kubelet) struct Io {
    /// Frames for the client. The connection ends when this and all its clones are gone.
    pub(in crate::kubelet) out: mpsc::Sender<Bytes>,
    /// Where data of a stream goes.
    inputs: HashMap<u32, mpsc::Sender<Bytes>>,
    /// Streams that were accepted and have not ended.
    open: usize,
    /// For data that waits, of all streams.
    room: Room,
    tasks: JoinSet<()>,
}

impl Io {
    /// The data of a stream from now on. Ends with the stream.
    pub(in crate::kubelet) fn input(&mut self, stream: u32) -> mpsc::Receiver<Bytes> {
        let (input, incoming) = mpsc::channel(IN_MAX);
        self.inputs.insert(stream, input);
        incoming
    }

    /// Runs `work` until it ends or the connection does.
    pub(in crate::kubelet) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }
}

/// The value of a header, whatever the case of its name.
pub(in crate::kubelet) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Serves the connection until the client ends it, or until nobody can write to it any more.
pub(in crate::kubelet) async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    acceptor: impl Acceptor,
    ends: Ends,
) -> Result<(), ConnectionError> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (out, mut outgoing) = mpsc::channel::<Bytes>(OUT_MAX);
    let io = Io { out, inputs: HashMap::new(), open: 0, room: Room::new(), tasks: JoinSet::new() };
    let connection = Connection { acceptor, io, headers: Reader::new(), replies: Writer::new(), ends };
    let write = async {
        while let Some(bytes) = outgoing.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The client may be gone.
        let _ = writer.shutdown().await;
    };
    let (result, ()) = tokio::join!(connection.read(&mut reader), write);
    result
}

/// Who ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kubelet) enum Ends {
    /// The client.
    WithClient,
    /// The client, or the last task of the acceptor.
    WithWork,
}

struct Connection<A> {
    acceptor: A,
    io: Io,
    headers: Reader,
    replies: Writer,
    ends: Ends,
}

impl<A: Acceptor> Connection<A> {
    /// Reads frames until the connection is to end. Everything it started ends with it.
    async fn read(mut self, reader: &mut (impl AsyncRead + Unpin)) -> Result<(), ConnectionError> {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        loop {
            while let Some(frame) = frame::take(&mut buffer).map_err(ConnectionError::Frame)? {
                if !self.take(frame).await? {
                    return Ok(());
                }
            }
            tokio::select! {
                read = reader.read_buf(&mut buffer) => {
                    if read.map_err(ConnectionError::Read)? == 0 {
                        return Ok(());
                    }
                }
                // Finished tasks are collected here, so that a long connection does not keep them.
                Some(_) = self.io.tasks.join_next() => {
                    if self.ends == Ends::WithWork && self.io.tasks.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// False when the writing end is gone.
    async fn take(&mut self, frame: Frame) -> Result<bool, ConnectionError> {
        match frame {
            Frame::Open { stream, fin, block } => {
                let headers = self.headers.read(&block).map_err(ConnectionError::Headers)?;
                let goes_on = self.open(stream, &headers).await?;
                if fin {
                    self.ended(stream);
                }
                return Ok(goes_on);
            }
            Frame::Headers { block } => drop(self.headers.read(&block).map_err(ConnectionError::Headers)?),
            Frame::Data { stream, fin, bytes } => {
                if let Some(input) = self.io.inputs.get(&stream)
                    && !bytes.is_empty()
                {
                    // Who has stopped reading takes no more.
                    let _ = input.send(self.io.room.take(&bytes).await).await;
                }
                if fin {
                    self.ended(stream);
                }
            }
            Frame::Reset { stream } => self.ended(stream),
            Frame::Ping { id } => return Ok(self.io.out.send(frame::pong(id)).await.is_ok()),
            Frame::GoAway | Frame::Other => {}
        }
        Ok(true)
    }

    fn ended(&mut self, stream: u32) {
        self.io.inputs.remove(&stream);
        self.io.open = self.io.open.saturating_sub(1);
    }

    async fn open(&mut self, stream: u32, headers: &[(String, String)]) -> Result<bool, ConnectionError> {
        if self.io.open.max(self.io.tasks.len()) >= STREAMS_MAX {
            return Ok(self.io.out.send(frame::reset(stream, REFUSED)).await.is_ok());
        }
        // The reply goes first: whatever the acceptor starts may write to the stream at once.
        let reply = self.replies.write(&[]).map_err(ConnectionError::Headers)?;
        if self.io.out.send(frame::reply(stream, &reply)).await.is_err() {
            return Ok(false);
        }
        if !self.acceptor.open(stream, headers, &mut self.io) {
            return Ok(self.io.out.send(frame::reset(stream, REFUSED)).await.is_ok());
        }
        self.io.open += 1;
        Ok(true)
    }
}
