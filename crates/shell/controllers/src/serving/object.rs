//! Objects as JSON, with their metadata read.
//!
//! They are kept as text: a tree of values takes ten times as much, there are five of them for each function, and most lie
//! still.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::view::{Meta, Packed, View};

/// An object of a kind whose fields only [`eyot_serving`] knows.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) meta: Meta,
    /// All of it but its managed fields.
    packed: Packed,
}

impl Object {
    /// All of it but its managed fields.
    pub(super) fn json(&self) -> Value {
        self.packed.open()
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
        if let Some(metadata) = json["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let meta = Meta::deserialize(&json["metadata"]).map_err(serde::de::Error::custom)?;
        Ok(Self { meta, packed: Packed::of(&json) })
    }
}

impl View for Object {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}
