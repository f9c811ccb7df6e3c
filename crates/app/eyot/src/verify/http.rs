//! A client of the gateway that keeps its connection. Entry point: [`Connection::open`].

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

/// One kept connection.
pub(super) struct Connection {
    sender: SendRequest<Empty<&'static [u8]>>,
    host: String,
}

impl Connection {
    /// Connects to `address` (`ip:port`) to ask for `host`.
    pub(super) async fn open(address: &str, host: &str) -> Result<Self> {
        let stream =
            tokio::net::TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.context("calling the gateway")?;
        // It ends with the sender.
        tokio::spawn(connection);
        Ok(Self { sender, host: host.to_owned() })
    }

    /// GETs `/` and reads the whole answer.
    pub(super) async fn get(&mut self) -> Result<(Duration, StatusCode)> {
        self.sender.ready().await.context("the gateway closed the connection")?;
        let request = Request::get("/").header(HOST, &self.host).body(Empty::new())?;
        let began = Instant::now();
        let response = self.sender.send_request(request).await.context("asking the service")?;
        let status = response.status();
        response.into_body().collect().await.context("reading the answer")?;
        Ok((began.elapsed(), status))
    }

    /// GETs until the answer is a success; how long that took from `began`.
    pub(super) async fn first_answer(address: &str, host: &str, began: Instant, limit: Duration) -> Result<Duration> {
        loop {
            let answer = match Self::open(address, host).await {
                Ok(mut connection) => connection.get().await,
                Err(error) => Err(error),
            };
            match answer {
                Ok((_, status)) if status.is_success() => return Ok(began.elapsed()),
                Ok((_, status)) if began.elapsed() > limit => anyhow::bail!("{host} still answers {status}"),
                Err(error) if began.elapsed() > limit => return Err(error),
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }
}
