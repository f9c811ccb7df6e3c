//! Objects as `meta.k8s.io/v1` Tables, with the columns kubectl users know.
//!
//! Start at [`render`]. `columns` names the columns of each kind; `pod`, `workload`, `network`, `cluster` and
//! `admin` fill their cells. Kinds without columns of their own show name and age. Descriptions of columns are left empty.

mod admin;
mod cluster;
mod columns;
mod custom;
mod format;
mod network;
mod pod;
mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::Kind;
pub use format::human_duration;

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

impl Include {
    /// The value of the `includeObject` query parameter.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// How a table is rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What of each object a row carries.
    pub include: Include,
    /// Leaves the column definitions out: for all but the first event of a watch.
    pub no_headers: bool,
}

/// A table of objects of that kind. List metadata is the caller's to set.
pub fn render(kind: &Kind, items: &[&Value], now: Timestamp, options: Options) -> Value {
    let (definitions, rows): (Value, Vec<Value>) = match &kind.custom {
        Some(custom) => {
            let printer = custom::Printer::new(custom);
            let rows = items.iter().map(|it| row(kind, printer.cells(it, now), it, options)).collect();
            (printer.definitions(), rows)
        }
        None => {
            let printer = columns::of(kind);
            let rows = items.iter().map(|it| row(kind, (printer.cells)(it, now), it, options)).collect();
            (printer.definitions(), rows)
        }
    };
    let definitions = if options.no_headers { Value::Null } else { definitions };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn row(kind: &Kind, cells: Vec<Value>, object: &Value, options: Options) -> Value {
    let mut row = json!({"cells": cells});
    match options.include {
        Include::None => {}
        Include::Metadata => row["object"] = partial(object),
        Include::Object => row["object"] = object.clone(),
    }
    if let Some(conditions) = pod::conditions(object).filter(|_| kind.is("", "Pod")) {
        row["conditions"] = conditions;
    }
    row
}

/// An object's metadata as `meta.k8s.io/v1` PartialObjectMetadata.
pub fn partial(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// A list's items as PartialObjectMetadata, for `as=PartialObjectMetadataList`. List metadata is the caller's to set.
pub fn partial_list(items: &[&Value]) -> Value {
    let items: Vec<Value> = items.iter().map(|it| partial(it)).collect();
    json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items})
}

#[cfg(test)]
mod tests;
