//! Direct connections to a pod's address: an HTTP server in front of the handler that is published there.
//!
//! One listening socket stands for all addresses where the node may steer connections ([`Steer`]), so that an idle pod holds
//! neither descriptor nor task; elsewhere each address has one. The gateway does not come this way; it calls the handler in
//! process.

use std::{
    net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError, Endpoints, Handler, Unstalled};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::steer::Steer;

/// Direct connections open at once, over all pods: enough for tools and tests, too few to exhaust descriptors.
const CONNECTIONS_MAX: usize = 4096;
/// Requests under way at once over all of them; each may have some tens of KiB of its answer waiting for the client.
const REQUESTS_MAX: usize = 2 * CONNECTIONS_MAX;
/// Time for a client to send its request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest time that a client may read nothing of what is sent to it.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests at once on an HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Bytes of one HTTP/2 response that wait for the client; what is more stays with the pod.
const SEND_BUFFER_MAX: usize = 16 << 10;
/// How often an HTTP/2 client is asked whether it is still there, and how long it has to answer. One that reads nothing does not.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
const BACKLOG: i32 = 128;
/// The same where one socket stands for all pods: as much as kernels allow unless told otherwise.
const COMMON_BACKLOG: i32 = 4096;

/// Why nobody listens at a pod's address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The socket.
    #[error("binding the address")]
    Bind(#[source] std::io::Error),
    /// The limit on open files.
    #[error("the limit on open files leaves room for no more listening sockets")]
    TooMany,
}

/// Serves, at their addresses, the handlers that are published.
#[derive(Clone)]
pub(crate) struct Front {
    endpoints: Arc<Endpoints>,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    /// Listening sockets there may still be.
    sockets: Arc<Semaphore>,
    /// Made with the first address; `None` inside where it cannot be.
    common: Arc<OnceLock<Option<Arc<Common>>>>,
}

/// What has connections to an address arrive here. When it has been dropped, connections are refused; those that were accepted
/// go on.
pub(crate) enum Listener {
    /// A socket of its own.
    Own { socket: Arc<TcpListener>, task: tokio::task::AbortHandle, _permit: OwnedSemaphorePermit },
    /// A place at the common one.
    Common { common: Arc<Common>, address: SocketAddrV4 },
}

impl Drop for Listener {
    fn drop(&mut self) {
        match self {
            // The task lets the socket go some time after its end. A client that connects in between would be cut off, where
            // one that is refused goes to another pod.
            Listener::Own { socket, task, .. } => {
                if let Err(error) = SockRef::from(&**socket).shutdown(Shutdown::Both) {
                    tracing::debug!(error = &error as &dyn std::error::Error, "closing a pod's listening socket");
                }
                task.abort();
            }
            Listener::Common { common, address } => {
                if let Err(error) = common.steer.leave(*address) {
                    tracing::warn!(%address, error = &error as &dyn std::error::Error, "leaving a pod address");
                }
            }
        }
    }
}

/// The socket that stands for many addresses.
pub(crate) struct Common {
    steer: Steer,
    task: tokio::task::AbortHandle,
}

impl Drop for Common {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    pub(crate) fn new(endpoints: Arc<Endpoints>) -> Front {
        Front::with_sockets(endpoints, sockets_max(getrlimit(Resource::Nofile).current))
    }

    fn with_sockets(endpoints: Arc<Endpoints>, max: usize) -> Front {
        Front {
            endpoints,
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            sockets: Arc::new(Semaphore::new(max)),
            common: Arc::default(),
        }
    }

    /// Listens at `address`, reachable from this host only, and passes requests to whoever is published there.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, or so many are listened at that the rest of the node needs the open files left.
    pub(crate) fn listen(&self, address: SocketAddr) -> Result<Listener, ListenError> {
        if let Some(listener) = self.steer(address) {
            return Ok(listener);
        }
        let permit = self.sockets.clone().try_acquire_owned().map_err(|_| ListenError::TooMany)?;
        let socket = Arc::new(bind(address, !address.ip().is_loopback(), BACKLOG).map_err(ListenError::Bind)?);
        let task = self.accept_at(socket.clone());
        Ok(Listener::Own { socket, task, _permit: permit })
    }

