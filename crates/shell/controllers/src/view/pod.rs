//! Pods as the controllers see them: about half a kilobyte each, since there may be many thousands.

use eyot_model::quantity::Quantity;
use eyot_plan::{
    Seconds,
    schedule::{self, Effect, HostPort, Resources, Term, Toleration},
    selector::Selector,
};
use serde::Deserialize;

use super::{
    Condition, Expression, Meta, Strings, Time, View,
    affinity::{PodAffinity, Rules, SpreadWire},
    nullable,
};

/// Annotation that ranks pods for deletion.
pub(crate) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Annotation and label that hold the completion index of a Job's pod.
pub(crate) const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotations that count the failures of an index of a Job before this pod.
pub(crate) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub(crate) const INDEX_IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// How far a pod has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Phase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    #[serde(other)]
    Unknown,
}

/// What the controllers know of a pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire")]
pub(crate) struct PodView {
    pub(crate) meta: Meta,
    pub(crate) node: Box<str>,
    pub(crate) phase: Phase,
    pub(crate) ip: Box<str>,
    /// Since when it is ready.
    pub(crate) ready_since: Option<Seconds>,
    pub(crate) restarts: i32,
    /// When its last container ended.
    pub(crate) finished: Option<Seconds>,
    pub(crate) requests: Resources,
    pub(crate) named_ports: Box<[NamedPort]>,
    /// Ports of its node that it takes.
    pub(crate) host_ports: Box<[HostPort]>,
    /// Host name and subdomain, when it has both.
    pub(crate) host: Option<Box<(String, String)>>,
    /// What only the scheduler asks, while there is no node yet.
    pub(crate) pending: Option<Box<Pending>>,
    /// How it failed, once it has.
    pub(crate) failure: Option<Box<Failure>>,
    /// What it asks of the pods around it; once it has a node, only which ones must stay apart.
    pub(crate) rules: Option<Box<Rules>>,
}

/// How a pod failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure {
    /// Names and exit codes of containers that ended.
    pub(crate) exits: Vec<(String, i32)>,
    /// Types and statuses of its conditions.
    pub(crate) conditions: Vec<(String, String)>,
}

/// A container port with a name.
#[derive(Clone, Debug)]
pub(crate) struct NamedPort {
    pub(crate) name: Box<str>,
    pub(crate) protocol: Box<str>,
    pub(crate) number: u16,
}

/// What a pod without node asks of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    pub(crate) scheduler: String,
    pub(crate) node_selector: Selector,
    pub(crate) affinity: Vec<Term>,
    pub(crate) tolerations: Vec<Toleration>,
    /// It must not be scheduled yet.
    pub(crate) gated: bool,
    /// Preferred node affinity, with weights.
    pub(crate) preferred: Vec<(Term, i32)>,
    /// Message of the `PodScheduled` condition, when that is false.
    pub(crate) verdict: Option<String>,
}

