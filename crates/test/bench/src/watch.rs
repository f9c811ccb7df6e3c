//! Watches pods for as little of the shared processor as it can: of each object only readiness is decoded.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use eyot_testkit::{Node, Options};
use futures::{Stream, StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{ApiResource, ListParams, Object, ObjectList, PostParams, WatchEvent, WatchParams},
    core::NotUsed,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest wait for the next event that brings an end nearer.
const EVENT_MAX: Duration = Duration::from_secs(60);

/// Pods that the default range of addresses has room for.
const DEFAULT_RANGE_PODS: usize = 60_000;

/// The part of a pod's status that counts here.
#[derive(Clone, Debug, Default, Deserialize, serde::Serialize)]
pub(crate) struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize, serde::Serialize)]
struct Condition {
    r#type: String,
    status: String,
}

type Light = Object<NotUsed, Status>;

/// A watch of the pods of the default namespace, and which of them are there and Ready.
pub(crate) struct Pods {
    events: BoxStream<'static, kube::Result<WatchEvent<Light>>>,
    pub(crate) ready: BTreeSet<String>,
    pub(crate) present: BTreeSet<String>,
}

/// What an event was about.
#[derive(Debug)]
pub(crate) enum Seen {
    Ready(String),
    Other,
}

impl Pods {
    /// Watches from now on, with what is there already.
    pub(crate) async fn start(client: &Client) -> Result<Self> {
        let api: Api<Light> = Api::default_namespaced_with(client.clone(), &ApiResource::erase::<Pod>(&()));
        let list: ObjectList<Light> = api.list(&ListParams::default()).await.context("listing pods")?;
        let version = list.metadata.resource_version.clone().context("a list without a version")?;
        let params = WatchParams::default().timeout(290);
        let events = watch(api, params, version).await?.boxed();
        let mut pods = Pods { events, ready: BTreeSet::new(), present: BTreeSet::new() };
        list.items.into_iter().for_each(|pod| drop(pods.note(pod)));
        Ok(pods)
    }

    /// Takes in the next event.
    pub(crate) async fn next(&mut self) -> Result<Seen> {
        let event = tokio::time::timeout(EVENT_MAX, self.events.next()).await;
        match event.context("no pod changes any more")?.context("the watch ended")?? {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => Ok(self.note(pod)),
            WatchEvent::Deleted(pod) => {
                let name = pod.metadata.name.unwrap_or_default();
                self.ready.remove(&name);
                self.present.remove(&name);
                Ok(Seen::Other)
            }
            WatchEvent::Bookmark(_) => Ok(Seen::Other),
            WatchEvent::Error(error) => bail!("the watch broke: {error:?}"),
        }
    }

    /// Waits until so many pods are Ready.
    pub(crate) async fn until_ready(&mut self, count: usize) -> Result<()> {
        while self.ready.len() < count {
            let so_far = self.ready.len();
            self.next().await.with_context(|| format!("{so_far} of {count} are Ready"))?;
        }
        Ok(())
    }

    /// Waits until no pod is left.
    pub(crate) async fn until_gone(&mut self) -> Result<()> {
        while !self.present.is_empty() {
            let left = self.present.len();
            self.next().await.with_context(|| format!("{left} are left"))?;
        }
        Ok(())
    }

    fn note(&mut self, pod: Light) -> Seen {
        let name = pod.metadata.name.unwrap_or_default();
        self.present.insert(name.clone());
        let conditions = pod.status.unwrap_or_default().conditions;
        let is_ready = conditions.iter().any(|it| it.r#type == "Ready" && it.status == "True");
        if !is_ready {
            self.ready.remove(&name);
            return Seen::Other;
        }
        self.ready.insert(name.clone());
        Seen::Ready(name)
    }
}

async fn watch(
    api: Api<Light>,
    params: WatchParams,
    version: String,
) -> Result<impl Stream<Item = kube::Result<WatchEvent<Light>>> + 'static> {
    Ok(api.watch(&params, &version).await.context("watching pods")?.boxed())
}

/// A quiet node on a fresh directory with the whole default pod range and `hello` in its registry.
pub(crate) async fn node() -> Result<Node> {
    with_hello(options()).await
}

/// The same with addresses for so many pods.
pub(crate) async fn node_for(pods: usize) -> Result<Node> {
    let mut options = options();
    if pods > DEFAULT_RANGE_PODS {
        options.args = ["--cluster-cidr", "10.144.0.0/12"].map(str::to_owned).to_vec();
    }
    with_hello(options).await
}

async fn with_hello(options: Options) -> Result<Node> {
    let node = Node::start_with(options).await?;
    node.push("hello").await?;
    Ok(node)
}

/// How nodes are started for measuring.
pub(crate) fn options() -> Options {
    let args = ["--cluster-cidr", "10.42.0.0/16"].map(str::to_owned).to_vec();
    Options { data_dir: None, args, env: vec![("RUST_LOG".to_owned(), "error".to_owned())] }
}

/// A pod of `hello`.
pub(crate) fn hello(node: &Node, name: &str) -> Result<Pod> {
    let metadata = json!({ "name": name, "labels": { "app": "bench" } });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template(node) });
    Ok(serde_json::from_value(pod)?)
}

/// A Deployment of `hello` without any replicas.
pub(crate) async fn deployment(node: &Node, client: &Client) -> Result<Api<k8s_openapi::api::apps::v1::Deployment>> {
    let api = Api::default_namespaced(client.clone());
    let labels = json!({ "app": "bench" });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "bench" },
        "spec": { "replicas": 0, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": template(node) } },
    });
    api.create(&PostParams::default(), &serde_json::from_value(deployment)?)
        .await
        .context("creating the Deployment")?;
    Ok(api)
}

fn template(node: &Node) -> Value {
    let container = json!({
        "name": "hello", "image": node.localized("localhost:5000/hello:v1"), "ports": [{ "containerPort": 8080 }],
        "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
    });
    json!({ "runtimeClassName": "wasm", "containers": [container] })
}

/// Sets the Deployment's replicas and says when the request was sent.
pub(crate) async fn replicas(api: &Api<k8s_openapi::api::apps::v1::Deployment>, count: usize) -> Result<Instant> {
    let patch = kube::api::Patch::Merge(json!({ "spec": { "replicas": count } }));
    let began = Instant::now();
    api.patch_scale("bench", &kube::api::PatchParams::default(), &patch).await.context("scaling")?;
    Ok(began)
}
