//! A store, an API server, a registry and a node in a fresh directory.

use std::{
    fmt::Debug,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use eyot_apiserver::{ApiServer, Config, Identity};
use eyot_dispatch::{Announced, CallError, Caller, Endpoints, Names, Outbound, Transport};
use eyot_instance::Schedule;
use eyot_node::{Node, NodeConfig};
use eyot_registry::{Blobs, Images, ImagesConfig, PushOptions, Registry};
use eyot_runtime::{Runtime, RuntimeConfig};
use eyot_store::{Options, Store};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A module that prints `hello` and leaves with `code`.
pub(crate) fn command(code: u32) -> Vec<u8> {
    let source = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "hello\n")
        (func (export "_start")
            (i32.store (i32.const 0) (i32.const 16))
            (i32.store (i32.const 4) (i32.const 6))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (call $exit (i32.const CODE))))"#;
    wat::parse_str(source.replace("CODE", &code.to_string())).unwrap()
}

/// A module that prints what it reads until its input ends, then leaves with `code`.
pub(crate) fn echo(code: u32) -> Vec<u8> {
    let source = r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (loop $again
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const 1024))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (if (i32.eqz (i32.load (i32.const 8))) (then (call $exit (i32.const CODE))))
                (i32.store (i32.const 4) (i32.load (i32.const 8)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
                (br $again))))"#;
    wat::parse_str(source.replace("CODE", &code.to_string())).unwrap()
}

/// A module that never ends.
pub(crate) fn spinner() -> Vec<u8> {
    wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))"#)
        .unwrap()
}

/// A component that answers every request with 200 and `hello, world`.
pub(crate) fn hello() -> Vec<u8> {
    let source = include_str!("../../../runtime/tests/guests/http.wat");
    wat::parse_str(source.replace(";;HANDLE;;", "(call $hello (local.get $outparam))")).unwrap()
}

/// A component that never comes to an answer, and waits meanwhile.
pub(crate) fn sleeper() -> Vec<u8> {
    let source = include_str!("../../../runtime/tests/guests/http.wat");
    wat::parse_str(source.replace(";;HANDLE;;", "(call $nap (i64.const 3600000000000))")).unwrap()
}

/// A component that allocates until it may not, whatever is asked.
pub(crate) fn hog() -> Vec<u8> {
    let source = include_str!("../../../runtime/tests/guests/http.wat");
    let handle =
        "(loop $again (if (i32.lt_s (memory.grow (i32.const 16)) (i32.const 0)) (then unreachable)) (br $again))";
    wat::parse_str(source.replace(";;HANDLE;;", handle)).unwrap()
}

/// A component that passes any memory limit for a request with a body, and traps for one without.
pub(crate) fn moody() -> Vec<u8> {
    let source = include_str!("../../../runtime/tests/guests/http.wat");
    let handle = r#"
        (call $consume (local.get $request) (i32.const 16))
        (call $body-in (i32.load (i32.const 20)) (i32.const 16))
        (call $read (i32.load (i32.const 20)) (i64.const 1) (i32.const 48))
        (if (i32.load8_u (i32.const 48)) (then unreachable))
        (loop $again (if (i32.lt_s (memory.grow (i32.const 16)) (i32.const 0)) (then unreachable)) (br $again))"#;
    wat::parse_str(source.replace(";;HANDLE;;", handle)).unwrap()
}

