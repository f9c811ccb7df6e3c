//! What serving needs of a CustomResourceDefinition: names, versions, and what became of it.
//!
//! Entry point: [`Definition::parse`]. It skips over schemas; [`Version::text`] holds them for whoever wants one.

use std::{any::Any, sync::OnceLock};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{kept::Kept, schema::Schema};
use crate::meta;

/// A stored CustomResourceDefinition cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading a CustomResourceDefinition: {0}")]
pub struct DefinitionError(#[from] serde_json::Error);

/// A CustomResourceDefinition.
#[derive(Debug)]
pub struct Definition {
    /// `PLURAL.GROUP`.
    pub name: String,
    /// API group.
    pub group: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Names that it asks for.
    pub wanted: Names,
    /// Names that it got, under which it is served.
    pub accepted: Names,
    /// Versions in the order of the definition.
    pub versions: Vec<Version>,
    /// Whether versions are converted by a webhook rather than by renaming.
    pub webhook: Option<Box<RawValue>>,
    /// Versions that stored objects may have.
    pub stored_versions: Vec<String>,
    /// What became of it.
    pub conditions: Vec<Condition>,
    /// When it was created, as text; decides who comes first.
    pub created: String,
    /// The revision of the definition: objects written later were written by its rules.
    pub revision: u64,
    bytes: Bytes,
    kept: Kept,
}

/// `spec.names` or `status.acceptedNames`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the documented fields of CustomResourceDefinitionNames")]
pub struct Names {
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub kind: String,
    pub list_kind: String,
    pub categories: Vec<String>,
}

/// One entry of `spec.versions`.
#[derive(Debug)]
pub struct Version {
    /// Name such as `v1`.
    pub name: String,
    /// Whether it is served.
    pub served: bool,
    /// Whether objects are stored in it.
    pub storage: bool,
    /// What users of a deprecated version are told.
    pub warning: Option<String>,
    /// Whether it has the subresource `status`.
    pub status: bool,
    /// Where the subresource `scale` finds things, if it has it.
    pub scale: Option<Scale>,
    /// The entry as JSON, the schema included.
    text: Bytes,
    details: OnceLock<Details>,
}

/// What of a version is parsed when it is first needed.
#[derive(Debug, Default)]
pub struct Details {
    /// What objects look like.
    pub schema: Schema,
    /// Columns that tables of the objects show.
    pub columns: Vec<Column>,
    /// Paths that field selectors can name, without their leading dots.
    pub selectable: Vec<String>,
}

/// One entry of `additionalPrinterColumns`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the documented fields of CustomResourceColumnDefinition")]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub of_type: String,
    pub format: String,
    pub description: String,
    pub priority: i32,
    pub json_path: String,
}

/// `subresources.scale`: simple JSON paths such as `.spec.replicas`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the documented fields of CustomResourceSubresourceScale")]
pub struct Scale {
    pub spec_replicas_path: String,
    pub status_replicas_path: String,
    pub label_selector_path: Option<String>,
}

