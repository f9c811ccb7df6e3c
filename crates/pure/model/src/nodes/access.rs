//! What a node may ask for.

use super::{LEASE_NAMESPACE, Related};
use crate::rbac::Resource;

/// What is to be made of a node's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// Every node may, as far as [`restrict`](super::restrict) lets it.
    Allowed,
    /// It may if the object has to do with it.
    Related(Related),
    /// What the rules of `system:node` say.
    ByRules,
    /// It may not, unless somebody gave it a role. Empty where there is nothing to say about it.
    Refused(String),
}

impl Opinion {
    fn refused(why: &str) -> Opinion {
        Opinion::Refused(why.to_owned())
    }
}

/// Judges what the node called `node` wants to do with objects.
pub fn opinion(node: &str, ask: &Resource<'_>) -> Opinion {
    match (ask.group, ask.resource) {
        ("", "secrets") => read(Related::Secret, ask),
        ("", "configmaps") => read(Related::ConfigMap, ask),
        ("", "persistentvolumeclaims") if ask.subresource == "status" => match ask.verb {
            "update" | "patch" => named(Related::Claim, ask),
            _ => Opinion::refused("can only get/update/patch this type"),
        },
        ("", "persistentvolumeclaims") => get(Related::Claim, ask),
        ("", "persistentvolumes") => get(Related::Volume, ask),
        ("resource.k8s.io", "resourceclaims") => get(Related::ResourceClaim, ask),
        ("storage.k8s.io", "volumeattachments") => get(Related::Attachment, ask),
        ("", "serviceaccounts") => token(ask),
        ("coordination.k8s.io", "leases") => lease(node, ask),
        ("storage.k8s.io", "csinodes") => own(node, ask, "CSINode"),
        ("resource.k8s.io", "resourceslices") => slice(node, ask),
        ("", "nodes") => itself(node, ask),
        ("", "pods") => pod(node, ask),
        _ => Opinion::ByRules,
    }
}

fn read(related: Related, ask: &Resource<'_>) -> Opinion {
    match ask {
        _ if !matches!(ask.verb, "get" | "list" | "watch") => Opinion::refused("can only read resources of this type"),
        _ if !ask.subresource.is_empty() => Opinion::refused("cannot read subresource"),
        _ if ask.namespace.is_empty() => Opinion::refused("can only read namespaced object of this type"),
        _ => named(related, ask),
    }
}

fn get(related: Related, ask: &Resource<'_>) -> Opinion {
    match ask {
        _ if ask.verb != "get" => Opinion::refused("can only get individual resources of this type"),
        _ if !ask.subresource.is_empty() => Opinion::refused("cannot get subresource"),
        _ => named(related, ask),
    }
}

fn named(related: Related, ask: &Resource<'_>) -> Opinion {
    if ask.name.is_empty() { Opinion::refused("No Object name found") } else { Opinion::Related(related) }
}

fn token(ask: &Resource<'_>) -> Opinion {
    match ask {
        _ if ask.verb != "create" || ask.name.is_empty() => {
            Opinion::refused("can only create tokens for individual service accounts")
        }
        _ if ask.subresource != "token" => Opinion::refused("can only create token subresource of serviceaccount"),
        _ => Opinion::Related(Related::Account),
    }
}

fn lease(node: &str, ask: &Resource<'_>) -> Opinion {
    match ask.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return Opinion::refused("can only get, create, update, patch, or delete a node lease"),
    }
    if ask.namespace != LEASE_NAMESPACE {
        return Opinion::Refused(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    // The name of what is created is not known yet; it is looked at when it is.
    if ask.verb != "create" && ask.name != node {
        return Opinion::refused("can only access node lease with the same name as the requesting node");
    }
    Opinion::Allowed
}

fn own(node: &str, ask: &Resource<'_>, kind: &str) -> Opinion {
    match ask.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return Opinion::Refused(format!("can only get, create, update, patch, or delete a {kind}")),
    }
    if !ask.subresource.is_empty() {
        return Opinion::Refused(format!("cannot authorize {kind} subresources"));
    }
    if ask.verb != "create" && ask.name != node {
        return Opinion::Refused(format!("can only access {kind} with the same name as the requesting node"));
    }
    Opinion::Allowed
}

fn slice(node: &str, ask: &Resource<'_>) -> Opinion {
    if !ask.subresource.is_empty() {
        return Opinion::refused("cannot authorize ResourceSlice subresources");
    }
    match ask.verb {
        "create" => Opinion::Allowed,
        "get" | "update" | "patch" | "delete" => named(Related::Slice, ask),
        "watch" | "list" | "deletecollection" if ask.node == node => Opinion::Allowed,
        "watch" | "list" | "deletecollection" => {
            Opinion::refused("can only list/watch/deletecollection resourceslices with nodeName field selector")
        }
        _ => Opinion::refused(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
        ),
    }
}

fn itself(node: &str, ask: &Resource<'_>) -> Opinion {
    match (ask.subresource, ask.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Opinion::Allowed,
        // Before it is created, too.
        ("", "get" | "list" | "watch") if ask.name == node => Opinion::Allowed,
        ("", "get" | "list" | "watch") if ask.name.is_empty() => {
            Opinion::Refused(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            Opinion::Refused(format!("node '{node}' cannot read '{}', only its own Node object", ask.name))
        }
        _ => Opinion::refused(""),
    }
}

fn pod(node: &str, ask: &Resource<'_>) -> Opinion {
    match (ask.subresource, ask.verb) {
        ("", "get") => named(Related::Pod, ask),
        ("", "list" | "watch") if ask.node == node => Opinion::Allowed,
        ("", "list" | "watch") if !ask.name.is_empty() => Opinion::Related(Related::Pod),
        ("", "list" | "watch") => Opinion::refused("can only list/watch pods with spec.nodeName field selector"),
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Opinion::Allowed,
        _ => Opinion::refused(""),
    }
}
