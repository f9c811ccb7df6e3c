//! Cases of services that are about heads, failures and output.

use std::time::Duration;

use eyot_dispatch::{Body, CallError, Handler, empty};
use eyot_runtime::LogStream;
use http::{HeaderValue, Request, Response, header::HOST};
use tokio::time::timeout;

use crate::{
    servers::whole,
    stage::{DEADLINE, Scene, Verdict, same, text},
};

/// Most bytes, roughly, of headers that a guest may make.
const FIELDS_BYTES_MAX: usize = 128 << 10;

/// A GET without a body.
pub(crate) fn get(uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let builder = headers.iter().fold(Request::get(uri), |it, (name, value)| it.header(*name, *value));
    builder.body(empty()).unwrap()
}

async fn handle(scene: &Scene, request: Request<Body>) -> Result<Response<Body>, CallError> {
    scene.guest.clone().handle(request).await
}

/// Asks, and wants status 200 and this body.
async fn says(scene: &Scene, request: Request<Body>, wanted: &str) -> Result<http::HeaderMap, String> {
    let (head, body) = whole(handle(scene, request).await.map_err(text)?).await?;
    same("the status", 200, head.status.as_u16())?;
    same("the body", wanted.as_bytes(), &*body.to_bytes())?;
    Ok(head.headers)
}

pub(crate) async fn proxy(scene: Scene) -> Verdict {
    says(&scene, get("http://example.com:8080/test-path", &[]), "hello, world!").await.map(drop)
}

pub(crate) async fn client_that_leaves(scene: Scene) -> Verdict {
    drop(handle(&scene, get("http://example.com:8080/early_drop", &[])).await.map_err(text)?);
    timeout(DEADLINE, scene.guest.drain()).await.map_err(text)?;
    same("the count of failures", 0, scene.guest.stats().failures)
}

pub(crate) async fn large_headers(scene: Scene) -> Verdict {
    let mut request = get("http://host.test/", &[]);
    for at in 0..FIELDS_BYTES_MAX / 10 {
        let name: http::HeaderName = format!("k{at:05}").parse().map_err(text)?;
        request.headers_mut().insert(name, HeaderValue::from_static("value"));
    }
    says(&scene, request, "hello, world!").await?;
    says(&scene, get("http://host.test/new_fields/50", &[]), "Ok(())").await?;
    says(&scene, get("http://host.test/modify_fields/50", &[("k", "123456789")]), "Ok(())").await?;
    for path in ["new_fields", "modify_fields"] {
        let request = get(&format!("http://host.test/{path}/{}", 2 * FIELDS_BYTES_MAX), &[]);
        match handle(&scene, request).await {
            Err(CallError::Guest(_)) => {}
            Err(other) => return Err(format!("{path}: {other} instead of a guest that ended")),
            Ok(response) => return Err(format!("{path}: status {} instead of an end", response.status())),
        }
    }
    Ok(())
}

pub(crate) async fn hash_all(scene: Scene) -> Verdict {
    let hashes = [
        ("one", "dpLDrTVAu4A8Ags67mbNiIcSMjTqDG5xQ8Ct1z/0Me0"),
        ("two", "P8TM/nRYcOLA2Z9x8w/wZWyN7dQcwdfT03aw2+aF4vM"),
        ("three", "i1udsME9skJWyCmqNkqpDG0uujGLkjKkq5MTuVTTVV8"),
        ("four", "BO+vCA9aPnThwp0cpqSFaTgsu80yTo1Z0rg+8hwDnwA"),
    ];
    let url = |word: &str| format!("http://{}/say/{word}", scene.server);
    let mut request = get("http://example.com:8080/hash-all", &[]);
    for (word, _) in hashes {
        request.headers_mut().append("url", url(word).parse().map_err(text)?);
    }
    let (head, body) = whole(handle(&scene, request).await.map_err(text)?).await?;
    same("the status", 200, head.status.as_u16())?;
    let mut wanted = hashes.map(|(word, hash)| format!("{}: {hash}", url(word)));
    wanted.sort_unstable();
    let body = body.to_bytes();
    let mut lines: Vec<&str> = std::str::from_utf8(&body).map_err(text)?.lines().collect();
    lines.sort_unstable();
    same("what is hashed", wanted.iter().map(String::as_str).collect(), lines)
}

