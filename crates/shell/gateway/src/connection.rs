//! One client connection: what is under way on it, when it has been idle for too long, and a socket that gives up on
//! clients that read nothing.
//!
//! There is one timer for a connection, not one for each request: it looks at marks that requests leave.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use eyot_dispatch::{Front, Unstalled};
use eyot_route::{Action, Backend};
use http::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Gateway, headers,
    services::{Client, Pool},
};

/// Fewest bytes that a client takes in the time of a stall while a response waits for it: 270 a second in 60 seconds.
const TAKEN_MIN: u64 = 16 * 1024;

/// How often a connection's marks are looked at; timeouts are late by at most this.
pub(crate) const TICK: Duration = Duration::from_secs(5);

/// A client connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) gateway: Arc<Gateway>,
    /// Address of the client, as `X-Forwarded-For` gives it.
    pub(crate) peer: HeaderValue,
    /// The same as `Forwarded` gives it.
    pub(crate) forwarded: HeaderValue,
    /// The same with its port.
    pub(crate) address: SocketAddr,
    /// The same for choosing endpoints.
    pub(crate) client: Client,
    pub(crate) marks: Marks,
    /// Ends what outlives the connection's requests: upgraded streams.
    pub(crate) cut: CancellationToken,
    /// Where all of its requests go, whatever they ask for; routes decide where there is nothing.
    pub(crate) direct: Option<Direct>,
    /// Who stands before the functions that it asks for by name; it asks for nothing else then.
    pub(crate) front: Option<Arc<dyn Front>>,
    /// Its place. The socket refers here, so an upgraded stream has the place until it ends.
    _slot: OwnedSemaphorePermit,
}

/// The one Service that a port of the node leads to.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) action: Arc<Action<Arc<Pool>>>,
    /// Address and port of the node.
    pub(crate) listener: SocketAddr,
    /// The connection's place among those of its namespace.
    _share: OwnedSemaphorePermit,
}

impl Direct {
    pub(crate) fn new(pool: Arc<Pool>, listener: SocketAddr, share: OwnedSemaphorePermit) -> Self {
        let route = pool.service().into();
        let action = Arc::new(Action::forward(route, vec![Backend { weight: 1, target: Ok(pool) }]));
        Direct { action, listener, _share: share }
    }
}

/// What has happened on a connection.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    in_flight: AtomicU32,
    /// Requests begun or ended, modulo 2^32: changes tell activity.
    turns: AtomicU32,
    /// Bytes have come since the last request began or ended.
    partial: AtomicBool,
    /// Responses of which a part was given to be sent and no more was asked for.
    unsent: AtomicU32,
    /// Bytes that the socket took.
    taken: AtomicU64,
}

/// A request under way on a connection; ends when dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: Arc<Connection>,
    /// Whether a part of its response is among those that are not sent.
    is_unsent: bool,
    /// The first of a connection has its place with it.
    _stream: Option<OwnedSemaphorePermit>,
}

impl Connection {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        address: SocketAddr,
        cut: CancellationToken,
        direct: Option<Direct>,
        front: Option<Arc<dyn Front>>,
        slot: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        // An IP address is a valid header value.
        let peer = HeaderValue::try_from(address.ip().to_canonical().to_string());
        let peer = peer.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let (forwarded, client) = (headers::forwarded_by(address.ip()), Client::of(&peer));
        let marks = Marks::default();
        Arc::new(Self { gateway, peer, forwarded, address, client, marks, cut, direct, front, _slot: slot })
    }

    /// Marks the start of a request; `None` where too many are under way beside others of their connections.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Exchange> {
        self.marks.turn();
        let is_first = self.marks.in_flight.fetch_add(1, Relaxed) == 0;
        let mut exchange = Exchange { connection: self.clone(), is_unsent: false, _stream: None };
        if !is_first {
            exchange._stream = Some(self.gateway.streams.clone().try_acquire_owned().ok()?);
        }
        Some(exchange)
    }
}

impl Exchange {
    /// A part of the response was given to be sent, or, where it `is_unsent` no more, the next is asked for.
    pub(crate) fn set_unsent(&mut self, is_unsent: bool) {
        if self.is_unsent != is_unsent {
            self.is_unsent = is_unsent;
            let unsent = &self.connection.marks.unsent;
            if is_unsent {
                unsent.fetch_add(1, Relaxed)
            } else {
                unsent.fetch_sub(1, Relaxed)
            };
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.set_unsent(false);
        self.connection.marks.in_flight.fetch_sub(1, Relaxed);
        self.connection.marks.turn();
    }
}

impl Marks {
    fn turn(&self) {
        self.turns.fetch_add(1, Relaxed);
        self.partial.store(false, Relaxed);
    }
}

/// Judges a connection from its marks, tick by tick.
#[derive(Debug)]
pub(crate) struct Watchdog {
    turns: u32,
    since: Instant,
    partial_since: Option<Instant>,
    /// Since when responses wait for the client, and what it had taken by then.
    unsent_since: Option<(Instant, u64)>,
    head_timeout: Duration,
    idle_timeout: Duration,
    stall_timeout: Duration,
}

impl Watchdog {
    pub(crate) fn new(now: Instant, config: &Config) -> Self {
        let Config { head_timeout, idle_timeout, stall_timeout, .. } = *config;
        let (partial_since, unsent_since) = (None, None);
        Self { turns: 0, since: now, partial_since, unsent_since, head_timeout, idle_timeout, stall_timeout }
    }