/// A component that is as well as the Service it calls: it answers with that one's status, and with 500 when there is none.
pub(crate) fn dependent() -> Vec<u8> {
    let source = include_str!("../../../runtime/tests/guests/http.wat");
    let handle = r#"
        (local.set $in (i32.const 500))
        (local.set $other (call $request (call $fields)))
        (drop (call $set-scheme (local.get $other) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
        (drop (call $set-authority (local.get $other) (i32.const 1) (i32.const 1040) (i32.const 29)))
        (drop (call $set-path (local.get $other) (i32.const 1) (i32.const 1072) (i32.const 9)))
        (call $send (local.get $other) (i32.const 0) (i32.const 0) (i32.const 128))
        (if (i32.eqz (i32.load8_u (i32.const 128))) (then
            (local.set $other (i32.load (i32.const 136)))
            (call $block (call $future-poll (local.get $other)))
            (call $future-get (local.get $other) (i32.const 256))
            (if (i32.eqz (i32.load8_u (i32.const 272))) (then
                (local.set $in (call $status-in (i32.load (i32.const 280))))))))
        (local.set $body (call $open (local.get $outparam) (local.get $in)))
        (local.set $stream (call $stream (local.get $body)))
        (call $close (local.get $stream) (local.get $body))"#;
    wat::parse_str(source.replace(";;HANDLE;;", handle)).unwrap()
}

/// A component that answers every gRPC health check with SERVING.
pub(crate) fn healthy() -> Vec<u8> {
    let source = include_str!("../../../runtime/tests/guests/http.wat");
    let constants = r#"(data (i32.const 1120) "grpc-status0") (data (i32.const 1140) "\00\00\00\00\02\08\01")
    ;; The response given out, with"#;
    let handle = r#"
        (local.set $in (call $fields))
        (call $append (local.get $in) (i32.const 1120) (i32.const 11) (i32.const 1131) (i32.const 1) (i32.const 128))
        (local.set $body (call $open-with (local.get $outparam) (i32.const 200) (local.get $in)))
        (local.set $stream (call $stream (local.get $body)))
        (drop (call $put (local.get $stream) (i32.const 1140) (i32.const 7)))
        (call $close (local.get $stream) (local.get $body))"#;
    let source = source.replace(";; The response given out, with", constants);
    wat::parse_str(source.replace(";;HANDLE;;", handle)).unwrap()
}

/// The guest that does what its arguments say; `cargo xtask guests` builds it.
pub(crate) fn toolbox() -> Vec<u8> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target/guests");
    let guests = std::env::var_os("EYOT_GUESTS").map_or_else(|| built.into(), std::path::PathBuf::from);
    let path = guests.join("toolbox.wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: `cargo xtask guests` builds it", path.display()))
}

/// What lies outside of the node's pods.
#[derive(Default)]
pub(crate) struct Elsewhere {
    /// Whether requests that leave pods are answered with 204, or with nothing.
    pub(crate) answers: AtomicBool,
    /// The Services there are.
    pub(crate) services: Mutex<Vec<Announced>>,
}

impl Outbound for Elsewhere {
    fn send(
        self: Arc<Self>,
        _: Caller,
        _: Request<eyot_dispatch::Body>,
    ) -> BoxFuture<'static, Result<Response<eyot_dispatch::Body>, CallError>> {
        let answer = match self.answers.load(Ordering::Relaxed) {
            true => Ok(Response::builder().status(204).body(eyot_dispatch::empty()).unwrap()),
            false => Err(CallError::Connect("there is no network".into())),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Names for Elsewhere {
    fn resolve(&self, _: &Caller, name: &str) -> Option<Vec<std::net::IpAddr>> {
        (name == "gone.default.svc.cluster.local").then(Vec::new)
    }

    fn permits(&self, _: &Caller, _: Transport, _: std::net::SocketAddr) -> Result<(), String> {
        Ok(())
    }

    fn services(self: Arc<Self>, _: &str) -> BoxFuture<'static, Vec<Announced>> {
        Box::pin(std::future::ready(self.services.lock().unwrap().clone()))
    }
}

/// Everything, running.
pub(crate) struct Island {
    pub(crate) client: Client,
    pub(crate) pods: Api<Pod>,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) elsewhere: Arc<Elsewhere>,
    pub(crate) blobs: Blobs,
    node: Option<Arc<Node>>,
    token: CancellationToken,
    running: JoinHandle<()>,
    server: ApiServer,
    images: Images,
    registry: String,
    dir: TempDir,
}

