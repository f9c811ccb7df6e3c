//! Policies of every engine and sort, none of which a pod of the benchmark breaks: each is evaluated to its end.
//!
//! Entry points: [`MIXED`], [`pod`] and [`collection`].

use serde_json::{Value, json};

/// A sort of policy: the objects that make up the one of a number, in the order in which they are created.
pub type Sort = fn(usize) -> Vec<Value>;

/// The sorts that take turns, by what they are called: validating and mutating ones of Kubernetes, Gatekeeper, Kyverno and
/// OPA.
pub const MIXED: &[(&str, Sort)] = &[
    ("validating: labels", labels),
    ("gatekeeper: labels in Rego", gatekeeper_labels),
    ("kyverno: pattern", kyverno_pattern),
    ("opa: images in Rego", opa_images),
    ("mutating: configuration", defaults),
    ("validating: images", images),
    ("gatekeeper: AssignMetadata", gatekeeper_assign),
    ("kyverno: merge patch", kyverno_mutation),
    ("validating: quantities", limits),
    ("validating: variables", variables),
];

const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// Where objects of a kind are created.
pub fn collection(object: &Value) -> Option<String> {
    let kind = object["kind"].as_str()?;
    let plural = match kind {
        "ClusterPolicy" => "clusterpolicies".to_owned(),
        "ValidatingAdmissionPolicy" => "validatingadmissionpolicies".to_owned(),
        "MutatingAdmissionPolicy" => "mutatingadmissionpolicies".to_owned(),
        "Policy" => "policies".to_owned(),
        "AssignMetadata" => "assignmetadata".to_owned(),
        "ConstraintTemplate" | "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            format!("{}s", kind.to_lowercase())
        }
        constraint => constraint.to_lowercase(),
    };
    Some(format!("/apis/{}/{plural}", object["apiVersion"].as_str()?))
}

fn rules() -> Value {
    json!({"resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}]})
}

/// A ValidatingAdmissionPolicy about pods with its binding.
pub fn validating(name: &str, validations: &Value) -> Vec<Value> {
    vec![
        json!({"apiVersion": ADMISSION, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {"matchConstraints": rules(), "validations": validations}}),
        json!({"apiVersion": ADMISSION, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]}}),
    ]
}

fn labels(at: usize) -> Vec<Value> {
    let expression = "['app', 'team', 'tier'].all(l, l in object.metadata.labels)";
    validating(&format!("labels-{at}"), &json!([{"expression": expression, "message": "labels are missing"}]))
}

fn images(at: usize) -> Vec<Value> {
    let expression =
        "object.spec.containers.all(c, c.image.startsWith('registry.example.com/') && !c.image.endsWith(':latest'))";
    validating(&format!("images-{at}"), &json!([{"expression": expression, "message": "images come from elsewhere"}]))
}

fn limits(at: usize) -> Vec<Value> {
    let expression = "object.spec.containers.all(c, has(c.resources.limits) && \
                      quantity(c.resources.limits.memory).isLessThan(quantity('1Gi')))";
    validating(&format!("limits-{at}"), &json!([{"expression": expression, "message": "too much memory"}]))
}

fn variables(at: usize) -> Vec<Value> {
    let mut made = validating(
        &format!("variables-{at}"),
        &json!([
            {"expression": "variables.contexts.all(c, c.?allowPrivilegeEscalation.orValue(true) == false)"},
            {"expression": "variables.contexts.all(c, c.?runAsNonRoot.orValue(false))"},
        ]),
    );
    let expression = "object.spec.containers.map(c, c.?securityContext.orValue({}))";
    made[0]["spec"]["variables"] = json!([{"name": "contexts", "expression": expression}]);
    made
}

