//! sig-api-machinery: what admission policies do. That they go through the round is shown in `machinery`.

use serde_json::{Value, json};

use super::lifecycle::expect;
use crate::server::Server;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/marked/deployments";

/// A namespace with the mark that bindings select, and one without.
async fn server() -> Server {
    let server = Server::start().await;
    let marked = json!({"metadata": {"name": "marked", "labels": {"mark": "true"}}});
    expect(server.post("/api/v1/namespaces", marked).await, 201);
    server
}

fn constraints() -> Value {
    json!({"namespaceSelector": {"matchLabels": {"mark": "true"}}, "resourceRules": [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]})
}

async fn validating(server: &Server, name: &str, spec: Value) -> Value {
    let mut object = json!({"metadata": {"name": name}, "spec": spec});
    object["spec"]["matchConstraints"] = constraints();
    let created = expect(server.post(&format!("{GROUP}/validatingadmissionpolicies"), object).await, 201);
    let selector = json!({"namespaceSelector": {"matchLabels": {"mark": "true"}}});
    let binding = json!({"metadata": {"name": name},
        "spec": {"policyName": name, "matchResources": selector, "validationActions": ["Deny"]}});
    expect(server.post(&format!("{GROUP}/validatingadmissionpolicybindings"), binding).await, 201);
    created
}

fn workload(name: &str, replicas: i64) -> Value {
    let labels = json!({"app": "nginx"});
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "nginx", "image": "nginx:latest"}]}}}})
}

#[tokio::test]
async fn a_policy_validates_deployments_and_nothing_else() {
    let server = server().await;
    let message = "'wants replicas > 1, got ' + object.spec.replicas";
    let validations = json!([{"expression": "object.spec.replicas > 1", "messageExpression": message}]);
    validating(&server, "replicas.policy.example.com", json!({"validations": validations})).await;
    let refused = expect(server.post(DEPLOYMENTS, workload("marker", 1)).await, 422);
    assert_eq!(refused["reason"], "Invalid");
    expect(server.post(DEPLOYMENTS, workload("replicated", 2)).await, 201);
    expect(server.post(&DEPLOYMENTS.replace("deployments", "replicasets"), workload("single", 1)).await, 201);
    expect(server.post(&DEPLOYMENTS.replace("marked", "default"), workload("elsewhere", 1)).await, 201);
}

