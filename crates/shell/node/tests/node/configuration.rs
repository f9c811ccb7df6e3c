//! ConfigMaps, Secrets and volumes.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::island::{Island, container, hello, phase, ready, waiting};

/// A `wasi:cli` component with `wasi:keyvalue` and `wasi:config` that does `run`; it fails when that leaves 1.
fn keeper(run: &str) -> Vec<u8> {
    let text = include_str!("../../../runtime/tests/guests/keeper.wat").replace(";;RUN;;", run);
    wat::parse_str(text).unwrap()
}

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

#[tokio::test]
async fn pods_of_a_namespace_share_what_they_keep_and_find_their_settings() {
    let mut island = Island::start().await;
    let set = keeper(
        "(local.set $bucket (call $default))
        (call $set (local.get $bucket) (i32.const 1040) (i32.const 5) (i32.const 1056) (i32.const 6) (i32.const 16))
        (i32.load8_u (i32.const 16))",
    );
    // Whether there is a value of 6 bytes, and a setting of 5.
    let get = keeper(
        "(local.set $bucket (call $default))
        (call $get (local.get $bucket) (i32.const 1040) (i32.const 5) (i32.const 16))
        (if (i32.eqz (i32.load8_u (i32.const 20))) (then (return (i32.const 1))))
        (if (i32.ne (i32.load (i32.const 28)) (i32.const 6)) (then (return (i32.const 1))))
        (call $config (i32.const 1072) (i32.const 8) (i32.const 16))
        (i32.or (i32.load8_u (i32.const 16)) (i32.ne (i32.load (i32.const 28)) (i32.const 5)))",
    );
    let (set, get) = (island.push("set", set).await, island.push("get", get).await);
    island.config_map("settings", json!({ "greeting": "hello" })).await;
    let spec = |image: &str| {
        json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": image,
            "envFrom": [{ "configMapRef": { "name": "settings" } }] }] })
    };
    island.create("early", spec(&get)).await;
    island.until("early", |pod| phase(pod) == "Failed").await;
    island.create("set", spec(&set)).await;
    island.until("set", |pod| phase(pod) == "Succeeded").await;
    island.create("get", spec(&get)).await;
    island.until("get", |pod| phase(pod) == "Succeeded").await;
    island.restart().await;
    island.create("later", spec(&get)).await;
    island.until("later", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(
        std::fs::read_dir(island.node_file("buckets"))
            .unwrap()
            .filter(|it| { it.as_ref().unwrap().path().extension().is_some_and(|it| it == "db") })
            .count(),
        1
    );
    island.stop().await;
}
