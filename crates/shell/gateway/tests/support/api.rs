//! Enough of a Kubernetes API to list, watch and patch statuses of objects in memory.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone)]
pub struct Api {
    state: Arc<Mutex<State>>,
    revision: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    /// By collection path, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    log: Vec<(String, Value)>,
    /// Writes of statuses.
    patches: usize,
}

impl Default for Api {
    fn default() -> Self {
        Self { state: Arc::default(), revision: Arc::new(watch::Sender::new(1)) }
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl Api {
    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<Answer, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Creates or replaces an object; a status that is there stays.
    pub fn put(&self, mut object: Value) {
        let key = key(&object);
        let mut state = self.state.lock().unwrap();
        let before = state.objects.get(&key).cloned();
        if let (Some(before), None) = (&before, object.get("status")) {
            object["status"] = before["status"].clone();
        }
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.store(&mut state, key, object, kind);
    }

    pub fn delete(&self, object: &Value) {
        let key = key(object);
        let mut state = self.state.lock().unwrap();
        if let Some(mut object) = state.objects.remove(&key) {
            let revision = self.next(&mut object);
            state.log.push((key.0, json!({"type": "DELETED", "object": object})));
            self.revision.send_replace(revision);
        }
    }

    /// The object of a plural, such as `httproutes`.
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Value {
        let state = self.state.lock().unwrap();
        let found =
            state.objects.iter().find(|((path, ns, it), _)| path.ends_with(plural) && ns == namespace && it == name);
        found.map_or(Value::Null, |(_, object)| object.clone())
    }

    /// How many statuses were written.
    pub fn patches(&self) -> usize {
        self.state.lock().unwrap().patches
    }

    /// Objects of a plural.
    pub fn all(&self, plural: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.objects.iter().filter(|((path, ..), _)| path.ends_with(plural)).map(|(_, it)| it.clone()).collect()
    }

    fn next(&self, object: &mut Value) -> u64 {
        let revision = *self.revision.borrow() + 1;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        revision
    }

    fn store(&self, state: &mut State, key: (String, String, String), mut object: Value, kind: &str) {
        let revision = self.next(&mut object);
        state.log.push((key.0.clone(), json!({"type": kind, "object": object})));
        state.objects.insert(key, object);
        self.revision.send_replace(revision);
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Answer {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or("").to_owned();
        let method = request.method().clone();
        if method == Method::GET && query.contains("watch=true") {
            return self.watch(path, &query);
        }
        if method == Method::GET {
            let state = self.state.lock().unwrap();
            let items: Vec<&Value> =
                state.objects.iter().filter(|((it, ..), _)| *it == path).map(|(_, it)| it).collect();
            return whole(&json!({
                "kind": "List", "apiVersion": "v1", "items": items,
                "metadata": {"resourceVersion": self.revision.borrow().to_string()},
            }));
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        if method == Method::POST {
            let mut object = body;
            object["metadata"]["namespace"] = parts[parts.len() - 2].into();
            self.put(object.clone());
            return whole(&object);
        }
        assert_eq!((&method, parts.last()), (&Method::PATCH, Some(&"status")), "{path}");
        let name = parts[parts.len() - 2];
        let namespace = parts.iter().position(|it| *it == "namespaces").map_or("", |at| parts[at + 1]);
        let mut state = self.state.lock().unwrap();
        state.patches += 1;
        let found = state.objects.iter().find(|((plural, ns, it), _)| {
            it == name && ns == namespace && parts.contains(&plural.rsplit('/').next().unwrap())
        });
        let (key, object) = found.map(|(key, object)| (key.clone(), object.clone())).expect("the object");
        let mut object = object;
        object["status"] = body["status"].clone();
        self.store(&mut state, key, object.clone(), "MODIFIED");
        whole(&object)
    }

    fn watch(&self, path: String, query: &str) -> Answer {
        let from = query.split('&').find_map(|it| it.strip_prefix("resourceVersion=")).unwrap_or("0");
        let from: u64 = from.parse().unwrap();
        let state = self.state.clone();
        let changes = tokio_stream(self.revision.subscribe());
        let mut seen = from;
        let lines = changes.map(move |_| {
            let state = state.lock().unwrap();
            let mut lines = String::new();
            for (_, event) in state.log.iter().filter(|(it, _)| *it == path) {
                let revision: u64 = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                if revision > seen {
                    seen = revision;
                    lines += &format!("{event}\n");
                }
            }
            Ok(Frame::data(Bytes::from(lines)))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

/// One item now and one for each change.
fn tokio_stream(receiver: watch::Receiver<u64>) -> impl futures::Stream<Item = u64> + Send {
    futures::stream::unfold((receiver, true), |(mut receiver, first)| async move {
        if !first && receiver.changed().await.is_err() {
            return None;
        }
        let revision = *receiver.borrow_and_update();
        Some((revision, (receiver, false)))
    })
}

fn whole(value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
    Response::builder().header("content-type", "application/json").body(body).unwrap()
}

fn key(object: &Value) -> (String, String, String) {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let plural = match kind {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        "GatewayClass" => "gatewayclasses".to_owned(),
        "Ingress" => "ingresses".to_owned(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    let path =
        if version.contains('/') { format!("/apis/{version}/{plural}") } else { format!("/api/{version}/{plural}") };
    let meta = &object["metadata"];
    (path, meta["namespace"].as_str().unwrap_or("").to_owned(), meta["name"].as_str().unwrap().to_owned())
}
