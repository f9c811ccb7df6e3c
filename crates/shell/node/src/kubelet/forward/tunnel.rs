//! Bytes tunnelled through binary WebSocket messages.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message},
};

/// Bytes under way in each direction.
const PIPE_BYTES: usize = 64 << 10;

/// The byte stream inside `socket`, and the work that carries it, which ends with the socket or with the stream.
pub(super) fn open<S>(socket: WebSocketStream<S>) -> (DuplexStream, impl Future<Output = Result<(), Error>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (outside, inside) = tokio::io::duplex(PIPE_BYTES);
    (outside, carry(socket, inside))
}

async fn carry<S>(socket: WebSocketStream<S>, inside: DuplexStream) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(inside);
    let inward = async {
        while let Some(message) = stream.next().await {
            match message? {
                Message::Binary(bytes) => {
                    if writer.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                Message::Close(_) => break,
                // Pongs are sent by the library with the next message out.
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        // The session may have closed its end already.
        let _ = writer.shutdown().await;
        Ok::<(), Error>(())
    };
    let outward = async {
        let mut buffer = vec![0; 32 << 10];
        loop {
            let len = reader.read(&mut buffer).await.map_err(Error::Io)?;
            if len == 0 {
                return sink.close().await;
            }
            sink.send(Message::Binary(Bytes::copy_from_slice(&buffer[..len]))).await?;
        }
    };
    tokio::pin!(inward, outward);
    tokio::select! {
        result = &mut outward => result,
        result = &mut inward => match result {
            // What the session still has to say goes out before the end.
            Ok(()) => outward.await,
            Err(error) => Err(error),
        },
    }
}
