//! `cargo xtask demo`: from a checkout to a node that serves the samples, each step with its time.

mod node;
mod samples;

use anyhow::{Result, bail};

use crate::{guests, paths, profile::Profile, run, tools};
use node::Node;

/// Flags of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Stop after the calls instead of running until Ctrl-C; listens on free ports.
    #[arg(long)]
    once: bool,
    /// Build without optimisation: a quicker build, a slower node.
    #[arg(long)]
    debug: bool,
    /// Listen on free ports instead of 6443, 8080 and 5000.
    #[arg(long)]
    free_ports: bool,
}

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let kubectl = tools::kubectl()?;
    let guests = guests::build(&guests::Flags::default())?;
    let profile = if flags.debug { Profile::Dev } else { Profile::Release };
    run::step(&format!("{} build of eyot", profile.folder()), &mut run::build_node(profile))?;

    let data = paths::target().join("demo");
    let node = Node::start(&paths::eyot(profile), &data, flags.once || flags.free_ports)?;
    let outcome = samples::show(&node, &kubectl, &guests);
    if let Err(error) = &outcome {
        node.show_log();
        if flags.once {
            bail!("{error:#}");
        }
        eprintln!("\n✗ {error:#}\n  The node keeps running, so that you can look.");
    }
    if flags.once {
        return node.stop();
    }
    println!("\n  export KUBECONFIG={}", node.kubeconfig);
    println!(
        "  api      {}\n  gateway  {}\n  registry {}\n  log      {}",
        node.api,
        node.http,
        node.registry,
        node.log.display()
    );
    println!("  try      kubectl get pods -o wide; curl -H 'Host: hello.localhost' {}", node.http);
    println!("\nRunning until Ctrl-C.");
    node.wait()
}
