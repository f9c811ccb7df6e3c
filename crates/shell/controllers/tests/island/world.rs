//! An API server on a fresh store, with controllers and a fake node.

use std::{sync::Arc, time::Duration};

use eyot_apiserver::{ApiServer, Config, Identity, attributes, bootstrap};
use eyot_controllers::Controllers;
use eyot_dispatch::Loads;
use eyot_meter::Meters;
use eyot_store::{Options, Store};
use http::{Method, Request, header};
use kube::Client;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::node::{FakeNode, Seen};

/// Longest any condition may take; far more than it takes, for busy machines.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) api: ApiServer,
    pub(crate) client: Client,
    pub(crate) seen: Arc<Seen>,
    /// Where requests to functions are counted.
    pub(crate) loads: Arc<Loads>,
    /// Where requests to Services and routes are counted.
    pub(crate) meters: Arc<Meters>,
    controllers: Option<(CancellationToken, JoinHandle<()>)>,
    _node: FakeNode,
    _dir: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::new(attributes)).unwrap();
        let config = Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 };
        let api = ApiServer::with_engines(store, config, vec![Arc::new(eyot_serving::Serving)]);
        bootstrap(&api).await.unwrap();
        let client = Client::new(api.service(Identity::component("test")), "default");
        let node = FakeNode::start(client.clone()).await;
        let mut world = World {
            api,
            client,
            seen: node.seen.clone(),
            loads: Arc::default(),
            meters: Arc::default(),
            controllers: None,
            _node: node,
            _dir: dir,
        };
        world.api.set_meters(world.meters.clone());
        world.start_controllers().await;
        world
    }

    pub(crate) async fn start_controllers(&mut self) {
        let config = eyot_controllers::Config {
            cluster_ca: Some("CERTIFICATE".into()),
            node_grace: Duration::from_millis(1500),
            loads: self.loads.clone(),
            meters: self.meters.clone(),
            ..Default::default()
        };
        let controllers = Controllers::new(self.client.clone(), config);
        let (synced, token) = (controllers.synced(), CancellationToken::new());
        let task = tokio::spawn(controllers.run(token.clone()));
        tokio::time::timeout(PATIENCE, synced.wait()).await.expect("controllers synced");
        self.controllers = Some((token, task));
    }

    /// Drops the controllers where they stand, as a crash does.
    pub(crate) async fn crash_controllers(&mut self) {
        if let Some((_, task)) = self.controllers.take() {
            task.abort();
            let _ = task.await;
        }
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: Value) -> Result<Value, kube::Error> {
        let content_type = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, content_type);
        self.client.request(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        match self.request(Method::GET, path, Value::Null).await {
            Ok(found) => Some(found),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        self.get(path).await.and_then(|mut it| it["items"].as_array_mut().map(std::mem::take)).unwrap_or_default()
    }

    pub(crate) async fn create(&self, path: &str, body: Value) -> Value {
        self.request(Method::POST, path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) async fn merge(&self, path: &str, patch: Value) -> Value {
        self.request(Method::PATCH, path, patch).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) async fn delete(&self, path: &str, propagation: &str) {
        let options = json!({"propagationPolicy": propagation});
        self.request(Method::DELETE, path, options).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Waits until the object at `path` (`null` when there is none) satisfies `holds`.
    #[track_caller]
    pub(crate) fn until<'a>(
        &'a self,
        path: &'a str,
        what: &'a str,
        holds: impl Fn(&Value) -> bool + 'a,
    ) -> impl Future<Output = Value> + 'a {
        let at = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let found = self.get(path).await.unwrap_or_default();
                if holds(&found) {
                    return found;
                }
                assert!(Instant::now() < deadline, "{at}: {path} never came to: {what}; it is {found:#}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    pub(crate) async fn deployment(&self, name: &str, replicas: i32, spec: Value) -> Value {
        let mut body = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": template(name, json!({})),
            },
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            body["spec"][key] = value.clone();
        }
        self.create(DEPLOYMENTS, body).await
    }

    pub(crate) async fn available(&self, name: &str, replicas: i32) -> Value {
        let path = format!("{DEPLOYMENTS}/{name}");
        self.until(&path, "rolled out", |it| rolled_out(it, replicas)).await
    }

    /// Pods of this app that are neither finished nor being deleted.
    pub(crate) async fn pods(&self, app: &str) -> Vec<Value> {
        let mut pods = self.list(&format!("{PODS}?labelSelector=app%3D{app}")).await;
        pods.retain(|it| it["metadata"].get("deletionTimestamp").is_none());
        pods
    }
}

pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
pub(crate) const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const EVENTS: &str = "/api/v1/namespaces/default/events";

pub(crate) fn template(app: &str, annotations: Value) -> Value {
    json!({
        "metadata": {"labels": {"app": app}, "annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "localhost:5000/hello:1"}]},
    })
}

/// Waits until the list at `path` has this many items.
pub(crate) async fn until_count(world: &World, path: &str, count: usize) -> Vec<Value> {
    let what = format!("{count} items");
    let has = |it: &Value| it["items"].as_array().is_some_and(|it| it.len() == count);
    let mut list = world.until(path, &what, has).await;
    list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
}

/// Where an object of a list of namespaced objects is.
pub(crate) fn path_of(collection: &str, object: &Value) -> String {
    format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap_or_default())
}

pub(crate) fn number(of: &Value) -> i64 {
    of.as_i64().unwrap_or(0)
}

pub(crate) fn rolled_out(deployment: &Value, replicas: i32) -> bool {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let replicas = i64::from(replicas);
    number(&spec["replicas"]) == replicas
        && number(&status["observedGeneration"]) >= number(&deployment["metadata"]["generation"])
        && ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]
            .iter()
            .all(|it| number(&status[it]) == replicas)
}

pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    static NONE: Value = Value::Null;
    object["status"]["conditions"].as_array().and_then(|it| it.iter().find(|it| it["type"] == kind)).unwrap_or(&NONE)
}

pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["annotations"][key].as_str().unwrap_or("")
}
