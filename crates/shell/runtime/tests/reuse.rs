//! Guests whose instances are reused: what an instance remembers, and what ends it.

mod common;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{Bench, PRINT, Threads, ask, get};
use eyot_dispatch::{CallError, Handler};
use eyot_runtime::{GuestSpec, HttpGuest, LogStream, Reuse};
use futures::future::join;
use http_body_util::BodyExt;

const PAGE: u64 = 65_536;

/// Counts its requests in memory and puts the request away, as well-behaved guests do.
const COUNT: &str = "(call $drop-request (local.get $request))
    (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))";

/// Answers with status 200 to the first request of an instance, 201 to the second, and so on.
const ANSWER: &str =
    "(local.set $body (call $open (local.get $outparam) (i32.add (i32.const 199) (i32.load (i32.const 2048)))))
    (local.set $stream (call $stream (local.get $body)))
    (drop (call $put (local.get $stream) (i32.const 1024) (i32.const 12)))
    (call $close (local.get $stream) (local.get $body))";

const REUSE: Reuse = Reuse { requests_max: 100, idle: Duration::from_secs(60) };

/// A guest that counts, does `work` and answers.
async fn counting(bench: &Bench, work: &str, change: impl FnOnce(&mut GuestSpec)) -> Arc<HttpGuest> {
    let handle = format!("{COUNT} {work} {ANSWER}");
    bench
        .http_with(&handle, |it| {
            it.reuse = Some(REUSE);
            change(it);
        })
        .await
}

/// Does `work` in the second request of an instance.
fn second(work: &str) -> String {
    format!("(if (i32.eq (i32.load (i32.const 2048)) (i32.const 2)) (then {work}))")
}

async fn status(guest: &Arc<HttpGuest>) -> u16 {
    let (status, body) = ask(guest).await.unwrap();
    assert_eq!(body, "hello, world");
    status
}

async fn statuses<const N: usize>(guest: &Arc<HttpGuest>) -> [u16; N] {
    let mut all = [0; N];
    for it in &mut all {
        *it = status(guest).await;
    }
    all
}

#[tokio::test]
async fn an_instance_answers_as_many_requests_as_it_may_and_then_another_does() {
    let bench = Bench::new();
    let thrice = counting(&bench, "", |it| it.reuse = Some(Reuse { requests_max: 3, ..REUSE })).await;
    assert_eq!(statuses(&thrice).await, [200, 201, 202, 200, 201, 202, 200]);
    let once = counting(&bench, "", |it| it.reuse = Some(Reuse { requests_max: 1, ..REUSE })).await;
    assert_eq!(statuses(&once).await, [200; 3]);
    assert_eq!((thrice.stats().requests, thrice.stats().failures, thrice.in_flight()), (7, 0, 0));
    assert_eq!((thrice.stats().memory_bytes, once.stats().memory_bytes), (PAGE, 0), "one is kept, and is counted");
}

#[tokio::test]
async fn requests_at_the_same_time_have_an_instance_each() {
    let guest = counting(&Bench::new(), "(call $nap (i64.const 20000000))", |_| {}).await;
    assert_eq!(join(status(&guest), status(&guest)).await, (200, 200));
    assert_eq!(guest.stats().memory_bytes, 2 * PAGE);
    assert_eq!(join(status(&guest), status(&guest)).await, (201, 201));
}

#[tokio::test]
async fn an_instance_that_fails_answers_no_more() {
    let bench = Bench::new();
    let traps = counting(&bench, &second("(unreachable)"), |_| {}).await;
    let exits = counting(&bench, &second("(call $exit (i32.const 0))"), |_| {}).await;
    let refuses = counting(
        &bench,
        &second(
            "(call $set (local.get $outparam) (i32.const 1) (i32.const 37) (i32.const 0) (i64.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
            (return)",
        ),
        |_| {},
    )
    .await;
    for guest in [traps, exits, refuses] {
        assert_eq!(status(&guest).await, 200);
        assert!(matches!(ask(&guest).await, Err(CallError::Guest(_))));
        assert_eq!(guest.stats().memory_bytes, 0, "it is gone");
        assert_eq!(statuses(&guest).await, [200]);
    }
}

