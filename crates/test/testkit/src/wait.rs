//! Waiting for something to become true.

use std::{
    ops::AsyncFnMut,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// Tries `check` until it succeeds; after `limit` its last error is the answer.
pub async fn eventually<T>(what: &str, limit: Duration, mut check: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let until = Instant::now() + limit;
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > until => {
                return Err(error).with_context(|| format!("{what}: not within {} s", limit.as_secs()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
}
