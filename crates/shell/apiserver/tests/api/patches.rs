//! The kinds of patch.

use http::Method;
use serde_json::{Value, json};

use crate::server::{MAPS, Server, version};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn deployment(server: &Server) -> Value {
    let container = |name: &str| json!({"name": name, "image": "i", "env": [{"name": "A", "value": "1"}]});
    let created = server.post(
        DEPLOYMENTS,
        json!({
            "metadata": {"name": "d"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [container("one"), container("two")]},
                },
            },
        }),
    );
    let created = created.await;
    assert_eq!(created.code, 201, "{}", created.body);
    created.body
}

#[tokio::test]
async fn a_strategic_patch_merges_lists_by_key() {
    let server = Server::start().await;
    deployment(&server).await;
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "two", "image": "new"}]}}}});
    let uri = format!("{DEPLOYMENTS}/d");
    let patched = server.call(Method::PATCH, &uri, "application/strategic-merge-patch+json", patch.to_string()).await;
    assert_eq!(patched.code, 200, "{}", patched.body);
    let containers = &patched.body["spec"]["template"]["spec"]["containers"];
    assert_eq!((&containers[0]["image"], &containers[1]["image"]), (&"i".into(), &"new".into()));
    assert_eq!(containers[1]["env"][0]["value"], "1");
    assert_eq!(patched.body["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_json_patch_runs_its_operations_or_none() {
    let server = Server::start().await;
    server.map("a", json!({"x": "1"})).await;
    let uri = format!("{MAPS}/a");
    let json_patch = |patch: Value| server.call(Method::PATCH, &uri, "application/json-patch+json", patch.to_string());
    let add =
        json!([{"op": "add", "path": "/data", "value": {"k": "v"}}, {"op": "remove", "path": "/metadata/labels/x"}]);
    let patched = json_patch(add).await;
    assert_eq!((patched.code, &patched.body["data"]["k"]), (200, &"v".into()));
    let broken =
        json_patch(json!([{"op": "remove", "path": "/data/k"}, {"op": "remove", "path": "/data/absent"}])).await;
    assert_eq!(broken.code, 422, "{}", broken.body);
    assert_eq!(server.get(&uri).await.body["data"]["k"], "v");
    assert_eq!(json_patch(json!({"not": "a list"})).await.code, 400);
}

#[tokio::test]
async fn a_patch_with_a_version_conflicts_and_one_without_does_not() {
    let server = Server::start().await;
    let old = server.map("a", json!({})).await;
    let uri = format!("{MAPS}/a");
    assert_eq!(server.merge(&uri, json!({"data": {"k": "1"}})).await.code, 200);
    let stale = json!({"metadata": {"resourceVersion": version(&old)}, "data": {"k": "2"}});
    assert_eq!(server.merge(&uri, stale).await.code, 409);
    let patches = (0..20).map(|it| {
        let (server, uri) = (&server, &uri);
        async move { server.merge(uri, json!({"data": {format!("k{it}"): "v"}})).await.code }
    });
    let codes = futures::future::join_all(patches).await;
    assert!(codes.iter().all(|it| *it == 200), "{codes:?}");
    assert_eq!(server.get(&uri).await.body["data"].as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn a_patch_changes_neither_name_nor_kind() {
    let server = Server::start().await;
    server.map("a", json!({})).await;
    let uri = format!("{MAPS}/a");
    assert_eq!(server.merge(&uri, json!({"metadata": {"name": "b"}})).await.code, 400);
    assert_eq!(server.merge(&uri, json!({"kind": "Secret"})).await.code, 422);
    assert_eq!(server.merge(&format!("{MAPS}/absent"), json!({})).await.code, 404);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let server = Server::start().await;
    deployment(&server).await;
    let uri = format!("{DEPLOYMENTS}/d");
    let both = json!({"spec": {"replicas": 5}, "status": {"replicas": 1}});
    let by_status = server.merge(&format!("{uri}/status"), both.clone()).await;
    assert_eq!((&by_status.body["spec"]["replicas"], &by_status.body["status"]["replicas"]), (&2.into(), &1.into()));
    assert_eq!(by_status.body["metadata"]["generation"], 1);
    let by_spec = server.merge(&uri, json!({"spec": {"replicas": 5}, "status": {"replicas": 9}})).await;
    assert_eq!((&by_spec.body["spec"]["replicas"], &by_spec.body["status"]["replicas"]), (&5.into(), &1.into()));
    assert_eq!(by_spec.body["metadata"]["generation"], 2);
}

#[tokio::test]
async fn scale_is_a_view_of_replicas() {
    let server = Server::start().await;
    deployment(&server).await;
    let uri = format!("{DEPLOYMENTS}/d/scale");
    let mut scale = server.get(&uri).await.body;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&"Scale".into(), &2.into()));
    assert_eq!(scale["status"]["selector"], "app=d");
    scale["spec"]["replicas"] = 7.into();
    assert_eq!(server.put(&uri, scale.clone()).await.body["spec"]["replicas"], 7);
    scale["spec"]["replicas"] = 8.into();
    assert_eq!(server.put(&uri, scale).await.code, 409);
    assert_eq!(server.merge(&uri, json!({"spec": {"replicas": 3}})).await.code, 200);
    assert_eq!(server.merge(&uri, json!({"spec": {"replicas": -1}})).await.code, 422);
    assert_eq!(server.get(&format!("{DEPLOYMENTS}/d")).await.body["spec"]["replicas"], 3);
}
