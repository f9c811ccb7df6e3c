//! Large guests: compiled in a hurry first, optimised behind running traffic. All that `serve.rs` says of guests is asked here
//! of hurried code too.

#[path = "serve.rs"]
mod serve;

use std::{sync::Arc, time::Duration};

use eyot_dispatch::Handler;
use eyot_runtime::{LoadedFrom, Program, Runtime, RuntimeConfig};
use serve::common::{Bench, ask, command, get, http_component};

const HELLO: &str = "(call $hello (local.get $outparam))";

/// A component that says hello, with as many further functions as a large one has.
fn large(functions: usize) -> Vec<u8> {
    let one = |index: usize| {
        format!(
            "(func $f{index} (param i32) (result i32) (local i32)
                (loop $l (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const {index})) (i32.load8_u (local.get 0))))
                    (br_if $l (i32.lt_u (local.get 1) (i32.xor (local.get 0) (i32.const 77)))))
                (i32.rotl (local.get 1) (local.get 0)))\n"
        )
    };
    let functions: String = (0..functions).map(one).collect();
    // The template closes one function: the last of these.
    http_component(&format!("{HELLO}) {functions} (func $last"))
}

/// Until better code has taken over.
async fn optimised(program: &Program) {
    let wait = async {
        while !program.is_optimised() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), wait).await.expect("optimised code takes over");
}

#[tokio::test]
async fn a_large_guest_answers_before_it_is_optimised_and_a_small_one_is_not_hurried() {
    let usual = |it: &mut RuntimeConfig| it.early_code_bytes = RuntimeConfig::new("").early_code_bytes;
    let bench = Bench::with(usual);
    let program = bench.load(&large(4000)).await.unwrap();
    assert_eq!((program.loaded().from, program.is_optimised()), (LoadedFrom::CompiledEarly, false));
    let guest = program.serve(bench.spec()).unwrap();
    assert_eq!(ask(&guest).await.unwrap().1, "hello, world");
    let small = bench.load(&http_component(HELLO)).await.unwrap();
    assert_eq!((small.loaded().from, small.is_optimised()), (LoadedFrom::Compiled, true));
}

#[tokio::test]
async fn better_code_takes_over_behind_running_traffic_and_is_what_the_next_runtime_finds() {
    let bench = Bench::with(|it| it.improvements_max = 1);
    let wasm = large(50);
    let program = bench.load(&wasm).await.unwrap();
    assert_eq!(program.loaded().from, LoadedFrom::CompiledEarly);
    let guest = program.serve(bench.spec()).unwrap();
    let nap = "(call $nap (i64.const 300000000))";
    let slow = bench.load(&http_component(&format!("{nap} {HELLO}"))).await.unwrap();
    // Begun on early code, ended long after that was replaced.
    let slow_guest = slow.serve(bench.spec()).unwrap();
    let slow_answer = tokio::spawn(async move { ask(&slow_guest).await });
    while !program.is_optimised() {
        assert_eq!(ask(&guest).await.unwrap().1, "hello, world");
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&guest).await.unwrap().1, "hello, world");
    optimised(&slow).await;
    assert_eq!(slow_answer.await.unwrap().unwrap().1, "hello, world");
    assert_eq!((guest.stats().failures, guest.in_flight()), (0, 0));
    // Another guest of the same program, and another runtime.
    assert_eq!(bench.load(&wasm).await.unwrap().loaded().from, LoadedFrom::Memory);
    let mut config = RuntimeConfig::new(bench.dir.path().join("cache"));
    (config.instances_max, config.early_code_bytes) = (Some(8), Some(0));
    let again =
        Bench { runtime: Runtime::new(config).unwrap(), log: Arc::default(), dir: tempfile::tempdir().unwrap() };
    let program = again.load(&wasm).await.unwrap();
    assert_eq!((program.loaded().from, program.is_optimised()), (LoadedFrom::Cache, true));
}

#[tokio::test]
async fn what_the_baseline_compiler_does_not_know_is_compiled_well_at_once() {
    let bench = Bench::new();
    let program = bench.load(&http_component("(return_call $hello (local.get $outparam))")).await.unwrap();
    assert_eq!((program.loaded().from, program.is_optimised()), (LoadedFrom::Compiled, true));
    assert_eq!(ask(&program.serve(bench.spec()).unwrap()).await.unwrap().1, "hello, world");
}

#[tokio::test]
async fn what_is_wrong_is_told_as_ever() {
    let bench = Bench::new();
    let error = bench.load(&http_component("(i32.const 1)")).await;
    assert!(error.unwrap_err().to_string().starts_with("invalid WebAssembly"));
}

#[tokio::test]
async fn a_command_is_never_hurried() {
    let bench = Bench::new();
    let program = bench.load(&wat::parse_str(command("(call $exit (i32.const 3))")).unwrap()).await.unwrap();
    assert_eq!((program.loaded().from, program.is_optimised()), (LoadedFrom::Compiled, true));
}

#[tokio::test]
async fn a_program_that_nobody_uses_any_more_is_not_improved() {
    let bench = Bench::with(|it| it.improvements_max = 1);
    let (first, second) = (bench.load(&large(3000)).await.unwrap(), bench.load(&large(10)).await.unwrap());
    // It stands behind the first.
    drop(second);
    optimised(&first).await;
    let again = bench.load(&large(10)).await.unwrap();
    assert_eq!(again.loaded().from, LoadedFrom::CompiledEarly);
    assert!(again.serve(bench.spec()).unwrap().handle(get("/")).await.is_ok());
}