fn defaults(at: usize) -> Vec<Value> {
    let name = format!("defaults-{at}");
    let expression = format!("Object{{metadata: Object.metadata{{annotations: {{'bench/{at}': 'seen'}}}}}}");
    let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    vec![
        json!({"apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {"matchConstraints": rules(), "reinvocationPolicy": "Never", "mutations": [mutation]}}),
        json!({"apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name}}),
    ]
}

/// The class of policy that everybody has: labels that must be there, with a form.
pub const LABELS: &str = r#"
package labels
violation[{"msg": msg, "details": {"missing": missing}}] {
  provided := {label | input.review.object.metadata.labels[label]}
  required := {label | label := input.parameters.labels[_].key}
  missing := required - provided
  count(missing) > 0
  msg := sprintf("you must provide labels: %v", [missing])
}
violation[{"msg": msg}] {
  value := input.review.object.metadata.labels[key]
  expected := input.parameters.labels[_]
  expected.key == key
  expected.allowedRegex != ""
  not regex.match(expected.allowedRegex, value)
  msg := sprintf("Label <%v: %v> does not satisfy allowed regex: %v", [key, value, expected.allowedRegex])
}
"#;

fn gatekeeper_labels(at: usize) -> Vec<Value> {
    vec![template(at, LABELS), constraint(at, "Pod")]
}

/// A template whose constraints have a kind of their own.
pub fn template(at: usize, rego: &str) -> Value {
    json!({"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate",
        "metadata": {"name": format!("benchlabels{at}")},
        "spec": {"crd": {"spec": {"names": {"kind": format!("BenchLabels{at}")}, "validation": {"openAPIV3Schema": {
            "type": "object", "properties": {
                "message": {"type": "string"},
                "labels": {"type": "array", "items": {"type": "object", "properties": {
                    "key": {"type": "string"}, "allowedRegex": {"type": "string"}}}}}}}}},
            "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": rego}]}})
}

/// A constraint of [`template`] about a kind of the core group.
pub fn constraint(at: usize, kind: &str) -> Value {
    json!({"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": format!("BenchLabels{at}"),
        "metadata": {"name": "team"},
        "spec": {"match": {"kinds": [{"apiGroups": [""], "kinds": [kind]}]},
            "parameters": {"labels": [{"key": "team", "allowedRegex": "^[a-z]+$"}]}}})
}

fn gatekeeper_assign(at: usize) -> Vec<Value> {
    vec![json!({"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "AssignMetadata",
        "metadata": {"name": format!("note-{at}")},
        "spec": {"match": {"scope": "Namespaced", "kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]},
            "location": format!("metadata.annotations.noted{at}"), "parameters": {"assign": {"value": "seen"}}}})]
}

fn kyverno(name: &str, rule: &Value) -> Vec<Value> {
    let mut rule = rule.clone();
    rule["name"] = "it".into();
    rule["match"] = json!({"any": [{"resources": {"kinds": ["Pod"]}}]});
    // Reports come after the answer; they are no part of what a write takes.
    vec![json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
        "spec": {"background": false, "rules": [rule]}})]
}

fn kyverno_pattern(at: usize) -> Vec<Value> {
    let pattern = json!({"spec": {"containers": [{
        "image": "registry.example.com/* & !*:latest", "resources": {"limits": {"memory": "<=1Gi", "cpu": "?*"}}}]}});
    let validate = json!({"failureAction": "Enforce", "message": "images or limits", "pattern": pattern});
    kyverno(&format!("pattern-{at}"), &json!({"validate": validate}))
}

fn kyverno_mutation(at: usize) -> Vec<Value> {
    let patch = json!({"metadata": {"labels": {(format!("+(seen{at})")): "{{ request.operation }}"}}});
    kyverno(&format!("mutation-{at}"), &json!({"mutate": {"patchStrategicMerge": patch}}))
}

/// An admission policy in Rego about pods.
pub fn opa(name: &str, module: &str) -> Value {
    json!({"apiVersion": "eyot.dev/v1alpha1", "kind": "Policy", "metadata": {"name": name},
        "spec": {"rego": {"modules": {"main.rego": module}}, "admission": {"decision": "data.bench.deny",
            "rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}}})
}

/// Where images may come from, in Rego: `data.bench.deny`.
pub const IMAGES: &str = "package bench\n\nallowed := {\"registry.example.com\"}\n\ndeny contains msg if {\n  \
                  some c in input.request.object.spec.containers\n  host := split(c.image, \"/\")[0]\n  \
                  not host in allowed\n  msg := sprintf(\"%v is not from our registry\", [c.image])\n}\n";

fn opa_images(at: usize) -> Vec<Value> {
    vec![opa(&format!("images-{at}"), IMAGES)]
}

/// A pod as they are: two containers, limits, probes, labels. Nothing schedules it.
pub fn pod(name: &str) -> Value {
    let container = |name: &str| {
        json!({"name": name, "image": format!("registry.example.com/shop/{name}:1.4.2"), "ports": [{"containerPort": 8080}],
            "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
            "securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true},
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}}})
    };
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "shop", "team": "checkout", "tier": "front"}},
        "spec": {"schedulerName": "nobody", "containers": [container("web"), container("side")]}})
}