impl PodView {
    /// Neither succeeded nor failed.
    pub(crate) fn unfinished(&self) -> bool {
        !matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Counts for its controller: neither finished nor being deleted.
    pub(crate) fn active(&self) -> bool {
        self.unfinished() && !self.meta.deleting()
    }

    /// The node it is on or meant for, by a node affinity for that node's name; empty when there is none.
    pub(crate) fn target(&self) -> &str {
        if !self.node.is_empty() {
            return &self.node;
        }
        let terms = self.pending.iter().flat_map(|it| &it.affinity);
        let names = terms.flat_map(|it| &it.fields.requirements).filter(|it| it.key == "metadata.name");
        names.flat_map(|it| &it.values).next().map_or("", String::as_str)
    }

    /// What the scheduler decides on.
    pub(crate) fn demand(&self) -> schedule::Pod {
        let pending = self.pending.as_deref().cloned().unwrap_or_default();
        schedule::Pod {
            requests: self.requests,
            node_selector: pending.node_selector,
            affinity: pending.affinity,
            tolerations: pending.tolerations,
            preferred: pending.preferred,
            namespace: self.meta.namespace.to_string(),
            labels: self.meta.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ports: self.host_ports.to_vec(),
            ..schedule::Pod::default()
        }
    }

    /// Some pods must stay apart from it.
    pub(crate) fn repels(&self) -> bool {
        self.rules.as_ref().is_some_and(|it| !it.apart.is_empty())
    }
}

impl View for PodView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Wire {
    metadata: Meta,
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Box<str>,
    scheduler_name: String,
    containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    init_containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    node_selector: Strings,
    affinity: Option<Affinity>,
    #[serde(deserialize_with = "nullable")]
    tolerations: Vec<TolerationWire>,
    #[serde(deserialize_with = "nullable")]
    scheduling_gates: Vec<serde::de::IgnoredAny>,
    #[serde(deserialize_with = "nullable")]
    topology_spread_constraints: Vec<SpreadWire>,
    hostname: Option<String>,
    subdomain: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    #[serde(deserialize_with = "nullable")]
    ports: Vec<PortWire>,
    #[serde(deserialize_with = "nullable")]
    resources: ResourcesWire,
    restart_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PortWire {
    name: Box<str>,
    container_port: u16,
    protocol: Option<Box<str>>,
    host_port: u16,
    #[serde(rename = "hostIP")]
    host_ip: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResourcesWire {
    #[serde(deserialize_with = "nullable")]
    requests: Strings,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
    pod_affinity: Option<PodAffinity>,
    pod_anti_affinity: Option<PodAffinity>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeAffinity {
    required_during_scheduling_ignored_during_execution: Option<NodeTerms>,
    #[serde(deserialize_with = "nullable")]
    preferred_during_scheduling_ignored_during_execution: Vec<PreferredTerm>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PreferredTerm {
    weight: i32,
    preference: TermWire,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeTerms {
    node_selector_terms: Vec<TermWire>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TermWire {
    #[serde(deserialize_with = "nullable")]
    match_expressions: Vec<Expression>,
    #[serde(deserialize_with = "nullable")]
    match_fields: Vec<Expression>,
}

impl TermWire {
    fn compile(&self) -> Term {
        Term { labels: super::compile(&self.match_expressions), fields: super::compile(&self.match_fields) }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct TolerationWire {
    key: String,
    operator: String,
    value: String,
    effect: String,
    pub(crate) toleration_seconds: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    #[serde(deserialize_with = "nullable")]
    phase: Phase,
    #[serde(rename = "podIP", deserialize_with = "nullable")]
    pod_ip: Box<str>,
    #[serde(deserialize_with = "nullable")]
    conditions: Vec<Condition>,
    #[serde(deserialize_with = "nullable")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "nullable")]
    init_container_statuses: Vec<ContainerStatus>,
}

impl Status {
    fn failure(&self) -> Option<Box<Failure>> {
        if self.phase != Phase::Failed {
            return None;
        }
        let all = self.init_container_statuses.iter().chain(&self.container_statuses);
        let exits = all.filter_map(|it| Some((it.name.clone(), it.state.terminated.as_ref()?.exit_code)));
        let conditions = self.conditions.iter().map(|it| (it.kind.clone(), it.status.clone()));
        Some(Box::new(Failure { exits: exits.collect(), conditions: conditions.collect() }))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    restart_count: i32,
    #[serde(deserialize_with = "nullable")]
    state: State,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    terminated: Option<Terminated>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    exit_code: i32,
    finished_at: Option<Time>,
}

impl From<Wire> for PodView {
    fn from(wire: Wire) -> Self {
        let Wire { metadata: mut meta, spec, status } = wire;
        meta.annotations.retain(&[DELETION_COST, COMPLETION_INDEX, INDEX_FAILURES, INDEX_IGNORED]);
        let condition = |kind: &str| status.conditions.iter().find(|it| it.kind == kind);
        let ready = condition("Ready").filter(|it| it.status == "True");
        let ends = status.container_statuses.iter().filter_map(|it| it.state.terminated.as_ref()?.finished_at);
        let unscheduled = condition("PodScheduled").filter(|it| it.status == "False").map(|it| it.message.clone());
        Self {
            failure: status.failure(),
            phase: status.phase,
            ready_since: ready.map(|it| it.last_transition_time.map_or(0, |it| it.0)),
            restarts: status.container_statuses.iter().map(|it| it.restart_count).max().unwrap_or(0),
            finished: ends.map(|it| it.0).max(),
            requests: requests(&spec),
            named_ports: named_ports(&spec.containers),
            host_ports: host_ports(&spec),
            host: spec.hostname.clone().zip(spec.subdomain.clone()).map(Box::new),
            rules: rules(&spec),
            pending: spec.node_name.is_empty().then(|| Box::new(pending(&spec, unscheduled))),
            ip: status.pod_ip,
            node: spec.node_name,
            meta,
        }
    }
}

fn named_ports(containers: &[Container]) -> Box<[NamedPort]> {
    let ports = containers.iter().flat_map(|it| &it.ports).filter(|it| !it.name.is_empty());
    ports
        .map(|it| NamedPort {
            name: it.name.clone(),
            protocol: it.protocol.clone().unwrap_or_else(|| "TCP".into()),
            number: it.container_port,
        })
        .collect()
}

/// Initial containers that end have given their ports back by the time others ask for them.
fn host_ports(spec: &Spec) -> Box<[HostPort]> {
    let beside = spec.init_containers.iter().filter(|it| it.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(beside).flat_map(|it| &it.ports).filter(|it| it.host_port != 0);
    ports
        .map(|it| HostPort {
            address: it.host_ip.clone(),
            protocol: it.protocol.clone().unwrap_or_else(|| "TCP".into()),
            port: it.host_port,
        })
        .collect()
}

/// Containers run together, initial ones one after the other before them, those that stay on beside everything.
fn requests(spec: &Spec) -> Resources {
    let mut sum = Resources { pods: 1, ..Resources::default() };
    spec.containers.iter().for_each(|it| sum.add(request(it)));
    let (mut stay, mut peak) = (Resources::default(), Resources::default());
    for it in &spec.init_containers {
        let own = request(it);
        let mut with = stay;
        with.add(own);
        peak.cpu_milli = peak.cpu_milli.max(with.cpu_milli);
        peak.memory_bytes = peak.memory_bytes.max(with.memory_bytes);
        if it.restart_policy.as_deref() == Some("Always") {
            stay = with;
        }
    }
    sum.add(stay);
    sum.cpu_milli = sum.cpu_milli.max(peak.cpu_milli);
    sum.memory_bytes = sum.memory_bytes.max(peak.memory_bytes);
    sum
}

fn request(container: &Container) -> Resources {
    let amount = |key: &str| container.resources.requests.get(key).and_then(|it| it.parse::<Quantity>().ok());
    Resources {
        cpu_milli: amount("cpu").and_then(|it| u64::try_from(it.millis()).ok()).unwrap_or(0),
        memory_bytes: amount("memory").and_then(|it| u64::try_from(it.units()).ok()).unwrap_or(0),
        pods: 0,
    }
}

fn pending(spec: &Spec, verdict: Option<String>) -> Pending {
    let affinity = spec.affinity.as_ref();
    let required = affinity
        .and_then(|it| it.node_affinity.as_ref())
        .and_then(|it| it.required_during_scheduling_ignored_during_execution.as_ref());
    let preferred = affinity.and_then(|it| it.node_affinity.as_ref()).into_iter();
    let preferred = preferred.flat_map(|it| &it.preferred_during_scheduling_ignored_during_execution);
    Pending {
        scheduler: spec.scheduler_name.clone(),
        node_selector: Selector::equals(spec.node_selector.iter()),
        affinity: required.iter().flat_map(|it| &it.node_selector_terms).map(TermWire::compile).collect(),
        tolerations: spec.tolerations.iter().map(toleration).collect(),
        gated: !spec.scheduling_gates.is_empty(),
        preferred: preferred.map(|it| (it.preference.compile(), it.weight)).collect(),
        verdict,
    }
}

/// What the pod asks of other pods; of one that has a node only what still matters.
fn rules(spec: &Spec) -> Option<Box<Rules>> {
    let affinity = spec.affinity.as_ref();
    let (near, apart) =
        (affinity.and_then(|it| it.pod_affinity.as_ref()), affinity.and_then(|it| it.pod_anti_affinity.as_ref()));
    let required = |it: Option<&PodAffinity>| {
        it.map_or_else(Vec::new, |it| it.required_during_scheduling_ignored_during_execution.clone())
    };
    let preferred = |it: Option<&PodAffinity>| {
        it.map_or_else(Vec::new, |it| it.preferred_during_scheduling_ignored_during_execution.clone())
    };
    let mut rules = Rules { apart: required(apart), ..Rules::default() };
    if spec.node_name.is_empty() {
        rules.near = required(near);
        rules.near_preferred = preferred(near);
        rules.apart_preferred = preferred(apart);
        rules.spread = spec.topology_spread_constraints.iter().map(SpreadWire::compile).collect();
    }
    (!rules.is_empty()).then(|| Box::new(rules))
}

pub(crate) fn toleration(wire: &TolerationWire) -> Toleration {
    Toleration {
        key: wire.key.clone(),
        value: (wire.operator != "Exists").then(|| wire.value.clone()),
        effect: Effect::parse(&wire.effect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_controllers_need_and_skips_the_rest() {
        let text = r#"{"kind":"Pod","metadata":{"name":"a","namespace":"b","uid":"u","labels":{"z":"1","a":"2"},
            "annotations":{"x":"y","controller.kubernetes.io/pod-deletion-cost":"5"},"managedFields":[{"x":1}],
            "creationTimestamp":"2026-01-01T00:00:00Z","ownerReferences":[{"uid":"o","controller":true}]},
            "spec":{"containers":[{"name":"c","ports":[{"containerPort":80,"name":"web"},{"containerPort":81}],
            "resources":{"requests":{"cpu":"250m","memory":"1Mi"}}}],"initContainers":null},
            "status":{"phase":"Running","podIP":"10.42.0.7","conditions":[
            {"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-01T00:00:09Z"}],
            "containerStatuses":[{"restartCount":3,"state":{"running":{}}}]}}"#;
        let pod: PodView = serde_json::from_str(text).unwrap();
        assert_eq!(pod.meta.labels.get("a"), Some("2"));
        assert_eq!(pod.meta.annotations.iter().count(), 1);
        assert_eq!(pod.ready_since.map(|it| it - pod.meta.created()), Some(9));
        assert_eq!(pod.requests, Resources { cpu_milli: 250, memory_bytes: 1 << 20, pods: 1 });
        assert_eq!((pod.named_ports.len(), pod.named_ports[0].number), (1, 80));
        assert_eq!((pod.restarts, &*pod.ip, pod.phase), (3, "10.42.0.7", Phase::Running));
        assert!(pod.pending.is_some() && pod.active());
    }

    #[test]
    fn initial_containers_count_by_their_peak() {
        let text = r#"{"spec":{"nodeName":"n","containers":[{"resources":{"requests":{"cpu":"100m"}}}],"initContainers":[
            {"restartPolicy":"Always","resources":{"requests":{"cpu":"50m"}}},
            {"resources":{"requests":{"cpu":"300m"}}}]}}"#;
        let pod: PodView = serde_json::from_str(text).unwrap();
        assert_eq!(pod.requests.cpu_milli, 350);
    }
}
