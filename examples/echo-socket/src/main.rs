//! A guest that owns its sockets: listens on `0.0.0.0:PORT` (7000 unless told otherwise) and echoes.
//!
//! What a connection says first decides what it is: an HTTP upgrade becomes a WebSocket whose messages come back, any
//! other HTTP request gets a line of text (so that probes work), everything else comes back byte for byte. With
//! `PROTOCOL=udp` it echoes datagrams instead, and with `ASK=ADDRESS:PORT` it sends one there and prints the answer.

mod datagrams;
mod websocket;

use wstd::io::{self, AsyncRead, AsyncWrite};
use wstd::iter::AsyncIterator;
use wstd::net::{TcpListener, TcpStream};

/// Longest request head that is read.
const HEAD_BYTES_MAX: usize = 8 << 10;

#[wstd::main]
async fn main() -> io::Result<()> {
    if let Ok(place) = std::env::var("ASK") {
        return datagrams::ask(&place, "hello");
    }
    let port = std::env::var("PORT").unwrap_or_else(|_| "7000".to_owned());
    if std::env::var("PROTOCOL").is_ok_and(|it| it.eq_ignore_ascii_case("udp")) {
        return datagrams::serve(&port);
    }
    let listener = TcpListener::bind(&format!("0.0.0.0:{port}")).await?;
    println!("listening on {}", listener.local_addr()?);

    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        let stream = stream?;
        wstd::runtime::spawn(async move {
            // One client's broken connection is no reason to stop serving the others.
            if let Err(error) = serve(&stream).await {
                eprintln!("connection ended: {error}");
            }
        })
        .detach();
    }
    Ok(())
}

async fn serve(stream: &TcpStream) -> io::Result<()> {
    let (mut input, mut output) = stream.split();
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    while !is_decided(&said) {
        let read = input.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        said.extend_from_slice(&chunk[..read]);
    }
    if !said.starts_with(b"GET ") {
        output.write_all(&said).await?;
        return io::copy(stream, stream).await.map(drop);
    }
    let head = String::from_utf8_lossy(&said);
    match websocket::key(&head) {
        Some(key) => websocket::serve(&mut input, &mut output, key).await,
        None => {
            let answer =
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nconnection: close\r\n\r\necho\n";
            output.write_all(answer.as_bytes()).await
        }
    }
}

/// Whether enough was read to tell raw bytes from a request, and a request whole.
fn is_decided(said: &[u8]) -> bool {
    let started = said.len().min(4);
    let is_http = said[..started] == b"GET "[..started];
    match is_http {
        true => said.windows(4).any(|w| w == b"\r\n\r\n") || said.len() > HEAD_BYTES_MAX,
        false => !said.is_empty(),
    }
}
