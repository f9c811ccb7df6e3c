//! Turning an HTTP connection into what a client asks for: SPDY/3.1 or WebSocket.
//!
//! The switch is answered at once, and the work begins when the connection has changed hands.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header},
    response::Response,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use super::Failure;

pub(super) const SPDY: &str = "SPDY/3.1";
/// Bytes of a WebSocket message, whole or in frames. kubectl and what builds on its library send 32 KiB at once.
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// Bytes read at once; a message that waits may keep as many.
const READ_BYTES: usize = 32 << 10;

/// A connection after its upgrade.
pub(super) type Stream = TokioIo<Upgraded>;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Spdy,
    WebSocket,
}

/// What the request's `Upgrade` names; the error is for the user.
pub(super) fn asked(headers: &HeaderMap) -> Result<Asked, Failure> {
    if has_token(headers, header::UPGRADE, SPDY) {
        Ok(Asked::Spdy)
    } else if has_token(headers, header::UPGRADE, "websocket") {
        Ok(Asked::WebSocket)
    } else {
        Err(Failure::bad_request(format!("this needs an upgrade to {SPDY} or websocket")))
    }
}

/// Whether the request asks for messages over WebSocket.
pub(super) fn asks_for_messages(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
}

/// The connection to come.
pub(super) fn take<B>(request: &mut Request<B>) -> Result<OnUpgrade, Failure> {
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    upgrade.ok_or_else(|| Failure::bad_request("this needs a connection that can be upgraded"))
}

/// The answer that switches to SPDY for `protocol`.
pub(super) fn to_spdy(protocol: &'static str) -> Response {
    let mut response = switching(SPDY);
    response.headers_mut().insert("x-stream-protocol-version", HeaderValue::from_static(protocol));
    response
}

/// The answer that switches to WebSocket for `protocol`.
pub(super) fn to_websocket(headers: &HeaderMap, protocol: &'static str) -> Result<Response, Failure> {
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Failure::bad_request("a websocket upgrade needs Sec-WebSocket-Key"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|error| Failure::internal(error.to_string()))?;
    let mut response = switching("websocket");
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    Ok(response)
}

fn switching(protocol: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
    response
}

/// The first of `known` that the header lists, in the order of `known`.
pub(super) fn choose(headers: &HeaderMap, name: &str, known: &[&'static str]) -> Option<&'static str> {
    let name = header::HeaderName::try_from(name).ok()?;
    known.iter().copied().find(|it| has_token(headers, name.clone(), it))
}

/// Whether a header lists `token`, in any case.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|it| it.to_str().ok());
    values.flat_map(|it| it.split(',')).any(|it| it.trim().eq_ignore_ascii_case(token))
}

/// The connection, once it has changed hands.
pub(super) async fn wait(upgrade: OnUpgrade) -> Option<Stream> {
    match upgrade.await {
        Ok(upgraded) => Some(TokioIo::new(upgraded)),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection was not upgraded");
            None
        }
    }
}

/// The connection as a WebSocket, once it has changed hands.
pub(super) async fn wait_websocket(upgrade: OnUpgrade) -> Option<WebSocketStream<Stream>> {
    let stream = wait(upgrade).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    Some(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await)
}
