//! What nodes see and write: themselves, the pods bound to them, and what those refer to.

use eyot_apiserver::Identity;
use http::Method;
use serde_json::{Value, json};

use crate::{
    access::with_headers,
    server::{Answer, MAPS, PODS, Server, pod},
};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

async fn ask(server: &Server, node: &str, method: Method, uri: &str, body: Value) -> Answer {
    let identity = Identity::new(format!("system:node:{node}"), ["system:nodes".to_owned()]);
    with_headers(server, identity, method, uri, &[], body).await
}

async fn get(server: &Server, node: &str, uri: &str) -> Answer {
    ask(server, node, Method::GET, uri, Value::Null).await
}

async fn make(server: &Server, uri: &str, object: Value) -> Value {
    let created = server.post(uri, object).await;
    assert_eq!(created.code, 201, "{}", created.body);
    created.body
}

/// Two nodes, `edge` with a pod `web` that refers to a Secret, a ConfigMap and a claim, and `far` with a plain one.
async fn world() -> Server {
    let server = Server::with_keys().await;
    for name in ["edge", "far"] {
        make(&server, "/api/v1/nodes", json!({"metadata": {"name": name}})).await;
    }
    for name in ["key", "other"] {
        make(&server, SECRETS, json!({"metadata": {"name": name}})).await;
    }
    server.map("settings", json!({})).await;
    make(&server, "/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "robot"}})).await;
    let mut web = pod("web");
    web["spec"]["nodeName"] = "edge".into();
    web["spec"]["serviceAccountName"] = "robot".into();
    web["spec"]["automountServiceAccountToken"] = false.into();
    web["spec"]["volumes"] = json!([
        {"name": "a", "secret": {"secretName": "key"}},
        {"name": "b", "persistentVolumeClaim": {"claimName": "data"}},
    ]);
    web["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    make(&server, PODS, web).await;
    let mut plain = pod("plain");
    plain["spec"]["nodeName"] = "far".into();
    make(&server, PODS, plain).await;
    let resources = json!({"requests": {"storage": "1Gi"}});
    let claim =
        json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}});
    make(&server, CLAIMS, claim).await;
    let volume = json!({"metadata": {"name": "disk"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
        "claimRef": {"namespace": "default", "name": "data"},
    }});
    make(&server, "/api/v1/persistentvolumes", volume).await;
    server
}

