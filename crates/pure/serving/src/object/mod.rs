//! What follows from an object: the objects that are made for it, and what its status tells.
//!
//! One module for each kind. Everything is JSON, as in the API: a field that is not known here is not lost. What is returned
//! as `spec` or `status` is the whole of it as it shall be; the caller writes where that differs from what there is.

pub mod configuration;
pub mod deployment;
pub mod revision;
pub mod route;
pub mod service;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::API_VERSION;

/// Where functions are reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Domain under which each has a name, such as `localhost`.
    pub domain: String,
    /// Port of the gateway.
    pub port: u16,
}

impl Default for Site {
    fn default() -> Self {
        Self { domain: "localhost".to_owned(), port: 80 }
    }
}

impl Site {
    /// The host of a Route, or of a tag of it.
    pub fn host(&self, namespace: &str, route: &str, tag: Option<&str>) -> String {
        match tag {
            Some(tag) => format!("{tag}-{route}.{namespace}.{}", self.domain),
            None => format!("{route}.{namespace}.{}", self.domain),
        }
    }

    fn url(&self, host: &str) -> String {
        if self.port == 80 { format!("http://{host}") } else { format!("http://{host}:{}", self.port) }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The reference by which `owner` (of `kind`) owns what is made for it.
fn owned_by(kind: &str, owner: &Value) -> Value {
    json!([{
        "apiVersion": API_VERSION, "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Annotations that pass from a Service to what is made for it.
fn passed_on(from: &Value) -> Map<String, Value> {
    let all = from["metadata"]["annotations"].as_object().into_iter().flatten();
    all.filter(|it| it.0 != "kubectl.kubernetes.io/last-applied-configuration")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Labels of `from` together with `more`.
fn labelled(from: &Value, more: &[(&str, &str)]) -> Value {
    let mut labels = from["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.extend(more.iter().filter(|it| !it.1.is_empty()).map(|(key, value)| ((*key).to_owned(), (*value).into())));
    Value::Object(labels)
}
