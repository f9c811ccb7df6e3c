//! Role-based access control: who may do what, decided from roles and bindings.
//!
//! Start at [`Index`]: it takes the objects of `rbac.authorization.k8s.io` one by one and answers an [`Ask`]. [`cover`]
//! tells whether a set of rules lies within another, so that nobody grants what they do not hold; [`aggregate`] makes
//! the rules of a ClusterRole from others; [`builtin`] lists the roles that every cluster begins with.
//!
//! Deliberately absent: who somebody is, and the group `system:masters`, which never asks.

pub mod aggregate;
pub mod builtin;
pub mod cover;
mod index;
mod rule;
#[cfg(test)]
mod tests;

pub use index::{Grant, Index, RoleRef, Scoped, Subject};
pub use rule::Rule;

/// API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Something with objects.
    Resource(Resource<'a>),
    /// A request for a path that names no objects.
    Path {
        /// HTTP method in lower case.
        verb: &'a str,
        /// The path, without a query.
        path: &'a str,
    },
}

/// A verb on objects. Empty texts mean: all of them, or none in particular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `get`, `list`, … or a special one such as `bind`.
    pub verb: &'a str,
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for cluster-scoped objects and for all namespaces.
    pub namespace: &'a str,
    /// Empty for collections.
    pub name: &'a str,
    /// The node to which a field selector limits a collection; roles do not know it.
    pub node: &'a str,
}

/// Who wants it.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// User name; that of a ServiceAccount is `system:serviceaccount:NAMESPACE:NAME`.
    pub name: &'a str,
    /// Groups.
    pub groups: &'a [String],
}

/// The user name of a ServiceAccount.
pub fn account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Namespace and name of the ServiceAccount with that user name.
pub fn account_of(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}
