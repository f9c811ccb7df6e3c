//! Specs of Kubernetes' conformance suite that run containers, with WebAssembly guests in their place. `docs/conformance.md`
//! counts them.

mod containers;
mod environment;
mod lifecycle;
mod pods;
mod probes;
mod resize;
mod volumes;

use serde_json::{Value, json};

/// Arguments of the toolbox: steps, separated by commas, of words without spaces.
pub(crate) fn steps(text: &str) -> Value {
    json!(text.split_whitespace().collect::<Vec<_>>())
}

/// Whether `log` has each of `lines` among its lines.
#[track_caller]
fn has_lines(log: &str, lines: &[&str]) {
    for line in lines {
        assert!(log.lines().any(|it| it == *line), "no {line:?} in:\n{log}");
    }
}
