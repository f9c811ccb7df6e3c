//! `api`: the same operations against Eyot's API server and, when its kubeconfig is given, another one, in turn.
//!
//! Entry point: [`run`]. Everything happens in a namespace of its own, which is deleted afterwards. An operation that a
//! server refuses is reported as refused, and the others go on.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use eyot_testkit::Node;
use futures::{StreamExt, future::try_join_all};
use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    api::{WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{memory, report};

/// Requests under way at once.
const CONNECTIONS: usize = 8;
/// Whole lists that are timed.
const LISTS: usize = 5;
/// Objects of a chunk, as kubectl asks for them.
const CHUNK: usize = 500;
/// Watchers of one collection, and changes that each of them sees.
const WATCHERS: usize = 50;
const CHANGES: usize = 200;
/// A watcher that has not seen everything by then is given up.
const WATCH_MAX: Duration = Duration::from_secs(60);
/// Bytes of data in an object.
const DATA_BYTES: usize = 1024;

/// What to measure, and against whom.
pub(crate) struct Options {
    /// Kubeconfig of another API server.
    pub(crate) peer: Option<PathBuf>,
    /// Its processes, whose memory is told as one sum.
    pub(crate) peer_pids: Vec<u32>,
    /// Objects in the long list.
    pub(crate) objects: usize,
    /// Single operations of each sort.
    pub(crate) samples: usize,
}

pub(crate) async fn run(options: &Options) -> Result<Value> {
    let mut node = Node::start().await?;
    let pid = node.pid().context("the node has ended")?;
    let ours = Bench::new(node.client().await?, vec![pid], options).run().await.context("measuring Eyot")?;
    node.stop().await?;
    let mut results = json!({ "eyot": ours });
    if let Some(path) = &options.peer {
        let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let bench = Bench::new(Client::try_from(config)?, options.peer_pids.clone(), options);
        results["peer"] = bench.run().await.context("measuring the other API server")?;
    }
    Ok(results)
}

struct Bench<'a> {
    client: Client,
    pids: Vec<u32>,
    namespace: String,
    options: &'a Options,
}

impl<'a> Bench<'a> {
    fn new(client: Client, pids: Vec<u32>, options: &'a Options) -> Self {
        let namespace = format!("bench-{:08x}", rand::random::<u32>());
        Bench { client, pids, namespace, options }
    }

    async fn run(&self) -> Result<Value> {
        let namespace = json!({ "metadata": { "name": self.namespace } });
        self.send(request(Method::POST, "/api/v1/namespaces", JSON, &namespace)?).await?;
        let measured = self.measure().await;
        let gone = request(Method::DELETE, &format!("/api/v1/namespaces/{}", self.namespace), JSON, &Value::Null)?;
        self.send(gone).await.context("deleting the namespace")?;
        measured
    }

    async fn measure(&self) -> Result<Value> {
        let (maps, samples) = (self.maps(), self.options.samples);
        let idle = memory::resident_mib(&self.pids);
        let create = self.each(self.options.objects, |at| request(Method::POST, &maps, JSON, &map(at))).await?;
        let of = |at: usize| format!("{maps}/{}", name(at % self.options.objects.max(1)));
        let get = self.each(samples, |at| request(Method::GET, &of(at), JSON, &Value::Null)).await?;
        let list = self.lists().await?;
        let chunks = self.chunks().await?;
        let changed = |at: usize, how: &str| json!({ "data": { "changed": format!("{how} {at}") } });
        let update = self.each(samples, |at| {
            let mut object = map(at % self.options.objects.max(1));
            object["data"]["changed"] = format!("update {at}").into();
            request(Method::PUT, &of(at), JSON, &object)
        });
        let update = update.await?;
        let patch = |at: usize| request(Method::PATCH, &of(at), MERGE, &changed(at, "patch"));
        let patch = self.each(samples, patch).await?;
        let apply = self.each(samples, |at| {
            let mut object = changed(at, "apply");
            object["apiVersion"] = "v1".into();
            object["kind"] = "ConfigMap".into();
            object["metadata"]["name"] = format!("applied-{at}").into();
            let uri = format!("{maps}/applied-{at}?fieldManager=bench&force=true");
            request(Method::PATCH, &uri, APPLY, &object)
        });
        let apply = apply.await?;
        let fan_out = self.fan_out().await?;
        let full = memory::resident_mib(&self.pids);
        Ok(json!({
            "objects": self.options.objects, "connections": CONNECTIONS,
            "create": create, "get": get, "list": list, "list_in_chunks_of_500": chunks,
            "update": update, "merge_patch": patch, "server_side_apply": apply, "watch_fan_out": fan_out,
            "resident_mib_before": idle, "resident_mib_after": full,
        }))
    }

    fn maps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<String> {
        Ok(self.client.request_text(request).await?)
    }

