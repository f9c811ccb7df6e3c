//! `eyot policy`: policies without a node. [`test`] runs the tests that policies bring, [`eval`] answers one query, [`bench`]
//! times it.

mod bench;
mod eval;
mod load;
mod test;

use std::process::ExitCode;

/// Commands about policies.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    /// Run all tests below a directory: Rego `test_` rules, Gatekeeper suites and Kyverno tests.
    Test(test::TestFlags),
    /// Evaluate a query over policies and data, as `opa eval` does.
    Eval(eval::EvalFlags),
    /// Evaluate a query again and again and print how long it takes.
    Bench(bench::BenchFlags),
}

/// Runs one command. Its exit code tells failed tests (2) from what could not be run (1), as OPA's does.
pub(crate) fn run(command: PolicyCommand) -> ExitCode {
    let outcome = match command {
        PolicyCommand::Test(flags) => test::run(&flags).map(|passed| if passed { 0 } else { 2 }),
        PolicyCommand::Eval(flags) => eval::run(&flags),
        PolicyCommand::Bench(flags) => bench::run(&flags).map(|()| 0),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("eyot: {error:#}");
            ExitCode::FAILURE
        }
    }
}
