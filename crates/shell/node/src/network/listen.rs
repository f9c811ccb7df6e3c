//! Direct connections to a pod's address: a listening socket and an HTTP server in front of a handler.
//!
//! The gateway does not come this way; it calls the handler in process.

use std::{
    net::{Shutdown, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError, Handler};
use http::{HeaderValue, Request, Response};
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

/// Direct connections open at once, over all pods: enough for tools and tests, too few to exhaust descriptors.
const CONNECTIONS_MAX: usize = 4096;
/// Time for a client to send its request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 64 << 10;
const BACKLOG: i32 = 128;

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

/// Serves handlers over byte streams.
#[derive(Clone)]
pub(crate) struct Front {
    connections: Arc<Semaphore>,
    /// Listening sockets there may still be.
    sockets: Arc<Semaphore>,
}

/// A listening socket. When it has been dropped, connections are refused; those it accepted go on.
pub(crate) struct Listener {
    socket: Arc<TcpListener>,
    task: tokio::task::AbortHandle,
    _socket: OwnedSemaphorePermit,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The task lets the socket go some time after its end. A client that connects in between would be cut off, where
        // one that is refused goes to another pod.
        if let Err(error) = SockRef::from(&*self.socket).shutdown(Shutdown::Both) {
            tracing::debug!(error = &error as &dyn std::error::Error, "closing a pod's listening socket");
        }
        self.task.abort();
    }
}

impl Front {
    pub(crate) fn new() -> Front {
        Front::with_sockets(sockets_max(getrlimit(Resource::Nofile).current))
    }

    fn with_sockets(max: usize) -> Front {
        Front { connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)), sockets: Arc::new(Semaphore::new(max)) }
    }

    /// Listens at `address`, reachable from this host only, and passes requests to `handler`.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, or so many are listened at that the rest of the node needs the open files left.
    pub(crate) fn listen(&self, address: SocketAddr, handler: Arc<dyn Handler>) -> Result<Listener, ListenError> {
        let permit = self.sockets.clone().try_acquire_owned().map_err(|_| ListenError::TooMany)?;
        let socket = Arc::new(bind(address).map_err(ListenError::Bind)?);
        let task = tokio::spawn(self.clone().accept(socket.clone(), handler));
        Ok(Listener { socket, task: task.abort_handle(), _socket: permit })
    }

    async fn accept(self, listener: Arc<TcpListener>, handler: Arc<dyn Handler>) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Closing at once tells the client more than a queue that never moves.
                    let Ok(permit) = self.connections.clone().try_acquire_owned() else { continue };
                    // The nodelay hint fails only on a connection that is already gone.
                    let _ = stream.set_nodelay(true);
                    let handler = handler.clone();
                    tokio::spawn(async move {
                        serve(TokioIo::new(stream), handler).await;
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
}

/// Serves HTTP/1.1 and HTTP/2 on one byte stream until it ends.
pub(crate) async fn serve(
    stream: TokioIo<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    handler: Arc<dyn Handler>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES_MAX as u32).max_concurrent_streams(128);
    let service = hyper::service::service_fn(move |request| answer(handler.clone(), request));
    if let Err(error) = builder.serve_connection(stream, service).await {
        tracing::trace!(error, "a pod connection broke");
    }
}

async fn answer(handler: Arc<dyn Handler>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
    match handler.handle(request).await {
        Ok(response) => Ok(response),
        Err(error) => {
            let mut response = Response::new(eyot_dispatch::full(Bytes::from(format!("{error}\n"))));
            *response.status_mut() = error.status();
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            Ok(response)
        }
    }
}

/// Listening sockets that a limit on open files leaves room for: a quarter stays for connections, logs, programs and the store.
fn sockets_max(files_max: Option<u64>) -> usize {
    files_max
        .map_or(Semaphore::MAX_PERMITS, |it| usize::try_from(it / 4 * 3).unwrap_or(usize::MAX))
        .min(Semaphore::MAX_PERMITS)
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if !address.ip().is_loopback() {
        // A packet that enters by another interface with a pod's address must find nobody.
        SockRef::from(&socket).bind_device(Some(b"lo"))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
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

    #[tokio::test]
    async fn a_pod_address_answers_until_its_listener_is_dropped() {
        let address: SocketAddr = "127.41.0.9:18080".parse().unwrap();
        let listener = Front::new().listen(address, Arc::new(Echo)).unwrap();
        let answer =
            exchange(address, "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hi"), "{answer}");
        let answer = exchange(address, "GET /oom HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.ends_with("guest out of memory\n"), "{answer}");
        drop(listener);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn sockets_for_pods_leave_the_node_open_files() {
        assert_eq!((sockets_max(Some(1024)), sockets_max(None)), (768, Semaphore::MAX_PERMITS));
        let front = Front::with_sockets(1);
        let address = |last| SocketAddr::from(([127, 41, 0, last], 18080));
        let first = front.listen(address(10), Arc::new(Echo)).unwrap();
        assert!(matches!(front.listen(address(11), Arc::new(Echo)), Err(ListenError::TooMany)));
        drop(first);
        front.listen(address(11), Arc::new(Echo)).unwrap();
    }
}
