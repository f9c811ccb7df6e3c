//! The least an HTTP server can do, a thread for each core: hyper answering every request with the same words, or with a fresh
//! instance of a component on wasmtime alone.
//!
//! What the gateway could reach if routing and guests cost nothing, and if all that a platform adds to guests did. It runs as a
//! process of its own, as the other servers do. Entry point: [`serve`].

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpSocket, task::LocalSet};
use wasmtime_wasi_http::Error;

use crate::floor::{Floor, POD, said};

type Reply = UnsyncBoxBody<Bytes, Error>;

/// Serves until it is killed: what the component in `file` answers, or the same words always.
pub(crate) fn serve(address: SocketAddr, file: Option<&Path>) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads = Vec::new();
    for _ in 0..cores {
        // A pool for each thread: two that share one take each other's slots, and with them what their processors have at hand.
        let floor = file.map(|it| Floor::new(it, POD)).transpose()?.map(Arc::new);
        threads.push(std::thread::spawn(move || serve_here(address, floor)));
    }
    threads.into_iter().try_for_each(|it| it.join().map_err(|_| anyhow::anyhow!("a serving thread panicked"))?)
}

fn serve_here(address: SocketAddr, floor: Option<Arc<Floor>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    LocalSet::new().block_on(&runtime, accept(address, floor))
}

async fn accept(address: SocketAddr, floor: Option<Arc<Floor>>) -> Result<()> {
    let socket = TcpSocket::new_v4().context("making a socket")?;
    socket.set_reuseport(true).context("sharing the port")?;
    socket.bind(address).context("binding the address")?;
    let listener = socket.listen(1024).context("listening")?;
    loop {
        let (stream, _) = listener.accept().await.context("accepting")?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        let floor = floor.clone();
        let service = service_fn(move |request| answer(floor.clone(), request));
        // A client that leaves ends its connection, no more.
        tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(floor: Option<Arc<Floor>>, request: Request<Incoming>) -> Result<Response<Reply>> {
    let Some(floor) = floor else {
        let words = Full::new(Bytes::from_static(b"Hello from nobody\n"));
        return Ok(Response::new(words.map_err(|never| match never {}).boxed_unsync()));
    };
    let failed: fn(hyper::Error) -> Error = |error| Error::InternalError(Some(error.to_string()));
    let response = floor.call(request.map(|body| body.map_err(failed))).await.map_err(said)?;
    // Told whole, as the gateway tells it.
    let (head, body) = response.into_parts();
    let whole = body.collect().await.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    Ok(Response::from_parts(head, Full::new(whole).map_err(|never| match never {}).boxed_unsync()))
}
