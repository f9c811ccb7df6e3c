//! The schema over HTTP: forms, tags, hashes; and health, check by check.

use eyot_apiserver::Body;
use http::{Request, Response, header};

use crate::server::{Server, read};

async fn ask(server: &Server, uri: &str, headers: &[(header::HeaderName, &str)]) -> Response<Body> {
    let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(name, *value));
    server.send(request.body(Body::empty()).unwrap()).await
}

fn text(response: &Response<Body>, name: header::HeaderName) -> String {
    response.headers().get(name).map_or_else(String::new, |it| it.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn version_two_comes_as_json_or_as_messages_each_with_its_tag() {
    let server = Server::start().await;
    let messages = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let mut tags = Vec::new();
    for (accept, media_type) in [
        ("application/json", "application/json"),
        (messages, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
    ] {
        let whole = ask(&server, "/openapi/v2", &[(header::ACCEPT, accept)]).await;
        assert_eq!((whole.status().as_u16(), text(&whole, header::CONTENT_TYPE)), (200, media_type.to_owned()));
        let tag = text(&whole, header::ETAG);
        let known = [(header::ACCEPT, accept), (header::IF_NONE_MATCH, tag.as_str())];
        let again = ask(&server, "/openapi/v2", &known).await;
        assert_eq!((again.status().as_u16(), text(&again, header::ETAG)), (304, tag.clone()));
        tags.push(tag);
    }
    assert_ne!(tags[0], tags[1]);
    assert_eq!(ask(&server, "/openapi/v2", &[(header::ACCEPT, "text/csv")]).await.status(), 406);
}

#[tokio::test]
async fn version_three_is_kept_under_its_hash_and_found_again_under_a_new_one() {
    let server = Server::start().await;
    let index = server.get("/openapi/v3").await.body;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let found = ask(&server, &url, &[]).await;
    assert_eq!(found.status(), 200);
    assert!(text(&found, header::CACHE_CONTROL).contains("immutable"));
    let document = read(found).await.body;
    assert!(document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    let moved = ask(&server, "/openapi/v3/apis/apps/v1?hash=OLD", &[]).await;
    assert_eq!((moved.status().as_u16(), text(&moved, header::LOCATION)), (301, url));
    let messages = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    assert_eq!(ask(&server, "/openapi/v3/apis/apps/v1", &[(header::ACCEPT, messages)]).await.status(), 406);
    assert_eq!(ask(&server, "/openapi/v3/apis/nobody/v1", &[]).await.status(), 404);
}

#[tokio::test]
async fn health_is_told_whole_and_by_check() {
    let server = Server::start().await;
    assert_eq!(server.get("/livez").await.body, "ok");
    assert_eq!(server.get("/livez/ping").await.body, "ok");
    assert_eq!(server.get("/livez/nothing").await.code, 404);
    let told = server.get("/readyz?verbose").await.body;
    assert_eq!(told, "[+]ping ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n");
    server.store.close().await;
    let failed = server.get("/readyz").await;
    assert_eq!(failed.code, 500);
    assert!(failed.body.as_str().unwrap().contains("[-]etcd failed: reason withheld"), "{}", failed.body);
    assert_eq!(server.get("/livez/etcd").await.code, 500);
    assert_eq!(server.get("/readyz?exclude=etcd").await.code, 200);
}
