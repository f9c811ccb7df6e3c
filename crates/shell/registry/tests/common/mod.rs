//! What the tests share: registries on loopback, and images of several shapes.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{extract::Request, middleware::Next};
use bytes::Bytes;
use eyot_registry::{Blobs, Digest, Images, ImagesConfig, Registry};
use serde_json::{Value, json};

pub const MODULE: &[u8] = b"\0asm\x01\0\0\0 a module, as far as its first bytes tell";

/// A served registry; dropped, it is gone from the network.
pub struct Served {
    pub address: SocketAddr,
    pub blobs: Blobs,
    /// Requests so far.
    pub requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    pub async fn start(dir: &Path) -> Served {
        // The client picks the process' provider, as the binary does at its start.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let blobs = Blobs::open(dir).unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let count = move |request: Request, next: Next| {
            counted.fetch_add(1, Ordering::Relaxed);
            next.run(request)
        };
        let router = Registry::new(blobs.clone()).router().layer(axum::middleware::from_fn(count));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Served { address, blobs, requests, task }
    }

    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Stores an image made by hand.
    pub async fn put_image(&self, name: &str, tag: &str, manifest: &Value, blobs: &[&[u8]]) -> Digest {
        for blob in blobs {
            self.blobs.put(blob).unwrap();
        }
        let (path, kind) = (format!("/v2/{name}/manifests/{tag}"), manifest["mediaType"].as_str().unwrap());
        let content = manifest.to_string();
        let response = self.send("PUT", &path, &[("content-type", kind)], content.clone().into_bytes()).await;
        assert_eq!(response.status, 201, "{}", String::from_utf8_lossy(&response.body));
        Digest::of(content.as_bytes())
    }

    /// One HTTP request, as plain as it gets.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        // A server that refuses may close before it has read all.
        let _ = stream.write_all(&body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Response::parse(&answer)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub struct Response {
    pub status: u16,
    headers: String,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(answer: &[u8]) -> Response {
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n").expect("a head");
        let headers = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, headers, body: answer[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|it| it.split_once(": "));
        lines.filter(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1).next()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub fn images(dir: &Path) -> Images {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Images::new(Blobs::open(dir).unwrap(), ImagesConfig::new(["localhost:5000"]))
}

pub fn descriptor(kind: &str, content: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(content), "size": content.len()})
}

/// An ordinary image of tar layers.
pub fn image(config: &[u8], layers: &[&[u8]]) -> Value {
    let layers: Vec<_> =
        layers.iter().map(|it| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", it)).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers,
    })
}

/// A gzip-compressed tar archive of plain files, made by the system's `tar`.
pub fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().write_all(content).unwrap();
    }
    let out = std::process::Command::new("tar").args(["-cz", "."]).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success());
    out.stdout
}

pub fn bytes(content: &[u8]) -> Bytes {
    Bytes::copy_from_slice(content)
}
