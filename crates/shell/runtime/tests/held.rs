//! Commands of WASI 0.3 that have many calls under way, so that the host holds what they handed over: how much that can be.

mod common;

use std::time::Duration;

use common::Bench;
use eyot_runtime::{Exit, GuestSpec, Mount, ProgramKind};

/// Runs a command that does `run`, see `guests/held.wat`.
async fn ended(run: &str, change: impl FnOnce(&Bench, &mut GuestSpec)) -> Exit {
    let bench = Bench::new();
    let wat = include_str!("guests/held.wat").replace(";;RUN;;", run);
    let program = bench.load(&wat::parse_str(wat).unwrap()).await.unwrap();
    assert_eq!(program.kind(), ProgramKind::ConcurrentCommand);
    let mut spec = bench.spec();
    change(&bench, &mut spec);
    let process = program.spawn(spec).unwrap();
    tokio::time::timeout(Duration::from_secs(20), process.wait()).await.expect("it ends")
}

/// Has `call` made 64 times, which leaves its status, with a text of 4 MiB: each must end at once, refused with `code` at `at`.
fn refused_at_once(call: &str, at: u32, code: u32) -> String {
    format!(
        "(loop $next
            (local.set $status {call})
            (if (i32.eqz (call $refused (local.get $status) (i32.const {at}) (i32.const {code})))
                (then (call $exit (i32.const 1))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 64))))
        (call $exit (i32.const 0))"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_none_can_be_is_not_held() {
    let call = "(call $resolve (i32.const 0x100000) (i32.const 0x400000) (i32.const 64))";
    let exit = ended(&refused_at_once(call, 68, 1), |_, _| {}).await;
    assert_eq!(exit.code, 0, "{:?}", exit.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_longer_than_the_kernel_takes_is_not_held() {
    let call = "(call $create-directory (i32.load (i32.load (i32.const 32)))
        (i32.const 0x100000) (i32.const 0x400000) (i32.const 64))";
    let run = format!("(call $directories (i32.const 32)) {}", refused_at_once(call, 68, 17));
    let exit = ended(&run, |bench, spec| {
        let host = bench.dir.path().join("volume");
        std::fs::create_dir(&host).unwrap();
        spec.mounts.push(Mount { host, held: None, guest: "/volume".into(), read_only: false });
    });
    let exit = exit.await;
    assert_eq!(exit.code, 0, "{:?}", exit.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_hold_more_than_a_guest_may_are_refused() {
    // Nobody sends anything: each call has room for a datagram of 64 KiB, and waits.
    let run = "(call $socket (i32.const 0) (i32.const 32))
        (call $bind (i32.load (i32.const 36)) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then (call $exit (i32.const 1))))
        (loop $next
            (local.set $status (call $receive (i32.load (i32.const 36)) (i32.const 64)))
            (if (i32.eq (i32.and (local.get $status) (i32.const 15)) (i32.const 1))
                (then
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $next (i32.lt_u (local.get $i) (i32.const 1000)))
                    (call $exit (i32.const 1)))))
        (if (i32.ne (local.get $i) (i32.const 256)) (then (call $exit (i32.const 1))))
        (call $exit (i32.eqz (call $refused (local.get $status) (i32.const 68) (i32.const 3))))";
    let exit = ended(run, |_, spec| spec.ip = Some("127.42.0.7".parse().unwrap())).await;
    assert_eq!(exit.code, 0, "{:?}", exit.reason);
}
