//! HTTP, gRPC, TCP and command checks of a guest, for probes and lifecycle hooks.
//!
//! A guest that answers in process is asked in process; a process is asked through its address, as is another host that the
//! check names, as far as the pod's guests may connect there. A command is a program of the container's image.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use eyot_dispatch::{Caller, Handler, Lookups, Names, Transport};
use eyot_runtime::HttpGuest;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::{
    api::core::v1::{Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{net::TcpStream, time::timeout};

use super::{
    grpc,
    session::{Extra, SessionError},
};

/// Most of an answer's body that is read before the connection is left.
const BODY_BYTES_MAX: usize = 10 << 10;

/// Whom to ask.
#[derive(Clone)]
pub(super) enum Target {
    Nobody,
    Guest { guest: Arc<HttpGuest>, ports: Box<[u16]>, ip: Ipv4Addr },
    Address(Ipv4Addr),
}

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// With `host`, somebody else than the guest.
    Http {
        host: Option<String>,
        port: u16,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp {
        host: Option<String>,
        port: u16,
    },
    Grpc {
        port: u16,
        service: String,
    },
    Exec {
        command: Vec<String>,
    },
}

/// Whose checks they are, and who knows where other hosts are that they name.
pub(super) struct Asker {
    pub(super) caller: Caller,
    pub(super) names: Arc<dyn Names>,
    pub(super) lookups: Arc<Lookups>,
}

impl Asker {
    /// Connects to another host than the guest. Its name is the host resolver's to know, when it is the pod's turn to ask.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, CheckError> {
        let found = match host.trim_matches(['[', ']']).parse() {
            Ok(address) => vec![address],
            Err(_) => self.look_up(host).await.map_err(|error| CheckError::Lookup(error.to_string()))?,
        };
        let (mut permitted, mut denied) = (Vec::new(), None);
        for address in found.into_iter().map(|it| SocketAddr::new(it.to_canonical(), port)) {
            match self.names.permits(&self.caller, Transport::Tcp, address) {
                Ok(()) => permitted.push(address),
                Err(why) => denied = Some(why),
            }
        }
        if let Some(why) = denied.filter(|_| permitted.is_empty()) {
            return Err(CheckError::Denied(why));
        }
        TcpStream::connect(&*permitted).await.map_err(|_| CheckError::Closed(port))
    }

    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.lookups.turn(&self.caller).await?.look_up(host.to_owned()).await?;
        Ok(found.into_iter().map(|it| it.ip()).collect())
    }
}

/// Runs a command beside the guest.
pub(super) type Exec<'a> = &'a (dyn Fn(Vec<String>) -> BoxFuture<'a, Result<Extra, SessionError>> + Sync);

/// Why a check did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error("the guest does not run")]
    Nobody,
    #[error("port {0:?} is neither a number nor the name of a port")]
    Port(String),
    #[error("connection to port {0} refused")]
    Closed(u16),
    #[error("looking its host up: {0}")]
    Lookup(String),
    #[error("connection denied: {0}")]
    Denied(String),
    #[error("HTTP probe failed with statuscode: {0}")]
    Status(u16),
    #[error("gRPC probe failed: {0}")]
    Unhealthy(String),
    #[error("no answer in {0:?}")]
    Timeout(Duration),
    #[error("asking: {0}")]
    Exchange(String),
    #[error("command exited with {code}{}{output}", if output.is_empty() { "" } else { ": " })]
    Failed { code: i32, output: String },
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("it names nothing to do")]
    Unknown,
}

impl Check {
    /// The check of an `httpGet`.
    pub(super) fn http(get: &HTTPGetAction, container: &Container) -> Result<Check, CheckError> {
        let path = get.path.clone().unwrap_or_default();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let headers = get.http_headers.iter().flatten().map(|it| (it.name.clone(), it.value.clone())).collect();
        Ok(Check::Http { host: host(get.host.as_deref()), port: port(&get.port, container)?, path, headers })
    }

    /// The check of a `tcpSocket`.
    pub(super) fn tcp(action: &TCPSocketAction, container: &Container) -> Result<Check, CheckError> {
        Ok(Check::Tcp { host: host(action.host.as_deref()), port: port(&action.port, container)? })
    }

    /// The check of an `exec`.
    pub(super) fn exec(action: &ExecAction) -> Check {
        Check::Exec { command: action.command.clone().unwrap_or_default() }
    }

    /// The check of a `grpc`.
    pub(super) fn grpc(action: &GRPCAction) -> Result<Check, CheckError> {
        let port = u16::try_from(action.port).ok().filter(|it| *it > 0);
        let port = port.ok_or_else(|| CheckError::Port(action.port.to_string()))?;
        Ok(Check::Grpc { port, service: action.service.clone().unwrap_or_default() })
    }

