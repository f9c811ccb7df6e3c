//! Server-side apply, and who owns what after every other write.

use eyot_apiserver::{Identity, MASTERS};
use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::server::{Answer, MAPS, Server, read, version};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// A server whose caller is a user: writes of the platform's own parts start no tracking.
async fn server() -> Server {
    let mut server = Server::start().await;
    server.identify(Identity::new("someone", [MASTERS.to_owned()]));
    server
}

impl Server {
    async fn apply(&self, uri: &str, query: &str, config: &Value) -> Answer {
        self.call(Method::PATCH, &format!("{uri}?{query}"), "application/apply-patch+yaml", config.to_string()).await
    }
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn deployment(replicas: Option<i32>) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
            },
        },
    });
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = replicas.into();
    }
    object
}

/// `manager operation subresource` of each owner, in the order of the texts: theirs depends on the second.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    let shown = entries.iter().map(|it| ["manager", "operation", "subresource"].map(|field| text(it, field)).join(" "));
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    shown
}

#[tokio::test]
async fn an_apply_creates_then_changes_then_does_nothing() {
    let server = server().await;
    let uri = format!("{MAPS}/a");
    let created = server.apply(&uri, "fieldManager=m", &map(json!({"x": "1"}))).await;
    assert_eq!((created.code, &created.body["data"]["x"]), (201, &"1".into()), "{}", created.body);
    assert_eq!(
        created.body["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:data": {"f:x": {}}}),
        "{}",
        created.body
    );
    let changed = server.apply(&uri, "fieldManager=m", &map(json!({"y": "1"}))).await;
    assert_eq!((changed.code, &changed.body["data"]), (200, &json!({"y": "1"})));
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let again = server.apply(&uri, "fieldManager=m", &map(json!({"y": "1"}))).await;
    assert_eq!((again.code, &again.body), (200, &changed.body));
}

#[tokio::test]
async fn an_applied_deployment_gets_its_defaults_and_keeps_them() {
    let server = server().await;
    let uri = format!("{DEPLOYMENTS}/d");
    let created = server.apply(&uri, "fieldManager=m", &deployment(Some(2))).await;
    assert_eq!(created.code, 201, "{}", created.body);
    assert_eq!(created.body["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"], "TCP");
    let again = server.apply(&uri, "fieldManager=m", &deployment(Some(2))).await;
    assert_eq!(version(&again.body), version(&created.body));
    // Letting go of replicas returns them to the default, since nobody else wants them.
    let without = server.apply(&uri, "fieldManager=m", &deployment(None)).await;
    assert_eq!((&without.body["spec"]["replicas"], &without.body["metadata"]["generation"]), (&1.into(), &2.into()));
}

#[tokio::test]
async fn conflicts_name_owners_and_force_takes_fields() {
    let server = server().await;
    let uri = format!("{DEPLOYMENTS}/d");
    assert_eq!(server.post(&format!("{DEPLOYMENTS}?fieldManager=kubectl-create"), deployment(Some(1))).await.code, 201);
    let refused = server.apply(&uri, "fieldManager=m", &deployment(Some(3))).await;
    assert_eq!((refused.code, &refused.body["reason"]), (409, &"Conflict".into()));
    assert_eq!(
        refused.body["message"],
        r#"Apply failed with 1 conflict: conflict with "kubectl-create" using apps/v1: .spec.replicas"#
    );
    assert_eq!(
        refused.body["details"]["causes"],
        json!([{
            "reason": "FieldManagerConflict",
            "message": r#"conflict with "kubectl-create" using apps/v1"#,
            "field": ".spec.replicas",
        }])
    );
    let forced = server.apply(&uri, "fieldManager=m&force=true", &deployment(Some(3))).await;
    assert_eq!((forced.code, &forced.body["spec"]["replicas"]), (200, &3.into()));
    assert_eq!(owners(&forced.body), ["kubectl-create Update ", "m Apply "]);
}

