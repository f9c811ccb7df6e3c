//! Ports of the node that lead to Services of the types NodePort and LoadBalancer.
//!
//! Entry point: [`NodePorts::set`], called when a Service was changed. A connection is carried to a ready endpoint as it
//! is, so that whatever runs over TCP works. Where somebody judges requests to the Service, a connection is read as HTTP
//! instead, each of its requests is judged, and what is no HTTP is refused. Deliberately absent: UDP.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::AbortHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Gateway,
    connection::{Connection, Direct},
    kinds::Name,
    server,
    services::{Busy, Client, Pool, Port},
    upgrade,
};

/// Part of all connections to ports that those of one namespace may be, so that it leaves the others theirs.
const SHARES: usize = 4;
/// Time for an endpoint to accept a connection before another is tried.
const DIAL_TIME_MAX: Duration = Duration::from_secs(5);
/// First pause before a port that is taken is tried again; doubles up to the last. Shorter ones are not told: the listener
/// before this one may be about to go.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_TOLD: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(60);
/// Silence after which a connection's other side is asked whether it is still there. One that is gone without a word would
/// hold a place for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The ports that are open.
pub(crate) struct NodePorts {
    gateway: Arc<Gateway>,
    open: HashMap<u16, Open>,
    /// Connections that each namespace may still have, while it has a port or a connection.
    shares: HashMap<String, Weak<Semaphore>>,
}

/// An open port. Closing it leaves its connections alone.
struct Open {
    service: Name,
    pool: Arc<Pool>,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NodePorts {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        NodePorts { gateway, open: HashMap::new(), shares: HashMap::new() }
    }

    fn share(&mut self, namespace: &str) -> Arc<Semaphore> {
        if let Some(share) = self.shares.get(namespace).and_then(Weak::upgrade) {
            return share;
        }
        self.shares.retain(|_, it| it.strong_count() > 0);
        let all = self.gateway.config.connections_max.min(Semaphore::MAX_PERMITS);
        let share = Arc::new(Semaphore::new(all.div_ceil(SHARES)));
        self.shares.insert(namespace.to_owned(), Arc::downgrade(&share));
        share
    }

    /// Opens and closes ports as a Service has them now.
    pub(crate) fn set(&mut self, service: &Name, ports: &[Port]) {
        let Some(ip) = self.gateway.config.node_ports else { return };
        let wanted: HashMap<u16, &Arc<Pool>> = ports.iter().filter_map(|it| Some((it.node_port?, &it.pool))).collect();
        self.open.retain(|port, open| {
            open.service != *service || wanted.get(port).is_some_and(|it| Arc::ptr_eq(it, &open.pool))
        });
        for (port, pool) in wanted {
            if self.open.get(&port).is_some_and(|it| it.service == *service) {
                continue;
            }
            // One that another Service had is no longer that one's: the server gives a port once.
            let address = SocketAddr::new(ip, port);
            let share = self.share(&service.namespace);
            let serving = serve(self.gateway.clone(), listen(address).ok(), address, pool.clone(), share);
            let serving = tokio::spawn(serving);
            let open = Open { service: service.clone(), pool: pool.clone(), task: serving.abort_handle() };
            self.open.insert(port, open);
        }
    }
}

/// Carries the connections of a port, which is opened as soon as it is free.
async fn serve(
    gateway: Arc<Gateway>,
    listener: Option<TcpListener>,
    address: SocketAddr,
    pool: Arc<Pool>,
    shares: Arc<Semaphore>,
) {
    let listener = match listener {
        Some(listener) => listener,
        None => opened(address, &pool).await,
    };
    loop {
        let (stream, peer, share) = server::accept(&listener, &shares).await;
        // Never closed.
        let Ok(permit) = gateway.port_slots.clone().acquire_owned().await else { return };
        if gateway.judges(&pool) {
            let direct = Direct::new(pool.clone(), address, share);
            let cut = CancellationToken::new();
            let connection = Connection::new(gateway.clone(), peer, cut.clone(), Some(direct), None, permit);
            tokio::spawn(server::run(connection, stream, cut));
            continue;
        }
        let (gateway, pool) = (gateway.clone(), pool.clone());
        tokio::spawn(async move {
            carry(gateway, pool, stream, peer).await;
            drop((permit, share));
        });
    }
}

