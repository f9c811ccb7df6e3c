//! Guests that hold many headers, which are the host's memory: how much that can be, and that others never notice.

mod common;

use std::time::Duration;

use common::{Bench, PRINT, ask};
use eyot_runtime::{Exit, ExitReason, LogStream};

/// Runs `run` in a command of WASI `version`, see `guests/fields.wat`.
async fn ended(version: &str, run: &str) -> Exit {
    let is_late = version.starts_with("0.3");
    let (more, at, kind) = if is_late {
        (r#"(case "size-exceeded") (case "other" (option string))"#, "68", "async ")
    } else {
        ("", "65", "")
    };
    let wat = include_str!("guests/fields.wat")
        .replace("VERSION", version)
        .replace("MORE", more)
        .replace("AT)", &format!("{at})"))
        .replace("ASYNC", kind)
        .replace(";;RUN;;", run);
    let bench = Bench::new();
    let process = bench.load(&wat::parse_str(wat).unwrap()).await.unwrap().spawn(bench.spec()).unwrap();
    tokio::time::timeout(Duration::from_secs(30), process.wait()).await.expect("it ends")
}

/// Makes `fields` with a header of 96 KiB and `copies` of it, changing each, after which none shares with another any more.
fn copied(copies: u32, and_then: &str) -> String {
    format!(
        "(local.set $fields (call $new))
        (if (call $add (local.get $fields) (i32.const 0) (i32.const 0x18000)) (then (return (i32.const 1))))
        (loop $next
            (local.set $copy (call $clone (local.get $fields)))
            (call $delete (local.get $copy) (i32.const 1025) (i32.const 1) (i32.const 64))
            (if (i32.load8_u (i32.const 64)) (then (return (i32.const 1))))
            {and_then}
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const {copies}))))
        (i32.const 0)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_hold_more_than_a_guest_may_are_refused() {
    for version in ["0.2.0", "0.3.0"] {
        let exit = ended(version, &copied(1_000, "")).await;
        let ExitReason::Trap(why) = exit.reason else { panic!("{version}: {exit:?}") };
        assert!(why.contains("the pod's headers hold more than 67108864 bytes"), "{version}: {why}");
        let exit = ended(version, &copied(600, "")).await;
        assert_eq!(exit.code, 0, "{version}: {:?}", exit.reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_gone_count_no_more() {
    for version in ["0.2.0", "0.3.0"] {
        let exit = ended(version, &copied(5_000, "(call $drop (local.get $copy))")).await;
        assert_eq!(exit.code, 0, "{version}: {:?}", exit.reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_of_wasi_0_3_is_told_and_goes_on_when_it_has_given_some_up() {
    // The error is the fourth, size-exceeded. The last `fields` that were filled are in $copy.
    let run = "(loop $next
            (local.set $fields (call $new))
            (local.set $refused (call $add (local.get $fields) (i32.const 0) (i32.const 0x18000)))
            (if (i32.eqz (local.get $refused))
                (then
                    (local.set $copy (local.get $fields))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $next (i32.lt_u (local.get $i) (i32.const 1000))))))
        (if (i32.ne (local.get $refused) (i32.const 4)) (then (return (i32.const 1))))
        (if (i32.lt_u (local.get $i) (i32.const 600)) (then (return (i32.const 1))))
        (call $drop (local.get $copy))
        (call $add (local.get $fields) (i32.const 0) (i32.const 0x100))";
    let exit = ended("0.3.0", run).await;
    assert_eq!(exit.code, 0, "{:?}", exit.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_as_the_guest_made_them() {
    // Fifty-two of them, two of each name: more than a map may have that loses some and is not made anew.
    let run = "(local.set $fields (call $new))
        (loop $next
            (if (call $add (local.get $fields) (i32.rem_u (local.get $i) (i32.const 26)) (i32.const 64))
                (then (return (i32.const 1))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 52))))
        (local.set $copy (call $clone (local.get $fields)))
        (call $delete (local.get $copy) (i32.const 1024) (i32.const 1) (i32.const 64))
        (if (call $values (local.get $copy) (i32.const 0)) (then (return (i32.const 1))))
        (if (i32.ne (call $values (local.get $fields) (i32.const 0)) (i32.const 2)) (then (return (i32.const 1))))
        (local.set $i (i32.const 1))
        (loop $next
            (if (i32.ne (call $values (local.get $copy) (local.get $i)) (i32.const 2)) (then (return (i32.const 1))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 26))))
        ;; And it may still be changed.
        (call $add (local.get $copy) (i32.const 0) (i32.const 64))";
    for version in ["0.2.0", "0.3.0"] {
        let exit = ended(version, run).await;
        assert_eq!(exit.code, 0, "{version}: {:?}", exit.reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_that_are_too_large_are_refused_and_others_sent() {
    // It prints when the error is the one for trailers.
    let handle = |bytes: u32| {
        format!(
            "(local.set $body (call $open (local.get $outparam) (i32.const 200)))
            (local.set $other (call $fields))
            (memory.fill (i32.const 0x4000) (i32.const 97) (i32.const {bytes}))
            (call $append (local.get $other) (i32.const 1024) (i32.const 5) (i32.const 0x4000) (i32.const {bytes})
                (i32.const 64))
            (call $finish (local.get $body) (i32.const 1) (local.get $other) (i32.const 64))
            (if (i32.and (i32.load8_u (i32.const 64)) (i32.eq (i32.load8_u (i32.const 72)) (i32.const 23)))
                (then {PRINT}))"
        )
    };
    for (bytes, is_refused) in [(64, false), (20_000, true)] {
        let bench = Bench::new();
        let answer = ask(&bench.http(&handle(bytes)).await).await;
        assert_eq!(answer.is_err(), is_refused, "{bytes}: {answer:?}");
        assert_eq!(bench.log.text(LogStream::Stderr).contains("hello"), is_refused, "{bytes}");
    }
}
