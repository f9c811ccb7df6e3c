//! Requests to revisions of functions: counted, held while nothing takes them, bounded by what an endpoint takes.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use eyot_dispatch::{Body, BoxError, CallError, Caller, Early, Handler, Loads, Outbound, full};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use support::{Node, Pod, cluster_ip, pod, says};

/// Largest body that functions take here.
const BODY_MAX: u64 = 8;

/// A gateway with a revision `hello-00001` that host `hello.ns.localhost` leads to, and its counters.
async fn function(terms: serde_json::Value) -> (Node, Arc<Loads>) {
    let loads = Arc::new(Loads::default());
    let counted = loads.clone();
    let node = Node::with(|config| (config.loads, config.function_body_max) = (counted, BODY_MAX)).await;
    node.api.put(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "hello-00001", "namespace": "ns", "labels": {"serving.knative.dev/revision": "hello-00001"},
            "annotations": terms,
        },
        "spec": {"clusterIP": cluster_ip("hello"), "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }));
    node.route("hello", "hello.ns.localhost", json!([{"backendRefs": [{"name": "hello-00001", "port": 80}]}]));
    // The route is there when a request to it is held and no longer answered with 404.
    for _ in 0..500 {
        let asked = node.get("hello.ns.localhost", "/__probe");
        if tokio::time::timeout(Duration::from_millis(50), asked).await.map_or(true, |it| it.0 == 504) {
            break;
        }
    }
    (node, loads)
}

#[tokio::test]
async fn requests_to_a_revision_at_zero_wait_for_its_first_endpoint() {
    let (node, loads) = function(json!({})).await;
    let load = loads.of("ns/hello-00001");
    let asked = futures::future::join_all((0..50).map(|_| node.get("hello.ns.localhost", "/a?b")));
    let woken = async {
        assert_eq!(loads.raised().await.name(), "ns/hello-00001");
        while load.read().in_flight < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node.endpoints.insert(pod(1), says("hello"));
        node.slices("hello-00001", &[pod(1)]);
    };
    let (answers, ()) = tokio::join!(asked, woken);
    for (status, text) in answers {
        assert_eq!(status, 200, "{text}");
        assert!(text.starts_with("hello GET /a?b "), "{text}");
    }
    while load.read().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_function_is_found_by_its_name_in_the_path() {
    let (node, _) = function(json!({})).await;
    node.endpoints.insert(pod(1), says("hello"));
    node.slices("hello-00001", &[pod(1)]);
    for (path, left) in [("/function/hello.ns", "/"), ("/function/hello.ns/a/b?c=1", "/a/b?c=1")] {
        let (status, text) = node.get("127.0.0.1", path).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.starts_with(&format!("hello GET {left} ")), "{text}");
    }
    assert_eq!(node.get("127.0.0.1", "/function/none.ns").await.0, 404);
}

/// Counts down when a request ends, were it because its client left.
struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[tokio::test]
async fn an_endpoint_gets_no_more_requests_at_once_than_it_takes() {
    let (node, _) = function(json!({"serving.knative.dev/containerConcurrency": "2"})).await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (busy, peak) = (now.clone(), most.clone());
    let slow = Pod(move |_: Request<Body>| {
        let (busy, peak) = (Busy(busy.clone()), peak.clone());
        async move {
            peak.fetch_max(busy.0.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(Response::new(full("done")))
        }
    });
    node.endpoints.insert(pod(1), Arc::new(slow));
    node.slices("hello-00001", &[pod(1)]);
    let answers = futures::future::join_all((0..20).map(|_| node.get("hello.ns.localhost", "/"))).await;
    assert!(answers.iter().all(|it| it.0 == 200), "{answers:?}");
    assert_eq!((most.load(SeqCst), now.load(SeqCst)), (2, 0));
}

#[tokio::test]
async fn a_revision_that_does_not_begin_in_its_time_is_given_up() {
    let (node, loads) = function(json!({"serving.knative.dev/responseStartTimeoutSeconds": "1"})).await;
    let (status, text) = node.get("hello.ns.localhost", "/").await;
    assert_eq!(status, 504, "{text}");
    assert!(text.contains("ns/hello-00001:80 did not begin to answer"), "{text}");
    assert_eq!(loads.of("ns/hello-00001").read().in_flight, 0, "who gave up is not counted");
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let (node, loads) = function(json!({})).await;
    let load = loads.of("ns/hello-00001");
    let asked = node.get("hello.ns.localhost", "/");
    assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err(), "held");
    for _ in 0..200 {
        if load.read().in_flight == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", load.read());
}

/// A pod that says how much it was sent.
fn weighs() -> Arc<dyn Handler> {
    Arc::new(Pod(|request: Request<Body>| async move {
        let body = request.into_body().collect().await.map_err(|error| CallError::Broken(error.to_string()))?;
        Ok(Response::new(full(format!("{} bytes", body.to_bytes().len()))))
    }))
}

/// A body whose length nobody tells beforehand.
fn in_parts(parts: &[&'static str]) -> Body {
    let parts = parts.iter().map(|it| Ok::<_, BoxError>(Frame::data((*it).into()))).collect::<Vec<_>>();
    StreamBody::new(futures::stream::iter(parts)).boxed_unsync()
}

#[tokio::test]
async fn a_body_larger_than_functions_take_is_refused_whether_or_not_its_length_was_told() {
    let (node, loads) = function(json!({})).await;
    let post = async |host: &str, body: Body| {
        let response = node.send(Request::post("/").header("host", host).body(body).unwrap()).await;
        (response.status().as_u16(), support::text(response).await)
    };
    let requests = || loads.of("ns/hello-00001").read().requests;
    let before = requests();
    let (status, text) = post("hello.ns.localhost", full("123456789")).await;
    assert_eq!((status, text.as_str()), (413, "Service ns/hello-00001:80 takes no body of more than 8 bytes\n"));
    assert_eq!(requests(), before, "nobody is woken for it");
    node.endpoints.insert(pod(1), weighs());
    node.slices("hello-00001", &[pod(1)]);
    assert_eq!(post("hello.ns.localhost", full("12345678")).await, (200, "8 bytes".to_owned()));
    assert_eq!(post("hello.ns.localhost", in_parts(&["1234", "5678"])).await.0, 200);
    let (status, text) = post("hello.ns.localhost", in_parts(&["1234", "5678", "9"])).await;
    assert_eq!(status, 413, "{text}");
    let caller = Caller { namespace: "ns".into(), pod: "web-1".into() };
    let asked = Request::post("http://hello-00001/").body(full("123456789")).unwrap();
    assert_eq!(node.gateway.clone().send(caller, asked).await.unwrap().status(), 413, "guests are told the same");
    node.endpoints.insert(pod(2), weighs());
    node.publish("plain", &[pod(2)]).await;
    assert_eq!(post("plain.test", full("123456789")).await, (200, "9 bytes".to_owned()), "it is about functions");
}

/// Answers for one revision once it is `ready`, or once it was asked to get ready.
struct Instances {
    guest: Arc<dyn Handler>,
    revision: &'static str,
    ready: AtomicBool,
    doubted: AtomicUsize,
}

impl Early for Instances {
    fn ready(&self, revision: &str) -> Option<Arc<dyn Handler>> {
        (revision == self.revision && self.ready.load(SeqCst)).then(|| self.guest.clone())
    }

    fn prepare(self: Arc<Self>, revision: &str) -> BoxFuture<'static, Option<Arc<dyn Handler>>> {
        let is_known = revision == self.revision;
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.ready.store(is_known, SeqCst);
            is_known.then(|| self.guest.clone())
        })
    }

    fn doubt(&self, _: &str) {
        self.doubted.fetch_add(1, SeqCst);
    }
}

