//! ResourceQuotas: what goes beyond is refused, whoever comes at the same time, and what is used is told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{MAPS, PODS, Server, pod};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

async fn limit(server: &Server, spec: Value) {
    let created = server.post(QUOTAS, json!({"metadata": {"name": "q"}, "spec": spec})).await;
    assert_eq!(created.code, 201, "{}", created.body);
}

/// Waits until the quota's status says so.
async fn used(server: &Server, want: Value) {
    let mut last = Value::Null;
    for _ in 0..500 {
        last = server.get(&format!("{QUOTAS}/q")).await.body["status"]["used"].take();
        if last == want {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("used is {last}, not {want}");
}

fn asking(name: &str, cpu: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    pod
}

#[tokio::test]
async fn counts_what_is_there_and_refuses_what_is_too_much() {
    let server = Server::start().await;
    server.map("before", json!({})).await;
    limit(&server, json!({"hard": {"configmaps": "2", "count/deployments.apps": "1", "requests.cpu": "1"}})).await;
    used(&server, json!({"configmaps": "1", "count/deployments.apps": "0", "requests.cpu": "0"})).await;
    server.map("second", json!({})).await;
    let refused = server.post(MAPS, json!({"metadata": {"name": "third"}})).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.body["message"],
        "configmaps \"third\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"
    );
    // A name that is taken costs nothing, and what is gone makes room.
    assert_eq!(server.delete(&format!("{MAPS}/second"), Value::Null).await.code, 200);
    assert_eq!(server.post(MAPS, json!({"metadata": {"name": "before"}})).await.code, 409);
    server.map("third", json!({})).await;
    used(&server, json!({"configmaps": "2", "count/deployments.apps": "0", "requests.cpu": "0"})).await;
}

#[tokio::test]
async fn pods_count_until_they_end() {
    let server = Server::start().await;
    limit(&server, json!({"hard": {"pods": "2", "requests.cpu": "1"}})).await;
    let silent = server.post(PODS, pod("a")).await;
    assert_eq!(silent.body["message"], "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: main");
    assert_eq!(server.post(PODS, asking("a", "600m")).await.code, 201);
    let refused = server.post(PODS, asking("b", "500m")).await;
    assert_eq!(
        refused.body["message"],
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    used(&server, json!({"pods": "1", "requests.cpu": "600m"})).await;
    let ended = server.merge(&format!("{PODS}/a/status"), json!({"status": {"phase": "Succeeded"}})).await;
    assert_eq!(ended.code, 200, "{}", ended.body);
    used(&server, json!({"pods": "0", "requests.cpu": "0"})).await;
    assert_eq!(server.post(PODS, asking("b", "500m")).await.code, 201);
}

#[tokio::test]
async fn the_last_unit_is_given_once() {
    let server = Server::start().await;
    limit(&server, json!({"hard": {"configmaps": "10"}})).await;
    let names: Vec<String> = (0..40).map(|it| format!("m{it}")).collect();
    let posts = names.iter().map(|it| server.post(MAPS, json!({"metadata": {"name": it}})));
    let answers = futures::future::join_all(posts).await;
    let made = answers.iter().filter(|it| it.code == 201).count();
    assert_eq!((made, answers.iter().filter(|it| it.code == 403).count()), (10, 30));
    used(&server, json!({"configmaps": "10"})).await;
}

#[tokio::test]
async fn a_rehearsal_is_judged_and_takes_nothing() {
    let server = Server::start().await;
    limit(&server, json!({"hard": {"configmaps": "1"}})).await;
    let dry = format!("{MAPS}?dryRun=All");
    for _ in 0..2 {
        assert_eq!(server.post(&dry, json!({"metadata": {"name": "a"}})).await.code, 201);
    }
    server.map("a", json!({})).await;
    let refused = server.post(&dry, json!({"metadata": {"name": "b"}})).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
}

#[tokio::test]
async fn a_changed_limit_counts_at_once_and_a_gone_one_no_more() {
    let server = Server::start().await;
    limit(&server, json!({"hard": {"services.nodeports": "1"}})).await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str, of_type: &str| json!({"metadata": {"name": name}, "spec": {"type": of_type, "ports": [{"port": 80}]}});
    assert_eq!(server.post(services, service("a", "NodePort")).await.code, 201);
    assert_eq!(server.post(services, service("b", "ClusterIP")).await.code, 201);
    let grown = server.merge(&format!("{services}/b"), json!({"spec": {"type": "NodePort"}})).await;
    assert_eq!(grown.code, 403, "{}", grown.body);
    let changed = server.merge(&format!("{QUOTAS}/q"), json!({"spec": {"hard": {"services.nodeports": "2"}}})).await;
    assert_eq!(changed.code, 200);
    let grown = server.merge(&format!("{services}/b"), json!({"spec": {"type": "NodePort"}})).await;
    assert_eq!(grown.code, 200, "{}", grown.body);
    used(&server, json!({"services.nodeports": "2"})).await;
    assert_eq!(server.post(services, service("c", "NodePort")).await.code, 403);
    server.delete(&format!("{QUOTAS}/q"), Value::Null).await;
    assert_eq!(server.post(services, service("c", "NodePort")).await.code, 201);
}

#[tokio::test]
async fn a_status_that_somebody_wrote_is_put_right() {
    let server = Server::start().await;
    limit(&server, json!({"hard": {"configmaps": "5"}})).await;
    used(&server, json!({"configmaps": "0"})).await;
    let wrong = json!({"status": {"hard": {"configmaps": "9"}, "used": {"configmaps": "7"}}});
    assert_eq!(server.merge(&format!("{QUOTAS}/q/status"), wrong).await.code, 200);
    used(&server, json!({"configmaps": "0"})).await;
    assert_eq!(server.get(&format!("{QUOTAS}/q")).await.body["status"]["hard"], json!({"configmaps": "5"}));
}

#[tokio::test]
async fn each_counted_kind_is_captured_and_released() {
    let server = Server::start().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
    let claim = json!({
        "storageClassName": "gold", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    });
    for (uri, spec, hard, taken, free) in [
        ("/api/v1/namespaces/default/secrets", json!(null), json!({"secrets": "1"}), "1", "0"),
        (
            "/api/v1/namespaces/default/replicationcontrollers",
            json!({"selector": {"a": "b"}, "template": template}),
            json!({"replicationcontrollers": "1"}),
            "1",
            "0",
        ),
        (
            "/apis/apps/v1/namespaces/default/replicasets",
            json!({"selector": {"matchLabels": {"a": "b"}}, "template": template}),
            json!({"count/replicasets.apps": "1"}),
            "1",
            "0",
        ),
        (
            "/api/v1/namespaces/default/persistentvolumeclaims",
            claim,
            json!({"gold.storageclass.storage.k8s.io/requests.storage": "1Gi"}),
            "1Gi",
            "0",
        ),
    ] {
        limit(&server, json!({"hard": hard})).await;
        let name = hard.as_object().unwrap().keys().next().unwrap().clone();
        used(&server, json!({&name: free})).await;
        let object = |name: &str| match &spec {
            Value::Null => json!({"metadata": {"name": name}}),
            spec => json!({"metadata": {"name": name}, "spec": spec}),
        };
        let made = server.post(uri, object("a")).await;
        assert_eq!(made.code, 201, "{}", made.body);
        used(&server, json!({&name: taken})).await;
        assert_eq!(server.post(uri, object("b")).await.code, 403, "{name}");
        server.delete(&format!("{uri}/a"), json!({"propagationPolicy": "Background"})).await;
        used(&server, json!({&name: free})).await;
        server.delete(&format!("{QUOTAS}/q"), Value::Null).await;
    }
}

#[tokio::test]
async fn scopes_count_the_pods_they_name() {
    let server = Server::start().await;
    let ending = |name: &str| {
        let mut pod = pod(name);
        pod["spec"]["activeDeadlineSeconds"] = 3600.into();
        pod
    };
    for (scope, counted, other) in [
        ("Terminating", ending("in"), pod("out")),
        ("NotTerminating", pod("in"), ending("out")),
        ("BestEffort", pod("in"), asking("out", "1")),
        ("NotBestEffort", asking("in", "1"), pod("out")),
    ] {
        limit(&server, json!({"hard": {"pods": "5"}, "scopes": [scope]})).await;
        for pod in [counted, other] {
            let made = server.post(PODS, pod).await;
            assert_eq!(made.code, 201, "{}", made.body);
        }
        used(&server, json!({"pods": "1"})).await;
        server.delete(&format!("{PODS}/in"), Value::Null).await;
        used(&server, json!({"pods": "0"})).await;
        server.delete(&format!("{PODS}/out"), Value::Null).await;
        server.delete(&format!("{QUOTAS}/q"), Value::Null).await;
    }
}
