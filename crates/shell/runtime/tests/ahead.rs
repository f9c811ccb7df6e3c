//! Code that was compiled for other machines, and how those find it.

mod common;

use std::path::PathBuf;

use common::{Bench, ask, command, http_component};
use eyot_runtime::{AheadError, LoadError, LoadedFrom, ProgramKind, Target, compile_ahead};

const HELLO: &str = "(call $hello (local.get $outparam))";

fn own() -> Target {
    Target::parse(std::env::consts::ARCH).unwrap()
}

fn foreign() -> Target {
    Target::parse(if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" }).unwrap()
}

fn cache(bench: &Bench) -> PathBuf {
    bench.dir.path().join("cache")
}

/// Where the code of `digest` for machines of `architecture` lies, once for each layout.
fn code(bench: &Bench, architecture: &str, digest: &str) -> Vec<PathBuf> {
    let dirs = std::fs::read_dir(cache(bench)).unwrap().map(|it| it.unwrap());
    let theirs = dirs.filter(|it| it.file_name().to_str().unwrap().starts_with(&format!("{architecture}-")));
    theirs.map(|it| it.path().join(digest).with_extension("code")).filter(|it| it.is_file()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_finds_what_was_compiled_for_machines_like_it() {
    let bench = Bench::new();
    let concurrent = r#"(component
        (core module $m (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (type $t (func async (result (result))))
        (func $run (type $t) (canon lift (core func $i "run")))
        (instance $face (export "run" (func $run)))
        (export "wasi:cli/run@0.3.0" (instance $face)))"#;
    let programs = [
        (ProgramKind::HttpComponent, http_component(HELLO)),
        (ProgramKind::CommandModule, wat::parse_str(command("(call $exit (i32.const 7))")).unwrap()),
        (ProgramKind::ConcurrentCommand, wat::parse_str(concurrent).unwrap()),
    ];
    for (at, (kind, wasm)) in programs.into_iter().enumerate() {
        let digest = format!("program-{at}");
        let file = bench.file(&digest, &wasm);
        let made = compile_ahead(&own(), &file, &digest, &cache(&bench)).await.unwrap();
        assert_eq!((made.kind, code(&bench, std::env::consts::ARCH, &digest).len()), (kind, made.layouts));
        let program = bench.runtime.load(&file, &digest).await.unwrap();
        assert_eq!((program.kind(), program.loaded().from), (kind, LoadedFrom::Cache));
        match kind {
            ProgramKind::HttpComponent => {
                assert_eq!(ask(&program.serve(bench.spec()).unwrap()).await.unwrap().0, 200);
            }
            ProgramKind::CommandModule => {
                assert_eq!(program.spawn(bench.spec()).unwrap().wait().await.code, 7);
            }
            _ => assert_eq!(program.spawn(bench.spec()).unwrap().wait().await.code, 0),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_cannot_use_it_compiles_as_ever() {
    let bench = Bench::new();
    let wasm = wat::parse_str(command("(call $exit (i32.const 7))")).unwrap();
    let file = bench.file("program", &wasm);
    for target in [own(), foreign()] {
        compile_ahead(&target, &file, "program", &cache(&bench)).await.unwrap();
    }
    let theirs = code(&bench, if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" }, "program");
    for own in code(&bench, std::env::consts::ARCH, "program") {
        std::fs::copy(&theirs[0], own).unwrap();
    }
    let program = bench.runtime.load(&file, "program").await.unwrap();
    assert_eq!(program.loaded().from, LoadedFrom::Compiled);
    assert_eq!(program.spawn(bench.spec()).unwrap().wait().await.code, 7);
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn code_that_relies_on_a_processor_is_found_by_nodes_that_have_such_a_one() {
    let bench = Bench::new();
    let file = bench.file("program", &http_component(HELLO));
    let target = own().with_features(&["sse3".to_owned()]).unwrap();
    compile_ahead(&target, &file, "program", &cache(&bench)).await.unwrap();
    let program = bench.runtime.load(&file, "program").await.unwrap();
    assert_eq!(program.loaded().from, LoadedFrom::Cache);
    assert_eq!(ask(&program.serve(bench.spec()).unwrap()).await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_run_nowhere_is_not_compiled_for_others() {
    let bench = Bench::new();
    let wat = r#"(module (import "env" "gone" (func)) (func (export "_start")))"#;
    let file = bench.file("program", &wat::parse_str(wat).unwrap());
    let refused = compile_ahead(&foreign(), &file, "program", &cache(&bench)).await.unwrap_err();
    assert!(matches!(&refused, AheadError::Load(LoadError::UnknownImport(it)) if it == "env/gone"), "{refused}");
    assert!(code(&bench, "aarch64", "program").is_empty() && code(&bench, "x86_64", "program").is_empty());
}