#[tokio::test]
async fn a_deadline_holds_for_each_request_and_ends_the_instance() {
    let nap = second("(call $nap (i64.const 3600000000000))");
    let guest = counting(&Bench::new(), &nap, |it| it.request_deadline = Duration::from_millis(200)).await;
    assert_eq!(status(&guest).await, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(matches!(ask(&guest).await, Err(CallError::Deadline)));
    assert_eq!(statuses(&guest).await, [200]);
}

#[tokio::test]
async fn a_request_that_is_given_up_ends_the_instance() {
    let guest = counting(&Bench::new(), &second("(call $nap (i64.const 3600000000000))"), |_| {}).await;
    assert_eq!(status(&guest).await, 200);
    let given_up = tokio::time::timeout(Duration::from_millis(20), guest.clone().handle(get("/"))).await;
    assert!(given_up.is_err());
    assert_eq!((guest.in_flight(), guest.stats().memory_bytes), (0, 0));
    assert_eq!(status(&guest).await, 200);
}

#[tokio::test]
async fn a_body_that_is_given_up_ends_the_instance_and_one_that_is_read_does_not() {
    // Answers, and goes on writing.
    let long = format!(
        "{COUNT} (local.set $body (call $open (local.get $outparam) (i32.add (i32.const 199) (i32.load (i32.const 2048)))))
        (local.set $stream (call $stream (local.get $body)))
        (loop $next
            (drop (call $put (local.get $stream) (i32.const 1024) (i32.const 12)))
            (call $nap (i64.const 1000000))
            (local.set $other (i32.add (local.get $other) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $other) (i32.const 5))))
        (call $close (local.get $stream) (local.get $body))"
    );
    let guest = Bench::new().http_with(&long, |it| it.reuse = Some(REUSE)).await;
    let whole = Bytes::from("hello, world".repeat(5));
    assert_eq!(ask(&guest).await.unwrap(), (200, whole.clone()));
    assert_eq!(ask(&guest).await.unwrap(), (201, whole.clone()));
    let response = guest.clone().handle(get("/")).await.unwrap();
    assert_eq!(response.status(), 202);
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    assert_eq!(guest.stats().memory_bytes, 0);
    assert_eq!(ask(&guest).await.unwrap(), (200, whole));
}

