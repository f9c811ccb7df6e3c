//! Objects as JSON, with their metadata read.
//!
//! They are kept as text: a tree of values takes ten times as much, there are five of them for each function, and most lie
//! still.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::view::{Meta, OwnerReference, Packed, Strings, View, rfc3339};

/// An object of a kind whose fields only [`eyot_serving`] knows.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) meta: Meta,
    /// The rest of it, without its managed fields.
    packed: Packed,
}

impl Object {
    /// All of it but its managed fields.
    pub(super) fn json(&self) -> Value {
        let mut json = self.packed.open();
        if let Some(metadata) = json["metadata"].as_object_mut() {
            put_back(&self.meta, metadata);
        }
        json
    }

    /// The revisions that a Route leads to.
    pub(super) fn assigned(&self) -> Vec<String> {
        let json = self.json();
        let rows = json["status"]["traffic"].as_array().into_iter().flatten();
        rows.filter_map(|it| it["revisionName"].as_str()).map(str::to_owned).collect()
    }

    /// Whether `owner` made it.
    pub(super) fn is_of(&self, owner: &Meta) -> bool {
        is_made_by(&self.meta, owner)
    }
}

/// Whether `owner` made the object with this metadata.
pub(super) fn is_made_by(meta: &Meta, owner: &Meta) -> bool {
    meta.controller().is_some_and(|it| it.uid == owner.uid)
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut json = Value::deserialize(from)?;
        let meta = Meta::deserialize(&json["metadata"]).map_err(serde::de::Error::custom)?;
        if let Some(metadata) = json["metadata"].as_object_mut() {
            metadata.remove("managedFields");
            KEPT.iter().for_each(|it| drop(metadata.remove(*it)));
        }
        Ok(Self { meta, packed: Packed::of(&json) })
    }
}

/// Fields of the metadata that are kept as [`Meta`] only.
const KEPT: [&str; 11] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "annotations",
    "ownerReferences",
    "creationTimestamp",
    "deletionTimestamp",
    "finalizers",
];

/// Writes those fields where they are not empty, as the API has them.
fn put_back(meta: &Meta, into: &mut Map<String, Value>) {
    let texts = [
        ("name", &meta.name),
        ("namespace", &meta.namespace),
        ("uid", &meta.uid),
        ("resourceVersion", &meta.resource_version),
    ];
    let texts = texts.into_iter().filter(|it| !it.1.is_empty()).map(|(key, it)| (key, Value::from(&**it)));
    let pairs = |it: &Strings| it.iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect::<Value>();
    let maps = [("labels", pairs(&meta.labels)), ("annotations", pairs(&meta.annotations))];
    let lists = [
        ("ownerReferences", meta.owner_references.iter().map(OwnerReference::to_json).collect::<Value>()),
        ("finalizers", meta.finalizers.iter().map(|it| Value::from(&**it)).collect()),
    ];
    let is_empty = |it: &Value| it.as_object().is_some_and(Map::is_empty) || it.as_array().is_some_and(Vec::is_empty);
    let many = maps.into_iter().chain(lists).filter(|it| !is_empty(&it.1));
    let times = [("creationTimestamp", meta.creation_timestamp), ("deletionTimestamp", meta.deletion_timestamp)];
    let times = times.into_iter().filter_map(|(key, it)| Some((key, Value::from(rfc3339(it?.0)))));
    let generation = (meta.generation != 0).then(|| ("generation", Value::from(meta.generation)));
    into.extend(texts.chain(many).chain(times).chain(generation).map(|(key, it)| (key.to_owned(), it)));
}

impl View for Object {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_apart_comes_back_as_the_server_had_it() {
        let owner = json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "a", "uid": "u-1",
            "controller": true, "blockOwnerDeletion": true});
        let mut whole = json!({
            "apiVersion": "serving.knative.dev/v1", "kind": "Route",
            "metadata": {"name": "a", "namespace": "ns", "uid": "u-2", "resourceVersion": "7", "generation": 2,
                "generateName": "a-", "labels": {"one": "1", "two": ""}, "annotations": {"x/y": "z"},
                "ownerReferences": [owner], "creationTimestamp": "2026-11-21T10:00:00Z",
                "deletionTimestamp": "2026-11-21T10:00:05Z", "deletionGracePeriodSeconds": 0, "finalizers": ["f/g"]},
            "spec": {"traffic": []}, "status": {"observedGeneration": 1},
        });
        let read = |it: &Value| serde_json::from_value::<Object>(it.clone()).unwrap();
        assert_eq!(read(&whole).json(), whole);
        assert!(!read(&whole).packed.open().to_string().contains("u-2"), "nothing is kept twice");
        let bare = json!({"metadata": {"name": "a"}, "spec": {}});
        assert_eq!(read(&bare).json(), bare);
        whole["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
        assert_eq!(read(&whole).json()["metadata"].get("managedFields"), None);
    }
}
