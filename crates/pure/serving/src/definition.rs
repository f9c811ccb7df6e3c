//! The CustomResourceDefinitions of the kinds. Entry point: [`all`].

use serde_json::{Value, json};

use crate::GROUP;

struct Kind {
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short: &'static [&'static str],
    about: &'static str,
    columns: &'static [(&'static str, &'static str, &'static str)],
}

const READY: (&str, &str, &str) = ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status");
const REASON: (&str, &str, &str) = ("Reason", "string", ".status.conditions[?(@.type=='Ready')].reason");
const CREATED: (&str, &str, &str) = ("LatestCreated", "string", ".status.latestCreatedRevisionName");
const LATEST: (&str, &str, &str) = ("LatestReady", "string", ".status.latestReadyRevisionName");
const URL: (&str, &str, &str) = ("URL", "string", ".status.url");

const KINDS: [Kind; 4] = [
    Kind {
        kind: "Service",
        plural: "services",
        singular: "service",
        short: &["kservice", "ksvc"],
        about: "A function or web service: its template, and which revisions of it get which part of the requests.",
        columns: &[URL, CREATED, LATEST, READY, REASON],
    },
    Kind {
        kind: "Configuration",
        plural: "configurations",
        singular: "configuration",
        short: &["config", "cfg"],
        about: "The template of a service. Each change of it makes a Revision.",
        columns: &[CREATED, LATEST, READY, REASON],
    },
    Kind {
        kind: "Revision",
        plural: "revisions",
        singular: "revision",
        short: &["rev"],
        about: "A template as it was at one time. It never changes, and is scaled by the requests it gets.",
        columns: &[
            ("Config Name", "string", ".metadata.labels['serving\\.knative\\.dev/configuration']"),
            ("Generation", "string", ".metadata.labels['serving\\.knative\\.dev/configurationGeneration']"),
            READY,
            REASON,
            ("Actual Replicas", "integer", ".status.actualReplicas"),
            ("Desired Replicas", "integer", ".status.desiredReplicas"),
        ],
    },
    Kind {
        kind: "Route",
        plural: "routes",
        singular: "route",
        short: &["rt"],
        about: "A URL, and which revisions get which part of the requests to it.",
        columns: &[URL, READY, REASON],
    },
];

/// The definitions. Fields are checked by [`crate::validate`], which knows more than a schema can say.
pub(crate) fn all() -> Vec<Value> {
    KINDS.iter().map(definition).collect()
}

fn definition(it: &Kind) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let columns: Vec<Value> =
        it.columns.iter().map(|(name, kind, path)| json!({"name": name, "type": kind, "jsonPath": path})).collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{GROUP}", it.plural),
            "labels": {"app.kubernetes.io/name": "knative-serving", "knative.dev/crd-install": "true"},
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": it.kind, "listKind": format!("{}List", it.kind), "plural": it.plural, "singular": it.singular,
                "shortNames": it.short, "categories": ["all", "knative", "serving"],
            },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "description": it.about, "type": "object", "properties": {"spec": open, "status": open},
                }},
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
            }],
        },
    })
}
