//! Create, read, update, delete, and the rules of namespaces and finalizers.

use eyot_apiserver::Identity;
use serde_json::{Value, json};

use crate::server::{MAPS, Server, names, version};

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let server = Server::start().await;
    let created = server.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "1"}})).await;
    assert_eq!(created.code, 201);
    assert_eq!(created.body["kind"], "ConfigMap");
    assert_eq!(created.body["metadata"]["namespace"], "default");
    assert!(created.body["metadata"]["uid"].is_string() && created.body["metadata"]["creationTimestamp"].is_string());

    let uri = format!("{MAPS}/a");
    let mut object = server.get(&uri).await.body;
    assert_eq!(object, created.body);
    object["data"]["k"] = "2".into();
    let updated = server.put(&uri, object.clone()).await;
    assert_eq!(updated.code, 200);
    assert_ne!(version(&updated.body), version(&object));

    let stale = server
        .put(&uri, {
            object["data"]["k"] = "3".into();
            object
        })
        .await;
    assert_eq!((stale.code, &stale.body["reason"]), (409, &"Conflict".into()));

    let deleted = server.delete(&uri, Value::Null).await;
    assert_eq!((deleted.code, &deleted.body["status"]), (200, &"Success".into()));
    assert_eq!(server.get(&uri).await.body["reason"], "NotFound");
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let server = Server::start().await;
    let object = server.map("a", json!({"x": "y"})).await;
    let before = server.store.revision();
    let same = server.put(&format!("{MAPS}/a"), object.clone()).await;
    assert_eq!(same.body, object);
    assert_eq!(server.merge(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"x": "y"}}})).await.body, object);
    assert_eq!(server.store.revision(), before);
}

#[tokio::test]
async fn names_are_generated_and_never_taken_twice() {
    let server = Server::start().await;
    for _ in 0..20 {
        let created = server.post(MAPS, json!({"metadata": {"generateName": "job-"}})).await;
        assert_eq!(created.code, 201);
        let name = created.body["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("job-") && name.len() == 9, "{name}");
    }
    server.map("a", json!({})).await;
    let taken = server.post(MAPS, json!({"metadata": {"name": "a"}})).await;
    assert_eq!((taken.code, &taken.body["reason"]), (409, &"AlreadyExists".into()));
    assert_eq!(server.post(MAPS, json!({"metadata": {}})).await.code, 422);
}

#[tokio::test]
async fn dry_runs_leave_nothing_behind() {
    let server = Server::start().await;
    let created = server.post(&format!("{MAPS}?dryRun=All"), json!({"metadata": {"name": "a"}})).await;
    assert_eq!(created.code, 201);
    assert_eq!(created.body["metadata"]["resourceVersion"], Value::Null);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.code, 404);
    server.map("a", json!({})).await;
    let patched = server.merge(&format!("{MAPS}/a?dryRun=All"), json!({"data": {"k": "v"}})).await;
    assert_eq!(patched.body["data"]["k"], "v");
    server.delete(&format!("{MAPS}/a?dryRun=All"), Value::Null).await;
    assert_eq!(server.get(&format!("{MAPS}/a")).await.body["data"], Value::Null);
}

