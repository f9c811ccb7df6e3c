//! Whom guests ask: servers on sockets, and in place of the Internet a world that remembers what it was asked.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use eyot_dispatch::{Body, CallError, Caller, Outbound};
use eyot_gateway::Gateway;
use futures::future::BoxFuture;
use http::{Request, Response, header::CONTENT_LENGTH};
use http_body_util::{BodyExt, Either, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use crate::case::Speaks;

/// Where servers are: among the pods, since guests may reach no other loopback address.
const ADDRESS: [u8; 4] = [127, 42, 0, 250];

/// A server for as long as the test runs. It tells in headers what it was asked, and gives the body back; `GET /say/WORD`
/// is answered with the word.
pub(crate) async fn start(speaks: Speaks) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::from((ADDRESS, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(TokioIo::new(socket), speaks));
        }
    });
    address
}

async fn serve(socket: TokioIo<tokio::net::TcpStream>, speaks: Speaks) {
    // Whoever leaves early, or speaks something else, is no concern of the server.
    match speaks {
        Speaks::Http1 => {
            let mut server = hyper::server::conn::http1::Builder::new();
            drop(server.keep_alive(false).serve_connection(socket, service_fn(echo)).await);
        }
        Speaks::Http2 => {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(server.serve_connection(socket, service_fn(echo)).await);
        }
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Either<Incoming, Full<Bytes>>>, Infallible> {
    let (head, body) = request.into_parts();
    if let Some(word) = head.uri.path().strip_prefix("/say/") {
        return Ok(Response::new(Either::Right(Full::new(Bytes::copy_from_slice(word.as_bytes())))));
    }
    let mut response = Response::new(Either::Left(body));
    let headers = response.headers_mut();
    headers.insert("x-wasmtime-test-method", head.method.as_str().parse().unwrap());
    headers.insert("x-wasmtime-test-uri", head.uri.to_string().parse().unwrap());
    if let Some(length) = head.headers.get(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, length.clone());
    }
    Ok(response)
}

/// The address that a program takes for one where nobody ever answers: some networks do.
const SILENT: &str = "203.0.113.12";

/// All that is outside: some hosts of the Internet, and through the gateway everybody else.
pub(crate) struct World {
    gateway: Arc<Gateway>,
    silent: Silent,
    asked: Mutex<Vec<Request<Body>>>,
}

impl World {
    pub(crate) async fn around(gateway: Arc<Gateway>) -> Arc<World> {
        Arc::new(World { gateway, silent: Silent::start().await, asked: Mutex::default() })
    }

    /// A request that reached the Internet, its body untouched.
    pub(crate) fn taken(&self) -> Option<Request<Body>> {
        self.asked.lock().pop()
    }
}

impl Outbound for World {
    fn send(
        self: Arc<Self>,
        caller: Caller,
        mut request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        match request.uri().host() {
            Some("p3-test" | "example.com" | "some-domain.example") => {
                self.asked.lock().push(request);
                Box::pin(async { Ok(Response::new(eyot_dispatch::full("ok"))) })
            }
            Some(SILENT) => {
                *request.uri_mut() = format!("http://{}/", self.silent.address).parse().unwrap();
                self.gateway.clone().send(caller, request)
            }
            _ => self.gateway.clone().send(caller, request),
        }
    }
}

/// A place where connections are not taken, and those that wait already leave no room for more.
struct Silent {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Silent {
    async fn start() -> Silent {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((ADDRESS, 0))).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(Ok(one)) = timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
            assert!(waiting.len() < 64, "there is always room for more");
            waiting.push(one);
        }
        Silent { address, _listener: listener, _waiting: waiting }
    }
}

/// Head, body and trailers.
pub(crate) type Whole = (http::response::Parts, http_body_util::Collected<Bytes>);

/// Takes the whole of a response.
pub(crate) async fn whole(response: Response<Body>) -> Result<Whole, String> {
    let (head, body) = response.into_parts();
    Ok((head, body.collect().await.map_err(|error| error.to_string())?))
}
