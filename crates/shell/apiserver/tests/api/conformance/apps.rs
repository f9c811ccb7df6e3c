//! sig-apps: workload kinds as far as the API alone decides them.

use serde_json::{Value, json};

use super::lifecycle::{Round, expect};
use crate::server::{Server, names};

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn cron_job_operations() {
    let mut template = template();
    template["spec"]["restartPolicy"] = "OnFailure".into();
    let object = json!({"spec": {"schedule": "* */1 * * ?", "jobTemplate": {"spec": {"template": template}}}});
    let status = Some(json!({"lastScheduleTime": "2026-01-01T00:00:00Z"}));
    Round { api_version: "batch/v1", plural: "cronjobs", namespaced: true, object, status }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn job_lifecycle() {
    let server = Server::start().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let mut template = template();
    template["spec"]["restartPolicy"] = "Never".into();
    let object = json!({"metadata": {"name": "j", "labels": {"e2e": "job"}},
        "spec": {"suspend": true, "parallelism": 2, "completions": 4, "backoffLimit": 6, "template": template}});
    expect(server.post(jobs, object).await, 201);
    let uri = format!("{jobs}/j");
    let patched = expect(server.merge(&uri, json!({"metadata": {"labels": {"patched": "true"}}})).await, 200);
    assert_eq!(patched["metadata"]["labels"]["patched"], "true");
    let mut job = expect(server.get(&uri).await, 200);
    job["metadata"]["annotations"]["updated"] = "true".into();
    job["spec"]["suspend"] = false.into();
    let updated = expect(server.put(&uri, job).await, 200);
    assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
    assert_eq!(names(&server.get("/apis/batch/v1/jobs?labelSelector=e2e%3Djob").await.body), ["j"]);
    let options = json!({"propagationPolicy": "Background"});
    expect(server.delete(&format!("{jobs}?labelSelector=e2e%3Djob"), options).await, 200);
    assert_eq!(server.get(&uri).await.code, 404);
}

#[tokio::test]
async fn disruption_budget_operations_and_status() {
    let object = json!({"spec": {"minAvailable": "1%", "selector": {"matchLabels": {"foo": "bar"}}}});
    let status = Some(json!({"disruptedPods": {"p": "2026-01-01T00:00:00Z"}}));
    Round { api_version: "policy/v1", plural: "poddisruptionbudgets", namespaced: true, object, status }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn workload_kinds_go_through_the_round() {
    let server = Server::start().await;
    let selector = json!({"matchLabels": {"app": "a"}});
    let spec = json!({"selector": selector, "template": template()});
    let condition = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from a test"});
    for plural in ["daemonsets", "deployments", "replicasets", "statefulsets"] {
        let mut object = json!({"spec": spec});
        if plural == "statefulsets" {
            object["spec"]["serviceName"] = "s".into();
        }
        let status = Some(json!({"conditions": [condition]}));
        Round { api_version: "apps/v1", plural, namespaced: true, object, status }.go(&server).await;
    }
    let object = json!({"spec": {"selector": {"app": "a"}, "template": template()}});
    let status = Some(json!({"conditions": [condition]}));
    Round { api_version: "v1", plural: "replicationcontrollers", namespaced: true, object, status }.go(&server).await;
}

#[tokio::test]
async fn controller_revisions_are_kept_as_objects() {
    let object = json!({"revision": 2, "data": {"spec": {}}});
    Round { api_version: "apps/v1", plural: "controllerrevisions", namespaced: true, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn scales_are_read_updated_and_patched() {
    let server = Server::start().await;
    for (group, plural, selector) in [
        ("/apis/apps/v1", "deployments", json!({"matchLabels": {"app": "a"}})),
        ("/apis/apps/v1", "replicasets", json!({"matchLabels": {"app": "a"}})),
        ("/apis/apps/v1", "statefulsets", json!({"matchLabels": {"app": "a"}})),
        ("/api/v1", "replicationcontrollers", json!({"app": "a"})),
    ] {
        let collection = format!("{group}/namespaces/default/{plural}");
        let spec = json!({"replicas": 1, "selector": selector, "template": template()});
        let mut object = json!({"metadata": {"name": "s"}, "spec": spec});
        if plural == "statefulsets" {
            object["spec"]["serviceName"] = "s".into();
        }
        expect(server.post(&collection, object).await, 201);
        let uri = format!("{collection}/s/scale");
        let mut scale = expect(server.get(&uri).await, 200);
        assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&"Scale".into(), &1.into()), "{plural}");
        scale["spec"]["replicas"] = 2.into();
        assert_eq!(expect(server.put(&uri, scale).await, 200)["spec"]["replicas"], 2);
        let patched = expect(server.merge(&uri, json!({"spec": {"replicas": 4}})).await, 200);
        assert_eq!(patched["spec"]["replicas"], 4);
        assert_eq!(server.get(&format!("{collection}/s")).await.body["spec"]["replicas"], 4);
    }
}
