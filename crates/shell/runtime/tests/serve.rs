//! `wasi:http` guests: what they answer, and what becomes of those that misbehave.

pub(crate) mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{Bench, PRINT, Threads, ask, get};
use eyot_dispatch::{Body, BoxError, CallError, Caller, Handler, Outbound};
use eyot_runtime::{LoadError, LogStream, StartError};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

const HELLO: &str = "(call $hello (local.get $outparam))";
const SPIN: &str = "(loop $again (br $again))";

/// Sends the request's body back, chunk by chunk.
const ECHO: &str = r#"
    (call $consume (local.get $request) (i32.const 16))
    (call $body-in (i32.load (i32.const 20)) (i32.const 16))
    (local.set $in (i32.load (i32.const 20)))
    (local.set $body (call $open (local.get $outparam) (i32.const 200)))
    (local.set $stream (call $stream (local.get $body)))
    (block $end (loop $next
        (call $read (local.get $in) (i64.const 4096) (i32.const 48))
        (br_if $end (i32.load8_u (i32.const 48)))
        (br_if $end (call $put (local.get $stream) (i32.load (i32.const 52)) (i32.load (i32.const 56))))
        (br $next)))
    (call $close (local.get $stream) (local.get $body))"#;

/// Writes 12 bytes every millisecond until writing fails, then says so in the log.
const FOREVER: &str = r#"
    (local.set $body (call $open (local.get $outparam) (i32.const 200)))
    (local.set $stream (call $stream (local.get $body)))
    (block $end (loop $next
        (br_if $end (call $put (local.get $stream) (i32.const 1024) (i32.const 12)))
        (call $nap (i64.const 1000000))
        (br $next)))
    (drop (call $put (call $get-stderr) (i32.const 1024) (i32.const 12)))"#;

#[tokio::test]
async fn a_guest_answers_each_request_with_a_fresh_instance() {
    let bench = Bench::new();
    // Counts in memory: a reused instance would answer 201 the second time.
    let guest = bench
        .http(
            r#"(i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
            (local.set $body (call $open (local.get $outparam) (i32.add (i32.const 199) (i32.load (i32.const 2048)))))
            (local.set $stream (call $stream (local.get $body)))
            (drop (call $put (local.get $stream) (i32.const 1024) (i32.const 12)))
            (call $close (local.get $stream) (local.get $body))"#,
        )
        .await;
    for _ in 0..3 {
        assert_eq!(ask(&guest).await.unwrap(), (200, Bytes::from_static(b"hello, world")));
    }
    let stats = guest.stats();
    assert_eq!((stats.requests, stats.failures, guest.in_flight()), (3, 0, 0));
    assert_eq!((stats.memory_peak_bytes, stats.memory_bytes), (65_536, 0));
    assert!(stats.cpu > Duration::ZERO);
}

#[tokio::test]
async fn a_small_response_is_whole_and_of_known_length() {
    let guest = Bench::new().http(HELLO).await;
    // On a busy machine a guest's turn may be over between the head and the end of its response.
    for attempt in 0.. {
        let response = guest.clone().handle(get("/")).await.unwrap();
        match http_body::Body::size_hint(response.body()).exact() {
            Some(length) => {
                assert_eq!(length, 12);
                assert_eq!(guest.in_flight(), 0, "the instance is gone before its response is read");
                return;
            }
            None => assert!(attempt < 50, "no response is whole"),
        }
    }
}

#[tokio::test]
async fn a_task_that_calls_often_without_waiting_gets_whole_answers() {
    let guest = Bench::new().http(HELLO).await;
    for _ in 0..300 {
        assert_eq!(ask(&guest).await.unwrap().1, "hello, world");
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_without_holding_them() {
    let guest = Bench::new().http(ECHO).await;
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
    let body = StreamBody::new(futures::stream::unfold(receive, |mut it| async { it.recv().await.map(|f| (f, it)) }));
    let request = Request::post("http://guest.test/").body(BodyExt::boxed_unsync(body)).unwrap();
    let mut response = guest.clone().handle(request).await.unwrap().into_body();
    // The second chunk is sent only after the first came back, so nothing waits for the whole.
    for chunk in ["first", "second"] {
        send.send(Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))).await.unwrap();
        let back = response.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(back, chunk);
    }
    drop(send);
    assert!(response.frame().await.is_none());
    drop(response);
    guest.drain().await;
    assert_eq!(guest.stats().failures, 0);
}

