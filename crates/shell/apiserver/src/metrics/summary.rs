//! What nodes say that was used, and the rates that two such answers make. Entry point: [`look`].

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use eyot_model::status::ApiError;
use http::Request;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::{Body, body, server::Shared};

/// Largest answer of a node: a kibibyte or so for each container of the 250,000 pods that one takes at most.
const ANSWER_BYTES_MAX: usize = 384 << 20;
/// Answers are kept this far apart, so that those who ask often see more than the last moment.
const APART: Duration = Duration::from_secs(10);
/// An answer older than this says nothing about now.
const FRESH: Duration = Duration::from_secs(60);
/// Where no fresh answer is kept, a second one is asked for after this.
const MOMENT: Duration = Duration::from_millis(300);
/// No rate is told over less.
const SHORTEST: Duration = Duration::from_millis(1);
/// Answers kept of each node.
const KEPT: usize = 2;

/// Earlier answers of the nodes, oldest first.
#[derive(Default)]
pub(crate) struct Usages(Mutex<HashMap<String, VecDeque<Arc<Sample>>>>);

/// One answer.
struct Sample {
    at: Instant,
    summary: Summary,
    /// Where each pod is among the summary's.
    pods: HashMap<(String, String), usize>,
}

/// Two answers of a node.
pub(super) struct Look {
    before: Arc<Sample>,
    now: Arc<Sample>,
}

/// What of a container is counted.
#[derive(Clone, Copy)]
pub(super) enum Counted<'a> {
    /// Seconds of processor time.
    Cpu,
    /// What the container counts under a name.
    Metric(&'a str),
}

#[derive(Deserialize)]
struct Summary {
    node: Machine,
    pods: Vec<Pod>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    cpu: Cpu,
    pub(super) memory: Memory,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pod {
    pod_ref: PodRef,
    pub(super) containers: Vec<Container>,
}

#[derive(Deserialize)]
struct PodRef {
    name: String,
    namespace: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    start_time: Timestamp,
    cpu: Cpu,
    pub(super) memory: Memory,
    #[serde(default)]
    user_defined_metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    usage_core_nano_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memory {
    pub(super) working_set_bytes: u64,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    value: f64,
}

impl Container {
    /// What it counts under a name.
    pub(super) fn metric(&self, name: &str) -> Option<f64> {
        self.user_defined_metrics.iter().find(|it| it.name == name).map(|it| it.value)
    }

    fn counted(&self, what: Counted<'_>) -> f64 {
        match what {
            Counted::Cpu => self.cpu.usage_core_nano_seconds as f64 / 1e9,
            Counted::Metric(name) => self.metric(name).unwrap_or_default(),
        }
    }
}

impl Usages {
    /// The oldest fresh answer that is kept of a node.
    fn fresh(&self, node: &str, now: Instant) -> Option<Arc<Sample>> {
        let mut kept = self.0.lock();
        let kept = kept.get_mut(node)?;
        kept.retain(|it| now.duration_since(it.at) < FRESH);
        kept.front().cloned()
    }

    fn keep(&self, node: &str, sample: &Arc<Sample>) {
        let mut all = self.0.lock();
        let kept = all.entry(node.to_owned()).or_default();
        if kept.back().is_some_and(|it| sample.at.duration_since(it.at) < APART) {
            return;
        }
        kept.push_back(sample.clone());
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
}

impl Look {
    /// What the whole node has.
    pub(super) fn node(&self) -> &Machine {
        &self.now.summary.node
    }

    /// Cores that the whole node uses, and over which time.
    pub(super) fn node_rate(&self) -> (f64, Duration) {
        let of = |it: &Sample| it.summary.node.cpu.usage_core_nano_seconds;
        let window = self.window();
        (of(&self.now).saturating_sub(of(&self.before)) as f64 / 1e9 / window.as_secs_f64(), window)
    }

    /// What a pod has used.
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.now.pod(namespace, name)
    }

    /// How much of something a container uses each second, and over which time: since the earlier answer, or since it
    /// started where that is later.
    pub(super) fn rate(&self, pod: &Pod, container: &Container, what: Counted<'_>) -> (f64, Duration) {
        let now = container.counted(what);
        let earlier = self.before.pod(&pod.pod_ref.namespace, &pod.pod_ref.name);
        let earlier = earlier.and_then(|it| it.containers.iter().find(|it| it.name == container.name));
        let earlier = earlier.filter(|it| it.start_time == container.start_time);
        let (before, window) = match earlier {
            Some(earlier) => (earlier.counted(what), self.window()),
            None => (0.0, self.window().min(age(container.start_time))),
        };
        ((now - before).max(0.0) / window.as_secs_f64(), window)
    }

    fn window(&self) -> Duration {
        self.now.at.duration_since(self.before.at).max(SHORTEST)
    }
}

/// How long ago a container started, by the clock.
fn age(started: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default().max(SHORTEST)
}

impl Sample {
    fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        let at = self.pods.get(&(namespace.to_owned(), name.to_owned()))?;
        self.summary.pods.get(*at)
    }
}

/// Asks every node that is connected.
///
/// # Errors
/// A node that cannot be asked, or gives an answer that cannot be read.
pub(super) async fn look(server: &Shared) -> Result<HashMap<String, Look>, ApiError> {
    let mut looks = HashMap::new();
    for node in server.kubelets.names() {
        let Some(mut now) = ask(server, &node).await? else { continue };
        let before = match server.usages.fresh(&node, now.at) {
            Some(before) => before,
            None => {
                tokio::time::sleep(MOMENT).await;
                let Some(later) = ask(server, &node).await? else { continue };
                std::mem::replace(&mut now, later)
            }
        };
        server.usages.keep(&node, &now);
        looks.insert(node, Look { before, now });
    }
    Ok(looks)
}

async fn ask(server: &Shared, node: &str) -> Result<Option<Arc<Sample>>, ApiError> {
    let Some(kubelet) = server.kubelets.get(node) else { return Ok(None) };
    let failed = |it: &dyn std::fmt::Display| ApiError::internal(format!("asking node {node} what is used: {it}"));
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/stats/summary");
    let response = kubelet(request).await.map_err(|it| failed(&it))?;
    if !response.status().is_success() {
        return Err(failed(&response.status()));
    }
    let bytes = body::collect(response.into_body(), ANSWER_BYTES_MAX).await.map_err(|it| failed(&it))?;
    let summary: Summary = serde_json::from_slice(&bytes).map_err(|it| failed(&it))?;
    let name = |it: &Pod| (it.pod_ref.namespace.clone(), it.pod_ref.name.clone());
    let pods = summary.pods.iter().enumerate().map(|(at, pod)| (name(pod), at)).collect();
    Ok(Some(Arc::new(Sample { at: Instant::now(), summary, pods })))
}
