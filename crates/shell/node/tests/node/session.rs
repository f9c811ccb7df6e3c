//! Attaching and executing, as clients speak it.

use std::net::SocketAddr;

use flate2::{Compress, Compression};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::{
    forward,
    island::{Island, container, echo, hello, phase, ready, spinner},
};

const ALL: &str = "stdin=true&stdout=true&stderr=true";

/// Opens a session over WebSocket messages.
async fn open(address: SocketAddr, path: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{address}{path}").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "v5.channel.k8s.io".parse().unwrap());
    let stream = TcpStream::connect(address).await?;
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

/// What a refused session says: its code and message.
async fn refused(address: SocketAddr, path: &str) -> (u16, String) {
    match open(address, path).await {
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            let status: Value = serde_json::from_slice(&body).unwrap();
            (response.status().as_u16(), status["message"].as_str().unwrap_or_default().to_owned())
        }
        other => panic!("not refused: {other:?}"),
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, channel: u8, bytes: &[u8]) {
    let message = [&[channel], bytes].concat();
    socket.send(Message::Binary(message.into())).await.unwrap();
}

/// Reads until the server closes: standard output and the status.
async fn read_all(socket: &mut WebSocketStream<TcpStream>) -> (String, Value) {
    let (mut text, mut status) = (String::new(), Value::Null);
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(bytes) = message else { continue };
        match bytes[0] {
            1 => text += std::str::from_utf8(&bytes[1..]).unwrap(),
            3 => status = serde_json::from_slice(&bytes[1..]).unwrap(),
            other => panic!("channel {other}"),
        }
    }
    (text, status)
}

#[tokio::test]
async fn a_client_types_into_a_guest_and_its_leaving_is_the_end_of_input() {
    let island = Island::start().await;
    let image = island.push("echo", echo(0)).await;
    let spec = json!({ "restartPolicy": "Never",
        "containers": [{ "name": "main", "image": image, "stdin": true, "stdinOnce": true }] });
    island.create("echo", spec).await;
    island.until("echo", ready).await;
    let address = island.kubelet_address().await;
    let mut socket = open(address, &format!("/attach/default/echo/main?{ALL}")).await.unwrap();
    send(&mut socket, 0, b"hello ").await;
    send(&mut socket, 0, b"guest\n").await;
    send(&mut socket, 255, &[0]).await;
    let (text, status) = read_all(&mut socket).await;
    assert_eq!((text.as_str(), &status["status"]), ("hello guest\n", &json!("Success")));
    let pod = island.until("echo", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 0);
    let (code, log) = island.kubelet("/containerLogs/default/echo/main").await;
    assert_eq!((code, log.as_str()), (200, "hello guest\n"), "what a client saw is in the log too");
    let (code, message) = refused(address, &format!("/attach/default/echo/main?{ALL}")).await;
    assert_eq!((code, message.as_str()), (400, "container main is not running"));
}

#[tokio::test]
async fn a_guest_that_asks_for_no_input_can_be_watched_only() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    island.create("web", json!({ "containers": [{ "name": "app", "image": image }] })).await;
    island.until("web", ready).await;
    let address = island.kubelet_address().await;
    let (code, message) = refused(address, &format!("/attach/default/web/app?{ALL}")).await;
    assert!(code == 400 && message.contains("reads no standard input"), "{message}");
    let mut socket = open(address, "/attach/default/web/app?stdout=true&stderr=true").await.unwrap();
    island.pods.delete("web", &Default::default()).await.unwrap();
    let (_, status) = read_all(&mut socket).await;
    assert_eq!(status["status"], "Success", "the end of the guest is the end of the session");
}

