//! Requests at a steady rate, whatever the answers do.
//!
//! Entry point: [`Rate::start`]. Each connection has every n-th request. One that is late because an earlier answer was is
//! timed from when it was due; one that is late because a timer was, from when it was sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::http::Connection;

/// Failures that are told in words.
const EXAMPLES_MAX: usize = 3;

/// Says whom the n-th request is for.
pub(super) type Hosts = Arc<dyn Fn(u64) -> String + Send + Sync>;

/// Requests that keep coming.
pub(super) struct Rate {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Result<Tally>>,
}

/// What came of them.
pub(super) struct Tally {
    pub(super) latencies: Histogram<u64>,
    pub(super) failed: u64,
    pub(super) examples: Vec<String>,
}

impl Tally {
    fn new() -> Result<Self> {
        let latencies = Histogram::new_with_bounds(1, 60_000_000, 3).context("making a histogram")?;
        Ok(Tally { latencies, failed: 0, examples: Vec::new() })
    }

    /// In milliseconds.
    pub(super) fn at(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }

    pub(super) fn report(&self) -> Value {
        json!({
            "requests": self.latencies.len(), "failed": self.failed, "p50_ms": self.at(0.5), "p99_ms": self.at(0.99),
            "p999_ms": self.at(0.999), "max_ms": self.latencies.max() as f64 / 1e3, "failures": self.examples,
        })
    }
}

impl Rate {
    /// Begins to send `per_second` requests to `address`, over so many connections.
    pub(super) fn start(address: &str, per_second: u64, connections: u64, hosts: Hosts) -> Self {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let began = Instant::now() + Duration::from_millis(50);
        for at in 0..connections {
            let (address, stop, hosts) = (address.to_owned(), stop.clone(), hosts.clone());
            tasks.spawn(async move {
                let mut tally = Tally::new()?;
                let mut connection = None;
                for turn in 0.. {
                    let number = turn * connections + at;
                    let due = began + Duration::from_nanos(number * 1_000_000_000 / per_second);
                    if stop.load(Relaxed) {
                        break;
                    }
                    let since = if Instant::now() < due {
                        tokio::time::sleep_until(due.into()).await;
                        Instant::now()
                    } else {
                        due
                    };
                    match ask(&mut connection, &address, &hosts(number)).await {
                        Ok(()) => {
                            let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                            tally.latencies.saturating_record(micros);
                        }
                        Err(error) => {
                            tally.failed += 1;
                            connection = None;
                            if tally.examples.len() < EXAMPLES_MAX {
                                tally.examples.push(format!("{error:#}"));
                            }
                        }
                    }
                }
                Ok(tally)
            });
        }
        Rate { stop, tasks }
    }

    /// Ends them, and tells what came of them.
    pub(super) async fn stop(mut self) -> Result<Tally> {
        self.stop.store(true, Relaxed);
        let mut sum = Tally::new()?;
        while let Some(tally) = self.tasks.join_next().await {
            let tally = tally.context("a client ended badly")??;
            sum.latencies.add(&tally.latencies).context("adding latencies")?;
            sum.failed += tally.failed;
            sum.examples.extend(tally.examples);
        }
        sum.examples.truncate(EXAMPLES_MAX);
        Ok(sum)
    }

    /// Lets them go on for so long.
    pub(super) async fn during(self, length: Duration) -> Result<Tally> {
        tokio::time::sleep(length).await;
        self.stop().await
    }
}

async fn ask(connection: &mut Option<Connection>, address: &str, host: &str) -> Result<()> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::to(address).await?),
    };
    let status = connection.get(host).await?;
    anyhow::ensure!(status == 200, "{host}: status {status}");
    Ok(())
}
