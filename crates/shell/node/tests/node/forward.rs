//! Port forwarding, as clients speak it.

use bytes::{BufMut, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};

use crate::island::{Island, hello, ready};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";

/// A node with the pod `web`, and the address of its kubelet.
async fn served() -> (Island, std::net::SocketAddr) {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    island.create("web", json!({ "containers": [{ "name": "app", "image": image }] })).await;
    island.until("web", ready).await;
    let address = island.kubelet_address().await;
    (island, address)
}

/// A control frame that opens a stream.
pub(crate) fn open(deflate: &mut Compress, stream: u32, kind: &str, port: &str) -> Vec<u8> {
    let pairs = [("streamtype", kind), ("port", port), ("requestid", port)];
    let mut plain = Vec::new();
    plain.put_u32(pairs.len() as u32);
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        plain.put_u32(text.len() as u32);
        plain.put_slice(text.as_bytes());
    }
    let mut block = Vec::with_capacity(1024);
    deflate.compress_vec(&plain, &mut block, FlushCompress::Sync).unwrap();
    let mut out = vec![0x80, 3, 0, 1];
    out.put_u32(10 + block.len() as u32);
    out.put_u32(stream);
    out.put_bytes(0, 6);
    out.extend(block);
    out
}

/// Reads frames until both streams have ended; returns what came on each.
pub(crate) async fn read_pair(stream: &mut (impl AsyncReadExt + Unpin), error: u32, data: u32) -> (String, String) {
    let (mut texts, mut ended) = ([String::new(), String::new()], 0);
    while ended < 2 {
        let mut head = [0; 8];
        stream.read_exact(&mut head).await.unwrap();
        let len = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload).await.unwrap();
        if head[0] & 0x80 != 0 {
            assert_eq!(head[3], 2, "only replies are expected");
            continue;
        }
        let id = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let index = [error, data].iter().position(|it| *it == id).unwrap();
        texts[index] += std::str::from_utf8(&payload).unwrap();
        ended += usize::from(head[4] & 1);
    }
    texts.into()
}

#[tokio::test]
async fn spdy_streams_reach_a_guest_in_process_and_name_a_closed_port() {
    let (_island, address) = served().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let upgrade = "POST /portForward/default/web HTTP/1.1\r\nhost: node\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\
                   x-stream-protocol-version: portforward.k8s.io\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(
        head.starts_with("http/1.1 101") && head.contains("x-stream-protocol-version: portforward.k8s.io"),
        "{head}"
    );

    let mut deflate = Compress::new(Compression::fast(), true);
    stream.write_all(&open(&mut deflate, 1, "error", "8080")).await.unwrap();
    stream.write_all(&open(&mut deflate, 3, "data", "8080")).await.unwrap();
    let mut data = vec![0, 0, 0, 3];
    data.put_u32(REQUEST.len() as u32);
    data.extend_from_slice(REQUEST);
    stream.write_all(&data).await.unwrap();
    let (error, answer) = read_pair(&mut stream, 1, 3).await;
    assert!(
        error.is_empty() && answer.starts_with("HTTP/1.1 200") && answer.contains("hello, world"),
        "{error} {answer}"
    );

    stream.write_all(&open(&mut deflate, 5, "error", "9")).await.unwrap();
    stream.write_all(&open(&mut deflate, 7, "data", "9")).await.unwrap();
    let (error, _) = read_pair(&mut stream, 5, 7).await;
    assert!(error.contains("failed to connect"), "{error}");
}

#[tokio::test]
async fn websocket_channels_and_tunnels_reach_a_guest() {
    let (_island, address) = served().await;
    let connect = async |protocol: &'static str| {
        let mut request = format!("ws://{address}/portForward/default/web?ports=8080").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
        socket
    };
    let mut socket = connect("v4.channel.k8s.io").await;
    socket.send(Message::Binary([&[0], REQUEST].concat().into())).await.unwrap();
    let mut received = [BytesMut::new(), BytesMut::new()];
    while !received[0].windows(12).any(|it| it == b"hello, world") {
        let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() else { continue };
        received[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
    }
    assert_eq!(&received[1][..], 8080u16.to_le_bytes());
    assert_eq!(&received[0][..10], [&8080u16.to_le_bytes()[..], b"HTTP/1.1"].concat());

    let mut socket = connect("SPDY/3.1+portforward.k8s.io").await;
    let mut deflate = Compress::new(Compression::fast(), true);
    let mut wire = open(&mut deflate, 1, "error", "8080");
    wire.extend(open(&mut deflate, 3, "data", "8080"));
    wire.put_u32(3);
    wire.put_u32(REQUEST.len() as u32);
    wire.extend_from_slice(REQUEST);
    // However messages cut the bytes.
    for part in wire.chunks(7) {
        socket.send(Message::Binary(part.to_vec().into())).await.unwrap();
    }
    let (mut reader, mut writer) = tokio::io::duplex(1 << 16);
    let pump = async {
        while let Some(Ok(Message::Binary(bytes))) = socket.next().await {
            writer.write_all(&bytes).await.unwrap();
        }
    };
    let (_, answer) = tokio::select! {
        () = pump => panic!("the tunnel ended"),
        pair = read_pair(&mut reader, 1, 3) => pair,
    };
    assert!(answer.contains("hello, world"), "{answer}");
}

#[tokio::test]
async fn clients_of_ports_take_places_and_give_them_back() {
    let (_island, address) = served().await;
    let connect = async || {
        let mut request = format!("ws://{address}/portForward/default/web?ports=8080").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "v4.channel.k8s.io".parse().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.map(|it| it.0)
    };
    let mut places = Vec::new();
    for _ in 0..256 {
        places.push(connect().await.unwrap());
    }
    let Err(Error::Http(refused)) = connect().await else { panic!("there is no end of places") };
    assert_eq!(refused.status().as_u16(), 429);
    places.truncate(200);
    for _ in 0..500 {
        if connect().await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("places do not come back");
}
