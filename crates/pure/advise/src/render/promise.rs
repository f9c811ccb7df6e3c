//! What a rendered stack promises: the scenario's own demands first, then what the catalogue states of the parts.
//!
//! Entry points: [`promises`], [`Promise`]. They are rendered into the ConfigMap [`super::ADVICE`] and read again by
//! `eyot verify`.

use serde::{Deserialize, Serialize};

use crate::{
    Catalog, Decision, Scenario,
    layer::{Layer, Metric},
    unit::{NotQuantity, Quantity, Range, Unit},
    words::words,
};

words! {
    /// What can be promised and measured.
    Promised {
        /// From the POST of a pod to Ready.
        ColdStart = "coldStart", "cold start", "冷启动";
        /// The 99th percentile of a request.
        Latency = "latency", "latency (p99)", "延迟（p99）";
        /// Pods on one node.
        Density = "density", "pods on a node", "单节点 Pod 数";
        /// Memory of one more pod.
        PodMemory = "podMemory", "memory of a pod", "每个 Pod 的内存";
        /// Memory of the control plane.
        ControlMemory = "controlMemory", "memory of the control plane", "控制平面内存";
        /// From load to a further replica.
        ScaleTime = "scaleTime", "reaction of autoscaling", "扩容反应时间";
        /// Works without a network.
        Offline = "offline", "restart without a network", "断网重启";
        /// What a policy adds to a write.
        PolicyLatency = "policyLatency", "policy decision", "策略执行";
    }
}

/// On which side of its value a promise is kept.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// At most the value.
    AtMost,
    /// Less than the value.
    Below,
    /// At least the value.
    AtLeast,
}

/// One promise.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// What is promised.
    pub what: String,
    /// The side.
    pub bound: Bound,
    /// The value with its unit.
    pub value: String,
    /// Who says so: `scenario` or a section of a document.
    pub source: String,
    /// The technology that answers for it.
    pub technology: String,
    /// The catalogue's metric, under which a measurement is written back; empty when it has none.
    pub metric: String,
}

impl Promised {
    /// The unit of its values.
    pub fn unit(self) -> Unit {
        match self {
            Self::Density => Unit::Count,
            Self::PodMemory | Self::ControlMemory => Unit::Bytes,
            Self::ColdStart | Self::Latency | Self::ScaleTime | Self::Offline | Self::PolicyLatency => Unit::Duration,
        }
    }

    /// The key of a scenario, the layer that answers, and its metric.
    fn asked(self) -> (&'static str, Layer, Option<Metric>) {
        match self {
            Self::ColdStart => ("coldStart", Layer::Runtime, Some(Metric::Startup)),
            Self::Latency => ("latency", Layer::Runtime, None),
            Self::Density => ("density", Layer::Runtime, Some(Metric::Density)),
            Self::PodMemory => ("", Layer::Runtime, Some(Metric::PodMemory)),
            Self::ControlMemory => ("", Layer::Orchestration, Some(Metric::ControlMemory)),
            Self::ScaleTime => ("scaleTime", Layer::Orchestration, Some(Metric::ScaleTime)),
            Self::Offline => ("offline", Layer::Storage, Some(Metric::Offline)),
            Self::PolicyLatency => ("policyLatency", Layer::Policy, Some(Metric::Latency)),
        }
    }
}

impl Promise {
    /// What is promised, when the word is known.
    pub fn promised(&self) -> Option<Promised> {
        Promised::from_word(&self.what)
    }

    /// The value in base units.
    ///
    /// # Errors
    /// When it is no quantity of the promise's unit.
    pub fn amount(&self) -> Result<i64, NotQuantity> {
        let unit = self.promised().ok_or(NotQuantity::NoNumber)?.unit();
        Quantity::parse(&self.value, unit).map(|it| it.value)
    }

    /// Whether a measured amount keeps it.
    pub fn kept_by(&self, measured: i64) -> bool {
        let Ok(limit) = self.amount() else { return false };
        match self.bound {
            Bound::AtMost => measured <= limit,
            Bound::Below => measured < limit,
            Bound::AtLeast => measured >= limit,
        }
    }

    /// As people write it: `< 10ms`.
    pub fn shown(&self) -> String {
        if self.promised() == Some(Promised::Offline) && self.amount() == Ok(0) {
            return "✓".to_owned();
        }
        let sign = match self.bound {
            Bound::AtMost => "≤",
            Bound::Below => "<",
            Bound::AtLeast => "≥",
        };
        format!("{sign} {}", self.value)
    }
}

/// Every promise of the best stack.
pub(super) fn promises(scenario: &Scenario, decision: &Decision, catalog: &Catalog) -> Vec<Promise> {
    let stack = &decision.chosen().stack;
    let of = |what: &Promised| {
        let (key, layer, metric) = what.asked();
        let technology = stack.at(layer).to_string();
        // What was claimed is the promise; what somebody measured elsewhere is none.
        let claimed = metric.and_then(|metric| catalog.technology(&technology)?.specs.get(&metric)?.claimed());
        let (range, source) = match scenario.range(key) {
            Some(range) => (range, "scenario".to_owned()),
            None if *what == Promised::Offline && scenario.word("network") == "unstable" => {
                (Range::point(0, Unit::Duration), "scenario (network: unstable)".to_owned())
            }
            // How long a state store works alone, nobody asked.
            None if *what == Promised::Offline => return None,
            None if *what == Promised::ScaleTime && matches!(scenario.word("autoscaling"), "" | "none") => return None,
            None => claimed.map(|it| (it.range, it.source.clone()))?,
        };
        let metric = metric.map(|it| it.word().to_owned()).unwrap_or_default();
        let at_least = matches!(what, Promised::Density | Promised::Offline);
        let (bound, value) = match (at_least, range.high) {
            // Of a stated range of densities the most is what was claimed.
            (true, Some(high)) if range.low <= 1 => (Bound::AtLeast, high),
            (true, _) => (Bound::AtLeast, range.low),
            (false, Some(high)) if range.open => (Bound::Below, high),
            (false, Some(high)) => (Bound::AtMost, high),
            (false, None) => return None,
        };
        let value = if value == 0 { "0s".to_owned() } else { Quantity { value, unit: what.unit() }.to_string() };
        Some(Promise { what: what.word().to_owned(), bound, value, source, technology, metric })
    };
    Promised::ALL.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(what: &str, bound: Bound, value: &str) -> Promise {
        let (source, technology, metric) = ("scenario".to_owned(), "t".to_owned(), String::new());
        Promise { what: what.to_owned(), bound, value: value.to_owned(), source, technology, metric }
    }

    #[test]
    fn the_bound_itself_counts_as_its_side_says() {
        let millisecond = 1_000_000;
        assert!(promise("coldStart", Bound::AtMost, "10ms").kept_by(10 * millisecond));
        assert!(!promise("coldStart", Bound::Below, "10ms").kept_by(10 * millisecond));
        assert!(promise("density", Bound::AtLeast, "3000").kept_by(3000));
        assert!(!promise("density", Bound::AtLeast, "3000").kept_by(2999));
    }

    #[test]
    fn what_is_not_understood_is_not_kept() {
        assert!(!promise("coldStart", Bound::AtMost, "10").kept_by(0), "no unit");
        assert!(!promise("joy", Bound::AtLeast, "1").kept_by(5), "no such promise");
    }
}