    /// A place for `address` at the common socket, where there is one.
    fn steer(&self, address: SocketAddr) -> Option<Listener> {
        let SocketAddr::V4(address) = address else { return None };
        let common = self.common.get_or_init(|| match self.common_socket() {
            Ok(common) => Some(Arc::new(common)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::info!(
                    error,
                    "connections to pods cannot be steered; each port of a pod has a socket of its own"
                );
                None
            }
        });
        let common = common.clone()?;
        match common.steer.take(address) {
            Ok(()) => Some(Listener::Common { common, address }),
            Err(error) => {
                tracing::debug!(%address, error = &error as &dyn std::error::Error, "a pod address gets a socket of its own");
                None
            }
        }
    }

    fn common_socket(&self) -> std::io::Result<Common> {
        let socket = Arc::new(bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), true, COMMON_BACKLOG)?);
        let steer = Steer::towards(&socket)?;
        Ok(Common { steer, task: self.accept_at(socket) })
    }

    fn accept_at(&self, socket: Arc<TcpListener>) -> tokio::task::AbortHandle {
        let (endpoints, connections, requests) =
            (self.endpoints.clone(), self.connections.clone(), self.requests.clone());
        tokio::spawn(accept(socket, endpoints, connections, requests)).abort_handle()
    }
}

