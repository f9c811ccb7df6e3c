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

/// Runs one command. Its exit code is OPA's: of tests, 2 when one failed and 1 when they could not be run; of an evaluation,
/// 1 where `--fail` asks for it and 2 for an error.
pub(crate) fn run(command: PolicyCommand) -> ExitCode {
    let (outcome, failure) = match command {
        PolicyCommand::Test(flags) => (test::run(&flags).map(|passed| if passed { 0 } else { 2 }), 1),
        PolicyCommand::Eval(flags) => (eval::run(&flags), 2),
        PolicyCommand::Bench(flags) => (bench::run(&flags).map(|()| 0), 1),
    };
    ExitCode::from(outcome.unwrap_or_else(|error| {
        eprintln!("eyot: {}", crate::client::told(&error));
        failure
    }))
}
