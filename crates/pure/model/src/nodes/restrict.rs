//! What a node may write, beyond what it may ask for: who asks for a write names an object, but not what is in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{LEASE_NAMESPACE, Related, relation};
use crate::{kinds::Kind, meta};

/// What marks a pod that stands for one which its node was told of by a file.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// Labels of its own that a node may set, of those that belong to Kubernetes.
const LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something new.
    Create,
    /// A new version.
    Update,
    /// The end of an object.
    Delete,
}

/// A write of a node.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// What it does.
    pub change: Change,
    /// Of which kind.
    pub kind: &'a Kind,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for kinds without namespaces.
    pub namespace: &'a str,
    /// Of the object.
    pub name: &'a str,
    /// What it is to be.
    pub object: &'a Value,
    /// What is there: for an eviction the pod.
    pub old: &'a Value,
    /// The uid that the Node object has, for pods that name it as their owner.
    pub uid: Option<&'a str>,
}

/// Whether the node may write that.
///
/// # Errors
/// Why not, in Kubernetes' words.
pub fn restrict(node: &str, write: &Write<'_>) -> Result<(), String> {
    match (write.kind.group.as_str(), write.kind.plural.as_str(), write.subresource) {
        ("", "pods", "") => pod(node, write),
        ("", "pods", "status") => status(node, write),
        ("", "pods", "eviction") => {
            let is_own = write.old["spec"]["nodeName"] == node;
            demand(is_own, || format!("node {node} can only evict pods with spec.nodeName set to itself"))
        }
        ("", "pods", other) => {
            Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
        }
        ("", "nodes", _) => itself(node, write),
        ("", "persistentvolumeclaims", "status") => claim(node, write),
        ("", "persistentvolumeclaims", _) => Err("may only update PVC status".to_owned()),
        ("coordination.k8s.io", "leases", _) if write.namespace != LEASE_NAMESPACE => {
            Err(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"))
        }
        ("coordination.k8s.io", "leases", _) => demand(write.name == node, || {
            "can only access node lease with the same name as the requesting node".to_owned()
        }),
        ("storage.k8s.io", "csinodes", _) => demand(write.name == node, || {
            "can only access CSINode with the same name as the requesting node".to_owned()
        }),
        // Whose it is never changes.
        ("resource.k8s.io", "resourceslices", _) => {
            let (subject, verb) = match write.change {
                Change::Create => (write.object, "create"),
                Change::Update => (write.old, "update"),
                Change::Delete => (write.old, "delete"),
            };
            demand(subject["spec"]["nodeName"] == node, || {
                format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")
            })
        }
        _ => Ok(()),
    }
}

/// Whether a node may have the token that `reference`, a `boundObjectRef`, binds to `pod`, which is what has that name.
///
/// # Errors
/// Why not, in Kubernetes' words.
pub fn check_token(node: &str, reference: &Value, pod: &Value) -> Result<(), String> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let is_pod = text("apiVersion") == "v1" && text("kind") == "Pod" && !text("name").is_empty();
    demand(is_pod, || "node requested token not bound to a pod".to_owned())?;
    demand(!text("uid").is_empty(), || "node requested token with a pod binding without a uid".to_owned())?;
    demand(pod["spec"]["nodeName"] == node, || {
        "node requested token bound to a pod scheduled on a different node".to_owned()
    })
}