#[tokio::test]
async fn finalizers_delay_the_end() {
    let server = Server::start().await;
    let uri = format!("{MAPS}/a");
    server.post(MAPS, json!({"metadata": {"name": "a", "finalizers": ["x.io/one", "x.io/two"]}})).await;
    let deleted = server.delete(&uri, Value::Null).await;
    assert!(deleted.body["metadata"]["deletionTimestamp"].is_string(), "{}", deleted.body);
    let added = server.merge(&uri, json!({"metadata": {"finalizers": ["x.io/one", "x.io/two", "x.io/three"]}})).await;
    assert_eq!(added.code, 422);
    server.merge(&uri, json!({"metadata": {"finalizers": ["x.io/two"]}})).await;
    assert_eq!(server.get(&uri).await.code, 200);
    server.merge(&uri, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(server.get(&uri).await.code, 404);
}

#[tokio::test]
async fn delete_honours_preconditions() {
    let server = Server::start().await;
    let uri = format!("{MAPS}/a");
    let object = server.map("a", json!({})).await;
    assert_eq!(server.delete(&uri, json!({"preconditions": {"uid": "other"}})).await.code, 409);
    assert_eq!(server.delete(&uri, json!({"preconditions": {"resourceVersion": "1"}})).await.code, 409);
    let exact = json!({"preconditions": {"uid": object["metadata"]["uid"], "resourceVersion": version(&object)}});
    assert_eq!(server.delete(&uri, exact).await.code, 200);
}

#[tokio::test]
async fn a_collection_goes_by_selector() {
    let server = Server::start().await;
    for (name, app) in [("a", "x"), ("b", "x"), ("c", "y")] {
        server.map(name, json!({"app": app})).await;
    }
    assert_eq!(server.delete(&format!("{MAPS}?labelSelector=app%3Dx"), Value::Null).await.code, 200);
    assert_eq!(names(&server.get(MAPS).await.body), ["c"]);
}

#[tokio::test]
async fn namespaces_must_exist_and_be_alive() {
    let server = Server::start().await;
    let absent = server.post("/api/v1/namespaces/no/configmaps", json!({"metadata": {"name": "a"}})).await;
    assert_eq!(absent.code, 404);
    assert_eq!(absent.body["message"], "namespaces \"no\" not found");
    let other = server.post(MAPS, json!({"metadata": {"name": "a", "namespace": "kube-system"}})).await;
    assert_eq!(other.code, 400);

    let created = server.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    assert_eq!(created.body["status"]["phase"], "Active");
    assert_eq!(created.body["metadata"]["labels"]["kubernetes.io/metadata.name"], "n");
    let dying = server.delete("/api/v1/namespaces/n", Value::Null).await;
    assert_eq!(dying.body["status"]["phase"], "Terminating");
    let late = server.post("/api/v1/namespaces/n/configmaps", json!({"metadata": {"name": "a"}})).await;
    assert_eq!(late.code, 403);
    assert_eq!(late.body["details"]["causes"][0]["reason"], "NamespaceTerminating");

    let mut finished = dying.body;
    finished["spec"] = json!({});
    assert_eq!(server.put("/api/v1/namespaces/n/finalize", finished).await.code, 200);
    assert_eq!(server.get("/api/v1/namespaces/n").await.code, 404);
    assert_eq!(server.delete("/api/v1/namespaces/default", Value::Null).await.code, 403);
}

#[tokio::test]
async fn services_get_and_keep_their_addresses() {
    let server = Server::start().await;
    let uri = "/api/v1/namespaces/default/services";
    let service = |name: &str, ip: Value| json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 80}], "selector": {"a": "b"}}});
    let first = server.post(uri, service("a", Value::Null)).await;
    assert_eq!(first.code, 201, "{}", first.body);
    let ip = first.body["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(ip.starts_with("10.43."), "{ip}");
    assert_eq!(first.body["spec"]["clusterIPs"], json!([ip]));
    assert_eq!(server.post(uri, service("b", ip.as_str().into())).await.code, 422);
    assert_eq!(server.post(uri, service("c", "10.44.0.1".into())).await.code, 422);
    assert_eq!(server.post(uri, service("d", "None".into())).await.body["spec"]["clusterIP"], "None");
    let replaced = server.put(&format!("{uri}/a"), service("a", Value::Null)).await;
    assert_eq!(replaced.body["spec"]["clusterIP"], ip.as_str());
    assert_eq!(server.merge(&format!("{uri}/a"), json!({"spec": {"clusterIP": "10.43.9.9"}})).await.code, 422);
    server.delete(&format!("{uri}/a"), Value::Null).await;
    assert_eq!(server.post(uri, service("b", ip.as_str().into())).await.code, 201);
    let kubernetes = server.get(&format!("{uri}/kubernetes")).await;
    assert_eq!(kubernetes.body["spec"]["clusterIP"], "10.43.0.1");
}

