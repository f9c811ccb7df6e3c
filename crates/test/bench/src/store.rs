//! How fast the store is alone: durable creates by concurrent writers, fan-out of changes to watchers, opening.
//!
//! Start at [`run`].

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use eyot_store::{Attributes, Key, Options, Revision, Scope, Store, Write};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct StoreOptions {
    /// Where to write; a new directory in the system's temporary one when `None`. Must be on the disk to be measured.
    pub dir: Option<PathBuf>,
    /// Writers at once.
    pub writers: usize,
    /// Objects that are created.
    pub creates: usize,
    /// Bytes of each object.
    pub value_bytes: usize,
    /// Watchers that get every change.
    pub watchers: usize,
    /// Changes that are fanned out.
    pub changes: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { dir: None, writers: 64, creates: 50_000, value_bytes: 1024, watchers: 100, changes: 5_000 }
    }
}

/// Measures a store on a fresh directory, which is removed afterwards.
pub(crate) async fn run(options: StoreOptions) -> anyhow::Result<Value> {
    let base = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::tempdir_in(&base).with_context(|| format!("making a directory in {}", base.display()))?;
    let store = open(dir.path())?;
    let one = creates(&store, "one", 1, options.creates.min(1_000), options.value_bytes).await?;
    let many = creates(&store, "many", options.writers, options.creates, options.value_bytes).await?;
    store.close().await;
    drop(store);
    let start = Instant::now();
    let store = open(dir.path())?;
    let opening = start.elapsed();
    let objects: usize = store.resources().iter().map(|it| it.1).sum();
    let fan_out = fan_out(&store, &options).await?;
    store.close().await;
    Ok(json!({
        "value_bytes": options.value_bytes,
        "durable_creates": { "writers": options.writers, "result": many },
        "durable_creates_by_one": one,
        "open": { "objects": objects, "milliseconds": millis(opening) },
        "fan_out": fan_out,
    }))
}

fn open(dir: &Path) -> anyhow::Result<Store> {
    let options = Options::new(|_, _| Attributes::default());
    Store::open(dir.join("store"), options).context("opening the store")
}

fn value(bytes: usize) -> impl FnOnce(Revision) -> Bytes + Send + 'static {
    move |revision| padded(revision.0, bytes)
}

/// A number, and spaces up to the size.
fn padded(number: u64, bytes: usize) -> Bytes {
    let mut value = number.to_string().into_bytes();
    value.resize(bytes.max(value.len()), b' ');
    value.into()
}

async fn creates(store: &Store, name: &str, writers: usize, count: usize, bytes: usize) -> anyhow::Result<Value> {
    let start = Instant::now();
    let tasks = (0..writers).map(|writer| {
        let (store, name) = (store.clone(), name.to_owned());
        tokio::spawn(async move {
            let mut latencies = Histogram::<u64>::new(3)?;
            for it in 0..count / writers {
                let key = Key::new("/configmaps", "bench", format!("{name}-{writer}-{it}"));
                let begin = Instant::now();
                store.write(Write::create(key, value(bytes))).await?;
                latencies.record(micros(begin.elapsed()))?;
            }
            anyhow::Ok(latencies)
        })
    });
    let mut latencies = Histogram::<u64>::new(3)?;
    for task in tasks.collect::<Vec<_>>() {
        latencies.add(task.await??)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(json!({
        "creates": latencies.len(),
        "per_second": (latencies.len() as f64 / seconds).round(),
        "latency_us": quantiles(&latencies),
    }))
}

/// Time from before a write until each watcher has its change.
async fn fan_out(store: &Store, options: &StoreOptions) -> anyhow::Result<Value> {
    let (from, scope) = (store.revision(), Scope::all("/pods"));
    let clock = Instant::now();
    let start = Instant::now();
    let watchers = (0..options.watchers).map(|_| {
        let (watch, changes) = (store.watch(&scope, from, options.changes), options.changes);
        tokio::spawn(async move {
            let (mut watch, mut latencies) = (watch?, Histogram::<u64>::new(3)?);
            for _ in 0..changes {
                let event = watch.next().await.context("the watch ended")??;
                let number = event.entry.value.split(|it| *it == b' ').next().unwrap_or_default();
                let begun: u64 = std::str::from_utf8(number)?.parse()?;
                latencies.record(micros(clock.elapsed()).saturating_sub(begun))?;
            }
            anyhow::Ok(latencies)
        })
    });
    let watchers: Vec<_> = watchers.collect();
    let writers = 8;
    ensure!(options.changes.is_multiple_of(writers), "changes must divide by {writers}");
    let tasks = (0..writers).map(|writer| {
        let (store, count, bytes) = (store.clone(), options.changes / writers, options.value_bytes);
        tokio::spawn(async move {
            for it in 0..count {
                let begun = micros(clock.elapsed());
                let produce = move |_| padded(begun, bytes);
                store.write(Write::create(Key::new("/pods", "bench", format!("{writer}-{it}")), produce)).await?;
            }
            anyhow::Ok(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    let mut latencies = Histogram::<u64>::new(3)?;
    for watcher in watchers {
        latencies.add(watcher.await??)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(json!({
        "watchers": options.watchers,
        "changes": options.changes,
        "changes_per_second": (options.changes as f64 / seconds).round(),
        "deliveries_per_second": (latencies.len() as f64 / seconds).round(),
        "write_to_delivery_us": quantiles(&latencies),
    }))
}

fn quantiles(latencies: &Histogram<u64>) -> Value {
    json!({
        "p50": latencies.value_at_quantile(0.5),
        "p99": latencies.value_at_quantile(0.99),
        "max": latencies.max(),
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}
