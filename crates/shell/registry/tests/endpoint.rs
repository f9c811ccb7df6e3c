//! The distribution API as a client sees it.

mod common;

use common::*;
use eyot_registry::Digest;
use serde_json::json;

const KIND: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest() -> serde_json::Value {
    json!({"schemaVersion": 2, "mediaType": KIND,
        "config": descriptor("application/vnd.wasm.config.v0+json", b"{}"), "layers": [descriptor("application/wasm", MODULE)]})
}

#[tokio::test]
async fn uploads_come_whole_in_chunks_or_by_mount() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    assert_eq!(served.send("GET", "/v2/", &[], vec![]).await.status, 200);
    let digest = Digest::of(MODULE);
    let blob = format!("/v2/a/b/blobs/{digest}");
    assert_eq!(served.send("HEAD", &blob, &[], vec![]).await.status, 404);

    let start = served.send("POST", "/v2/a/b/blobs/uploads/", &[], vec![]).await;
    assert_eq!(start.status, 202);
    let upload = start.header("location").unwrap().to_owned();
    let part = served.send("PATCH", &upload, &[("content-range", "0-9")], MODULE[..10].to_vec()).await;
    assert_eq!((part.status, part.header("range")), (202, Some("0-9")));
    let wrong = served.send("PATCH", &upload, &[("content-range", "5-9")], MODULE[5..10].to_vec()).await;
    assert_eq!(wrong.status, 416);
    let status = served.send("GET", &upload, &[], vec![]).await;
    assert_eq!((status.status, status.header("range")), (204, Some("0-9")));
    let done = served.send("PUT", &format!("{upload}?digest={digest}"), &[], MODULE[10..].to_vec()).await;
    assert_eq!((done.status, done.header("docker-content-digest")), (201, Some(&*digest.to_string())));
    assert_eq!(served.send("GET", &upload, &[], vec![]).await.code(), "BLOB_UPLOAD_UNKNOWN");

    let got = served.send("GET", &blob, &[], vec![]).await;
    assert_eq!((got.status, &got.body[..]), (200, MODULE));
    let got = served.send("GET", &blob, &[("range", "bytes=1-3")], vec![]).await;
    assert_eq!((got.status, &got.body[..]), (206, &b"asm"[..]));
    assert_eq!(got.header("content-range"), Some(&*format!("bytes 1-3/{}", MODULE.len())));
    assert_eq!(served.send("GET", &blob, &[("range", "bytes=999-")], vec![]).await.status, 416);
    let head = served.send("HEAD", &blob, &[], vec![]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*MODULE.len().to_string())));

    let mount = served.send("POST", &format!("/v2/c/blobs/uploads/?mount={digest}&from=a/b"), &[], vec![]).await;
    assert_eq!(mount.status, 201);
    let other = Digest::of(b"other");
    let whole = served.send("POST", &format!("/v2/c/blobs/uploads/?digest={other}"), &[], b"other".to_vec()).await;
    assert_eq!(whole.status, 201);
    let wrong = served.send("POST", &format!("/v2/c/blobs/uploads/?digest={other}"), &[], b"else".to_vec()).await;
    assert_eq!((wrong.status, wrong.code()), (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(std::fs::read_dir(dir.path().join("uploads")).unwrap().count(), 0, "no upload is left behind");
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    let start = served.send("POST", "/v2/a/blobs/uploads/", &[], vec![]).await;
    let upload = start.header("location").unwrap().to_owned();
    served.send("PATCH", &upload, &[], MODULE[..20].to_vec()).await;
    drop(served);
    let served = Served::start(dir.path()).await;
    let digest = Digest::of(MODULE);
    let done = served.send("PUT", &format!("{upload}?digest={digest}"), &[], MODULE[20..].to_vec()).await;
    assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    assert_eq!(served.send("GET", &format!("/v2/a/blobs/{digest}"), &[], vec![]).await.body, MODULE);
}

#[tokio::test]
async fn manifests_need_their_blobs_and_are_found_by_tag_and_digest() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    let content = manifest().to_string().into_bytes();
    let headers = [("content-type", KIND)];
    let put = served.send("PUT", "/v2/a/manifests/v1", &headers, content.clone()).await;
    assert_eq!((put.status, put.code()), (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    let digest = served.put_image("a", "v1", &manifest(), &[b"{}", MODULE]).await;
    for reference in ["v1".to_owned(), digest.to_string()] {
        let got = served.send("GET", &format!("/v2/a/manifests/{reference}"), &[], vec![]).await;
        assert_eq!((got.status, got.header("content-type"), &got.body), (200, Some(KIND), &content));
    }
    assert_eq!(served.send("GET", "/v2/a/manifests/v2", &[], vec![]).await.code(), "MANIFEST_UNKNOWN");
    assert_eq!(served.send("GET", "/v2/b/manifests/v1", &[], vec![]).await.code(), "NAME_UNKNOWN");
    for (kind, body) in [(KIND, &b"{"[..]), ("text/plain", &content), (KIND, br#"{"schemaVersion": 1}"#)] {
        let put = served.send("PUT", "/v2/a/manifests/v1", &[("content-type", kind)], body.to_vec()).await;
        assert_eq!((put.status, put.code()), (400, "MANIFEST_INVALID".to_owned()));
    }
    let large = served.send("PUT", "/v2/a/manifests/v1", &headers, vec![b' '; 5 << 20]).await;
    assert_eq!(large.status, 413);
    // Content that a manifest needs stays until the manifest goes.
    let blob = format!("/v2/a/blobs/{}", Digest::of(MODULE));
    assert_eq!(served.send("DELETE", &blob, &[], vec![]).await.code(), "DENIED");
    assert_eq!(served.send("DELETE", &format!("/v2/a/manifests/{digest}"), &[], vec![]).await.status, 202);
    assert_eq!(served.send("GET", "/v2/a/manifests/v1", &[], vec![]).await.status, 404);
    assert_eq!(served.send("DELETE", &blob, &[], vec![]).await.status, 202);
    assert_eq!(served.send("DELETE", &blob, &[], vec![]).await.status, 404);
    assert_eq!(served.send("POST", "/v2/a/manifests/v1", &[], vec![]).await.code(), "UNSUPPORTED");
}

#[tokio::test]
async fn lists_are_paged_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    for tag in ["v1", "v2", "v3"] {
        served.put_image("a", tag, &manifest(), &[b"{}", MODULE]).await;
    }
    served.put_image("b/c", "v1", &manifest(), &[]).await;
    drop(served);
    let served = Served::start(dir.path()).await;
    let page = served.send("GET", "/v2/a/tags/list?n=2", &[], vec![]).await;
    assert_eq!(page.json(), json!({"name": "a", "tags": ["v1", "v2"]}));
    assert_eq!(page.header("link"), Some("</v2/a/tags/list?n=2&last=v2>; rel=\"next\""));
    let rest = served.send("GET", "/v2/a/tags/list?n=2&last=v2", &[], vec![]).await;
    assert_eq!((rest.json()["tags"].clone(), rest.header("link")), (json!(["v3"]), None));
    assert_eq!(served.send("GET", "/v2/_catalog", &[], vec![]).await.json(), json!({"repositories": ["a", "b/c"]}));
    assert_eq!(served.send("GET", "/v2/x/tags/list", &[], vec![]).await.code(), "NAME_UNKNOWN");
}

#[tokio::test]
async fn referrers_of_a_manifest_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    let subject = served.put_image("a", "v1", &manifest(), &[b"{}", MODULE]).await;
    let mut signature = manifest();
    signature["artifactType"] = json!("application/vnd.example.signature");
    signature["subject"] = descriptor(KIND, manifest().to_string().as_bytes());
    let digest = served.put_image("a", "sig", &signature, &[]).await;
    let path = format!("/v2/a/referrers/{subject}");
    let found = served.send("GET", &path, &[], vec![]).await.json();
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(found["manifests"][0]["digest"], digest.to_string());
    assert_eq!(found["manifests"][0]["artifactType"], "application/vnd.example.signature");
    let none = served.send("GET", &format!("{path}?artifactType=other"), &[], vec![]).await;
    assert_eq!(
        (none.json()["manifests"].clone(), none.header("oci-filters-applied")),
        (json!([]), Some("artifactType"))
    );
}

#[tokio::test]
async fn a_push_is_announced_to_those_who_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    let mut pushes = served.blobs.pushed();
    let config = br#"{"config":{"Entrypoint":["/app.wasm"]}}"#;
    let layer = common::layer(&[("app.wasm", common::MODULE)]);
    served.put_image("team/app", "v1", &common::image(config, &[&layer]), &[config, &layer]).await;
    assert_eq!(&*pushes.recv().await.unwrap(), "team/app");
    let images = eyot_registry::Images::new(served.blobs.clone(), eyot_registry::ImagesConfig::new(["localhost:5000"]));
    assert!(images.is_in("localhost:5000/team/app:v1", "team/app"));
    assert!(!images.is_in("localhost:5000/team/other:v1", "team/app"));
    assert!(!images.is_in("docker.io/team/app:v1", "team/app"));
}
