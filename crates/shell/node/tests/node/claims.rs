//! Claims, from the object to the directory and back.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::{
    conformance::steps,
    island::{Island, container, phase, ready, waiting},
};

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";

fn claim(name: &str, more: Value) -> Value {
    let mut claim = json!({ "metadata": { "name": name },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
    more.as_object().into_iter().flatten().for_each(|(key, value)| claim["spec"][key] = value.clone());
    claim
}

fn user(image: &str, claim: &str, args: &str) -> Value {
    json!({ "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": claim } }],
        "containers": [{ "name": "main", "image": image, "args": steps(args),
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }] })
}

async fn get(island: &Island, path: &str) -> Option<Value> {
    island.call("GET", path, Value::Null).await.ok()
}

async fn until(island: &Island, path: &str, wanted: impl Fn(&Option<Value>) -> bool) -> Option<Value> {
    for _ in 0..1000 {
        let found = get(island, path).await;
        if wanted(&found) {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{path} did not become as wanted: {:#}", get(island, path).await.unwrap_or_default());
}

fn is(phase: &str) -> impl Fn(&Option<Value>) -> bool {
    move |it| it.as_ref().is_some_and(|it| it["status"]["phase"] == phase)
}

#[tokio::test]
async fn what_a_pod_writes_into_its_claim_is_there_for_the_next_pod_and_goes_with_the_claim() {
    let mut island = Island::start().await;
    island.with_controllers().await;
    let image = island.toolbox().await;
    let class = get(&island, "/apis/storage.k8s.io/v1/storageclasses/local-path").await.unwrap();
    assert_eq!(class["volumeBindingMode"], "WaitForFirstConsumer");
    let made = island.call("POST", CLAIMS, claim("data", json!({}))).await.unwrap();
    assert_eq!(made["spec"]["storageClassName"], "local-path", "the default class");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(is("Pending")(&get(&island, &format!("{CLAIMS}/data")).await), "nobody uses it yet");

    island.create("writer", user(&image, "data", "write /data/note kept")).await;
    island.until("writer", |pod| phase(pod) == "Succeeded").await;
    let bound = until(&island, &format!("{CLAIMS}/data"), is("Bound")).await.unwrap();
    assert_eq!(bound["status"]["capacity"]["storage"], "1Gi");
    let name = bound["spec"]["volumeName"].as_str().unwrap().to_owned();
    let volume = until(&island, &format!("{VOLUMES}/{name}"), is("Bound")).await.unwrap();
    let path = std::path::PathBuf::from(volume["spec"]["local"]["path"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(path.join("note")).unwrap(), "kept");
    island.pods.delete("writer", &DeleteParams::default()).await.unwrap();
    island.until_gone("writer").await;

    island.create("reader", user(&image, "data", "cat /data/note , print , forever")).await;
    island.until_logged("reader", "main", "kept\n").await;
    // While a pod uses it, it stays.
    island.call("DELETE", &format!("{CLAIMS}/data"), Value::Null).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(get(&island, &format!("{CLAIMS}/data")).await.unwrap()["metadata"]["deletionTimestamp"].is_string());
    assert!(path.join("note").exists());
    island.pods.delete("reader", &DeleteParams::default()).await.unwrap();
    until(&island, &format!("{CLAIMS}/data"), Option::is_none).await;
    until(&island, &format!("{VOLUMES}/{name}"), Option::is_none).await;
    assert!(!path.exists(), "its content went with it");
    island.stop().await;
}

#[tokio::test]
async fn volumes_that_people_make_are_bound_and_kept() {
    let island = Island::start().await;
    island.with_controllers().await;
    let image = island.toolbox().await;
    let root = tempfile::tempdir().unwrap();
    let volume = |name: &str, more: Value| {
        let mut volume = json!({ "metadata": { "name": name, "labels": { "tier": name } }, "spec": {
            "capacity": { "storage": "2Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": root.path() } } });
        more.as_object().into_iter().flatten().for_each(|(key, value)| volume["spec"][key] = value.clone());
        volume
    };
    island.call("POST", VOLUMES, volume("small", json!({ "capacity": { "storage": "1Mi" } }))).await.unwrap();
    island.call("POST", VOLUMES, volume("right", json!({}))).await.unwrap();
    until(&island, &format!("{VOLUMES}/right"), is("Available")).await;
    island.call("POST", CLAIMS, claim("made", json!({ "storageClassName": "" }))).await.unwrap();
    let bound = until(&island, &format!("{CLAIMS}/made"), is("Bound")).await.unwrap();
    assert_eq!(bound["spec"]["volumeName"], "right");
    let mut spec = user(&image, "made", "write /data/x y");
    spec["volumes"][0]["persistentVolumeClaim"]["readOnly"] = json!(true);
    island.create("read-only", spec).await;
    island.until("read-only", |pod| phase(pod) == "Failed").await;
    island.create("writer", user(&image, "made", "write /data/x y")).await;
    island.until("writer", |pod| phase(pod) == "Succeeded").await;
    assert!(root.path().join("x").exists());
    for pod in ["read-only", "writer"] {
        island.pods.delete(pod, &DeleteParams::default()).await.unwrap();
    }
    island.call("DELETE", &format!("{CLAIMS}/made"), Value::Null).await.unwrap();
    until(&island, &format!("{VOLUMES}/right"), is("Released")).await;
    assert!(root.path().join("x").exists(), "what is retained stays");
}

#[tokio::test]
async fn pods_wait_for_their_claims_and_make_ephemeral_ones() {
    let island = Island::start().await;
    island.with_controllers().await;
    let image = island.toolbox().await;
    island.create("early", user(&image, "late", "forever")).await;
    let pod = island.until("early", |pod| waiting(pod) == "CreateContainerConfigError").await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "persistentvolumeclaim \"late\" not found");
    island.call("POST", CLAIMS, claim("late", json!({}))).await.unwrap();
    island.until("early", ready).await;

    let mut spec = user(&image, "unused", "write /data/x y , forever");
    spec["volumes"][0] = json!({ "name": "scratch", "ephemeral": { "volumeClaimTemplate": {
        "metadata": { "labels": { "kind": "scratch" } }, "spec": claim("", json!({}))["spec"] } } });
    spec["containers"][0]["volumeMounts"][0]["name"] = json!("scratch");
    island.create("owner", spec).await;
    island.until("owner", ready).await;
    let made = get(&island, &format!("{CLAIMS}/owner-scratch")).await.unwrap();
    assert_eq!((&made["metadata"]["labels"]["kind"], &made["status"]["phase"]), (&json!("scratch"), &json!("Bound")));
    island.pods.delete("owner", &DeleteParams::default()).await.unwrap();
    until(&island, &format!("{CLAIMS}/owner-scratch"), Option::is_none).await;
}
