//! How requests and responses travel: streaming, protocols, retries, draining, and what bad clients get.

mod support;

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use eyot_dispatch::{Body, CallError, empty, full};
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use support::{Node, Pod, fails, pod, says, text};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MIB: usize = 1024 * 1024;

/// A body of `chunks` MiB that counts what was asked of it.
fn upload(chunks: usize, produced: Arc<AtomicUsize>) -> Body {
    let stream = futures::stream::iter(0..chunks).map(move |_| {
        produced.fetch_add(1, Relaxed);
        Ok(Frame::data(Bytes::from(vec![7_u8; MIB])))
    });
    BodyExt::boxed_unsync(StreamBody::new(stream))
}

#[tokio::test]
async fn an_upload_streams_at_the_pace_of_its_reader() {
    let node = Node::start().await;
    let produced = Arc::new(AtomicUsize::new(0));
    let (ahead, seen) = (Arc::new(AtomicUsize::new(0)), produced.clone());
    let most = ahead.clone();
    let reader = Pod(move |request: Request<Body>| {
        let (seen, most) = (seen.clone(), most.clone());
        async move {
            let mut body = request.into_body();
            let mut total = 0;
            while let Some(frame) = body.frame().await {
                total += frame.map_err(|it| CallError::Broken(it.to_string()))?.into_data().map_or(0, |it| it.len());
                most.fetch_max((seen.load(Relaxed) * MIB).saturating_sub(total), Relaxed);
                if total < 8 * MIB {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            Ok(Response::new(full(total.to_string())))
        }
    });
    node.endpoints.insert(pod(1), Arc::new(reader));
    node.publish("up", &[pod(1)]).await;
    produced.store(0, Relaxed);
    ahead.store(0, Relaxed);
    let request = Request::post("/").header("host", "up.test").body(upload(100, produced)).unwrap();
    assert_eq!(text(node.send(request).await).await, (100 * MIB).to_string());
    // Sockets on loopback buffer a few MiB; the gateway itself must not add to that.
    assert!(ahead.load(Relaxed) < 24 * MIB, "{} bytes were held between client and pod", ahead.load(Relaxed));
}

#[tokio::test]
async fn a_download_streams_and_is_cancelled_with_its_client() {
    let node = Node::start().await;
    let alive = Arc::new(());
    let inside = alive.clone();
    let endless = Pod(move |_: Request<Body>| {
        let held = inside.clone();
        async move {
            let stream = futures::stream::repeat_with(move || {
                let _held = &held;
                Ok(Frame::data(Bytes::from(vec![1_u8; 16 * 1024])))
            });
            Ok(Response::new(BodyExt::boxed_unsync(StreamBody::new(stream))))
        }
    });
    node.endpoints.insert(pod(1), Arc::new(endless));
    node.service("down", &[pod(1)]);
    node.route("down", "down.test", serde_json::json!([{"backendRefs": [{"name": "down", "port": 80}]}]));
    let mut response = loop {
        let response = node.send(Request::get("/").header("host", "down.test").body(empty()).unwrap()).await;
        if response.status() == 200 {
            break response;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let mut total = 0;
    while total < 4 * MIB {
        total += response.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    drop(response);
    for _ in 0..500 {
        if Arc::strong_count(&alive) == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the body goes on without its reader");
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_answered() {
    let node = Node::start().await;
    node.endpoints.insert(pod(1), says("one"));
    node.publish("web", &[pod(1)]).await;
    let stream = TcpStream::connect(node.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Body>(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let requests = (0..20).map(|_| {
        let request = Request::get("http://web.test/h2").body(empty()).unwrap();
        sender.send_request(request)
    });
    let requests: Vec<_> = requests.collect();
    for response in futures::future::join_all(requests).await {
        assert_eq!(
            text(response.unwrap()).await,
            "one GET http://web.test/h2 host=web.test for=127.0.0.1 x=-".replace("http://web.test", "")
        );
    }
}

#[tokio::test]
async fn a_pod_that_took_nothing_is_passed_by_even_for_an_upload() {
    let node = Node::start().await;
    node.endpoints.insert(pod(1), fails(|| CallError::Draining));
    let echo = Pod(|request: Request<Body>| async move { Ok(Response::new(request.into_body())) });
    node.endpoints.insert(pod(2), Arc::new(echo));
    node.publish("web", &[pod(1), pod(2)]).await;
    for _ in 0..20 {
        let request = Request::post("/").header("host", "web.test").body(full("abc")).unwrap();
        let response = node.send(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, "abc");
    }
    assert!(node.gateway.stats().services.iter().any(|it| it.name == "ns/web" && it.retries > 0));
}

#[tokio::test]
async fn a_service_whose_last_pod_has_gone_meanwhile_is_unavailable() {
    let node = Node::with(|it| it.retry_timeout = Duration::from_millis(500)).await;
    let (asked, was_asked) = tokio::sync::watch::channel(0);
    node.endpoints.insert(
        pod(1),
        fails(move || {
            asked.send_modify(|it| *it += 1);
            CallError::Connect("nobody listens".to_owned())
        }),
    );
    node.publish("web", &[pod(1)]).await;
    assert_eq!(node.get("web.test", "/").await.0, 502, "it is still said to be there");
    let mut tried = was_asked.clone();
    tried.mark_unchanged();
    let goes = async {
        tried.changed().await.unwrap();
        node.slices("web", &[]);
    };
    let ((status, text), ()) = tokio::join!(node.get("web.test", "/"), goes);
    assert_eq!((status, text.as_str()), (503, "Service ns/web:80 has no ready endpoint\n"));
}

#[tokio::test]
async fn a_failed_guest_is_not_tried_again_and_its_words_stay_inside() {
    let node = Node::start().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let failing = fails(move || {
        counted.fetch_add(1, Relaxed);
        CallError::Guest("secret trap".to_owned())
    });
    node.endpoints.insert(pod(1), failing);
    node.publish("web", &[pod(1)]).await;
    let before = calls.load(Relaxed);
    let (status, text) = node.get("web.test", "/").await;
    assert_eq!((status, calls.load(Relaxed) - before), (502, 1));
    assert_eq!(text, "Service ns/web:80 failed before it answered; its pod's log says more\n");
    node.endpoints.insert(pod(1), fails(|| CallError::Overloaded("full".to_owned())));
    assert_eq!(node.get("web.test", "/").await.0, 503);
}

/// Continuous requests while the pods behind the Service are replaced one by one, as a rolling update does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_loses_no_request() {
    let node = Arc::new(Node::start().await);
    let version = |name: &'static str| -> Arc<dyn eyot_dispatch::Handler> {
        Arc::new(Pod(move |request: Request<Body>| async move {
            let body = request.into_body().collect().await.map_err(|it| CallError::Broken(it.to_string()))?;
            tokio::time::sleep(Duration::from_millis(3)).await;
            Ok(Response::new(full(format!("{name} {}", body.to_bytes().len()))))
        }))
    };
    node.endpoints.insert(pod(1), version("v0"));
    node.publish("web", &[pod(1)]).await;
    let (answered, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = tokio_util::sync::CancellationToken::new();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (node, answered, failed, stop) = (node.clone(), answered.clone(), failed.clone(), stop.clone());
            tokio::spawn(async move {
                let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
                while !stop.is_cancelled() {
                    let uri = format!("http://{}/", node.address);
                    let request = Request::post(uri).header("host", "web.test").body(full("hello")).unwrap();
                    let answer = match client.request(request).await {
                        Ok(response) => format!("{} {}", response.status(), text(response).await),
                        Err(error) => format!("{error:?}"),
                    };
                    if answer.starts_with("200 ") && answer.ends_with(" 5") {
                        answered.fetch_add(1, Relaxed);
                    } else {
                        eprintln!("failed: {answer}");
                        failed.fetch_add(1, Relaxed);
                    }
                }
            })
        })
        .collect();
    for step in 1..=20_u8 {
        let (old, new) = (pod(step), pod(step + 1));
        node.endpoints.insert(new, version("next"));
        // The pod stops taking requests before anybody has heard of it, the harshest order there is.
        node.endpoints.insert(old, fails(|| CallError::Draining));
        tokio::time::sleep(Duration::from_millis(10)).await;
        node.slices("web", &[new]);
        node.endpoints.remove(&old);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(failed.load(Relaxed), 0, "of {} requests", answered.load(Relaxed));
    assert!(answered.load(Relaxed) > 100, "{} requests are too few to say anything", answered.load(Relaxed));
}

#[tokio::test]
async fn stopping_answers_what_is_under_way_and_takes_nothing_new() {
    let node = Node::start().await;
    let slow = Pod(|request: Request<Body>| async move {
        if request.uri().path() != "/__probe" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Ok(Response::new(full("done")))
    });
    node.endpoints.insert(pod(1), Arc::new(slow));
    node.publish("web", &[pod(1)]).await;
    let request = Request::get("/").header("host", "web.test").body(empty()).unwrap();
    let (response, ()) = tokio::join!(node.send(request), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        node.stop.cancel();
    });
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(text(response).await, "done");
    let Node { serving, address, .. } = node;
    tokio::time::timeout(Duration::from_secs(5), serving).await.expect("the end is not awaited for long").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
}

/// Sends bytes on a connection of their own and returns what comes back until it closes or `enough` came.
async fn raw(address: SocketAddr, bytes: &[u8], enough: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
            if String::from_utf8_lossy(&answer).contains(enough) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn malformed_requests_get_the_status_that_says_what_is_wrong() {
    let node = Node::start().await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(20_000));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(200));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
        (long.as_str(), "414"),
        (large.as_str(), "431"),
        (many.as_str(), "431"),
        ("GET / HTTP/1.0\r\n\r\n", "404"),
    ] {
        let answer = raw(node.address, request.as_bytes(), "\r\n\r\n").await;
        let version = if request.contains("1.0") { "HTTP/1.0" } else { "HTTP/1.1" };
        let head = &request[..request.len().min(40)];
        assert!(answer.starts_with(&format!("{version} {status}")), "{head:?} got {answer:?}");
    }
    assert!(node.gateway.stats().rejected >= 4);
}

#[tokio::test]
async fn silent_clients_and_unfinished_heads_are_cut() {
    let node = Node::with(|config| {
        config.head_timeout = Duration::from_millis(1);
        config.idle_timeout = Duration::from_millis(1);
    })
    .await;
    for bytes in ["", "GET / HTTP/1.1\r\nhost: a\r\nx-slow"] {
        let started = std::time::Instant::now();
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut [0; 64])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?} after {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn connections_above_the_bound_wait_for_their_turn() {
    let node = Node::with(|config| config.connections_max = 2).await;
    let first = TcpStream::connect(node.address).await.unwrap();
    let second = TcpStream::connect(node.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let asking = tokio::spawn(raw(node.address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", "no route"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!asking.is_finished());
    assert_eq!(node.gateway.stats().connections_open, 2);
    drop(first);
    assert!(asking.await.unwrap().contains("404"));
    drop(second);
}

/// A client's socket that never reads.
struct Deaf(hyper_util::rt::TokioIo<TcpStream>);

impl hyper::rt::Read for Deaf {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl hyper::rt::Write for Deaf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn http2_responses_that_nobody_reads_stay_with_the_pod() {
    const STREAMS: usize = 100;
    let node = Node::start().await;
    let (asked, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (asking, taking) = (asked.clone(), taken.clone());
    let endless = Pod(move |request: Request<Body>| {
        let (asking, taking) = (asking.clone(), taking.clone());
        async move {
            if request.uri().path() == "/__probe" {
                return Ok(Response::new(empty()));
            }
            asking.fetch_add(1, Relaxed);
            let stream = futures::stream::repeat_with(move || {
                taking.fetch_add(16 * 1024, Relaxed);
                Ok(Frame::data(Bytes::from_static(&[1; 16 * 1024])))
            });
            Ok(Response::new(BodyExt::boxed_unsync(StreamBody::new(stream))))
        }
    });
    node.endpoints.insert(pod(1), Arc::new(endless));
    node.publish("big", &[pod(1)]).await;
    let socket = Deaf(hyper_util::rt::TokioIo::new(TcpStream::connect(node.address).await.unwrap()));
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let windows = (i32::MAX - 65_535) as u32;
    client.initial_stream_window_size(windows).initial_connection_window_size(windows);
    let (mut sender, connection) = client.handshake::<_, Body>(socket).await.unwrap();
    tokio::spawn(connection);
    let request = || Request::get("http://big.test/").body(empty()).unwrap();
    let _responses: Vec<_> = (0..STREAMS).map(|_| tokio::spawn(sender.send_request(request()))).collect();
    let mut before = usize::MAX;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = taken.load(Relaxed);
        if asked.load(Relaxed) == STREAMS && now == before {
            break;
        }
        before = now;
    }
    assert_eq!(
        (asked.load(Relaxed), taken.load(Relaxed)),
        (STREAMS, before),
        "all are answered, and then nothing moves"
    );
    // The kernel's buffers of one connection may hold some MiB; each stream a buffer and a part.
    assert!(before < 10 * MIB + STREAMS * 64 * 1024, "{before} bytes were taken from the pod");
}

#[tokio::test]
async fn a_client_whose_http2_window_stays_shut_is_cut() {
    let node = Node::with(|config| config.stall_timeout = Duration::from_millis(1)).await;
    node.endpoints.insert(pod(1), says("one"));
    node.publish("web", &[pod(1)]).await;
    let socket = hyper_util::rt::TokioIo::new(TcpStream::connect(node.address).await.unwrap());
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = client.initial_stream_window_size(0).handshake::<_, Body>(socket).await.unwrap();
    let ended = tokio::spawn(connection);
    let response = sender.send_request(Request::get("http://web.test/").body(empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let cut = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert!(cut.is_ok(), "the connection is still held for a response that is not taken");
    drop(response);
}

#[tokio::test]
async fn requests_beside_the_first_of_a_connection_are_bounded_over_all_of_them() {
    let node = Node::with(|config| config.streams_max = 2).await;
    let open = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = open.clone();
    let slow = Pod(move |request: Request<Body>| {
        let gate = gate.clone();
        async move {
            if request.uri().path() != "/__probe" {
                drop(gate.acquire().await);
            }
            Ok(Response::new(full("done")))
        }
    });
    node.endpoints.insert(pod(1), Arc::new(slow));
    node.publish("web", &[pod(1)]).await;
    let stream = TcpStream::connect(node.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Body>(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut send = || tokio::spawn(sender.send_request(Request::get("http://web.test/").body(empty()).unwrap()));
    let waiting = [send(), send(), send()];
    let refused = send().await.unwrap().unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert_eq!(node.get("web.test", "/__probe").await.0, 200, "another connection has its own first");
    open.add_permits(10);
    for response in waiting {
        assert_eq!(text(response.await.unwrap().unwrap()).await, "done");
    }
    assert_eq!(text(send().await.unwrap().unwrap()).await, "done");
}

#[tokio::test]
async fn several_threads_share_one_port() {
    let node = Node::start().await;
    node.endpoints.insert(pod(1), says("one"));
    node.publish("web", &[pod(1)]).await;
    let listeners = eyot_gateway::bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
    let address = listeners[0].local_addr().unwrap();
    assert!(eyot_gateway::bind(address, 2).is_err(), "the port is taken, even for listeners that would share it");
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn({
        let (gateway, stop) = (node.gateway.clone(), stop.clone());
        async move { gateway.serve_on_threads(listeners, stop).await }
    });
    let uri = format!("http://{address}/");
    let answers = futures::future::join_all((0..32).map(|_| Node::fetch(&uri, "web.test"))).await;
    assert!(answers.iter().all(|it| it.0 == 200), "{answers:?}");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), serving).await.expect("all threads end").unwrap();
}
