//! What rendering needs to know of a scenario and its answer. Entry point: [`Brief::of`].

use std::collections::BTreeMap;

use super::promise::{self, Promise};
use crate::{Catalog, Decision, Lang, Scenario, Text, catalog::Chart, layer::Layer};

/// What the files are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A machine with Eyot.
    Eyot,
    /// A cluster of Kubernetes or K3s.
    Cluster,
    /// Eyot at the edge or as a trial, and a cluster beside it.
    Both,
}

/// The scenario and the chosen stack, as far as files depend on them.
#[derive(Clone, Debug)]
pub struct Brief {
    /// A name that objects can have.
    pub name: String,
    /// The scenario's own title.
    pub title: String,
    /// What the files are for.
    pub target: Target,
    /// The option of each layer.
    pub stack: BTreeMap<Layer, String>,
    /// What people call each option.
    pub names: BTreeMap<Layer, Text>,
    /// The scenario's kind.
    pub kind: String,
    /// Nodes of a cluster; 1 when nobody says.
    pub nodes: i64,
    /// Sites, each with a cluster of its own.
    pub sites: i64,
    /// Services; 1 when nobody says.
    pub services: i64,
    /// Pods a node must carry.
    pub density: Option<i64>,
    /// What replicas follow; empty for nothing.
    pub autoscaling: String,
    /// How complex policies are; empty for none.
    pub policy: String,
    /// Which network policies are needed; empty for none.
    pub network_policy: String,
    /// Whether a node may be lost.
    pub high_availability: bool,
    /// Whether a graphics processor is asked for.
    pub gpu: bool,
    /// The protocols other than HTTP.
    pub protocols: Vec<String>,
    /// What the stack promises.
    pub promises: Vec<Promise>,
    /// The scenario as a file.
    pub scenario: String,
    /// The keys of other projects' files that may be written.
    pub charts: Vec<Chart>,
}

impl Brief {
    /// Of the best stack.
    pub fn of(scenario: &Scenario, decision: &Decision, catalog: &Catalog) -> Self {
        let stack: BTreeMap<Layer, String> =
            decision.chosen().stack.iter().map(|(layer, id)| (layer, id.to_string())).collect();
        let named = |(layer, id): (&Layer, &String)| {
            (*layer, catalog.technology(id).map_or_else(|| Text::name(id), |it| it.name.clone()))
        };
        let most = |key: &str| scenario.range(key).map(|it| it.most().unwrap_or(it.low));
        let kind = scenario.word("kind").to_owned();
        let some = |key: &str| Some(scenario.word(key)).filter(|it| *it != "none").unwrap_or_default().to_owned();
        let protocols = ["mqtt", "opcua", "kafka", "amqp"].into_iter().filter(|it| scenario.lists("protocols", it));
        Self {
            name: object_name(scenario.title()),
            title: scenario.title().to_owned(),
            target: target(&stack, &kind),
            names: stack.iter().map(named).collect(),
            stack,
            nodes: most("nodes").unwrap_or(1).max(1),
            sites: most("sites").unwrap_or(1).max(1),
            services: most("services").unwrap_or(1).max(1),
            density: scenario.range("density").map(|it| it.low),
            autoscaling: some("autoscaling"),
            policy: some("policy"),
            network_policy: some("networkPolicy"),
            high_availability: scenario.flag("highAvailability"),
            gpu: matches!(scenario.word("gpu"), "optional" | "required"),
            protocols: protocols.map(str::to_owned).collect(),
            promises: promise::promises(scenario, decision, catalog),
            scenario: scenario.to_yaml(),
            charts: catalog.charts.clone(),
            kind,
        }
    }

    /// The option of a layer.
    pub fn at(&self, layer: Layer) -> &str {
        self.stack.get(&layer).map_or("", String::as_str)
    }

    /// What people call the option of a layer.
    pub fn named(&self, layer: Layer, lang: Lang) -> &str {
        self.names.get(&layer).map_or("", |it| it.get(lang))
    }

    /// Whether programs are WebAssembly.
    pub fn runs_wasm(&self) -> bool {
        self.at(Layer::Runtime).contains("wasmedge")
    }

    /// Replicas to begin with: as many as survive what must be survived.
    pub fn replicas(&self) -> i64 {
        match (self.high_availability, self.autoscaling.is_empty()) {
            (true, _) => 3,
            (false, false) => 1,
            (false, true) => 2,
        }
    }
}

/// Eyot stands for light orchestrators with WebAssembly; what Kubernetes orchestrates goes to a cluster.
fn target(stack: &BTreeMap<Layer, String>, kind: &str) -> Target {
    let at = |layer: Layer| stack.get(&layer).map_or("", String::as_str);
    let wasm = at(Layer::Runtime).contains("wasmedge");
    let light = matches!(kind, "edge" | "iot" | "serverless" | "ai");
    match at(Layer::Orchestration) {
        _ if !wasm => Target::Cluster,
        "kubernetes+k3s" => Target::Both,
        "kubernetes" if light => Target::Both,
        "kubernetes" => Target::Cluster,
        _ => Target::Eyot,
    }
}

/// A name that a namespace can have, from any title.
fn object_name(title: &str) -> String {
    const LENGTH_MAX: usize = 40;
    let title = title.rsplit('/').next().unwrap_or(title);
    let title = title.trim_end_matches(".yaml").trim_end_matches(".yml");
    let mut name = String::new();
    for letter in title.chars() {
        match letter.to_ascii_lowercase() {
            it if it.is_ascii_lowercase() || it.is_ascii_digit() => name.push(it),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    name.truncate(LENGTH_MAX);
    let name = name.trim_matches('-');
    match name.as_bytes().first() {
        None => "advice".to_owned(),
        Some(_) if matches!(name, "default" | "kube-system" | "kube-public") => "advice".to_owned(),
        // Names of Services begin with a letter.
        Some(it) if it.is_ascii_digit() => format!("app-{name}"),
        Some(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_names_of_objects() {
        let made =
            ["5G MEC", "examples/scenarios/industrial-iot.yaml", "在线游戏", "default", "-a--b-", &"x".repeat(99)]
                .map(object_name);
        let wanted = ["app-5g-mec", "industrial-iot", "advice", "advice", "a-b", &"x".repeat(40)];
        assert_eq!(made, wanted);
    }

    #[test]
    fn the_target_follows_from_runtime_and_orchestrator() {
        let of = |orchestration: &str, runtime: &str, kind: &str| {
            let stack = [(Layer::Orchestration, orchestration), (Layer::Runtime, runtime)];
            target(&stack.map(|(layer, id)| (layer, id.to_owned())).into(), kind)
        };
        assert_eq!(of("k3s", "wasmedge-crun", "edge"), Target::Eyot);
        assert_eq!(of("k3s", "docker-runc", "edge"), Target::Cluster);
        assert_eq!(of("kubernetes", "docker-runc", "traditional"), Target::Cluster);
        assert_eq!(of("kubernetes", "wasmedge-crun", "serverless"), Target::Both);
        assert_eq!(of("kubernetes+k3s", "docker+wasmedge", "hybrid"), Target::Both);
    }
}
