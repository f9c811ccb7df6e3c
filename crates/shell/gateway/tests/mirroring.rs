//! Copies of requests: they arrive, nobody waits for them, and nobody sees what they answer; cookies and counts of routes.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use eyot_dispatch::{Body, CallError, Handler, full};
use eyot_meter::{Meters, Subject};
use http::{Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{Node, Pod, pod, says, text};

/// A pod that keeps what it got.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

fn keeps(kept: &Arc<Kept>) -> Arc<dyn Handler> {
    let kept = kept.clone();
    Arc::new(Pod(move |request: Request<Body>| {
        let kept = kept.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|it| CallError::Broken(it.to_string()))?.to_bytes();
            let said = head.headers.get("x-said").map_or("-", |it| it.to_str().unwrap_or("?"));
            kept.0.lock().push(format!("{} {said} {} bytes", head.method, body.len()));
            Ok(Response::new(full("the copy's own answer")))
        }
    }))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

/// A gateway whose host `web.test` leads to pod 1 and copies to pod 2 as this filter says.
async fn mirrored(filter: Value, copies: Arc<dyn Handler>) -> (Node, Arc<Meters>) {
    let meters = Arc::new(Meters::default());
    let counted = meters.clone();
    let node = Node::with(|config| config.meters = counted).await;
    node.endpoints.insert(pod(1), says("one"));
    node.endpoints.insert(pod(2), copies);
    node.service("one", &[pod(1)]);
    node.service("two", &[pod(2)]);
    let filter = json!({"type": "RequestMirror", "requestMirror": filter});
    node.route("web", "web.test", json!([{"filters": [filter], "backendRefs": [{"name": "one", "port": 80}]}]));
    node.until("web.test", |status| status == 200).await;
    (node, meters)
}

#[tokio::test]
async fn a_copy_of_each_request_arrives_with_its_body_and_its_answer_is_nobodys() {
    let kept = Arc::new(Kept::default());
    let (node, meters) = mirrored(json!({"backendRef": {"name": "two", "port": 80}}), keeps(&kept)).await;
    until("the probes were copied", || !kept.0.lock().is_empty()).await;
    kept.0.lock().clear();
    let body = vec![7_u8; 100_000];
    let post = Request::post("/a").header("host", "web.test").header("x-said", "hi").body(full(body)).unwrap();
    let answer = node.send(post).await;
    assert_eq!(answer.status(), 200);
    // This pod reads no body; what nobody reads is not copied either, so ask one that does.
    assert!(text(answer).await.starts_with("one POST /a"));
    node.endpoints.insert(pod(1), echo());
    let body = vec![7_u8; 100_000];
    let post = Request::post("/a").header("host", "web.test").header("x-said", "hi").body(full(body)).unwrap();
    assert_eq!(text(node.send(post).await).await.len(), 100_000, "the request's own answer");
    until("the copy", || kept.0.lock().iter().any(|it| it == "POST hi 100000 bytes")).await;
    until("both are counted", || meters.get(Subject::Service, "ns/two").is_some_and(|it| it.read().ended() > 1)).await;
    let route = meters.get(Subject::Route, "ns/web").unwrap().read();
    let (one, two) = (Subject::Service, "ns/one");
    assert_eq!(route.ended(), meters.get(one, two).unwrap().read().ended(), "a copy is no request of the route's");
}

fn echo() -> Arc<dyn Handler> {
    Arc::new(Pod(|request: Request<Body>| async move { Ok(Response::new(request.into_body())) }))
}

#[tokio::test]
async fn whoever_gets_copies_holds_nobody_up_and_fails_nobody() {
    let (busy, stuck) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, seen) = (busy.clone(), stuck.clone());
    let hangs = Arc::new(Pod(move |_: Request<Body>| {
        now.fetch_add(1, SeqCst);
        seen.fetch_add(1, SeqCst);
        std::future::pending::<Result<Response<Body>, CallError>>()
    }));
    let (node, meters) = mirrored(json!({"backendRef": {"name": "two", "port": 80}}), hangs).await;
    for _ in 0..300 {
        let (status, text) = node.get("web.test", "/").await;
        assert_eq!(status, 200, "{text}");
    }
    until("no more at once than may be", || stuck.load(SeqCst) >= 200).await;
    assert!(stuck.load(SeqCst) <= 256, "{}", stuck.load(SeqCst));
    assert!(meters.mirrors_dropped.load(SeqCst) > 0);
    assert_eq!(meters.get(Subject::Route, "ns/web").unwrap().read().failed(), 0);
    drop(node);
}

#[tokio::test]
async fn a_share_of_the_requests_is_copied() {
    let kept = Arc::new(Kept::default());
    let filter = json!({"backendRef": {"name": "two", "port": 80}, "fraction": {"numerator": 1, "denominator": 4}});
    let (node, meters) = mirrored(filter, keeps(&kept)).await;
    for _ in 0..400 {
        assert_eq!(node.get("web.test", "/").await.0, 200);
    }
    let sent = meters.mirrored.load(SeqCst);
    assert!((50..=160).contains(&sent), "about a hundred of four hundred: {sent}");
}

#[tokio::test]
async fn a_copy_that_has_nowhere_to_go_is_told_and_the_route_still_serves() {
    let (node, _) = mirrored(json!({"backendRef": {"name": "none", "port": 80}}), says("two")).await;
    let told = || node.api.get("httproutes", "ns", "web");
    until("a status", || !told()["status"]["parents"][0].is_null()).await;
    let told = told();
    let rows = told["status"]["parents"][0]["conditions"].as_array().unwrap();
    let resolved = rows.iter().find(|it| it["type"] == "ResolvedRefs").unwrap();
    assert_eq!((&resolved["status"], &resolved["reason"]), (&json!("False"), &json!("BackendNotFound")));
}

#[tokio::test]
async fn a_cookie_chooses_the_backend() {
    let node = Node::start().await;
    for (at, name) in [(1, "stable"), (2, "canary")] {
        node.endpoints.insert(pod(at), says(name));
        node.service(name, &[pod(at)]);
    }
    let cookie = json!({"type": "RegularExpression", "name": "Cookie", "value": "(.*; *)?canary=always(;.*)?"});
    let rules = json!([
        {"matches": [{"headers": [cookie]}], "backendRefs": [{"name": "canary", "port": 80}]},
        {"backendRefs": [{"name": "stable", "port": 80}]},
    ]);
    node.route("web", "web.test", rules);
    node.until("web.test", |status| status == 200).await;
    for (cookie, expected) in [("a=b; canary=always", "canary"), ("canary=never", "stable"), ("", "stable")] {
        let request = Request::get("/").header("host", "web.test").header("cookie", cookie);
        let said = text(node.send(request.body(eyot_dispatch::empty()).unwrap()).await).await;
        assert!(said.starts_with(expected), "{cookie}: {said}");
    }
}
