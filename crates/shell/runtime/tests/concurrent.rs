//! Components of WASI 0.3: how they end and what they are held to. What they can do is for the WASI testsuite to show.

mod common;

use std::time::{Duration, Instant};

use common::{Bench, ask};
use eyot_dispatch::Handler;
use eyot_runtime::{ExitReason, LoadedFrom, Program, ProgramKind, Reuse, Runtime, RuntimeConfig};
use http::Request;
use http_body_util::BodyExt;

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

/// A service of WASI 0.2 whose instances draw a random number of WASI 0.3 when they are made, and then do `handle`.
async fn service(bench: &Bench, handle: &str) -> Program {
    let draws = r#"(component
        (import "wasi:random/random@0.3.0" (instance $late (export "get-random-u64" (func (result u64)))))
        (core func $draw (canon lower (func $late "get-random-u64")))
        (core module $drawer
            (import "late" "draw" (func $draw (result i64)))
            (func $go (drop (call $draw)))
            (start $go))
        (core instance (instantiate $drawer (with "late" (instance (export "draw" (func $draw))))))"#;
    let wat = include_str!("guests/http.wat").replace(";;HANDLE;;", handle).replacen("(component\n", draws, 1);
    let program = bench.load(&wat::parse_str(wat).unwrap()).await.unwrap();
    assert_eq!(program.kind(), ProgramKind::ServiceComponent);
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_wasi_0_2_may_import_what_is_of_0_3() {
    let bench = Bench::new();
    let hello = service(&bench, "(call $hello (local.get $outparam))").await.serve(bench.spec()).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&hello).await.unwrap(), (200, "hello, world".into()));
    }
    let echo = r#"
        (call $consume (local.get $request) (i32.const 16))
        (call $body-in (i32.load (i32.const 20)) (i32.const 16))
        (local.set $in (i32.load (i32.const 20)))
        (local.set $body (call $open (local.get $outparam) (i32.const 200)))
        (local.set $stream (call $stream (local.get $body)))
        (block $end (loop $next
            (call $read (local.get $in) (i64.const 4096) (i32.const 48))
            (br_if $end (i32.load8_u (i32.const 48)))
            (br_if $end (call $put (local.get $stream) (i32.load (i32.const 52)) (i32.load (i32.const 56))))
            (br $next)))
        (call $close (local.get $stream) (local.get $body))"#;
    let echo = service(&bench, echo).await.serve(bench.spec()).unwrap();
    let sent = bytes::Bytes::from(vec![7; 1 << 20]);
    let request = Request::post("http://guest.test/").body(eyot_dispatch::full(sent.clone())).unwrap();
    let response = echo.clone().handle(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), sent);
    let spinning = service(&bench, "(loop $again (br $again))").await;
    let mut spec = bench.spec();
    spec.request_deadline = Duration::from_millis(100);
    let spinning = spinning.serve(spec).unwrap();
    assert!(matches!(ask(&spinning).await, Err(eyot_dispatch::CallError::Deadline)));
    assert_eq!(spinning.stats().failures, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_wasi_0_2_that_imports_what_is_of_0_3_may_be_reused() {
    let bench = Bench::new();
    // Counts in memory: a fresh instance answers 200.
    let count = r#"(call $drop-request (local.get $request))
        (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
        (local.set $body (call $open (local.get $outparam) (i32.add (i32.const 199) (i32.load (i32.const 2048)))))
        (local.set $stream (call $stream (local.get $body)))
        (drop (call $put (local.get $stream) (i32.const 1024) (i32.const 12)))
        (call $close (local.get $stream) (local.get $body))"#;
    let mut spec = bench.spec();
    spec.reuse = Some(Reuse { requests_max: 2, idle: Duration::from_secs(60) });
    let guest = service(&bench, count).await.serve(spec).unwrap();
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(ask(&guest).await.unwrap().0);
    }
    assert_eq!(answers, [200, 201, 200, 201]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_spins_is_killed_at_once_and_held_to_its_memory() {
    let bench = Bench::new();
    let spinning = load(&bench, "(loop (br 0)) (unreachable)").await.spawn(bench.spec()).unwrap();
    let spawned = Instant::now();
    while spinning.stats().cpu <= Duration::from_millis(5) {
        assert!(spawned.elapsed() < Duration::from_secs(30), "{:?}", spinning.stats());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let asked = Instant::now();
    spinning.kill();
    assert_eq!(spinning.wait().await.reason, ExitReason::Killed);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
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
