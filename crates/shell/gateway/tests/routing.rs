//! Routes, filters and Ingresses, asked over real connections.

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use expect_test::expect;
use eyot_dispatch::{Body, empty, full};
use http::{Request, Response};
use serde_json::json;
use support::{Node, Pod, pod, says, text};

#[tokio::test]
async fn a_request_reaches_the_pod_behind_the_service_with_the_clients_address() {
    let node = Node::start().await;
    node.endpoints.insert(pod(1), says("one"));
    node.publish("web", &[pod(1)]).await;
    let (status, text) = node.get("web.test", "/a/b?q=1").await;
    assert_eq!(status, 200);
    expect!["one GET /a/b?q=1 host=web.test for=127.0.0.1 x=-"].assert_eq(&text);
    let (status, text) = node.get("other.test", "/a").await;
    assert_eq!(status, 404);
    expect![[r#"
        no route for host "other.test" and path "/a"
    "#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn a_service_without_ready_endpoints_is_unavailable_and_a_missing_one_an_error() {
    let node = Node::start().await;
    node.publish("web", &[]).await;
    let response = node.send(Request::get("/").header("host", "web.test").body(empty()).unwrap()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(text(response).await, "Service ns/web:80 has no ready endpoint\n");
    node.route("gone", "gone.test", json!([{"backendRefs": [{"name": "gone", "port": 80}]}]));
    node.until("gone.test", |status| status == 500).await;
    assert_eq!(node.get("gone.test", "/").await.1, "route ns/gone: Service ns/gone does not exist\n");
}

#[tokio::test]
async fn a_request_that_is_ahead_of_the_first_endpoint_waits_for_it() {
    let node = Node::with(|it| it.arrival_timeout = Duration::from_secs(30)).await;
    node.endpoints.insert(pod(1), says("one"));
    node.publish("web", &[pod(1)]).await;
    node.slices("web", &[]);
    while let Ok((status, text)) = tokio::time::timeout(Duration::from_millis(50), node.get("web.test", "/")).await {
        assert_eq!(status, 200, "{text}");
    }
    let arrives = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.slices("web", &[pod(1)]);
    };
    let ((status, text), ()) = tokio::join!(node.get("web.test", "/"), arrives);
    assert_eq!(status, 200, "{text}");
}

#[tokio::test]
async fn filters_change_hosts_paths_and_headers() {
    let node = Node::start().await;
    node.endpoints.insert(pod(1), says("one"));
    node.publish("web", &[pod(1)]).await;
    let backend = json!([{"name": "web", "port": 80}]);
    node.route("filters", "f.test", json!([
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/old"}}],
            "filters": [
                {"type": "URLRewrite", "urlRewrite": {
                    "hostname": "inner.test", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"},
                }},
                {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "X-Test", "value": "set"}]}},
                {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "X-Out", "value": "out"}]}},
            ],
            "backendRefs": backend,
        },
        {
            "matches": [{"path": {"type": "Exact", "value": "/moved"}}],
            "filters": [{"type": "RequestRedirect", "requestRedirect": {
                "scheme": "https", "hostname": "new.test", "statusCode": 301,
                "path": {"type": "ReplaceFullPath", "replaceFullPath": "/here"},
            }}],
        },
    ]));
    node.until("f.test", |_| true).await;
    let get = |path: &str| node.send(Request::get(path).header("host", "f.test").body(empty()).unwrap());
    let mut response = get("/old/x?q").await;
    for _ in 0..100 {
        if response.status() != 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        response = get("/old/x?q").await;
    }
    assert_eq!(response.headers()["x-out"], "out");
    expect!["one GET /new/x?q host=inner.test for=127.0.0.1 x=set"].assert_eq(&text(response).await);
    let response = get("/moved?q=1").await;
    assert_eq!(response.status(), 301);
    assert_eq!(response.headers()["location"], "https://new.test/here?q=1");
}

#[tokio::test]
async fn weights_share_requests_among_services() {
    let node = Node::start().await;
    for (name, at) in [("blue", 1), ("green", 2)] {
        node.endpoints.insert(pod(at), says(name));
        node.publish(name, &[pod(at)]).await;
    }
    let split = json!([{"backendRefs": [
        {"name": "blue", "port": 80, "weight": 3}, {"name": "green", "port": 80, "weight": 1},
    ]}]);
    node.route("split", "split.test", split);
    node.until("split.test", |status| status == 200).await;
    let mut blue = 0;
    for _ in 0..400 {
        blue += u32::from(node.get("split.test", "/").await.1.starts_with("blue"));
    }
    // Binomial: 300 expected, standard deviation below 9.
    assert!((250..350).contains(&blue), "{blue} of 400 requests went to the backend with three quarters of the weight");
}

