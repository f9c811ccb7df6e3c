//! Requests are judged before they are carried: by what they go through, for clients and for guests.

mod support;

use std::sync::{Arc, Mutex};

use eyot_dispatch::{
    Asking, Authorize, Body, Caller, Changes, Decision, Front, Outbound, Passing, Sender, Way, empty, full,
};
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, request::Parts};
use serde_json::json;
use support::{Node, Pod, pod, text};

/// Judges what goes to Service `ns/guarded`, and notes what it was asked.
#[derive(Default)]
struct Guard {
    seen: Mutex<Vec<String>>,
}

impl Authorize for Guard {
    fn is_concerned(&self, way: &Way<'_>) -> bool {
        way.service == Some("ns/guarded") || way.route == Some("ns/moved")
    }

    fn authorize(&self, request: &Asking<'_>) -> Decision {
        let sender = match request.sender {
            Sender::Client(address) => format!("client {}", address.ip()),
            Sender::Guest(caller) => format!("guest {}/{}", caller.namespace, caller.pod),
        };
        let Way { gateway, route, service, .. } = request.way;
        let seen = format!(
            "{sender} {} {}{} {gateway:?} {route:?} {service:?}",
            request.head.method,
            request.host,
            request.head.uri.path()
        );
        self.seen.lock().unwrap().push(seen);
        if request.head.uri.path().starts_with("/open") {
            return Decision::Allow(Changes {
                request_headers: vec![(HeaderName::from_static("x-user"), HeaderValue::from_static("ann"))],
                request_headers_removed: vec![HeaderName::from_static("x-secret")],
                response_headers: vec![(HeaderName::from_static("x-judged"), HeaderValue::from_static("yes"))],
            });
        }
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-why"), HeaderValue::from_static("closed"))]);
        Decision::Deny { status: StatusCode::FORBIDDEN, headers, body: "not for you".into() }
    }
}

/// A node with two Services, one of them guarded; pods answer with the headers that a policy changes.
async fn node() -> (Node, Arc<Guard>) {
    let node = Node::start().await;
    let guard = Arc::new(Guard::default());
    node.gateway.set_authorizer(guard.clone());
    for (at, name) in [(1, "guarded"), (2, "free")] {
        let shows = Pod(|request: Request<eyot_dispatch::Body>| async move {
            let header = |name: &str| request.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
            Ok(Response::new(full(format!("user {:?} secret {:?}", header("x-user"), header("x-secret")))))
        });
        node.endpoints.insert(pod(at), Arc::new(shows));
        node.publish(name, &[pod(at)]).await;
    }
    // Publishing waits until its route answers, which asks as well.
    guard.seen.lock().unwrap().clear();
    (node, guard)
}

fn get(host: &str, path: &str) -> Request<eyot_dispatch::Body> {
    Request::get(path).header("host", host).header("x-user", "forged").header("x-secret", "s").body(empty()).unwrap()
}

#[tokio::test]
async fn a_denied_request_reaches_no_pod_and_is_answered_as_the_policy_says() {
    let (node, guard) = node().await;
    let response = node.send(get("guarded.test", "/closed")).await;
    assert_eq!((response.status().as_u16(), &response.headers()["x-why"]), (403, &HeaderValue::from_static("closed")));
    assert_eq!(text(response).await, "not for you");
    let seen = guard.seen.lock().unwrap().clone();
    let way = r#"Some("eyot-system/default") Some("ns/guarded") Some("ns/guarded")"#;
    assert_eq!(seen, [format!("client 127.0.0.1 GET guarded.test/closed {way}")]);
    assert_eq!(node.gateway.stats().denied, 2, "this one, and the one that waited for the route");
}

