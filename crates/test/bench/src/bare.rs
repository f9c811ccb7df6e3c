//! The least an HTTP server can do: hyper answering every request with the same words, a thread for each core.
//!
//! What the gateway could reach if routing and guests cost nothing. It runs as a process of its own, as the other servers do.
//! Entry point: [`serve`].

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpSocket, task::LocalSet};

/// Serves until it is killed.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: Vec<_> = (0..cores).map(|_| std::thread::spawn(move || serve_here(address))).collect();
    threads.into_iter().try_for_each(|it| it.join().map_err(|_| anyhow::anyhow!("a serving thread panicked"))?)
}

fn serve_here(address: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    LocalSet::new().block_on(&runtime, accept(address))
}

async fn accept(address: SocketAddr) -> Result<()> {
    let socket = TcpSocket::new_v4().context("making a socket")?;
    socket.set_reuseport(true).context("sharing the port")?;
    socket.bind(address).context("binding the address")?;
    let listener = socket.listen(1024).context("listening")?;
    loop {
        let (stream, _) = listener.accept().await.context("accepting")?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        // A client that leaves ends its connection, no more.
        tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"Hello from nobody\n"))))
}