    /// Asks `target` for `asker` and waits at most `limit`.
    pub(super) async fn run(
        &self,
        target: &Target,
        asker: &Asker,
        limit: Duration,
        exec: Exec<'_>,
    ) -> Result<(), CheckError> {
        let work = async {
            match self {
                Check::Exec { command } => match exec(command.clone()).await?.finish(BODY_BYTES_MAX).await {
                    (0, _) => Ok(()),
                    (code, output) => Err(CheckError::Failed { code, output: output.trim_end().to_owned() }),
                },
                _ => self.ask(target, asker).await,
            }
        };
        timeout(limit, work).await.unwrap_or(Err(CheckError::Timeout(limit)))
    }

    async fn ask(&self, target: &Target, asker: &Asker) -> Result<(), CheckError> {
        let (host, port) = match self {
            Check::Http { host, port, .. } | Check::Tcp { host, port } => (host.as_deref(), *port),
            Check::Grpc { port, .. } => (None, *port),
            Check::Exec { .. } => return Err(CheckError::Unknown),
        };
        if let Some(host) = host {
            let stream = asker.connect(host, port).await?;
            return match self {
                Check::Http { path, headers, .. } => {
                    over_socket(stream, request(&format!("{host}:{port}"), path, headers)?).await
                }
                _ => Ok(()),
            };
        }
        match (target, self) {
            (Target::Nobody, _) | (_, Check::Exec { .. }) => Err(CheckError::Nobody),
            (Target::Guest { ports, .. }, _) if !ports.contains(&port) => Err(CheckError::Closed(port)),
            (Target::Guest { .. }, Check::Tcp { .. }) => Ok(()),
            (Target::Guest { guest, ip, .. }, Check::Http { path, headers, .. }) => {
                let request = request(&format!("{ip}:{port}"), path, headers)?;
                let response = guest.clone().handle(request).await;
                let response = response.map_err(|error| CheckError::Exchange(error.to_string()))?;
                let status = response.status();
                read_some(response.into_body()).await;
                judge(status)
            }
            (Target::Guest { guest, ip, .. }, Check::Grpc { service, .. }) => {
                let request = health_request((*ip, port).into(), service)?;
                let response = guest.clone().handle(request).await;
                health(response.map_err(|error| CheckError::Exchange(error.to_string()))?).await
            }
            (Target::Address(ip), Check::Grpc { service, .. }) => {
                let stream = TcpStream::connect((*ip, port)).await.map_err(|_| CheckError::Closed(port))?;
                health_over_socket(stream, health_request((*ip, port).into(), service)?).await
            }
            (Target::Address(ip), Check::Tcp { .. }) => {
                TcpStream::connect((*ip, port)).await.map(drop).map_err(|_| CheckError::Closed(port))
            }
            (Target::Address(ip), Check::Http { path, headers, .. }) => {
                let stream = TcpStream::connect((*ip, port)).await.map_err(|_| CheckError::Closed(port))?;
                over_socket(stream, request(&format!("{ip}:{port}"), path, headers)?).await
            }
        }
    }
}

/// Runs a lifecycle hook, waiting at most `limit`.
pub(super) async fn hook(
    hook: &LifecycleHandler,
    container: &Container,
    target: &Target,
    asker: &Asker,
    limit: Duration,
    exec: Exec<'_>,
) -> Result<(), CheckError> {
    if let Some(get) = &hook.http_get {
        return Check::http(get, container)?.run(target, asker, limit, exec).await;
    }
    if let Some(tcp) = &hook.tcp_socket {
        return Check::tcp(tcp, container)?.run(target, asker, limit, exec).await;
    }
    if let Some(action) = &hook.exec {
        return Check::exec(action).run(target, asker, limit, exec).await;
    }
    if let Some(sleep) = &hook.sleep {
        let wanted = Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
        tokio::time::sleep(wanted.min(limit)).await;
        return Ok(());
    }
    Err(CheckError::Unknown)
}

async fn over_socket(stream: TcpStream, request: Request<eyot_dispatch::Body>) -> Result<(), CheckError> {
    let broken = |error: hyper::Error| CheckError::Exchange(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        read_some(response.into_body()).await;
        judge(status)
    };
    tokio::pin!(exchange);
    // The connection does its work only while it is polled. It may end before the exchange has taken what it brought.
    tokio::select! {
        biased;
        verdict = &mut exchange => verdict,
        _ = connection => exchange.await,
    }
}

