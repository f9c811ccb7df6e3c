//! What the node of a cluster may see and write: itself, the pods bound to it, and what those refer to.
//!
//! Start at [`of`] (which node a user is), [`opinion`] (what it may ask for, as Kubernetes' node authoriser has it),
//! [`uses`] (what a pod refers to) and [`restrict`] (what it may write, as `NodeRestriction` has it).
//!
//! Deliberately absent: where pods are found. What a node may ask for beside that is in the rules of `system:node`, see
//! [`crate::rbac::builtin::node_rules`].

mod access;
mod relation;
mod restrict;
#[cfg(test)]
mod tests;

pub use access::{Opinion, opinion};
pub use relation::{Related, uses};
pub use restrict::{Change, MIRROR, Write, check_token, restrict};

use crate::rbac::User;

/// What precedes a node's name in its user name.
const USER_PREFIX: &str = "system:node:";
/// The group of all nodes.
const GROUP: &str = "system:nodes";
/// Where the leases of nodes lie.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The name of the node that a user is; empty for one that does not say its name.
pub fn of<'a>(user: &User<'a>) -> Option<&'a str> {
    let name = user.name.strip_prefix(USER_PREFIX)?;
    user.groups.iter().any(|it| it == GROUP).then_some(name)
}