/// Tries a port until nobody else has it.
async fn opened(address: SocketAddr, pool: &Pool) -> TcpListener {
    let mut pause = PAUSE_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        match listen(address) {
            Ok(listener) => return listener,
            // Another program has it. The Service works by its other ways.
            Err(error) if (PAUSE_TOLD..PAUSE_TOLD * 2).contains(&pause) => {
                tracing::warn!(service = %pool.name, %address, %error, "a port of the node cannot be opened yet");
            }
            Err(_) => {}
        }
        pause = (pause * 2).min(PAUSE_LAST);
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Carries one connection to an endpoint and back, until both sides have ended it or say nothing for too long, or until its
/// requests are to be judged.
async fn carry(gateway: Arc<Gateway>, pool: Arc<Pool>, client: TcpStream, peer: SocketAddr) {
    let Some((endpoint, _busy)) = connect(&gateway, &pool, Client::of(peer.ip())).await else {
        tracing::debug!(service = %pool.name, "no endpoint takes a connection from a port of the node");
        return;
    };
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    for stream in [&client, &endpoint] {
        // The hints fail only on connections that are gone already.
        let _ = (stream.set_nodelay(true), SockRef::from(stream).set_tcp_keepalive(&keepalive));
    }
    let client = Unjudged { stream: client, gateway, pool };
    if let Err(error) = upgrade::copy(client, endpoint, upgrade::SILENCE_MAX).await {
        tracing::trace!(%error, "a connection through a port of the node broke");
    }
}

/// A client's stream that fails where somebody has come to judge requests to its Service. The client connects anew, and
/// is judged.
struct Unjudged {
    stream: TcpStream,
    gateway: Arc<Gateway>,
    pool: Arc<Pool>,
}

impl AsyncRead for Unjudged {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_ready() && buffer.filled().len() > before && self.gateway.judges(&self.pool) {
            let why = "requests to the Service are judged since the connection began";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)));
        }
        polled
    }
}