/// A function of which `guest` answers early, if `revision` is its name.
async fn early(revision: &'static str, guest: Arc<dyn Handler>, terms: serde_json::Value) -> (Node, Arc<Loads>) {
    let loads = Arc::new(Loads::default());
    let counted = loads.clone();
    let node = Node::with(|config| config.loads = counted).await;
    let (ready, doubted) = (AtomicBool::new(false), AtomicUsize::new(0));
    node.gateway.set_early(Arc::new(Instances { guest, revision, ready, doubted }));
    revision_service(&node, "u-1", terms);
    node.route("hello", "hello.ns.localhost", json!([{"backendRefs": [{"name": "hello-00001", "port": 80}]}]));
    (node, loads)
}

fn revision_service(node: &Node, uid: &str, terms: serde_json::Value) {
    node.api.put(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "hello-00001", "namespace": "ns", "annotations": terms,
            "labels": {"serving.knative.dev/revision": "hello-00001", "serving.knative.dev/revisionUID": uid},
        },
        "spec": {"clusterIP": cluster_ip("hello"), "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }));
}

#[tokio::test]
async fn a_revision_at_zero_is_answered_for_until_it_has_an_endpoint() {
    let (node, loads) = early("ns/hello-00001/u-1", says("early"), json!({})).await;
    node.until("hello.ns.localhost", |status| status == 200).await;
    let (status, text) = node.get("hello.ns.localhost", "/a").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.starts_with("early GET /a "), "{text}");
    let load = loads.raised().await;
    assert_eq!((load.name(), load.is_answered()), ("ns/hello-00001", true), "an instance is called for, without hurry");
    assert!(load.read().requests > 0);
    node.endpoints.insert(pod(1), says("late"));
    node.slices("hello-00001", &[pod(1)]);
    for _ in 0..500 {
        if node.get("hello.ns.localhost", "/").await.1.starts_with("late ") {
            assert!(!load.is_answered());
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the endpoint takes over");
}

#[tokio::test]
async fn another_incarnation_of_a_name_is_not_answered_for() {
    let (node, _) = early("ns/hello-00001/u-1", says("early"), json!({})).await;
    node.until("hello.ns.localhost", |status| status == 200).await;
    revision_service(&node, "u-2", json!({}));
    for _ in 0..500 {
        let asked = node.get("hello.ns.localhost", "/");
        if tokio::time::timeout(Duration::from_millis(60), asked).await.is_err() {
            return;
        }
    }
    panic!("requests to the new one wait for its endpoints");
}

#[tokio::test]
async fn who_answers_early_keeps_to_the_bound_of_the_revision_and_so_does_who_takes_over() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (busy, peak) = (now.clone(), most.clone());
    let slow = Arc::new(Pod(move |_: Request<Body>| {
        let (busy, peak) = (Busy(busy.clone()), peak.clone());
        async move {
            peak.fetch_max(busy.0.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(Response::new(full("done")))
        }
    }));
    let terms = json!({"serving.knative.dev/containerConcurrency": "2"});
    let (node, _) = early("ns/hello-00001/u-1", slow.clone(), terms).await;
    node.until("hello.ns.localhost", |status| status == 200).await;
    let asked = futures::future::join_all((0..40).map(|_| node.get("hello.ns.localhost", "/")));
    let taken_over = async {
        tokio::time::sleep(Duration::from_millis(45)).await;
        node.endpoints.insert(pod(1), slow);
        node.slices("hello-00001", &[pod(1)]);
    };
    let (answers, ()) = tokio::join!(asked, taken_over);
    assert!(answers.iter().all(|it| it.0 == 200), "{answers:?}");
    assert_eq!((most.load(SeqCst), now.load(SeqCst)), (2, 0));
}

#[tokio::test]
async fn where_policies_go_by_pods_requests_wait_for_one() {
    let (node, _) = early("ns/hello-00001/u-1", says("early"), json!({})).await;
    node.until("hello.ns.localhost", |status| status == 200).await;
    node.api.put(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": []},
    }));
    for _ in 0..500 {
        let asked = node.get("hello.ns.localhost", "/");
        if tokio::time::timeout(Duration::from_millis(60), asked).await.is_err() {
            return;
        }
    }
    panic!("a guest without a pod is not held to what its pod would be");
}
