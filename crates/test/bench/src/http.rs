//! HTTP load over keep-alive connections: requests per second and latencies of servers, asked in turn.
//!
//! Entry point: [`run`]. The client is written on plain sockets and does as little as it can, because it shares the
//! machine with what it measures. Servers are asked in alternating rounds, so that a slow phase of the machine falls on
//! all of them. Deliberately absent: TLS, HTTP/2, pipelining, and an open-loop arrival rate (each connection sends its
//! next request when it has read the last answer, so latencies are those of a closed loop).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::memory;

/// Longest response head read.
const HEAD_MAX: usize = 64 * 1024;
/// Time before measuring starts, for each server.
const WARM_UP: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Servers, asked in this order in every round.
    pub targets: Vec<Target>,
    /// Connections open at once.
    pub connections: usize,
    /// Length of one round of one server.
    pub round: Duration,
    /// Rounds.
    pub rounds: usize,
}

impl Options {
    /// The usual load for these servers: 64 connections, five rounds of two seconds.
    pub(crate) fn of(targets: Vec<Target>) -> Self {
        Self { targets, connections: 64, round: Duration::from_secs(2), rounds: 5 }
    }
}

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Name in the results.
    pub name: String,
    /// `host:port` to connect to.
    pub address: String,
    /// Value of the `Host` header.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Its process, to tell the processor time that an answer takes.
    pub pid: Option<u32>,
}

/// Asks every server in turn and returns, for each, requests per second (median and extremes of its rounds) and
/// latencies in microseconds over all rounds. Answers other than 200 count as errors.
pub(crate) async fn run(options: Options) -> Result<Value> {
    ensure!(!options.targets.is_empty() && options.connections > 0 && options.rounds > 0, "nothing to measure");
    let mut results: Vec<Outcome> = Vec::new();
    for target in &options.targets {
        load(target, options.connections, WARM_UP).await.with_context(|| format!("warming up {}", target.name))?;
        results.push(Outcome::new()?);
    }
    for _ in 0..options.rounds {
        for (target, result) in options.targets.iter().zip(&mut results) {
            let round = load(target, options.connections, options.round);
            result.add(round.await.with_context(|| format!("asking {}", target.name))?)?;
        }
    }
    let names = options.targets.iter().map(|it| it.name.clone());
    let targets: serde_json::Map<String, Value> = names.zip(results.iter_mut().map(Outcome::report)).collect();
    Ok(json!({
        "connections": options.connections,
        "round_seconds": options.round.as_secs_f64(),
        "rounds": options.rounds,
        "targets": targets,
    }))
}

/// What was counted for one server.
struct Outcome {
    latencies: Histogram<u64>,
    per_second: Vec<f64>,
    requests: u64,
    errors: u64,
    /// Processor time of the server while it was asked.
    cpu_seconds: Option<f64>,
}

impl Outcome {
    fn new() -> Result<Self> {
        // Microseconds, to three digits, up to a minute.
        let latencies = Histogram::new_with_bounds(1, 60_000_000, 3).context("making a histogram")?;
        Ok(Self { latencies, per_second: Vec::new(), requests: 0, errors: 0, cpu_seconds: None })
    }

    fn add(&mut self, round: Round) -> Result<()> {
        self.latencies.add(&round.latencies).context("adding latencies")?;
        self.per_second.push(round.latencies.len() as f64 / round.took.as_secs_f64());
        self.requests += round.latencies.len();
        self.errors += round.errors;
        if let Some(cpu) = round.cpu_seconds {
            *self.cpu_seconds.get_or_insert(0.0) += cpu;
        }
        Ok(())
    }

    fn report(&mut self) -> Value {
        self.per_second.sort_by(f64::total_cmp);
        let median = self.per_second[self.per_second.len() / 2];
        let at = |quantile| self.latencies.value_at_quantile(quantile);
        let cpu_us = self.cpu_seconds.map(|it| it * 1e6 / self.requests.max(1) as f64);
        json!({
            "cpu_us_per_request": cpu_us.map(|it| (it * 10.0).round() / 10.0),
            "requests_per_second_per_core": cpu_us.filter(|it| *it > 0.0).map(|it| (1e6 / it).round()),
            "requests": self.requests,
            "errors": self.errors,
            "requests_per_second": median.round(),
            "requests_per_second_min": self.per_second.first().copied().unwrap_or(0.0).round(),
            "requests_per_second_max": self.per_second.last().copied().unwrap_or(0.0).round(),
            "p50_us": at(0.5),
            "p90_us": at(0.9),
            "p99_us": at(0.99),
            "p999_us": at(0.999),
            "max_us": self.latencies.max(),
        })
    }
}

/// One round of one server.
struct Round {
    latencies: Histogram<u64>,
    errors: u64,
    cpu_seconds: Option<f64>,
    took: Duration,
}

async fn load(target: &Target, connections: usize, length: Duration) -> Result<Round> {
    let started = Instant::now();
    let until = started + length;
    let cpu = || target.pid.and_then(|pid| memory::cpu_seconds_of(pid).ok());
    let cpu_before = cpu();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let connection = Connection::open(target).await?;
        tasks.spawn(connection.ask(until));
    }
    let mut latencies = Outcome::new()?.latencies;
    let mut errors = 0;
    while let Some(ended) = tasks.join_next().await {
        let (some, failed) = ended.context("a client task ended badly")??;
        latencies.add(&some).context("adding latencies")?;
        errors += failed;
    }
    let cpu_seconds = cpu().zip(cpu_before).map(|(after, before)| after - before);
    Ok(Round { latencies, errors, cpu_seconds, took: started.elapsed() })
}

