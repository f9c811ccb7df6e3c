//! Carries bytes between a connection and one stream of a client.

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::Connection;

const CHUNK_BYTES: usize = 16 << 10;

/// Writes what comes in to `connection` and sends what it says out as `frame` makes it, until the connection ends or the
/// client is gone. The end of what comes in closes that direction only.
pub(super) async fn copy(
    connection: Box<dyn Connection>,
    mut incoming: mpsc::Receiver<Bytes>,
    out: &mpsc::Sender<Bytes>,
    frame: impl Fn(&[u8]) -> Bytes,
) {
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
            if out.send(frame(&buffer[..len])).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
}
