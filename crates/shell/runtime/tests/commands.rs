//! Commands: exit codes, output, files, limits and kills.

mod common;

use std::time::{Duration, Instant};

use common::{Bench, command};
use eyot_runtime::{Exit, ExitReason, LogStream, Mount, StartError};
use tokio::io::AsyncWriteExt;

fn completed(code: i32) -> Exit {
    Exit { code, reason: ExitReason::Completed }
}

#[tokio::test]
async fn output_and_exit_codes_come_out() {
    let bench = Bench::new();
    let process = bench.spawn(&command("(call $print (i32.const 1)) (call $print (i32.const 2))")).await;
    assert_eq!(process.wait().await, completed(0));
    assert_eq!(process.exit(), Some(completed(0)), "who comes late still learns it");
    assert_eq!(bench.log.text(LogStream::Stdout), "hello\n");
    assert_eq!(bench.log.text(LogStream::Stderr), "hello\n");
    assert_eq!(bench.spawn(&command("(call $exit (i32.const 42))")).await.wait().await, completed(42));
}

#[tokio::test]
async fn a_trap_exits_with_134_and_says_where() {
    let bench = Bench::new();
    let exit = bench.spawn(&command("(unreachable)")).await.wait().await;
    assert_eq!(exit.code, 134);
    assert!(matches!(&exit.reason, ExitReason::Trap(why) if why.contains("unreachable")), "{exit:?}");
    let log = bench.log.text(LogStream::Stderr);
    assert!(log.contains("unreachable") && log.contains("!main at 0x"), "{log}");
}

#[tokio::test]
async fn a_trap_tells_the_lines_of_a_guest_that_has_them() {
    let bench = Bench::new();
    let program = bench.load(include_bytes!("guests/lines.wasm")).await.unwrap();
    let exit = program.spawn(bench.spec()).unwrap().wait().await;
    let ExitReason::Trap(why) = exit.reason else { panic!("{exit:?}") };
    assert_eq!(why, "wasm trap: wasm `unreachable` instruction executed, in take at ./lines.c:4:9");
    let log = bench.log.text(LogStream::Stderr);
    assert!(log.contains("!take at 0x") && log.contains("at ./lines.c:10:5"), "{log}");
}

#[tokio::test]
async fn a_tight_loop_is_killed_within_milliseconds() {
    let bench = Bench::new();
    let process = bench.spawn(&command("(loop $again (br $again))")).await;
    let spawned = Instant::now();
    while process.stats().cpu <= Duration::from_millis(1) {
        assert!(spawned.elapsed() < Duration::from_secs(30), "{:?}", process.stats());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(process.exit(), None);
    let started = Instant::now();
    process.kill();
    assert_eq!(process.wait().await, Exit { code: 137, reason: ExitReason::Killed });
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    process.kill();
    assert_eq!(process.stats().memory_bytes, 0);
}

#[tokio::test]
async fn a_blocked_command_is_killed_and_dropping_kills_too() {
    let bench = Bench::new();
    let reads = command("(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))");
    let process = bench.spawn_with(&reads, |it| it.stdin = true).await;
    let _stdin = process.take_stdin().unwrap();
    assert!(process.take_stdin().is_none());
    tokio::time::sleep(Duration::from_millis(20)).await;
    process.kill();
    assert_eq!(process.wait().await.reason, ExitReason::Killed);
    assert_eq!(bench.spawn(&reads).await.wait().await, completed(0), "without stdin it reads an end of file");
}

#[tokio::test]
async fn memory_beyond_the_limit_is_out_of_memory() {
    let bench = Bench::new();
    let hog = command("(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))");
    let process = bench.spawn_with(&hog, |it| it.memory_bytes = Some(8 << 20)).await;
    assert_eq!(process.wait().await, Exit { code: 137, reason: ExitReason::OutOfMemory });
    assert_eq!(process.stats().memory_peak_bytes, 8 << 20);
}

#[tokio::test]
async fn a_cpu_limit_bounds_a_command_to_its_share() {
    let bench = Bench::new();
    let process = bench.spawn_with(&command("(loop $again (br $again))"), |it| it.cpu_millis = Some(100)).await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    process.kill();
    process.wait().await;
    assert!(process.stats().cpu < Duration::from_millis(350), "{:?}", process.stats().cpu);
}

#[tokio::test]
async fn a_flood_of_output_is_cut_by_a_kill_and_starves_no_one() {
    let bench = Bench::new();
    let flood = bench.spawn(&command("(loop $again (call $print (i32.const 1)) (br $again))")).await;
    let neighbour = bench.spawn(&command("(call $exit (i32.const 3))")).await;
    assert_eq!(neighbour.wait().await, completed(3));
    flood.kill();
    assert_eq!(flood.wait().await.reason, ExitReason::Killed);
    let written = bench.log.bytes();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(bench.log.bytes(), written, "nothing is written after the end");
}

#[tokio::test]
async fn many_spinning_commands_do_not_stop_this_runtime() {
    let bench = Bench::new();
    let mut spinning = Vec::new();
    for _ in 0..8 {
        spinning.push(bench.spawn(&command("(loop $again (br $again))")).await);
    }
    let started = Instant::now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    spinning.iter().for_each(|it| it.kill());
    for process in &spinning {
        assert_eq!(process.wait().await.code, 137);
    }
}

/// Opens `file.txt` in the first mount with `rights` and `flags`, and exits with the error number.
fn open(oflags: u32, rights: u64) -> String {
    command(&format!(
        "(call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 8) (i32.const {oflags})
            (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 64)))"
    ))
}