#[tokio::test]
async fn a_large_body_does_not_deadlock_when_written_before_it_is_read() {
    let guest = Bench::new().http(ECHO).await;
    let sent = Bytes::from(vec![7u8; 3 << 20]);
    let request = Request::post("http://guest.test/").body(eyot_dispatch::full(sent.clone())).unwrap();
    let response = guest.clone().handle(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), sent);
    let stats = guest.stats();
    assert_eq!((stats.received_bytes, stats.sent_bytes), (3 << 20, 3 << 20), "what passed is counted");
}

#[tokio::test]
async fn a_trap_is_an_error_a_record_and_a_backtrace() {
    let bench = Bench::new();
    let guest = bench.http("(unreachable)").await;
    let mut failures = guest.failures();
    let error = ask(&guest).await.unwrap_err();
    assert!(matches!(&error, CallError::Guest(why) if why.contains("unreachable")), "{error}");
    failures.changed().await.unwrap();
    let failed = failures.borrow().clone();
    assert!(failed.guest == 1 && failed.message.contains("unreachable"), "{failed:?}");
    let log = bench.log.text(LogStream::Stderr);
    assert!(log.contains("unreachable") && log.contains("!handle at 0x"), "{log}");
}

/// Empty memories cost nothing of a memory limit, but the pool has no more of them than places.
#[tokio::test]
async fn an_instance_of_many_memories_leaves_a_neighbour_its_own() {
    let bench = Bench::new();
    let neighbour = bench.http(HELLO).await;
    let waits = |memories: usize| {
        let handle = "(call $nap (i64.const 3600000000000))";
        let text = include_str!("guests/http.wat").replace(";;HANDLE;;", handle);
        let (text, _) = text.rsplit_once(')').unwrap();
        wat::parse_str(format!(
            "{text} (core module $more (memory 0)) {})",
            "(core instance (instantiate $more))".repeat(memories - 1)
        ))
        .unwrap()
    };
    let guest = bench.load(&waits(8)).await.unwrap().serve(bench.spec()).unwrap();
    let (mut inside, mut refused) = (Vec::new(), 0);
    for _ in 0..20 {
        let mut call = Box::pin(ask(&guest));
        match futures::poll!(&mut call) {
            std::task::Poll::Pending => inside.push(call),
            std::task::Poll::Ready(Err(CallError::Overloaded(_))) => refused += 1,
            std::task::Poll::Ready(answer) => panic!("{answer:?}"),
        }
    }
    assert_eq!((inside.len(), refused), (6, 14), "48 of 64 places");
    assert_eq!(ask(&neighbour).await.unwrap().0, 200);
    drop(inside);
    let refused = bench.load(&waits(64)).await.unwrap_err();
    assert!(matches!(&refused, LoadError::TooManyResources(why) if why.contains("64 places")), "{refused}");
}

#[tokio::test]
async fn a_guest_that_spins_meets_its_deadline_and_harms_no_neighbour() {
    let bench = Bench::new();
    let spinner = bench.http_with(SPIN, |it| it.request_deadline = Duration::from_millis(300)).await;
    let neighbour = bench.http(HELLO).await;
    let spinning = tokio::spawn({
        let spinner = spinner.clone();
        async move { ask(&spinner).await }
    });
    // On this single-threaded runtime the neighbour gets its turns only because the spinner yields.
    for _ in 0..20 {
        assert_eq!(ask(&neighbour).await.unwrap().0, 200);
    }
    let started = Instant::now();
    assert!(matches!(spinning.await.unwrap(), Err(CallError::Deadline)));
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(spinner.failures().borrow().deadline, 1);
    assert_eq!(spinner.in_flight(), 0);
}

#[tokio::test]
async fn a_guest_that_waits_for_ever_meets_its_deadline() {
    let nap = "(call $nap (i64.const 3600000000000))";
    let guest = Bench::new().http_with(nap, |it| it.request_deadline = Duration::from_millis(50)).await;
    assert!(matches!(ask(&guest).await, Err(CallError::Deadline)));
}

#[tokio::test]
async fn a_long_response_outlives_the_deadline_while_it_goes_on() {
    let guest = Bench::new().http_with(FOREVER, |it| it.request_deadline = Duration::from_millis(600)).await;
    let mut body = guest.clone().handle(get("/")).await.unwrap().into_body();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1200) {
        body.frame().await.unwrap().unwrap();
    }
    // A client that takes its time does not use up the guest's.
    tokio::time::sleep(Duration::from_millis(900)).await;
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
}

