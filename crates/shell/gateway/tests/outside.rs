//! What a guest is told of a host outside that it cannot have an answer from.

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use eyot_dispatch::{CallError, Caller, ConnectWithin, Outbound, empty};
use http::Request;
use support::Node;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// Among the pods, since guests reach no other address of the host.
const ADDRESS: [u8; 4] = [127, 42, 0, 240];

async fn ask(node: &Node, uri: &str, within: Option<Duration>) -> Result<u16, CallError> {
    let mut request = Request::get(uri).body(empty()).unwrap();
    if let Some(limit) = within {
        request.extensions_mut().insert(ConnectWithin(limit));
    }
    let caller = Caller { namespace: "ns".into(), pod: "guest".into() };
    node.gateway.clone().send(caller, request).await.map(|it| it.status().as_u16())
}

/// A server that takes one connection, reads what comes first, says this and leaves.
async fn says(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::from((ADDRESS, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_u8().await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
    });
    address
}

#[tokio::test]
async fn a_name_without_an_address_and_a_port_where_nobody_is_are_told_apart() {
    let node = Node::start().await;
    let nowhere = ask(&node, "http://nobody.at.invalid/", None).await;
    assert!(matches!(&nowhere, Err(CallError::Lookup(why)) if why.starts_with("nobody.at.invalid: ")), "{nowhere:?}");
    let free = TcpListener::bind(SocketAddr::from((ADDRESS, 0))).await.unwrap().local_addr().unwrap();
    let nobody = ask(&node, &format!("http://{free}/"), None).await;
    assert!(matches!(nobody, Err(CallError::Connect(_))), "{nobody:?}");
}

#[tokio::test]
async fn an_address_of_loopback_is_prohibited_and_not_merely_absent() {
    let node = Node::start().await;
    // Somebody is there, whom anybody on the host may ask.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = ask(&node, &format!("http://{}/", listener.local_addr().unwrap()), None).await;
    assert!(
        matches!(&own, Err(CallError::Prohibited(why)) if why.contains("a loopback or link-local address")),
        "{own:?}"
    );
    let metadata = ask(&node, "http://169.254.169.254/", None).await;
    assert!(matches!(metadata, Err(CallError::Prohibited(_))), "{metadata:?}");
}

#[tokio::test]
async fn whoever_speaks_no_http_or_says_nothing_is_told_from_one_who_is_not_there() {
    let node = Node::start().await;
    for text in ["220 mail.example ready\r\n", ""] {
        let found = ask(&node, &format!("http://{}/", says(text).await), None).await;
        assert!(matches!(found, Err(CallError::Protocol(_))), "{text:?}: {found:?}");
    }
}

/// A server that answers one request with so many headers.
async fn answers_with_headers(count: usize) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::from((ADDRESS, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let headers: String = (1..count).map(|n| format!("x-{n}: {n}\r\n")).collect();
        socket
            .write_all(format!("HTTP/1.1 204 No Content\r\n{headers}connection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
    });
    address
}

#[tokio::test]
async fn a_response_may_have_a_thousand_headers_and_no_more() {
    let node = Node::start().await;
    let many = ask(&node, &format!("http://{}/", answers_with_headers(1000).await), None).await;
    assert_eq!(many.unwrap(), 204);
    let more = ask(&node, &format!("http://{}/", answers_with_headers(1001).await), None).await;
    assert!(matches!(more, Err(CallError::Protocol(_))), "{more:?}");
}

#[tokio::test]
async fn connecting_takes_no_longer_than_the_guest_allows() {
    let node = Node::start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((ADDRESS, 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: what does not fit into the queue is not answered.
    let mut queue = Vec::new();
    while let Ok(Ok(one)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        assert!(queue.len() < 64, "the queue has no end");
        queue.push(one);
    }
    let started = Instant::now();
    let late = ask(&node, &format!("http://{address}/"), Some(Duration::from_millis(100))).await;
    assert!(matches!(late, Err(CallError::ConnectTimeout(_))), "{late:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    let prompt = format!("http://{}/", says("HTTP/1.1 204 No Content\r\n\r\n").await);
    assert_eq!(ask(&node, &prompt, Some(Duration::from_secs(5))).await.unwrap(), 204);
}