    /// Whether the connection has been silent, half-way through a request head, or taking next to nothing of what waits for the
    /// client, for too long.
    pub(crate) fn is_over(&mut self, marks: &Marks, now: Instant) -> bool {
        let turns = marks.turns.load(Relaxed);
        if marks.in_flight.load(Relaxed) > 0 || turns != self.turns {
            self.turns = turns;
            self.since = now;
            self.partial_since = None;
            return self.is_stalled(marks, now);
        }
        self.unsent_since = None;
        if marks.partial.load(Relaxed) {
            let since = *self.partial_since.get_or_insert(now);
            return now - since >= self.head_timeout;
        }
        now - self.since >= self.idle_timeout
    }

    fn is_stalled(&mut self, marks: &Marks, now: Instant) -> bool {
        if marks.unsent.load(Relaxed) == 0 {
            self.unsent_since = None;
            return false;
        }
        let taken = marks.taken.load(Relaxed);
        let (since, before) = *self.unsent_since.get_or_insert((now, taken));
        if taken - before >= TAKEN_MIN {
            self.unsent_since = Some((now, taken));
            return false;
        }
        now - since >= self.stall_timeout
    }
}

/// A client's socket. A write that makes no progress for `stall_timeout` fails.
pub(crate) struct Socket {
    io: TokioIo<Unstalled<TcpStream>>,
    connection: Arc<Connection>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, connection: Arc<Connection>, stall_timeout: Duration) -> Self {
        Self { io: TokioIo::new(Unstalled::new(stream, stall_timeout)), connection }
    }

    fn counted(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(taken)) = &polled {
            self.connection.marks.taken.fetch_add(*taken as u64, Relaxed);
        }
        polled
    }
}

impl Read for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if polled.is_ready() {
            self.connection.marks.partial.store(true, Relaxed);
        }
        polled
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.counted(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, buffers);
        self.counted(polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_does_not_end_is_cut_before_an_idle_connection_is() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let config = Config::default();
        let mut dog = Watchdog::new(start, &config);
        let marks = Marks::default();
        assert!(!dog.is_over(&marks, start + 70 * second));
        assert!(dog.is_over(&marks, start + 75 * second), "idle");
        marks.partial.store(true, Relaxed);
        let mut dog = Watchdog::new(start, &config);
        assert!(!dog.is_over(&marks, start + 5 * second), "the head began at most a tick ago");
        assert!(!dog.is_over(&marks, start + 15 * second));
        assert!(dog.is_over(&marks, start + 20 * second));
    }

    #[test]
    fn a_client_that_takes_next_to_nothing_of_its_response_is_cut() {
        let start = Instant::now();
        let mut dog = Watchdog::new(start, &Config::default());
        let marks = Marks::default();
        marks.in_flight.store(1, Relaxed);
        let mut over = |seconds: u64| dog.is_over(&marks, start + Duration::from_secs(seconds));
        assert!(!over(500), "the pod has given nothing");
        marks.unsent.store(1, Relaxed);
        assert!(!over(505) && !over(560));
        marks.taken.fetch_add(TAKEN_MIN, Relaxed);
        assert!(!over(565), "slow, but not too slow");
        marks.taken.fetch_add(TAKEN_MIN - 1, Relaxed);
        assert!(!over(620));
        marks.unsent.store(0, Relaxed);
        assert!(!over(625), "the client waits for the pod again");
        marks.unsent.store(1, Relaxed);
        assert!(!over(630));
        marks.taken.fetch_add(TAKEN_MIN - 1, Relaxed);
        assert!(over(690));
    }

    #[test]
    fn requests_keep_a_connection() {
        let start = Instant::now();
        let hour = Duration::from_secs(3600);
        let mut dog = Watchdog::new(start, &Config { idle_timeout: hour / 2, ..Config::default() });
        let marks = Marks::default();
        marks.in_flight.store(1, Relaxed);
        assert!(!dog.is_over(&marks, start + hour), "in flight");
        marks.in_flight.store(0, Relaxed);
        marks.turn();
        assert!(!dog.is_over(&marks, start + hour * 2), "ended since the last tick");
        assert!(dog.is_over(&marks, start + hour * 3));
    }
}
