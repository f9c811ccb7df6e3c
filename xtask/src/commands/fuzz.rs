//! `cargo xtask fuzz TARGET`: libFuzzer with coverage on the toolchain in use; no cargo-fuzz, no nightly.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{paths, run};

/// What cargo-fuzz passes too, as far as a stable compiler takes it.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                         -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table";
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Flags of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Which: write, patch, selector, quantity, host, apply, custom, admission, token, csr, module, service, calls.
    target: String,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Inputs to try once instead: what a run has left under fuzz/artifacts.
    inputs: Vec<PathBuf>,
}

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let fuzz = paths::root().join("fuzz");
    let built = fuzz.join("target");
    let mut build = run::cargo();
    build.current_dir(&fuzz).env("RUSTFLAGS", RUSTFLAGS).env_remove("CARGO_TARGET_DIR");
    // A target named outright keeps the flags off build scripts.
    build.args(["build", "--release", "--target", HOST, "--bin", &flags.target]).arg("--target-dir").arg(&built);
    run::step(&format!("build of the fuzz target {}", flags.target), &mut build)?;

    let (corpus, artifacts) = (fuzz.join("corpus").join(&flags.target), fuzz.join("artifacts").join(&flags.target));
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let mut fuzzer = Command::new(built.join(HOST).join("release").join(&flags.target));
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    match flags.inputs.is_empty() {
        true => fuzzer.arg(format!("-max_total_time={}", flags.seconds)).arg(corpus),
        false => fuzzer.args(&flags.inputs),
    };
    run::shown(&mut fuzzer)
}
