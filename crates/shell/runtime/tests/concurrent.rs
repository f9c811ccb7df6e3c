//! Components of WASI 0.3: how they end and what they are held to. What they can do is for the WASI testsuite to show.

mod common;

use std::time::{Duration, Instant};

use common::Bench;
use eyot_runtime::{ExitReason, LoadedFrom, Program, ProgramKind, Runtime, RuntimeConfig};

/// A command that does `run`, core instructions that leave whether it failed.
fn command(run: &str) -> Vec<u8> {
    let wat = format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "run") (result i32) {run}))
            (core instance $i (instantiate $m))
            (type $t (func async (result (result))))
            (func $run (type $t) (canon lift (core func $i "run")))
            (instance $face (export "run" (func $run)))
            (export "wasi:cli/run@0.3.0" (instance $face)))"#
    );
    wat::parse_str(wat).unwrap()
}

async fn load(bench: &Bench, run: &str) -> Program {
    let program = bench.load(&command(run)).await.unwrap();
    assert_eq!(program.kind(), ProgramKind::ConcurrentCommand);
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_what_it_returns_or_where_it_traps() {
    let bench = Bench::new();
    for (run, code) in [("(i32.const 0)", 0), ("(i32.const 1)", 1), ("(unreachable)", 134)] {
        let exit = load(&bench, run).await.spawn(bench.spec()).unwrap().wait().await;
        assert_eq!(exit.code, code, "{run}: {:?}", exit.reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_wasi_0_2_may_import_what_is_of_0_3() {
    let bench = Bench::new();
    let wat = r#"(component
        (import "wasi:random/random@0.3.0" (instance $random (export "get-random-u64" (func (result u64)))))
        (core func $random (canon lower (func $random "get-random-u64")))
        (core module $m
            (import "random" "get" (func $random (result i64)))
            (func (export "run") (result i32) (i64.eq (call $random) (call $random))))
        (core instance $i (instantiate $m (with "random" (instance (export "get" (func $random))))))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $face (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $face)))"#;
    let program = bench.load(&wat::parse_str(wat).unwrap()).await.unwrap();
    let exit = program.spawn(bench.spec()).unwrap().wait().await;
    assert_eq!(exit.code, 0, "{:?}", exit.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_spins_is_killed_at_once_and_held_to_its_memory() {
    let bench = Bench::new();
    let spinning = load(&bench, "(loop (br 0)) (unreachable)").await.spawn(bench.spec()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(spinning.stats().cpu > Duration::from_millis(5));
    let asked = Instant::now();
    spinning.kill();
    assert_eq!(spinning.wait().await.reason, ExitReason::Killed);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let mut spec = bench.spec();
    spec.memory_bytes = Some(1 << 20);
    let growing = load(&bench, "(drop (memory.grow (i32.const 100))) (i32.const 0)").await.spawn(spec).unwrap();
    assert_eq!(growing.wait().await.reason, ExitReason::OutOfMemory);
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_is_found_again_by_another_runtime() {
    let bench = Bench::new();
    let wasm = command("(i32.const 0)");
    let program = bench.load(&wasm).await.unwrap();
    assert_eq!(program.loaded().from, LoadedFrom::Compiled);
    let mut config = RuntimeConfig::new(bench.dir.path().join("cache"));
    config.instances_max = Some(16);
    let other = Runtime::new(config).unwrap();
    let file = bench.file("again", &wasm);
    let again = other.load(&file, program.digest()).await.unwrap();
    assert_eq!((again.loaded().from, again.kind()), (LoadedFrom::Cache, ProgramKind::ConcurrentCommand));
    assert_eq!(again.spawn(bench.spec()).unwrap().wait().await.code, 0);
}
