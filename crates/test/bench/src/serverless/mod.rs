//! `serverless`: functions at zero, under bursts, updates, steps of load, and beside others.
//!
//! Entry point: [`run`]; each part has a node of its own and runs alone with `--only`. Times are a client's on this machine,
//! over kept connections. What is asked for at a steady rate is timed from when it was due, so that a stall counts for every
//! request that it delayed. Each part says what its aim is and whether it was met.

mod canary;
mod cold;
mod function;
mod jitter;
mod rate;
mod step;
mod zipf;

use anyhow::Result;
use serde_json::{Map, Value, json};

/// One part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// The first request to each of many functions at zero.
    First,
    /// Requests at once to one function at zero.
    Burst,
    /// Functions at zero, asked for at random.
    Zipf,
    /// Memory of functions at zero, and how fast they are deployed.
    Many,
    /// Updates, a canary and a rollback under load.
    Updates,
    /// What a step in load brings.
    Step,
    /// What one function's scaling does to another.
    Jitter,
}

const EACH: [Part; 7] = [Part::First, Part::Burst, Part::Zipf, Part::Many, Part::Updates, Part::Step, Part::Jitter];

/// How much of each.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Parts to run; all when none is named.
    pub only: Vec<Part>,
    /// Functions that are asked for once, one after the other, and updates, of which there are a hundred at most.
    pub samples: usize,
    /// Functions that lie at zero together.
    pub functions: usize,
}

pub(crate) async fn run(options: &Options) -> Result<Value> {
    let parts = if options.only.is_empty() { &EACH[..] } else { &options.only[..] };
    let mut results = Map::new();
    for part in parts {
        let name = format!("{part:?}").to_lowercase();
        eprintln!("  … {name}");
        let result = match part {
            Part::First => cold::first(options.samples).await?,
            Part::Burst => cold::burst().await?,
            Part::Zipf => zipf::run().await?,
            Part::Many => cold::many(options.functions).await?,
            Part::Updates => canary::run(options.samples).await?,
            Part::Step => step::run().await?,
            Part::Jitter => jitter::run().await?,
        };
        results.insert(name, result);
    }
    Ok(Value::Object(results))
}

/// Adds what was aimed at, and whether it was met.
fn judged(mut result: Value, aim: &str, met: bool) -> Value {
    result["aim"] = aim.into();
    result["met"] = json!(met);
    result
}

/// A figure of a result, infinite where there is none.
fn figure(result: &Value, name: &str) -> f64 {
    result[name].as_f64().unwrap_or(f64::INFINITY)
}