#[tokio::test]
async fn mounts_are_preopened_and_read_only_ones_stay_unwritten() {
    const READ: u64 = 1 << 1;
    const WRITE: u64 = 1 << 6;
    const CREATE: u32 = 1;
    let bench = Bench::new();
    let host = bench.dir.path().join("volume");
    std::fs::create_dir(&host).unwrap();
    let mount = |read_only| vec![Mount { host: host.clone(), held: None, guest: "/data".into(), read_only }];
    let create = open(CREATE, READ | WRITE);
    let refused = bench.spawn_with(&create, |it| it.mounts = mount(true)).await.wait().await;
    assert_ne!(refused, completed(0));
    assert!(!host.join("file.txt").exists());
    let allowed = bench.spawn_with(&create, |it| it.mounts = mount(false)).await.wait().await;
    assert_eq!(allowed, completed(0));
    assert!(host.join("file.txt").exists());
    let reads = bench.spawn_with(&open(0, READ), |it| it.mounts = mount(true)).await.wait().await;
    assert_eq!(reads, completed(0));
    let nothing = bench.spawn(&open(0, READ)).await.wait().await;
    assert_ne!(nothing, completed(0), "without a mount there is no file system");
}

#[tokio::test]
async fn a_module_has_no_more_files_open_than_a_component_may() {
    let bench = Bench::new();
    let host = bench.dir.path().join("volume");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("file.txt"), "").unwrap();
    // Opens one file 20,000 times, and exits with 1 when it is told that it cannot.
    let opens = command(
        "(local.set $i (i32.const 20000))
        (loop $again
            (if (call $open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 8) (i32.const 0)
                    (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64))
                (then (call $exit (i32.const 1))))
            (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))",
    );
    let mount = Mount { host, held: None, guest: "/data".into(), read_only: true };
    let exit = bench.spawn_with(&opens, |it| it.mounts = vec![mount]).await.wait().await;
    assert!([1, 134].contains(&exit.code), "{exit:?}");
}

#[tokio::test]
async fn large_tables_count_as_memory() {
    let bench = Bench::new();
    let grows = |elements: u32| {
        format!(
            r#"(module (table 0 funcref) (memory (export "memory") 1)
                (func (export "_start")
                    (if (i32.eq (table.grow 0 (ref.null func) (i32.const {elements})) (i32.const -1)) (then (unreachable)))))"#
        )
    };
    let within = bench.spawn_with(&grows(32_768), |it| it.memory_bytes = Some(65_536)).await;
    assert_eq!((within.wait().await, within.stats().memory_peak_bytes), (completed(0), 65_536));
    let beyond = bench.spawn_with(&grows(500_000), |it| it.memory_bytes = Some(1 << 20)).await;
    assert_eq!(beyond.wait().await.reason, ExitReason::OutOfMemory);
    let allowed = bench.spawn_with(&grows(500_000), |it| it.memory_bytes = Some(8 << 20)).await;
    assert_eq!(allowed.wait().await, completed(0));
    assert_eq!(allowed.stats().memory_peak_bytes, 65_536 + (500_000 - 32_768) * 8);
    // A hundred tables that the module has from its start.
    let many = format!(r#"(module {} (func (export "_start")))"#, "(table 1000000 funcref)".repeat(100));
    let many = bench.spawn_with(&many, |it| it.memory_bytes = Some(64 << 20)).await;
    assert_eq!(many.wait().await.reason, ExitReason::OutOfMemory);
}