#[tokio::test]
async fn a_program_of_the_image_runs_beside_the_guest_and_tells_its_exit_code() {
    let island = Island::start().await;
    let (spin, web) = (island.push("echo", echo(3)).await, island.push("hello", hello()).await);
    let main = json!({ "containers": [{ "name": "main", "image": spin, "stdin": true }] });
    island.create("tools", main).await;
    island.create("web", json!({ "containers": [{ "name": "app", "image": web }] })).await;
    island.until("tools", ready).await;
    island.until("web", ready).await;
    let address = island.kubelet_address().await;
    let path = format!("/exec/default/tools/main?command=echo&command=-n&{ALL}");
    let mut socket = open(address, &path).await.unwrap();
    send(&mut socket, 0, b"typed\n").await;
    send(&mut socket, 255, &[0]).await;
    let (text, status) = read_all(&mut socket).await;
    assert_eq!(text, "typed\n");
    assert_eq!(status["details"]["causes"][0], json!({ "reason": "ExitCode", "message": "3" }));
    let (code, message) = refused(address, &format!("/exec/default/tools/main?command=sh&{ALL}")).await;
    assert!(code == 400 && message.contains("\"sh\" is not in image"), "{message}");
    let (code, message) = refused(address, &format!("/exec/default/web/app?command=hello&{ALL}")).await;
    assert!(code == 400 && message.contains("is no command but a wasi:http component"), "{message}");
    assert_eq!(refused(address, &format!("/exec/default/tools/none?command=echo&{ALL}")).await.0, 404);
}

#[tokio::test]
async fn what_runs_beside_a_guest_ends_with_its_pod() {
    let island = Island::start().await;
    let image = island.push("spin", spinner()).await;
    island.create("spin", json!({ "containers": [{ "name": "main", "image": image }] })).await;
    island.until("spin", ready).await;
    let address = island.kubelet_address().await;
    let mut socket = open(address, "/exec/default/spin/main?command=spin&stdout=true").await.unwrap();
    island.pods.delete("spin", &Default::default()).await.unwrap();
    let (_, status) = read_all(&mut socket).await;
    assert_eq!(status["details"]["causes"][0]["message"], "137");
}

#[tokio::test]
async fn older_clients_run_programs_over_spdy() {
    let island = Island::start().await;
    let image = island.push("echo", echo(0)).await;
    island.create("tools", json!({ "containers": [{ "name": "main", "image": image, "stdin": true }] })).await;
    island.until("tools", ready).await;
    let mut stream = TcpStream::connect(island.kubelet_address().await).await.unwrap();
    let upgrade = "POST /exec/default/tools/main?command=echo&stdin=true&stdout=true HTTP/1.1\r\nhost: node\r\n\
                   connection: Upgrade\r\nupgrade: SPDY/3.1\r\nx-stream-protocol-version: v4.channel.k8s.io\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let mut deflate = Compress::new(Compression::fast(), true);
    for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        stream.write_all(&forward::open(&mut deflate, id, kind, "0")).await.unwrap();
    }
    // Data of stream 3, and its end.
    stream.write_all(b"\0\0\0\x03\x01\0\0\x04abc\n").await.unwrap();
    let (error, output) = forward::read_pair(&mut stream, 1, 5).await;
    assert_eq!(output, "abc\n");
    assert_eq!(serde_json::from_str::<Value>(&error).unwrap()["status"], "Success");
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_session() {
    let island = Island::start().await;
    let image = island.push("echo", echo(0)).await;
    let spec = json!({ "containers": [{ "name": "main", "image": image, "stdin": true }] });
    island.create("echo", spec).await;
    island.until("echo", ready).await;
    let address = island.kubelet_address().await;
    let mut socket = open(address, &format!("/attach/default/echo/main?{ALL}")).await.unwrap();
    // As a frame that says its length and one that goes on without an end.
    for frame in
        [&[0x82, 0xff, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0][..], &[0x02, 0xff, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0]]
    {
        let stream = socket.get_mut();
        stream.write_all(frame).await.unwrap();
        if frame[0] == 0x02 {
            // Twice three quarters of what a message may have.
            stream.write_all(&vec![0; 192 << 10]).await.unwrap();
            let _ = stream.write_all(&[0x00, 0xff, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0]).await;
            let _ = stream.write_all(&vec![0; 192 << 10]).await;
        }
        let ended = async { while let Some(Ok(_)) = socket.next().await {} };
        tokio::time::timeout(std::time::Duration::from_secs(10), ended).await.expect("the session ends");
        socket = open(address, &format!("/attach/default/echo/main?{ALL}")).await.unwrap();
    }
    let mut fits = vec![b'x'; 255 << 10];
    fits[(255 << 10) - 1] = b'\n';
    send(&mut socket, 0, &fits).await;
    let mut came = 0;
    while came < fits.len() {
        let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() else { continue };
        came += bytes.len() - 1;
    }
}
