//! The flow schemas and priority levels that a cluster begins with: Kubernetes' own, in short form. Entry point:
//! [`objects`].

use serde_json::{Value, json};

pub(super) const EXEMPT: &str = "exempt";
pub(super) const CATCH_ALL: &str = "catch-all";

const API: &str = "flowcontrol.apiserver.k8s.io/v1";

/// All of them, without defaults.
pub(crate) fn objects() -> Vec<Value> {
    let mut all = levels();
    all.extend(schemas());
    all
}

fn levels() -> Vec<Value> {
    let mut levels = vec![object("PriorityLevelConfiguration", EXEMPT, json!({"type": "Exempt"}))];
    // Name, shares, part that could be lent, queues (none: turned away at once), hand.
    for (name, shares, lendable, queues, hand) in [
        ("leader-election", 10, 0, 16, 4),
        ("node-high", 40, 25, 64, 6),
        ("system", 30, 33, 64, 6),
        ("workload-high", 40, 50, 128, 6),
        ("workload-low", 100, 90, 128, 6),
        ("global-default", 20, 50, 128, 6),
        (CATCH_ALL, 5, 0, 0, 0),
    ] {
        let response = match queues {
            0 => json!({"type": "Reject"}),
            _ => json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}}),
        };
        let limited =
            json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
        levels.push(object("PriorityLevelConfiguration", name, json!({"type": "Limited", "limited": limited})));
    }
    levels
}

fn schemas() -> Vec<Value> {
    let (user, namespace) = (Some("ByUser"), Some("ByNamespace"));
    let everybody = [group("system:unauthenticated"), group("system:authenticated")];
    let managers = [name("system:kube-controller-manager"), name("system:kube-scheduler"), account("*")];
    let probes = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]});
    let elections = || on(&["get", "create", "update"], "coordination.k8s.io", &["leases"], false);
    let endpoints = on(&["get", "create", "update"], "", &["endpoints"], false);
    let nodes =
        [on(&["*"], "", &["nodes", "nodes/status"], true), on(&["*"], "coordination.k8s.io", &["leases"], false)];
    vec![
        schema(EXEMPT, 1, EXEMPT, None, all(&[group("system:masters")])),
        schema("probes", 2, EXEMPT, None, json!({"subjects": everybody, "nonResourceRules": [probes]})),
        schema("system-leader-election", 100, "leader-election", user, some(&managers, &[elections()])),
        schema(
            "endpoint-controller",
            150,
            "workload-high",
            user,
            some(
                &[
                    name("system:kube-controller-manager"),
                    account("endpoint-controller"),
                    account("endpointslicemirroring-controller"),
                ],
                &[endpoints],
            ),
        ),
        schema("workload-leader-election", 200, "leader-election", user, some(&[account("*")], &[elections()])),
        schema("system-node-high", 400, "node-high", user, some(&[group("system:nodes")], &nodes)),
        schema("system-nodes", 500, "system", user, all(&[group("system:nodes")])),
        schema(
            "kube-controller-manager",
            800,
            "workload-high",
            namespace,
            all(&[name("system:kube-controller-manager")]),
        ),
        schema("kube-scheduler", 800, "workload-high", namespace, all(&[name("system:kube-scheduler")])),
        schema("kube-system-service-accounts", 900, "workload-high", namespace, all(&[account("*")])),
        schema("service-accounts", 9000, "workload-low", user, all(&[group("system:serviceaccounts")])),
        schema("global-default", 9900, "global-default", user, all(&everybody)),
        schema(CATCH_ALL, 10_000, CATCH_ALL, user, all(&everybody)),
    ]
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let annotations = json!({"apf.kubernetes.io/autoupdate-spec": "true"});
    json!({"apiVersion": API, "kind": kind, "metadata": {"name": name, "annotations": annotations}, "spec": spec})
}

fn schema(name: &str, precedence: u32, level: &str, by: Option<&str>, rule: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule],
    });
    if let Some(by) = by {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    let mut schema = object("FlowSchema", name, spec);
    schema["status"] = json!({"conditions": [super::status::dangling(level, true)]});
    schema
}

/// A rule about everything that these subjects do.
fn all(subjects: &[Value]) -> Value {
    let everything = json!({
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
    });
    let paths = json!({"verbs": ["*"], "nonResourceURLs": ["*"]});
    json!({"subjects": subjects, "resourceRules": [everything], "nonResourceRules": [paths]})
}

fn some(subjects: &[Value], rules: &[Value]) -> Value {
    json!({"subjects": subjects, "resourceRules": rules})
}

fn on(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources});
    match cluster {
        true => rule["clusterScope"] = true.into(),
        false => rule["namespaces"] = json!(["*"]),
    }
    rule
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn name(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}})
}