fn demand(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn pod(node: &str, write: &Write<'_>) -> Result<(), String> {
    match write.change {
        Change::Create => mirror(node, write),
        Change::Delete => {
            let is_own = write.old["spec"]["nodeName"] == node;
            demand(is_own, || format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        Change::Update => {
            Err(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"))
        }
    }
}

/// A pod that a node makes stands for one that it runs already, and refers to nothing.
fn mirror(node: &str, write: &Write<'_>) -> Result<(), String> {
    let pod = write.object;
    demand(meta::annotation(pod, MIRROR).is_some(), || {
        format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods")
    })?;
    let only = |what: &str| format!("node {node:?} can only create pods with {what} set to itself");
    demand(pod["spec"]["nodeName"] == node, || only("spec.nodeName"))?;
    let owner = match meta::list(pod.pointer("/metadata/ownerReferences")) {
        [] => return Err(only("an owner reference")),
        [owner] => owner,
        _ => return Err(only("a single owner reference")),
    };
    let is_itself = owner["apiVersion"] == "v1" && owner["kind"] == "Node" && owner["name"] == node;
    demand(is_itself, || only("an owner reference"))?;
    demand(owner["controller"] == true, || only("a controller owner reference"))?;
    demand(owner["blockOwnerDeletion"] != true, || {
        format!("node {node:?} must not set blockOwnerDeletion on an owner reference")
    })?;
    let (wanted, uid) = (owner["uid"].as_str().unwrap_or_default(), write.uid.unwrap_or_default());
    demand(wanted == uid, || format!("node {node} UID mismatch: expected {wanted} got {uid}"))?;
    let refers = |what: &str| format!("node {node:?} can not create pods that reference {what}");
    let has = |related: Related| relation::refers(pod, related, &|it| !it.is_empty());
    demand(!has(Related::Account), || refers("a service account"))?;
    demand(!has(Related::Secret), || refers("secrets"))?;
    demand(!has(Related::ConfigMap), || refers("configmaps"))?;
    let volumes = meta::list(pod.pointer("/spec/volumes"));
    let mut projected = volumes.iter().flat_map(|it| meta::list(it.pointer("/projected/sources")));
    demand(projected.all(|it| it["clusterTrustBundle"].is_null()), || refers("clustertrustbundles"))?;
    demand(!has(Related::ResourceClaim), || refers("resourceclaims"))?;
    demand(!has(Related::Claim), || refers("persistentvolumeclaims"))
}

fn status(node: &str, write: &Write<'_>) -> Result<(), String> {
    demand(write.old["spec"]["nodeName"] == node, || {
        format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself")
    })?;
    let same = |pointer: &str| write.old.pointer(pointer) == write.object.pointer(pointer);
    demand(same("/metadata/labels"), || format!("node {node:?} cannot update labels through pod status"))?;
    demand(same("/status/resourceClaimStatuses"), || format!("node {node:?} cannot update resource claim statues"))
}

/// Of a claim a node writes down how large its volume has become.
fn claim(node: &str, write: &Write<'_>) -> Result<(), String> {
    let settled = |claim: &Value| {
        let mut claim = claim.clone();
        for field in ["resourceVersion", "managedFields"] {
            meta::metadata_mut(&mut claim).remove(field);
        }
        for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
            meta::entry(&mut claim, "status").remove(field);
        }
        claim
    };
    demand(settled(write.old) == settled(write.object), || {
        format!("node {node:?} is not allowed to update fields other than status.capacity and status.conditions")
    })
}

fn itself(node: &str, write: &Write<'_>) -> Result<(), String> {
    demand(write.name == node, || format!("node {node:?} is not allowed to modify node {:?}", write.name))?;
    let labels = |it: &Value| meta::labels(it).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let (old, new): (BTreeSet<(String, String)>, BTreeSet<_>) = (labels(write.old), labels(write.object));
    let changed: BTreeSet<&str> = old.symmetric_difference(&new).map(|it| it.0.as_str()).collect();
    let forbidden: Vec<&str> = changed.into_iter().filter(|it| is_forbidden(it)).collect();
    let source = write.object.pointer("/spec/configSource").filter(|it| !it.is_null());
    match write.change {
        Change::Create => {
            demand(source.is_none(), || {
                format!("node {node:?} is not allowed to create pods with a non-nil configSource")
            })?;
            demand(forbidden.is_empty(), || {
                format!("node {node:?} is not allowed to set the following labels: {}", forbidden.join(", "))
            })
        }
        Change::Update => {
            demand(source.is_none() || source == write.old.pointer("/spec/configSource"), || {
                format!("node {node:?} is not allowed to update configSource to a new non-nil configSource")
            })?;
            // With an owner that is gone it would be collected, and come back without its taints.
            let owners = |it: &Value| meta::list(it.pointer("/metadata/ownerReferences")).to_vec();
            demand(owners(write.old) == owners(write.object), || {
                format!("node {node:?} is not allowed to modify ownerReferences")
            })?;
            let taints = |it: &Value| meta::list(it.pointer("/spec/taints")).to_vec();
            demand(taints(write.old) == taints(write.object), || {
                format!("node {node:?} is not allowed to modify taints")
            })?;
            demand(forbidden.is_empty(), || format!("is not allowed to modify labels: {}", forbidden.join(", ")))
        }
        Change::Delete => Ok(()),
    }
}

/// Whether a label steers pods, so that a node must not set it on itself.
fn is_forbidden(label: &str) -> bool {
    let namespace = label.split_once('/').map_or("", |it| it.0);
    let within = |parent: &str| namespace.strip_suffix(parent).is_some_and(|it| it.is_empty() || it.ends_with('.'));
    let is_own = LABELS.contains(&label) || within("node.kubernetes.io") || within("kubelet.kubernetes.io");
    within("node-restriction.kubernetes.io") || ((within("kubernetes.io") || within("k8s.io")) && !is_own)
}