#[tokio::test]
async fn an_ingress_serves_its_hosts_and_its_default_backend() {
    let node = Node::start().await;
    for (name, at) in [("web", 1), ("rest", 2)] {
        node.endpoints.insert(pod(at), says(name));
        node.publish(name, &[pod(at)]).await;
    }
    node.api.put(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "site", "namespace": "ns", "uid": "u"},
        "spec": {
            "ingressClassName": "eyot",
            "tls": [{"hosts": ["site.test"]}],
            "defaultBackend": {"service": {"name": "rest", "port": {"number": 80}}},
            "rules": [{"host": "site.test", "http": {"paths": [
                {"path": "/app", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"name": "http"}}}},
            ]}}],
        },
    }));
    node.until("site.test", |status| status == 200).await;
    assert!(node.get("site.test", "/app/x").await.1.starts_with("web "));
    assert!(node.get("site.test", "/apple").await.1.starts_with("rest "));
    assert!(node.get("else.test", "/app").await.1.starts_with("rest "));
    let mut event = String::new();
    for _ in 0..200 {
        let status = node.api.get("ingresses", "ns", "site")["status"]["loadBalancer"]["ingress"][0].clone();
        event = node.api.all("events").first().map_or(String::new(), |it| it["message"].to_string());
        if status["ip"] == "127.0.0.1" && status["ports"][0]["port"] == node.address.port() && !event.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(event.contains("spec.tls is not supported"), "{event}");
}

#[tokio::test]
async fn a_route_that_takes_too_long_is_answered_with_504_and_its_guest_cancelled() {
    let node = Node::start().await;
    let alive = Arc::new(());
    let inside = alive.clone();
    let sleeper = Pod(move |_: Request<Body>| {
        let inside = inside.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(inside);
            Ok(Response::new(full("late")))
        }
    });
    node.endpoints.insert(pod(1), Arc::new(sleeper));
    node.service("slow", &[pod(1)]);
    let rules = json!([{"timeouts": {"request": "50ms"}, "backendRefs": [{"name": "slow", "port": 80}]}]);
    node.route("slow", "slow.test", rules);
    node.until("slow.test", |status| status == 504).await;
    assert_eq!(node.get("slow.test", "/").await.1, "Service ns/slow:80 did not answer within the route's timeout\n");
    assert_eq!(Arc::strong_count(&alive), 2, "only the handler holds it: no request is left");
}

#[tokio::test]
async fn statuses_say_what_was_attached_and_then_rest() {
    let node = Node::start().await;
    node.endpoints.insert(pod(1), says("one"));
    node.publish("web", &[pod(1)]).await;
    let port = node.address.port();
    node.api.put(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "extra", "namespace": "ns", "generation": 1},
        "spec": {"gatewayClassName": "eyot", "listeners": [
            {"name": "same", "port": port, "protocol": "HTTP"},
            {"name": "other", "port": 9999, "protocol": "HTTP"},
        ]},
    }));
    let mut patches = 0;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = node.api.patches();
        let written = !node.api.get("gateways", "ns", "extra")["status"].is_null()
            && node.api.get("gateways", "eyot-system", "default")["status"]["listeners"][0]["attachedRoutes"] == 1;
        if written && now == patches {
            break;
        }
        patches = now;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(node.api.patches(), patches, "a settled cluster is not written to");
    let summary = |plural: &str, namespace: &str, name: &str| {
        let object = node.api.get(plural, namespace, name);
        let conditions = |value: &serde_json::Value| {
            let all = value["conditions"].as_array().cloned().unwrap_or_default();
            all.iter().map(|it| format!(" {}={}/{}", it["type"], it["status"], it["reason"])).collect::<String>()
        };
        let status = &object["status"];
        let mut text = format!("{name}{}\n", conditions(status));
        for part in ["listeners", "parents"] {
            for it in status[part].as_array().into_iter().flatten() {
                text += &format!("  {part} {}{}\n", it["name"], conditions(it));
            }
        }
        text.replace('"', "")
    };
    let all = summary("gatewayclasses", "", "eyot")
        + &summary("gateways", "eyot-system", "default")
        + &summary("gateways", "ns", "extra")
        + &summary("httproutes", "ns", "web");
    expect![[r#"
        eyot Accepted=True/Accepted
        default Accepted=True/Accepted Programmed=True/Programmed
          listeners http Accepted=True/Accepted Programmed=True/Programmed ResolvedRefs=True/ResolvedRefs Conflicted=False/NoConflicts
        extra Accepted=True/ListenersNotValid Programmed=True/Programmed
          listeners same Accepted=True/Accepted Programmed=True/Programmed ResolvedRefs=True/ResolvedRefs Conflicted=False/NoConflicts
          listeners other Accepted=False/PortUnavailable Programmed=False/Invalid ResolvedRefs=True/ResolvedRefs Conflicted=False/NoConflicts
        web
          parents null Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs
    "#]]
    .assert_eq(&all);
}

#[tokio::test]
async fn endpoint_changes_do_not_compile_the_table() {
    let node = Node::start().await;
    node.endpoints.insert(pod(1), says("one"));
    node.publish("web", &[pod(1)]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let compiles = node.gateway.stats().compiles;
    for last in 2..=200_u8 {
        let pods: Vec<SocketAddr> = (1..=last).map(pod).collect();
        node.slices("web", &pods);
    }
    node.endpoints.insert(pod(201), says("last"));
    node.slices("web", &[pod(201)]);
    for _ in 0..500 {
        if node.get("web.test", "/").await.1.starts_with("last") {
            assert_eq!(node.gateway.stats().compiles, compiles);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the last endpoint was never used");
}
