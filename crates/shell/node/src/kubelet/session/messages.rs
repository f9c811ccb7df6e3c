//! A session over WebSocket messages: the first byte of each is a channel.

use bytes::{BufMut, Bytes, BytesMut};
use eyot_runtime::LogStream;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{Client, OUT_MAX, Wanted, Work};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// The client closes the channel that the next byte names.
const CLOSE: u8 = 255;
/// Messages of a client that wait for a guest. One that does not read holds its client up.
const IN_MAX: usize = 4;

/// Serves a client until the work is done or the client leaves. A `plain` client hears of its end only when that was a failure,
/// and in words.
pub(super) async fn run<S>(socket: WebSocketStream<S>, wanted: Wanted, work: Work, plain: bool) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let (out, mut outgoing) = mpsc::channel::<(LogStream, Bytes)>(OUT_MAX);
    let (mut input, stdin) = wanted.stdin.then(|| mpsc::channel(IN_MAX)).unzip();
    let inward = async {
        while let Some(message) = stream.next().await {
            match message? {
                Message::Binary(bytes) => match bytes.first() {
                    Some(&STDIN) if bytes.len() > 1 => {
                        if let Some(input) = &input {
                            // A guest that has stopped reading takes no more.
                            let _ = input.send(bytes.slice(1..)).await;
                        }
                    }
                    Some(&CLOSE) if bytes.get(1) == Some(&STDIN) => input = None,
                    _ => {}
                },
                Message::Close(_) => break,
                // Pongs are sent by the library with the next message out, or the next read.
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Ok::<(), Error>(())
    };
    let outward = async {
        // Tells the client that it is connected.
        let first = if wanted.stdout { STDOUT } else { ERROR };
        sink.send(Message::Binary(framed(first, &[]))).await?;
        let print = async {
            while let Some((stream, bytes)) = outgoing.recv().await {
                if wanted.takes(stream) {
                    sink.send(Message::Binary(framed(channel(stream), &bytes))).await?;
                }
            }
            Ok::<(), Error>(())
        };
        let work = async { Ok::<Value, Error>(work(Client { stdin, out }).await) };
        let (status, ()) = tokio::try_join!(work, print)?;
        if !plain {
            sink.send(Message::Binary(framed(ERROR, status.to_string().as_bytes()))).await?;
        } else if status["status"] != "Success" {
            let message = status["message"].as_str().unwrap_or_default();
            sink.send(Message::Binary(framed(ERROR, message.as_bytes()))).await?;
        }
        // kubectl takes any other end for a failure.
        let end = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        sink.send(Message::Close(Some(end))).await?;
        sink.close().await
    };
    tokio::select! {
        result = inward => result,
        result = outward => result,
    }
}

fn channel(stream: LogStream) -> u8 {
    match stream {
        LogStream::Stdout => STDOUT,
        LogStream::Stderr => STDERR,
    }
}

fn framed(channel: u8, bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 1);
    out.put_u8(channel);
    out.put_slice(bytes);
    out.freeze()
}
