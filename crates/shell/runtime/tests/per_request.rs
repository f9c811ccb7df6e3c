//! Commands that answer requests: bodies, exit codes, header blocks, limits, and clients that leave.

mod common;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use common::{Bench, command, get};
use eyot_dispatch::{Body, CallError, Handler};
use eyot_runtime::{GuestSpec, HttpGuest, LogStream, OutputForm, PerRequest, StartError};
use http::{Request, Response};
use http_body_util::BodyExt;

/// Writes what it reads.
const ECHO: &str = "
    (i32.store (i32.const 100) (i32.const 1024)) (i32.store (i32.const 104) (i32.const 4096))
    (block $end (loop $more
        (drop (call $read (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 108)))
        (br_if $end (i32.eqz (i32.load (i32.const 108))))
        (i32.store (i32.const 112) (i32.const 1024)) (i32.store (i32.const 116) (i32.load (i32.const 108)))
        (drop (call $write (i32.const 1) (i32.const 112) (i32.const 1) (i32.const 120)))
        (br $more)))";

/// Writes 64 KiB of zeros 64 times.
const FLOOD: &str = "
    (drop (memory.grow (i32.const 1)))
    (i32.store (i32.const 100) (i32.const 1024)) (i32.store (i32.const 104) (i32.const 65536))
    (loop $more
        (drop (call $write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 120)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $i) (i32.const 64))))";

async fn served(bench: &Bench, wat: &str, terms: PerRequest, change: impl FnOnce(&mut GuestSpec)) -> Arc<HttpGuest> {
    let mut spec = bench.spec();
    spec.request_deadline = Duration::from_secs(10);
    spec.per_request = Some(terms);
    change(&mut spec);
    bench.load(&wat::parse_str(wat).unwrap()).await.unwrap().serve(spec).unwrap()
}

async fn plain(bench: &Bench, body: &str) -> Arc<HttpGuest> {
    served(bench, &command(body), PerRequest::default(), |_| {}).await
}

fn post(body: impl Into<Bytes>) -> Request<Body> {
    let body = eyot_dispatch::full(body);
    Request::post("http://guest.test/a?b").header("content-type", "application/json").body(body).unwrap()
}

async fn whole(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |it| it.to_str().unwrap())
}

#[tokio::test]
async fn a_body_goes_in_and_comes_out() {
    let bench = Bench::new();
    let guest = plain(&bench, ECHO).await;
    let response = guest.clone().handle(post("{\"a\": 1}")).await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, "application/json"));
    assert!(header(&response, "x-duration-seconds").parse::<f64>().unwrap() > 0.0);
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(8));
    assert_eq!(whole(response).await, "{\"a\": 1}");
    let large = Bytes::from(vec![7; 3 << 20]);
    let response = guest.clone().handle(post(large.clone())).await.unwrap();
    assert_eq!(whole(response).await, large, "through a bounded pipe");
    let response = guest.clone().handle(get("/")).await.unwrap();
    assert_eq!(whole(response).await, "", "without a body its input is empty");
    assert_eq!((guest.in_flight(), guest.stats().memory_bytes, guest.stats().requests), (0, 0, 3));
    assert_eq!(bench.log.text(LogStream::Stdout), "", "the answer is not in the log");
}

#[tokio::test]
async fn an_exit_code_makes_it_a_500_and_standard_error_goes_to_the_log() {
    let bench = Bench::new();
    let body = "(call $print (i32.const 2)) (call $print (i32.const 1)) (call $exit (i32.const 3))";
    let guest = plain(&bench, body).await;
    let response = guest.clone().handle(get("/")).await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "x-exit-code")), (500, "3"));
    assert_eq!(whole(response).await, "exit status 3\nhello\n");
    let log = bench.log.text(LogStream::Stderr);
    assert!(log.starts_with("hello\n") && log.contains("exited with code 3"), "{log}");
    assert_eq!(guest.stats().failures, 1);
    let combined = PerRequest { combines_output: true, ..PerRequest::default() };
    let guest = served(&bench, &command("(call $print (i32.const 2))"), combined, |_| {}).await;
    assert_eq!(whole(guest.handle(get("/")).await.unwrap()).await, "hello\n");
}

