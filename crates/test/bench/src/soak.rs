//! `soak`: many requests, an instance each, and what the process's memory does meanwhile.
//!
//! Start at [`run`]. Every core answers one request after another; each hundredth traps, so that failures are part of it. The
//! first fifth warms up and is not counted; over the rest memory, page tables included, must stay flat: what it came to at most is
//! held against what it was then. Deliberately absent: the gateway and objects, whose part `memory` and the tests of a siege see.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use eyot_runtime::{HttpGuest, Runtime, RuntimeConfig};
use serde_json::{Value, json};

use crate::{
    memory,
    report::{self, Aim},
    runtime::{self, spec},
};

/// How often memory is looked at.
const EACH: Duration = Duration::from_millis(250);
/// What memory may grow by, in percent.
const GROWTH_PERCENT: f64 = 5.0;

pub(crate) async fn run(requests: u64) -> Result<Value> {
    ensure!(requests >= 1000, "a soak needs 1,000 requests at least");
    let dir = tempfile::tempdir()?;
    let runtime = Runtime::new(RuntimeConfig::new(dir.path().join("cache")))?;
    let guest = async |name: &str, does: &str| -> Result<Arc<HttpGuest>> {
        let file = dir.path().join(name);
        runtime::write_smallest(&file, does)?;
        Ok(runtime.load(&file, &format!("bench:{name}")).await?.serve(spec())?)
    };
    let good = guest("good", "(call $hello (local.get $outparam))").await?;
    let bad = guest("bad", "(unreachable)").await?;
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers: Vec<_> =
        (0..cores).map(|_| tokio::spawn(work(good.clone(), bad.clone(), done.clone(), requests))).collect();
    let mut seen = Vec::new();
    while done.load(Relaxed) < requests {
        tokio::time::sleep(EACH).await;
        if done.load(Relaxed) >= requests / 5 {
            seen.push(taken()?);
        }
    }
    for worker in workers {
        worker.await.context("a worker ended badly")??;
    }
    let took = began.elapsed();
    seen.push(taken()?);
    let (first, last) = (seen[0], seen[seen.len() - 1]);
    let most = seen.iter().copied().fold(first, f64::max);
    Ok(json!({
        "requests": done.load(Relaxed),
        "failed_as_they_should": bad.stats().failures,
        "requests_per_second": (done.load(Relaxed) as f64 / took.as_secs_f64()).round(),
        "resident_and_page_tables_mib": { "first": first, "most": most, "last": last },
        "growth_percent": report::verdict((most / first - 1.0) * 100.0, Aim::AtMost(GROWTH_PERCENT)),
    }))
}

async fn work(good: Arc<HttpGuest>, bad: Arc<HttpGuest>, done: Arc<AtomicU64>, requests: u64) -> Result<()> {
    loop {
        let number = done.fetch_add(1, Relaxed);
        if number >= requests {
            done.fetch_sub(1, Relaxed);
            return Ok(());
        }
        if number % 100 == 99 {
            ensure!(runtime::call(&bad).await.is_err(), "a guest that traps answered");
        } else {
            runtime::call(&good).await?;
        }
        // Others' turn: what is ready at once never waits by itself.
        tokio::task::yield_now().await;
    }
}

/// Resident memory of this process and its page tables, in MiB.
fn taken() -> Result<f64> {
    memory::with_page_tables_mib(std::process::id()).context("reading this process's memory")
}
