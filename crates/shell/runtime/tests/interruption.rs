//! What it costs that guests can be interrupted: the same code with and without the checks, and by both compilers.
//!
//! `cargo nextest run -p eyot-runtime --run-ignored only -E 'binary(interruption)' --no-capture` prints the table that
//! docs/benchmarks.md holds. Guest code is as fast in a debug build as in any other.

use std::time::{Duration, Instant};

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

const RUNS: [(&str, i32); 3] = [("calls", 32), ("memory", 2_000_000), ("loop", 100_000_000)];

fn engine(interruptible: bool, strategy: Strategy) -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(interruptible).concurrency_support(false).strategy(strategy);
    Engine::new(&config).unwrap()
}

/// The fastest of a few runs, and what came out.
fn time(engine: &Engine, name: &str, argument: i32) -> (Duration, i32) {
    let module = Module::new(engine, wat::parse_str(KERNELS).unwrap()).unwrap();
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let kernel = instance.get_typed_func::<i32, i32>(&mut store, name).unwrap();
    let mut best = (Duration::MAX, 0);
    for _ in 0..7 {
        let started = Instant::now();
        let result = kernel.call(&mut store, argument).unwrap();
        best = (best.0.min(started.elapsed()), result);
    }
    best
}

#[test]
#[ignore = "measures, on a machine that does nothing else"]
fn interruptible_code_computes_the_same_and_costs_what_is_printed() {
    let (free, checked) = (engine(false, Strategy::Cranelift), engine(true, Strategy::Cranelift));
    let baseline = engine(true, Strategy::Winch);
    println!("kernel: uninterruptible, interruptible, interruptible by the baseline compiler");
    for (name, argument) in RUNS {
        let runs = [&free, &checked, &baseline].map(|it| time(it, name, argument));
        assert!(runs.iter().all(|it| it.1 == runs[0].1), "{name}: {runs:?}");
        let [a, b, c] = runs.map(|it| it.0.as_secs_f64() * 1e3);
        println!("{name}: {a:.1} ms, {b:.1} ms ({:.2} x), {c:.1} ms ({:.2} x)", b / a, c / a);
    }
}
