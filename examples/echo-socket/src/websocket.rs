//! The little of RFC 6455 that an echo needs: the handshake, and frames without extensions.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use wstd::io::{self, AsyncRead, AsyncWrite};

/// Longest payload of one frame.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The client's key, when the request asks for a WebSocket.
pub fn key(head: &str) -> Option<&str> {
    let header = |wanted: &str| {
        head.lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(n, _)| n.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, v)| v.trim())
    };
    header("upgrade").filter(|v| v.eq_ignore_ascii_case("websocket"))?;
    header("sec-websocket-key")
}

/// Accepts the upgrade, then sends every message back until the client closes.
pub async fn serve(input: &mut impl AsyncRead, output: &mut impl AsyncWrite, key: &str) -> io::Result<()> {
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = STANDARD.encode(digest);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    output.write_all(answer.as_bytes()).await?;
    loop {
        let mut head = [0; 2];
        read_exact(input, &mut head).await?;
        let payload = payload(input, head[1]).await?;
        let (is_final, opcode) = (head[0] & 0x80, head[0] & 0x0f);
        let reply = if opcode == PING { PONG } else { opcode };
        if opcode != PONG {
            write(output, is_final | reply, &payload).await?;
        }
        if opcode == CLOSE {
            return Ok(());
        }
    }
}

/// Reads the rest of a frame and takes the client's mask off.
async fn payload(input: &mut impl AsyncRead, second: u8) -> io::Result<Vec<u8>> {
    let length = match second & 0x7f {
        126 => {
            let mut bytes = [0; 2];
            read_exact(input, &mut bytes).await?;
            u64::from(u16::from_be_bytes(bytes))
        }
        127 => {
            let mut bytes = [0; 8];
            read_exact(input, &mut bytes).await?;
            u64::from_be_bytes(bytes)
        }
        short => u64::from(short),
    };
    if length > PAYLOAD_BYTES_MAX || second & 0x80 == 0 {
        return Err(io::Error::other("a frame that is too long or not masked"));
    }
    let mut mask = [0; 4];
    read_exact(input, &mut mask).await?;
    let mut payload = vec![0; length as usize];
    read_exact(input, &mut payload).await?;
    payload.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= mask[i % 4]);
    Ok(payload)
}

async fn write(output: &mut impl AsyncWrite, first: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(short as u8),
        middle @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    output.write_all(&frame).await
}

async fn read_exact(input: &mut impl AsyncRead, mut buf: &mut [u8]) -> io::Result<()> {
    while !buf.is_empty() {
        match input.read(buf).await? {
            0 => return Err(io::Error::other("the client went away within a frame")),
            read => buf = &mut buf[read..],
        }
    }
    Ok(())
}
