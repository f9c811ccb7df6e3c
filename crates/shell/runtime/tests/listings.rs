//! Guests that list directories: what they see, and how many of them they may have open.

mod common;

use common::Bench;
use eyot_runtime::{Exit, Mount, ProgramKind};

/// Runs a command of `guests/NAME.wat` that does `run`, with a directory of `files` files whose names are long.
async fn ended(wat: &str, run: &str, files: usize, kind: ProgramKind) -> Exit {
    let bench = Bench::new();
    let host = bench.dir.path().join("volume");
    std::fs::create_dir(&host).unwrap();
    for file in 0..files {
        std::fs::write(host.join(format!("{file:0>200}")), "").unwrap();
    }
    let program = bench.load(&wat::parse_str(wat.replace(";;RUN;;", run)).unwrap()).await.unwrap();
    assert_eq!(program.kind(), kind);
    let mut spec = bench.spec();
    spec.mounts.push(Mount { host, guest: "/volume".into(), read_only: false, held: None });
    let process = program.spawn(spec).unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(20), process.wait()).await.expect("it ends")
}

/// Leaves in `$i` how many streams could be had until one was refused for want of memory, fifty times as many as there are at
/// most.
const OPEN_ALL: &str = "
    (local.set $i (i32.const 0))
    (loop $next
        (call $read-directory (local.get $directory) (i32.const 64))
        (if (i32.eqz (i32.load8_u (i32.const 64)))
            (then
                (local.set $stream (i32.load (i32.const 68)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 12800)))
                (call $fail)))
        (if (i32.ne (i32.load8_u (i32.const 68)) (i32.const 22)) (then (call $fail))))";

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_a_guest_keeps_are_few_and_those_it_closes_make_room() {
    let run = format!(
        "{OPEN_ALL}
        (if (i32.ne (local.get $i) (i32.const 256)) (then (call $fail)))
        (call $close (local.get $stream))
        {OPEN_ALL}
        (if (i32.ne (local.get $i) (i32.const 1)) (then (call $fail)))"
    );
    let exit = ended(include_str!("guests/lister.wat"), &run, 10, ProgramKind::CommandComponent).await;
    assert_eq!(exit.code, 0, "{:?}", exit.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_every_entry_once() {
    let run = "
        (call $read-directory (local.get $directory) (i32.const 64))
        (local.set $stream (i32.load (i32.const 68)))
        (loop $next
            (call $read-entry (local.get $stream) (i32.const 64))
            (if (i32.load8_u (i32.const 64)) (then (call $fail)))
            (if (i32.load8_u (i32.const 68))
                (then
                    ;; A regular file, and a name of 200 bytes.
                    (if (i32.ne (i32.load8_u (i32.const 72)) (i32.const 6)) (then (call $fail)))
                    (if (i32.ne (i32.load (i32.const 80)) (i32.const 200)) (then (call $fail)))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next))))
        (if (i32.ne (local.get $i) (i32.const 300)) (then (call $fail)))
        ;; It stays at its end.
        (call $read-entry (local.get $stream) (i32.const 64))
        (if (i32.load8_u (i32.const 68)) (then (call $fail)))";
    let exit = ended(include_str!("guests/lister.wat"), run, 300, ProgramKind::CommandComponent).await;
    assert_eq!(exit.code, 0, "{:?}", exit.reason);
}

/// A module that ends with what listing its first directory came to.
const LISTER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func $fail (unreachable))
    (func (export "_start")
        (local $failed i32)
        (local.set $failed
            (call $list (i32.const 3) (i32.const 1024) (i32.const 4096) (i64.const 0) (i32.const 64)))
        (if (local.get $failed) (then (call $exit (local.get $failed))))
        ;; The first entry is the directory itself, and more than it and its parent are there.
        (if (i32.ne (i32.load8_u (i32.const 1048)) (i32.const 46)) (then (call $fail)))
        (if (i32.lt_u (i32.load (i32.const 64)) (i32.const 100)) (then (call $fail)))
        (call $exit (i32.const 0))))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_module_lists_a_directory_unless_it_is_huge() {
    let few = ended(LISTER, "", 10, ProgramKind::CommandModule).await;
    assert_eq!(few.code, 0, "{:?}", few.reason);
    let many = ended(LISTER, "", 150_000, ProgramKind::CommandModule).await;
    assert_eq!(many.code, 48, "{:?}", many.reason);
}