#[tokio::test]
async fn services_get_and_keep_ports_of_the_node() {
    let server = Server::start().await;
    let uri = "/api/v1/namespaces/default/services";
    let service = |name: &str, of_type: &str, node_port: Value| json!({"metadata": {"name": name}, "spec": {"type": of_type, "ports": [{"port": 80, "nodePort": node_port}]}});
    let port = |it: &Value| it["spec"]["ports"][0]["nodePort"].as_u64();
    let made = server.post(uri, service("a", "NodePort", Value::Null)).await;
    assert_eq!((made.code, made.warnings.len()), (201, 0), "{}", made.body);
    let given = port(&made.body).unwrap();
    assert!((30000..=32767).contains(&given), "{given}");
    let replaced = server.put(&format!("{uri}/a"), service("a", "NodePort", Value::Null)).await;
    assert_eq!(port(&replaced.body), Some(given), "{}", replaced.body);
    for (wanted, why) in
        [(given, "provided port is already allocated"), (80, "provided port is not in the valid range")]
    {
        let refused = server.post(uri, service("b", "NodePort", wanted.into())).await;
        let message = refused.body["message"].as_str().unwrap();
        assert!(
            refused.code == 422 && message.contains("spec.ports[0].nodePort") && message.contains(why),
            "{message}"
        );
    }
    let balanced = server.post(uri, service("b", "LoadBalancer", Value::Null)).await;
    assert_eq!((balanced.code, balanced.warnings.len()), (201, 1), "{}", balanced.body);
    assert!(port(&balanced.body).is_some_and(|it| it != given));
    // What changes to a type without node ports gives them back.
    let changed = server.merge(&format!("{uri}/a"), json!({"spec": {"type": "ClusterIP"}})).await;
    assert_eq!((changed.code, port(&changed.body)), (200, None), "{}", changed.body);
    assert_eq!(
        (&balanced.body["spec"]["externalTrafficPolicy"], changed.body["spec"].get("externalTrafficPolicy")),
        (&json!("Cluster"), None)
    );
    let chosen = server.post(uri, service("c", "NodePort", given.into())).await;
    assert_eq!((chosen.code, port(&chosen.body)), (201, Some(given)), "{}", chosen.body);
    let external = json!({"spec": {"type": "ExternalName", "externalName": "e.example", "ports": null}});
    let external = server.merge(&format!("{uri}/c"), external).await;
    assert_eq!((external.code, external.body["spec"].get("clusterIP")), (200, None), "{}", external.body);
    assert_eq!(server.post(uri, service("d", "NodePort", given.into())).await.code, 201);
}

#[tokio::test]
async fn secrets_fold_string_data() {
    let server = Server::start().await;
    let uri = "/api/v1/namespaces/default/secrets";
    let created = server.post(uri, json!({"metadata": {"name": "s"}, "stringData": {"k": "hi"}})).await;
    assert_eq!((&created.body["data"], &created.body["stringData"]), (&json!({"k": "aGk="}), &Value::Null));
}

#[tokio::test]
async fn reviews_tell_who_and_what() {
    let mut server = Server::start().await;
    let who = server.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await;
    assert_eq!(who.body["status"]["userInfo"]["username"], "system:test", "{}", who.body);
    let can = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let ask = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    assert_eq!(server.post(can, ask.clone()).await.body["status"]["allowed"], true);
    server.identify(Identity::new("nobody", []));
    assert_eq!(server.post(can, ask).await.body["status"]["allowed"], false);
    let refused = server.get(MAPS).await;
    assert_eq!((refused.code, &refused.body["reason"]), (403, &"Forbidden".into()));
}

#[tokio::test]
async fn older_versions_show_the_same_objects() {
    let server = Server::start().await;
    let uri = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let created = server
        .post(
            uri,
            json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}}),
        )
        .await;
    assert_eq!(created.code, 201, "{}", created.body);
    let old = server.get("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/h").await;
    assert_eq!((&old.body["apiVersion"], &old.body["spec"]["maxReplicas"]), (&"autoscaling/v1".into(), &3.into()));
}