pub(crate) async fn rejected_host(scene: Scene) -> Verdict {
    let urls = [("url", "http://forbidden.com"), ("url", "http://localhost")];
    let (_, body) = whole(handle(&scene, get("http://example.com:8080/hash-all", &urls)).await.map_err(text)?).await?;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let line = |host: &str| body.lines().find(|it| it.contains(host)).ok_or(format!("nothing of {host}: {body}"));
    same("whether forbidden.com is denied", true, line("forbidden.com")?.contains("HttpRequestDenied"))?;
    same("whether localhost is denied", false, line("localhost")?.contains("HttpRequestDenied"))
}

pub(crate) async fn forward(scene: Scene) -> Verdict {
    says(&scene, get("https://some-domain.example/get", &[]), "ok").await?;
    let request = scene.world.taken().ok_or("nobody was asked")?;
    same("what was asked", "https://some-domain.example/get", request.uri().to_string().as_str())
}

pub(crate) async fn hello(scene: Scene) -> Verdict {
    says(&scene, get("http://localhost/", &[]), "Hello, WASI!").await.map(drop)
}

pub(crate) async fn environment(scene: Scene) -> Verdict {
    let headers = says(&scene, get("http://localhost/", &[("env", "hello")]), "").await?;
    same("the variable", Some("world"), headers.get("env").and_then(|it| it.to_str().ok()))?;
    let headers = says(&scene, get("http://localhost/", &[("env", "ABSENT")]), "").await?;
    same("a variable that is not there", None, headers.get("env").map(HeaderValue::as_bytes))
}

pub(crate) async fn prints(scene: Scene) -> Verdict {
    for _ in 0..2 {
        says(&scene, get("http://localhost/", &[]), "").await?;
    }
    let out = "this is half a print to stdout\n\nafter empty\n";
    same("the output", out.repeat(2), scene.log.text(LogStream::Stdout))?;
    let errors = "this is half a print to stderr\n\nafter empty\nstart a print 1234\n";
    same("the errors", errors.repeat(2), scene.log.text(LogStream::Stderr))
}

pub(crate) async fn authority(scene: Scene) -> Verdict {
    says(&scene, get("/", &[(HOST.as_str(), "localhost")]), "").await?;
    let mut request = get("http://localhost/", &[]);
    *request.method_mut() = http::Method::CONNECT;
    says(&scene, request, "").await.map(drop)
}

pub(crate) async fn world(scene: Scene) -> Verdict {
    says(&scene, get("http://localhost/", &[]), "world").await.map(drop)
}

pub(crate) async fn fails(scene: Scene) -> Verdict {
    for count in 1..=2 {
        match handle(&scene, get("http://localhost/", &[])).await {
            Err(CallError::Guest(_)) => same("the count of failures", count, scene.guest.stats().failures)?,
            Err(other) => return Err(format!("{other} instead of a failed guest")),
            Ok(response) => return Err(format!("status {} instead of a failure", response.status())),
        }
    }
    Ok(())
}

pub(crate) async fn late(scene: Scene) -> Verdict {
    match handle(&scene, get("http://localhost/", &[])).await {
        Err(CallError::Deadline) => Ok(()),
        Err(other) => Err(format!("{other} instead of a deadline")),
        Ok(response) => Err(format!("status {} instead of a deadline", response.status())),
    }
}

pub(crate) async fn goes_on(scene: Scene) -> Verdict {
    says(&scene, get("http://localhost/", &[]), "").await?;
    timeout(Duration::from_secs(30), scene.guest.drain()).await.map_err(text)?;
    same("the output", "please see me\n", scene.log.text(LogStream::Stdout).as_str())
}

pub(crate) async fn forbidden_headers(scene: Scene) -> Verdict {
    let headers = [(HOST.as_str(), "victim.internal"), ("connection", "close"), ("foo", "bar")];
    says(&scene, get("http://localhost/", &headers), "ok").await?;
    let request = scene.world.taken().ok_or("nobody was asked")?;
    let sent = request.headers();
    same("whether its own host was sent", false, sent.get_all(HOST).iter().any(|it| it == "victim.internal"))?;
    same("what it said of its connection", None, sent.get("connection").map(HeaderValue::as_bytes))?;
    same("another header", Some("bar"), sent.get("foo").and_then(|it| it.to_str().ok()))
}
