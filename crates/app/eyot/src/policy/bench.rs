//! `eyot policy bench`.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::load::{Sources, told};

/// Longest that a query is timed, however often that is.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Room for samples that is made before the first.
const SAMPLES_AT_ONCE: u32 = 100_000;

/// Flags of `eyot policy bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchFlags {
    #[command(flatten)]
    sources: Sources,
    /// How often the query is evaluated, at most.
    #[arg(long, default_value_t = 10_000)]
    count: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The query.
    query: String,
}

/// Times a query.
pub(super) fn run(flags: &BenchFlags) -> Result<()> {
    let loaded = flags.sources.load()?;
    let query = loaded.program.query(&flags.query, loaded.dialect);
    let query = query.map_err(|flaws| anyhow::anyhow!("{}", told(&flaws)))?;
    // The first evaluations fill caches, and tell an error before anything is timed.
    let mut steps = 0;
    for _ in 0..(flags.count / 10).clamp(1, 1000) {
        let outcome = loaded.program.eval(&query, &loaded.request)?;
        if outcome.results.is_empty() {
            bail!("{} is undefined: there is nothing to time", flags.query);
        }
        steps = outcome.steps;
    }
    let began = Instant::now();
    let mut samples = Vec::with_capacity(flags.count.min(SAMPLES_AT_ONCE) as usize);
    while samples.len() < flags.count.max(1) as usize && began.elapsed() < TIME_MAX {
        let started = Instant::now();
        let outcome = loaded.program.eval(&query, &loaded.request)?;
        let took = started.elapsed();
        drop(outcome);
        samples.push(took);
    }
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize].as_nanos();
    let mean = samples.iter().sum::<Duration>().as_nanos() / samples.len() as u128;
    if flags.json {
        let fields = [("samples", samples.len() as u128), ("steps", steps.into()), ("mean_ns", mean)];
        let shares = [("p50_ns", at(0.5)), ("p90_ns", at(0.9)), ("p99_ns", at(0.99)), ("max_ns", at(1.0))];
        let all = fields.into_iter().chain(shares);
        let all: serde_json::Map<_, _> =
            all.map(|(name, number)| (name.to_owned(), u64::try_from(number).unwrap_or(u64::MAX).into())).collect();
        println!("{}", serde_json::Value::Object(all));
        return Ok(());
    }
    println!("samples  {}", samples.len());
    println!("steps    {steps}");
    for (name, nanos) in [("mean", mean), ("p50", at(0.5)), ("p90", at(0.9)), ("p99", at(0.99)), ("max", at(1.0))] {
        println!("{name:8} {:.1} µs", nanos as f64 / 1e3);
    }
    Ok(())
}