/// A client connection with what was read ahead on it.
pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(target: &Target) -> Result<Self> {
        let request = format!("GET {} HTTP/1.1\r\nhost: {}\r\n\r\n", target.path, target.host).into_bytes();
        Ok(Self { request, ..Self::to(&target.address).await? })
    }

    /// Connects to `host:port`.
    pub(crate) async fn to(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        Ok(Self { stream, request: Vec::new(), buffer: Vec::with_capacity(4096) })
    }

    /// Asks for `/` of a host, reads the whole answer and returns its status.
    pub(crate) async fn get(&mut self, host: &str) -> Result<u16> {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.context("sending a request")?;
        self.answer().await
    }

    /// Asks until the time is up. Returns latencies of good answers, and how many were not.
    async fn ask(mut self, until: Instant) -> Result<(Histogram<u64>, u64)> {
        let mut latencies = Outcome::new()?.latencies;
        let mut errors = 0;
        let mut sent = Instant::now();
        while sent < until {
            self.stream.write_all(&self.request).await.context("sending a request")?;
            let status = self.answer().await?;
            let now = Instant::now();
            if status == 200 {
                let micros = u64::try_from((now - sent).as_micros()).unwrap_or(u64::MAX);
                latencies.saturating_record(micros);
            } else {
                errors += 1;
            }
            sent = now;
        }
        Ok((latencies, errors))
    }

    /// Reads one whole answer and returns its status.
    async fn answer(&mut self) -> Result<u16> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(self.buffer.len() < HEAD_MAX, "the response head is longer than {HEAD_MAX} bytes");
            self.more().await?;
        };
        let head = Head::parse(&self.buffer[..end])?;
        self.buffer.drain(..end);
        match head.length {
            Some(length) => self.skip(length).await?,
            None => self.skip_chunks().await?,
        }
        Ok(head.status)
    }

    async fn more(&mut self) -> Result<()> {
        let count = self.stream.read_buf(&mut self.buffer).await.context("reading an answer")?;
        ensure!(count > 0, "the server closed the connection in the middle of an answer");
        Ok(())
    }

    async fn skip(&mut self, length: usize) -> Result<()> {
        let mut left = length;
        loop {
            let here = left.min(self.buffer.len());
            self.buffer.drain(..here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn skip_chunks(&mut self) -> Result<()> {
        loop {
            let line = loop {
                if let Some(at) = find(&self.buffer, b"\r\n") {
                    break at;
                }
                self.more().await?;
            };
            let size = std::str::from_utf8(&self.buffer[..line]).context("a chunk size")?;
            let size = size.split(';').next().unwrap_or("").trim();
            let size = usize::from_str_radix(size, 16).with_context(|| format!("chunk size {size:?}"))?;
            // The size line, the chunk and the line end after it. Trailers are not expected.
            self.skip(line + 2 + size + 2).await?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

/// What is needed of a response head.
struct Head {
    status: u16,
    /// `None` for a chunked body.
    length: Option<usize>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).context("a response head")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|it| it.split(' ').nth(1)).context("a status line")?;
        let status = status.parse().with_context(|| format!("status {status:?}"))?;
        let mut length = None;
        for (name, value) in lines.filter_map(|it| it.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse().context("content-length")?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Ok(Self { status, length: None });
            }
        }
        match length {
            Some(_) => Ok(Self { status, length }),
            None if status == 204 || status == 304 => Ok(Self { status, length: Some(0) }),
            None => bail!("the response has neither a length nor chunks"),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|it| it == wanted)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every request with the same bytes.
    async fn server(answer: &'static str) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        // In two parts, to have answers end anywhere.
                        let (first, second) = answer.split_at(answer.len() - 3);
                        stream.write_all(first.as_bytes()).await.unwrap();
                        stream.write_all(second.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let pid = Some(std::process::id());
        Target { name: "it".to_owned(), address, host: "h".to_owned(), path: "/".to_owned(), pid }
    }

    #[tokio::test]
    async fn answers_of_both_framings_are_counted_and_others_are_errors() {
        let sized = server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
        let chunked = server("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
        let failing = server("HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno").await;
        let named = |name: &str, target: Target| Target { name: name.to_owned(), ..target };
        let options = Options {
            targets: vec![named("sized", sized), named("chunked", chunked), named("failing", failing)],
            connections: 2,
            round: Duration::from_millis(100),
            rounds: 2,
        };
        let report = run(options).await.unwrap();
        for name in ["sized", "chunked"] {
            let result = &report["targets"][name];
            assert_eq!(result["errors"], 0, "{result}");
            assert!(result["requests"].as_u64().unwrap() > 10, "{result}");
            assert!(result["p50_us"].as_u64() <= result["p99_us"].as_u64(), "{result}");
            assert!(result["cpu_us_per_request"].is_number(), "{result}");
        }
        assert_eq!(report["targets"]["failing"]["requests"], 0);
        assert!(report["targets"]["failing"]["errors"].as_u64().unwrap() > 10);
    }
}
