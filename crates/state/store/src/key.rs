//! Names of things in the store: revisions, keys and scopes.

use std::{fmt, sync::Arc};

/// Position in the store-wide order of changes; the first change has revision 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of one object. Orders by resource, then namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `group/plural`; the core group is `/plural` or whatever the caller settles on.
    pub resource: Arc<str>,
    /// Empty for a cluster-scoped object.
    pub namespace: Arc<str>,
    /// Unique within resource and namespace.
    pub name: Arc<str>,
}

impl Key {
    /// Names one object.
    pub fn new(resource: impl Into<Arc<str>>, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Key {
        Key { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }

    pub(crate) fn place(&self) -> Place {
        Place { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => write!(f, "{} {}", self.resource, self.name),
            false => write!(f, "{} {}/{}", self.resource, self.namespace, self.name),
        }
    }
}

/// A key without its resource: the order of one table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// As in [`Key::resource`].
    pub resource: Arc<str>,
    /// All namespaces when `None`.
    pub namespace: Option<Arc<str>>,
    /// One object when `Some`; spares a watcher of one object the traffic of its neighbours.
    pub name: Option<Arc<str>>,
}

impl Scope {
    /// Every object of a resource.
    pub fn all(resource: impl Into<Arc<str>>) -> Scope {
        Scope { resource: resource.into(), namespace: None, name: None }
    }

    /// The objects of a resource in one namespace.
    pub fn namespaced(resource: impl Into<Arc<str>>, namespace: impl Into<Arc<str>>) -> Scope {
        Scope { namespace: Some(namespace.into()), ..Scope::all(resource) }
    }

    /// Narrows to objects of one name.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Scope {
        Scope { name: Some(name.into()), ..self }
    }

    /// Whether an object of this scope's resource lies inside; the resource itself is not compared.
    pub(crate) fn admits(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|it| *it == key.namespace)
            && self.name.as_ref().is_none_or(|it| *it == key.name)
    }
}
