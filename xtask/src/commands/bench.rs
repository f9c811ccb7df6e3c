//! `cargo xtask bench NAME --json FILE`: builds the node as it is shipped and the benchmarks, and runs one of them.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{guests, paths, profile::Profile, run, tools};

/// Flags of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Which: startup, pods, scale, memory, http, store, runtime, api, policy, serverless, advise, neighbour, soak, or all.
    name: String,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed on to the benchmark; `-- --help` lists its options.
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let guests = guests::build(&guests::Flags::default())?;
    run::step("build of eyot as it is shipped", &mut run::build_node(Profile::Dist))?;
    let mut bench = Command::new(paths::target().join(Profile::Dist.folder()).join("eyot-bench"));
    bench.arg(&flags.name).args(&flags.args).env("EYOT_BIN", paths::eyot(Profile::Dist)).env("EYOT_GUESTS", guests);
    bench.env("EYOT_KUBECTL", tools::kubectl()?);
    if let Some(json) = &flags.json {
        bench.arg("--json").arg(json);
    }
    if ["http", "all"].contains(&flags.name.as_str()) {
        bench.env("EYOT_WASMTIME", tools::wasmtime()?);
        match tools::workerd() {
            Ok(program) => drop(bench.env("EYOT_WORKERD", program)),
            Err(error) => eprintln!("  measured without workerd: {error:#}"),
        }
    }
    run::shown(&mut bench)
}
