//! The parts of objects that the controllers read, decoded straight from the wire; everything else is skipped.

pub(crate) mod affinity;
pub(crate) mod apps;
pub(crate) mod autoscale;
pub(crate) mod cluster;
pub(crate) mod cronjob;
pub(crate) mod job;
pub(crate) mod network;
pub(crate) mod pod;
pub(crate) mod policy;
pub(crate) mod storage;
mod word;
pub(crate) mod workload;

use std::{fmt, sync::Arc};

use eyot_plan::{
    Seconds, condition,
    selector::{Operator, Requirement, Selector},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::{Value, json};

pub(crate) use word::Word;

use crate::api::Resource;

/// Something with metadata that a watch delivers.
pub(crate) trait View: DeserializeOwned + Clone + Send + Sync + 'static {
    fn meta(&self) -> &Meta;
}

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { self.name.fmt(out) } else { write!(out, "{}/{}", self.namespace, self.name) }
    }
}

/// Reads a field whose `null` means the same as its absence.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// `metadata`, without managed fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Meta {
    pub(crate) name: Box<str>,
    pub(crate) namespace: Box<str>,
    pub(crate) uid: Box<str>,
    pub(crate) resource_version: Box<str>,
    pub(crate) generation: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: Strings,
    #[serde(deserialize_with = "nullable")]
    pub(crate) annotations: Strings,
    #[serde(deserialize_with = "nullable")]
    pub(crate) owner_references: Box<[OwnerReference]>,
    pub(crate) creation_timestamp: Option<Time>,
    pub(crate) deletion_timestamp: Option<Time>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) finalizers: Box<[Box<str>]>,
}

impl Meta {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }

    pub(crate) fn deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    pub(crate) fn created(&self) -> Seconds {
        self.creation_timestamp.map_or(0, |it| it.0)
    }

    pub(crate) fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|it| it.controller)
    }

    /// Made for a revision of a function. There may be tens of thousands that were never asked for, so for those some objects
    /// are left out that would be empty.
    pub(crate) fn is_of_revision(&self) -> bool {
        self.controller()
            .is_some_and(|it| &*it.kind == "Revision" && it.api_version.starts_with("serving.knative.dev/"))
    }

    /// The version as a number, where the server uses numbers.
    pub(crate) fn version(&self) -> Option<u64> {
        self.resource_version.parse().ok()
    }
}

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct OwnerReference {
    pub(crate) api_version: Word,
    pub(crate) kind: Word,
    pub(crate) name: Box<str>,
    pub(crate) uid: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) controller: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) block_owner_deletion: bool,
}

impl OwnerReference {
    /// What the dependents of a controller say about it; `resource` is the controller's.
    pub(crate) fn controller(resource: &Resource, controller: &Meta) -> Self {
        Self {
            api_version: resource.api_version.as_ref().into(),
            kind: resource.kind.as_ref().into(),
            name: controller.name.clone(),
            uid: controller.uid.clone(),
            controller: true,
            block_owner_deletion: true,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut json = json!({"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid});
        if self.controller {
            json["controller"] = true.into();
        }
        if self.block_owner_deletion {
            json["blockOwnerDeletion"] = true.into();
        }
        json
    }
}

/// A timestamp, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Seconds);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(time.as_second()))
    }
}

/// Seconds as the API writes them.
pub(crate) fn rfc3339(seconds: Seconds) -> String {
    jiff::Timestamp::from_second(seconds).map(|it| it.to_string()).unwrap_or_default()
}

/// Now, in the API's resolution.
pub(crate) fn now() -> Seconds {
    jiff::Timestamp::now().as_second()
}

/// A map of strings in little memory: sorted pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings(Box<[(Word, Box<str>)]>);

impl Strings {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|it| (*it.0).cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Drops all keys but those that `keep` names.
    pub(crate) fn retain(&mut self, keep: &[&str]) {
        if self.0.iter().any(|it| !keep.contains(&&*it.0)) {
            let all = std::mem::take(&mut self.0).into_vec();
            self.0 = all.into_iter().filter(|it| keep.contains(&&*it.0)).collect();
        }
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Strings;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(0));
                while let Some(pair) = map.next_entry::<Word, Box<str>>()? {
                    pairs.push(pair);
                }
                pairs.sort_unstable();
                Ok(Strings(pairs.into()))
            }
        }
        from.deserialize_map(Pairs)
    }
}

/// `LabelSelector`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LabelSelector {
    #[serde(deserialize_with = "nullable")]
    pub(crate) match_labels: Strings,
    #[serde(deserialize_with = "nullable")]
    pub(crate) match_expressions: Vec<Expression>,
}

/// One entry of `matchExpressions`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Expression {
    pub(crate) key: String,
    pub(crate) operator: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) values: Vec<String>,
}

impl LabelSelector {
    /// The selector; an operator unknown to us makes one that matches nothing.
    pub(crate) fn compile(&self) -> Selector {
        let mut selector = Selector::equals(self.match_labels.iter());
        selector.requirements.extend(compile(&self.match_expressions).requirements);
        selector
    }
}

/// The conjunction of the expressions; an operator unknown to us makes one that matches nothing.
pub(crate) fn compile(expressions: &[Expression]) -> Selector {
    let requirements = expressions.iter().map(|it| match Operator::parse(&it.operator) {
        Some(operator) => Requirement { key: it.key.clone(), operator, values: it.values.clone() },
        None => Requirement { key: it.key.clone(), operator: Operator::In, values: Vec::new() },
    });
    Selector { requirements: requirements.collect() }
}

/// JSON as text, which takes a tenth of the memory of a tree of values: for what is kept of many objects and seldom read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed(Box<str>);

impl Packed {
    pub(crate) fn of(value: &Value) -> Self {
        Packed(value.to_string().into())
    }

    /// The values.
    pub(crate) fn open(&self) -> Value {
        // It was written from values, or there was nothing.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Value::deserialize(from).map(|it| Packed::of(&it))
    }
}

/// One entry of `status.conditions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) reason: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) message: String,
    pub(crate) last_update_time: Option<Time>,
    pub(crate) last_probe_time: Option<Time>,
    pub(crate) last_transition_time: Option<Time>,
}

/// Conditions as the plans take them.
pub(crate) fn conditions(from: &[Condition]) -> Vec<condition::Condition> {
    from.iter()
        .map(|it| {
            let transitioned = it.last_transition_time.map_or(0, |it| it.0);
            condition::Condition {
                kind: it.kind.clone(),
                status: it.status.clone(),
                reason: it.reason.clone(),
                message: it.message.clone(),
                updated: it.last_update_time.or(it.last_probe_time).map_or(transitioned, |it| it.0),
                transitioned,
            }
        })
        .collect()
}

/// Conditions as the API takes them; `updated` names the field for the update time, where the kind has one.
pub(crate) fn conditions_json(all: &[condition::Condition], updated: Option<&str>) -> Value {
    let rows = all.iter().map(|it| {
        let mut row = json!({
            "type": it.kind, "status": it.status, "reason": it.reason, "message": it.message,
            "lastTransitionTime": rfc3339(it.transitioned),
        });
        if let Some(field) = updated {
            row[field] = rfc3339(it.updated).into();
        }
        row
    });
    rows.collect()
}

/// A count as a status writes it: absent when zero, which a merge patch says with `null`.
pub(crate) fn count(count: i32) -> Value {
    if count == 0 { Value::Null } else { count.into() }
}