impl Island {
    pub(crate) async fn start() -> Island {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store"), Options::new(eyot_apiserver::attributes)).unwrap();
        let server = ApiServer::new(store, Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 });
        eyot_apiserver::bootstrap(&server).await.unwrap();
        let blobs = Blobs::open(dir.path().join("blobs")).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = listener.local_addr().unwrap().to_string();
        let router = Registry::new(blobs.clone()).router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let images = Images::new(blobs.clone(), ImagesConfig::new([registry.clone()]));
        let elsewhere = Arc::new(Elsewhere::default());
        let client = Client::new(server.service(Identity::component("test")), "default");
        let (endpoints, node, token, running) = start_node(&server, &images, &elsewhere, dir.path()).await;
        let pods = Api::default_namespaced(client.clone());
        let node = Some(node);
        Island { client, pods, endpoints, elsewhere, blobs, node, token, running, server, images, registry, dir }
    }

    /// Stops the node as a crash would, and starts it again on the same directory.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let (endpoints, node, token, running) =
            start_node(&self.server, &self.images, &self.elsewhere, self.dir.path()).await;
        node.synced().wait_for(|it| *it).await.unwrap();
        (self.endpoints, self.node, self.token, self.running) = (endpoints, Some(node), token, running);
    }

    pub(crate) async fn stop(&mut self) {
        self.token.cancel();
        // Stopping twice is stopping once.
        if !self.running.is_finished() {
            (&mut self.running).await.unwrap();
        }
        self.node = None;
    }

    /// A path in the node's directory.
    pub(crate) fn node_file(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("node").join(path)
    }

    /// Pushes a module and returns its reference.
    pub(crate) async fn push(&self, name: &str, wasm: Vec<u8>) -> String {
        let reference = format!("{}/{name}:1", self.registry);
        eyot_registry::push(&reference, Bytes::from(wasm), &PushOptions::default()).await.unwrap();
        reference
    }

    /// Creates a pod, bound to the node: no scheduler runs here.
    pub(crate) async fn create(&self, name: &str, spec: Value) -> Pod {
        self.create_with(json!({ "name": name, "labels": { "app": name } }), spec).await
    }

    /// Creates a pod with this metadata, bound to the node.
    pub(crate) async fn create_with(&self, metadata: Value, mut spec: Value) -> Pod {
        spec["nodeName"] = json!("edge");
        let pod = json!({ "metadata": metadata, "spec": spec });
        self.pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap()
    }

    /// Pushes the toolbox.
    pub(crate) async fn toolbox(&self) -> String {
        self.push("toolbox", toolbox()).await
    }

    /// Runs a pod whose only container, `main`, and other fields are given, to its end; gives its log. It must succeed.
    pub(crate) async fn log_of(&self, name: &str, mut container: Value, mut spec: Value) -> String {
        container["name"] = json!("main");
        spec["containers"] = json!([container]);
        spec["restartPolicy"] = json!("Never");
        self.create(name, spec).await;
        let pod = self.until(name, |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
        let (_, log) = self.kubelet(&format!("/containerLogs/default/{name}/main")).await;
        assert_eq!(phase(&pod), "Succeeded", "{log}");
        log
    }

    /// What the node printed in a container so far.
    pub(crate) async fn log(&self, pod: &str, container: &str) -> String {
        self.kubelet(&format!("/containerLogs/default/{pod}/{container}")).await.1
    }

    /// Waits until the log of a container holds `text`.
    pub(crate) async fn until_logged(&self, pod: &str, container: &str, text: &str) {
        for _ in 0..1000 {
            if self.log(pod, container).await.contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (log, object) = (self.log(pod, container).await, self.pods.get_opt(pod).await.unwrap());
        panic!("{pod} does not print {text:?} but {log:?}: {:#?}", Hidden(object));
    }

    pub(crate) async fn secret(&self, name: &str, data: Value) {
        let api: Api<k8s_openapi::api::core::v1::Secret> = Api::default_namespaced(self.client.clone());
        let object = json!({ "metadata": { "name": name }, "stringData": data });
        let _ = api.delete(name, &Default::default()).await;
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    /// Sends JSON to the API; comes to what it answers, or to the message of its refusal.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let kind = if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.client.request_text(request.body(body).unwrap()).await;
        answer.map(|it| serde_json::from_str(&it).unwrap()).map_err(|error| match error {
            kube::Error::Api(status) => status.message.clone(),
            other => panic!("{method} {path}: {other}"),
        })
    }

    /// Runs the controllers, the scheduler among them, until the island goes.
    pub(crate) async fn with_controllers(&self) {
        let client = Client::new(self.server.service(Identity::component("controllers")), "default");
        let controllers = eyot_controllers::Controllers::new(client, eyot_controllers::Config::default());
        let synced = controllers.synced();
        tokio::spawn(controllers.run(self.token.clone()));
        synced.wait().await;
    }

    pub(crate) async fn config_map(&self, name: &str, data: Value) {
        let api: Api<ConfigMap> = Api::default_namespaced(self.client.clone());
        let object = json!({ "metadata": { "name": name }, "data": data });
        let _ = api.delete(name, &Default::default()).await;
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    /// Waits until the pod is as wanted; fails with what it was last.
    pub(crate) async fn until(&self, name: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        for _ in 0..1000 {
            if let Some(pod) = self.pods.get_opt(name).await.unwrap()
                && wanted(&pod)
            {
                return pod;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} did not become as wanted: {:#?}", Hidden(self.pods.get_opt(name).await.unwrap()));
    }

    pub(crate) async fn until_gone(&self, name: &str) {
        for _ in 0..1000 {
            if self.pods.get_opt(name).await.unwrap().is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} is still there");
    }

    /// What answers for revisions at zero.
    pub(crate) fn early(&self) -> Arc<dyn eyot_dispatch::Early> {
        self.node.as_ref().unwrap().early()
    }

    /// The kubelet's API.
    pub(crate) fn router(&self) -> axum::Router {
        self.node.as_ref().unwrap().kubelet()
    }

    /// What the API server answers, which knows the kubelet.
    pub(crate) async fn send(&self, method: http::Method, path: &str, body: &str) -> Response<eyot_apiserver::Body> {
        self.server.set_kubelet("edge", self.router());
        let request = Request::builder().method(method).uri(path).header("authorization", "Bearer x");
        let request = request.body(eyot_apiserver::Body::full(body.to_owned())).unwrap();
        self.server.service(Identity::component("test")).oneshot(request).await.unwrap()
    }

    /// Code and body of [`Island::send`].
    pub(crate) async fn ask(&self, method: http::Method, path: &str, body: &str) -> (u16, String) {
        let response = self.send(method, path, body).await;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8_lossy(&body).into_owned())
    }

    /// Serves the kubelet's API on a socket, for connections that are upgraded.
    pub(crate) async fn kubelet_address(&self) -> std::net::SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// What the kubelet answers: status code and body.
    pub(crate) async fn kubelet(&self, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.router().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8_lossy(&body).into_owned())
    }
}

async fn start_node(
    server: &ApiServer,
    images: &Images,
    elsewhere: &Arc<Elsewhere>,
    dir: &Path,
) -> (Arc<Endpoints>, Arc<Node>, CancellationToken, JoinHandle<()>) {
    let client = Client::new(server.service(Identity::component("node")), "default");
    let runtime = Runtime::new(RuntimeConfig::new(dir.join("cache"))).unwrap();
    let endpoints = Arc::new(Endpoints::new());
    // A range that no other test has, which must be free again after a restart. Loopback needs no route.
    let cidr = format!("127.217.{}.0/24", std::process::id() % 256).parse().unwrap();
    let mut config = NodeConfig::new("edge", dir.join("node"), cidr);
    config.back_off =
        Schedule { base: Duration::from_millis(100), max: Duration::from_millis(400), reset: Duration::from_secs(60) };
    let (outbound, names) = (elsewhere.clone(), elsewhere.clone());
    let node = Node::new(config, client, runtime, images.clone(), endpoints.clone(), outbound, names).await.unwrap();
    let (node, token) = (Arc::new(node), CancellationToken::new());
    let running = {
        let (node, token) = (node.clone(), token.clone());
        tokio::spawn(async move { node.run(token).await })
    };
    (endpoints, node, token, running)
}

/// Prints a pod's status only.
struct Hidden(Option<Pod>);

impl Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = self.0.as_ref().map(|it| serde_json::to_string_pretty(&it.status).unwrap_or_default());
        f.write_str(&status.unwrap_or_else(|| "absent".to_owned()))
    }
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|it| it.phase.as_deref()).unwrap_or_default()
}