#[tokio::test]
async fn the_memory_limit_holds_to_the_page() {
    let bench = Bench::new();
    let grow = |pages: u32| format!("(drop (memory.grow (i32.const {pages}))) {HELLO}");
    let limit = |it: &mut eyot_runtime::GuestSpec| it.memory_bytes = Some(4 * 65_536);
    let fits = bench.http_with(&grow(3), limit).await;
    assert_eq!(ask(&fits).await.unwrap().0, 200);
    assert_eq!(fits.stats().memory_peak_bytes, 4 * 65_536);
    let exceeds = bench.http_with(&grow(4), limit).await;
    assert!(matches!(ask(&exceeds).await, Err(CallError::OutOfMemory)));
    assert_eq!(exceeds.failures().borrow().out_of_memory, 1);
    assert!(bench.log.text(LogStream::Stderr).contains("memory limit of 262144 bytes exceeded"));
}

#[tokio::test]
async fn requests_share_their_guests_memory_limit() {
    let bench = Bench::new();
    let guest = bench.http_with(FOREVER, |it| it.memory_bytes = Some(2 * 65_536)).await;
    let first = guest.clone().handle(get("/")).await.unwrap();
    let second = guest.clone().handle(get("/")).await.unwrap();
    let refused = ask(&guest).await.unwrap_err();
    assert!(matches!(&refused, CallError::Overloaded(why) if why.contains("131072 bytes")), "{refused}");
    assert_eq!((guest.stats().memory_bytes, guest.stats().failures), (2 * 65_536, 0));
    drop(first);
    assert!(guest.clone().handle(get("/")).await.is_ok(), "room was made");
    drop(second);
}

#[tokio::test]
async fn a_program_that_starts_above_its_limit_is_refused_at_once() {
    let bench = Bench::new();
    let program = bench.load(&common::http_component(HELLO)).await.unwrap();
    let mut spec = bench.spec();
    spec.memory_bytes = Some(1000);
    assert_eq!(program.serve(spec).unwrap_err(), StartError::MemoryLimit { needed: 65_536, limit: 1000 });
}

#[tokio::test]
async fn garbage_is_refused() {
    let bench = Bench::new();
    let silent = bench.http("").await;
    assert!(matches!(ask(&silent).await, Err(CallError::Guest(why)) if why.contains("without setting a response")));
    let gives_away = bench.http("(call $drop-outparam (local.get $outparam)) (call $nap (i64.const 1000000))").await;
    assert!(matches!(ask(&gives_away).await, Err(CallError::Guest(why)) if why.contains("without setting a response")));
    let informational = bench.http("(drop (call $open (local.get $outparam) (i32.const 101)))").await;
    assert!(matches!(ask(&informational).await, Err(CallError::Guest(why)) if why.contains("status 101")));
    let exits = bench.http("(call $exit (i32.const 1))").await;
    assert!(matches!(ask(&exits).await, Err(CallError::Guest(why)) if why.contains("exited with code 1")));
    let coded = bench
        .http(
            r#"(call $set (local.get $outparam) (i32.const 1) (i32.const 37) (i32.const 0) (i64.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"#,
        )
        .await;
    assert!(matches!(ask(&coded).await, Err(CallError::Guest(why)) if why.contains("ConfigurationError")));
    let twice = bench.http("(call $hello (local.get $outparam)) (call $hello (local.get $outparam))").await;
    assert!(matches!(ask(&twice).await, Err(CallError::Guest(_))));
    let bad_header = r#"(local.set $other (call $fields))
        (call $append (local.get $other) (i32.const 1024) (i32.const 12) (i32.const 1024) (i32.const 1) (i32.const 16))
        (local.set $body (call $open-with (local.get $outparam) (i32.add (i32.const 200) (i32.load8_u (i32.const 16)))
            (local.get $other)))
        (local.set $stream (call $stream (local.get $body)))
        (call $close (local.get $stream) (local.get $body))"#;
    assert_eq!(ask(&bench.http(bad_header).await).await.unwrap().0, 201, "the guest is told that its header is bad");
}

