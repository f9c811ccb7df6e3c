//! Serves the API over TLS: HTTP/1.1 and HTTP/2, identity from the client's certificate.
//!
//! Entry point: [`ApiServer::serve`]. Every wait on a peer has a limit: handshake, request head, idle HTTP/2
//! connections, and the number of connections.

use std::{io, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{ApiServer, Body, Identity, definitions, pki::Tls, shape::Far, sweep};

/// Most connections at once: each may hold a few tens of KiB, and the process's file limit is often 4,096.
const CONNECTIONS_MAX: usize = 2048;
/// A peer that has not finished its handshake by then is cut.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// A peer that has not sent its request's head by then is cut.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long open requests may go on after the stop signal; watches end at once.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Largest set of request headers in bytes.
const HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of one HTTP/2 response that wait for the client, beside what the store's answer holds itself.
const SEND_BUFFER_MAX: usize = 16 * 1024;

/// Serving cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listening socket failed.
    #[error("accepting API connections: {0}")]
    Accept(io::Error),
}

/// Tells a request's handler when its connection should wind down; watches then end.
#[derive(Clone)]
pub(crate) struct Closing(pub(crate) CancellationToken);

impl ApiServer {
    /// What the server does beside answering: it removes old events, and the objects of definitions that are deleted.
    /// Never returns; dropping it is free. [`ApiServer::serve`] does it.
    pub async fn chores(self) {
        tokio::join!(sweep::run(self.clone()), definitions::clean_up(self));
    }

    /// Accepts connections until `stop`, then lets open requests finish for a few seconds. Meanwhile it also removes
    /// old events. Dropping the future cuts everything at once.
    pub async fn serve(&self, listener: TcpListener, tls: Tls, stop: CancellationToken) -> Result<(), ServeError> {
        let acceptor = TlsAcceptor::from(tls.0);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let graceful = GracefulShutdown::new();
        let builder = Arc::new(connection_builder());
        let mut tasks = JoinSet::new();
        let chores = tasks.spawn(self.clone().chores());
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
                Some(_) = tasks.join_next() => continue,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "accepting an API connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(error) => return Err(ServeError::Accept(error)),
            };
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                tracing::warn!("too many API connections, refusing one");
                continue;
            };
            let (server, acceptor, builder) = (self.clone(), acceptor.clone(), builder.clone());
            let (watcher, closing) = (graceful.watcher(), Closing(stop.clone()));
            let far = stream.local_addr().is_ok_and(|it| it.ip() != peer.ip()) && !peer.ip().is_loopback();
            let origin = Origin { closing, far: far.then_some(Far) };
            tasks.spawn(async move {
                connection(server, stream, acceptor, &builder, watcher, origin).await;
                drop(slot);
            });
        }
        chores.abort();
        if tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.is_err() {
            tracing::warn!("API requests still open after {DRAIN_MAX:?} are cut");
        }
        Ok(())
    }
}

fn connection_builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_headers(100);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_concurrent_streams(250)
        .max_send_buf_size(SEND_BUFFER_MAX)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Errors of one connection attempt or of a passing shortage, not of the listener.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
        || error.raw_os_error().is_some_and(|it| TOO_MANY_FILES.contains(&it))
}

async fn connection(
    server: ApiServer,
    stream: TcpStream,
    acceptor: TlsAcceptor,
    builder: &Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
    origin: Origin,
) {
    // Small writes such as watch events must not wait for more.
    stream.set_nodelay(true).ok();
    let stream = match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake"),
        Err(_) => return tracing::debug!("TLS handshake timed out"),
    };
    let identity = stream.get_ref().1.peer_certificates().and_then(|it| it.first()).and_then(identity);
    let service = Connection { server, identity: identity.map(Arc::new), origin };
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let service = service.clone();
        async move { Ok::<_, std::convert::Infallible>(service.call(request).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "API connection");
    }
}

#[derive(Clone)]
struct Connection {
    server: ApiServer,
    identity: Option<Arc<Identity>>,
    origin: Origin,
}

/// What a connection says of the requests that come over it.
#[derive(Clone)]
struct Origin {
    closing: Closing,
    far: Option<Far>,
}

impl Connection {
    async fn call(&self, request: http::Request<hyper::body::Incoming>) -> http::Response<Body> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.origin.closing.clone());
        if let Some(far) = &self.origin.far {
            request.extensions_mut().insert(far.clone());
        }
        crate::handle::handle(self.server.clone(), self.identity.clone(), request).await
    }
}

/// The user (CN) and groups (O) of a verified client certificate.
fn identity(cert: &CertificateDer<'_>) -> Option<Identity> {
    let fingerprint: String = Sha256::digest(cert).iter().map(|it| format!("{it:02x}")).collect();
    let (_, cert) = x509_parser::parse_x509_certificate(cert).ok()?;
    let subject = cert.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?;
    let groups = subject.iter_organization().filter_map(|it| it.as_str().ok()).map(str::to_owned);
    let mut identity = Identity::new(user, groups);
    let id = vec![format!("X509SHA256={fingerprint}")];
    identity.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), id);
    Some(identity)
}
