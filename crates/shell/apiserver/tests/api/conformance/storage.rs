//! sig-storage: classes, drivers, volumes, attachments; immutable configuration.

use serde_json::{Value, json};

use super::lifecycle::{Round, expect};
use crate::server::{MAPS, PODS, Server, pod};

const V1: &str = "storage.k8s.io/v1";

#[tokio::test]
async fn storage_class_lifecycle() {
    let object = json!({"provisioner": "e2e-fake-provisioner"});
    Round { api_version: V1, plural: "storageclasses", namespaced: false, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn volume_attributes_class_lifecycle() {
    let object = json!({"driverName": "e2e-fake-driver", "parameters": {"iops": "2000"}});
    Round { api_version: V1, plural: "volumeattributesclasses", namespaced: false, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn csi_driver_lifecycle() {
    let object =
        json!({"spec": {"attachRequired": false, "podInfoOnMount": true, "volumeLifecycleModes": ["Ephemeral"]}});
    Round { api_version: V1, plural: "csidrivers", namespaced: false, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn csi_node_lifecycle() {
    let driver = json!({"name": "e2e.example.com", "nodeID": "n", "allocatable": {"count": 1}, "topologyKeys": null});
    let object = json!({"spec": {"drivers": [driver]}});
    Round { api_version: V1, plural: "csinodes", namespaced: false, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn a_csi_node_may_have_no_drivers() {
    let server = Server::start().await;
    let object = json!({"metadata": {"name": "n"}, "spec": {"drivers": null}});
    expect(server.post("/apis/storage.k8s.io/v1/csinodes", object).await, 201);
}

#[tokio::test]
async fn csi_storage_capacity_operations() {
    let object = json!({"storageClassName": "c", "capacity": "1Gi", "nodeTopology": {"matchLabels": {"a": "b"}}});
    Round { api_version: V1, plural: "csistoragecapacities", namespaced: true, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn volume_attachment_lifecycle_and_status() {
    let object = json!({"spec": {"attacher": "e2e", "nodeName": "n", "source": {"persistentVolumeName": "v"}}});
    let status = Some(json!({"attached": true}));
    Round { api_version: V1, plural: "volumeattachments", namespaced: false, object, status }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn persistent_volume_lifecycle_and_status() {
    let spec = json!({
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}, "storageClassName": "c",
        "csi": {"driver": "e2e.example.com", "volumeHandle": "h"},
    });
    let status = Some(json!({"message": "StatusPatched", "reason": "E2E patched"}));
    let object = json!({"spec": spec});
    Round { api_version: "v1", plural: "persistentvolumes", namespaced: false, object, status }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn persistent_volume_claim_lifecycle_and_status() {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}});
    let condition = json!({"type": "StatusPatched", "status": "True", "reason": "E2E patchedStatus"});
    let status = Some(json!({"conditions": [condition]}));
    let object = json!({"spec": spec});
    Round { api_version: "v1", plural: "persistentvolumeclaims", namespaced: true, object, status }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn a_new_claim_and_volume_have_a_phase() {
    let server = Server::start().await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = expect(server.post(claims, json!({"metadata": {"name": "c"}, "spec": spec})).await, 201);
    assert_eq!(claim["status"]["phase"], "Pending");
    let spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}});
    let volume = json!({"metadata": {"name": "v"}, "spec": spec});
    let volume = expect(server.post("/api/v1/persistentvolumes", volume).await, 201);
    assert_eq!(volume["status"]["phase"], "Pending");
}

#[tokio::test]
async fn pods_with_inline_csi_volumes_are_stored_listed_patched_and_deleted() {
    let server = Server::start().await;
    let mut object = pod("inline");
    object["metadata"]["labels"] = json!({"inline": "yes"});
    object["spec"]["volumes"] =
        json!([{"name": "v", "csi": {"driver": "e2e.example.com", "volumeAttributes": {"a": "b"}}}]);
    let created = expect(server.post(PODS, object).await, 201);
    assert_eq!(created["spec"]["volumes"][0]["csi"]["driver"], "e2e.example.com");
    let uri = format!("{PODS}/inline");
    let patched = expect(server.merge(&uri, json!({"metadata": {"labels": {"patched": "yes"}}})).await, 200);
    assert_eq!(patched["metadata"]["labels"]["patched"], "yes");
    let list = expect(server.get("/api/v1/pods?labelSelector=inline").await, 200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    expect(server.delete(&uri, json!({"gracePeriodSeconds": 0})).await, 200);
    assert_eq!(server.get(&uri).await.code, 404);
}

/// What stands in an immutable Secret or ConfigMap stays, its labels aside; it can be deleted.
async fn frozen(collection: &str, before: Value, after: Value) {
    let server = Server::start().await;
    let uri = format!("{collection}/frozen");
    expect(server.post(collection, json!({"metadata": {"name": "frozen"}, "data": before})).await, 201);
    expect(server.merge(&uri, json!({"data": after})).await, 200);
    expect(server.merge(&uri, json!({"immutable": true})).await, 200);
    for refused in [json!({"data": before}), json!({"immutable": false}), json!({"immutable": null})] {
        let answer = expect(server.merge(&uri, refused).await, 422);
        assert_eq!(answer["reason"], "Invalid");
    }
    expect(server.merge(&uri, json!({"metadata": {"labels": {"a": "b"}}})).await, 200);
    expect(server.delete(&uri, Value::Null).await, 200);
}

#[tokio::test]
async fn immutable_config_maps_stay() {
    frozen(MAPS, json!({"k": "one"}), json!({"k": "two"})).await;
}

#[tokio::test]
async fn immutable_secrets_stay() {
    frozen("/api/v1/namespaces/default/secrets", json!({"k": "b25l"}), json!({"k": "dHdv"})).await;
}
