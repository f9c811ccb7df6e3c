//! `advise`: how long an answer takes, in process.
//!
//! Start at [`run`]. Each sample is a whole answer: every combination ranked, the weights' bounds, and the reasons. The
//! scenarios are the shipped ones, and one that leaves everything open, which no architect would write.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use eyot_advise::{Catalog, Scenario, advise, audit::audit};
use serde_json::{Map, Value, json};

use crate::report::{millis, summary};

/// Asks for nothing and rules out as little as it can.
const OPEN: &str = "nodes: 1\nmesh: optional\ngateway: optional\ntriggers: optional\ngpu: optional\n\
                    database: existing\ncontainers: some\nprotocols: [mqtt]\n";

/// Times `samples` answers to each scenario; milliseconds.
pub(crate) fn run(samples: usize) -> Result<Value> {
    let catalog = Catalog::embedded();
    let mut results = Map::new();
    let start = Instant::now();
    let findings = audit(catalog).len();
    results.insert("audit".to_owned(), json!({ "findings": findings, "ms": millis(start.elapsed()) }));
    for (name, text) in scenarios()? {
        let scenario = Scenario::parse(&name, &text).map_err(|flaws| anyhow::anyhow!("{}", flaws[0]))?;
        results.insert(name, measure(catalog, &scenario, samples)?);
    }
    Ok(Value::Object(results))
}

fn scenarios() -> Result<Vec<(String, String)>> {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples/scenarios"));
    let mut all = vec![("everything-open".to_owned(), OPEN.to_owned())];
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "yaml") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            all.push((name, std::fs::read_to_string(&path)?));
        }
    }
    all.sort();
    Ok(all)
}

fn measure(catalog: &Catalog, scenario: &Scenario, samples: usize) -> Result<Value> {
    let mut took: Vec<Duration> = Vec::with_capacity(samples);
    let mut ranked = 0;
    for _ in 0..samples {
        let start = Instant::now();
        let decision = advise(catalog, scenario).map_err(|none| anyhow::anyhow!("{} has no answer", none.scenario))?;
        took.push(start.elapsed());
        ranked = decision.ranked;
    }
    ensure!(ranked > 0, "nothing was ranked");
    Ok(json!({ "ranked": ranked, "answer": summary(&took) }))
}