    /// Times `count` requests, some at once.
    async fn each(&self, count: usize, make: impl Fn(usize) -> Result<http::Request<Vec<u8>>>) -> Result<Value> {
        let next = AtomicUsize::new(0);
        let began = Instant::now();
        let lanes = (0..CONNECTIONS).map(|_| async {
            let mut took = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return anyhow::Ok(took);
                }
                let request = make(at)?;
                let began = Instant::now();
                self.send(request).await?;
                took.push(began.elapsed());
            }
        });
        match try_join_all(lanes).await {
            Ok(lanes) => {
                let mut figures = report::summary(&lanes.concat());
                figures["per_second"] = (count as f64 / began.elapsed().as_secs_f64()).round().into();
                Ok(figures)
            }
            Err(error) => Ok(json!({ "refused": refusal(&error) })),
        }
    }

    async fn lists(&self) -> Result<Value> {
        let (mut took, mut bytes) = (Vec::new(), 0);
        for _ in 0..LISTS {
            let began = Instant::now();
            bytes = self.send(request(Method::GET, &self.maps(), JSON, &Value::Null)?).await?.len();
            took.push(began.elapsed());
        }
        let mut figures = report::summary(&took);
        figures["mib"] = ((bytes as f64 / f64::from(1 << 20) * 10.0).round() / 10.0).into();
        Ok(figures)
    }

    /// One walk over the whole list, chunk by chunk.
    async fn chunks(&self) -> Result<Value> {
        let (mut took, mut token, mut seen) = (Vec::new(), String::new(), 0);
        loop {
            let uri = format!("{}?limit={CHUNK}&continue={token}", self.maps());
            let began = Instant::now();
            let text = self.send(request(Method::GET, &uri, JSON, &Value::Null)?).await?;
            took.push(began.elapsed());
            let page: Value = serde_json::from_str(&text)?;
            seen += page["items"].as_array().map_or(0, Vec::len);
            match page["metadata"]["continue"].as_str().filter(|it| !it.is_empty()) {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        ensure!(seen >= self.options.objects, "the chunks held {seen} objects");
        Ok(report::summary(&took))
    }

    /// From the moment a change is sent to the moment each watcher has it.
    async fn fan_out(&self) -> Result<Value> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let watched = json!({ "metadata": { "name": "watched", "labels": { "watch": "me" } } });
        let text = self.send(request(Method::POST, &self.maps(), JSON, &watched)?).await?;
        let version = serde_json::from_str::<Value>(&text)?["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let version = version.context("an object without version")?;
        let sent: Mutex<Vec<Instant>> = Mutex::new(Vec::with_capacity(CHANGES));
        let watchers = (0..WATCHERS).map(|_| tokio::time::timeout(WATCH_MAX, watcher(&api, &version, &sent)));
        let writer = async {
            // Watches must be under way before the first change, or it would only measure their start.
            tokio::time::sleep(Duration::from_secs(1)).await;
            for at in 0..CHANGES {
                sent.lock().push(Instant::now());
                let patch = json!({ "data": { "at": at.to_string() } });
                self.send(request(Method::PATCH, &format!("{}/watched", self.maps()), MERGE, &patch)?).await?;
            }
            anyhow::Ok(())
        };
        let (seen, written) = tokio::join!(try_join_all(watchers), writer);
        written?;
        let delays: Result<Vec<Vec<Duration>>> = seen.context("a watcher fell behind")?.into_iter().collect();
        let mut figures = report::summary(&delays?.concat());
        figures["watchers"] = WATCHERS.into();
        Ok(figures)
    }
}

/// What a server said, without the whole of its status.
fn refusal(error: &anyhow::Error) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => format!("{} {}", status.code, status.message),
        _ => format!("{error:#}"),
    }
}

/// How long each change took to come here.
async fn watcher(api: &Api<ConfigMap>, version: &str, sent: &Mutex<Vec<Instant>>) -> Result<Vec<Duration>> {
    let mut events = api.watch(&WatchParams::default().labels("watch=me"), version).await?.boxed();
    let mut delays = Vec::with_capacity(CHANGES);
    while delays.len() < CHANGES {
        let event = events.next().await.context("a watch ended early")??;
        let WatchEvent::Modified(map) = event else { continue };
        let at = map.data.and_then(|it| it.get("at")?.parse::<usize>().ok()).context("an unknown change")?;
        let began = sent.lock().get(at).copied().context("a change that was not sent")?;
        delays.push(began.elapsed());
    }
    Ok(delays)
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

fn name(at: usize) -> String {
    format!("map-{at:06}")
}

fn map(at: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name(at), "labels": { "bench": "api" } },
        "data": { "text": "x".repeat(DATA_BYTES) },
    })
}

fn request(method: Method, uri: &str, media_type: &str, body: &Value) -> Result<http::Request<Vec<u8>>> {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = http::Request::builder().method(method).uri(uri);
    Ok(request.header(http::header::CONTENT_TYPE, media_type).body(bytes)?)
}
