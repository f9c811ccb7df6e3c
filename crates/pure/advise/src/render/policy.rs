//! The same three rules in the language of each engine: images of the own registry only, a memory limit, a name label.

use serde_json::{Value, json};

use super::{Brief, Draft};
use crate::layer::Layer;

/// Group of Gatekeeper's constraints.
const CONSTRAINTS: &str = "constraints.gatekeeper.sh/v1beta1";
const TEMPLATE: &str = "EyotPodRules";

/// The rules for Eyot, whose API server has an engine for each language in its own process.
pub(super) fn eyot(brief: &Brief, registry: &str) -> Vec<Value> {
    match brief.at(Layer::Policy) {
        "kyverno" => kyverno(brief, registry),
        "gatekeeper" => gatekeeper(brief, registry),
        "opa" | "opa-wasm" => vec![own_rego(brief, registry)],
        _ => admission_policy(brief, registry),
    }
}

/// Rego as a `Policy` of Eyot's own.
fn own_rego(brief: &Brief, registry: &str) -> Value {
    let containers = "  some c in input.request.object.spec.containers\n";
    let mut rego = format!(
        "package kubernetes.admission\n\n\
         deny contains msg if {{\n{containers}  not startswith(c.image, \"{registry}/\")\n  \
         msg := sprintf(\"image %v: images must come from {registry}\", [c.image])\n}}\n\n\
         deny contains msg if {{\n{containers}  not c.resources.limits.memory\n  \
         msg := sprintf(\"container %v needs a memory limit\", [c.name])\n}}\n"
    );
    if is_complex(brief) {
        rego += "\ndeny contains msg if {\n  not input.request.object.metadata.labels[\"app.kubernetes.io/name\"]\n  \
                 msg := \"pods need the label app.kubernetes.io/name\"\n}\n";
    }
    json!({ "apiVersion": "eyot.dev/v1alpha1", "kind": "Policy",
        "metadata": { "name": format!("{}-pods", brief.name) }, "spec": {
            "rego": { "modules": { "pods.rego": rego } },
            "admission": {
                "decision": "data.kubernetes.admission.deny",
                "rules": [{ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] }],
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": brief.name } } } } })
}

/// The rules for a cluster, in the language of the chosen engine.
pub(super) fn cluster(brief: &Brief, registry: &str, out: &mut Draft, dir: &str) -> Vec<Value> {
    match brief.at(Layer::Policy) {
        "kyverno" => kyverno(brief, registry),
        "opa" => vec![opa(brief, registry)],
        "gatekeeper" => gatekeeper(brief, registry),
        "opa-wasm" => {
            let file = super::File::text(&format!("{dir}policy/pods.rego"), rego(registry, "eyot.pods"));
            out.files.push(file);
            out.note(
                &format!("{dir}policy/pods.rego"),
                "for a host of OPA-Wasm of your own: `opa build -t wasm -e eyot/pods/violation policy/pods.rego`; the template in 30-policy.yaml holds the same rules for Gatekeeper",
                "供自有 OPA-Wasm 宿主使用：`opa build -t wasm -e eyot/pods/violation policy/pods.rego`；30-policy.yaml 中的模板为 Gatekeeper 提供同样规则",
            );
            gatekeeper(brief, registry)
        }
        "iam" => {
            out.note(
                "policy",
                "access rules of a cloud are made in that cloud, not by manifests",
                "云厂商的访问策略需在云上配置，不通过清单",
            );
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// Whether the scenario wants rules beyond the first.
fn is_complex(brief: &Brief) -> bool {
    brief.policy == "complex"
}

fn admission_policy(brief: &Brief, registry: &str) -> Vec<Value> {
    let name = format!("{}-pods", brief.name);
    let containers = "object.spec.containers";
    let mut rules = vec![
        json!({ "expression": format!("{containers}.all(c, c.image.startsWith('{registry}/'))"),
            "message": format!("images must come from {registry}") }),
        json!({ "expression": format!("{containers}.all(c, has(c.resources) && has(c.resources.limits) && 'memory' in c.resources.limits)"),
            "message": "every container needs a memory limit" }),
    ];
    if is_complex(brief) {
        rules.push(json!({ "expression":
            "has(object.metadata.labels) && 'app.kubernetes.io/name' in object.metadata.labels",
            "message": "pods need the label app.kubernetes.io/name" }));
    }
    vec![
        json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name }, "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE"], "resources": ["pods"] }] },
                "validations": rules } }),
        json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name }, "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": { "matchLabels": {
                    "kubernetes.io/metadata.name": brief.name } } } } }),
    ]
}

