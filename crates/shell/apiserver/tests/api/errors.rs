//! Bad requests: each gets a `Status` that says what is wrong.

use eyot_apiserver::{Body, Identity};
use http::{Method, Request, header};
use serde_json::json;

use crate::server::{MAPS, PODS, Server, pod, read};

async fn check(server: &Server, method: Method, uri: &str, content_type: &str, body: &str, code: u16, reason: &str) {
    let answer = server.call(method, uri, content_type, body.to_owned()).await;
    assert_eq!((answer.code, answer.body["reason"].as_str()), (code, Some(reason)), "{uri}: {}", answer.body);
    assert_eq!((&answer.body["kind"], &answer.body["code"]), (&"Status".into(), &code.into()));
    assert!(answer.body["message"].as_str().is_some_and(|it| !it.is_empty()));
}

#[tokio::test]
async fn what_cannot_be_served_is_named() {
    let server = Server::start().await;
    let json = "application/json";
    let deep = format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    for (method, uri, content_type, body, code, reason) in [
        (Method::GET, "/api/v1/nothings", json, "", 404, "NotFound"),
        (Method::GET, "/apis/nothing/v1/pods", json, "", 404, "NotFound"),
        (Method::GET, "/nothing", json, "", 404, "NotFound"),
        (Method::GET, "/api/v1/namespaces/default/nodes/n", json, "", 404, "NotFound"),
        (Method::PUT, MAPS, json, "{}", 405, "MethodNotAllowed"),
        (Method::POST, "/api/v1/namespaces/default/pods/p", json, "{}", 405, "MethodNotAllowed"),
        (Method::POST, "/version", json, "{}", 405, "MethodNotAllowed"),
        (Method::POST, "/api/v1/configmaps", json, "{}", 405, "MethodNotAllowed"),
        (Method::DELETE, "/api/v1/configmaps", json, "{}", 405, "MethodNotAllowed"),
        (Method::POST, MAPS, json, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}", 400, "BadRequest"),
        (Method::POST, MAPS, "text/csv", "k8s", 415, "UnsupportedMediaType"),
        (Method::PATCH, "/api/v1/namespaces/default", json, "{}", 415, "UnsupportedMediaType"),
        (
            Method::PATCH,
            "/api/v1/namespaces/default",
            "application/apply-patch+cbor",
            "{}",
            415,
            "UnsupportedMediaType",
        ),
        (Method::POST, MAPS, json, "", 400, "BadRequest"),
        (Method::POST, MAPS, json, "{", 400, "BadRequest"),
        (Method::POST, MAPS, json, "[]", 400, "BadRequest"),
        (Method::POST, MAPS, json, "\"x\"", 400, "BadRequest"),
        (Method::POST, MAPS, json, &deep, 400, "BadRequest"),
        (Method::POST, MAPS, json, "{\"kind\":\"Pod\"}", 400, "BadRequest"),
        (Method::POST, MAPS, json, "{\"metadata\":7}", 400, "BadRequest"),
        (Method::POST, MAPS, "application/vnd.kubernetes.protobuf", "{}", 400, "BadRequest"),
        (Method::POST, MAPS, "application/yaml", "a: [", 400, "BadRequest"),
        (Method::POST, MAPS, "application/yaml", "a: 1\n b: 2", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?labelSelector=%3D%3D", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?fieldSelector=spec.color%3Dred", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?limit=many", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?continue=nonsense", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?resourceVersion=x", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?resourceVersion=999999999", json, "", 504, "Timeout"),
        (Method::GET, "/api/v1/pods?watch=1&resourceVersion=999999999", json, "", 504, "Timeout"),
        (Method::DELETE, "/api/v1/namespaces/kube-system", json, "[]", 400, "BadRequest"),
    ] {
        check(&server, method, uri, content_type, body, code, reason).await;
    }
}

#[tokio::test]
async fn a_manifest_of_ten_megabytes_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "x".repeat(10 << 20)}}).to_string();
    check(&server, Method::POST, MAPS, "application/json", &body, 413, "RequestEntityTooLarge").await;
}

#[tokio::test]
async fn an_unwanted_form_is_not_acceptable() {
    let server = Server::start().await;
    assert_eq!(server.accept(MAPS, "application/vnd.kubernetes.protobuf").await.code, 406);
    assert_eq!(server.accept(MAPS, "application/vnd.kubernetes.protobuf, application/json").await.code, 200);
}

#[tokio::test]
async fn unknown_fields_are_warned_about_or_refused() {
    let server = Server::start().await;
    let mut wrong = pod("a");
    wrong["spec"]["colour"] = "red".into();
    let warned = server.post(PODS, wrong.clone()).await;
    assert_eq!((warned.code, warned.warnings.len()), (201, 1), "{}", warned.body);
    assert!(warned.warnings[0].contains("spec.colour"), "{:?}", warned.warnings);
    wrong["metadata"]["name"] = "b".into();
    let refused = server.post(&format!("{PODS}?fieldValidation=Strict"), wrong.clone()).await;
    assert_eq!(refused.code, 400);
    assert!(refused.body["message"].as_str().unwrap().contains("spec.colour"));
    let ignored = server.post(&format!("{PODS}?fieldValidation=Ignore"), wrong).await;
    assert_eq!((ignored.code, ignored.warnings.len()), (201, 0));
}

#[tokio::test]
async fn wrong_types_are_refused() {
    let server = Server::start().await;
    let wrong = json!({"metadata": {"name": "d"}, "spec": {"replicas": "three"}});
    let answer = server.post("/apis/apps/v1/namespaces/default/deployments", wrong).await;
    assert_eq!(answer.code, 400, "{}", answer.body);
}

#[tokio::test]
async fn a_stranger_learns_nothing_but_health_and_version() {
    let mut server = Server::start().await;
    server.identify(Identity::new("stranger", []));
    for uri in ["/version", "/healthz", "/livez", "/readyz"] {
        assert_eq!(server.get(uri).await.code, 200);
    }
    let request = Request::get(PODS).header(header::ACCEPT, "application/json").body(Body::empty()).unwrap();
    assert_eq!(read(server.send(request).await).await.code, 403);
}
