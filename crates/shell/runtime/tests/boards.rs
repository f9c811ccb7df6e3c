//! Machines with little address space: the runtime starts there, and guests answer.
//!
//! The limit holds for a whole process, so each case runs in one of its own: this test's binary once more, with a variable set.

mod common;

use std::process::Command;

use common::{Bench, ask, command};
use eyot_runtime::ExitReason;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const VARIABLE: &str = "EYOT_TEST_ADDRESS_BITS";

/// What a board does: a request, a command that grows out of its first place, and one more than may grow so far.
async fn work() {
    let bench = Bench::new();
    let guest = bench.http("(call $hello (local.get $outparam))").await;
    for _ in 0..3 {
        assert_eq!(ask(&guest).await.unwrap().0, 200);
    }
    // 100 MiB, touched at both ends: beyond what a command is reserved at first on a small machine.
    let grow = "(if (i32.ne (memory.grow (i32.const 1600)) (i32.const 1)) (then (unreachable)))
        (i32.store (i32.const 65536) (i32.const 7))
        (i32.store (i32.const 104857600) (i32.const 8))
        (call $exit (i32.add (i32.load (i32.const 65536)) (i32.load (i32.const 104857600))))";
    let exit = bench.spawn(&command(grow)).await.wait().await;
    assert_eq!((exit.code, exit.reason), (15, ExitReason::Completed));
}

fn confine(bits: u32) {
    let Rlimit { maximum, .. } = getrlimit(Resource::As);
    setrlimit(Resource::As, Rlimit { current: Some(1 << bits), maximum }).unwrap();
}

#[test]
fn guests_run_in_39_and_in_36_bits_of_address_space() {
    if let Ok(bits) = std::env::var(VARIABLE) {
        confine(bits.parse().unwrap());
        return tokio::runtime::Runtime::new().unwrap().block_on(work());
    }
    for bits in ["39", "36"] {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "guests_run_in_39_and_in_36_bits_of_address_space", "--nocapture"]);
        let output = again.env(VARIABLE, bits).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{bits} bits: {said}");
    }
}