#[tokio::test]
async fn requests_that_are_no_apply_are_refused() {
    let server = server().await;
    let uri = format!("{MAPS}/a");
    let check = async |query: &str, config: Value| {
        let answer = server.apply(&uri, query, &config).await;
        (answer.code, answer.body["message"].as_str().unwrap_or_default().to_owned())
    };
    let good = map(json!({}));
    let required =
        r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#;
    assert_eq!(check("", good.clone()).await, (422, required.into()));
    let mut owned = good.clone();
    owned["metadata"]["managedFields"] = json!([]);
    assert_eq!(check("fieldManager=m", owned).await, (400, "metadata.managedFields must be nil".into()));
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    assert_eq!(check("fieldManager=m", other).await, (400, "invalid object type: /v1, Kind=Secret".into()));
    assert_eq!(check("fieldManager=m", json!([1])).await.0, 400);
    let mut unknown = good.clone();
    unknown["dota"] = json!({});
    assert_eq!(
        check("fieldManager=m", unknown).await,
        (
            400,
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dota: field not declared in schema".into()
        )
    );
    for (field, value) in [("uid", "u"), ("resourceVersion", "7")] {
        let mut stale = good.clone();
        stale["metadata"][field] = value.into();
        assert_eq!(check("fieldManager=m", stale).await.0, 409, "{field}");
    }
    let mut elsewhere = good.clone();
    elsewhere["metadata"]["name"] = "b".into();
    assert_eq!(check("fieldManager=m", elsewhere).await.0, 400);
    for content_type in ["application/apply-patch+cbor", "application/json"] {
        let answer = server.call(Method::PATCH, &uri, content_type, good.to_string()).await;
        assert_eq!(answer.code, 415, "{}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains("application/apply-patch+yaml"));
    }
    let forced = server.call(Method::PATCH, &format!("{uri}?force=true"), "application/merge-patch+json", "{}").await;
    assert_eq!(forced.code, 422);
    assert_eq!(server.get(&uri).await.code, 404);
}

#[tokio::test]
async fn yaml_applies_and_keys_given_twice_are_told() {
    let server = server().await;
    let uri = format!("{MAPS}/a?fieldManager=m");
    let apply = async |query: &str, text: &str| {
        server.call(Method::PATCH, &format!("{uri}{query}"), "application/apply-patch+yaml", text.to_owned()).await
    };
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: '1'\n";
    assert_eq!(apply("", yaml).await.code, 201);
    let twice = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"1","x":"2"}}"#;
    assert_eq!(apply("&fieldValidation=Strict", twice).await.code, 400);
    let warned = apply("", twice).await;
    assert_eq!((warned.code, &warned.body["data"]["x"]), (200, &"2".into()));
    assert!(warned.warnings[0].contains("already set in map"), "{:?}", warned.warnings);
}

#[tokio::test]
async fn a_dry_run_applies_nothing() {
    let server = server().await;
    let uri = format!("{MAPS}/a");
    let rehearsed = server.apply(&uri, "fieldManager=m&dryRun=All", &map(json!({"x": "1"}))).await;
    assert_eq!((rehearsed.code, &rehearsed.body["data"]["x"]), (201, &"1".into()));
    assert_eq!(server.get(&uri).await.code, 404);
    server.apply(&uri, "fieldManager=m", &map(json!({"x": "1"}))).await;
    let rehearsed = server.apply(&uri, "fieldManager=m&dryRun=All", &map(json!({"x": "2"}))).await;
    assert_eq!((rehearsed.code, &rehearsed.body["data"]["x"]), (200, &"2".into()));
    assert_eq!(server.get(&uri).await.body["data"]["x"], "1");
}

#[tokio::test]
async fn every_write_is_tracked_under_its_manager() {
    let server = server().await;
    let uri = format!("{MAPS}/a");
    let with_agent = async |method: Method, uri: &str, content_type: &str, body: Value| {
        let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, content_type);
        let request = request.header(header::USER_AGENT, "kubectl/v1.32.0 (linux/amd64)");
        read(server.send(request.body(eyot_apiserver::Body::full(body.to_string())).unwrap()).await).await.body
    };
    let created = with_agent(Method::POST, MAPS, "application/json", map(json!({"x": "1"}))).await;
    assert_eq!(owners(&created), ["kubectl Update "]);
    let patched = server.merge(&format!("{uri}?fieldManager=p"), json!({"data": {"y": "1"}})).await.body;
    assert_eq!(owners(&patched), ["kubectl Update ", "p Update "]);
    let mut put = patched.clone();
    put["data"] = json!({"x": "2"});
    put["metadata"]["managedFields"] = Value::Null;
    let put = server.put(&format!("{uri}?fieldManager=q"), put).await.body;
    assert_eq!(owners(&put), ["kubectl Update ", "q Update "]);
    assert_eq!(put["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:data": {}}));
    let reset = server.merge(&uri, json!({"metadata": {"managedFields": [{}]}})).await.body;
    assert_eq!(owners(&reset), [""; 0]);
    assert_eq!(owners(&server.merge(&uri, json!({"data": {"z": "1"}})).await.body), [""; 0]);
}

