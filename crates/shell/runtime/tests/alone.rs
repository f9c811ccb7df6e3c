//! Commands on threads of their own: they run without checks, and are killed, held and counted as others are all the same.
//! Only x86-64 has them.
#![cfg(target_arch = "x86_64")]

mod common;

use std::{
    fs,
    time::{Duration, Instant},
};

use common::{Bench, command, http_component};
use eyot_runtime::{Exit, ExitReason, GuestSpec, LoadedFrom, LogStream, NoOwnThread, Process, StartError, Unshared};
use tokio::io::AsyncWriteExt;

const KILLED: Exit = Exit { code: 137, reason: ExitReason::Killed };

/// Guests that end when they are killed and not before, each in other code than the rest.
const ENDLESS: [(&str, &str); 7] = [
    ("a loop of nothing", "(loop $again (br $again))"),
    ("a loop that computes", "(loop $again (local.set $i (i32.rotl (local.get $i) (i32.const 3))) (br $again))"),
    ("filling memory", "(loop $again (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br $again))"),
    ("growing by nothing", "(loop $again (drop (memory.grow (i32.const 0))) (br $again))"),
    ("printing", "(loop $again (call $print (i32.const 1)) (br $again))"),
    ("calling what fails", "(loop $again (call $print (i32.const 77)) (br $again))"),
    ("calling itself", "(loop $again (call $fib (i32.const 30)) (br $again))"),
];

/// A command that does `body`, with a function that mostly begins and returns.
fn endless(body: &str) -> String {
    let whole = command(body);
    let module = whole.strip_suffix(')').unwrap();
    format!(
        r#"{module} (func $fib (param $n i32)
            (if (i32.ge_u (local.get $n) (i32.const 2)) (then
                (call $fib (i32.sub (local.get $n) (i32.const 1)))
                (call $fib (i32.sub (local.get $n) (i32.const 2)))))))"#
    )
}

async fn load(bench: &Bench, wasm: &[u8]) -> Option<Unshared> {
    let digest = format!("sha256:{}", fold(wasm));
    let file = bench.file(&digest, wasm);
    bench.runtime.load_unchecked(bench.runtime.own_thread().unwrap(), &file, &digest).await.unwrap()
}

/// Not a digest, but as good for telling test guests apart.
fn fold(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum, it| (sum ^ u64::from(*it)).wrapping_mul(0x100_0000_01b3))
}

async fn spawn_with(bench: &Bench, wat: &str, change: impl FnOnce(&mut GuestSpec)) -> Process {
    let mut spec = bench.spec();
    change(&mut spec);
    load(bench, &wat::parse_str(wat).unwrap()).await.unwrap().spawn(spec).unwrap()
}

async fn spawn(bench: &Bench, wat: &str) -> Process {
    spawn_with(bench, wat, |_| {}).await
}

/// Kills it; how long that took.
async fn kill(process: &Process) -> Duration {
    let started = Instant::now();
    process.kill();
    assert_eq!(process.wait().await, KILLED);
    started.elapsed()
}

