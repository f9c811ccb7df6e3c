//! The figures, each in a file of its own. What they have in common: [`Figure`], [`Outcome`].

pub(super) mod autoscale;
pub(super) mod cold_start;
pub(super) mod density;
pub(super) mod latency;
pub(super) mod memory;
pub(super) mod offline;
pub(super) mod policy;

use std::time::Duration;

use eyot_advise::Text;
use serde_json::{Value, json};

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// What the promise is held to, in base units: nanoseconds, bytes or a count.
    pub(super) value: i64,
    /// The usual value, where `value` is the worst of many.
    pub(super) usual: Option<i64>,
    /// How it was taken.
    pub(super) how: Text,
    /// What of the promise it does not show; nothing when it shows all.
    pub(super) leaves_open: Option<Text>,
}

/// What became of a measurement.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Taken(Figure),
    /// Why not.
    Unknown(Text),
}

impl Outcome {
    pub(super) fn unknown(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self::Unknown(Text::new(en, zh))
    }
}

impl Figure {
    /// The 99th percentile of durations, with the median beside it.
    fn of_durations(mut samples: Vec<Duration>, how: Text) -> Option<Self> {
        samples.sort();
        Some(Self {
            value: nanos(quantile(&samples, 0.99)?),
            usual: Some(nanos(quantile(&samples, 0.5)?)),
            how,
            leaves_open: None,
        })
    }
}

/// The sample below which that share of all lies; the samples are sorted.
fn quantile(samples: &[Duration], share: f64) -> Option<Duration> {
    let index = (samples.len() as f64 * share).ceil() as usize;
    samples.get(index.saturating_sub(1)).copied()
}

fn nanos(took: Duration) -> i64 {
    i64::try_from(took.as_nanos()).unwrap_or(i64::MAX)
}

/// A pod like those of the folder's Deployment, which no Service and no ReplicaSet selects.
fn pod(bench: &super::Bench<'_>, name: &str, group: &str) -> Value {
    let template = &bench.folder.deployment()["spec"]["template"];
    json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": bench.folder.namespace, "labels": labels(group) },
        "spec": template["spec"] })
}

fn labels(group: &str) -> Value {
    json!({ "app.kubernetes.io/name": "eyot-verify", "eyot.io/verify": group })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample_that_was_taken() {
        let samples: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let figure = Figure::of_durations(samples, Text::default()).expect("samples");
        assert_eq!((figure.value, figure.usual), (99_000_000, Some(50_000_000)));
        assert!(Figure::of_durations(Vec::new(), Text::default()).is_none());
    }
}