#[tokio::test]
async fn a_response_cut_short_is_an_error_not_an_end() {
    let bench = Bench::new();
    let dies = bench
        .http(
            r#"(local.set $body (call $open (local.get $outparam) (i32.const 200)))
            (local.set $stream (call $stream (local.get $body)))
            (drop (call $put (local.get $stream) (i32.const 1024) (i32.const 12)))
            (call $nap (i64.const 1000000))
            (unreachable)"#,
        )
        .await;
    let response = dies.clone().handle(get("/")).await.unwrap();
    assert_eq!(response.status(), 200, "the head went out before the guest died");
    assert!(response.into_body().collect().await.is_err());
    let short = bench
        .http(
            r#"(local.set $other (call $fields))
            (call $append (local.get $other) (i32.const 1088) (i32.const 14) (i32.const 1102) (i32.const 3) (i32.const 16))
            (local.set $body (call $open-with (local.get $outparam) (i32.const 200) (local.get $other)))
            (local.set $stream (call $stream (local.get $body)))
            (drop (call $put (local.get $stream) (i32.const 1024) (i32.const 12)))
            (call $close (local.get $stream) (local.get $body))"#,
        )
        .await;
    assert!(matches!(ask(&short).await, Err(CallError::Broken(_))), "12 bytes where 100 were announced");
}

#[tokio::test]
async fn a_client_that_leaves_early_cancels_the_guest() {
    let bench = Bench::new();
    let guest = bench.http(FOREVER).await;
    let mut body = guest.clone().handle(get("/")).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert_eq!(guest.in_flight(), 1);
    drop(body);
    tokio::time::timeout(Duration::from_secs(5), guest.drain()).await.unwrap();
    assert_eq!((guest.in_flight(), guest.stats().memory_bytes), (0, 0));
    // The same before there is a response.
    let waiting = bench.http("(call $nap (i64.const 3600000000000))").await;
    let call = tokio::time::timeout(Duration::from_millis(20), waiting.clone().handle(get("/"))).await;
    assert!(call.is_err());
    assert_eq!(waiting.in_flight(), 0);
}

#[tokio::test]
async fn a_guest_may_finish_its_business_after_its_response() {
    let bench = Bench::new();
    let guest = bench
        .http(&format!("{HELLO} (call $nap (i64.const 20000000)) (drop (call $put (call $get-stderr) (i32.const 1024) (i32.const 5)))"))
        .await;
    let started = Instant::now();
    assert_eq!(ask(&guest).await.unwrap().1, "hello, world");
    assert_eq!(guest.in_flight(), 1, "after {:?}", started.elapsed());
    guest.drain().await;
    assert_eq!(bench.log.text(LogStream::Stderr), "hello");
}

#[tokio::test]
async fn too_many_requests_are_refused_and_so_are_those_while_draining() {
    let bench = Bench::new();
    let guest = bench.http_with(FOREVER, |it| it.requests_max = 2).await;
    let first = guest.clone().handle(get("/")).await.unwrap();
    let second = guest.clone().handle(get("/")).await.unwrap();
    let refused = ask(&guest).await.unwrap_err();
    assert!(matches!(refused, CallError::Overloaded(_)) && refused.is_untouched());
    drop(first);
    let mut drained = Box::pin(guest.drain());
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut drained).await.is_err(), "one is still inside");
    assert!(matches!(ask(&guest).await, Err(CallError::Draining)));
    drop(second);
    tokio::time::timeout(Duration::from_secs(5), drained).await.unwrap();
}

#[tokio::test]
async fn no_room_for_another_instance_is_an_overload() {
    let bench = Bench::new();
    let pods = [bench.http(FOREVER).await, bench.http(FOREVER).await];
    let mut held = Vec::new();
    // The pool of the tests holds 64, and the pods of one program have three quarters of it.
    let refused = loop {
        match pods[held.len() % 2].clone().handle(get("/")).await {
            Ok(response) => held.push(response),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CallError::Overloaded(_)) && refused.is_untouched(), "{refused}");
    assert_eq!((held.len(), pods[0].stats().requests, pods[0].stats().failures), (48, 24, 0));
    let other = bench.http(HELLO).await;
    assert_eq!(ask(&other).await.unwrap().1, "hello, world", "the rest is for others");
    drop(held.pop());
    assert!(pods[0].clone().handle(get("/")).await.is_ok());
}

#[tokio::test]
async fn a_request_that_comes_to_have_much_memory_goes_on_elsewhere_before_it_touches_it() {
    let bench = Bench::new();
    let grow = |mebibytes: u32| format!("(drop (memory.grow (i32.const {})))", mebibytes * 16);
    for grows in [grow(17), grow(9) + &grow(9)] {
        let threads = Arc::new(Threads::default());
        let log = Arc::clone(&threads);
        let guest = bench.http_with(&format!("{grows} {PRINT} {HELLO}"), |it| it.log = log).await;
        assert_eq!(ask(&guest).await.unwrap().1, "hello, world");
        assert_eq!(threads.are_in_the_background(), [true], "{grows}");
    }
}