#[tokio::test]
async fn a_node_reads_what_its_pods_refer_to_and_nothing_else() {
    let server = world().await;
    let [secret, other] = ["key", "other"].map(|it| format!("{SECRETS}/{it}"));
    let reads = [
        (secret.as_str(), true),
        (&other, false),
        (SECRETS, false),
        (&format!("{MAPS}/settings"), true),
        (&format!("{CLAIMS}/data"), true),
        ("/api/v1/persistentvolumes/disk", true),
        (&format!("{PODS}/web"), true),
        (&format!("{PODS}/plain"), false),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dedge", true),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dfar", false),
        ("/api/v1/pods", false),
        ("/api/v1/nodes/edge", true),
        ("/api/v1/nodes/far", false),
        ("/api/v1/services", true),
        ("/apis/apps/v1/deployments", false),
    ];
    for (uri, allowed) in reads {
        assert_eq!(get(&server, "edge", uri).await.code, if allowed { 200 } else { 403 }, "{uri}");
    }
    let refused = get(&server, "far", &secret).await;
    assert_eq!(
        refused.body["message"],
        r#"secrets "key" is forbidden: User "system:node:far" cannot get resource "secrets" in API group "" in the namespace "default": no relationship found between node 'far' and this object"#
    );
    // The pod goes, and with it the right.
    assert_eq!(server.delete(&format!("{PODS}/web"), json!({"gracePeriodSeconds": 0})).await.code, 200);
    assert_eq!(get(&server, "edge", &secret).await.code, 403);
    // A role still gives what it gives.
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    make(&server, &format!("{rbac}/clusterroles"), json!({"metadata": {"name": "reader"}, "rules": rules})).await;
    let binding = json!({"metadata": {"name": "reader"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": "Group", "name": "system:nodes"}]});
    make(&server, &format!("{rbac}/clusterrolebindings"), binding).await;
    assert_eq!(get(&server, "far", &secret).await.code, 200);
}

#[tokio::test]
async fn a_node_writes_itself_and_the_status_of_its_pods() {
    let server = world().await;
    let status = |name: &str| format!("{PODS}/{name}/status");
    let running = json!({"status": {"phase": "Running"}});
    assert_eq!(ask(&server, "edge", Method::PATCH, &status("web"), running.clone()).await.code, 200);
    let refused = ask(&server, "far", Method::PATCH, &status("web"), running).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.body["message"],
        r#"pods "web" is forbidden: node "far" can only update pod status for pods with spec.nodeName set to itself"#
    );
    let label = |key: &str| json!({"metadata": {"labels": {key: "x"}}});
    for (node, uri, body, code) in [
        ("edge", "/api/v1/nodes/edge", label("team"), 200),
        ("edge", "/api/v1/nodes/edge", label("node-restriction.kubernetes.io/trusted"), 403),
        ("edge", "/api/v1/nodes/edge", json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}), 403),
        ("edge", "/api/v1/nodes/edge/status", json!({"status": {"capacity": {"pods": "10"}}}), 200),
        ("far", "/api/v1/nodes/edge", label("team"), 403),
        ("edge", &format!("{PODS}/web"), label("team"), 403),
    ] {
        let answer = ask(&server, node, Method::PATCH, uri, body).await;
        assert_eq!(answer.code, code, "{node} {uri}: {}", answer.body);
    }
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}});
    let uri = format!("{PODS}/web/eviction");
    assert_eq!(ask(&server, "far", Method::POST, &uri, eviction.clone()).await.code, 403);
    assert_eq!(ask(&server, "edge", Method::POST, &uri, eviction).await.code, 201);
    assert_eq!(ask(&server, "far", Method::POST, PODS, pod("own")).await.code, 403);
    assert_eq!(ask(&server, "edge", Method::DELETE, &format!("{PODS}/plain"), Value::Null).await.code, 403);
    assert_eq!(ask(&server, "far", Method::DELETE, &format!("{PODS}/plain"), Value::Null).await.code, 200);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = |name: &str| json!({"metadata": {"name": name}, "spec": {"holderIdentity": name}});
    assert_eq!(ask(&server, "edge", Method::POST, leases, lease("far")).await.code, 403);
    assert_eq!(ask(&server, "edge", Method::POST, leases, lease("edge")).await.code, 201);
    assert_eq!(get(&server, "far", &format!("{leases}/edge")).await.code, 403);
}

#[tokio::test]
async fn a_node_makes_mirrors_of_what_it_runs() {
    let server = world().await;
    let node = server.get("/api/v1/nodes/edge").await.body;
    let mut mirror = pod("static");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = "edge".into();
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "edge", "uid": node["metadata"]["uid"],
        "controller": true});
    assert_eq!(ask(&server, "edge", Method::POST, PODS, mirror.clone()).await.code, 403);
    mirror["metadata"]["ownerReferences"] = json!([owner]);
    let made = ask(&server, "edge", Method::POST, PODS, mirror).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["spec"]["serviceAccountName"], Value::Null, "it refers to nothing");
    assert_eq!(made.body["spec"]["volumes"], Value::Null);
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_pods_alone() {
    let server = world().await;
    let uid = server.get(&format!("{PODS}/web")).await.body["metadata"]["uid"].clone();
    let uri = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let bound = json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": uid}}});
    assert_eq!(ask(&server, "edge", Method::POST, uri, bound.clone()).await.code, 201);
    assert_eq!(ask(&server, "far", Method::POST, uri, bound).await.code, 403);
    let free = ask(&server, "edge", Method::POST, uri, json!({"spec": {}})).await;
    assert_eq!(free.code, 403);
    assert_eq!(
        free.body["message"],
        r#"serviceaccounts "robot" is forbidden: node requested token not bound to a pod"#
    );
}