/// Reads a body as far as a sender may expect it to be read.
async fn read_some(mut body: impl hyper::body::Body<Data = bytes::Bytes> + Unpin) {
    let mut left = BODY_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, bytes::Bytes::len);
        if len >= left {
            return;
        }
        left -= len;
    }
}

fn health_request(address: SocketAddr, service: &str) -> Result<Request<eyot_dispatch::Body>, CheckError> {
    grpc::request(&address.to_string(), service).map_err(|error| CheckError::Exchange(error.to_string()))
}

async fn health_over_socket(stream: TcpStream, request: Request<eyot_dispatch::Body>) -> Result<(), CheckError> {
    let broken = |error: hyper::Error| CheckError::Exchange(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async { health(sender.send_request(request).await.map_err(broken)?).await };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        verdict = &mut exchange => verdict,
        _ = connection => exchange.await,
    }
}

/// Judges the answer to a gRPC health check.
async fn health<B>(response: http::Response<B>) -> Result<(), CheckError>
where
    B: hyper::body::Body<Data = bytes::Bytes> + Unpin,
{
    judge(response.status())?;
    let (head, mut body) = response.into_parts();
    let (mut content, mut trailers) = (Vec::new(), http::HeaderMap::new());
    while let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(data) => content.extend_from_slice(&data),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
        if content.len() > BODY_BYTES_MAX {
            break;
        }
    }
    grpc::verdict(&content, &head.headers, &trailers).map_err(CheckError::Unhealthy)
}

fn judge(status: StatusCode) -> Result<(), CheckError> {
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(CheckError::Status(status.as_u16())) }
}

fn request(
    authority: &str,
    path: &str,
    headers: &[(String, String)],
) -> Result<Request<eyot_dispatch::Body>, CheckError> {
    let malformed = |error: &dyn std::fmt::Display| CheckError::Exchange(error.to_string());
    let mut request = Request::get(path).body(eyot_dispatch::empty()).map_err(|error| malformed(&error))?;
    let host = HeaderValue::from_str(authority).map_err(|error| malformed(&error))?;
    request.headers_mut().insert(http::header::HOST, host);
    request.headers_mut().insert(http::header::USER_AGENT, HeaderValue::from_static("kube-probe/1.37"));
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|error| malformed(&error))?;
        let value = HeaderValue::from_str(value).map_err(|error| malformed(&error))?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

fn host(named: Option<&str>) -> Option<String> {
    named.filter(|it| !it.is_empty()).map(str::to_owned)
}

