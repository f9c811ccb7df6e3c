//! `kubectl port-forward`: carries byte streams to a pod's ports.
//!
//! Start at [`serve`]. Three dialects come in: SPDY/3.1 by HTTP upgrade, the same tunnelled through WebSocket messages
//! (kubectl from 1.31 on), and WebSocket channels (kube-rs, and other clients). A port of a guest that answers in process
//! is served in process; any other is dialled at the pod's address.

mod channels;
mod copy;
mod streams;
mod tunnel;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Query, Request, State},
    http::HeaderMap,
    response::Response,
};
use hyper::upgrade::OnUpgrade;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

use self::streams::Pairs;
use super::{
    Context, Failure,
    spdy::connection::{self, ConnectionError, Ends},
    upgrade::{self, Asked},
};
use crate::{network, pod::Shared};

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
/// Time for a pod's port to accept a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes under way inside a connection that is served in process.
const PIPE_BYTES: usize = 64 << 10;

/// A connection to a pod's port.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Reaches the ports of one pod.
#[derive(Clone)]
pub(super) struct Ports {
    shared: Arc<Shared>,
    ip: std::net::Ipv4Addr,
}

impl Ports {
    /// Those of a pod that runs.
    pub(super) fn of(context: &Context, namespace: &str, pod: &str) -> Result<Ports, Failure> {
        let owner = context
            .pods
            .get(namespace, pod)
            .ok_or_else(|| Failure::not_found(format!("pod \"{pod}\" is not known to this node")))?;
        let view = owner.view();
        let ip = view.ip.filter(|_| !view.finished);
        let ip = ip.ok_or_else(|| Failure::bad_request(format!("pod \"{pod}\" is not running")))?;
        Ok(Ports { shared: context.shared.clone(), ip })
    }

    /// Where a port is.
    pub(super) fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.ip, port))
    }

    /// Connects to `port`. The error is for the user of kubectl.
    pub(super) async fn open(&self, port: u16) -> Result<Box<dyn Connection>, String> {
        let address = self.address(port);
        if let Some(handler) = self.shared.endpoints.get(&address) {
            let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(PIPE_BYTES);
            tokio::spawn(network::serve(theirs, handler));
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
    let session = context.session()?;
    let ports = Ports::of(&context, &namespace, &pod)?;
    let upgrade = upgrade::take(&mut request)?;
    let headers = request.headers();
    match upgrade::asked(headers)? {
        Asked::Spdy => {
            tokio::spawn(held(session, spdy_session(upgrade, ports)));
            Ok(upgrade::to_spdy(PROTOCOL))
        }
        Asked::WebSocket => websocket(headers, upgrade, ports, &query, session),
    }
}

fn websocket(
    headers: &HeaderMap,
    upgrade: OnUpgrade,
    ports: Ports,
    query: &[(String, String)],
    session: OwnedSemaphorePermit,
) -> Result<Response, Failure> {
    match upgrade::choose(headers, "sec-websocket-protocol", &[TUNNEL, CHANNELS]) {
        Some(TUNNEL) => {
            let response = upgrade::to_websocket(headers, TUNNEL)?;
            tokio::spawn(held(session, tunnel_session(upgrade, ports)));
            Ok(response)
        }
        Some(_) => {
            let wanted = channels::wanted(query).map_err(Failure::bad_request)?;
            let response = upgrade::to_websocket(headers, CHANNELS)?;
            tokio::spawn(held(session, channel_session(upgrade, ports, wanted)));
            Ok(response)
        }
        None => Err(Failure::bad_request(format!("the websocket must speak {TUNNEL} or {CHANNELS}"))),
    }
}

/// Serves a client in its place.
async fn held(session: OwnedSemaphorePermit, serving: impl Future<Output = ()>) {
    serving.await;
    drop(session);
}

async fn spdy_session(upgrade: OnUpgrade, ports: Ports) {
    if let Some(stream) = upgrade::wait(upgrade).await {
        ended(connection::run(stream, Pairs::new(ports), Ends::WithClient).await);
    }
}

async fn tunnel_session(upgrade: OnUpgrade, ports: Ports) {
    let Some(socket) = upgrade::wait_websocket(upgrade).await else { return };
    let (bytes, carrier) = tunnel::open(socket);
    let session = connection::run(bytes, Pairs::new(ports), Ends::WithClient);
    // The carrier ends after the session has closed its end, and so sends what is left.
    let (session, carrier) = tokio::join!(session, carrier);
    ended(session);
    if let Err(error) = carrier {
        tracing::debug!(error = &error as &dyn std::error::Error, "a websocket tunnel broke");
    }
}

async fn channel_session(upgrade: OnUpgrade, ports: Ports, wanted: Vec<u16>) {
    let Some(socket) = upgrade::wait_websocket(upgrade).await else { return };
    if let Err(error) = channels::run(socket, ports, wanted).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a websocket port forwarding broke");
    }
}

fn ended(outcome: Result<(), ConnectionError>) {
    if let Err(error) = outcome {
        tracing::debug!(error = &error as &dyn std::error::Error, "a SPDY session broke");
    }
}
