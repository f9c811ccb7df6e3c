//! Fields that nobody comes to own by a write, because the write does not change them.

use std::sync::LazyLock;

use super::set::Set;
use crate::kinds::Kind;

/// Fields that nobody owns: they name the object, or are the server's own.
pub(super) static UNOWNED: LazyLock<Set> = LazyLock::new(|| {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// Fields that a write through a subresource leaves as they are.
pub(super) struct Ignored {
    fields: Set,
    /// Whether everything but status is such a field.
    all_but_status: bool,
}

impl Ignored {
    /// What a write of that kind through that subresource ignores, in all versions of the kind.
    pub(super) fn of(kind: &Kind, subresource: &str) -> Self {
        let mut fields = Set::of_fields(&[&["metadata", "managedFields"]]);
        let more: &[&[&str]] = match (kind.group.as_str(), kind.kind.as_str(), subresource) {
            (_, _, "") if kind.subresource("status").is_some() => &[&["status"]],
            ("", "Pod", "status") => &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]],
            ("apps", "Deployment", "status") => &[&["spec"], &["metadata", "labels"]],
            ("certificates.k8s.io", _, "status") => &[&["spec"], &["status", "conditions"]],
            ("certificates.k8s.io", _, "approval") => &[&["spec"], &["status", "certificate"]],
            ("apiextensions.k8s.io" | "apiregistration.k8s.io", _, "status") => &[&["spec"], &["metadata"]],
            (_, _, "status") => &[&["spec"]],
            (_, _, "scale" | "resize" | "ephemeralcontainers") => &[&["status"]],
            _ => &[],
        };
        fields.union(Set::of_fields(more));
        Self { fields, all_but_status: kind.custom.is_some() && subresource == "status" }
    }

    /// Takes the ignored fields out of a set, with everything below them.
    pub(super) fn strip(&self, set: &mut Set) {
        set.subtract_below(&self.fields);
        if self.all_but_status {
            set.keep_below("status");
        }
    }
}
