//! The kinds a server knows: names, scope, verbs and subresources.
//!
//! Start at [`builtin`]. A [`Table`] can lie over another ([`Table::over`]), so that kinds defined at run time sit beside
//! the built-in ones, which are shared. Deliberately absent: the fields of a kind ([`crate::schema`]).

mod data;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use crate::custom::Custom;

/// One served version of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: String,
    /// API version within the group, such as `v1`.
    pub version: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
    /// Plural resource name, such as `deployments`: the URL segment.
    pub plural: String,
    /// Singular resource name, such as `deployment`.
    pub singular: String,
    /// Abbreviations kubectl accepts, such as `deploy`.
    pub short_names: Vec<String>,
    /// Groups of resources it belongs to, such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs the main resource allows, in alphabetical order.
    pub verbs: Vec<String>,
    /// Subresources such as `status` and `scale`, in alphabetical order.
    pub subresources: Vec<Subresource>,
    /// `group/plural` under which objects are stored: versions of one kind share it.
    pub storage: String,
    /// `apiVersion` and `kind` of the stored form. [`crate::convert`] goes between it and this version.
    pub stored_as: (String, String),
    /// What a CustomResourceDefinition says of it; `None` for built-in kinds.
    pub custom: Option<Arc<Custom>>,
}

/// One subresource of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Last URL segment, such as `status`.
    pub name: String,
    /// Group of the kind it carries.
    pub group: String,
    /// Version of the kind it carries.
    pub version: String,
    /// Kind it carries, such as `Scale`.
    pub kind: String,
    /// Verbs it allows, in alphabetical order.
    pub verbs: Vec<String>,
}

impl Kind {
    /// `apiVersion` of its objects: `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Kind of its lists: `DeploymentList`.
    pub fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.definition().accepted.list_kind.clone(),
            None => format!("{}List", self.kind),
        }
    }

    /// `plural.group` as Kubernetes messages name it: `deployments.apps`, `pods`.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Kind.group` as Kubernetes validation messages name it: `Deployment.apps`, `Pod`.
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|it| it.name == name)
    }

    /// Whether the main resource allows a verb.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|it| it == verb)
    }

    /// Whether objects are only ever posted and answered, never stored (reviews, `Binding`).
    pub fn create_only(&self) -> bool {
        self.verbs == ["create"]
    }

    /// Whether objects are measured when they are asked for, and never stored.
    pub fn is_measured(&self) -> bool {
        matches!(self.group.as_str(), "metrics.k8s.io" | "custom.metrics.k8s.io" | "external.metrics.k8s.io")
    }

    /// Whether it is this group and kind, in any version.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

/// `group/version`, or the version alone for the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Splits an `apiVersion` into group and version.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.rsplit_once('/').unwrap_or(("", api_version))
}

/// A set of kinds, in the order discovery shows them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Kinds that come first and win; shared rather than copied.
    base: Option<&'static Table>,
    kinds: Vec<Arc<Kind>>,
    by_plural: HashMap<[String; 3], usize>,
    by_kind: HashMap<[String; 3], usize>,
    /// The kind that each storage resource is stored as.
    by_storage: HashMap<String, usize>,
}

impl Table {
    /// The kinds of `base`, to which others can be added.
    pub fn over(base: &'static Table) -> Table {
        Table { base: Some(base), ..Table::default() }
    }

    /// Adds a kind, in place of one with the same group, version and plural.
    pub fn insert(&mut self, kind: impl Into<Arc<Kind>>) {
        let kind = kind.into();
        let plural = [kind.group.clone(), kind.version.clone(), kind.plural.clone()];
        let name = [kind.group.clone(), kind.version.clone(), kind.kind.clone()];
        let at = *self.by_plural.entry(plural).or_insert(self.kinds.len());
        self.by_kind.insert(name, at);
        if kind.stored_as.0 == kind.api_version() {
            self.by_storage.entry(kind.storage.clone()).or_insert(at);
        }
        match self.kinds.get_mut(at) {
            Some(slot) => *slot = kind,
            None => self.kinds.push(kind),
        }
    }

    /// The kind at `/apis/GROUP/VERSION/PLURAL`.
    pub fn by_plural(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.find(|it| &it.by_plural, group, version, plural)
    }