#[tokio::test]
async fn owners_can_be_set_and_malformed_ones_are_told() {
    let server = server().await;
    let uri = format!("{MAPS}/a");
    server.post(&format!("{MAPS}?fieldManager=kubectl-client-side-apply"), map(json!({"x": "1"}))).await;
    let current = server.get(&uri).await.body;
    // As kubectl moves an object from client-side to server-side apply.
    let mut entry = current["metadata"]["managedFields"][0].clone();
    entry["manager"] = "kubectl".into();
    entry["operation"] = "Apply".into();
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version(&current)},
    ]);
    let moved = server.call(Method::PATCH, &uri, "application/json-patch+json", patch.to_string()).await;
    assert_eq!(moved.code, 200, "{}", moved.body);
    assert_eq!(owners(&moved.body), ["kubectl Apply "]);
    assert_ne!(version(&moved.body), version(&current));
    let dropped = server.apply(&uri, "fieldManager=kubectl", &map(json!({}))).await;
    assert!(dropped.body.get("data").is_none(), "{}", dropped.body);

    let bad = json!({"metadata": {"managedFields": [{"manager": "m", "operation": "Steal"}]}, "data": {"k": "v"}});
    let told = server.merge(&uri, bad).await;
    assert_eq!((told.code, &told.body["data"]["k"]), (200, &"v".into()));
    assert!(told.warnings.iter().any(|it| it.contains("managedFields[0]")), "{:?}", told.warnings);
    assert_eq!(server.merge(&uri, json!({"metadata": {"managedFields": "x"}})).await.code, 400);
}

#[tokio::test]
async fn scale_and_status_have_owners_of_their_own() {
    let server = server().await;
    let uri = format!("{DEPLOYMENTS}/d");
    server.apply(&uri, "fieldManager=m", &deployment(Some(2))).await;
    let scale =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 5}});
    let refused = server.apply(&format!("{uri}/scale"), "fieldManager=hpa", &scale).await;
    assert_eq!(refused.code, 409, "{}", refused.body);
    let scaled = server.merge(&format!("{uri}/scale?fieldManager=kubectl"), json!({"spec": {"replicas": 4}})).await;
    assert_eq!(scaled.code, 200, "{}", scaled.body);
    let status =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {"replicas": 4}});
    let applied = server.apply(&format!("{uri}/status"), "fieldManager=c", &status).await;
    assert_eq!(applied.code, 200, "{}", applied.body);
    assert_eq!(owners(&applied.body), ["c Apply status", "kubectl Update scale", "m Apply "]);
    assert_eq!(applied.body["status"]["replicas"], 4);
    let absent = server.apply(&format!("{DEPLOYMENTS}/absent/status"), "fieldManager=c", &status).await;
    assert_eq!(absent.code, 404);
    // The main resource conflicts with the scale, and forces it.
    let refused = server.apply(&uri, "fieldManager=m", &deployment(Some(2))).await;
    assert!(refused.body["message"].as_str().unwrap().contains(r#""kubectl" with subresource "scale" using apps/v1"#));
    let scaled = server.apply(&format!("{uri}/scale"), "fieldManager=hpa&force=true", &scale).await;
    assert_eq!((scaled.code, &scaled.body["spec"]["replicas"]), (200, &5.into()));
    assert_eq!(owners(&server.get(&uri).await.body), ["c Apply status", "hpa Apply scale", "m Apply "]);
}

#[tokio::test]
async fn the_platform_starts_no_tracking_and_joins_it() {
    let mut server = Server::start().await;
    let quiet = server.post(MAPS, map(json!({"x": "1"}))).await.body;
    assert_eq!(owners(&quiet), [""; 0]);
    assert_eq!(owners(&server.merge(&format!("{MAPS}/a"), json!({"data": {"x": "2"}})).await.body), [""; 0]);
    server.identify(Identity::new("someone", [MASTERS.to_owned()]));
    let applied = server.apply(&format!("{MAPS}/a"), "fieldManager=m", &map(json!({"x": "2", "y": "1"}))).await.body;
    assert_eq!(owners(&applied), ["before-first-apply Update ", "m Apply "]);
    server.identify(Identity::component("controllers"));
    let joined = server.merge(&format!("{MAPS}/a"), json!({"data": {"z": "1"}})).await.body;
    assert_eq!(owners(&joined), ["before-first-apply Update ", "controllers Update ", "m Apply "]);
}

#[tokio::test]
async fn many_appliers_at_once_all_succeed() {
    let server = server().await;
    let uri = format!("{MAPS}/a");
    let applies = (0..12).map(|i| {
        let (server, uri) = (&server, &uri);
        async move {
            let config = map(json!({format!("k{i}"): "v"}));
            server.apply(uri, &format!("fieldManager=m{i}"), &config).await.code
        }
    });
    let codes = futures::future::join_all(applies).await;
    assert!(codes.iter().all(|it| matches!(it, 200 | 201)), "{codes:?}");
    let object = server.get(&uri).await.body;
    assert_eq!((owners(&object).len(), object["data"].as_object().unwrap().len()), (12, 12));
}

#[tokio::test]
async fn creating_by_apply_needs_the_right_to_create() {
    let mut server = server().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{"verbs": ["get", "patch"], "apiGroups": [""], "resources": ["configmaps"]}]);
    server.post(&format!("{rbac}/clusterroles"), json!({"metadata": {"name": "patcher"}, "rules": rules})).await;
    let binding = json!({
        "metadata": {"name": "p"}, "roleRef": {"kind": "ClusterRole", "name": "patcher"},
        "subjects": [{"kind": "User", "name": "eve"}],
    });
    server.post(&format!("{rbac}/clusterrolebindings"), binding).await;
    server.identify(Identity::new("eve", []));
    let uri = format!("{MAPS}/a");
    assert_eq!(server.apply(&uri, "fieldManager=m", &map(json!({}))).await.code, 403);
    server.identify(Identity::new("someone", [MASTERS.to_owned()]));
    server.post(MAPS, map(json!({}))).await;
    server.identify(Identity::new("eve", []));
    assert_eq!(server.apply(&uri, "fieldManager=m", &map(json!({"x": "1"}))).await.code, 200);
}

