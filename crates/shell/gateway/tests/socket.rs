//! Pods that listen on sockets, and what guests send.

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use eyot_dispatch::{Body, CallError, Caller, Outbound, empty, full};
use http::{Request, Response};
use support::{Node, Pod, cluster_ip, pod, says, text};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Among the pods: Services lead to no other address of loopback.
const ADDRESS: &str = "127.42.0.241";

/// A server on a socket that answers every connection with what `answer` does.
async fn server<F, R>(answer: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((ADDRESS, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

/// Reads a request head.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Answers requests one after the other with their first line.
async fn first_lines(mut stream: TcpStream) {
    loop {
        let head = head(&mut stream).await;
        let Some(line) = head.lines().next() else { return };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nkeep-alive: x\r\n\r\n{line}", line.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_pod_without_a_handler_is_reached_on_its_socket() {
    let node = Node::start().await;
    let address = server(first_lines).await;
    node.publish("sock", &[address]).await;
    for _ in 0..3 {
        let response = node.send(Request::get("/x?y").header("host", "sock.test").body(empty()).unwrap()).await;
        assert!(!response.headers().contains_key("keep-alive"), "headers of the hop stay on the hop");
        assert_eq!(text(response).await, "GET /x?y HTTP/1.1");
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_passed_by() {
    let node = Node::start().await;
    let address = server(first_lines).await;
    let closed = TcpListener::bind((ADDRESS, 0)).await.unwrap().local_addr().unwrap();
    node.publish("sock", &[closed, address]).await;
    for _ in 0..10 {
        assert_eq!(node.get("sock.test", "/").await.0, 200);
    }
}

#[tokio::test]
async fn an_endpoint_on_the_hosts_loopback_is_none() {
    let node = Node::start().await;
    node.endpoints.insert(pod(1), says("one"));
    // In the same slice, since endpoints of one port are.
    let own = SocketAddr::from(([127, 0, 0, 1], pod(1).port()));
    node.endpoints.insert(own, says("host"));
    node.publish("web", &[pod(1), own]).await;
    for _ in 0..10 {
        let (code, answer) = node.get("web.test", "/").await;
        assert!(code == 200 && answer.starts_with("one GET "), "{code}: {answer}");
        let answer = call(&node, "http://web/").await.unwrap();
        assert!(answer.starts_with("one GET "), "{answer}");
    }
}

/// A server that takes WebSocket upgrades and echoes.
async fn echoing() -> SocketAddr {
    server(|mut stream| async move {
        let head = head(&mut stream).await;
        if !head.contains("upgrade: websocket") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            return;
        }
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-key: k\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

/// Opens a stream that is upgraded.
async fn upgraded(node: &Node) -> (TcpStream, String) {
    let mut client = TcpStream::connect(node.address).await.unwrap();
    let request = "GET /chat HTTP/1.1\r\nhost: ws.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let answer = head(&mut client).await;
    (client, answer)
}

#[tokio::test]
async fn a_websocket_is_tunnelled_to_a_socket() {
    let node = Node::start().await;
    node.publish("ws", &[echoing().await]).await;
    let (mut client, answer) = upgraded(&node).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("x-key: k"), "{answer}");
    for message in [&b"hello"[..], &[0_u8; 70_000]] {
        let (mut read, mut write) = client.split();
        let mut echo = vec![1; message.len()];
        let (written, read) = tokio::join!(write.write_all(message), read.read_exact(&mut echo));
        written.unwrap();
        read.unwrap();
        assert_eq!(echo, message);
    }
    node.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), client.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "a stopping gateway ends tunnels: {ended:?}");
}

#[tokio::test]
async fn an_upgraded_stream_keeps_its_place_among_the_connections() {
    let node = Node::with(|config| config.connections_max = 1).await;
    node.publish("ws", &[echoing().await]).await;
    let (client, answer) = upgraded(&node).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let asked = node.get("ws.test", "/");
    tokio::pin!(asked);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut asked).await.is_err(), "there is one place");
    drop(client);
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), asked).await.expect("the place is free").0, 200);
}

fn caller() -> Caller {
    Caller { namespace: "ns".into(), pod: "client".into() }
}

