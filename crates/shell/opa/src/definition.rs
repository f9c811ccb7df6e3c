//! The CustomResourceDefinition of `Policy`.

use serde_json::{Value, json};

use crate::spec::{GROUP, KIND};

/// The definition. Fields are checked by [`crate::spec`], which knows more than a schema can say.
pub(crate) fn definition() -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("policies.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {"kind": KIND, "listKind": "PolicyList", "plural": "policies", "singular": "policy",
                "shortNames": ["opapolicy"]},
            "scope": "Cluster",
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "description": "A policy in Rego: for admission, or for requests at the gateway.",
                    "type": "object",
                    "properties": {"spec": open, "status": open},
                    "required": ["spec"],
                }},
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Ready", ".status.conditions[?(@.type==\"Ready\")].status"),
                    column("Revision", ".status.revision"),
                    column("Reason", ".status.conditions[?(@.type==\"Ready\")].reason"),
                ],
            }],
        },
    })
}
