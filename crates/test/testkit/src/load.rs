//! Requests that keep coming while something else happens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use crate::Gateway;

/// Failures that are kept word for word.
const EXAMPLES_MAX: usize = 10;

/// A few clients that call one host in turn until told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers with status 200.
    pub answered: u64,
    /// Everything else.
    pub failed: u64,
    /// The first failures, in words.
    pub examples: Vec<String>,
}

impl Load {
    /// Starts `clients` clients, each with one request at a time and a breath between two.
    pub fn start(gateway: &Gateway, host: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| tokio::spawn(client(gateway.clone(), host.to_owned(), stop.clone()));
        Load { clients: (0..clients).map(client).collect(), stop }
    }

    /// Stops the clients after the requests under way.
    pub async fn stop(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for client in self.clients {
            let tally = client.await.context("a client of the load")?;
            sum.answered += tally.answered;
            sum.failed += tally.failed;
            sum.examples.extend(tally.examples);
        }
        sum.examples.truncate(EXAMPLES_MAX);
        Ok(sum)
    }
}

async fn client(gateway: Gateway, host: String, stop: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let failure = match gateway.get(&host, "/").await {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => Some(format!("{}: {}", answer.status, answer.text().trim())),
            Err(error) => Some(format!("{error:#}")),
        };
        match failure {
            None => tally.answered += 1,
            Some(failure) => {
                tally.failed += 1;
                if tally.examples.len() < EXAMPLES_MAX {
                    tally.examples.push(failure);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tally
}
