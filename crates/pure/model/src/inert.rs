//! Kinds that are stored while nothing acts on them. Entry point: [`warning`]. Of some kinds a part acts.
//!
//! The API server answers a write of such an object with a `Warning` header, and the advisor marks it in what it renders,
//! so that nobody waits for an effect that will not come. A row leaves the table with the commit that makes something act
//! on its kind.

use crate::kinds::Kind;

/// Group, kinds, and what does not happen.
const ROWS: &[(&str, &[&str], &str)] = &[
    ("apiregistration.k8s.io", &["APIService"], "requests are not passed on to other API servers"),
    ("certificates.k8s.io", &["ClusterTrustBundle", "PodCertificateRequest"], "no pod gets certificates"),
    ("lifecycle.k8s.io", &["EvictionRequest", "Eviction"], "no pod is evicted"),
    ("networking.k8s.io", &["IPAddress", "ServiceCIDR"], "addresses of Services do not come from it"),
    (
        "resource.k8s.io",
        &[
            "DeviceClass",
            "DeviceTaintRule",
            "ResourceClaim",
            "ResourceClaimTemplate",
            "ResourcePoolStatusRequest",
            "ResourceSlice",
        ],
        "no device is given to pods",
    ),
    ("scheduling.k8s.io", &["CompositePodGroup", "PodGroup", "Workload"], "pods are scheduled one by one"),
    (
        "storage.k8s.io",
        &["CSIDriver", "CSINode", "CSIStorageCapacity", "VolumeAttachment", "VolumeAttributesClass"],
        "no driver is asked for volumes",
    ),
    ("storagemigration.k8s.io", &["StorageVersionMigration"], "stored objects need no migration"),
];

/// Group, kind, and what of it acts and what does not.
const PARTS: &[(&str, &str, &str)] =
    &[("networking.k8s.io", "NetworkPolicy", "egress rules hold what guests send, ingress rules hold nothing back")];

/// What to tell who writes an object of this kind; nothing when all of it acts.
pub fn warning(kind: &Kind) -> Option<String> {
    if let Some(part) = PARTS.iter().find(|it| it.0 == kind.group && it.1 == kind.kind) {
        return Some(format!("only a part of {} acts here: {}", kind.plural, part.2));
    }
    let row = ROWS.iter().find(|it| it.0 == kind.group && it.1.contains(&kind.kind.as_str()))?;
    Some(format!("nothing acts on {} here: {}, the object is only stored", kind.plural, row.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::builtin as table;

    #[test]
    fn rows_name_kinds_that_exist_and_what_acts_is_not_warned_about() {
        for (group, kinds, _) in ROWS {
            for kind in *kinds {
                let known = table().iter().any(|it| it.group == *group && it.kind == *kind);
                assert!(known, "{group}/{kind}");
            }
        }
        let of = |group: &str, plural: &str| warning(table().by_plural(group, "v1", plural).unwrap());
        assert_eq!(of("apps", "deployments"), None);
        assert_eq!(of("", "configmaps"), None);
        let policies = of("networking.k8s.io", "networkpolicies").unwrap();
        assert_eq!(
            policies,
            "only a part of networkpolicies acts here: egress rules hold what guests send, ingress rules hold nothing back"
        );
    }
}
