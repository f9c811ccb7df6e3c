//! What server-side apply does for kubectl alone, so that objects can move over from client-side apply: the
//! annotation that remembers the last configuration stands for ownership, and is kept up.

use serde_json::Value;

use super::{compare::compare, fieldset::field_set, set::Set, versions::Versions};
use crate::meta;

/// The manager's name that this is for.
pub(super) const MANAGER: &str = "kubectl";

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Kubernetes' limit for all annotations of an object, names and values, in bytes.
const ANNOTATIONS_MAX: usize = 256 << 10;

/// Fields that the last client-side apply set and nobody changed since: taking them over is no conflict.
pub(super) fn taken_over(versions: &Versions<'_>, live: &Value) -> Set {
    let text = meta::annotation(live, LAST_APPLIED).unwrap_or_default();
    let Ok(last) = serde_json::from_str::<Value>(text) else { return Set::default() };
    if last["apiVersion"] != versions.own() {
        return Set::default();
    }
    let of = versions.own_schema().root();
    let (mut fields, changed) = (field_set(of, &last), compare(of, &last, live));
    for set in [&changed.added, &changed.modified, &changed.removed] {
        fields.subtract(set);
    }
    fields
}

/// Writes the configuration into the annotation of an object that has one.
pub(super) fn remember(object: &mut Value, config: &Value) {
    if meta::annotation(object, LAST_APPLIED).is_none() {
        return;
    }
    let mut config = config.clone();
    let metadata = meta::metadata_mut(&mut config);
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    let annotations = meta::as_map(meta::metadata_mut(object).entry("annotations").or_insert(Value::Null));
    annotations.insert(LAST_APPLIED.into(), format!("{config}\n").into());
    let size = annotations.iter().map(|(name, it)| name.len() + it.as_str().map_or(0, str::len)).sum::<usize>();
    if size > ANNOTATIONS_MAX {
        annotations.remove(LAST_APPLIED);
    }
}
