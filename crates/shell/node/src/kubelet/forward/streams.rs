//! Port forwarding over SPDY: pairs the client's streams and carries each pair to a port.
//!
//! For each connection to a port the client opens two streams of the same request id: one for an error message, one for
//! data.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Ports, copy::copy};
use crate::kubelet::spdy::{
    connection::{Acceptor, Io, header},
    data,
};

/// Pairs of which one stream may be missing at once.
const HALVES_MAX: usize = 128;

/// Streams that wait for the other of their pair, by request id.
pub(super) struct Pairs {
    ports: Ports,
    halves: HashMap<String, Half>,
}

#[derive(Default)]
struct Half {
    port: Option<u16>,
    error: Option<u32>,
    data: Option<u32>,
}

#[derive(Clone, Copy)]
struct Pair {
    error: u32,
    data: u32,
}

impl Pairs {
    pub(super) fn new(ports: Ports) -> Pairs {
        Pairs { ports, halves: HashMap::new() }
    }
}

impl Acceptor for Pairs {
    fn open(&mut self, stream: u32, headers: &[(String, String)], io: &mut Io) -> bool {
        let port = header(headers, "port").and_then(|it| it.parse::<u16>().ok()).filter(|it| *it > 0);
        let kind = header(headers, "streamtype");
        let (Some(port), Some(kind @ ("error" | "data"))) = (port, kind) else { return false };
        // Clients before request ids pair streams by port.
        let id = header(headers, "requestid").map_or_else(|| format!("port {port}"), str::to_owned);
        if self.halves.len() >= HALVES_MAX && !self.halves.contains_key(&id) {
            return false;
        }
        let half = self.halves.entry(id.clone()).or_default();
        half.port.get_or_insert(port);
        match kind {
            "error" => half.error = Some(stream),
            _ => half.data = Some(stream),
        }
        if let Half { port: Some(port), error: Some(error), data: Some(data) } = *half {
            self.halves.remove(&id);
            let incoming = io.input(data);
            io.spawn(carry(self.ports.clone(), port, Pair { error, data }, incoming, io.out.clone()));
        }
        true
    }
}

async fn carry(ports: Ports, port: u16, pair: Pair, incoming: mpsc::Receiver<Bytes>, out: mpsc::Sender<Bytes>) {
    let message = match ports.open(port).await {
        Ok(connection) => {
            copy(connection, incoming, &out, |bytes| data(pair.data, false, bytes)).await;
            String::new()
        }
        Err(message) => message,
    };
    // The client may be gone; then there is nobody to tell.
    let _ = out.send(data(pair.error, true, message.as_bytes())).await;
    let _ = out.send(data(pair.data, true, &[])).await;
}
