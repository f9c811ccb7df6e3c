//! Push and pull over real sockets, and everything that may go wrong on the way.

mod common;

use std::{fs, sync::atomic::Ordering};

use common::*;
use eyot_registry::{
    Blobs, Credential, Digest, Image, Images, ImagesConfig, PullError, PullPolicy, PushError, PushOptions, push,
};
use serde_json::json;

use PullPolicy::{Always, IfNotPresent, Never};

async fn pull(images: &Images, reference: &str, policy: PullPolicy) -> Result<Image, PullError> {
    images.pull(reference, policy, &[]).await
}

#[tokio::test]
async fn what_is_pushed_is_pulled_elsewhere_and_works_offline() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("a")).await;
    let reference = served.reference("team/hello:v1");
    let pushed = push(&reference, bytes(MODULE), &PushOptions::default()).await.unwrap();
    assert_eq!((pushed.wasm_digest.clone(), pushed.size_bytes), (Digest::of(MODULE), MODULE.len() as u64));
    // The same again sends no content, and makes the same image.
    assert_eq!(push(&reference, bytes(MODULE), &PushOptions::default()).await.unwrap(), pushed);

    let near = images(&dir.path().join("b"));
    let image = pull(&near, &reference, IfNotPresent).await.unwrap();
    assert_eq!(fs::read(&image.wasm).unwrap(), MODULE);
    assert_eq!((&image.digest, &image.wasm_digest), (&pushed.digest.to_string(), &pushed.wasm_digest.to_string()));
    assert!(image.entrypoint.is_empty());
    let asked = served.requests();
    assert_eq!(pull(&near, &reference, IfNotPresent).await.unwrap(), image);
    assert_eq!(pull(&near, &reference, Never).await.unwrap(), image);
    assert_eq!(served.requests(), asked, "a present image asks nobody");
    pull(&near, &reference, Always).await.unwrap();
    assert!(served.requests() > asked);

    drop(served);
    // A new process with the network gone.
    let later = images(&dir.path().join("b"));
    assert_eq!(pull(&later, &reference, IfNotPresent).await.unwrap(), image);
    assert_eq!(pull(&later, &reference, Always).await.unwrap(), image);
    let strict = ImagesConfig { offline_fallback: false, ..ImagesConfig::new([""; 0]) };
    let strict = Images::new(Blobs::open(dir.path().join("b")).unwrap(), strict);
    let error = pull(&strict, &reference, Always).await.unwrap_err();
    assert_eq!(error.reason(), "RegistryUnavailable", "{error}");
}

#[tokio::test]
async fn own_images_need_no_socket() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    push(&served.reference("hello:v1"), bytes(MODULE), &PushOptions::default()).await.unwrap();
    let own = Images::new(served.blobs.clone(), ImagesConfig::new(["localhost:5000"]));
    let asked = served.requests();
    for policy in [Always, IfNotPresent, Never] {
        let image = pull(&own, "localhost:5000/hello:v1", policy).await.unwrap();
        assert_eq!(fs::read(&image.wasm).unwrap(), MODULE);
        let by_digest = format!("localhost:5000/hello@{}", image.digest);
        assert_eq!(pull(&own, &by_digest, policy).await.unwrap().wasm, image.wasm);
    }
    assert_eq!(served.requests(), asked);
    let error = pull(&own, "localhost:5000/hello:v2", IfNotPresent).await.unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }) && error.reason() == "ErrImagePull", "{error}");
    // A moved tag is seen at once.
    let other = [MODULE, b"2"].concat();
    push(&served.reference("hello:v1"), bytes(&other), &PushOptions::default()).await.unwrap();
    assert_eq!(fs::read(pull(&own, "localhost:5000/hello:v1", IfNotPresent).await.unwrap().wasm).unwrap(), other);
}

#[tokio::test]
async fn own_images_are_found_after_the_endpoint_moved() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    let pushed = push(&served.reference("hello:v1"), bytes(MODULE), &PushOptions::default()).await.unwrap();
    let before = Images::new(served.blobs.clone(), ImagesConfig::new(["localhost:5000"]));
    pull(&before, "localhost:5000/hello:v1", IfNotPresent).await.unwrap();
    let after = Images::new(served.blobs.clone(), ImagesConfig::new(["localhost:5001"]));
    let image = pull(&after, "localhost:5000/hello:v1", IfNotPresent).await.unwrap();
    assert_eq!(image.digest, pushed.digest.to_string());
}