#[tokio::test]
async fn an_allowed_request_is_changed_as_the_policy_says() {
    let (node, _) = node().await;
    let response = node.send(get("guarded.test", "/open")).await;
    assert_eq!(response.headers()["x-judged"], "yes");
    assert_eq!(text(response).await, r#"user Some("ann") secret None"#);
    let mut sly = get("guarded.test", "/open");
    sly.headers_mut().insert("connection", HeaderValue::from_static("x-user"));
    assert_eq!(text(node.send(sly).await).await, r#"user Some("ann") secret None"#, "a client takes nothing from it");
    let free = node.send(get("free.test", "/closed")).await;
    assert_eq!(text(free).await, r#"user Some("forged") secret Some("s")"#, "nobody is concerned with other Services");
}

#[tokio::test]
async fn a_redirect_is_judged_before_it_is_given() {
    let (node, _) = node().await;
    let filter = json!({"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere.test"}});
    node.route("moved", "moved.test", json!([{"filters": [filter]}]));
    let started = std::time::Instant::now();
    loop {
        let status = node.send(get("moved.test", "/closed")).await.status().as_u16();
        if status == 403 {
            break;
        }
        assert_eq!(status, 404, "until the route is there");
        assert!(started.elapsed().as_secs() < 10);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(node.send(get("moved.test", "/open")).await.status().as_u16(), 302);
}

#[tokio::test]
async fn what_guests_send_to_a_guarded_service_is_judged_too() {
    let (node, guard) = node().await;
    let caller = Caller { namespace: "ns".into(), pod: "web-1".into() };
    let send = |path: &str| {
        let request = Request::get(format!("http://guarded{path}")).body(empty()).unwrap();
        node.gateway.clone().send(caller.clone(), request)
    };
    assert_eq!(send("/closed").await.unwrap().status(), StatusCode::FORBIDDEN);
    let allowed = send("/open").await.unwrap();
    assert_eq!((allowed.status(), &allowed.headers()["x-judged"]), (StatusCode::OK, &HeaderValue::from_static("yes")));
    let seen = guard.seen.lock().unwrap().clone();
    assert_eq!(seen[0], r#"guest ns/web-1 GET guarded/closed None None Some("ns/guarded")"#);
}

/// Takes calls of functions that are to be made later.
#[derive(Debug)]
struct Later;

impl Front for Later {
    fn takes(&self, head: &Parts) -> bool {
        !head.uri.path().starts_with("/function/")
    }

    fn asks_for(&self, head: &Parts) -> Option<Uri> {
        let asked = head.uri.path().strip_prefix("/later/")?;
        format!("/function/{asked}").parse().ok()
    }

    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let header = |name: &str| request.headers().get(name).map_or("-", |it| it.to_str().unwrap()).to_owned();
        let (user, from) = (header("x-user"), header("x-forwarded-for"));
        let taken = format!("took {} for {user} from {from}", request.uri().path());
        async move { Response::new(full(taken)) }.boxed()
    }

    fn passes(&self, _: &mut Parts) -> Passing {
        Box::new(|_| {})
    }
}

#[tokio::test]
async fn who_may_not_call_a_function_may_not_have_it_called_later() {
    let (node, guard) = node().await;
    // Its Service is nobody's concern: what is judged is the way through Gateway and route, which a later call does not go.
    node.route("moved", "moved.ns.localhost", json!([{"backendRefs": [{"name": "free", "port": 80}]}]));
    let listener = eyot_gateway::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let (gateway, stop) = (node.gateway.clone(), node.stop.clone());
    let serving = tokio::spawn(async move { gateway.serve_front(listener, Arc::new(Later), stop).await });
    let get = async |path: &str| Node::fetch(&format!("http://{address}{path}"), "gateway").await;
    for _ in 0..500 {
        if get("/function/moved.ns/closed").await.0 == 403 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    guard.seen.lock().unwrap().clear();
    assert_eq!(get("/later/moved.ns/closed?a=b").await, (403, "not for you".to_owned()));
    let seen = guard.seen.lock().unwrap().clone();
    let way = r#"Some("eyot-system/default") Some("ns/moved") Some("ns/free")"#;
    assert_eq!(seen, [format!("client 127.0.0.1 GET gateway/closed {way}")], "as the call itself would be");
    let taken = "took /later/moved.ns/open for ann from 127.0.0.1".to_owned();
    assert_eq!(get("/later/moved.ns/open").await, (200, taken), "it is kept as it was changed");
    assert_eq!(get("/later/none.ns/open").await.0, 404);
    let own = get("/own/business").await;
    assert_eq!(own, (200, "took /own/business for - from -".to_owned()), "no call of a function");
    node.stop.cancel();
    serving.await.unwrap();
}
