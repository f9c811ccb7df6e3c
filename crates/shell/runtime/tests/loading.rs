//! Loading: what is refused and how, and what the cache does.

mod common;

use std::{os::unix::fs::FileExt, sync::Arc, time::Duration};

use common::{Bench, ask, command, http_component};
use expect_test::{Expect, expect};
use eyot_runtime::{LoadError, LoadedFrom, ProgramKind, Runtime, RuntimeConfig, RuntimeError};

async fn refused(wasm: &[u8], want: Expect) {
    want.assert_eq(&Bench::new().load(wasm).await.unwrap_err().to_string());
}

#[tokio::test]
async fn files_that_are_no_program_are_named_for_what_they_are() {
    refused(b"#!/bin/sh\n", expect![[r##"not WebAssembly: the file starts with "#!/bin/s""##]]).await;
    refused(&wat::parse_str("(module)").unwrap(), expect!["no entry point: the module exports nothing, and no _start"])
        .await;
    let wasm = http_component("");
    refused(
        &wasm[..wasm.len() / 2],
        expect!["truncated WebAssembly: the file ends at byte 3945 inside the first section"],
    )
    .await;
}

#[tokio::test]
async fn unknown_imports_are_named_at_load() {
    let core = r#"(module (import "env" "foo" (func (param i32))) (func (export "_start")))"#;
    refused(&wat::parse_str(core).unwrap(), expect![[r#"unknown import: module "env" function "foo""#]]).await;
    let component = r#"(component (import "acme:rockets/launch@1.0.0" (instance (export "go" (func))))
        (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#;
    refused(&wat::parse_str(component).unwrap(), expect![[r#"unknown import: interface "acme:rockets/launch@1.0.0""#]])
        .await;
    let newer = r#"(component (import "wasi:cli/exit@0.2.0" (instance (export "explode" (func))))
        (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#;
    refused(&wat::parse_str(newer).unwrap(), expect!["unknown import: component imports instance `wasi:cli/exit@0.2.0`, but a matching implementation was not found in the linker: instance export `explode` has the wrong type: function implementation is missing"]).await;
}

#[tokio::test]
async fn invalid_code_and_switched_off_proposals_are_told_apart() {
    let unbalanced = r#"(module (func (export "_start") (i32.const 1)))"#;
    refused(
        &wat::parse_str(unbalanced).unwrap(),
        expect!["invalid WebAssembly: type mismatch: values remaining on stack at end of block at byte 37"],
    )
    .await;
    let shared = r#"(module (memory i64 1 1 shared) (func (export "_start")))"#;
    refused(
        &wat::parse_str(shared).unwrap(),
        expect!["needs a WebAssembly proposal that is not supported: shared memories (threads)"],
    )
    .await;
    let mistyped =
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i64))) (func (export "_start")))"#;
    refused(&wat::parse_str(mistyped).unwrap(), expect!["unknown import: incompatible import type for `wasi_snapshot_preview1::proc_exit`: types incompatible: expected type `(func (param i64))`, found type `(func (param i32))`"]).await;
}

#[tokio::test]
async fn what_would_take_the_compiler_all_memory_is_refused_by_name_before_it_begins() {
    // Took 12 GB: loops that take and give a thousand values, in each other.
    let (many, consts) = ("i32 ".repeat(1000), "(i32.const 1) ".repeat(1000));
    let (open, close) = ("loop (type $many) ".repeat(600), "end ".repeat(600));
    let module = format!(
        r#"(type $many (func (param {many}) (result {many}))) (func $main (export "_start") {consts} {open} {close} return)"#
    );
    let want = "too much to compile: function 0 \"main\" of ";
    let begun = std::time::Instant::now();
    let nested =
        format!(r#"(component (core module {module}) (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#);
    for text in [format!("(module {module})"), nested] {
        let error = Bench::new().load(&wat::parse_str(text).unwrap()).await.unwrap_err();
        assert!(matches!(error, LoadError::TooHeavy(_)) && error.to_string().starts_with(want), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_file_that_is_too_large_or_absent_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = RuntimeConfig::new(dir.path().join("cache"));
    (config.wasm_bytes_max, config.instances_max) = (10, Some(1));
    let runtime = Runtime::new(config).unwrap();
    let file = dir.path().join("big.wasm");
    std::fs::write(&file, [0; 11]).unwrap();
    assert_eq!(runtime.load(&file, "d").await.unwrap_err(), LoadError::TooLarge { bytes: 11, max: 10 });
    let absent = runtime.load(&dir.path().join("none"), "e").await.unwrap_err();
    assert!(matches!(&absent, LoadError::Read { reason, .. } if reason.contains("No such file")), "{absent}");
}

#[tokio::test]
async fn a_program_is_compiled_once_and_then_found() {
    let bench = Bench::new();
    let wasm = http_component("(call $hello (local.get $outparam))");
    let first = bench.load(&wasm).await.unwrap();
    assert_eq!((first.loaded().from, first.kind()), (LoadedFrom::Compiled, ProgramKind::HttpComponent));
    assert_eq!(bench.load(&wasm).await.unwrap().loaded().from, LoadedFrom::Memory);
    drop(first);
    let cached = bench.load(&wasm).await.unwrap();
    assert_eq!(cached.loaded().from, LoadedFrom::Cache);
    assert_eq!(ask(&cached.serve(bench.spec()).unwrap()).await.unwrap().0, 200);
}

#[tokio::test]
async fn loads_of_one_digest_at_once_share_one_compilation() {
    let bench = Arc::new(Bench::new());
    let wasm = http_component("");
    let path = bench.file("one", &wasm);
    let loads = (0..8).map(|_| {
        let (runtime, path) = (bench.runtime.clone(), path.clone());
        tokio::spawn(async move { runtime.load(&path, "sha256:one").await.unwrap() })
    });
    let programs = futures::future::join_all(loads).await;
    let compiled = programs.iter().filter(|it| it.as_ref().unwrap().loaded().from == LoadedFrom::Compiled).count();
    assert_eq!(compiled, 1);
}

#[tokio::test]
async fn a_new_runtime_finds_the_cache_and_a_damaged_file_is_compiled_again() {
    let bench = Bench::new();
    let wasm = wat::parse_str(command("(call $exit (i32.const 7))")).unwrap();
    drop(bench.load(&wasm).await.unwrap());
    let again = |it: &Bench| {
        let mut config = RuntimeConfig::new(it.dir.path().join("cache"));
        config.instances_max = Some(64);
        Bench { runtime: Runtime::new(config).unwrap(), log: Arc::default(), dir: tempfile::tempdir().unwrap() }
    };
    let second = again(&bench);
    let program = second.load(&wasm).await.unwrap();
    assert_eq!(program.loaded().from, LoadedFrom::Cache);
    assert_eq!(program.spawn(second.spec()).unwrap().wait().await.code, 7);
    drop((program, second));
    for file in code_files(&bench.dir.path().join("cache")) {
        let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        file.write_all_at(b"\xde\xad\xbe\xef", 5000).unwrap();
    }
    let third = again(&bench);
    let program = third.load(&wasm).await.unwrap();
    assert_eq!(program.loaded().from, LoadedFrom::Compiled);
    assert_eq!(program.spawn(third.spec()).unwrap().wait().await.code, 7);
}

#[tokio::test]
async fn dropping_a_load_does_not_waste_what_it_began() {
    let bench = Bench::new();
    let path = bench.file("d", &http_component(""));
    let dropped = tokio::time::timeout(Duration::from_micros(1), bench.runtime.load(&path, "d")).await;
    let program = bench.runtime.load(&path, "d").await.unwrap();
    assert!(dropped.is_ok() || program.loaded().from != LoadedFrom::Memory);
}

#[tokio::test]
async fn what_waits_for_its_turn_is_left_when_nobody_waits_for_it() {
    let bench = Bench::new();
    let steps = "(block (br_if 0 (local.get 0)) (local.set 1 (i32.const 7)))".repeat(20_000);
    let long = format!(r#"(module (func (export "_start") (local i32 i32) {steps}))"#);
    let long = bench.file("long", &wat::parse_str(long).unwrap());
    let short = bench.file("short", &wat::parse_str(command("(call $exit (i32.const 7))")).unwrap());
    let runtime = bench.runtime.clone();
    let first = tokio::spawn(async move { runtime.load(&long, "long").await.unwrap() });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let given_up = tokio::time::timeout(Duration::from_millis(5), bench.runtime.load(&short, "short")).await;
    assert!(given_up.is_err() && !first.is_finished(), "there is one turn");
    first.await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.runtime.load(&short, "short").await.unwrap().loaded().from, LoadedFrom::Compiled);
}

#[test]
fn a_cache_directory_that_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Runtime::new(RuntimeConfig::new(file.join("cache"))).unwrap_err();
    assert!(matches!(error, RuntimeError::CacheDir { .. }), "{error}");
}

fn code_files(root: &std::path::Path) -> Vec<std::path::PathBuf> {
    let dirs = std::fs::read_dir(root).unwrap();
    dirs.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap()).map(|it| it.unwrap().path()).collect()
}

#[tokio::test]
async fn a_service_that_a_thread_is_asked_for_often_is_mapped_for_it_once_more() {
    if std::thread::available_parallelism().is_ok_and(|it| it.get() < 2) {
        // One thread serves, and has what all have.
        return;
    }
    let bench = Bench::new();
    let program = bench.load(&http_component("(call $hello (local.get $outparam))")).await.unwrap();
    let guest = program.clone().serve(bench.spec()).unwrap();
    let calls = async |count| {
        for _ in 0..count {
            assert_eq!(ask(&guest).await.unwrap().0, 200);
        }
    };
    calls(1000).await;
    assert_eq!(program.copies(), 0, "this thread serves nobody");
    eyot_dispatch::serving::set_thread(1);
    calls(10).await;
    assert_eq!(program.copies(), 0, "nothing is copied for a few requests");
    while program.copies() == 0 {
        calls(10).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = guest.stats().requests;
    calls(100).await;
    let stats = guest.stats();
    assert_eq!((stats.requests - before, stats.failures, stats.memory_bytes, program.copies()), (100, 0, 0, 1));
}
