//! Components of WASI 0.3 that are made of many, each with a call that waits and keeps its stack: others keep theirs.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Bench, PRINT, ask};
use eyot_dispatch::{CallError, Handler};
use eyot_runtime::{HttpGuest, LogStream, ProgramKind};

/// A service made of so many components, beside that which answers. It calls each of them, which then waits for a minute, and does
/// `handle`.
fn of_many(components: usize, handle: &str) -> Vec<u8> {
    let all = |piece: &dyn Fn(usize) -> String| (0..components).map(piece).collect::<String>();
    let service = include_str!("guests/http.wat");
    // What it imports is imported around it as well, and handed on.
    let (imports, _) = service.split_once("  ;; Memory: 0..1024").unwrap();
    let names = imports.split("(import \"").skip(1);
    let handed: String = names
        .map(|it| {
            let (name, rest) = it.split_once("\" (instance ").unwrap();
            let id = rest.split_whitespace().next().unwrap();
            format!("(with \"{name}\" (instance {id}))\n")
        })
        .collect();
    // Each has started, and not returned.
    let calls =
        all(&|at| format!("(if (i32.ne (i32.and (call $w{at}) (i32.const 15)) (i32.const 1)) (then (unreachable)))\n"));
    let component = all(&|at| {
        format!(
            "(type $t{at} (func async)) (import \"w{at}\" (func $w{at} (type $t{at})))
            (core func $w{at} (canon lower (func $w{at}) async))\n"
        )
    });
    let waits = all(&|at| format!("(export \"{at}\" (func $w{at}))"));
    let module = all(&|at| format!("(import \"waits\" \"{at}\" (func $w{at} (result i32)))\n"));
    let service = service
        .replacen("(component\n", &format!("(component $service\n{component}"), 1)
        .replacen("(import \"libc\"", &format!("{module}(import \"libc\""), 1)
        .replacen("(with \"libc\"", &format!("(with \"waits\" (instance {waits})) (with \"libc\""), 1)
        .replace(";;HANDLE;;", &format!("{calls} {handle}"));
    let waiters =
        all(&|at| format!("(instance $w{at} (instantiate $waiter (with \"wait-for\" (func $late \"wait-for\"))))\n"));
    let handed = handed + &all(&|at| format!("(with \"w{at}\" (func $w{at} \"wait\"))\n"));
    let wat = format!(
        r#"{imports}
        (import "wasi:clocks/monotonic-clock@0.3.0" (instance $late
            (export "wait-for" (func async (param "how-long" u64)))))
        (component $waiter
            (type $wait-for (func async (param "how-long" u64)))
            (import "wait-for" (func $wait-for (type $wait-for)))
            (core func $wait-for (canon lower (func $wait-for)))
            (core module $m
                (import "clock" "wait" (func $wait (param i64)))
                (func (export "wait") (call $wait (i64.const 60000000000))))
            (core instance $m (instantiate $m (with "clock" (instance (export "wait" (func $wait-for))))))
            (type $wait (func async))
            (func (export "wait") (type $wait) (canon lift (core func $m "wait"))))
        {waiters} {service}
        (instance $service (instantiate $service {handed}))
        (export "wasi:http/incoming-handler@0.2.0" (instance $service "wasi:http/incoming-handler@0.2.0")))"#
    );
    wat::parse_str(wat).unwrap()
}

async fn serve(bench: &Bench, components: usize, handle: &str) -> Arc<HttpGuest> {
    let program = bench.load(&of_many(components, handle)).await.unwrap();
    assert_eq!(program.kind(), ProgramKind::ServiceComponent);
    program.serve(bench.spec()).unwrap()
}

/// Waits until a guest has printed.
async fn printed(bench: &Bench) {
    for _ in 0..1000 {
        if !bench.log.text(LogStream::Stderr).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it prints nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_in_one_instance_leave_stacks_to_others() {
    let bench = Bench::new();
    // With its own call as many as the pool has instances.
    let greedy = serve(&bench, 63, &format!("{PRINT} (call $nap (i64.const 60000000000))")).await;
    let hello = serve(&bench, 1, "(call $hello (local.get $outparam))").await;
    let first = tokio::spawn(greedy.clone().handle(common::get("/")));
    printed(&bench).await;
    assert!(!first.is_finished(), "{}", bench.log.text(LogStream::Stderr));
    let refused = ask(&greedy).await;
    assert!(matches!(refused, Err(CallError::Overloaded(_))), "a second one counts as 33: {refused:?}");
    for _ in 0..3 {
        assert_eq!(ask(&hello).await.unwrap(), (200, "hello, world".into()));
    }
    first.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_requests_as_there_are_places_have_the_stacks_that_they_need() {
    let bench = Bench::new();
    let waiting = format!("{PRINT} (call $nap (i64.const 300000000)) (call $hello (local.get $outparam))");
    let waiting = serve(&bench, 2, &waiting).await;
    // Two of the 64 places each, of which one program has three quarters.
    let asked: Vec<_> = (0..40)
        .map(|_| {
            tokio::spawn({
                let guest = waiting.clone();
                async move { ask(&guest).await }
            })
        })
        .collect();
    let (mut answered, mut refused) = (0, 0);
    for it in asked {
        match it.await.unwrap() {
            Ok(answer) => {
                assert_eq!(answer, (200, "hello, world".into()));
                answered += 1;
            }
            Err(CallError::Overloaded(_)) => refused += 1,
            Err(error) => panic!("{error}: {}", bench.log.text(LogStream::Stderr)),
        }
    }
    assert!(answered >= 24 && refused > 0, "{answered} {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_of_more_than_there_is_room_for_is_refused() {
    let bench = Bench::new();
    let error = bench.load(&of_many(100, "(unreachable)")).await.unwrap_err();
    assert!(error.to_string().contains("takes 51 places"), "{error}");
}