/// A component that ends well if it is given as many random bytes as it asks for, as a command of this version of WASI.
fn draws(bytes: u32, version: &str) -> String {
    format!(
        r#"(component
            (import "wasi:random/random@{version}" (instance $random
                (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
            (core module $libc
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (if (i32.eq (memory.grow (i32.const 1024)) (i32.const -1)) (then (unreachable)))
                    (i32.const 65536)))
            (core instance $libc (instantiate $libc))
            (core func $get (canon lower (func $random "get-random-bytes")
                (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
            (core module $m
                (import "libc" "memory" (memory 1))
                (import "random" "get" (func $get (param i64 i32)))
                (func (export "run") (result i32)
                    (call $get (i64.const {bytes}) (i32.const 16))
                    (i32.ne (i32.load (i32.const 20)) (i32.const {bytes}))))
            (core instance $i (instantiate $m
                (with "libc" (instance $libc)) (with "random" (instance (export "get" (func $get))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $face (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $face)))"#
    )
}

#[tokio::test]
async fn random_bytes_come_in_pieces_and_not_without_end() {
    let bench = Bench::new();
    for (bytes, version) in [(0, "0.2.0"), (16 << 20, "0.2.0"), (1000, "0.3.0")] {
        let exit = bench.spawn(&draws(bytes, version)).await.wait().await;
        assert_eq!(exit, completed(0), "{bytes} of WASI {version}");
    }
    let exit = bench.spawn(&draws((16 << 20) + 1, "0.2.0")).await.wait().await;
    assert!(matches!(&exit.reason, ExitReason::Trap(why) if why.contains("random bytes at once")), "{exit:?}");
    let exit = bench.spawn(&draws(1 << 20, "0.3.0")).await.wait().await;
    assert_eq!(exit, completed(1), "WASI 0.3 lets the host give less");
    let plain = r#"(module (import "wasi_snapshot_preview1" "random_get" (func $get (param i32 i32) (result i32)))
        (memory (export "memory") 300)
        (func (export "_start") (drop (call $get (i32.const 0) (i32.const 16777217)))))"#;
    assert_eq!(bench.spawn(plain).await.wait().await.code, 134);
}

#[tokio::test]
async fn standard_input_reaches_the_guest() {
    let bench = Bench::new();
    // Reads six bytes over "hello\n", prints what came.
    let echo = command(
        "(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))) (call $print (i32.const 1))",
    );
    let process = bench.spawn_with(&echo, |it| it.stdin = true).await;
    let mut stdin = process.take_stdin().unwrap();
    stdin.write_all(b"howdy\n").await.unwrap();
    assert_eq!(process.wait().await, completed(0));
    assert_eq!(bench.log.text(LogStream::Stdout), "howdy\n");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let bench = Bench::new();
    let program = bench.load(&wat::parse_str(command("")).unwrap()).await.unwrap();
    let mut spec = bench.spec();
    spec.mounts = vec![Mount { host: "/no/such/dir".into(), held: None, guest: "/data".into(), read_only: true }];
    let error = program.spawn(spec).unwrap_err();
    assert!(matches!(&error, StartError::Mount { host, .. } if host == "/no/such/dir"), "{error}");
    let mut spec = bench.spec();
    spec.env = vec![("A=B".into(), "c".into())];
    assert!(matches!(program.spawn(spec).unwrap_err(), StartError::Invalid(_)));
    let error = program.serve(bench.spec()).unwrap_err();
    assert_eq!(error.to_string(), "a preview-1 module cannot be served");
}
