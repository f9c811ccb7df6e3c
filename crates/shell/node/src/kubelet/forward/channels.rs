//! Port forwarding over WebSocket channels, `v4.channel.k8s.io`.
//!
//! Each message starts with a channel number: twice the port's place in the query for data, one more for errors. Each
//! channel opens with the port in two bytes, little end first.

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message},
};

use super::{Ports, copy::copy};
use crate::kubelet::queued::Room;

/// Channel numbers are bytes, two for each port.
const PORTS_MAX: usize = 128;
/// Messages under way in each direction.
const QUEUE_MAX: usize = 8;

/// The ports that a query asks for: `ports=80&ports=81` or `ports=80,81`.
pub(super) fn wanted(query: &[(String, String)]) -> Result<Vec<u16>, String> {
    let texts =
        query.iter().filter(|(name, _)| matches!(name.as_str(), "ports" | "port")).flat_map(|(_, it)| it.split(','));
    let ports: Result<Vec<u16>, String> = texts
        .map(|it| it.parse::<u16>().ok().filter(|it| *it > 0).ok_or_else(|| format!("{it:?} is no port")))
        .collect();
    let ports = ports?;
    match ports.len() {
        0 => Err("the query names no ports".to_owned()),
        1..=PORTS_MAX => Ok(ports),
        more => Err(format!("{more} ports are more than {PORTS_MAX}")),
    }
}

/// Serves one connection until the client closes it.
pub(super) async fn run<S>(socket: WebSocketStream<S>, ports: Ports, wanted: Vec<u16>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let (out, mut outgoing) = mpsc::channel::<Bytes>(QUEUE_MAX);
    let (mut inputs, room) = (Vec::new(), Room::new());
    let mut tasks = tokio::task::JoinSet::new();
    for (index, port) in wanted.into_iter().enumerate() {
        let (input, incoming) = mpsc::channel(QUEUE_MAX);
        inputs.push(input);
        // Fits, as `wanted` bounds the ports.
        let channel = u8::try_from(2 * index).unwrap_or(u8::MAX - 1);
        tasks.spawn(forward(ports.clone(), port, channel, incoming, out.clone()));
    }
    drop(out);
    let inward = async {
        while let Some(message) = stream.next().await {
            match message? {
                Message::Binary(bytes) if !bytes.is_empty() => {
                    let channel = usize::from(bytes[0]);
                    if let (Some(input), 0) = (inputs.get(channel / 2), channel % 2) {
                        // A port that is closed takes no more; the others go on.
                        let _ = input.send(room.take(&bytes[1..]).await).await;
                    }
                }
                Message::Close(_) => break,
                Message::Binary(_) | Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Ok::<(), Error>(())
    };
    let outward = async {
        while let Some(bytes) = outgoing.recv().await {
            sink.send(Message::Binary(bytes)).await?;
        }
        sink.close().await
    };
    tokio::select! {
        result = inward => result,
        result = outward => result,
    }
}

async fn forward(ports: Ports, port: u16, channel: u8, incoming: mpsc::Receiver<Bytes>, out: mpsc::Sender<Bytes>) {
    for channel in [channel, channel + 1] {
        if out.send(framed(channel, &port.to_le_bytes())).await.is_err() {
            return;
        }
    }
    let connection = match ports.open(port).await {
        Ok(connection) => connection,
        Err(message) => return drop(out.send(framed(channel + 1, message.as_bytes())).await),
    };
    copy(connection, incoming, &out, |bytes| framed(channel, bytes)).await;
}

fn framed(channel: u8, bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 1);
    out.put_u8(channel);
    out.put_slice(bytes);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_from_the_query() {
        let parse = |pairs: &[(&str, &str)]| {
            wanted(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(parse(&[("ports", "80,81"), ("ports", "82")]), Ok(vec![80, 81, 82]));
        assert_eq!(parse(&[]), Err("the query names no ports".to_owned()));
        assert_eq!(parse(&[("ports", "0")]), Err("\"0\" is no port".to_owned()));
        assert!(parse(&[("ports", "1,".repeat(200).trim_end_matches(','))]).is_err());
    }
}
