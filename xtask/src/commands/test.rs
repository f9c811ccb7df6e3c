//! `cargo xtask test`: everything a test needs, then every test.

use anyhow::Result;

use crate::{guests, paths, profile::Profile, run, tools};

/// Flags of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Passed on to the test runner: a filter, `-p CRATE`, `--no-fail-fast`, `--run-ignored all`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let kubectl = tools::kubectl()?;
    let guests = guests::build(&guests::Flags::default())?;
    // Built with the tests' choice of features, so that nothing is compiled twice.
    run::step("build of the node and of the tests", run::cargo().args(["build", "--workspace", "--bins", "--tests"]))?;

    let has_nextest = run::has("cargo-nextest");
    let mut tests = run::cargo();
    match has_nextest {
        true => tests.args(["nextest", "run", "--workspace"]),
        false => tests.args(["test", "--workspace"]),
    };
    if !has_nextest {
        println!("cargo-nextest is not installed: falling back to cargo test");
    }
    tests.args(&flags.args);
    tests.env("EYOT_COMPILED", guests.join("compiled"));
    tests.env("EYOT_BIN", paths::eyot(Profile::Dev)).env("EYOT_GUESTS", guests).env("EYOT_KUBECTL", kubectl);
    run::shown(&mut tests)
}
