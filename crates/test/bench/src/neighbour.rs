//! What a guest's callers notice of its neighbours: the same calls, with nobody beside them and with each kind of bad company.
//!
//! Start at [`run`]. Calls come one after another with pauses, as from a client that has other things to do: what is measured is
//! how long each is held up, not how much of the machine is left.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use eyot_runtime::{GuestSpec, HttpGuest, Process, Program, Runtime, RuntimeConfig};
use serde_json::{Map, Value};

use crate::{
    report::{self, Aim},
    runtime::{self, spec},
};

/// Time between the end of a call and the next one.
const PAUSE: Duration = Duration::from_micros(500);
/// What a neighbour may cost: the p99 beside it, in times the p99 beside nobody.
const TIMES_QUIET: f64 = 1.5;
/// Time for bad company to come into its stride.
const SETTLE: Duration = Duration::from_millis(300);
/// Memory that an allocating guest takes, and then begins anew.
const ALLOCATES_BYTES: u64 = 256 << 20;

/// What bad company does.
#[derive(Clone, Copy)]
enum Does {
    /// As a command, which is started again when it ends.
    AsCommand(&'static str),
    /// With each of the requests that it gets one after another.
    WithRequests(&'static str),
}

/// What runs beside the guest that is called: name, how many for each core, and what it does.
const COMPANY: [(&str, usize, Does); 6] = [
    ("quiet", 0, Does::AsCommand("")),
    ("spinning", 2, Does::AsCommand("(loop $again (br $again))")),
    // Some tens of milliseconds for each request.
    (
        "spinning_requests",
        1,
        Does::WithRequests(
            "(local.set $other (i32.const 20000000))
            (loop $again (br_if $again (local.tee $other (i32.sub (local.get $other) (i32.const 1)))))
            (call $hello (local.get $outparam))",
        ),
    ),
    // Every page is touched; when no more is granted the guest ends and another one takes its place.
    (
        "allocating",
        1,
        Does::AsCommand(
            "(local $at i32)
            (loop $again
                (local.set $at (memory.grow (i32.const 16)))
                (if (i32.lt_s (local.get $at) (i32.const 0)) (then (return)))
                (memory.fill (i32.shl (local.get $at) (i32.const 16)) (i32.const 7) (i32.const 1048576))
                (br $again))",
        ),
    ),
    // 64 MiB for each request.
    (
        "allocating_requests",
        1,
        Does::WithRequests(
            "(memory.fill (i32.shl (memory.grow (i32.const 1024)) (i32.const 16)) (i32.const 7) (i32.const 67108864))
            (call $hello (local.get $outparam))",
        ),
    ),
    (
        "log_flooding",
        1,
        Does::AsCommand(
            "(loop $again (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $again))",
        ),
    ),
];

/// Does nothing else than [`run`].
pub(crate) async fn alone(calls: u64) -> Result<Value> {
    let dir = tempfile::tempdir()?;
    let runtime = Runtime::new(RuntimeConfig::new(dir.path().join("cache")))?;
    let file = dir.path().join("smallest.wasm");
    runtime::write_smallest(&file, "(call $hello (local.get $outparam))")?;
    let guest = runtime.load(&file, "bench:smallest").await?.serve(spec())?;
    run(&runtime, &guest, calls).await
}

/// Calls `guest` in each company, a quarter of `calls` times. Microseconds, and how many times as long as in quiet.
pub(crate) async fn run(runtime: &Runtime, guest: &Arc<HttpGuest>, calls: u64) -> Result<Value> {
    let count = calls / 4;
    let mut rows = Map::new();
    let mut quiet = None;
    for (name, each, does) in COMPANY {
        let company =
            Company::gather(runtime, name, each, does).await.with_context(|| format!("starting {name} guests"))?;
        tokio::time::sleep(SETTLE).await;
        let times = paced(guest, count).await?;
        drop(company);
        let p99 = times.value_at_quantile(0.99) as f64;
        let mut row = runtime::summary(&times);
        row["p99_times_quiet"] = report::verdict(p99 / *quiet.get_or_insert(p99), Aim::AtMost(TIMES_QUIET));
        rows.insert(name.to_owned(), row);
    }
    Ok(Value::Object(rows))
}

async fn paced(guest: &Arc<HttpGuest>, count: u64) -> Result<hdrhistogram::Histogram<u64>> {
    let mut times = runtime::histogram();
    for _ in 0..count {
        tokio::time::sleep(PAUSE).await;
        let started = std::time::Instant::now();
        runtime::call(guest).await?;
        times.saturating_record(runtime::nanos(started.elapsed()));
    }
    Ok(times)
}

/// Guests that run until this is dropped; those that end are started again.
struct Company(Vec<tokio::task::JoinHandle<()>>);

impl Company {
    async fn gather(runtime: &Runtime, name: &str, each: usize, does: Does) -> Result<Company> {
        if each == 0 {
            return Ok(Company(Vec::new()));
        }
        let file = tempfile::NamedTempFile::new()?;
        match does {
            Does::AsCommand(does) => std::fs::write(file.path(), wat::parse_str(command(does))?)?,
            Does::WithRequests(does) => runtime::write_smallest(file.path(), does)?,
        }
        let program = runtime.load(file.path(), &format!("bench:{name}")).await?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut guests = Vec::new();
        for _ in 0..each * cores {
            let program = program.clone();
            guests.push(tokio::spawn(async move {
                match does {
                    Does::AsCommand(_) => run_again_and_again(&program).await,
                    Does::WithRequests(_) => ask_again_and_again(&program).await,
                }
            }));
        }
        Ok(Company(guests))
    }
}

fn limited() -> GuestSpec {
    let mut spec = spec();
    spec.memory_bytes = Some(ALLOCATES_BYTES);
    spec
}

async fn run_again_and_again(program: &Program) {
    while let Ok(process) = program.spawn(limited()) {
        // Dropped with this task, and its guest with it.
        Process::wait(&process).await;
    }
}

async fn ask_again_and_again(program: &Program) {
    let Ok(guest) = program.serve(limited()) else { return };
    loop {
        // Whether it is answered is its own business.
        let _ = runtime::call(&guest).await;
        tokio::task::yield_now().await;
    }
}

/// A command with one line to print.
fn command(does: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\40\00\00\00")
            (data (i32.const 16) "a line of the kind that a program prints when it is not well   \0a")
            (func (export "_start") {does}))"#
    )
}

impl Drop for Company {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
