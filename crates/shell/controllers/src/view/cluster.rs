//! Nodes, namespaces, leases, and objects of which only the metadata matters.

use std::collections::BTreeMap;

use eyot_model::quantity::Quantity;
use eyot_plan::schedule::{Effect, Node, Resources, Taint};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Condition, Meta, Strings, Time, View, nullable, rfc3339};

/// A node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: NodeSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeSpec {
    #[serde(deserialize_with = "nullable")]
    pub(crate) unschedulable: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) taints: Vec<TaintWire>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct TaintWire {
    pub(crate) key: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) value: String,
    pub(crate) effect: String,
    pub(crate) time_added: Option<Time>,
}

impl TaintWire {
    pub(crate) fn read(&self) -> Option<Taint> {
        Some(Taint { key: self.key.clone(), value: self.value.clone(), effect: Effect::parse(&self.effect)? })
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut taint = json!({"key": self.key, "effect": self.effect});
        if !self.value.is_empty() {
            taint["value"] = self.value.as_str().into();
        }
        if let Some(time) = self.time_added {
            taint["timeAdded"] = rfc3339(time.0).into();
        }
        taint
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeStatus {
    #[serde(deserialize_with = "nullable")]
    pub(crate) allocatable: Strings,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<Condition>,
}

impl NodeView {
    pub(crate) fn ready(&self) -> Option<&str> {
        self.status.conditions.iter().find(|it| it.kind == "Ready").map(|it| it.status.as_str())
    }

    /// The node as the scheduler sees it, with nothing on it yet.
    pub(crate) fn offer(&self) -> Node {
        let amount = |key: &str| self.status.allocatable.get(key).and_then(|it| it.parse::<Quantity>().ok());
        let whole = |key: &str| amount(key).and_then(|it| u64::try_from(it.units()).ok()).unwrap_or(0);
        Node {
            name: self.meta.name.to_string(),
            labels: self.meta.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ready: self.ready() == Some("True") && !self.meta.deleting(),
            unschedulable: self.spec.unschedulable,
            taints: self.spec.taints.iter().filter_map(TaintWire::read).collect(),
            allocatable: Resources {
                cpu_milli: amount("cpu").and_then(|it| u64::try_from(it.millis()).ok()).unwrap_or(0),
                memory_bytes: whole("memory"),
                pods: whole("pods"),
            },
            ..Node::default()
        }
    }
}

impl View for NodeView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// A namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamespaceView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: NamespaceSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: NamespaceStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamespaceSpec {
    #[serde(deserialize_with = "nullable")]
    pub(crate) finalizers: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamespaceStatus {
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<Condition>,
}

impl View for NamespaceView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// A lease; only that it changed matters, and the moment it was seen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MetaView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
}

impl View for MetaView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// A ConfigMap of which only matters whether it holds what it should.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MapView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    /// Of its data: there is one in every namespace, and the content is the same in all.
    #[serde(rename = "data", deserialize_with = "fingerprint")]
    pub(crate) fingerprint: u64,
}

impl View for MapView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// Tells one content of a ConfigMap from another.
pub(crate) fn fingerprint_of(data: &BTreeMap<String, String>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

fn fingerprint<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(fingerprint_of(&nullable(from)?))
}
