//! What a namespace gives and refuses: limits, priorities, runtime classes, accounts, pod security.

use serde_json::{Value, json};

use crate::server::{PODS, Server, pod};

const RANGES: &str = "/api/v1/namespaces/default/limitranges";
const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn message(body: &Value) -> &str {
    body["message"].as_str().unwrap_or_default()
}

/// Creates an object that must be taken.
async fn made(server: &Server, uri: &str, object: Value) -> Value {
    let created = server.post(uri, object).await;
    assert_eq!(created.code, 201, "{}", created.body);
    created.body
}

#[tokio::test]
async fn a_limit_range_completes_and_bounds_pods() {
    let server = Server::start().await;
    let item =
        json!({"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "100m"}, "defaultRequest": {"cpu": "200m"}});
    let range = made(&server, RANGES, json!({"metadata": {"name": "r"}, "spec": {"limits": [item]}})).await;
    assert_eq!(range["spec"]["limits"][0]["default"]["cpu"], "1");
    let created = made(&server, PODS, pod("a")).await;
    let resources = json!({"limits": {"cpu": "1"}, "requests": {"cpu": "200m"}});
    assert_eq!(created["spec"]["containers"][0]["resources"], resources);
    assert_eq!(created["status"]["qosClass"], "Burstable");
    assert_eq!(
        created["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
    );
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let refused = server.post(PODS, large).await;
    assert_eq!(refused.code, 403);
    assert_eq!(message(&refused.body), "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2");
    let wrong = json!({"metadata": {"name": "w"}, "spec": {"limits": [
        {"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}},
    ]}});
    let refused = server.post(RANGES, wrong).await;
    assert_eq!(refused.code, 422);
    assert!(message(&refused.body).contains("min value 2 is greater than max value 1"), "{}", refused.body);
}

#[tokio::test]
async fn a_priority_class_gives_pods_their_priority() {
    let server = Server::start().await;
    let class = |name: &str, value: i64, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default, "preemptionPolicy": "Never"});
    made(&server, CLASSES, class("high", 1000, false)).await;
    let named = |name: &str, class: &str| {
        let mut pod = pod(name);
        pod["spec"]["priorityClassName"] = class.into();
        pod
    };
    let created = made(&server, PODS, named("a", "high")).await;
    assert_eq!((&created["spec"]["priority"], &created["spec"]["preemptionPolicy"]), (&json!(1000), &json!("Never")));
    let critical = made(&server, PODS, named("b", "system-node-critical")).await;
    assert_eq!(critical["spec"]["priority"], 2_000_001_000);
    let unknown = server.post(PODS, named("c", "none")).await;
    assert_eq!(message(&unknown.body), "pods \"c\" is forbidden: no PriorityClass with name none was found");
    assert_eq!(made(&server, PODS, pod("d")).await["spec"]["priority"], 0);

    made(&server, CLASSES, class("usual", 7, true)).await;
    let usual = made(&server, PODS, pod("e")).await;
    assert_eq!((&usual["spec"]["priorityClassName"], &usual["spec"]["priority"]), (&json!("usual"), &json!(7)));
    let second = server.post(CLASSES, class("other", 8, true)).await;
    assert_eq!(
        message(&second.body),
        "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"
    );
    let mut given = named("f", "high");
    given["spec"]["priority"] = 5.into();
    assert_eq!(server.post(PODS, given).await.code, 403);
    assert_eq!(server.post(CLASSES, class("system-mine", 1, false)).await.code, 422);
    assert_eq!(server.post(CLASSES, class("huge", 1_000_000_001, false)).await.code, 422);
    assert_eq!(server.merge(&format!("{CLASSES}/high"), json!({"value": 2})).await.code, 422);
}

#[tokio::test]
async fn a_runtime_class_adds_its_overhead_and_place() {
    let server = Server::start().await;
    let class = json!({
        "metadata": {"name": "boxed"}, "handler": "wasm", "overhead": {"podFixed": {"memory": "64Mi"}},
        "scheduling": {"nodeSelector": {"kind": "big"}, "tolerations": [{"key": "big", "operator": "Exists"}]},
    });
    made(&server, "/apis/node.k8s.io/v1/runtimeclasses", class).await;
    let mut boxed = pod("a");
    boxed["spec"]["runtimeClassName"] = "boxed".into();
    let created = made(&server, PODS, boxed.clone()).await;
    assert_eq!(created["spec"]["overhead"], json!({"memory": "64Mi"}));
    assert_eq!(created["spec"]["nodeSelector"], json!({"kind": "big"}));
    assert!(created["spec"]["tolerations"].as_array().unwrap().iter().any(|it| it["key"] == "big"));
    boxed["metadata"]["name"] = "b".into();
    boxed["spec"]["nodeSelector"] = json!({"kind": "small"});
    assert!(message(&server.post(PODS, boxed.clone()).await.body).contains("conflict: runtimeClass.scheduling"));
    boxed["spec"]["runtimeClassName"] = "wasmedge".into();
    boxed["metadata"]["name"] = "c".into();
    made(&server, PODS, boxed.clone()).await;
    boxed["metadata"]["name"] = "b".into();
    boxed["spec"]["runtimeClassName"] = "none".into();
    let refused = server.post(PODS, boxed).await;
    assert_eq!(message(&refused.body), "pods \"b\" is forbidden: pod rejected: RuntimeClass \"none\" not found");
}

#[tokio::test]
async fn an_account_must_exist_unless_it_is_the_default() {
    let server = Server::start().await;
    let with = |name: &str, account: &str| {
        let mut pod = pod(name);
        pod["spec"]["serviceAccountName"] = account.into();
        pod
    };
    let refused = server.post(PODS, with("a", "robot")).await;
    assert_eq!(
        message(&refused.body),
        "pods \"a\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not found"
    );
    made(&server, "/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "robot"}})).await;
    made(&server, PODS, with("a", "robot")).await;
    made(&server, PODS, pod("b")).await;
}

async fn label(server: &Server, labels: Value) -> crate::server::Answer {
    server.merge("/api/v1/namespaces/default", json!({"metadata": {"labels": labels}})).await
}

#[tokio::test]
async fn a_namespace_refuses_pods_below_its_standard_and_warns_of_workloads() {
    let server = Server::start().await;
    let mut open = pod("open");
    open["spec"]["hostNetwork"] = true.into();
    made(&server, PODS, open.clone()).await;
    let labelled = label(&server, json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
    assert_eq!(labelled.code, 200, "{}", labelled.body);
    assert_eq!(labelled.warnings.len(), 2, "{:?}", labelled.warnings);
    assert!(labelled.warnings[0].contains("existing pods in namespace"), "{:?}", labelled.warnings);
    assert!(labelled.warnings[1].contains("open: host namespaces"), "{:?}", labelled.warnings);

    open["metadata"]["name"] = "second".into();
    let refused = server.post(PODS, open.clone()).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        message(&refused.body),
        "pods \"second\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    // What is there stays, and can still be labelled.
    assert_eq!(server.merge(&format!("{PODS}/open"), json!({"metadata": {"labels": {"a": "b"}}})).await.code, 200);

    label(&server, json!({"pod-security.kubernetes.io/warn": "restricted"})).await;
    let warned = server.post(PODS, pod("plain")).await;
    assert_eq!((warned.code, warned.warnings.len()), (201, 1), "{}", warned.body);
    assert!(
        warned.warnings[0].contains("would violate PodSecurity \\\"restricted:latest\\\""),
        "{:?}",
        warned.warnings
    );
    let labels = json!({"app": "d"});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": open["spec"]},
    }});
    let warned = server.post(DEPLOYMENTS, deployment).await;
    assert_eq!((warned.code, warned.warnings.len()), (201, 1), "{:?} {}", warned.warnings, warned.body);

    let wrong = label(&server, json!({"pod-security.kubernetes.io/enforce": "strict"})).await;
    assert_eq!(wrong.code, 422);
    assert!(message(&wrong.body).contains("must be one of privileged, baseline, restricted"), "{}", wrong.body);
}

#[tokio::test]
async fn claims_and_ingresses_get_the_default_class() {
    let server = Server::start().await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        }})
    };
    assert_eq!(made(&server, claims, claim("a")).await["spec"]["storageClassName"], Value::Null);
    let mark = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"metadata": {"name": "gold", "annotations": mark}, "provisioner": "x/y"});
    made(&server, "/apis/storage.k8s.io/v1/storageclasses", class).await;
    assert_eq!(made(&server, claims, claim("b")).await["spec"]["storageClassName"], "gold");
    let mut none = claim("c");
    none["spec"]["storageClassName"] = "".into();
    assert_eq!(made(&server, claims, none).await["spec"]["storageClassName"], "");
    let mark = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"metadata": {"name": "front", "annotations": mark}, "spec": {"controller": "x/y"}});
    made(&server, "/apis/networking.k8s.io/v1/ingressclasses", class).await;
    let ingress = json!({"metadata": {"name": "i"}, "spec": {
        "defaultBackend": {"service": {"name": "s", "port": {"number": 80}}},
    }});
    let made = made(&server, "/apis/networking.k8s.io/v1/namespaces/default/ingresses", ingress).await;
    assert_eq!(made["spec"]["ingressClassName"], "front");
}

#[tokio::test]
async fn nothing_is_created_where_there_is_no_namespace() {
    let server = Server::start().await;
    let missing = server.post("/api/v1/namespaces/none/configmaps", json!({"metadata": {"name": "a"}})).await;
    assert_eq!((missing.code, message(&missing.body)), (404, "namespaces \"none\" not found"));
    let rehearsed = server.post(&format!("{PODS}?dryRun=All"), pod("a")).await;
    assert_eq!((rehearsed.code, server.get(&format!("{PODS}/a")).await.code), (201, 404));
}
