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

/// Method, URI, content type, body, and the code and reason of the answer.
type Row<'a> = (Method, &'a str, &'a str, &'a str, u16, &'a str);

async fn check_all<'a>(server: &Server, rows: impl IntoIterator<Item = Row<'a>>) {
    for (method, uri, content_type, body, code, reason) in rows {
        check(server, method, uri, content_type, body, code, reason).await;
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_named() {
    let server = Server::start().await;
    let json = "application/json";
    let deep = format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let rows = [
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
    ];
    check_all(&server, rows).await;
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

#[tokio::test]
async fn numbers_texts_and_selectors_that_are_none_are_refused() {
    let server = Server::start().await;
    let json = "application/json";
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let deep_patch = format!("{{\"data\":{}1{}}}", "{\"a\":".repeat(3000), "}".repeat(3000));
    let rows = [
        (Method::POST, deployments, json, "{\"spec\":{\"replicas\":1e400}}", 400, "BadRequest"),
        (Method::POST, deployments, json, "{\"spec\":{\"replicas\":99999999999999999999}}", 400, "BadRequest"),
        (Method::POST, deployments, json, "{\"spec\":{\"replicas\":1.5}}", 400, "BadRequest"),
        (Method::POST, MAPS, json, "{\"metadata\":{\"name\":\"\\ud800\"}}", 400, "BadRequest"),
        (Method::POST, MAPS, json, "\u{feff}{}", 400, "BadRequest"),
        (Method::PATCH, "/api/v1/namespaces/default", "application/merge-patch+json", &deep_patch, 400, "BadRequest"),
        (Method::PATCH, "/api/v1/namespaces/default", "application/json-patch+json", "{}", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?labelSelector=a%20in%20(b", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?labelSelector=a%3Db%2C%2C", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?labelSelector=%2Fx%3Db", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?fieldSelector=metadata.name", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?continue=eyJ2IjoxfQ", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/pods?limit=99999999999999999999999", json, "", 400, "BadRequest"),
        (Method::GET, "/api/v1/namespaces/%ff/pods", json, "", 404, "NotFound"),
    ];
    check_all(&server, rows).await;
    let raw = server.call(Method::POST, MAPS, json, &b"{\"metadata\":{\"name\":\"\xff\xfe\"}}"[..]).await;
    assert_eq!((raw.code, &raw.body["reason"]), (400, &json!("BadRequest")), "{}", raw.body);
}

#[tokio::test]
async fn a_body_without_end_is_given_up_at_the_limit() {
    let server = Server::start().await;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = sent.clone();
    let endless = futures::stream::repeat_with(move || {
        counted.fetch_add(64 << 10, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from(vec![b' '; 64 << 10])))
    });
    let body = Body::new(http_body_util::StreamBody::new(endless));
    let request = Request::post(MAPS).header(header::CONTENT_TYPE, "application/json").body(body).unwrap();
    let answer = read(server.send(request).await).await;
    assert_eq!((answer.code, &answer.body["reason"]), (413, &json!("RequestEntityTooLarge")), "{}", answer.body);
    let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!(sent <= 4 << 20, "{sent} bytes were read");
}

#[tokio::test]
async fn a_compressed_body_is_refused_by_name() {
    let server = Server::start().await;
    let request = Request::post(MAPS)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_ENCODING, "gzip")
        .body(Body::full(&b"\x1f\x8b\x08\x00"[..]))
        .unwrap();
    let answer = read(server.send(request).await).await;
    assert_eq!((answer.code, &answer.body["reason"]), (415, &json!("UnsupportedMediaType")), "{}", answer.body);
    assert!(answer.body["message"].as_str().unwrap().contains("gzip"), "{}", answer.body);
}
