//! Accepts clients' connections and lets them end.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use eyot_dispatch::{Front, serving};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Gateway,
    connection::{Connection, Socket, TICK, Watchdog},
    proxy,
};

/// Bytes of a request head; longer ones are answered with 431. Eight times what browsers send.
const HEAD_MAX: usize = 64 * 1024;
/// Headers of one request; more are answered with 431.
const HEADERS_MAX: usize = 100;
/// Concurrent HTTP/2 requests on one connection.
const STREAMS_MAX: u32 = 250;
/// Bytes of one HTTP/2 response that wait for the client; what is more stays with the pod. A client that reads nothing holds so
/// many for each of its streams.
const SEND_BUFFER_MAX: usize = 16 * 1024;
/// Connections that wait for `accept`. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Pause after `accept` failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listening for HTTP on {address}")]
pub struct BindError {
    /// Address asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Opens `count` listeners on one address, among which the kernel spreads connections. Port 0 picks a free one.
///
/// They are for [`Gateway::serve`] and [`Gateway::serve_on_threads`]; the caller must be inside a tokio runtime.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError { address, source };
    let shared = count > 1;
    if shared && address.port() != 0 {
        // A shared port would be shared with another process too; only a plain bind finds out that it is taken.
        open(address, false).map_err(failed)?;
    }
    let first = open(address, shared).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(open(bound, shared).map_err(failed)?);
    }
    Ok(listeners)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

impl Gateway {
    /// Answers clients of `listener` until `stop`. Then no connection is accepted, requests in flight are answered
    /// with `Connection: close`, for at most [`crate::Config::drain_timeout`], and what is left is cut.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        self.serve_all(listener, None, stop).await;
    }

    /// Like [`Gateway::serve`], but clients reach functions by name only, and `front`, which stands before them.
    pub async fn serve_front(self: &Arc<Self>, listener: TcpListener, front: Arc<dyn Front>, stop: CancellationToken) {
        self.serve_all(listener, Some(front), stop).await;
    }

    async fn serve_all(
        self: &Arc<Self>,
        listener: TcpListener,
        front: Option<Arc<dyn Front>>,
        stop: CancellationToken,
    ) {
        let cut = CancellationToken::new();
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer, permit) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&listener, &self.slots) => accepted,
            };
            while connections.try_join_next().is_some() {}
            let connection = Connection::new(self.clone(), peer, cut.clone(), None, front.clone(), permit);
            connections.spawn(run(connection, stream, stop.child_token()));
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.config.drain_timeout, drained).await.is_err() {
            tracing::warn!(connections = connections.len(), "cutting connections that did not end in time");
        }
        connections.shutdown().await;
        cut.cancel();
    }

    /// Like [`Gateway::serve`] for several listeners, each on a thread and a runtime of its own: connections then
    /// never move between cores. The threads start at once, with the priority of the thread that calls.
    pub fn serve_on_threads(
        self: &Arc<Self>,
        listeners: Vec<TcpListener>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut ends = Vec::new();
        for (at, listener) in listeners.into_iter().enumerate() {
            let (end, ended) = tokio::sync::oneshot::channel();
            let (gateway, stop) = (self.clone(), stop.clone());
            let thread = std::thread::Builder::new().name(format!("gateway-{at}"));
            let spawned = listener.into_std().and_then(|listener| {
                thread.spawn(move || {
                    serving::set_thread(at);
                    let served = serve_here(&gateway, listener, stop);
                    let _ = end.send(served);
                })
            });
            match spawned {
                Ok(_) => ends.push(ended),
                Err(error) => tracing::error!(%error, "a gateway thread could not start"),
            }
        }
        async move {
            for end in ends {
                if let Ok(Err(error)) = end.await {
                    tracing::error!(%error, "a gateway thread ended");
                }
            }
        }
    }
}

fn serve_here(gateway: &Arc<Gateway>, listener: std::net::TcpListener, stop: CancellationToken) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        gateway.serve(listener, stop).await;
        Ok(())
    })
}

pub(crate) async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        match listener.accept().await {
            // It waits here for its place and not before: where nobody connects no place is taken.
            Ok((stream, peer)) => match slots.clone().acquire_owned().await {
                Ok(permit) => return (stream, peer, permit),
                // The semaphore is never closed.
                Err(_) => continue,
            },
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end.
pub(crate) async fn run(connection: Arc<Connection>, stream: TcpStream, stop: CancellationToken) {
    let gateway = connection.gateway.clone();
    gateway.counters.connections.fetch_add(1, Relaxed);
    gateway.counters.connections_open.fetch_add(1, Relaxed);
    // Without this a response written in two parts waits for the client's acknowledgement.
    let _ = SockRef::from(&stream).set_tcp_nodelay(true);
    let config = &gateway.config;
    let socket = Socket::new(stream, connection.clone(), config.stall_timeout);
    let service = service_fn(|request| proxy::handle(connection.clone(), request));
    let mut serving = pin!(gateway.http.serve_connection_with_upgrades(socket, service));
    let mut watchdog = Watchdog::new(Instant::now(), config);
    let mut tick = pin!(tokio::time::sleep(TICK));
    let mut stopped = pin!(stop.cancelled());
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut serving => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = ?connection.peer, "connection ended");
                }
                break;
            }
            () = &mut stopped, if !ending => {
                ending = true;
                serving.as_mut().graceful_shutdown();
            }
            () = &mut tick => {
                let now = Instant::now();
                tick.as_mut().reset(now + TICK);
                if watchdog.is_over(&connection.marks, now) {
                    // HTTP/2 clients are told before they are cut, at the next tick; HTTP/1.1 ones are idle and go now.
                    if ending {
                        break;
                    }
                    ending = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
    gateway.counters.connections_open.fetch_sub(1, Relaxed);
}

/// How connections speak HTTP: HTTP/1.1 or, where the client begins with its preface, HTTP/2.
pub(crate) fn protocol() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX).header_read_timeout(None);
    let header_list = u32::try_from(HEAD_MAX).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(header_list)
        .max_send_buf_size(SEND_BUFFER_MAX);
    builder
}
