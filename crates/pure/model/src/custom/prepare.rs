//! What the server itself decides about definitions and custom objects that are written.

use serde_json::Value;

use crate::meta;

/// The version that a definition's objects are stored in.
pub fn storage_version(definition: &Value) -> Option<&str> {
    let versions = meta::list(definition.pointer("/spec/versions")).iter();
    versions.filter(|it| it["storage"] == true).find_map(|it| it["name"].as_str())
}

/// Adds the storage version to those that objects may be stored in.
pub fn remember_storage_version(definition: &mut Value) {
    let Some(version) = storage_version(definition).map(str::to_owned) else { return };
    let status = meta::entry(definition, "status");
    let mut stored = meta::list(status.get("storedVersions")).to_vec();
    if !stored.iter().any(|it| *it == version) {
        stored.push(version.into());
    }
    status.insert("storedVersions".into(), stored.into());
}

/// Takes only the status from a write to a custom object's `/status`.
pub fn update_status(new: &mut Value, old: &Value) {
    let (status, owned) = (new.get("status").cloned(), new.pointer("/metadata/managedFields").cloned());
    *new = old.clone();
    match status {
        Some(status) => meta::as_map(new).insert("status".into(), status),
        None => meta::as_map(new).remove("status"),
    };
    // The write is noted there.
    match owned {
        Some(owned) => meta::metadata_mut(new).insert("managedFields".into(), owned),
        None => meta::metadata_mut(new).remove("managedFields"),
    };
}
