//! An API server on a fresh store, and short ways to ask it things.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use eyot_apiserver::{ApiServer, Body, Config, Identity, attributes, bootstrap, pki};
use eyot_store::{Options, Store};
use eyot_vap::AdmissionPolicies;
use http::{Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

pub(crate) struct Server {
    pub(crate) api: ApiServer,
    pub(crate) store: Store,
    identity: Identity,
    dir: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_with(Options::new(attributes)).await
    }

    pub(crate) async fn start_with(options: Options) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), options).unwrap();
        let config = Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 };
        let api = ApiServer::with_engines(store.clone(), config, vec![Arc::new(AdmissionPolicies::new())]);
        bootstrap(&api).await.unwrap();
        Server { api, store, identity: Identity::component("test"), dir }
    }

    /// As with a data directory: an API server with keys and a CA.
    pub(crate) async fn with_keys() -> Server {
        let server = Server::start().await;
        let pki = pki::Pki::open(&server.dir.path().join("pki"), &pki::ServerNames::default()).unwrap();
        server.api.set_credentials(pki.credentials().unwrap());
        server
    }

    /// An API server on a store that somebody else keeps.
    pub(crate) async fn over(api: ApiServer, store: Store) -> Server {
        bootstrap(&api).await.unwrap();
        Server { api, store, identity: Identity::component("test"), dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn identify(&mut self, identity: Identity) {
        self.identity = identity;
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.api.service(self.identity.clone()).oneshot(request).await.unwrap()
    }

    pub(crate) async fn call(&self, method: Method, uri: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, content_type);
        read(self.send(request.body(Body::full(body)).unwrap()).await).await
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.call(Method::GET, uri, "application/json", "").await
    }

    pub(crate) async fn accept(&self, uri: &str, accept: &str) -> Answer {
        let request = Request::builder().uri(uri).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
        read(self.send(request).await).await
    }

    pub(crate) async fn post(&self, uri: &str, object: Value) -> Answer {
        self.call(Method::POST, uri, "application/json", object.to_string()).await
    }

    pub(crate) async fn put(&self, uri: &str, object: Value) -> Answer {
        self.call(Method::PUT, uri, "application/json", object.to_string()).await
    }

    pub(crate) async fn delete(&self, uri: &str, options: Value) -> Answer {
        self.call(Method::DELETE, uri, "application/json", options.to_string()).await
    }

    pub(crate) async fn merge(&self, uri: &str, patch: Value) -> Answer {
        self.call(Method::PATCH, uri, "application/merge-patch+json", patch.to_string()).await
    }

    /// Creates a ConfigMap of the default namespace.
    pub(crate) async fn map(&self, name: &str, labels: Value) -> Value {
        let created = self.post(MAPS, json!({"metadata": {"name": name, "labels": labels}})).await;
        assert_eq!(created.code, 201, "{}", created.body);
        created.body
    }

    pub(crate) async fn watch(&self, uri: &str) -> Events {
        let response = self.send(Request::get(uri).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Events { body: response.into_body(), buffer: Vec::new() }
    }
}

pub(crate) async fn read(response: Response<Body>) -> Answer {
    let code = response.status().as_u16();
    let warnings =
        response.headers().get_all(header::WARNING).iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
    Answer { code, body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()), warnings }
}

/// A watch's events.
pub(crate) struct Events {
    body: Body,
    buffer: Vec<u8>,
}

impl Events {
    /// The next event; `None` when the watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|it| *it == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = tokio::time::timeout(std::time::Duration::from_secs(120), frame).await.expect("an event");
            self.buffer.extend_from_slice(&frame?.unwrap().into_data().unwrap());
        }
    }

    /// The next event as `TYPE name`.
    pub(crate) async fn brief(&mut self) -> String {
        match self.next().await {
            Some(event) => {
                let text = |it: &Value| it.as_str().unwrap_or("-").to_owned();
                format!("{} {}", text(&event["type"]), text(&event["object"]["metadata"]["name"]))
            }
            None => "END".to_owned(),
        }
    }
}

pub(crate) fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|it| it["metadata"]["name"].as_str().unwrap()).collect()
}

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "localhost:5000/hello:1"}]},
    })
}
