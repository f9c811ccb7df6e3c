//! Starts the real `eyot` binary for tests and benchmarks, and drives it as its users do.
//!
//! Entry points: [`with_node`] for a test, [`Node`] for anything longer. Each node has its own data directory, ports and
//! pod range, so that many run side by side. Nothing here reaches into the platform: everything goes through kubectl,
//! kube-rs, HTTP and the process itself.

mod compiled;
mod files;
mod http;
mod kubectl;
mod load;
mod node;
mod wait;

use std::ops::AsyncFnOnce;

pub use files::{binary, example, guest, read_example};
pub use http::{Answer, Gateway};
pub use kubectl::{Outcome, Running};
pub use load::{Load, Tally};
pub use node::{Node, Options, Ready};
pub use wait::eventually;

/// Runs a test against a node of its own.
///
/// # Panics
/// When the node does not start or the test returns an error; the end of the node's log is printed first.
pub async fn with_node(test: impl AsyncFnOnce(&mut Node) -> anyhow::Result<()>) {
    with_node_of(Options::default(), test).await;
}

/// The same for a node that is started in another way.
///
/// # Panics
/// As [`with_node`].
pub async fn with_node_of(options: Options, test: impl AsyncFnOnce(&mut Node) -> anyhow::Result<()>) {
    let mut node = match Node::start_with(options).await {
        Ok(node) => node,
        Err(error) => panic!("starting a node: {error:#}"),
    };
    if let Err(error) = test(&mut node).await {
        for what in ["pods", "events"] {
            let shown = node.kubectl_outcome(&["get", what, "-A", "-o", "wide"]).await;
            eprintln!("--- {what}\n{}", shown.map_or_else(|error| format!("{error:#}"), |it| it.stdout + &it.stderr));
        }
        eprintln!("--- end of the node's log\n{}\n---", node.log_tail(80));
        panic!("{error:#}");
    }
}