#[tokio::test]
async fn what_a_guest_does_after_its_answer_is_over_before_the_next_request() {
    let bench = Bench::new();
    let work = format!("{COUNT} {ANSWER} (call $nap (i64.const 50000000))");
    let guest = bench.http_with(&work, |it| it.reuse = Some(REUSE)).await;
    assert_eq!(statuses(&guest).await, [200, 200], "the first instance still works");
    tokio::time::timeout(Duration::from_secs(10), async {
        while guest.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(status(&guest).await, 201);
}

#[tokio::test]
async fn a_guest_that_holds_on_to_requests_is_not_reused_and_its_log_says_so_once() {
    let bench = Bench::new();
    let holding = format!("{} {ANSWER}", COUNT.replace("(call $drop-request (local.get $request))", ""));
    let guest = bench.http_with(&holding, |it| it.reuse = Some(REUSE)).await;
    assert_eq!(statuses(&guest).await, [200; 3]);
    assert_eq!(guest.stats().memory_bytes, 0);
    let log = bench.log.text(LogStream::Stderr);
    assert_eq!(log.matches("an instance is not reused").count(), 1, "{log}");
}

#[tokio::test]
async fn what_the_first_request_opens_may_stay_but_no_more_of_it() {
    let bench = Bench::new();
    let once = "(if (i32.eq (i32.load (i32.const 2048)) (i32.const 1)) (then (drop (call $get-stderr))))";
    let opens_once = counting(&bench, once, |_| {}).await;
    assert_eq!(statuses(&opens_once).await, [200, 201, 202]);
    let leaks = counting(&bench, "(drop (call $get-stderr))", |_| {}).await;
    assert_eq!(statuses(&leaks).await, [200, 201, 200, 201]);
}

#[tokio::test]
async fn a_response_that_is_left_open_is_what_it_is_without_reuse() {
    let bench = Bench::new();
    let open = format!("{COUNT} {}", ANSWER.replace("(call $close (local.get $stream) (local.get $body))", ""));
    let fresh = bench.http(&open).await;
    let reused = bench.http_with(&open, |it| it.reuse = Some(REUSE)).await;
    let want = format!("{:?}", ask(&fresh).await);
    for _ in 0..2 {
        let got = tokio::time::timeout(Duration::from_secs(5), ask(&reused)).await.unwrap();
        assert_eq!(format!("{got:?}"), want);
    }
}

#[tokio::test]
async fn an_idle_instance_goes_after_its_time() {
    let spec = |it: &mut GuestSpec| it.reuse = Some(Reuse { idle: Duration::from_secs(1), ..REUSE });
    let guest = counting(&Bench::new(), "", spec).await;
    // Used meanwhile it does not grow old.
    for count in 0..4 {
        assert_eq!(status(&guest).await, 200 + count);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(guest.stats().memory_bytes, PAGE);
    tokio::time::timeout(Duration::from_secs(10), async {
        while guest.stats().memory_bytes > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the instance goes");
    assert_eq!(status(&guest).await, 200);
    assert_eq!(guest.stats().memory_bytes, PAGE, "others are kept after it");
}

#[tokio::test]
async fn nothing_is_left_of_a_guest_that_has_ended() {
    let bench = Bench::new();
    let drained = counting(&bench, "", |_| {}).await;
    assert_eq!(status(&drained).await, 200);
    drained.drain().await;
    assert_eq!(drained.stats().memory_bytes, 0);
    let before = Arc::strong_count(&bench.log);
    let dropped = counting(&bench, "", |_| {}).await;
    assert_eq!(status(&dropped).await, 200);
    assert!(Arc::strong_count(&bench.log) > before);
    drop(dropped);
    assert_eq!(Arc::strong_count(&bench.log), before, "kept instances hold their guest no longer than it is served");
}

#[tokio::test]
async fn idle_instances_make_room_in_their_guests_memory() {
    let grow = second("(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))");
    let work = format!("(call $nap (i64.const 20000000)) {grow}");
    let guest = counting(&Bench::new(), &work, |it| it.memory_bytes = Some(2 * PAGE)).await;
    assert_eq!(join(status(&guest), status(&guest)).await, (200, 200));
    assert_eq!(guest.stats().memory_bytes, 2 * PAGE);
    assert_eq!(status(&guest).await, 201, "the other one made room for this to grow");
    assert_eq!((guest.stats().memory_bytes, guest.stats().memory_peak_bytes), (2 * PAGE, 2 * PAGE));
    let (one, other) = join(status(&guest), ask(&guest)).await;
    assert_eq!(one, 202);
    assert!(matches!(other, Err(CallError::Overloaded(_))), "what is in a request makes no room: {other:?}");
    assert!(guest.limit(None, Some(PAGE)), "nor does what is idle stand in the way of a lower limit");
    assert_eq!(guest.stats().memory_bytes, 0);
}

#[tokio::test]
async fn an_instance_that_passes_the_memory_limit_is_not_reused() {
    let grow = second("(drop (memory.grow (i32.const 4)))");
    let guest = counting(&Bench::new(), &grow, |it| it.memory_bytes = Some(4 * PAGE)).await;
    assert_eq!(status(&guest).await, 200);
    assert!(matches!(ask(&guest).await, Err(CallError::OutOfMemory)));
    assert_eq!(guest.failures().borrow().out_of_memory, 1);
    assert_eq!((guest.stats().memory_bytes, status(&guest).await), (0, 200));
}

#[tokio::test]
async fn an_instance_that_came_to_have_much_memory_answers_where_nobody_waits_for_it() {
    let grow = "(if (i32.lt_u (memory.size) (i32.const 1040)) (then (drop (memory.grow (i32.const 1040)))))";
    let threads = Arc::new(Threads::default());
    let log = Arc::clone(&threads);
    let guest = counting(&Bench::new(), &format!("{grow} {PRINT}"), |it| it.log = log).await;
    assert_eq!(status(&guest).await, 200);
    // It is kept when its call has ended, there, a moment after its answer.
    while guest.in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(status(&guest).await, 201);
    assert_eq!(threads.are_in_the_background()[..2], [true, true], "as it grows, and from then on");
}

#[tokio::test]
async fn idle_instances_give_their_slots_to_other_guests() {
    let bench = Bench::new();
    let idle = counting(&bench, "(call $nap (i64.const 20000000))", |_| {}).await;
    futures::future::join_all((0..40).map(|_| status(&idle))).await;
    assert_eq!(idle.stats().memory_bytes, 16 * PAGE, "a quarter of the pool of 64 is kept");
    let mut held = Vec::new();
    // All slots, by programs that each take as many as they may.
    for (at, most) in [48, 12, 3, 1].into_iter().enumerate() {
        let waits = bench.http(&format!("(call $nap (i64.const {}))", 3_600_000_000_000 + at as u64)).await;
        for _ in 0..most {
            let mut call = waits.clone().handle(get("/"));
            assert!(tokio::time::timeout(Duration::from_millis(1), &mut call).await.is_err(), "{} held", held.len());
            held.push(call);
        }
        assert_eq!(waits.stats().memory_bytes, most * PAGE);
    }
    assert_eq!((idle.stats().memory_bytes, held.len()), (0, 64));
    assert!(matches!(ask(&idle).await, Err(CallError::Overloaded(_))));
    drop(held);
    assert_eq!(status(&idle).await, 200);
}

#[tokio::test]
async fn what_a_guest_is_charged_is_the_same_with_and_without_reuse() {
    // Some milliseconds of counting.
    let spin = "(local.set $other (i32.const 8000000))
        (loop $again (br_if $again (local.tee $other (i32.sub (local.get $other) (i32.const 1)))))";
    let bench = Bench::new();
    let (reused, fresh) = (counting(&bench, spin, |_| {}).await, counting(&bench, spin, |it| it.reuse = None).await);
    for _ in 0..10 {
        status(&reused).await;
        status(&fresh).await;
    }
    let (reused, fresh) = (reused.stats().cpu, fresh.stats().cpu);
    assert!(reused > fresh / 3 && fresh > reused / 3, "{reused:?} {fresh:?}");
}

/// A service of WASI 0.3, of the samples that `cargo xtask guests` builds.
fn relay() -> Vec<u8> {
    let built = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target/guests").into();
    let guests = std::env::var_os("EYOT_GUESTS").map_or_else(built, PathBuf::from);
    std::fs::read(guests.join("relay.wasm")).expect("cargo xtask guests builds relay.wasm")
}

#[tokio::test]
async fn services_of_wasi_0_3_are_reused_too() {
    let bench = Bench::new();
    let program = bench.load(&relay()).await.unwrap();
    let mut spec = bench.spec();
    spec.reuse = Some(Reuse { requests_max: 4, ..REUSE });
    let guest = program.serve(spec).unwrap();
    let mut kept = Vec::new();
    for _ in 0..8 {
        let request = http::Request::post("http://guest.test/").body(eyot_dispatch::full("quiet")).unwrap();
        let response = guest.clone().handle(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "QUIET");
        tokio::time::timeout(Duration::from_secs(10), async {
            while guest.in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
        kept.push(guest.stats().memory_bytes > 0);
    }
    let log = bench.log.text(LogStream::Stderr);
    assert_eq!(kept, [true, true, true, false, true, true, true, false], "{log}");
    assert_eq!(guest.stats().failures, 0);
}
