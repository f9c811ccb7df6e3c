//! The kinds that the engine brings along. Entry point: [`all`].
//!
//! Their schemas keep everything: what a policy may hold is checked by [`check`](super::check), field by field.

use serde_json::{Value, json};

use crate::celpolicy;

struct Definition {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    /// The stored one first.
    versions: &'static [&'static str],
    columns: fn() -> Value,
    has_status: bool,
}

const KYVERNO: &str = "kyverno.io";
const REPORTS: &str = "wgpolicyk8s.io";

/// A policy of either old kind; what others have differs.
const POLICY: Definition = Definition {
    group: KYVERNO,
    kind: "",
    plural: "",
    short: &[],
    namespaced: false,
    versions: &["v1", "v2beta1"],
    columns: policy_columns,
    has_status: true,
};
/// A policy in CEL.
const CEL: Definition =
    Definition { group: celpolicy::GROUP, versions: &["v1", "v1beta1", "v1alpha1"], columns: cel_columns, ..POLICY };
/// The same for one namespace.
const OWN: Definition = Definition { namespaced: true, versions: &["v1", "v1beta1"], ..CEL };
const REPORT: Definition =
    Definition { group: REPORTS, versions: &["v1alpha2"], columns: report_columns, has_status: false, ..POLICY };

const ALL: [Definition; 19] = [
    Definition { kind: "ClusterPolicy", plural: "clusterpolicies", short: &["cpol"], ..POLICY },
    Definition { kind: "Policy", plural: "policies", short: &["pol"], namespaced: true, ..POLICY },
    Definition {
        kind: "PolicyException",
        plural: "policyexceptions",
        short: &["polex"],
        namespaced: true,
        versions: &["v2", "v2beta1"],
        columns: no_columns,
        has_status: false,
        ..POLICY
    },
    Definition {
        kind: "GlobalContextEntry",
        plural: "globalcontextentries",
        short: &["gctxentry"],
        versions: &["v2alpha1", "v2beta1"],
        columns: no_columns,
        ..POLICY
    },
    Definition {
        kind: "ClusterCleanupPolicy",
        plural: "clustercleanuppolicies",
        short: &["ccleanpol"],
        versions: &["v2", "v2beta1"],
        columns: cleanup_columns,
        ..POLICY
    },
    Definition {
        kind: "CleanupPolicy",
        plural: "cleanuppolicies",
        short: &["cleanpol"],
        namespaced: true,
        versions: &["v2", "v2beta1"],
        columns: cleanup_columns,
        ..POLICY
    },
    Definition { kind: "PolicyReport", plural: "policyreports", short: &["polr"], namespaced: true, ..REPORT },
    Definition { kind: "ClusterPolicyReport", plural: "clusterpolicyreports", short: &["cpolr"], ..REPORT },
    Definition { kind: "ValidatingPolicy", plural: "validatingpolicies", short: &["vpol"], ..CEL },
    Definition { kind: "NamespacedValidatingPolicy", plural: "namespacedvalidatingpolicies", short: &["nvpol"], ..OWN },
    Definition { kind: "MutatingPolicy", plural: "mutatingpolicies", short: &["mpol"], ..CEL },
    Definition { kind: "NamespacedMutatingPolicy", plural: "namespacedmutatingpolicies", short: &["nmpol"], ..OWN },
    Definition {
        kind: "PolicyException",
        plural: "policyexceptions",
        short: &["celpolex"],
        namespaced: true,
        columns: no_columns,
        has_status: false,
        ..CEL
    },
    // Served to be refused with a reason.
    Definition { kind: "GeneratingPolicy", plural: "generatingpolicies", short: &["gpol"], ..CEL },
    Definition { kind: "NamespacedGeneratingPolicy", plural: "namespacedgeneratingpolicies", short: &["ngpol"], ..OWN },
    Definition { kind: "DeletingPolicy", plural: "deletingpolicies", short: &["dpol"], ..CEL },
    Definition { kind: "NamespacedDeletingPolicy", plural: "namespaceddeletingpolicies", short: &["ndpol"], ..OWN },
    Definition { kind: "ImageValidatingPolicy", plural: "imagevalidatingpolicies", short: &["ivpol"], ..CEL },
    Definition {
        kind: "NamespacedImageValidatingPolicy",
        plural: "namespacedimagevalidatingpolicies",
        short: &["nivpol"],
        ..OWN
    },
];

/// All definitions.
pub(super) fn all() -> Vec<Value> {
    ALL.iter().map(definition).collect()
}

fn column(name: &str, path: &str, of_type: &str) -> Value {
    json!({ "name": name, "jsonPath": path, "type": of_type })
}

fn policy_columns() -> Value {
    json!([
        column("Admission", ".spec.admission", "boolean"),
        column("Background", ".spec.background", "boolean"),
        column("Ready", ".status.conditions[?(@.type == \"Ready\")].status", "string"),
        column("Age", ".metadata.creationTimestamp", "date"),
        column("Message", ".status.conditions[?(@.type == \"Ready\")].message", "string"),
    ])
}

fn cel_columns() -> Value {
    json!([
        column("Age", ".metadata.creationTimestamp", "date"),
        column("Ready", ".status.conditionStatus.ready", "string"),
    ])
}

fn cleanup_columns() -> Value {
    json!([column("Schedule", ".spec.schedule", "string"), column("Age", ".metadata.creationTimestamp", "date")])
}

fn no_columns() -> Value {
    json!([column("Age", ".metadata.creationTimestamp", "date")])
}

fn report_columns() -> Value {
    json!([
        column("Kind", ".scope.kind", "string"),
        column("Name", ".scope.name", "string"),
        column("Pass", ".summary.pass", "integer"),
        column("Fail", ".summary.fail", "integer"),
        column("Warn", ".summary.warn", "integer"),
        column("Error", ".summary.error", "integer"),
        column("Skip", ".summary.skip", "integer"),
        column("Age", ".metadata.creationTimestamp", "date"),
    ])
}

fn definition(it: &Definition) -> Value {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let versions = it.versions.iter().enumerate().map(|(at, name)| {
        let mut version = json!({
            "name": name,
            "served": true,
            "storage": at == 0,
            "schema": { "openAPIV3Schema": schema },
            "additionalPrinterColumns": (it.columns)(),
        });
        if it.has_status {
            version["subresources"] = json!({ "status": {} });
        }
        version
    });
    let versions: Vec<Value> = versions.collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{}", it.plural, it.group) },
        "spec": {
            "group": it.group,
            "scope": if it.namespaced { "Namespaced" } else { "Cluster" },
            "names": {
                "kind": it.kind,
                "listKind": format!("{}List", it.kind),
                "plural": it.plural,
                "singular": it.kind.to_lowercase(),
                "shortNames": it.short,
                "categories": if it.group == REPORTS { json!([]) } else { json!(["kyverno"]) },
            },
            "versions": versions,
        },
    })
}
