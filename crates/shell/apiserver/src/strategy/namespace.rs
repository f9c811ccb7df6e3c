//! Namespaces: the `kubernetes` finalizer in their spec, the name label, and the phase.

use eyot_model::meta;
use serde_json::{Value, json};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Gives a new namespace its finalizer, label and phase.
pub(super) fn create(namespace: &mut Value) {
    let spec = meta::entry(namespace, "spec");
    spec.insert("finalizers".into(), json!(["kubernetes"]));
    meta::as_map(namespace).insert("status".into(), json!({"phase": "Active"}));
    label(namespace);
}

/// Keeps the finalizers, which only `finalize` changes, and the label.
pub(super) fn update(new: &mut Value, old: &Value) {
    match old.get("spec").cloned() {
        Some(spec) => meta::as_map(new).insert("spec".into(), spec),
        None => meta::as_map(new).remove("spec"),
    };
    label(new);
}

fn label(namespace: &mut Value) {
    let Some(name) = meta::name(namespace).map(str::to_owned) else { return };
    let labels = meta::metadata_mut(namespace).entry("labels").or_insert(Value::Null);
    meta::as_map(labels).insert(NAME_LABEL.into(), name.into());
}
