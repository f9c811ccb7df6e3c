//! Engines of policy inside the server: admission policies as users write them, and the seam itself.

use std::sync::Arc;

use eyot_apiserver::{ApiServer, Config, Identity, attributes};
use eyot_model::status::Cause;
use eyot_policy::{Data, Denial, Engine, Review, Verdict};
use eyot_store::{Options, Store};
use eyot_vap::AdmissionPolicies;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::server::{MAPS, Server};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn rule(group: &str, plural: &str) -> Value {
    json!({"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [plural]})
}

/// A policy about ConfigMaps, bound.
async fn bound(server: &Server, name: &str, spec: Value) {
    let policy = policy(name, spec);
    let created = server.post(&format!("{GROUP}/validatingadmissionpolicies"), policy).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
    let created = server.post(&format!("{GROUP}/validatingadmissionpolicybindings"), binding).await;
    assert_eq!(created.code, 201, "{}", created.body);
}

fn policy(name: &str, mut spec: Value) -> Value {
    spec["matchConstraints"] = json!({"resourceRules": [rule("", "configmaps")]});
    json!({"metadata": {"name": name}, "spec": spec})
}

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn a_policy_is_in_force_when_its_write_is_answered_and_no_more_when_it_is_gone() {
    let server = Server::start().await;
    let validations = json!([{"expression": "!has(object.data.secret)", "message": "no secrets here"}]);
    bound(&server, "p", json!({"validations": validations})).await;
    let refused = server.post(MAPS, map("a", json!({"secret": "x"}))).await;
    assert_eq!(refused.code, 422);
    let why = "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no secrets here";
    assert_eq!(refused.body["message"], format!("configmaps \"a\" is forbidden: {why}"));
    assert_eq!(refused.body["reason"], "Invalid");
    assert_eq!(refused.body["details"], json!({"name": "a", "kind": "configmaps", "causes": [{"message": why}]}));
    assert_eq!(server.post(MAPS, map("a", json!({"plain": "x"}))).await.code, 201);
    let patched = server.merge(&format!("{MAPS}/a"), json!({"data": {"secret": "x"}})).await;
    assert_eq!(patched.code, 422);
    assert_eq!(server.delete(&format!("{GROUP}/validatingadmissionpolicybindings/p"), Value::Null).await.code, 200);
    assert_eq!(server.post(MAPS, map("b", json!({"secret": "x"}))).await.code, 201);
}

#[tokio::test]
async fn a_policy_that_makes_no_sense_is_refused_and_the_one_before_stays() {
    let server = Server::start().await;
    bound(&server, "p", json!({"validations": [{"expression": "object.metadata.name != 'a'"}]})).await;
    let broken = json!({"spec": {"validations": [{"expression": "object.metadata.name !="}]}});
    let refused = server.merge(&format!("{GROUP}/validatingadmissionpolicies/p"), broken).await;
    assert_eq!(
        (refused.code, &refused.body["details"]["causes"][0]["field"]),
        (422, &json!("spec.validations[0].expression"))
    );
    assert_eq!(server.post(MAPS, map("a", json!({}))).await.code, 422);
    assert_eq!(server.post(MAPS, map("b", json!({}))).await.code, 201);
}

#[tokio::test]
async fn stored_policies_are_in_force_before_a_new_server_answers() {
    let server = Server::start().await;
    bound(&server, "p", json!({"validations": [{"expression": "false"}]})).await;
    let config = Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 };
    let api = ApiServer::with_engines(server.store.clone(), config, vec![Arc::new(AdmissionPolicies::new())]);
    let second = Server::over(api, server.store.clone()).await;
    assert_eq!(second.post(MAPS, map("a", json!({}))).await.code, 422);
}

#[tokio::test]
async fn parameters_and_namespaces_are_those_of_this_moment() {
    let server = Server::start().await;
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "validations": [{"expression": "object.metadata.name in params.metadata.labels.names.split('.') || namespaceObject.metadata.?labels.free.orValue('') == 'yes'"}]});
    let created = server.post(&format!("{GROUP}/validatingadmissionpolicies"), policy("p", spec)).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let binding = json!({"metadata": {"name": "p"}, "spec": {"policyName": "p", "validationActions": ["Deny"],
        "paramRef": {"name": "known", "parameterNotFoundAction": "Deny"}}});
    assert_eq!(server.post(&format!("{GROUP}/validatingadmissionpolicybindings"), binding).await.code, 201);
    let missing = server.post(MAPS, map("a", json!({}))).await;
    assert!(missing.body["message"].as_str().unwrap().contains("no params found"), "{}", missing.body);
    let secret = json!({"metadata": {"name": "known", "labels": {"names": "a.b"}}});
    assert_eq!(server.post("/api/v1/namespaces/default/secrets", secret).await.code, 201);
    assert_eq!(server.post(MAPS, map("a", json!({}))).await.code, 201);
    assert_eq!(server.post(MAPS, map("c", json!({}))).await.code, 422);
    let labels = json!({"metadata": {"labels": {"free": "yes"}}});
    assert_eq!(server.merge("/api/v1/namespaces/default", labels).await.code, 200);
    assert_eq!(server.post(MAPS, map("c", json!({}))).await.code, 201);
}