/// One entry of `status.conditions`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type such as `Established`.
    #[serde(rename = "type")]
    pub of_type: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// One word.
    #[serde(default)]
    pub reason: String,
    /// What a person reads.
    #[serde(default)]
    pub message: String,
    /// RFC 3339, when it last changed.
    #[serde(default)]
    pub last_transition_time: Option<String>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(borrow)]
    spec: Spec<'a>,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    resource_version: String,
    creation_timestamp: String,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Spec<'a> {
    group: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    names: Names,
    #[serde(borrow, default)]
    versions: Vec<&'a RawValue>,
    #[serde(default)]
    conversion: Conversion,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Conversion {
    strategy: String,
    webhook: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    accepted_names: Names,
    conditions: Option<Vec<Condition>>,
    stored_versions: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawVersion {
    name: String,
    #[serde(default)]
    served: bool,
    #[serde(default)]
    storage: bool,
    #[serde(default)]
    deprecated: bool,
    deprecation_warning: Option<String>,
    #[serde(default)]
    subresources: Subresources,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subresources {
    status: Option<serde::de::IgnoredAny>,
    scale: Option<Scale>,
}

impl Definition {
    /// Reads a definition from its JSON.
    pub fn parse(bytes: &Bytes) -> Result<Definition, DefinitionError> {
        let raw: Raw<'_> = serde_json::from_slice(bytes)?;
        let group = raw.spec.group;
        let kind = &raw.spec.names.kind;
        let versions = raw.spec.versions.iter().map(|it| version(bytes, it, &group, kind)).collect::<Result<_, _>>()?;
        Ok(Definition {
            name: raw.metadata.name,
            namespaced: raw.spec.scope != "Cluster",
            deleting: raw.metadata.deletion_timestamp.is_some(),
            wanted: raw.spec.names,
            accepted: raw.status.accepted_names,
            versions,
            webhook: raw.spec.conversion.webhook.filter(|_| raw.spec.conversion.strategy == "Webhook"),
            stored_versions: raw.status.stored_versions.unwrap_or_default(),
            conditions: raw.status.conditions.unwrap_or_default(),
            created: raw.metadata.creation_timestamp,
            revision: raw.metadata.resource_version.parse().unwrap_or(u64::MAX),
            group,
            bytes: bytes.clone(),
            kept: Kept::default(),
        })
    }

    /// Whether a condition is `True`.
    pub fn is(&self, condition: &str) -> bool {
        self.condition(condition).is_some_and(|it| it.status == "True")
    }

    /// The condition of that type.
    pub fn condition(&self, of_type: &str) -> Option<&Condition> {
        self.conditions.iter().find(|it| it.of_type == of_type)
    }

    /// The version that objects are stored in.
    pub fn storage(&self) -> Option<&Version> {
        self.versions.iter().find(|it| it.storage)
    }

    /// The version of that name, served or not.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|it| it.name == name)
    }

    /// What somebody made of this definition, kept as long as it stays: made at first use.
    ///
    /// # Panics
    /// When asked for things of two types: there is room for one.
    pub fn keep<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        self.kept.get(make)
    }

    /// The definition as JSON.
    pub fn text(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the other one is this one in the same state.
    pub fn is_same(&self, other: &Definition) -> bool {
        std::ptr::eq(self, other) || self.bytes == other.bytes
    }
}

fn version(bytes: &Bytes, raw: &RawValue, group: &str, kind: &str) -> Result<Version, serde_json::Error> {
    let version: RawVersion = serde_json::from_str(raw.get())?;
    let warning = version.deprecated.then(|| {
        let usual = || format!("{group}/{} {kind} is deprecated", version.name);
        version.deprecation_warning.clone().filter(|it| !it.is_empty()).unwrap_or_else(usual)
    });
    Ok(Version {
        served: version.served,
        storage: version.storage,
        warning,
        status: version.subresources.status.is_some(),
        scale: version.subresources.scale,
        text: bytes.slice_ref(raw.get().as_bytes()),
        details: OnceLock::new(),
        name: version.name,
    })
}

impl Version {
    /// Schema, columns and selectable fields; parsed at first use.
    pub fn details(&self) -> &Details {
        self.details.get_or_init(|| {
            // The text was JSON when the definition was read.
            let text: Value = serde_json::from_slice(&self.text).unwrap_or_default();
            let columns = text.get("additionalPrinterColumns").cloned().unwrap_or_default();
            let selectable = meta::list(text.get("selectableFields")).iter();
            Details {
                schema: Schema::parse(text.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null)),
                columns: serde_json::from_value(columns).unwrap_or_default(),
                selectable: selectable
                    .filter_map(|it| it["jsonPath"].as_str())
                    .map(|it| it.trim_start_matches('.').to_owned())
                    .collect(),
            }
        })
    }

    /// The entry as JSON, the schema included.
    pub fn text(&self) -> &Bytes {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_serving_needs_and_keeps_the_rest_as_text() {
        let text = json!({
            "metadata": {"name": "widgets.x.io", "resourceVersion": "7"},
            "spec": {
                "group": "x.io", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "deprecated": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
                }],
            },
            "status": {"conditions": null, "storedVersions": ["v1"]},
        });
        let definition = Definition::parse(&Bytes::from(text.to_string())).expect("reads");
        assert_eq!((definition.revision, definition.namespaced), (7, true));
        let version = definition.storage().expect("has one");
        assert!(version.status);
        assert_eq!(version.warning.as_deref(), Some("x.io/v1 Widget is deprecated"));
        assert_eq!(version.scale.as_ref().map(|it| it.spec_replicas_path.as_str()), Some(".spec.n"));
        let kept: serde_json::Value = serde_json::from_slice(version.text()).expect("is JSON");
        assert_eq!(kept["schema"]["openAPIV3Schema"]["type"], "object");
    }

    #[test]
    fn what_is_no_definition_is_refused() {
        for bad in ["", "[]", "{}", r#"{"spec": {"group": 1}}"#] {
            assert!(Definition::parse(&Bytes::from(bad)).is_err(), "{bad}");
        }
    }
}