#[tokio::test]
async fn custom_objects_merge_by_their_own_schema() {
    let server = server().await;
    let spec = json!({"type": "object", "properties": {
        "size": {"type": "integer", "default": 1},
        "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "ports": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "required": ["port"], "properties": {
                "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": {"type": "string"},
            }},
        },
    }});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    let served = json!({
        "name": "v1", "served": true, "storage": true, "schema": schema,
        "subresources": {"scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
    });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.x.io"},
        "spec": {
            "group": "x.io", "scope": "Namespaced", "versions": [served],
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.x.io";
    let defined = server.apply(definitions, "fieldManager=m", &definition).await;
    assert_eq!(defined.code, 201, "{}", defined.body);
    let uri = "/apis/x.io/v1/namespaces/default/widgets/w";
    let widget =
        |spec: Value| json!({"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec});
    let one = widget(json!({"hosts": ["a", "b"], "ports": [{"port": 80, "name": "http"}]}));
    let created = server.apply(uri, "fieldManager=one", &one).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let two = widget(json!({"hosts": ["b", "c"], "ports": [{"port": 81}]}));
    let both = server.apply(uri, "fieldManager=two", &two).await.body;
    assert_eq!(
        both["spec"],
        json!({
            "size": 1, "hosts": ["a", "b", "c"],
            "ports": [{"port": 80, "name": "http", "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}],
        })
    );
    let again = server.apply(uri, "fieldManager=one", &one).await.body;
    assert_eq!(version(&again), version(&both));
    let less = server.apply(uri, "fieldManager=one", &widget(json!({"hosts": ["b"]}))).await.body;
    assert_eq!(less["spec"], json!({"size": 1, "hosts": ["b", "c"], "ports": [{"port": 81, "protocol": "TCP"}]}));
    let refused = server.apply(uri, "fieldManager=one", &widget(json!({"nope": 1}))).await;
    assert_eq!(
        refused.body["message"],
        "failed to create typed patch object (/w; x.io/v1, Kind=Widget): .spec.nope: field not declared in schema"
    );
    let scale =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w"}, "spec": {"replicas": 4}});
    let scaled = server.apply(&format!("{uri}/scale"), "fieldManager=hpa", &scale).await;
    assert_eq!((scaled.code, &scaled.body["spec"]["replicas"]), (200, &4.into()), "{}", scaled.body);
    let owned = server.get(uri).await.body;
    assert_eq!(owners(&owned), ["hpa Apply scale", "one Apply ", "two Apply "]);
    let patch = server.call(Method::PATCH, uri, "application/strategic-merge-patch+json", "{}").await;
    assert_eq!(patch.code, 415);
}