async fn accept(
    listener: Arc<TcpListener>,
    endpoints: Arc<Endpoints>,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Closing at once tells the client more than a queue that never moves.
                let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
                // So it does where the pod has gone since.
                let handler = stream.local_addr().ok().and_then(|it| endpoints.get(&it));
                let Some(handler) = handler else { continue };
                // The nodelay hint fails only on a connection that is already gone.
                let _ = stream.set_nodelay(true);
                let requests = requests.clone();
                tokio::spawn(async move {
                    serve_within(stream, handler, requests).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: the connection stays queued, and trying at once would spin.
                tracing::debug!(error = &error as &dyn std::error::Error, "accepting a pod connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves HTTP/1.1 and HTTP/2 on one byte stream until it ends.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, handler: Arc<dyn Handler>) {
    serve_within(stream, handler, Arc::new(Semaphore::new(STREAMS_MAX as usize))).await;
}

/// The same with a bound of requests that many streams share.
async fn serve_within(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: Arc<dyn Handler>,
    requests: Arc<Semaphore>,
) {
    let stream = TokioIo::new(Unstalled::new(stream, STALL_TIMEOUT));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BUFFER_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let service = hyper::service::service_fn(move |request| answer(handler.clone(), requests.clone(), request));
    if let Err(error) = builder.serve_connection(stream, service).await {
        tracing::trace!(error, "a pod connection broke");
    }
}

async fn answer(
    handler: Arc<dyn Handler>,
    requests: Arc<Semaphore>,
    request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    let Ok(place) = requests.try_acquire_owned() else {
        return Ok(text(StatusCode::SERVICE_UNAVAILABLE, "too many requests are under way at once"));
    };
    let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
    match handler.handle(request).await {
        // The body has the place until it ends.
        Ok(response) => Ok(response.map(|body| {
            let held = move |error| {
                let _place = &place;
                error
            };
            body.map_err(held).boxed_unsync()
        })),
        Err(error) => Ok(text(error.status(), &error.to_string())),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(eyot_dispatch::full(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Listening sockets that a limit on open files leaves room for: a quarter stays for connections, logs, programs and the store.
fn sockets_max(files_max: Option<u64>) -> usize {
    files_max
        .map_or(Semaphore::MAX_PERMITS, |it| usize::try_from(it / 4 * 3).unwrap_or(usize::MAX))
        .min(Semaphore::MAX_PERMITS)
}

fn bind(address: SocketAddr, only_lo: bool, backlog: i32) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if only_lo {
        // A packet that enters by another interface with a pod's address must find nobody.
        SockRef::from(&socket).bind_device(Some(b"lo"))?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use eyot_dispatch::CallError;
    use futures::future::BoxFuture;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Echo;

    impl Handler for Echo {
        fn handle(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
            Box::pin(async move {
                if request.uri().path() == "/oom" {
                    return Err(CallError::OutOfMemory);
                }
                Ok(Response::new(request.into_body()))
            })
        }
    }

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 41, 0, last], 18080))
    }

    /// Endpoints with an echo at these addresses.
    fn echoes(at: impl IntoIterator<Item = u8>) -> Arc<Endpoints> {
        let endpoints = Arc::new(Endpoints::new());
        at.into_iter().for_each(|last| endpoints.insert(address(last), Arc::new(Echo)));
        endpoints
    }

    /// A front without a common socket, as where the node has no right to steer.
    fn without_common(endpoints: Arc<Endpoints>, sockets_max: usize) -> Front {
        let front = Front::with_sockets(endpoints, sockets_max);
        assert!(front.common.set(None).is_ok());
        front
    }

    async fn answers_until_dropped(front: Front, address: SocketAddr) {
        let listener = front.listen(address).unwrap();
        let answer =
            exchange(address, "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hi"), "{answer}");
        let answer = exchange(address, "GET /oom HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.ends_with("guest out of memory\n"), "{answer}");
        drop(listener);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_pod_address_answers_until_its_listener_is_dropped() {
        let endpoints = echoes([9, 8]);
        answers_until_dropped(Front::new(endpoints.clone()), address(9)).await;
        answers_until_dropped(without_common(endpoints, 1), address(8)).await;
    }

    #[tokio::test]
    async fn one_socket_stands_for_all_addresses_and_for_no_other() {
        let front = Front::new(echoes(20..60));
        let sockets = front.sockets.available_permits();
        let listeners: Vec<Listener> = (20..60).map(|last| front.listen(address(last)).unwrap()).collect();
        if front.common.get().is_none_or(Option::is_none) {
            eprintln!("steering needs Linux 5.9, CAP_BPF and CAP_NET_ADMIN: each address has a socket here");
            assert_eq!(front.sockets.available_permits(), sockets - listeners.len());
            return;
        }
        assert_eq!(front.sockets.available_permits(), sockets);
        for last in [20, 59] {
            let answer = exchange(address(last), "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        }
        assert!(tokio::net::TcpStream::connect(address(60)).await.is_err(), "nobody asked for it");
        let other_port = SocketAddr::from(([127, 41, 0, 20], 18081));
        assert!(tokio::net::TcpStream::connect(other_port).await.is_err());
        drop(listeners);
        assert!(tokio::net::TcpStream::connect(address(20)).await.is_err());
    }

    #[tokio::test]
    async fn a_pod_that_went_while_a_client_connected_cuts_it_off() {
        let endpoints = echoes([61]);
        let _listener = Front::new(endpoints.clone()).listen(address(61)).unwrap();
        endpoints.remove(&address(61));
        let mut stream = tokio::net::TcpStream::connect(address(61)).await.unwrap();
        // An end or a reset, but no answer.
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn requests_under_way_are_bounded_over_all_connections() {
        let mut front = without_common(echoes([62]), 1);
        front.requests = Arc::new(Semaphore::new(1));
        let _listener = front.listen(address(62)).unwrap();
        let mut first = tokio::net::TcpStream::connect(address(62)).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nh";
        first.write_all(head.as_bytes()).await.unwrap();
        // Its answer has begun, and lasts as long as its body.
        first.read_exact(&mut [0; 12]).await.unwrap();
        let get = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let refused = exchange(address(62), get).await;
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        first.write_all(b"i").await.unwrap();
        first.read_to_end(&mut Vec::new()).await.unwrap();
        let answer = exchange(address(62), get).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn sockets_for_pods_leave_the_node_open_files() {
        assert_eq!((sockets_max(Some(1024)), sockets_max(None)), (768, Semaphore::MAX_PERMITS));
        let front = without_common(echoes([10, 11]), 1);
        let first = front.listen(address(10)).unwrap();
        assert!(matches!(front.listen(address(11)), Err(ListenError::TooMany)));
        drop(first);
        front.listen(address(11)).unwrap();
    }
}