async fn call(node: &Node, uri: &str) -> Result<String, CallError> {
    let request = Request::get(uri).body(empty()).unwrap();
    let response = node.gateway.clone().send(caller(), request).await?;
    assert_eq!(response.status(), 200);
    Ok(text(response).await)
}

#[tokio::test]
async fn guests_reach_services_by_every_name_and_address_without_a_socket() {
    let node = Node::start().await;
    node.endpoints.insert(pod(1), says("one"));
    node.publish("web", &[pod(1)]).await;
    let ip = cluster_ip("web");
    for host in ["web", "web.ns", "web.ns.svc", "web.ns.svc.cluster.local", "WEB.ns.svc.cluster.local.", ip.as_str()] {
        let answer = call(&node, &format!("http://{host}/a")).await.unwrap();
        assert!(answer.starts_with("one GET "), "{host}: {answer}");
    }
    assert!(call(&node, "http://127.42.0.1:9/").await.unwrap().starts_with("one GET "));
    assert_eq!(node.gateway.stats().outbound, 7);
}

#[tokio::test]
async fn guests_are_told_why_a_name_leads_nowhere() {
    let node = Node::start().await;
    node.publish("web", &[]).await;
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (uri, expected) in [
        ("http://absent/".to_owned(), "connecting: there is no Service ns/absent"),
        ("http://localhost/".to_owned(), "connecting: there is no Service ns/localhost"),
        ("http://web:81/".to_owned(), "connecting: Service ns/web has no port 81"),
        ("http://web:65616/".to_owned(), "connecting: web:65616 names no port"),
        ("http://web/".to_owned(), "connecting: Service ns/web:80 has no ready endpoint"),
        ("https://web:80/".to_owned(), "connecting: web:80 is inside the cluster, where pods are reached by http"),
        (format!("http://{host}/"), "is a loopback or link-local address, which guests may not reach"),
        ("http://0.web.ns.svc/".to_owned(), "names of single pods are not served"),
        (
            "http://no-such-host.invalid.example.invalid/".to_owned(),
            "looking up: no-such-host.invalid.example.invalid: ",
        ),
    ] {
        let error = call(&node, &uri).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{uri}: {error}");
    }
}

#[tokio::test]
async fn a_pod_has_a_bounded_number_of_requests_under_way() {
    let node = Node::with(|config| config.outbound_per_pod_max = 2).await;
    let echo = Pod(|request: Request<Body>| async move { Ok(Response::new(request.into_body())) });
    node.endpoints.insert(pod(1), Arc::new(echo));
    node.publish("web", &[pod(1)]).await;
    let send = || node.gateway.clone().send(caller(), Request::post("http://web/").body(full("x")).unwrap());
    let (one, two) = (send().await.unwrap(), send().await.unwrap());
    let Err(error) = send().await else { panic!("the third was not refused") };
    assert!(matches!(error, CallError::Overloaded(_)), "{error}");
    assert_eq!(text(one).await, "x");
    assert_eq!(text(send().await.unwrap()).await, "x", "a response that was read is no longer under way");
    drop(two);
}

#[tokio::test]
async fn a_request_that_goes_in_a_circle_ends() {
    let node = Node::start().await;
    let gateway = Arc::downgrade(&node.gateway);
    // Sends every request on to itself, headers and all.
    let circle = Pod(move |mut request: Request<Body>| {
        let gateway = gateway.upgrade().unwrap();
        async move {
            *request.uri_mut() = "http://web/".parse().unwrap();
            gateway.send(caller(), request).await
        }
    });
    node.endpoints.insert(pod(1), Arc::new(circle));
    node.service("web", &[pod(1)]);
    node.route("web", "web.test", serde_json::json!([{"backendRefs": [{"name": "web", "port": 80}]}]));
    node.until("web.test", |status| status == 503 && node.gateway.stats().outbound >= 16).await;
    let outbound = node.gateway.stats().outbound;
    assert_eq!(node.get("web.test", "/").await.0, 503);
    let hops = node.gateway.stats().outbound - outbound;
    assert_eq!(hops, 17, "requests that came of one: sixteen hops, and the one refused");
}