impl AsyncWrite for Unjudged {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn connect(gateway: &Gateway, pool: &Pool, client: Client) -> Option<(TcpStream, Busy)> {
    if pool.is_empty() && !gateway.arrivals.wait(pool).await {
        return None;
    }
    let mut tried = Vec::new();
    loop {
        let busy = pool.choose(&tried, client)?;
        match tokio::time::timeout(DIAL_TIME_MAX, TcpStream::connect(busy.address())).await {
            Ok(Ok(stream)) => return Some((stream, busy)),
            _ => tried.push(busy.address()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use eyot_dispatch::{Asking, Authorize, Decision, Way};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        Config,
        kinds::{ServicePort, ServiceSpec},
    };

    /// An endpoint that answers every connection with a word, then echoes.
    async fn endpoint(word: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(word).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
        address
    }

    fn spec(node_port: Option<u16>) -> ServiceSpec {
        let port = ServicePort { port: 80, node_port, ..ServicePort::default() };
        ServiceSpec { ports: Some(vec![port]), ..ServiceSpec::default() }
    }

    async fn ask(port: u16) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"!").await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Waits until a port answers so.
    async fn answers(port: u16, wanted: &str) {
        let opened = async {
            while ask(port).await.ok().as_deref() != Some(wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), opened).await.expect(wanted);
    }

    #[tokio::test]
    async fn a_port_leads_to_ready_endpoints_while_its_service_has_it() {
        let gateway = Gateway::silent(Config { node_ports: Some([127, 0, 0, 1].into()), ..Config::default() });
        let mut ports = NodePorts::new(gateway.clone());
        let name = Name::new("ns", "web");
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let service = gateway.services.apply(&name, &spec(Some(free)));
        ports.set(&name, &service.ports);
        assert_eq!(ask(free).await.unwrap_or_default(), "", "there is no endpoint yet");
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (one, two) = (endpoint(b"one").await, endpoint(b"two").await);
        service.ports[0].pool.set(&[one, gone, two]);
        let mut answers = std::collections::BTreeSet::new();
        for _ in 0..8 {
            answers.insert(ask(free).await.unwrap());
        }
        assert_eq!(answers.into_iter().collect::<Vec<_>>(), ["one!", "two!"], "what is not there is passed by");
        let service = gateway.services.apply(&name, &spec(None));
        ports.set(&name, &service.ports);
        for _ in 0..100 {
            if ask(free).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("port {free} is still open");
    }

    /// Refuses every request, once it is told to.
    struct Guard(Arc<AtomicBool>);

    impl Authorize for Guard {
        fn is_concerned(&self, way: &Way<'_>) -> bool {
            self.0.load(SeqCst) && way.service == Some("ns/web")
        }

        fn authorize(&self, request: &Asking<'_>) -> Decision {
            assert!(request.listener.is_some_and(|it| it.ip().is_loopback()), "{request:?}");
            let body = request.head.uri.path().to_owned().into();
            Decision::Deny { status: http::StatusCode::FORBIDDEN, headers: http::HeaderMap::new(), body }
        }
    }

    #[tokio::test]
    async fn requests_at_a_port_are_judged_from_when_somebody_judges_them() {
        let gateway = Gateway::silent(Config { node_ports: Some([127, 0, 0, 1].into()), ..Config::default() });
        let judged = Arc::new(AtomicBool::new(false));
        gateway.set_authorizer(Arc::new(Guard(judged.clone())));
        let mut ports = NodePorts::new(gateway.clone());
        let name = Name::new("ns", "web");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let service = gateway.services.apply(&name, &spec(Some(free)));
        ports.set(&name, &service.ports);
        service.ports[0].pool.set(&[endpoint(b"one").await]);

        let mut early = TcpStream::connect(("127.0.0.1", free)).await.unwrap();
        let mut word = [0; 3];
        early.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"one", "nobody judges yet");
        judged.store(true, SeqCst);
        early.write_all(b"GET /early HTTP/1.1\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _ = early.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "what comes later on a connection from before is not carried");

        let answer = |request: &'static [u8]| async move {
            let mut stream = TcpStream::connect(("127.0.0.1", free)).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            answer
        };
        let refused = answer(b"GET /secret HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").await;
        assert!(refused.starts_with("HTTP/1.1 403") && refused.ends_with("/secret"), "{refused}");
        let other = answer(b"\x00\x01 no HTTP at all\r\n\r\n").await;
        assert!(!other.contains("one"), "{other}");
    }

    #[tokio::test]
    async fn connections_of_one_namespace_leave_the_others_theirs() {
        let config = Config { node_ports: Some([127, 0, 0, 1].into()), connections_max: 8, ..Config::default() };
        let gateway = Gateway::silent(config);
        let mut ports = NodePorts::new(gateway.clone());
        let mut open = |namespace: &str, service: &str, endpoint: SocketAddr| {
            let name = Name::new(namespace, service);
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let service = gateway.services.apply(&name, &spec(Some(free)));
            service.ports[0].pool.set(&[endpoint]);
            ports.set(&name, &service.ports);
            free
        };
        let (one, two) = (open("greedy", "one", endpoint(b"one").await), open("greedy", "two", endpoint(b"two").await));
        let other = open("other", "web", endpoint(b"web").await);
        let mut held = Vec::new();
        for port in [one, two] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.read_exact(&mut [0; 3]).await.unwrap();
            held.push(stream);
        }
        let third = ask(one);
        tokio::pin!(third);
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut third).await.is_err(), "a quarter of 8 is taken");
        assert_eq!(ask(other).await.unwrap(), "web!");
        drop(held.remove(0));
        assert_eq!(third.await.unwrap(), "one!");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_opened_when_it_is_free() {
        let gateway = Gateway::silent(Config { node_ports: Some([127, 0, 0, 1].into()), ..Config::default() });
        let mut ports = NodePorts::new(gateway.clone());
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let (old, new) = (Name::new("ns", "old"), Name::new("ns", "new"));
        for name in [&old, &new] {
            // The second gets the port before the first is told to be gone, as when both are listed anew.
            let service = gateway.services.apply(name, &spec(Some(port)));
            service.ports[0].pool.set(&[endpoint(if *name == old { b"old" } else { b"new" }).await]);
            ports.set(name, &service.ports);
        }
        ports.set(&old, &[]);
        drop(taken);
        answers(port, "new!").await;
        // Made anew at once, while its old listener is still there.
        ports.set(&new, &[]);
        gateway.services.remove(&new);
        let service = gateway.services.apply(&new, &spec(Some(port)));
        service.ports[0].pool.set(&[endpoint(b"again").await]);
        ports.set(&new, &service.ports);
        answers(port, "again!").await;
    }
}
