//! sig-network: ingresses, endpoints, services as far as the API decides them.

use serde_json::{Value, json};

use super::lifecycle::{Round, expect};
use crate::server::{Server, names};

#[tokio::test]
async fn ingress_operations() {
    let backend = json!({"service": {"name": "default-backend", "port": {"number": 80}}});
    let object = json!({"spec": {"defaultBackend": backend, "rules": [{"host": "foo.bar.com", "http": {
        "paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}});
    let status = Some(json!({"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}}));
    Round { api_version: "networking.k8s.io/v1", plural: "ingresses", namespaced: true, object, status }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn ingress_class_operations() {
    let object = json!({"spec": {"controller": "example.com/controller"}});
    Round { api_version: "networking.k8s.io/v1", plural: "ingressclasses", namespaced: false, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn service_cidr_operations() {
    let object = json!({"spec": {"cidrs": ["10.196.196.0/24"]}});
    let condition = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from a test"});
    let status = Some(json!({"conditions": [condition]}));
    Round { api_version: "networking.k8s.io/v1", plural: "servicecidrs", namespaced: false, object, status }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn ip_address_operations() {
    let server = Server::start().await;
    let collection = "/apis/networking.k8s.io/v1/ipaddresses";
    let parent = json!({"resource": "services", "namespace": "default", "name": "s"});
    for name in ["10.196.196.1", "10.196.196.2"] {
        let object = json!({"metadata": {"name": name, "labels": {"e2e": "yes"}}, "spec": {"parentRef": parent}});
        expect(server.post(collection, object).await, 201);
    }
    let uri = format!("{collection}/10.196.196.1");
    let patched = expect(server.merge(&uri, json!({"metadata": {"annotations": {"patched": "true"}}})).await, 200);
    let mut object = patched.clone();
    object["metadata"]["annotations"]["updated"] = "true".into();
    expect(server.put(&uri, object).await, 200);
    let listed = server.get(&format!("{collection}?labelSelector=e2e")).await.body;
    assert_eq!(names(&listed), ["10.196.196.1", "10.196.196.2"]);
    expect(server.delete(&uri, Value::Null).await, 200);
    expect(server.delete(&format!("{collection}?labelSelector=e2e"), Value::Null).await, 200);
    assert!(names(&server.get(&format!("{collection}?labelSelector=e2e")).await.body).is_empty());
}

#[tokio::test]
async fn endpoint_slice_operations() {
    let object =
        json!({"addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"], "conditions": {"ready": true}}]});
    Round { api_version: "discovery.k8s.io/v1", plural: "endpointslices", namespaced: true, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn endpoints_lifecycle() {
    let object = json!({"subsets": [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80}]}]});
    Round { api_version: "v1", plural: "endpoints", namespaced: true, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn services_are_deleted_by_label() {
    let server = Server::start().await;
    let services = "/api/v1/namespaces/default/services";
    for (name, label) in [("s1", "go"), ("s2", "go"), ("s3", "stay")] {
        let spec = json!({"ports": [{"port": 80}]});
        let object = json!({"metadata": {"name": name, "labels": {"e2e": label}}, "spec": spec});
        expect(server.post(services, object).await, 201);
    }
    expect(server.delete(&format!("{services}?labelSelector=e2e%3Dgo"), Value::Null).await, 200);
    assert_eq!(names(&server.get(&format!("{services}?labelSelector=e2e")).await.body), ["s3"]);
}

#[tokio::test]
async fn a_service_has_a_status_of_its_own() {
    let server = Server::start().await;
    let services = "/api/v1/namespaces/default/services";
    let object = json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    expect(server.post(services, object).await, 201);
    let uri = format!("{services}/s/status");
    let status = json!({"metadata": {"annotations": {"patchedstatus": "true"}},
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}});
    let patched = expect(server.merge(&uri, status).await, 200);
    assert_eq!(patched["status"]["loadBalancer"]["ingress"][0]["ip"], "203.0.113.1");
    let mut object = expect(server.get(&uri).await, 200);
    object["status"]["conditions"] = json!([{"type": "StatusUpdate", "status": "True", "reason": "E2E",
        "message": "Set from a test", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let updated = expect(server.put(&uri, object).await, 200);
    assert_eq!(updated["status"]["conditions"][0]["reason"], "E2E");
    let patched =
        expect(server.merge(&format!("{services}/s"), json!({"metadata": {"labels": {"a": "b"}}})).await, 200);
    assert_eq!(patched["status"], updated["status"]);
}

#[tokio::test]
async fn the_kubernetes_service_is_there() {
    let server = Server::start().await;
    let all = server.get("/api/v1/services").await.body;
    let found = all["items"].as_array().unwrap().iter().find(|it| it["metadata"]["name"] == "kubernetes").unwrap();
    assert_eq!(found["metadata"]["namespace"], "default");
    assert_eq!(found["spec"]["ports"][0]["port"], 443);
}

#[tokio::test]
async fn a_service_changes_between_external_name_and_cluster_ip() {
    let server = Server::start().await;
    let services = "/api/v1/namespaces/default/services";
    let object = json!({"metadata": {"name": "s"}, "spec": {"type": "ExternalName", "externalName": "example.com"}});
    let external = expect(server.post(services, object).await, 201);
    assert_eq!(external["spec"]["clusterIP"], Value::Null);
    let uri = format!("{services}/s");
    let spec = json!({"spec": {"type": "ClusterIP", "externalName": null, "ports": [{"port": 80, "protocol": "TCP"}]}});
    let inside = expect(server.merge(&uri, spec).await, 200);
    assert!(inside["spec"]["clusterIP"].as_str().is_some_and(|it| it.starts_with("10.43.")), "{inside}");
    let spec =
        json!({"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": null, "clusterIPs": null}});
    let outside = expect(server.merge(&uri, spec).await, 200);
    assert_eq!(outside["spec"]["clusterIP"], Value::Null, "{outside}");
}

#[tokio::test]
async fn the_api_servers_own_endpoints_say_where_it_is() {
    let server = Server::start().await;
    let endpoints = "/api/v1/namespaces/default/endpoints/kubernetes";
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let mut uids = Vec::new();
    for address in ["127.0.0.1:6443", "192.0.2.7:7443", "192.0.2.7:7443"] {
        let address: std::net::SocketAddr = address.parse().unwrap();
        eyot_apiserver::advertise(&server.api, address).await.unwrap();
        let older = server.get(endpoints).await.body;
        assert_eq!(older["subsets"][0]["addresses"], json!([{"ip": address.ip().to_string()}]), "{older}");
        assert_eq!(older["subsets"][0]["ports"][0]["port"], address.port());
        let list = server.get(&format!("{slices}?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes")).await.body;
        assert_eq!(names(&list), ["kubernetes"]);
        let slice = &list["items"][0];
        assert_eq!(slice["endpoints"][0]["addresses"], json!([address.ip().to_string()]), "{slice}");
        assert_eq!(slice["ports"][0]["port"], address.port());
        uids.push(slice["metadata"]["uid"].clone());
    }
    assert!(uids.iter().all(|it| *it == uids[0]), "the object is put right, not made anew");
    let service = server.get("/api/v1/namespaces/default/services/kubernetes").await.body;
    assert_eq!(service["spec"]["ports"][0]["name"], "https");
}
