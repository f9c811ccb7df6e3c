//! The kinds that the engine brings along. Entry point: [`all`].
//!
//! Their schemas keep everything: what a policy may hold is checked by [`check`](super::check), field by field.

use serde_json::{Value, json};

struct Definition {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    /// The stored one first.
    versions: &'static [&'static str],
    columns: fn() -> Value,
    has_status: bool,
}

const KYVERNO: &str = "kyverno.io";
const REPORTS: &str = "wgpolicyk8s.io";

const ALL: [Definition; 6] = [
    Definition {
        group: KYVERNO,
        kind: "ClusterPolicy",
        plural: "clusterpolicies",
        singular: "clusterpolicy",
        short: &["cpol"],
        namespaced: false,
        versions: &["v1", "v2beta1"],
        columns: policy_columns,
        has_status: true,
    },
    Definition {
        group: KYVERNO,
        kind: "Policy",
        plural: "policies",
        singular: "policy",
        short: &["pol"],
        namespaced: true,
        versions: &["v1", "v2beta1"],
        columns: policy_columns,
        has_status: true,
    },
    Definition {
        group: KYVERNO,
        kind: "PolicyException",
        plural: "policyexceptions",
        singular: "policyexception",
        short: &["polex"],
        namespaced: true,
        versions: &["v2", "v2beta1"],
        columns: no_columns,
        has_status: false,
    },
    Definition {
        group: KYVERNO,
        kind: "GlobalContextEntry",
        plural: "globalcontextentries",
        singular: "globalcontextentry",
        short: &["gctxentry"],
        namespaced: false,
        versions: &["v2alpha1", "v2beta1"],
        columns: no_columns,
        has_status: true,
    },
    Definition {
        group: REPORTS,
        kind: "PolicyReport",
        plural: "policyreports",
        singular: "policyreport",
        short: &["polr"],
        namespaced: true,
        versions: &["v1alpha2"],
        columns: report_columns,
        has_status: false,
    },
    Definition {
        group: REPORTS,
        kind: "ClusterPolicyReport",
        plural: "clusterpolicyreports",
        singular: "clusterpolicyreport",
        short: &["cpolr"],
        namespaced: false,
        versions: &["v1alpha2"],
        columns: report_columns,
        has_status: false,
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
                "singular": it.singular,
                "shortNames": it.short,
                "categories": if it.group == KYVERNO { json!(["kyverno"]) } else { json!([]) },
            },
            "versions": versions,
        },
    })
}