#[tokio::test]
async fn a_long_answer_streams_and_ends_broken_where_the_command_fails() {
    let bench = Bench::new();
    let guest = plain(&bench, FLOOD).await;
    let response = guest.handle(get("/")).await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, "text/plain; charset=utf-8"));
    assert_eq!(whole(response).await.len(), 64 << 16);
    let guest = plain(&bench, &format!("{FLOOD} (call $exit (i32.const 2))")).await;
    let response = guest.clone().handle(get("/")).await.unwrap();
    assert_eq!(response.status(), 200, "too late for another");
    assert!(response.into_body().collect().await.unwrap_err().to_string().contains("exited with code 2"));
    assert_eq!((guest.in_flight(), guest.stats().failures), (0, 1));
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_command() {
    let bench = Bench::new();
    let guest = plain(&bench, &format!("(loop $for_ever {FLOOD} (local.set $i (i32.const 0)) (br $for_ever))")).await;
    let mut response = guest.clone().handle(get("/")).await.unwrap();
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    assert_eq!(guest.in_flight(), 1);
    drop(response);
    let gone = async {
        while guest.in_flight() > 0 || guest.stats().memory_bytes > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("its memory is free again");
}

#[tokio::test]
async fn a_header_block_is_the_head() {
    let bench = Bench::new();
    let cgi = || PerRequest { output: OutputForm::Cgi, ..PerRequest::default() };
    let wat = |text: &str, code: u32| {
        let body = format!("(i32.store (i32.const 4) (i32.const {})) (call $print (i32.const 1))", text.len());
        let text = text.replace('\n', "\\n");
        command(&format!("{body} (call $exit (i32.const {code}))")).replace("hello\\n", &text)
    };
    let ask = async |wat: String| served(&bench, &wat, cgi(), |_| {}).await.handle(get("/")).await;
    let response = ask(wat("Status: 404\n\nx\n", 0)).await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(whole(response).await, "x\n");
    let error = ask(wat("no headers\n", 0)).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Guest(why) if why.contains("is no header") || why.contains("no headers")),
        "{error}"
    );
    assert_eq!(ask(wat("Content-", 4)).await.unwrap().status(), 500);
}

#[tokio::test]
async fn what_takes_too_long_or_too_much_is_ended() {
    let bench = Bench::new();
    let spin = "(loop $again (br $again))";
    let limited = PerRequest { timeout: Some(Duration::from_millis(50)), ..PerRequest::default() };
    let guest = served(&bench, &command(spin), limited, |_| {}).await;
    assert!(matches!(guest.handle(get("/")).await, Err(CallError::Deadline)));
    let deadline = |it: &mut GuestSpec| it.request_deadline = Duration::from_millis(50);
    let guest = served(&bench, &command(spin), PerRequest::default(), deadline).await;
    assert!(matches!(guest.handle(get("/")).await, Err(CallError::Deadline)));
    let hog = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    let small = |it: &mut GuestSpec| it.memory_bytes = Some(8 << 20);
    let guest = served(&bench, &command(hog), PerRequest::default(), small).await;
    assert!(matches!(guest.handle(get("/")).await, Err(CallError::OutOfMemory)));
    let guest = plain(&bench, "(unreachable)").await;
    assert!(matches!(guest.handle(get("/")).await, Err(CallError::Guest(_))));
    let reads = served(&bench, &command(ECHO), PerRequest::default(), |it| it.requests_max = 1).await;
    let never = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<http_body::Frame<Bytes>, eyot_dispatch::BoxError>,
    >());
    let stuck = Request::post("/").body(Body::new(never)).unwrap();
    let first = tokio::spawn(reads.clone().handle(stuck));
    while reads.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(matches!(reads.clone().handle(get("/")).await, Err(CallError::Overloaded(_))));
    first.abort();
}

#[tokio::test]
async fn a_command_is_served_only_where_its_spec_says_how() {
    let bench = Bench::new();
    let program = bench.load(&wat::parse_str(command("")).unwrap()).await.unwrap();
    assert!(matches!(program.serve(bench.spec()), Err(StartError::WrongKind { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_instances_of_a_guest_have_so_many_sockets_together() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let bench = Bench::new();
    // Of which a guest may have a sixteenth. Whoever is first looks how many there are.
    setrlimit(Resource::Nofile, Rlimit { current: Some(8_192), ..getrlimit(Resource::Nofile) }).unwrap();
    let run = "(local.set $network (i32.const 200))
        (loop $next
            (call $create (i32.const 0) (i32.const 16))
            (if (i32.load8_u (i32.const 16)) (then (return (i32.const 1))))
            (local.set $network (i32.sub (local.get $network) (i32.const 1)))
            (br_if $next (local.get $network)))
        (call $nap (i64.const 3000000000))
        (i32.const 0)";
    let wat = include_str!("guests/socket.wat").replace(";;RUN;;", run);
    let guest = served(&bench, &wat, PerRequest::default(), |_| {}).await;
    let is_well = |answer: Result<Response<Body>, CallError>| answer.is_ok_and(|it| it.status().is_success());
    let answers = futures::future::join_all((0..5).map(|_| guest.clone().handle(get("/")))).await;
    let well = answers.into_iter().map(is_well).filter(|it| *it).count();
    assert!(well <= 2, "{well} have 200 sockets each");
    assert!(is_well(guest.clone().handle(get("/")).await), "what they had is given back");
}
