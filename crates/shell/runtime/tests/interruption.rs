//! What it costs that guests can be interrupted: the same code with and without the checks, by both compilers, and as commands of
//! a node: on threads that they share, and on threads of their own.
//!
//! `cargo nextest run -p eyot-runtime --run-ignored only -E 'binary(interruption)' --no-capture` prints the table that
//! docs/benchmarks.md holds. Guest code is as fast in a debug build as in any other.

mod common;

use std::time::Duration;

use common::Bench;
use eyot_runtime::Process;
use wasmtime::{Config, Engine, Instance, Module, Store, Strategy};

/// Three ways to spend time: calls, memory, and a loop of a few instructions.
const KERNELS: &str = r#"(module
    (memory 40)
    (func $fib (export "calls") (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "memory") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $found i32)
        (memory.fill (i32.const 0) (i32.const 1) (local.get $n))
        (local.set $i (i32.const 2))
        (loop $next
            (if (i32.load8_u (local.get $i)) (then
                (local.set $found (i32.add (local.get $found) (i32.const 1)))
                (local.set $j (i32.shl (local.get $i) (i32.const 1)))
                (block $done (loop $strike
                    (br_if $done (i32.ge_u (local.get $j) (local.get $n)))
                    (i32.store8 (local.get $j) (i32.const 0))
                    (local.set $j (i32.add (local.get $j) (local.get $i)))
                    (br $strike)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
        (local.get $found))
    (func (export "loop") (param $n i32) (result i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.xor (i32.rotl (local.get $sum) (i32.const 5)) (local.get $n)))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;

const RUNS_EACH: usize = 15;

const RUNS: [(&str, i32); 3] = [("calls", 32), ("memory", 2_000_000), ("loop", 100_000_000)];

fn engine(interruptible: bool, strategy: Strategy) -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(interruptible).concurrency_support(false).strategy(strategy);
    Engine::new(&config).unwrap()
}

/// Processor time of this thread: of what else runs on the machine it says little.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The fastest of a few runs, and what came out.
fn time(engine: &Engine, name: &str, argument: i32) -> (Duration, i32) {
    let module = Module::new(engine, wat::parse_str(KERNELS).unwrap()).unwrap();
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let kernel = instance.get_typed_func::<i32, i32>(&mut store, name).unwrap();
    let mut best = (Duration::MAX, 0);
    for _ in 0..RUNS_EACH {
        let before = used();
        let result = kernel.call(&mut store, argument).unwrap();
        best = (best.0.min(used() - before), result);
    }
    best
}

/// A command that runs one of them.
fn command(name: &str, argument: i32) -> Vec<u8> {
    let mut text = KERNELS.replace("$fib (export \"calls\")", "$calls").replace("$fib", "$calls");
    for name in ["memory", "loop"] {
        text = text.replace(&format!("(func (export \"{name}\")"), &format!("(func ${name}"));
    }
    let start = format!(r#"(func (export "_start") (drop (call ${name} (i32.const {argument})))))"#);
    wat::parse_str(text.strip_suffix(')').unwrap().to_owned() + &start).unwrap()
}

async fn used_by(process: Process) -> Duration {
    assert_eq!(process.wait().await.code, 0);
    process.stats().cpu
}

/// The fastest of a few runs, from start to end: on threads that commands share, and on one of its own.
async fn time_commands(bench: &Bench, name: &str, argument: i32) -> [Duration; 2] {
    let wasm = command(name, argument);
    let shared = bench.load(&wasm).await.unwrap();
    let (file, digest) = (bench.file(name, &wasm), format!("sha256:{name}"));
    let mut best = [Duration::MAX; 2];
    for _ in 0..RUNS_EACH {
        // One after the other: two at once may share a core's units.
        best[0] = best[0].min(used_by(shared.spawn(bench.spec()).unwrap()).await);
        let thread = bench.runtime.own_thread().unwrap();
        let alone = bench.runtime.load_unchecked(thread, &file, &digest).await.unwrap().unwrap();
        best[1] = best[1].min(used_by(alone.spawn(bench.spec()).unwrap()).await);
    }
    best
}

#[tokio::test]
#[ignore = "measures, on a machine that does nothing else"]
async fn interruptible_code_computes_the_same_and_costs_what_is_printed() {
    let (free, checked) = (engine(false, Strategy::Cranelift), engine(true, Strategy::Cranelift));
    let baseline = engine(true, Strategy::Winch);
    let bench = Bench::new();
    println!(
        "kernel: uninterruptible, interruptible, interruptible by the baseline compiler; command, command with whole CPUs"
    );
    for (name, argument) in RUNS {
        let runs = [&free, &checked, &baseline].map(|it| time(it, name, argument));
        assert!(runs.iter().all(|it| it.1 == runs[0].1), "{name}: {runs:?}");
        let [a, b, c] = runs.map(|it| it.0.as_secs_f64() * 1e3);
        let [d, e] = time_commands(&bench, name, argument).await.map(|it| it.as_secs_f64() * 1e3);
        print!("{name}: {a:.1} ms, {b:.1} ms ({:.2} x), {c:.1} ms ({:.2} x); ", b / a, c / a);
        println!("{d:.1} ms ({:.2} x), {e:.1} ms ({:.2} x)", d / a, e / a);
    }
}