pub(crate) fn condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|it| it.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == kind && it.status == "True")
}

pub(crate) fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready")
}

pub(crate) fn ip(pod: &Pod) -> String {
    pod.status.as_ref().and_then(|it| it.pod_ip.clone()).unwrap_or_default()
}

/// The first container's status, as JSON.
pub(crate) fn container(pod: &Pod) -> Value {
    let statuses = pod.status.as_ref().and_then(|it| it.container_statuses.as_ref());
    serde_json::to_value(statuses.and_then(|it| it.first())).unwrap()
}

/// Why the first container waits.
pub(crate) fn waiting(pod: &Pod) -> String {
    container(pod)["state"]["waiting"]["reason"].as_str().unwrap_or_default().to_owned()
}

impl Island {
    /// Puts an image of these layers into the registry; gives its reference.
    pub(crate) async fn put_image(&self, name: &str, config: &Value, layers: &[(&str, Vec<u8>)]) -> String {
        let config = config.to_string().into_bytes();
        let put = |kind: &str, content: &[u8]| {
            let digest = self.blobs.put(content).unwrap();
            json!({ "mediaType": kind, "digest": digest, "size": content.len() })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.iter().map(|(kind, content)| put(kind, content)).collect::<Vec<_>>(),
        });
        let request = Request::put(format!("/v2/{name}/manifests/1"))
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .body(Body::from(manifest.to_string()))
            .unwrap();
        let response = Registry::new(self.blobs.clone()).router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 201);
        format!("{}/{name}:1", self.registry)
    }
}
