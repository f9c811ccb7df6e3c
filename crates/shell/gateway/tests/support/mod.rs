//! A gateway on a loopback port, a Kubernetes API in memory, and pods written in Rust.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses a part")]

mod api;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use eyot_dispatch::{Body, CallError, Endpoints, Handler, full};
use eyot_gateway::{Config, Gateway};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub use api::Api;

/// A gateway over any Kubernetes API, its two tasks included.
pub struct Running {
    pub endpoints: Arc<Endpoints>,
    pub gateway: Arc<Gateway>,
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub serving: tokio::task::JoinHandle<()>,
    pub watching: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Starts one on a free port; returns once it has read the API.
    pub async fn start(client: kube::Client, change: impl FnOnce(&mut Config)) -> Self {
        let listener = eyot_gateway::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let endpoints = Arc::new(Endpoints::new());
        let mut config = Config { http_port: address.port(), addresses: vec![address.ip()], ..Config::default() };
        change(&mut config);
        let gateway = Gateway::new(client, endpoints.clone(), config);
        let stop = CancellationToken::new();
        let watching = tokio::spawn({
            let (gateway, stop) = (gateway.clone(), stop.clone());
            async move { gateway.watch(stop).await }
        });
        let serving = tokio::spawn({
            let (gateway, stop) = (gateway.clone(), stop.clone());
            async move { gateway.serve(listener, stop).await }
        });
        tokio::time::timeout(Duration::from_secs(10), gateway.synced()).await.expect("the gateway reads the API");
        Self { endpoints, gateway, address, stop, serving, watching }
    }
}

/// A gateway that follows `api` and answers at `address`.
pub struct Node {
    pub api: Api,
    pub endpoints: Arc<Endpoints>,
    pub gateway: Arc<Gateway>,
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub serving: tokio::task::JoinHandle<()>,
    _watching: tokio_util::task::AbortOnDropHandle<()>,
}

impl Node {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let api = Api::default();
        api.put(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "eyot", "generation": 1},
            "spec": {"controllerName": "eyot.io/gateway"},
        }));
        api.put(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "default", "namespace": "eyot-system", "generation": 1},
            "spec": {"gatewayClassName": "eyot", "listeners": [
                {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}},
            ]},
        }));
        let Running { endpoints, gateway, address, stop, serving, watching } = Running::start(api.client(), |config| {
            config.pod_networks = vec![(IpAddr::from([127, 42, 0, 0]), 16)];
            change(config);
        })
        .await;
        let watching = tokio_util::task::AbortOnDropHandle::new(watching);
        Self { api, endpoints, gateway, address, stop, serving, _watching: watching }
    }

    /// A Service on port 80 whose endpoints are `pods`.
    pub fn service(&self, name: &str, pods: &[SocketAddr]) {
        self.api.put(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "ns"},
            "spec": {"clusterIP": cluster_ip(name), "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }));
        self.slices(name, pods);
    }

    /// Replaces the endpoints of a Service.
    pub fn slices(&self, service: &str, pods: &[SocketAddr]) {
        // One slice for each port number, as endpoints of one slice share their ports.
        let mut ports: Vec<u16> = pods.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        for (at, port) in ports.iter().enumerate() {
            let endpoints = pods.iter().filter(|it| it.port() == *port);
            let endpoints: Vec<Value> = endpoints
                .map(|it| json!({"addresses": [it.ip().to_string()], "conditions": {"ready": true, "serving": true}}))
                .collect();
            self.slice(service, at, *port, endpoints);
        }
        for at in ports.len()..8 {
            self.slice(service, at, 1, Vec::new());
        }
    }

    fn slice(&self, service: &str, at: usize, port: u16, endpoints: Vec<Value>) {
        self.api.put(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": format!("{service}-{at}"), "namespace": "ns",
                "labels": {"kubernetes.io/service-name": service},
            },
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        }));
    }

    /// An HTTPRoute on the default Gateway for one host.
    pub fn route(&self, name: &str, host: &str, rules: Value) {
        self.api.put(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": "ns", "generation": 1},
            "spec": {
                "parentRefs": [{"name": "default", "namespace": "eyot-system"}],
                "hostnames": [host],
                "rules": rules,
            },
        }));
    }

    /// A Service with these pods, and a route for host `NAME.test` to it, in effect.
    pub async fn publish(&self, name: &str, pods: &[SocketAddr]) {
        self.service(name, pods);
        let host = format!("{name}.test");
        self.route(name, &host, json!([{"backendRefs": [{"name": name, "port": 80}]}]));
        self.until(&host, |status| status != 404 && (pods.is_empty() || status != 503)).await;
    }

    /// Waits until `GET /` on a host gets a status that will do.
    pub async fn until(&self, host: &str, enough: impl Fn(u16) -> bool) {
        for _ in 0..500 {
            if enough(self.get(host, "/__probe").await.0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{host} is not routed");
    }

    /// Status and text of a GET.
    pub async fn get(&self, host: &str, path: &str) -> (u16, String) {
        let response = self.send(Request::get(path).header("host", host).body(eyot_dispatch::empty()).unwrap()).await;
        let status = response.status().as_u16();
        (status, text(response).await)
    }

    /// Status and text of a GET of an absolute URI for a host.
    pub async fn fetch(uri: &str, host: &str) -> (u16, String) {
        let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::get(uri).header("host", host).body(eyot_dispatch::empty()).unwrap();
        let response = client.request(request).await.unwrap();
        (response.status().as_u16(), text(response).await)
    }

    /// Sends a request with a relative path over HTTP/1.1.
    pub async fn send(&self, request: Request<Body>) -> Response<hyper::body::Incoming> {
        self.try_send(request).await.expect("a response")
    }

    pub async fn try_send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, hyper_util::client::legacy::Error> {
        let path = request.uri().path_and_query().unwrap().as_str().to_owned();
        *request.uri_mut() = format!("http://{}{path}", self.address).parse().unwrap();
        let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
        client.request(request).await
    }
}

/// Whole body as text.
pub async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An address for a pod that has a handler: one where nothing listens, so that dialling it is refused at once.
pub fn pod(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 42, 0, last], 9))
}

/// A cluster IP that depends on the name.
pub fn cluster_ip(name: &str) -> String {
    format!("10.43.0.{}", name.bytes().fold(1_u8, |sum, byte| sum.wrapping_add(byte)))
}

/// A handler made of a function.
pub struct Pod<F>(pub F);

impl<F, R> Handler for Pod<F>
where
    F: Fn(Request<Body>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response<Body>, CallError>> + Send + 'static,
{
    fn handle(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin((self.0)(request))
    }
}

/// A pod that says `name`, the path and chosen headers.
pub fn says(name: &'static str) -> Arc<dyn Handler> {
    Arc::new(Pod(move |request: Request<Body>| async move {
        let header = |name: &str| request.headers().get(name).map_or("-", |it| it.to_str().unwrap()).to_owned();
        let text = format!(
            "{name} {} {} host={} for={} x={}",
            request.method(),
            request.uri().path_and_query().unwrap(),
            header("host"),
            header("x-forwarded-for"),
            header("x-test"),
        );
        Ok(Response::new(full(text)))
    }))
}

/// A pod that fails every request.
pub fn fails(error: impl Fn() -> CallError + Send + Sync + 'static) -> Arc<dyn Handler> {
    Arc::new(Pod(move |_: Request<Body>| {
        let error = error();
        async move { Err(error) }
    }))
}
