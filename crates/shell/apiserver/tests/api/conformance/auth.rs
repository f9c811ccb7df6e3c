//! sig-auth: service accounts and signing requests as objects.

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::lifecycle::{Round, expect};
use crate::server::{PODS, Server, pod};

#[tokio::test]
async fn service_account_lifecycle() {
    let server = Server::start().await;
    let object = json!({"automountServiceAccountToken": false});
    let round = Round { api_version: "v1", plural: "serviceaccounts", namespaced: true, object, status: None };
    round.go(&server).await;
    expect(server.post(&round.collection(), json!({"metadata": {"name": "s"}})).await, 201);
    let uri = format!("{}/s", round.collection());
    let mut account = expect(server.get(&uri).await, 200);
    account["automountServiceAccountToken"] = true.into();
    assert_eq!(expect(server.put(&uri, account).await, 200)["automountServiceAccountToken"], true);
}

#[tokio::test]
async fn tokens_are_mounted_unless_account_or_pod_opts_out() {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let server = Server::with_keys().await;
    for (account, says) in [("mount", json!(true)), ("mount-default", Value::Null), ("nomount", json!(false))] {
        let object = json!({"metadata": {"name": account}, "automountServiceAccountToken": says});
        expect(server.post("/api/v1/namespaces/default/serviceaccounts", object).await, 201);
        for wish in [json!(true), Value::Null, json!(false)] {
            let wanted = wish.as_bool().or(says.as_bool()).unwrap_or(true);
            let mut sent = pod(&format!("{account}-{wish}"));
            sent["spec"]["serviceAccountName"] = account.into();
            sent["spec"]["automountServiceAccountToken"] = wish.clone();
            sent["spec"]["initContainers"] = json!([{"name": "first", "image": "localhost:5000/hello:1"}]);
            let created = expect(server.post(PODS, sent).await, 201);
            let spec = &created["spec"];
            let sources = spec["volumes"][0]["projected"]["sources"].as_array();
            assert_eq!(sources.map(Vec::len), wanted.then_some(3), "{account} {wish}: {spec}");
            for container in [&spec["containers"][0], &spec["initContainers"][0]] {
                let mounted =
                    container["volumeMounts"].as_array().into_iter().flatten().any(|it| it["mountPath"] == PATH);
                assert_eq!(mounted, wanted, "{account} {wish}: {spec}");
            }
        }
    }
    // A pod pays this much for it.
    let size = async |name: &str| server.get(&format!("{PODS}/{name}")).await.body.to_string().len();
    let (with, without) = (size("mount-true").await, size("mount-false").await);
    assert!(with - without < 800, "{with} against {without} bytes");
}

#[tokio::test]
async fn signing_request_operations() {
    let server = Server::start().await;
    let request = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let request = STANDARD.encode(request.pem().unwrap());
    let usages = ["digital signature", "key encipherment", "server auth"];
    let object = json!({"spec": {"request": request, "signerName": "example.com/e2e", "usages": usages}});
    let condition = json!({"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Set from a test",
        "lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = Some(json!({"conditions": [condition]}));
    let api_version = "certificates.k8s.io/v1";
    let round =
        Round { api_version, plural: "certificatesigningrequests", namespaced: false, object: object.clone(), status };
    round.go(&server).await;
    let mut object = object;
    object["metadata"]["name"] = "approved".into();
    expect(server.post(&round.collection(), object).await, 201);
    let uri = format!("{}/approved/approval", round.collection());
    let mut request = expect(server.get(&uri).await, 200);
    request["status"] =
        json!({"conditions": [{"type": "Approved", "status": "True", "reason": "E2E", "message": "m"}]});
    let approved = expect(server.put(&uri, request).await, 200);
    assert_eq!(approved["status"]["conditions"][0]["type"], "Approved");
}