#[tokio::test]
async fn an_authority_that_none_can_be_is_not_taken() {
    let bench = Bench::new();
    let set = |bytes: u32| {
        format!(
            "(memory.fill (i32.const 8192) (i32.const 97) (i32.const {bytes}))
            (local.set $other (call $set-authority (call $request (call $fields)) (i32.const 1) (i32.const 8192)
                (i32.const {bytes})))
            (local.set $body (call $open (local.get $outparam) (i32.add (i32.const 200) (local.get $other))))
            (local.set $stream (call $stream (local.get $body)))
            (call $close (local.get $stream) (local.get $body))"
        )
    };
    for (bytes, status) in [(200, 200), (20_000, 201)] {
        assert_eq!(ask(&bench.http(&set(bytes)).await).await.unwrap().0, status, "{bytes}");
    }
}

#[tokio::test]
async fn a_guest_that_begins_with_much_memory_first_shows_that_it_does_not_fill_it_at_once() {
    let bench = Bench::new();
    let serve = async |handle: &str| {
        let wat = include_str!("guests/http.wat").replace(";;HANDLE;;", handle);
        let large = wat.replacen("(memory (export \"memory\") 1)", "(memory (export \"memory\") 1000)", 1);
        assert_ne!(large, wat);
        let threads = Arc::new(Threads::default());
        let mut spec = bench.spec();
        spec.log = Arc::clone(&threads) as _;
        (bench.load(&wat::parse_str(large).unwrap()).await.unwrap().serve(spec).unwrap(), threads)
    };
    let (calm, threads) = serve(&format!("{PRINT} {HELLO}")).await;
    // That a call has ended may be known a moment after its answer.
    for _ in 0..16 {
        assert_eq!(ask(&calm).await.unwrap().1, "hello, world");
    }
    let there = threads.are_in_the_background();
    assert_eq!((&there[..8], there[15]), (&[true; 8][..], false), "{there:?}");
    let fill = "(memory.fill (i32.const 65536) (i32.const 7) (i32.const 65000000))".repeat(4);
    let (filling, threads) = serve(&format!("{PRINT} {fill} {HELLO}")).await;
    for _ in 0..16 {
        assert_eq!(ask(&filling).await.unwrap().1, "hello, world");
    }
    assert_eq!(threads.are_in_the_background(), [true; 16]);
}

#[tokio::test]
async fn a_guest_whose_requests_are_long_has_them_begin_elsewhere() {
    let bench = Bench::new();
    let spin = "(local.set $other (i32.const 80000000))
        (loop $again (br_if $again (local.tee $other (i32.sub (local.get $other) (i32.const 1)))))";
    let threads = Arc::new(Threads::default());
    let log = Arc::clone(&threads);
    let guest = bench.http_with(&format!("{PRINT} {spin} {HELLO}"), |it| it.log = log).await;
    // That a call was long may be known a moment after its answer.
    for _ in 0..8 {
        assert_eq!(ask(&guest).await.unwrap().1, "hello, world");
    }
    assert_eq!(threads.are_in_the_background()[6..], [true, true]);
}

#[tokio::test]
async fn a_cpu_limit_bounds_a_guest_to_its_share() {
    let bench = Bench::new();
    let spec = |it: &mut eyot_runtime::GuestSpec| {
        it.cpu_millis = Some(100);
        it.request_deadline = Duration::from_millis(1000);
    };
    let guest = bench.http_with(SPIN, spec).await;
    assert!(matches!(ask(&guest).await, Err(CallError::Deadline)));
    // A tenth of a second and the saved-up burst, with room for a busy machine's long turns.
    assert!(guest.stats().cpu < Duration::from_millis(300), "{:?}", guest.stats().cpu);
}

/// Remembers requests and answers 204.
struct Recorder(parking_lot::Mutex<Vec<(Caller, String)>>);

impl Outbound for Recorder {
    fn send(
        self: Arc<Self>,
        caller: Caller,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        self.0.lock().push((caller, format!("{} {}", request.method(), request.uri())));
        Box::pin(async { Ok(Response::builder().status(204).body(eyot_dispatch::empty()).unwrap()) })
    }
}