#[tokio::test]
async fn whatever_a_guest_does_it_is_killed_within_milliseconds() {
    let bench = Bench::new();
    for (name, body) in ENDLESS {
        let process = spawn(&bench, &endless(body)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(process.exit(), None, "{name}");
        assert!(process.is_alone());
        let took = kill(&process).await;
        println!("{name}: {took:?}");
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
        assert_eq!(process.stats().memory_bytes, 0, "{name}");
        process.kill();
    }
    let said = bench.log.text(LogStream::Stderr);
    assert!(!said.contains("unreachable"), "how it was killed is not the guest's: {said}");
}

#[tokio::test]
async fn a_fill_of_much_memory_is_killed_when_it_is_done_with_it() {
    let bench = Bench::new();
    let body = "(drop (memory.grow (i32.const 1023)))
        (loop $again (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000)) (br $again))";
    let process = spawn(&bench, &command(body)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let took = kill(&process).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn what_spins_is_counted_while_it_does() {
    let bench = Bench::new();
    let process = spawn(&bench, &command("(loop $again (br $again))")).await;
    let used = async |least: Duration| {
        let started = Instant::now();
        while process.stats().cpu < least {
            assert!(started.elapsed() < Duration::from_secs(30), "{:?}", process.stats());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        started.elapsed()
    };
    used(Duration::from_millis(20)).await;
    let before = process.stats().cpu;
    let took = used(before + Duration::from_millis(50)).await;
    assert!(took > Duration::from_millis(40), "one thread has no more than one core: {took:?}");
    kill(&process).await;
    let after = process.stats().cpu;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(process.stats().cpu, after);
    assert!(after >= before + Duration::from_millis(50));
}

#[tokio::test]
async fn a_guest_that_waits_is_killed_and_dropping_kills_too() {
    let bench = Bench::new();
    let reads = command("(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))");
    let process = spawn_with(&bench, &reads, |it| it.stdin = true).await;
    let _stdin = process.take_stdin().unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    kill(&process).await;
    drop(spawn(&bench, &command("(loop $again (br $again))")).await);
    let started = Instant::now();
    while threads() > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "the thread of a guest that was dropped runs on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Threads of this process that run a command alone. Tests run in processes of their own.
fn threads() -> usize {
    let names =
        fs::read_dir("/proc/self/task").unwrap().filter_map(|it| fs::read_to_string(it.ok()?.path().join("comm")).ok());
    names.filter(|it| it.trim() == "eyot-own").count()
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_kills_at_any_moment_leave_nothing_behind() {
    let bench = Bench::with(|_| {});
    let guests: Vec<Vec<u8>> = ENDLESS.iter().map(|(_, body)| wat::parse_str(endless(body)).unwrap()).collect();
    let mut before = None;
    let mut longest = Duration::ZERO;
    for round in 0..1_000u64 {
        if round == 100 {
            before = Some((mappings(), open_files(), resident_bytes()));
        }
        let guest = &guests[round as usize % guests.len()];
        let process = load(&bench, guest).await.unwrap().spawn(bench.spec()).unwrap();
        // From before its thread runs to well into its code.
        let wait = Duration::from_micros(round.wrapping_mul(0x9e37_79b9) % 2_000);
        let started = Instant::now();
        while started.elapsed() < wait {
            tokio::task::yield_now().await;
        }
        longest = longest.max(kill(&process).await);
        drop(process);
    }
    println!("longest: {longest:?}");
    let (mapped, open, resident) = before.unwrap();
    // What is let go behind is gone soon.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(threads(), 0);
    assert!(mappings() <= mapped + 32, "{} {mapped}", mappings());
    assert!(open_files() <= open + 8, "{} {open}", open_files());
    assert!(resident_bytes() < resident + (64 << 20), "{} {resident}", resident_bytes());
    assert_eq!(spawn(&bench, &command("(call $exit (i32.const 3))")).await.wait().await.code, 3);
}

#[tokio::test]
async fn a_trap_of_its_own_is_told_with_its_place_and_a_kill_beside_it_harms_nobody() {
    let bench = Bench::new();
    let exit = spawn(&bench, &command("(unreachable)")).await.wait().await;
    assert_eq!(exit.code, 134);
    assert!(matches!(&exit.reason, ExitReason::Trap(why) if why.contains("unreachable")), "{exit:?}");
    let log = bench.log.text(LogStream::Stderr);
    assert!(log.contains("unreachable") && log.contains("!main at 0x"), "{log}");
    for (body, why) in [
        ("(drop (i32.load (i32.const -4)))", "out of bounds memory access"),
        ("(drop (i32.div_u (i32.const 1) (local.get $i)))", "divide by zero"),
        ("(call $main)", "call stack exhausted"),
    ] {
        let exit = spawn(&bench, &command(body)).await.wait().await;
        assert!(matches!(&exit.reason, ExitReason::Trap(it) if it.contains(why)), "{body}: {exit:?}");
        for round in 0..50 {
            let process = spawn(&bench, &command(body)).await;
            let started = Instant::now();
            while started.elapsed() < Duration::from_micros(20 * round) {}
            process.kill();
            assert!([134, 137].contains(&process.wait().await.code));
        }
    }
}

#[tokio::test]
async fn output_input_exit_codes_and_limits_are_as_with_others() {
    let bench = Bench::new();
    let process = spawn(&bench, &command("(call $print (i32.const 1)) (call $exit (i32.const 42))")).await;
    assert_eq!(process.wait().await, Exit { code: 42, reason: ExitReason::Completed });
    assert_eq!(bench.log.text(LogStream::Stdout), "hello\n");
    let hog = command("(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))");
    let process = spawn_with(&bench, &hog, |it| it.memory_bytes = Some(8 << 20)).await;
    assert_eq!(process.wait().await, Exit { code: 137, reason: ExitReason::OutOfMemory });
    assert_eq!(process.stats().memory_peak_bytes, 8 << 20, "to the page");
    let echo = command(
        "(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))) (call $print (i32.const 2))",
    );
    let process = spawn_with(&bench, &echo, |it| it.stdin = true).await;
    process.take_stdin().unwrap().write_all(b"howdy\n").await.unwrap();
    assert_eq!(process.wait().await.code, 0);
    assert!(bench.log.text(LogStream::Stderr).contains("howdy\n"));
}

#[tokio::test]
async fn less_than_a_core_is_for_threads_that_are_shared() {
    let bench = Bench::new();
    let wasm = wat::parse_str(command("(loop $again (br $again))")).unwrap();
    let mut spec = bench.spec();
    spec.cpu_millis = Some(999);
    let error = load(&bench, &wasm).await.unwrap().spawn(spec.clone()).unwrap_err();
    assert!(matches!(&error, StartError::Invalid(why) if why.contains("999m")), "{error}");
    spec.cpu_millis = Some(1000);
    let process = load(&bench, &wasm).await.unwrap().spawn(spec).unwrap();
    let started = Instant::now();
    while process.stats().memory_bytes == 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "it never began");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!process.limit(Some(500), None), "it cannot be held to that");
    assert!(process.limit(Some(2000), Some(1 << 20)) && process.limit(None, None));
    assert!(!process.limit(None, Some(1)), "it uses more");
    kill(&process).await;
}

#[tokio::test]
async fn there_are_as_many_threads_as_cores_and_each_is_given_back() {
    let bench = Bench::new();
    let mut taken = Vec::new();
    let error = loop {
        match bench.runtime.own_thread() {
            Ok(thread) => taken.push(thread),
            Err(error) => break error,
        }
    };
    assert_eq!((error, taken.len()), (NoOwnThread::Taken, std::thread::available_parallelism().unwrap().get()));
    drop(taken.pop());
    let process = spawn(&bench, &command("(loop $again (br $again))")).await;
    assert_eq!(bench.runtime.own_thread().unwrap_err(), NoOwnThread::Taken);
    kill(&process).await;
    assert!(bench.runtime.own_thread().is_ok());
}

#[tokio::test]
async fn what_needs_checks_is_not_loaded_without() {
    let bench = Bench::new();
    let tail = r#"(module (memory (export "memory") 1) (func $main (export "_start") (return_call $main)))"#;
    let throws = r#"(module (tag $t) (memory (export "memory") 1) (func (export "_start") (throw $t)))"#;
    let collects = r#"(module (type $s (struct)) (memory (export "memory") 1)
        (func (export "_start") (drop (struct.new $s))))"#;
    for wat in [tail, throws, collects] {
        let wasm = wat::parse_str(wat).unwrap();
        assert!(load(&bench, &wasm).await.is_none(), "{wat}");
        assert!(load(&bench, &wasm).await.is_none(), "and nobody looks twice");
        assert!(bench.load(&wasm).await.unwrap().kind().is_command(), "{wat}");
    }
    assert!(load(&bench, &http_component("")).await.is_none(), "a service");
    assert!(load(&bench, b"nonsense").await.is_none());
    assert!(bench.runtime.own_thread().is_ok(), "no thread is kept for them");
}

#[tokio::test]
async fn its_code_is_compiled_once_and_beside_that_of_others() {
    let bench = Bench::new();
    let wasm = wat::parse_str(command("(call $exit (i32.const 5))")).unwrap();
    let from = async || {
        let command = load(&bench, &wasm).await.unwrap();
        let from = command.loaded().from;
        assert_eq!(command.spawn(bench.spec()).unwrap().wait().await.code, 5);
        from
    };
    assert_eq!(bench.load(&wasm).await.unwrap().loaded().from, LoadedFrom::Compiled);
    assert_eq!([from().await, from().await], [LoadedFrom::Compiled, LoadedFrom::Cache]);
    let shared = bench.load(&wasm).await.unwrap();
    assert_eq!(shared.loaded().from, LoadedFrom::Cache);
    assert_eq!(shared.spawn(bench.spec()).unwrap().wait().await.code, 5);
}

#[tokio::test]
async fn a_kill_concerns_one_guest_of_several_with_the_same_program() {
    let bench = Bench::new();
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    let spins = command("(loop $again (br $again))");
    let (killed, other) = (spawn(&bench, &spins).await, spawn(&bench, &spins).await);
    let shared = bench.spawn(&spins).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    kill(&killed).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!((other.exit(), shared.exit()), (None, None));
    kill(&other).await;
    kill(&shared).await;
}

/// A component that asks for its arguments; where they are put `realloc` decides, core instructions.
fn component(realloc: &str, run: &str) -> String {
    format!(
        r#"(component
            (import "wasi:cli/environment@0.2.0" (instance $env
                (export "get-arguments" (func (result (list string))))))
            (core module $libc
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc}))
            (core instance $libc (instantiate $libc))
            (core func $arguments (canon lower (func $env "get-arguments")
                (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
            (core module $main
                (import "host" "arguments" (func $arguments (param i32)))
                (func (export "run") (result i32) {run}))
            (core instance $main (instantiate $main
                (with "host" (instance (export "arguments" (func $arguments))))))
            (func $run (result (result)) (canon lift (core func $main "run")))
            (instance $face (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $face)))"#
    )
}

#[tokio::test]
async fn a_component_is_killed_too_though_the_host_has_called_it_back() {
    let bench = Bench::new();
    let once = "(call $arguments (i32.const 0)) (i32.const 0)";
    let process = spawn_with(&bench, &component("(i32.const 1024)", once), |it| it.args = vec!["one".into()]).await;
    assert_eq!(process.wait().await, Exit { code: 0, reason: ExitReason::Completed });
    let forever = "(loop $again (call $arguments (i32.const 0)) (br $again)) (i32.const 0)";
    for (realloc, run) in [("(loop $again (br $again)) (i32.const 0)", once), ("(i32.const 1024)", forever)] {
        for round in 0..20 {
            let process = spawn_with(&bench, &component(realloc, run), |it| it.args = vec!["one".into()]).await;
            tokio::time::sleep(Duration::from_micros(500 * round)).await;
            let took = kill(&process).await;
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    }
}

#[tokio::test]
async fn a_guest_that_never_comes_to_its_start_is_killed() {
    let bench = Bench::new();
    let wat = r#"(module (memory (export "memory") 1) (func $begin (loop $again (br $again))) (start $begin)
        (func (export "_start")))"#;
    let process = spawn(&bench, wat).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    kill(&process).await;
}