fn port(wanted: &IntOrString, container: &Container) -> Result<u16, CheckError> {
    let unknown = || match wanted {
        IntOrString::Int(number) => CheckError::Port(number.to_string()),
        IntOrString::String(name) => CheckError::Port(name.clone()),
    };
    let number = match wanted {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => match text.parse() {
            Ok(number) => number,
            Err(_) => {
                let mut ports = container.ports.iter().flatten();
                ports.find(|it| it.name.as_deref() == Some(text)).ok_or_else(unknown)?.container_port
            }
        },
    };
    u16::try_from(number).ok().filter(|it| *it > 0).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn container() -> Container {
        serde_json::from_value(serde_json::json!({ "name": "c", "ports": [{ "name": "web", "containerPort": 8081 }] }))
            .unwrap()
    }

    #[test]
    fn a_port_is_a_number_or_a_declared_name() {
        let text = |it: &str| IntOrString::String(it.to_owned());
        let got: Vec<String> = [
            IntOrString::Int(80),
            text("web"),
            text("81"),
            text("none"),
            IntOrString::Int(0),
            IntOrString::Int(70_000),
        ]
        .map(|it| format!("{:?}", port(&it, &container()).map_err(|it| it.to_string())))
        .into();
        expect_test::expect![[r#"
            Ok(80)
            Ok(8081)
            Ok(81)
            Err("port \"none\" is neither a number nor the name of a port")
            Err("port \"0\" is neither a number nor the name of a port")
            Err("port \"70000\" is neither a number nor the name of a port")"#]]
        .assert_eq(&got.join("\n"));
    }

    /// Answers every connection to a new address with `answer`.
    async fn answering(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
            }
        });
        port
    }

    /// Lets nobody connect to 127.0.0.2.
    struct Guard;

    impl Names for Guard {
        fn resolve(&self, _: &Caller, _: &str) -> Option<Vec<IpAddr>> {
            None
        }

        fn permits(&self, _: &Caller, _: Transport, address: SocketAddr) -> Result<(), String> {
            if address.ip() == Ipv4Addr::new(127, 0, 0, 2) { Err(format!("{address} is off limits")) } else { Ok(()) }
        }
    }

    /// A pod whose resolver knows `here.example` and `guarded.example`.
    fn asker() -> Asker {
        let lookups = Lookups::by(|name| match name {
            "here.example" => Ok(vec![([127, 0, 0, 2], 0).into(), ([127, 0, 0, 1], 0).into()]),
            "guarded.example" => Ok(vec![([127, 0, 0, 2], 0).into()]),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such host")),
        });
        let caller = Caller { namespace: "ns".into(), pod: "p".into() };
        Asker { caller, names: Arc::new(Guard), lookups: Arc::new(lookups) }
    }

    #[tokio::test]
    async fn another_host_is_looked_up_in_turn_and_only_asked_where_guests_may_connect() {
        let asker = asker();
        let limit = Duration::from_secs(5);
        let exec: Exec<'_> = &|_| Box::pin(async { Err(SessionError::NoCommand) });
        let good = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let ask = async |host: &str| {
            let check = Check::Http { host: Some(host.to_owned()), port: good, path: "/".into(), headers: Vec::new() };
            check.run(&Target::Nobody, &asker, limit, exec).await.map_err(|error| error.to_string())
        };
        assert_eq!(ask("here.example").await, Ok(()));
        assert_eq!(ask("127.0.0.1").await, Ok(()));
        let denied = Err(format!("connection denied: 127.0.0.2:{good} is off limits"));
        for host in ["guarded.example", "127.0.0.2", "::ffff:127.0.0.2", "[::ffff:127.0.0.2]"] {
            assert_eq!(ask(host).await, denied, "{host}");
        }
        assert_eq!(ask("none.example").await, Err("looking its host up: no such host".to_owned()));
    }

    #[tokio::test]
    async fn checks_under_a_silent_resolver_take_no_more_threads_than_their_pod_may() {
        let (held, gate) = std::sync::mpsc::channel::<()>();
        let gate = parking_lot::Mutex::new(gate);
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = asked.clone();
        let lookups = Lookups::by(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            // Whoever lets go drops the other end.
            let _ = gate.lock().recv();
            Err(io::ErrorKind::NotFound.into())
        });
        let asker = Asker { lookups: Arc::new(lookups), ..asker() };
        let exec: Exec<'_> = &|_| Box::pin(async { Err(SessionError::NoCommand) });
        let check = Check::Tcp { host: Some("silent.example".into()), port: 80 };
        let ask = || check.run(&Target::Nobody, &asker, Duration::from_millis(300), exec);
        let told = futures::future::join_all((0..4 * Lookups::OF_A_POD).map(|_| ask())).await;
        assert!(told.iter().all(|it| matches!(it, Err(CheckError::Timeout(_)))), "{told:?}");
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), Lookups::OF_A_POD);
        drop(held);
    }

    #[tokio::test]
    async fn an_answer_decides_a_check() {
        let target = Target::Address(Ipv4Addr::LOCALHOST);
        let asker = asker();
        let limit = Duration::from_millis(300);
        let http =
            |port| Check::Http { host: None, port, path: "/ready".into(), headers: vec![("x-a".into(), "b".into())] };
        let tcp = |host: Option<&str>, port| Check::Tcp { host: host.map(str::to_owned), port };
        let exec: Exec<'_> = &|_| Box::pin(async { Err(SessionError::NoCommand) });
        let good = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert!(http(good).run(&target, &asker, limit, exec).await.is_ok());
        assert!(tcp(None, good).run(&target, &asker, limit, exec).await.is_ok());
        assert!(tcp(Some("127.0.0.1"), good).run(&Target::Nobody, &asker, limit, exec).await.is_ok(), "another host");
        let command = Check::Exec { command: Vec::new() };
        assert!(matches!(command.run(&target, &asker, limit, exec).await, Err(CheckError::Session(_))));
        let bad = answering("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await;
        let error = http(bad).run(&target, &asker, limit, exec).await.unwrap_err();
        assert_eq!(error.to_string(), "HTTP probe failed with statuscode: 503");
        let garbage = answering("hello\r\n\r\n").await;
        assert!(matches!(http(garbage).run(&target, &asker, limit, exec).await, Err(CheckError::Exchange(_))));
        let silent = answering("").await;
        assert!(matches!(http(silent).run(&target, &asker, limit, exec).await, Err(CheckError::Timeout(_))));
        assert!(matches!(tcp(None, 1).run(&target, &asker, limit, exec).await, Err(CheckError::Closed(1))));
    }
}