/// The rules in Rego, as Gatekeeper reads it.
fn rego(registry: &str, package: &str) -> String {
    format!(
        "package {package}\n\n\
         violation[{{\"msg\": msg}}] {{\n  \
           container := input.review.object.spec.containers[_]\n  \
           not startswith(container.image, \"{registry}/\")\n  \
           msg := sprintf(\"image %v: images must come from {registry}\", [container.image])\n}}\n\n\
         violation[{{\"msg\": msg}}] {{\n  \
           container := input.review.object.spec.containers[_]\n  \
           not container.resources.limits.memory\n  \
           msg := sprintf(\"container %v needs a memory limit\", [container.name])\n}}\n\n\
         violation[{{\"msg\": msg}}] {{\n  \
           not input.review.object.metadata.labels[\"app.kubernetes.io/name\"]\n  \
           msg := \"pods need the label app.kubernetes.io/name\"\n}}\n"
    )
}

fn gatekeeper(brief: &Brief, registry: &str) -> Vec<Value> {
    vec![
        json!({ "apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate",
            "metadata": { "name": TEMPLATE.to_lowercase() }, "spec": {
                "crd": { "spec": { "names": { "kind": TEMPLATE } } },
                "targets": [{ "target": "admission.k8s.gatekeeper.sh", "rego": rego(registry, "eyotpodrules") }] } }),
        json!({ "apiVersion": CONSTRAINTS, "kind": TEMPLATE, "metadata": { "name": format!("{}-pods", brief.name) },
            "spec": { "enforcementAction": "deny", "match": { "namespaces": [brief.name],
                "kinds": [{ "apiGroups": [""], "kinds": ["Pod"] }] } } }),
    ]
}

fn kyverno(brief: &Brief, registry: &str) -> Vec<Value> {
    let matched = json!({ "any": [{ "resources": { "kinds": ["Pod"], "namespaces": [brief.name] } }] });
    let rule = |name: &str, message: String, pattern: Value| json!({ "name": name, "match": matched, "validate": { "failureAction": "Enforce", "message": message, "pattern": pattern } });
    let mut rules = vec![
        rule(
            "own-registry",
            format!("images must come from {registry}"),
            json!({ "spec": { "containers": [{ "image": format!("{registry}/*") }] } }),
        ),
        rule(
            "memory-limit",
            "every container needs a memory limit".to_owned(),
            json!({ "spec": { "containers": [{ "resources": { "limits": { "memory": "?*" } } }] } }),
        ),
    ];
    if is_complex(brief) {
        rules.push(rule(
            "name-label",
            "pods need the label app.kubernetes.io/name".to_owned(),
            json!({ "metadata": { "labels": { "app.kubernetes.io/name": "?*" } } }),
        ));
    }
    vec![json!({ "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
        "metadata": { "name": format!("{}-pods", brief.name) }, "spec": { "background": true, "rules": rules } })]
}

/// What OPA's kube-mgmt reads from ConfigMaps.
fn opa(brief: &Brief, registry: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": format!("{}-pods", brief.name), "namespace": brief.name,
            "labels": { "openpolicyagent.org/policy": "rego" } },
        "data": { "pods.rego": rego(registry, "eyot.pods") } })
}
