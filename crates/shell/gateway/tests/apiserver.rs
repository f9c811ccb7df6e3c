//! The gateway beside the real API server, both in one process.

mod support;

use std::time::Duration;

use eyot_apiserver::{ApiServer, Identity};
use eyot_store::Store;
use http::Request;
use serde_json::{Value, json};
use support::{Node, Running, pod, says};

async fn write(client: &kube::Client, method: &str, path: &str, object: &Value) -> Value {
    let body = serde_json::to_vec(object).unwrap();
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    client.request(request.body(body).unwrap()).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

async fn read(client: &kube::Client, path: &str) -> Value {
    client.request(Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
}

const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes";

#[tokio::test]
async fn objects_created_at_the_api_server_are_routed_and_get_their_statuses() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), eyot_store::Options::new(eyot_apiserver::attributes)).unwrap();
    let config = eyot_apiserver::Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 };
    let server = ApiServer::new(store, config);
    eyot_apiserver::bootstrap(&server).await.unwrap();
    let client = kube::Client::new(server.service(Identity::component("gateway")), "default");

    let Running { endpoints, address, stop, serving, watching, .. } = Running::start(client.clone(), |config| {
        config.pod_networks = vec![([127, 42, 0, 0].into(), 16)];
    })
    .await;

    endpoints.insert(pod(1), says("one"));
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    });
    write(&client, "POST", "/api/v1/namespaces/default/services", &service).await;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": [pod(1).ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": pod(1).port(), "protocol": "TCP"}],
    });
    write(&client, "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &slice).await;
    let mut route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
        "spec": {
            "parentRefs": [{"name": "default", "namespace": "eyot-system"}],
            "hostnames": ["web.localhost"],
            "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
        },
    });
    write(&client, "POST", ROUTES, &route).await;
    let uri = format!("http://{address}/");
    let mut answer = (0, String::new());
    for _ in 0..500 {
        answer = Node::fetch(&uri, "web.localhost").await;
        if answer.0 == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(answer.0, 200, "{}", answer.1);
    let stored = settled(&client, "True").await;
    assert_eq!(stored["status"]["parents"][0]["controllerName"], "eyot.io/gateway");
    let gateway_status =
        read(&client, "/apis/gateway.networking.k8s.io/v1/namespaces/eyot-system/gateways/default").await;
    assert_eq!(gateway_status["status"]["conditions"][0]["status"], "True");

    route["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
    route["spec"]["rules"][0]["filters"] =
        json!([{"type": "ExtensionRef", "extensionRef": {"group": "x.io", "kind": "Filter", "name": "f"}}]);
    write(&client, "PUT", &format!("{ROUTES}/web"), &route).await;
    let stored = settled(&client, "False").await;
    let condition = &stored["status"]["parents"][0]["conditions"][0];
    assert_eq!(condition["message"], "rules[0].filters[0]: type ExtensionRef is not supported");
    assert_eq!(Node::fetch(&uri, "web.localhost").await.0, 404);

    stop.cancel();
    let ended = async { tokio::try_join!(watching, serving) };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("an end").unwrap();
}

/// The route, once it is accepted or refused.
async fn settled(client: &kube::Client, accepted: &str) -> Value {
    for _ in 0..500 {
        let route = read(client, &format!("{ROUTES}/web")).await;
        if route["status"]["parents"][0]["conditions"][0]["status"] == accepted {
            return route;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("Accepted never became {accepted}");
}