#[tokio::test]
async fn ordinary_images_yield_their_wasm_entrypoint() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("a")).await;
    let config = json!({"architecture": "wasm", "os": "wasip1", "config": {
        "Entrypoint": ["/bin/app.wasm", "--flag"], "Cmd": ["x"], "Env": ["A=1", "B=x=y"], "WorkingDir": "/srv"}});
    let config = config.to_string().into_bytes();
    let lower = layer(&[("bin/app.wasm", b"\0asm the old one"), ("etc/hosts", b"")]);
    let upper = layer(&[("bin/app.wasm", MODULE)]);
    let manifest = image(&config, &[&lower, &upper]);
    let digest = served.put_image("app", "v1", &manifest, &[&config, &lower, &upper]).await;
    let near = images(&dir.path().join("b"));
    let image = pull(&near, &served.reference("app:v1"), IfNotPresent).await.unwrap();
    assert_eq!(fs::read(&image.wasm).unwrap(), MODULE);
    assert_eq!((image.digest, image.wasm_digest), (digest.to_string(), Digest::of(MODULE).to_string()));
    assert_eq!(
        (image.entrypoint, image.cmd),
        (vec!["/bin/app.wasm".to_owned(), "--flag".to_owned()], vec!["x".to_owned()])
    );
    assert_eq!(image.env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x=y".to_owned())]);
    assert_eq!(image.working_dir.as_deref(), Some("/srv"));

    // The same behind an index, beside an image for something else.
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    entry["platform"] = json!({"os": "wasip1", "architecture": "wasm"});
    let mut foreign = entry.clone();
    foreign["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [foreign, entry]});
    served.put_image("app", "multi", &index, &[]).await;
    let image = pull(&near, &served.reference("app:multi"), Always).await.unwrap();
    assert_eq!((fs::read(&image.wasm).unwrap(), image.digest), (MODULE.to_vec(), digest.to_string()));
}

#[tokio::test]
async fn what_is_no_wasm_image_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("a")).await;
    let near = images(&dir.path().join("b"));
    let root = layer(&[("bin/sh", b"\x7fELF")]);
    let cases = [
        ("shell", r#"{"config": {"Entrypoint": ["/bin/sh"]}}"#, r#"its entrypoint "/bin/sh" is no .wasm file"#),
        ("absent", r#"{"config": {"Cmd": ["app.wasm"]}}"#, r#"its entrypoint "app.wasm" is in none of its layers"#),
        ("none", "{}", "its config has no entrypoint"),
    ];
    for (name, config, want) in cases {
        served.put_image(name, "v1", &image(config.as_bytes(), &[&root]), &[config.as_bytes(), &root]).await;
        let error = pull(&near, &served.reference(&format!("{name}:v1")), IfNotPresent).await.unwrap_err();
        assert!(matches!(&error, PullError::NotWasm { reason, .. } if reason == want), "{error}");
        assert!(error.to_string().contains("is not a WebAssembly image"));
    }
    let text = b"#!/bin/sh";
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.wasm.config.v0+json", b"{}"), "layers": [descriptor("application/wasm", text)]});
    served.put_image("script", "v1", &manifest, &[b"{}", text]).await;
    let error = pull(&near, &served.reference("script:v1"), IfNotPresent).await.unwrap_err();
    assert!(matches!(error, PullError::NotWasm { .. }), "{error}");
    let error = push(&served.reference("script:v2"), bytes(text), &PushOptions::default()).await.unwrap_err();
    assert!(matches!(error, PushError::NotWasm(_)), "{error}");
}

#[tokio::test]
async fn unknown_and_malformed_names_have_their_own_errors() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("a")).await;
    let near = images(&dir.path().join("b"));
    let error = pull(&near, &served.reference("no/such:v1"), IfNotPresent).await.unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }) && error.is_transient(), "{error}");
    let error = pull(&near, &served.reference("no/such:v1"), Never).await.unwrap_err();
    assert_eq!(error.reason(), "ErrImageNeverPull");
    for name in ["", "team/UPPER", "host:5000/a:b:c", "a@sha256:12"] {
        assert_eq!(pull(&near, name, IfNotPresent).await.unwrap_err().reason(), "InvalidImageName", "{name}");
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = pull(&near, &format!("{closed}/a:v1"), IfNotPresent).await.unwrap_err();
    assert_eq!(error.reason(), "RegistryUnavailable", "{error}");
}

