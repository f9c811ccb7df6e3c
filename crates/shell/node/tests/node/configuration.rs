//! ConfigMaps, Secrets and volumes.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::island::{Island, container, hello, phase, ready, waiting};

/// A module that copies the file `text` of its first directory to standard output.
fn cat() -> Vec<u8> {
    wat::parse_str(
        r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "text")
        (func $must (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
        (func (export "_start")
            (call $must (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 0)
                (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (i32.const 4096))
            (call $must (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)))
            (i32.store (i32.const 4) (i32.load (i32.const 20)))
            (call $must (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 24)))))"#,
    )
    .unwrap()
}

#[tokio::test]
async fn a_missing_config_map_keeps_a_pod_waiting_until_it_appears() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    island
        .create(
            "web",
            json!({ "containers": [{ "name": "app", "image": image,
                "env": [{ "name": "COLOUR", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "colour" } } }] }] }),
        )
        .await;
    let pod = island.until("web", |pod| waiting(pod) == "CreateContainerConfigError").await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "configmap \"settings\" not found");
    island.config_map("settings", json!({ "colour": "green" })).await;
    island.until("web", ready).await;
}

#[tokio::test]
async fn a_command_reads_its_volumes_and_they_follow_their_config_map() {
    let mut island = Island::start().await;
    let image = island.push("cat", cat()).await;
    island.config_map("texts", json!({ "text": "from a config map\n" })).await;
    let spec = |volume: serde_json::Value| {
        json!({ "restartPolicy": "Never", "volumes": [volume],
            "containers": [{ "name": "main", "image": image, "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }] })
    };
    island.create("config", spec(json!({ "name": "v", "configMap": { "name": "texts" } }))).await;
    island.until("config", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(island.kubelet("/containerLogs/default/config/main").await.1, "from a config map\n");
    let downward = json!({ "name": "v", "downwardAPI": { "items": [
        { "path": "text", "fieldRef": { "fieldPath": "metadata.labels['app']" } }] } });
    island.create("labels", spec(downward)).await;
    island.until("labels", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(island.kubelet("/containerLogs/default/labels/main").await.1, "labels");

    let image = island.push("hello", hello()).await;
    island
        .create(
            "web",
            json!({ "volumes": [{ "name": "v", "configMap": { "name": "texts" } }],
                "containers": [{ "name": "app", "image": image, "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }] }),
        )
        .await;
    let pod = island.until("web", ready).await;
    let api: kube::Api<ConfigMap> = kube::Api::default_namespaced(island.client.clone());
    let patch = Patch::Merge(json!({ "data": { "text": "changed" } }));
    api.patch("texts", &PatchParams::default(), &patch).await.unwrap();
    let file = island.node_file(&format!("pods/{}/volumes/v/text", pod.metadata.uid.unwrap()));
    for _ in 0..500 {
        if std::fs::read_to_string(&file).unwrap() == "changed" {
            island.stop().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the volume did not follow its config map");
}
