//! The proxy subresources: requests through the API server to what runs on the node.

use std::{net::SocketAddr, sync::Arc};

use eyot_dispatch::{CallError, Handler};
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::island::{Island, hello, ip, ready};

const POD: &str = "/api/v1/namespaces/default/pods/web";
const SERVICE: &str = "/api/v1/namespaces/default/services/web";

/// Tells what it was asked; of `/away` it says that it has moved.
struct Echo;

impl Handler for Echo {
    fn handle(
        self: Arc<Self>,
        request: Request<eyot_dispatch::Body>,
    ) -> BoxFuture<'static, Result<Response<eyot_dispatch::Body>, CallError>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|it| CallError::Broken(it.to_string()))?.to_bytes();
            let target = head.uri.path_and_query().map_or("", |it| it.as_str());
            let forwarded = head.headers.get("x-forwarded-uri").and_then(|it| it.to_str().ok()).unwrap_or_default();
            let told = json!({"method": head.method.as_str(), "target": target, "forwarded": forwarded,
                "body": String::from_utf8_lossy(&body), "token": head.headers.contains_key("authorization")});
            let mut response = Response::new(eyot_dispatch::full(told.to_string()));
            if head.uri.path() == "/away" {
                *response.status_mut() = http::StatusCode::FOUND;
                response.headers_mut().insert("location", http::HeaderValue::from_static("/there"));
            }
            Ok(response)
        })
    }
}

/// A node with a pod that has two ports, and a Service that leads to the second.
async fn served() -> Island {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let ports = json!([{"name": "first", "containerPort": 8080}, {"name": "second", "containerPort": 9000}]);
    island.create("web", json!({"containers": [{"name": "app", "image": image, "ports": ports}]})).await;
    let pod = island.until("web", ready).await;
    let address: SocketAddr = format!("{}:9000", ip(&pod)).parse().unwrap();
    island.endpoints.insert(address, Arc::new(Echo));
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80}]}});
    assert_eq!(island.ask(Method::POST, "/api/v1/namespaces/default/services", &service.to_string()).await.0, 201);
    let endpoint = json!({"addresses": ["10.213.0.9"], "conditions": {"ready": true}, "nodeName": "edge",
        "targetRef": {"kind": "Pod", "namespace": "default", "name": "web"}});
    let slice = json!({"metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 9000}], "endpoints": [endpoint]});
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    assert_eq!(island.ask(Method::POST, slices, &slice.to_string()).await.0, 201);
    island
}

const METHODS: [Method; 6] = [Method::DELETE, Method::GET, Method::OPTIONS, Method::PATCH, Method::POST, Method::PUT];

#[tokio::test]
async fn every_method_reaches_a_pod_and_what_is_behind_a_service() {
    let island = served().await;
    for base in [
        format!("{POD}:9000/proxy"),
        format!("{POD}:second/proxy"),
        format!("{SERVICE}:http/proxy"),
        format!("{SERVICE}:80/proxy"),
    ] {
        for method in METHODS {
            let path = format!("{base}/some/path/with/{method}?limit=x&a=%2F");
            let (code, body) = island.ask(method.clone(), &path, "asked").await;
            let told: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {code}: {body}"));
            assert_eq!((code, &told["method"]), (200, &json!(method.as_str())));
            assert_eq!(told["target"], format!("/some/path/with/{method}?limit=x&a=%2F"));
            assert_eq!((&told["body"], &told["token"]), (&json!("asked"), &json!(false)));
            assert_eq!(told["forwarded"], format!("{base}/some/path/with/{method}"));
        }
        let (code, body) = island.ask(Method::HEAD, &format!("{base}/some/path"), "").await;
        assert_eq!((code, body.as_str()), (200, ""));
        // Without a path it is a directory to those who read, and the root to others.
        for method in [Method::GET, Method::HEAD] {
            let moved = island.send(method, &format!("{base}?q=1"), "").await;
            assert_eq!(moved.status(), 301);
            assert_eq!(moved.headers()["location"], format!("{base}/?q=1").as_str());
        }
        let (code, body) = island.ask(Method::POST, &base, "asked").await;
        assert_eq!((code, serde_json::from_str::<Value>(&body).unwrap()["target"].as_str()), (200, Some("/")));
        let moved = island.send(Method::GET, &format!("{base}/away"), "").await;
        assert_eq!(moved.headers()["location"], format!("{base}/there").as_str());
    }
}

#[tokio::test]
async fn a_pod_is_asked_at_its_first_port_and_a_node_as_its_kubelet() {
    let island = served().await;
    let (code, body) = island.ask(Method::GET, &format!("{POD}/proxy/"), "").await;
    assert_eq!((code, body.as_str()), (200, "hello, world"));
    let (code, body) = island.ask(Method::GET, "/api/v1/nodes/edge/proxy/healthz", "").await;
    assert_eq!((code, body.as_str()), (200, "ok"));
}

#[tokio::test]
async fn what_cannot_be_reached_is_said() {
    let island = served().await;
    let hand = json!({"metadata": {"name": "hand", "labels": {"kubernetes.io/service-name": "hand"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 9}], "endpoints": [{"addresses": ["192.0.2.1"]}]});
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    assert_eq!(island.ask(Method::POST, slices, &hand.to_string()).await.0, 201);
    let service = json!({"metadata": {"name": "bare"}, "spec": {"ports": [{"port": 80}]}});
    island.ask(Method::POST, "/api/v1/namespaces/default/services", &service.to_string()).await;
    let services = "/api/v1/namespaces/default/services";
    for (path, code, why) in [
        (format!("{POD}:1/proxy/"), 503, "error trying to reach service: "),
        (format!("{services}/https:web:http/proxy/"), 503, "guests speak no TLS"),
        (format!("{services}/web:81/proxy/"), 503, "no service port 81 found for service \\\"web\\\""),
        (format!("{services}/web/proxy/"), 503, "no endpoints available for service \\\"web\\\""),
        (format!("{services}/bare/proxy/"), 503, "no endpoints available for service \\\"bare\\\""),
        (format!("{services}/ftp:web:http/proxy/"), 400, "invalid service request \\\"ftp:web:http\\\""),
        (format!("{services}/none/proxy/"), 404, "services \\\"none\\\" not found"),
        ("/api/v1/nodes/none/proxy/healthz".to_owned(), 404, "nodes \\\"none\\\" not found"),
    ] {
        let (found, body) = island.ask(Method::GET, &path, "").await;
        assert!(found == code && body.contains(why), "{path}: {found}: {body}");
    }
}
