//! Upgraded streams, such as WebSocket, between a client and a pod that listens on a socket.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
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

/// Longest silence of an upgraded stream, in both directions together.
const SILENCE_MAX: Duration = Duration::from_secs(600);

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
    let active = Arc::new(AtomicBool::new(false));
    let mut client = Noted { io: TokioIo::new(client), active: active.clone() };
    let mut server = Noted { io: TokioIo::new(server), active: active.clone() };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        () = silence(&active, SILENCE_MAX) => {}
        () = cut.cancelled() => {}
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
struct Noted<T> {
    io: T,
    active: Arc<AtomicBool>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Noted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if polled.is_ready() {
            self.active.store(true, Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<T> {
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
