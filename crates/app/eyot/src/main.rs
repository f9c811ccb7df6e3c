//! The `eyot` binary: a Kubernetes-shaped platform for WebAssembly in one process.
//!
//! Start at [`up::run`], which wires the crates together. `push`, `deploy` and the commands of `function` are clients: they
//! speak to a running node through its registry and its API, as any other tool would. `advise`, `inspect` and `precompile`
//! need no node; `verify` starts its own.

mod advise;
mod apply;
mod client;
mod deploy;
mod flags;
mod function;
mod manifests;
mod memory;
mod openfaas;
mod policies;
mod policy;
mod publish;
mod push;
mod telemetry;
mod turns;
mod up;
mod verify;
mod wasm;

use std::process::ExitCode;

use clap::Parser;

/// Guests, watches and requests allocate and free all the time, on every thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::take_small_pages();
    // Two providers in one process panic at first use: choose one before anything speaks TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = match flags::Cli::parse().command {
        flags::Command::Up(flags) => up::run(*flags),
        flags::Command::Push(flags) => client::block_on(push::run(flags)),
        flags::Command::Deploy(flags) => client::block_on(deploy::run(*flags)),
        flags::Command::Inspect(flags) => client::block_on(wasm::inspect(flags)),
        flags::Command::Precompile(flags) => client::block_on(wasm::precompile(flags)),
        flags::Command::Function(command) => client::block_on(function::run(command)),
        flags::Command::Advise(flags) => return advise::main(*flags),
        flags::Command::Verify(flags) => return verify::main(*flags),
        flags::Command::Policy(command) => return policy::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eyot: {}", client::told(&error));
            ExitCode::FAILURE
        }
    }
}
