//! Kinds that CustomResourceDefinitions define.
//!
//! Start at [`Definition::parse`], which reads what serving needs, and at [`kinds`], which makes rows of the kind
//! table of it. [`naming`] decides which names a definition gets; [`version`] orders versions. Schemas stay text until
//! somebody asks for one, since a cluster may have hundreds of large ones.

pub(crate) mod check;
pub mod default;
mod definition;
pub mod format;
mod kept;
pub mod naming;
pub mod path;
pub mod prepare;
pub mod prune;
pub mod schema;
pub mod value;
pub mod version;

use std::{any::Any, sync::Arc};

use serde_json::Value;

pub use definition::{Column, Condition, Definition, DefinitionError, Details, Names, Scale, Version};
use kept::Kept;
use schema::Schema;

use crate::kinds::{Kind, Subresource, api_version};

/// Group, version, kind and plural of the definitions themselves.
pub const DEFINITIONS: (&str, &str, &str, &str) =
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Nothing new comes into being of a kind that is going away.
const ENDING: [&str; 7] = ["delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const WRITE: [&str; 3] = ["get", "patch", "update"];

/// One served version of a custom kind.
#[derive(Debug)]
pub struct Custom {
    definition: Arc<Definition>,
    version: usize,
    kept: Kept,
}

impl PartialEq for Custom {
    fn eq(&self, other: &Custom) -> bool {
        self.version == other.version && self.definition.is_same(&other.definition)
    }
}

impl Eq for Custom {}

impl Custom {
    /// The definition as a whole.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// This version.
    pub fn version(&self) -> &Version {
        &self.definition.versions[self.version]
    }

    /// What somebody made of this version, kept as long as the version stays: made at first use.
    ///
    /// # Panics
    /// When asked for things of two types: there is room for one.
    pub fn keep<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        self.kept.get(make)
    }

    /// What objects look like; parsed at first use.
    pub fn schema(&self) -> &Schema {
        &self.version().details().schema
    }

    /// Drops what the schema does not know, and fills in its defaults.
    pub fn tidy(&self, object: &mut Value) {
        prune::prune(object, self.schema());
        default::fill(object, self.schema());
    }
}

/// Rows of the kind table: the served versions, preferred first, once the definition is established.
pub fn kinds(definition: &Arc<Definition>) -> Vec<Kind> {
    if !definition.is("Established") {
        return Vec::new();
    }
    let Some(stored) = definition.storage() else { return Vec::new() };
    let stored_as = (api_version(&definition.group, &stored.name), definition.accepted.kind.clone());
    let mut served: Vec<usize> = (0..definition.versions.len()).filter(|it| definition.versions[*it].served).collect();
    served.sort_by(|a, b| version::compare(&definition.versions[*a].name, &definition.versions[*b].name));
    served.into_iter().map(|at| kind(definition, at, &stored_as)).collect()
}

fn kind(definition: &Arc<Definition>, at: usize, stored_as: &(String, String)) -> Kind {
    let (names, version) = (&definition.accepted, &definition.versions[at]);
    let verbs = if definition.is("Terminating") { &ENDING[..] } else { &VERBS[..] };
    let subresource = |name: &str, (group, version, kind): (&str, &str, &str)| Subresource {
        name: name.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs: WRITE.map(str::to_owned).to_vec(),
    };
    let own = (definition.group.as_str(), version.name.as_str(), names.kind.as_str());
    let scale = version.scale.as_ref().map(|_| subresource("scale", ("autoscaling", "v1", "Scale")));
    let status = version.status.then(|| subresource("status", own));
    Kind {
        group: definition.group.clone(),
        version: version.name.clone(),
        kind: names.kind.clone(),
        plural: names.plural.clone(),
        singular: names.singular.clone(),
        short_names: names.short_names.clone(),
        categories: names.categories.clone(),
        namespaced: definition.namespaced,
        verbs: verbs.iter().map(|it| (*it).to_owned()).collect(),
        subresources: scale.into_iter().chain(status).collect(),
        storage: format!("{}/{}", definition.group, names.plural),
        stored_as: stored_as.clone(),
        custom: Some(Arc::new(Custom { definition: definition.clone(), version: at, kept: Kept::default() })),
    }
}