/// Sends a request; what comes back lies at 256, its result at 272.
const ASKS: &str = r#"
    (local.set $other (call $request (call $fields)))
    (drop (call $set-scheme (local.get $other) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
    (drop (call $set-authority (local.get $other) (i32.const 1) (i32.const 1040) (i32.const 29)))
    (drop (call $set-path (local.get $other) (i32.const 1) (i32.const 1072) (i32.const 9)))
    (call $send (local.get $other) (i32.const 0) (i32.const 0) (i32.const 128))
    (if (i32.load8_u (i32.const 128)) (then (unreachable)))
    (local.set $other (i32.load (i32.const 136)))
    (call $block (call $future-poll (local.get $other)))
    (call $future-get (local.get $other) (i32.const 256))"#;

#[tokio::test]
async fn outgoing_requests_leave_through_outbound_as_the_pod() {
    let bench = Bench::new();
    let recorder = Arc::new(Recorder(Default::default()));
    let calls = &format!(
        r#"{ASKS}
        (if (i32.load8_u (i32.const 272)) (then (unreachable)))
        (local.set $body (call $open (local.get $outparam) (call $status-in (i32.load (i32.const 280)))))
        (local.set $stream (call $stream (local.get $body)))
        (call $close (local.get $stream) (local.get $body))"#
    );
    let outbound = recorder.clone();
    let guest = bench.http_with(calls, |it| it.outbound = outbound).await;
    assert_eq!(ask(&guest).await.unwrap().0, 204);
    let seen = recorder.0.lock().clone();
    assert_eq!(seen, [(common::caller(), "GET http://one.default.svc.cluster.local/path?q=1".to_owned())]);
    let refused = bench.http(calls).await;
    assert!(matches!(ask(&refused).await, Err(CallError::Guest(_))), "the stub refuses, so the guest traps");
}

#[tokio::test]
async fn an_authority_whose_port_is_no_number_that_ports_have_is_an_invalid_uri() {
    let bench = Bench::new();
    let recorder = Arc::new(Recorder(Default::default()));
    // `a:99999` in place of the name.
    let asks = ASKS.replacen("(i32.const 1040) (i32.const 29)", "(i32.const 8192) (i32.const 7)", 1);
    let calls = &format!(
        r#"(i64.store (i32.const 8192) (i64.const 0x39393939393a61))
        {asks}
        (if (i32.eqz (i32.load8_u (i32.const 272))) (then (unreachable)))
        (local.set $body
            (call $open (local.get $outparam) (i32.add (i32.const 200) (i32.load8_u (i32.const 280)))))
        (local.set $stream (call $stream (local.get $body)))
        (call $close (local.get $stream) (local.get $body))"#
    );
    let outbound = recorder.clone();
    let guest = bench.http_with(calls, |it| it.outbound = outbound).await;
    assert_eq!(ask(&guest).await.unwrap().0, 219, "HTTP-request-URI-invalid, by its place in `error-code`");
    assert!(recorder.0.lock().is_empty(), "nobody is asked at another port");
}

/// What a refusal is, from why.
type Refusal = fn(String) -> CallError;

/// Carries nothing.
struct Refuser(Refusal);

impl Outbound for Refuser {
    fn send(self: Arc<Self>, _: Caller, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async move { Err(self.0("it is off limits".into())) })
    }
}

#[tokio::test]
async fn a_guest_is_told_a_prohibited_address_from_a_denied_host_and_one_that_is_not_there() {
    let bench = Bench::new();
    // Answers with the error's number as its status, from 200 on.
    let calls = &format!(
        r#"{ASKS}
        (if (i32.eqz (i32.load8_u (i32.const 272))) (then (unreachable)))
        (local.set $body
            (call $open (local.get $outparam) (i32.add (i32.const 200) (i32.load8_u (i32.const 280)))))
        (local.set $stream (call $stream (local.get $body)))
        (call $close (local.get $stream) (local.get $body))"#
    );
    // destination-IP-prohibited, connection-refused and HTTP-request-denied, by their places in `error-code`.
    let cases: [(Refusal, u16); 3] =
        [(CallError::Prohibited, 204), (CallError::Connect, 206), (CallError::Denied, 215)];
    for (why, wanted) in cases {
        let guest = bench.http_with(calls, |it| it.outbound = Arc::new(Refuser(why))).await;
        assert_eq!(ask(&guest).await.unwrap().0, wanted);
    }
    let told = "request to one.default.svc.cluster.local denied: it is off limits\n";
    assert_eq!(
        bench.log.text(LogStream::Stderr),
        told.repeat(2),
        "what is not allowed is told, what is not there is not"
    );
}
