//! `kubectl port-forward`: carries byte streams to a pod's ports.
//!
//! Start at [`serve`]. Three dialects come in: SPDY/3.1 by HTTP upgrade, the same tunnelled through WebSocket messages
//! (kubectl from 1.31 on), and WebSocket channels (kube-rs, and other clients). A port of a guest that answers in process
//! is served in process; any other is dialled at the pod's address.

mod channels;
mod spdy;
mod tunnel;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::{Context, Failure};
use crate::{network, pod::Shared};

const SPDY: &str = "SPDY/3.1";
const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
/// Time for a pod's port to accept a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes under way inside a connection that is served in process.
const PIPE_BYTES: usize = 64 << 10;

/// A connection to a pod's port.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Reaches the ports of one pod.
#[derive(Clone)]
struct Ports {
    shared: Arc<Shared>,
    ip: std::net::Ipv4Addr,
}

impl Ports {
    /// Connects to `port`. The error is for the user of kubectl.
    async fn open(&self, port: u16) -> Result<Box<dyn Connection>, String> {
        let address = SocketAddr::from((self.ip, port));
        if let Some(handler) = self.shared.endpoints.get(&address) {
            let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(PIPE_BYTES);
            tokio::spawn(network::serve(TokioIo::new(theirs), handler));
            return Ok(Box::new(ours));
        }
        match tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(format!("failed to connect to {address} inside the pod: {error}")),
            Err(_) => Err(format!("failed to connect to {address} inside the pod: no answer")),
        }
    }
}

/// Answers one request for port forwarding: upgrades the connection and serves it.
pub(super) async fn serve(
    State(context): State<Context>,
    Path((namespace, pod)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    mut request: Request,
) -> Result<Response, Failure> {
    let owner = context
        .pods
        .get(&namespace, &pod)
        .ok_or_else(|| Failure::not_found(format!("pod \"{pod}\" is not known to this node")))?;
    let view = owner.view();
    let ip = view.ip.filter(|_| !view.finished);
    let ip = ip.ok_or_else(|| Failure::bad_request(format!("pod \"{pod}\" is not running")))?;
    let ports = Ports { shared: context.shared.clone(), ip };
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Failure::bad_request("port forwarding needs a connection that can be upgraded"))?;
    let headers = request.headers();
    if has_token(headers, header::UPGRADE, SPDY) {
        tokio::spawn(spdy_session(upgrade, ports));
        let mut response = switching(SPDY);
        response.headers_mut().insert("x-stream-protocol-version", HeaderValue::from_static(PROTOCOL));
        return Ok(response);
    }
    if has_token(headers, header::UPGRADE, "websocket") {
        return websocket(headers, upgrade, ports, &query);
    }
    Err(Failure::bad_request(format!("port forwarding needs an upgrade to {SPDY} or websocket")))
}

fn websocket(
    headers: &HeaderMap,
    upgrade: OnUpgrade,
    ports: Ports,
    query: &[(String, String)],
) -> Result<Response, Failure> {
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Failure::bad_request("a websocket upgrade needs Sec-WebSocket-Key"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|error| Failure::internal(error.to_string()))?;
    let chosen = if has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, TUNNEL) {
        tokio::spawn(tunnel_session(upgrade, ports));
        TUNNEL
    } else if has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, CHANNELS) {
        let wanted = channels::wanted(query).map_err(Failure::bad_request)?;
        tokio::spawn(channel_session(upgrade, ports, wanted));
        CHANNELS
    } else {
        return Err(Failure::bad_request(format!("the websocket must speak {TUNNEL} or {CHANNELS}")));
    };
    let mut response = switching("websocket");
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
    Ok(response)
}

fn switching(protocol: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
    response.into_response()
}

/// Whether a header lists `token`, in any case.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|it| it.to_str().ok());
    values.flat_map(|it| it.split(',')).any(|it| it.trim().eq_ignore_ascii_case(token))
}

async fn upgraded(upgrade: OnUpgrade) -> Option<TokioIo<hyper::upgrade::Upgraded>> {
    match upgrade.await {
        Ok(upgraded) => Some(TokioIo::new(upgraded)),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a port forwarding connection was not upgraded");
            None
        }
    }
}

async fn spdy_session(upgrade: OnUpgrade, ports: Ports) {
    if let Some(stream) = upgraded(upgrade).await {
        ended(spdy::session::run(stream, ports).await);
    }
}

async fn tunnel_session(upgrade: OnUpgrade, ports: Ports) {
    let Some(stream) = upgraded(upgrade).await else { return };
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let (bytes, carrier) = tunnel::open(socket);
    let session = spdy::session::run(bytes, ports);
    // The carrier ends after the session has closed its end, and so sends what is left.
    let (session, carrier) = tokio::join!(session, carrier);
    ended(session);
    if let Err(error) = carrier {
        tracing::debug!(error = &error as &dyn std::error::Error, "a websocket tunnel broke");
    }
}

async fn channel_session(upgrade: OnUpgrade, ports: Ports, wanted: Vec<u16>) {
    let Some(stream) = upgraded(upgrade).await else { return };
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    if let Err(error) = channels::run(socket, ports, wanted).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a websocket port forwarding broke");
    }
}

fn ended(outcome: Result<(), spdy::session::SessionError>) {
    if let Err(error) = outcome {
        tracing::debug!(error = &error as &dyn std::error::Error, "a SPDY session broke");
    }
}
