//! What the server itself decides about an object that is written: metadata it owns, generation, status.
//!
//! Start at [`create`], [`update`] and [`update_status`]. They run after [`crate::defaults`] and before
//! [`crate::validate`]. `resourceVersion` is the store's, and deletion is the API server's.

use jiff::Timestamp;
use serde_json::Value;

use crate::{kinds::Kind, meta};

/// Metadata fields that only the server sets.
const OWNED: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "resourceVersion",
];

/// Whether the kind counts generations: `metadata.generation` grows with each change of what is asked for.
pub fn has_generation(kind: &Kind) -> bool {
    let always = ["Pod", "NetworkPolicy", "EndpointSlice", "DeviceClass", "IngressClass"];
    (kind.subresource("status").is_some() && !matches!(kind.kind.as_str(), "Namespace" | "Node" | "Service"))
        || always.contains(&kind.kind.as_str())
}

/// Makes a new object the server's own: fresh metadata, generation 1, no status.
///
/// The name must be settled ([`generated_name`]). Status is dropped where the kind has the subresource.
pub fn create(kind: &Kind, object: &mut Value, uid: &str, now: Timestamp) {
    let metadata = meta::metadata_mut(object);
    OWNED.iter().for_each(|field| {
        metadata.remove(*field);
    });
    metadata.insert("uid".into(), uid.into());
    metadata.insert("creationTimestamp".into(), meta::format_time(now).into());
    if has_generation(kind) {
        metadata.insert("generation".into(), 1.into());
    }
    if kind.subresource("status").is_some() {
        meta::as_map(object).remove("status");
    }
}

/// Carries over what an update may not change, keeps the stored status, and counts the generation.
pub fn update(kind: &Kind, new: &mut Value, old: &Value) {
    keep_metadata(new, old);
    if kind.subresource("status").is_some() {
        keep(new, old, "status");
    }
    if has_generation(kind) && changed(new, old) {
        let next = meta::generation(old) + 1;
        meta::metadata_mut(new).insert("generation".into(), next.into());
    }
}

/// Takes only the status (and labels, annotations, finalizers as sent) from a write to `/status`.
pub fn update_status(_kind: &Kind, new: &mut Value, old: &Value) {
    keep_metadata(new, old);
    let fields: Vec<String> = new
        .as_object()
        .into_iter()
        .chain(old.as_object())
        .flat_map(|it| it.keys().cloned())
        .filter(|it| !matches!(it.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
        .collect();
    fields.iter().for_each(|field| keep(new, old, field));
}

/// A name from `generateName` and five random bytes, as Kubernetes makes it.
pub fn generated_name(base: &str, random: [u8; 5]) -> String {
    // No vowels, so that no words arise, and no characters that are easily confused.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const BASE_MAX: usize = 58;
    let mut end = base.len().min(BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let suffix: String = random.iter().map(|it| char::from(ALPHABET[usize::from(*it) % ALPHABET.len()])).collect();
    format!("{}{suffix}", &base[..end])
}

fn keep_metadata(new: &mut Value, old: &Value) {
    for field in OWNED {
        let stored = old.get("metadata").and_then(|it| it.get(field)).cloned();
        let metadata = meta::metadata_mut(new);
        match stored {
            _ if *field == "resourceVersion" => {}
            Some(stored) => {
                metadata.insert((*field).into(), stored);
            }
            None => {
                metadata.remove(*field);
            }
        }
    }
}

fn keep(new: &mut Value, old: &Value, field: &str) {
    let object = meta::as_map(new);
    match old.get(field) {
        Some(stored) => {
            object.insert(field.into(), stored.clone());
        }
        None => {
            object.remove(field);
        }
    }
}

/// Whether anything but metadata and status differs.
fn changed(new: &Value, old: &Value) -> bool {
    let asked = |object: &Value| -> Vec<(String, Value)> {
        let fields = object.as_object().into_iter().flatten();
        let fields = fields.filter(|(k, _)| !matches!(k.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
        let mut fields: Vec<_> = fields.map(|(k, v)| (k.clone(), v.clone())).collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields
    };
    asked(new) != asked(old)
}