    /// The kind of an object with that group, version and kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.find(|it| &it.by_kind, group, version, kind)
    }

    /// The kind of an object with that `apiVersion` and kind.
    pub fn by_api_version(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let (group, version) = split_api_version(api_version);
        self.by_kind(group, version, kind)
    }

    /// The preferred version of a group's kind: the first in discovery order.
    pub fn preferred(&self, group: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.iter().find(|it| it.is(group, kind))
    }

    /// The kind that a storage key's resource (`group/plural`) is stored as.
    pub fn by_storage(&self, storage: &str) -> Option<&Arc<Kind>> {
        let own = || self.by_storage.get(storage).map(|&at| &self.kinds[at]);
        self.base.and_then(|it| it.by_storage(storage)).or_else(own)
    }

    /// Every kind, in discovery order: groups, then versions by preference, then plurals.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.base.into_iter().flat_map(|it| &it.kinds).chain(&self.kinds)
    }

    /// Groups in discovery order, each with its versions, preferred first.
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for kind in self.iter() {
            let at = groups.iter().position(|(group, _)| *group == kind.group).unwrap_or_else(|| {
                groups.push((&kind.group, Vec::new()));
                groups.len() - 1
            });
            let versions = &mut groups[at].1;
            if !versions.contains(&kind.version.as_str()) {
                versions.push(&kind.version);
            }
        }
        groups
    }

    fn find(&self, index: fn(&Table) -> &HashMap<[String; 3], usize>, a: &str, b: &str, c: &str) -> Option<&Arc<Kind>> {
        let key = [a.to_owned(), b.to_owned(), c.to_owned()];
        let of = |table: &'_ Table| index(table).get(&key).copied();
        match self.base.and_then(|base| of(base).map(|at| &base.kinds[at])) {
            Some(kind) => Some(kind),
            None => of(self).map(|at| &self.kinds[at]),
        }
    }
}

/// The built-in kinds: those of Kubernetes 1.37 and of Gateway API.
pub fn builtin() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        let mut table = Table::default();
        data::kinds().for_each(|kind| table.insert(kind));
        table
    });
    &TABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_kinds_by_plural_and_kind() {
        let deployment = builtin().by_plural("apps", "v1", "deployments").expect("known");
        assert_eq!(deployment.kind, "Deployment");
        assert_eq!(deployment.short_names, ["deploy"]);
        assert_eq!(builtin().by_api_version("apps/v1", "Deployment"), Some(deployment));
        assert!(builtin().by_kind("apps", "v2", "Deployment").is_none());
    }

    #[test]
    fn versions_of_a_kind_share_storage() {
        let v1 = builtin().by_plural("autoscaling", "v1", "horizontalpodautoscalers").expect("known");
        let v2 = builtin().by_plural("autoscaling", "v2", "horizontalpodautoscalers").expect("known");
        assert_eq!(v1.storage, v2.storage);
        assert_eq!(builtin().by_storage(&v1.storage), Some(v2));
        let events = builtin().by_plural("events.k8s.io", "v1", "events").expect("known");
        assert_eq!(events.storage, "/events");
    }

    #[test]
    fn every_storage_has_exactly_one_stored_kind() {
        for kind in builtin().iter().filter(|it| !it.create_only() && it.plural != "componentstatuses") {
            let stored = builtin().by_storage(&kind.storage).unwrap_or_else(|| panic!("{}", kind.storage));
            assert_eq!(kind.stored_as, (stored.api_version(), stored.kind.clone()), "{}", kind.storage);
        }
    }

    #[test]
    fn preferred_version_comes_first() {
        let groups = builtin().groups();
        assert_eq!(groups[0], ("", vec!["v1"]));
        assert!(groups.contains(&("autoscaling", vec!["v2", "v1"])));
        assert!(groups.contains(&("resource.k8s.io", vec!["v1", "v1beta2", "v1beta1", "v1alpha3"])));
    }

    #[test]
    fn reviews_are_create_only() {
        for plural in ["subjectaccessreviews", "selfsubjectaccessreviews"] {
            assert!(builtin().by_plural("authorization.k8s.io", "v1", plural).expect("known").create_only());
        }
        assert!(!builtin().by_plural("", "v1", "pods").expect("known").create_only());
    }
}
