//! HorizontalPodAutoscalers, scales, and what metrics servers answer.

use eyot_model::quantity::Quantity;
use eyot_plan::autoscale::{Behavior, Policy, PolicyKind, Rules, Select, Tolerance};
use serde::Deserialize;
use serde_json::Value;

use super::{Condition, LabelSelector, Meta, Time, View, nullable};

/// A HorizontalPodAutoscaler of `autoscaling/v2`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AutoscalerView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) spec: AutoscalerSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: AutoscalerStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AutoscalerSpec {
    pub(crate) scale_target_ref: Reference,
    pub(crate) min_replicas: Option<i32>,
    pub(crate) max_replicas: i32,
    #[serde(deserialize_with = "nullable")]
    pub(crate) metrics: Vec<Metric>,
    #[serde(deserialize_with = "nullable")]
    behavior: BehaviorWire,
}

/// What is scaled, or what a metric is about.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Reference {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// One entry of `spec.metrics`; of the five parts the one that `type` names is there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Metric {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) resource: Option<Source>,
    pub(crate) container_resource: Option<Source>,
    pub(crate) pods: Option<Source>,
    pub(crate) object: Option<Source>,
    pub(crate) external: Option<Source>,
}

/// Where a metric comes from and what is wanted of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Source {
    /// Of a resource: `cpu` or `memory`.
    pub(crate) name: String,
    /// Where only one container counts.
    pub(crate) container: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) metric: Identifier,
    pub(crate) described_object: Reference,
    pub(crate) target: TargetWire,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Identifier {
    pub(crate) name: String,
    pub(crate) selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct TargetWire {
    pub(crate) average_utilization: Option<i32>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) average_value: Amount,
    #[serde(deserialize_with = "nullable")]
    pub(crate) value: Amount,
}

/// A quantity as a number, where there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Amount(pub(crate) Option<f64>);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(from)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let quantity: Quantity = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Amount(Some(quantity.ratio(Quantity::from_units(1)))))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BehaviorWire {
    scale_up: Option<RulesWire>,
    scale_down: Option<RulesWire>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RulesWire {
    stabilization_window_seconds: Option<i64>,
    select_policy: Option<String>,
    #[serde(deserialize_with = "nullable")]
    policies: Vec<PolicyWire>,
    #[serde(deserialize_with = "nullable")]
    tolerance: Amount,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PolicyWire {
    #[serde(rename = "type")]
    kind: String,
    value: i32,
    period_seconds: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AutoscalerStatus {
    pub(crate) observed_generation: i64,
    pub(crate) current_replicas: i32,
    pub(crate) desired_replicas: i32,
    pub(crate) last_scale_time: Option<Time>,
    pub(crate) current_metrics: Value,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<Condition>,
}

impl AutoscalerSpec {
    /// How fast it may go; what it does not say is Kubernetes' default.
    pub(crate) fn behavior(&self) -> Behavior {
        let default = Behavior::default();
        Behavior {
            up: rules(self.behavior.scale_up.as_ref(), default.up),
            down: rules(self.behavior.scale_down.as_ref(), default.down),
        }
    }

    /// How far off the target a metric may be.
    pub(crate) fn tolerance(&self) -> Tolerance {
        let default = Tolerance::default();
        let of = |wire: &Option<RulesWire>| wire.as_ref().and_then(|it| it.tolerance.0);
        Tolerance {
            up: of(&self.behavior.scale_up).unwrap_or(default.up),
            down: of(&self.behavior.scale_down).unwrap_or(default.down),
        }
    }
}

fn rules(wire: Option<&RulesWire>, default: Rules) -> Rules {
    let Some(wire) = wire else { return default };
    let policy = |it: &PolicyWire| Policy {
        kind: if it.kind == "Percent" { PolicyKind::Percent } else { PolicyKind::Pods },
        value: it.value,
        period: it.period_seconds,
    };
    Rules {
        window: wire.stabilization_window_seconds.unwrap_or(default.window),
        select: match wire.select_policy.as_deref() {
            Some("Min") => Select::Min,
            Some("Disabled") => Select::Disabled,
            _ => Select::Max,
        },
        policies: if wire.policies.is_empty() { default.policies } else { wire.policies.iter().map(policy).collect() },
    }
}

impl View for AutoscalerView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// `autoscaling/v1` Scale.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ScaleView {
    pub(crate) spec: ScaleSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: ScaleStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ScaleSpec {
    pub(crate) replicas: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ScaleStatus {
    pub(crate) replicas: i32,
    pub(crate) selector: String,
}

/// `metrics.k8s.io` PodMetricsList.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodMetrics {
    pub(crate) items: Vec<PodMetric>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodMetric {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) containers: Vec<ContainerMetric>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerMetric {
    pub(crate) name: String,
    pub(crate) usage: ContainerUsage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerUsage {
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu: Amount,
    #[serde(deserialize_with = "nullable")]
    pub(crate) memory: Amount,
}

/// `custom.metrics.k8s.io` MetricValueList and `external.metrics.k8s.io` ExternalMetricValueList.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MetricValues {
    pub(crate) items: Vec<MetricValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct MetricValue {
    pub(crate) described_object: Reference,
    #[serde(deserialize_with = "nullable")]
    pub(crate) value: Amount,
}
