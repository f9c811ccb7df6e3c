//! Everything a developer runs: `cargo xtask demo | test | guests | board | lint | schema | fuzz | bench`.
//!
//! Kept light on purpose (no async runtime, no Kubernetes client): it compiles in seconds, before anything else does.

mod commands;
mod guests;
mod http;
mod paths;
mod profile;
mod run;
mod schema;
mod stamp;
mod tools;

use std::process::ExitCode;

use clap::Parser;

/// Builds, runs, tests and measures Eyot.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
enum Cli {
    /// Build everything, start a node on a fresh data directory, deploy the samples and call them.
    Demo(commands::demo::Flags),
    /// Install what the tests need, build the guests and run every test.
    Test(commands::test::Flags),
    /// Build the sample guests into target/guests.
    Guests(guests::Flags),
    /// Build the node for boards with 64-bit ARM processors.
    Board(commands::board::Flags),
    /// Check formatting, lints, dependencies and the crate map.
    Lint,
    /// Derive the table of built-in fields that the API server embeds.
    Schema(schema::Args),
    /// Feed a parser with inputs that a fuzzer makes up.
    Fuzz(commands::fuzz::Flags),
    /// Run a benchmark against the node as it is shipped.
    Bench(commands::bench::Flags),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    match cli {
        Cli::Demo(flags) => commands::demo::run(&flags),
        Cli::Test(flags) => commands::test::run(&flags),
        Cli::Guests(flags) => guests::build(&flags).map(drop),
        Cli::Board(flags) => commands::board::run(&flags),
        Cli::Lint => commands::lint::run(),
        Cli::Schema(args) => schema::run(args),
        Cli::Fuzz(flags) => commands::fuzz::run(&flags),
        Cli::Bench(flags) => commands::bench::run(&flags),
    }
}