#[tokio::test]
async fn an_expression_may_ask_who_may_do_what() {
    let mut server = Server::start().await;
    let allow = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]);
    let role = json!({"metadata": {"name": "maps"}, "rules": allow});
    assert_eq!(server.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await.code, 201);
    let bind = json!({"metadata": {"name": "maps"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "maps"},
        "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}]});
    assert_eq!(server.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", bind).await.code, 201);
    let validations = json!([{"expression": "authorizer.requestResource.check('create').allowed() && !authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"}]);
    bound(&server, "p", json!({"validations": validations})).await;
    assert_eq!(server.post(MAPS, map("master", json!({}))).await.code, 422, "who may read secrets does not pass");
    server.identify(Identity::new("eve", []));
    let created = server.post(MAPS, map("a", json!({}))).await;
    assert_eq!(created.code, 201, "{}", created.body);
}

#[tokio::test]
async fn a_mutating_policy_changes_what_is_stored() {
    let server = Server::start().await;
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let root = format!("/apis/admissionregistration.k8s.io/{version}");
        let expression = format!("Object{{metadata: Object.metadata{{labels: {{'by-{version}': 'policy'}}}}}}");
        let spec = json!({"reinvocationPolicy": "Never", "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]});
        let created =
            server.post(&format!("{root}/mutatingadmissionpolicies"), policy(&format!("m-{version}"), spec)).await;
        assert_eq!(created.code, 201, "{}", created.body);
        let binding =
            json!({"metadata": {"name": format!("m-{version}")}, "spec": {"policyName": format!("m-{version}")}});
        let created = server.post(&format!("{root}/mutatingadmissionpolicybindings"), binding).await;
        assert_eq!(created.code, 201, "{}", created.body);
    }
    assert_eq!(server.post(MAPS, map("a", json!({}))).await.code, 201);
    let labels = &server.get(&format!("{MAPS}/a")).await.body["metadata"]["labels"];
    assert_eq!(*labels, json!({"by-v1": "policy", "by-v1beta1": "policy", "by-v1alpha1": "policy"}));
    let moved = json!({"reinvocationPolicy": "Never", "mutations": [{"patchType": "JSONPatch",
        "jsonPatch": {"expression": "[JSONPatch{op: 'replace', path: '/metadata/name', value: 'other'}]"}}]});
    let spec = json!({"spec": policy("m-v1", moved)["spec"]});
    let changed = server
        .merge(
            &format!("{GROUP}/mutatingadmissionpolicies/m-v1"),
            json!({"spec": {"mutations": spec["spec"]["mutations"]}}),
        )
        .await;
    assert_eq!(changed.code, 200, "{}", changed.body);
    let refused = server.post(MAPS, map("b", json!({}))).await;
    assert!(refused.body["message"].as_str().unwrap().contains("cannot be changed"), "{}", refused.body);
}

/// An engine that writes down what it hears of, and minds names.
#[derive(Default)]
struct Recorder {
    heard: Mutex<Vec<String>>,
    /// Whether it is a version that takes no colours.
    is_colourless: bool,
}

impl Engine for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn definitions(&self) -> Vec<Value> {
        vec![definition("templates", "Template")]
    }

    fn governs(&self, group: &str, _: &str) -> bool {
        group == "policy.test"
    }

    fn check(&self, object: &mut Value, old: Option<&Value>, _: &dyn Data) -> Result<Vec<String>, Vec<Cause>> {
        if old.is_some_and(|it| it["spec"]["kind"] != object["spec"]["kind"]) {
            return Err(vec![Cause::forbidden("spec.kind", "a template keeps its kind")]);
        }
        if self.is_colourless && object["spec"].get("colour").is_some() {
            return Err(vec![Cause::forbidden("spec.colour", "there are none")]);
        }
        object["status"] = json!({"created": true});
        Ok(vec!["heard of it".to_owned()])
    }

    fn doubted(&self, _: &Value, causes: &[Cause]) -> Option<Value> {
        Some(json!({"created": false, "why": causes[0].to_string()}))
    }

    fn companions(&self, object: &Value) -> Vec<Value> {
        let kind = object["spec"]["kind"].as_str().unwrap_or_default();
        if kind.is_empty() { Vec::new() } else { vec![definition(&kind.to_lowercase(), kind)] }
    }

    fn put(&self, object: &Value) {
        self.heard.lock().push(format!("put {}", object["metadata"]["name"].as_str().unwrap()));
    }

    fn remove(&self, _: &str, kind: &str, _: &str, name: &str) {
        self.heard.lock().push(format!("remove {kind} {name}"));
    }

    fn wants(&self, review: &Review<'_>) -> bool {
        review.resource.plural == "configmaps"
    }

    fn validate(&self, review: &Review<'_>, data: &dyn Data) -> Verdict {
        if review.name == "panic" {
            panic!("an engine with a bug");
        }
        assert_eq!(review.namespace_object.unwrap()["metadata"]["name"], review.namespace);
        let taken = data.list(("", "v1", "ConfigMap"), Some(review.namespace)).unwrap();
        let denials = taken.iter().filter(|it| it["data"] == review.object["data"]);
        let denials = denials.map(|it| Denial::forbidden("alike", format!("like {}", it["metadata"]["name"])));
        Verdict { denials: denials.collect(), warnings: vec!["looked at it".to_owned()], ..Verdict::default() }
    }
}

fn definition(plural: &str, kind: &str) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.policy.test")},
        "spec": {"group": "policy.test", "scope": "Cluster", "names": {"plural": plural, "kind": kind, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

#[tokio::test]
async fn an_engine_hears_of_its_objects_and_brings_definitions_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::new(attributes)).unwrap();
    let config = || Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 };
    let recorder = Arc::new(Recorder::default());
    let server =
        Server::over(ApiServer::with_engines(store.clone(), config(), vec![recorder.clone()]), store.clone()).await;
    let templates = "/apis/policy.test/v1/templates";
    let created = server.post(templates, json!({"metadata": {"name": "t"}, "spec": {"kind": "Thing"}})).await;
    assert_eq!((created.code, &created.body["status"]["created"]), (201, &json!(true)), "{}", created.body);
    assert!(created.warnings[0].contains("heard of it"), "{:?}", created.warnings);
    // Its companion is there, belongs to it, and its kind is served.
    let thing = server.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/thing.policy.test").await.body;
    assert_eq!(thing["metadata"]["ownerReferences"][0]["name"], "t");
    assert_eq!(server.post("/apis/policy.test/v1/thing", json!({"metadata": {"name": "x"}})).await.code, 201);
    let moved = server.merge(&format!("{templates}/t"), json!({"spec": {"kind": "Other"}})).await;
    assert_eq!(moved.code, 422);
    assert!(moved.body["message"].as_str().unwrap().contains("a template keeps its kind"));
    assert_eq!(server.delete("/apis/policy.test/v1/thing/x", Value::Null).await.code, 200);
    assert_eq!(*recorder.heard.lock(), ["put t", "put x", "remove Thing x"]);
    // A new server puts what is stored, and makes no definition anew.
    let later = Arc::new(Recorder::default());
    let api = ApiServer::with_engines(store.clone(), config(), vec![later.clone()]);
    assert_eq!(*later.heard.lock(), ["put t"]);
    let before = store.revision();
    eyot_apiserver::bootstrap(&api).await.unwrap();
    assert_eq!(store.revision(), before);
}

#[tokio::test]
async fn what_an_earlier_version_took_and_this_one_would_not_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::new(attributes)).unwrap();
    let config = || Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 };
    let api = ApiServer::with_engines(store.clone(), config(), vec![Arc::new(Recorder::default())]);
    let server = Server::over(api, store.clone()).await;
    let templates = "/apis/policy.test/v1/templates";
    for (name, spec) in [("plain", json!({})), ("red", json!({"colour": "red"}))] {
        assert_eq!(server.post(templates, json!({"metadata": {"name": name}, "spec": spec})).await.code, 201);
    }
    let start = || {
        let engine = Recorder { is_colourless: true, ..Recorder::default() };
        Server::over(ApiServer::with_engines(store.clone(), config(), vec![Arc::new(engine)]), store.clone())
    };
    let later = start().await;
    let status = |it: Value| it["status"].clone();
    assert_eq!(status(later.get(&format!("{templates}/plain")).await.body), json!({"created": true}));
    let red = later.get(&format!("{templates}/red")).await.body;
    assert_eq!(red["status"]["created"], false);
    assert!(red["status"]["why"].as_str().unwrap().contains("spec.colour"), "{red}");
    let events = later.get("/api/v1/namespaces/default/events").await.body;
    let told: Vec<&Value> = events["items"].as_array().unwrap().iter().collect();
    assert_eq!((told.len(), &told[0]["reason"]), (1, &json!("PolicyUnreadable")), "{events}");
    assert_eq!(told[0]["involvedObject"]["name"], "red");
    // It is told once.
    let before = store.revision();
    start().await;
    assert_eq!(store.revision(), before);
}

#[tokio::test]
async fn an_engine_judges_with_what_is_stored_and_one_that_breaks_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::new(attributes)).unwrap();
    let config = Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: 6443 };
    let api = ApiServer::with_engines(store.clone(), config, vec![Arc::new(Recorder::default())]);
    let server = Server::over(api, store).await;
    let created = server.post(MAPS, map("a", json!({"k": "v"}))).await;
    assert_eq!(created.code, 201);
    assert!(created.warnings[0].contains("looked at it"));
    let refused = server.post(MAPS, map("b", json!({"k": "v"}))).await;
    assert_eq!(
        (refused.code, &refused.body["message"], &refused.body["reason"]),
        (403, &json!("like \"a\""), &json!("Forbidden"))
    );
    let broken = server.post(MAPS, map("panic", json!({"k": "w"}))).await;
    assert_eq!(broken.code, 500, "{}", broken.body);
    assert_eq!(server.get(&format!("{MAPS}/panic")).await.code, 404, "it is no silent yes");
}