#[tokio::test]
async fn expressions_may_refer_to_variables() {
    let server = server().await;
    let variables = json!([
        {"name": "replicas", "expression": "object.spec.replicas"},
        {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        {"name": "description", "expression": "'the deployment has ' + string(variables.replicas) + ' replicas'"},
    ]);
    let validations = json!([
        {"expression": "variables.replicas > 1"},
        {"expression": "variables.oddReplicas", "messageExpression": "variables.description"},
    ]);
    validating(&server, "variables.policy.example.com", json!({"variables": variables, "validations": validations}))
        .await;
    expect(server.post(DEPLOYMENTS, workload("marker", 1)).await, 422);
    let even = expect(server.post(DEPLOYMENTS, workload("even", 2)).await, 422);
    assert!(even["message"].as_str().unwrap().ends_with("denied request: the deployment has 2 replicas"), "{even}");
    expect(server.post(DEPLOYMENTS, workload("odd", 3)).await, 201);
    expect(server.post(&DEPLOYMENTS.replace("deployments", "replicasets"), workload("single", 1)).await, 201);
}

#[tokio::test]
async fn expressions_are_checked_against_types() {
    let server = server().await;
    let right = json!({"validations": [{"expression": "object.spec.replicas > 1"}]});
    let created = validating(&server, "correct.policy.example.com", right).await;
    assert_eq!(created["status"], json!({"observedGeneration": 1, "typeChecking": {}}));
    let confused = json!({"validations": [
        {"expression": "object.spec.replicas > '1'", "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"}]});
    let created = validating(&server, "confused.policy.example.com", confused).await;
    let warnings = created["status"]["typeChecking"]["expressionWarnings"].as_array().unwrap();
    let shown: Vec<(&str, bool)> = warnings
        .iter()
        .zip(["'_>_' applied to '(int, string)'", "'_+_' applied to '(string, int)'"])
        .map(|(it, overload)| {
            let told = format!("found no matching overload for {overload}");
            (it["fieldRef"].as_str().unwrap(), it["warning"].as_str().unwrap().contains(&told))
        })
        .collect();
    assert_eq!(shown, [("spec.validations[0].expression", true), ("spec.validations[0].messageExpression", true)]);
}

#[tokio::test]
async fn expressions_are_checked_against_custom_kinds() {
    let server = server().await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}});
    let definition = json!({"metadata": {"name": "crontabs.stable.example.com"}, "spec": {"group": "stable.example.com", "scope": "Namespaced",
        "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    expect(server.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await, 201);
    let policy = json!({"metadata": {"name": "crontab.policy.example.com"}, "spec": {
        "matchConstraints": {"resourceRules": [
            {"apiGroups": ["stable.example.com"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["crontabs"]},
            {"apiGroups": ["stable.example.com"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["crontabs"]}]},
        "validations": [{"expression": "object.spec.replicas > '1'"}, {"expression": "object.spec.maxRetries < 10"}]}});
    let created = expect(server.post(&format!("{GROUP}/validatingadmissionpolicies"), policy).await, 201);
    let warnings = created["status"]["typeChecking"]["expressionWarnings"].as_array().unwrap();
    assert!(warnings[0]["warning"].as_str().unwrap().contains("stable.example.com/v1, Kind=CronTab: "), "{warnings:?}");
    assert!(warnings[1]["warning"].as_str().unwrap().contains("undefined field 'maxRetries'"), "{warnings:?}");
}

/// A mutating policy about Deployments in the marked namespace, bound.
async fn mutating(server: &Server, spec: Value, bound: Value) {
    let root = GROUP;
    let mut object = json!({"metadata": {"name": "m.policy.example.com"}, "spec": spec});
    object["spec"]["matchConstraints"] = constraints();
    object["spec"]["reinvocationPolicy"] = "Never".into();
    expect(server.post(&format!("{root}/mutatingadmissionpolicies"), object).await, 201);
    let mut binding = json!({"metadata": {"name": "m.binding.example.com"}, "spec": bound});
    binding["spec"]["policyName"] = "m.policy.example.com".into();
    expect(server.post(&format!("{root}/mutatingadmissionpolicybindings"), binding).await, 201);
}

#[tokio::test]
async fn a_policy_mutates_a_deployment() {
    let server = server().await;
    let annotated = "Object{metadata: Object.metadata{annotations: {\"mutated-by\": \"admission-policy\"}}}";
    let mutations = [annotated, "Object{spec: Object.spec{replicas: 1337}}"]
        .map(|it| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": it}}));
    mutating(&server, json!({"mutations": mutations}), json!({})).await;
    let created = expect(server.post(DEPLOYMENTS, workload("test-deployment", 2)).await, 201);
    assert_eq!(created["metadata"]["annotations"]["mutated-by"], "admission-policy");
    assert_eq!(created["spec"]["replicas"], 1337);
    let elsewhere = expect(server.post(&DEPLOYMENTS.replace("marked", "default"), workload("d", 2)).await, 201);
    assert_eq!(elsewhere["metadata"].get("annotations"), None);
}

#[tokio::test]
async fn a_policy_mutates_by_its_parameters() {
    let server = server().await;
    let params = json!({"metadata": {"name": "labels"}, "data": {"tier": "gold"}});
    expect(server.post("/api/v1/namespaces/marked/configmaps", params).await, 201);
    let expression = "[JSONPatch{op: 'add', path: '/metadata/labels/tier', value: params.data.tier}]";
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "variables": [{"name": "tiers", "expression": "object.metadata.labels.filter(l, l == 'tier')"}],
        "matchConditions": [{"name": "untiered", "expression": "!has(object.metadata.labels.tier)"}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]});
    let reference = json!({"paramRef": {"name": "labels", "parameterNotFoundAction": "Deny"}});
    mutating(&server, spec, reference).await;
    let created = expect(server.post(DEPLOYMENTS, workload("a", 1)).await, 201);
    assert_eq!(created["metadata"]["labels"]["tier"], "gold");
    let mut own = workload("b", 1);
    own["metadata"]["labels"]["tier"] = "own".into();
    assert_eq!(expect(server.post(DEPLOYMENTS, own).await, 201)["metadata"]["labels"]["tier"], "own");
}
