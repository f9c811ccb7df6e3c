//! Upgraded streams, such as WebSocket, between a client and a pod that listens on a socket.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use eyot_dispatch::{Body, CallError};
use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, UPGRADE},
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    dial::{CONNECT_TIMEOUT, HEADERS_MAX},
    forward::Sent,
    services::Busy,
};

/// Longest silence of an upgraded stream, or of a connection to a port of the node, in both directions together.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(600);

/// A client's wish to change the protocol.
pub(crate) struct Upgrade {
    pub(crate) protocol: HeaderValue,
    /// The client's side, once a 101 has been sent.
    pub(crate) client: OnUpgrade,
    /// Ends the stream.
    pub(crate) cut: CancellationToken,
}

/// Asks an endpoint to upgrade. If it agrees, its stream is joined with the client's.
///
/// The connection is its own: nothing of the request was sent while it cannot be opened.
pub(crate) async fn send(busy: Busy, request: Request<Body>, upgrade: &mut Upgrade) -> Result<Sent, CallError> {
    let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(busy.address())).await;
    let stream = connect.map_err(|_| CallError::Connect("timed out".into()))?;
    let stream = stream.map_err(|error| CallError::Connect(error.to_string()))?;
    let _ = stream.set_nodelay(true);
    let broken = |error: hyper::Error| CallError::Broken(error.to_string());
    let mut builder = hyper::client::conn::http1::Builder::new();
    let handshake = builder.max_headers(HEADERS_MAX).handshake::<_, Body>(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    // Ends with the exchange: when either side closes, or `sender` and the response are gone.
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(upgrading(request, &upgrade.protocol)?).await.map_err(broken)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Sent { response: boxed(response), busy: Some(busy) });
    }
    let server = hyper::upgrade::on(&mut response);
    tokio::spawn(join(upgrade.client.clone(), server, busy, upgrade.cut.clone()));
    let mut response = boxed(response);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(Sent { response, busy: None })
}

fn upgrading(mut request: Request<Body>, protocol: &HeaderValue) -> Result<Request<Body>, CallError> {
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let uri: Uri = path.parse().map_err(|error| CallError::Broken(format!("path {path}: {error}")))?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(UPGRADE, protocol.clone());
    Ok(request)
}

fn boxed(response: Response<Incoming>) -> Response<Body> {
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// Copies both ways until a side ends, nothing moves for too long, or `cut`.
async fn join(client: OnUpgrade, server: OnUpgrade, _busy: Busy, cut: CancellationToken) {
    let both = async { tokio::try_join!(client, server) };
    let Some(Ok((client, server))) = cut.run_until_cancelled(both).await else { return };
    let _ = cut.run_until_cancelled(copy(TokioIo::new(client), TokioIo::new(server), SILENCE_MAX)).await;
}

/// Copies both ways until a side ends, or nothing moves for `longest` (up to twice as long).
pub(crate) async fn copy<A, B>(client: A, server: B, longest: Duration) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let active = AtomicBool::new(false);
    let (mut client, mut server) = (Noted { io: client, active: &active }, Noted { io: server, active: &active });
    tokio::select! {
        copied = tokio::io::copy_bidirectional(&mut client, &mut server) => copied.map(drop),
        () = silence(&active, longest) => Ok(()),
    }
}

/// Ends after `longest` (up to twice as long) without activity.
async fn silence(active: &AtomicBool, longest: Duration) {
    loop {
        tokio::time::sleep(longest).await;
        if !active.swap(false, Relaxed) {
            return;
        }
    }
}

/// Notes every read of a stream.
struct Noted<'a, T> {
    io: T,
    active: &'a AtomicBool,
}

impl<T: AsyncRead + Unpin> AsyncRead for Noted<'_, T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if polled.is_ready() {
            self.active.store(true, Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_after_silence_and_not_before() {
        let longest = Duration::from_millis(300);
        let ((mut client, inner), (outer, mut server)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let copying = tokio::spawn(copy(inner, outer, longest));
        for _ in 0..20 {
            tokio::time::sleep(longest / 10).await;
            client.write_all(b"x").await.unwrap();
            server.read_exact(&mut [0]).await.unwrap();
        }
        assert!(!copying.is_finished());
        tokio::time::timeout(longest * 20, copying).await.expect("silence ends it").unwrap().unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}