#[tokio::test]
async fn damaged_content_is_never_run() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("a")).await;
    let reference = served.reference("hello:v1");
    let wasm = push(&reference, bytes(MODULE), &PushOptions::default()).await.unwrap().wasm_digest;
    let near = dir.path().join("b");
    let image = pull(&images(&near), &reference, IfNotPresent).await.unwrap();

    // On disk here: the next process notices, and pulls it again.
    let mut bad = MODULE.to_vec();
    bad[20] ^= 1;
    fs::write(&image.wasm, &bad).unwrap();
    let error = pull(&images(&near), &reference, Never).await.unwrap_err();
    assert_eq!(error.reason(), "ErrImageNeverPull", "{error}");
    let again = pull(&images(&near), &reference, IfNotPresent).await.unwrap();
    assert_eq!(fs::read(&again.wasm).unwrap(), MODULE);

    // At the registry: what arrives is not what its manifest says.
    let far = served.blobs.path(&wasm);
    fs::write(&far, &bad).unwrap();
    let error = pull(&images(&dir.path().join("c")), &reference, IfNotPresent).await.unwrap_err();
    assert!(!matches!(error, PullError::NotWasm { .. }), "{error}");
    assert!(!Blobs::open(dir.path().join("c")).unwrap().path(&wasm).exists());
    // A fresh registry process checks before it serves.
    let fresh = Served::start(&dir.path().join("a")).await;
    fs::write(&far, &bad).unwrap();
    let response = fresh.send("GET", &format!("/v2/hello/blobs/{wasm}"), &[], Vec::new()).await;
    assert_eq!((response.status, response.code()), (404, "BLOB_UNKNOWN".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pulls_of_one_image_ask_once() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("a")).await;
    let reference = served.reference("hello:v1");
    push(&reference, bytes(MODULE), &PushOptions::default()).await.unwrap();
    let near = images(&dir.path().join("b"));
    pull(&near, &reference, IfNotPresent).await.unwrap();
    let one = served.requests.swap(0, Ordering::Relaxed);
    assert!(one > 0);
    let fresh = images(&dir.path().join("c"));
    let pulls = (0..100).map(|_| pull(&fresh, &reference, IfNotPresent));
    let all = futures::future::join_all(pulls).await;
    assert!(all.iter().all(|it| it.as_ref().is_ok_and(|it| fs::read(&it.wasm).unwrap() == MODULE)));
    assert!(served.requests() <= 8, "{} requests", served.requests());
    // After a restart they all come at once, for what is on disk.
    let restarted = images(&dir.path().join("c"));
    let pulls = (0..1000).map(|_| pull(&restarted, &reference, IfNotPresent));
    let all = futures::future::join_all(pulls).await;
    assert!(all.iter().all(|it| it.as_ref().is_ok_and(|it| it.wasm_digest == Digest::of(MODULE).to_string())));
    assert!(served.requests() <= 8, "{} requests", served.requests());
}

#[tokio::test]
async fn credentials_are_sent_and_never_printed() {
    use axum::{Router, extract::Request, response::IntoResponse, routing::any};
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let guard = move |request: Request| async move {
        let authorization = request.headers().get("authorization").map(|it| it.to_str().unwrap().to_owned());
        log.lock().unwrap().extend(authorization);
        let challenge = [("www-authenticate", "Basic realm=\"test\"")];
        (http::StatusCode::UNAUTHORIZED, challenge).into_response()
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(guard))).await });
    let dir = tempfile::tempdir().unwrap();
    let secret = json!({"auths": {address.to_string(): {"username": "me", "password": "hunter2"}}}).to_string();
    let credentials = Credential::from_docker_config(secret.as_bytes()).unwrap();
    let error = images(dir.path()).pull(&format!("{address}/a:v1"), IfNotPresent, &credentials).await.unwrap_err();
    assert!(matches!(error, PullError::Unauthorized { .. }), "{error}");
    assert!(!format!("{error:?} {error} {credentials:?}").contains("hunter2"));
    // base64 of me:hunter2
    assert_eq!(seen.lock().unwrap().first().map(String::as_str), Some("Basic bWU6aHVudGVyMg=="));
}

#[test]
fn the_default_policy_is_that_of_kubernetes() {
    for (reference, want) in [
        ("hello", Always),
        ("hello:latest", Always),
        ("localhost:5000/hello", Always),
        ("hello:v1", IfNotPresent),
        (&format!("hello@{}", Digest::of(b"")), IfNotPresent),
    ] {
        assert_eq!(PullPolicy::default_for(reference), want, "{reference}");
    }
}

#[tokio::test]
async fn other_programs_of_an_image_are_found_by_path_and_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    let tool = [common::MODULE, b"a tool"].concat();
    let layer = common::layer(&[("app.wasm", common::MODULE), ("bin/tool.wasm", &tool), ("etc/notes", b"text")]);
    let config = br#"{"config":{"Entrypoint":["/app.wasm"]}}"#;
    served.put_image("team/app", "v1", &common::image(config, &[&layer]), &[config, &layer]).await;
    let own = [served.address.to_string()];
    let images = eyot_registry::Images::new(served.blobs.clone(), eyot_registry::ImagesConfig::new(own));
    let image = images.pull(&served.reference("team/app:v1"), eyot_registry::PullPolicy::Never, &[]).await.unwrap();
    for name in ["tool", "tool.wasm", "/bin/tool.wasm", "bin/tool"] {
        let found = images.program(&image, name).await.unwrap().unwrap_or_else(|| panic!("{name} is not found"));
        assert_eq!(std::fs::read(found.wasm).unwrap(), tool, "{name}");
    }
    assert_eq!(images.program(&image, "app").await.unwrap().unwrap().digest, image.wasm_digest);
    assert!(images.program(&image, "sh").await.unwrap().is_none());
    assert!(images.program(&image, "/etc/notes").await.is_err(), "what is there but no WebAssembly is an error");
}
