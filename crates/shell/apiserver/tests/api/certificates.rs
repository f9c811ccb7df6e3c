//! CertificateSigningRequests: who asked, who may approve, and what comes of it.

use base64::{Engine, engine::general_purpose::STANDARD};
use eyot_apiserver::{Body, Identity};
use http::{Method, Request, header};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::server::{Answer, Server, read};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

fn pem(user: &str, group: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn request(name: &str, signer: &str, pem: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": ["client auth"], "username": "forged"},
    })
}

async fn send(server: &Server, identity: Identity, method: Method, uri: &str, body: Value) -> Answer {
    let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::full(body.to_string())).unwrap();
    read(server.api.service(identity).oneshot(request).await.unwrap()).await
}

fn approved(mut request: Value) -> Value {
    request["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]});
    request
}

#[tokio::test]
async fn an_approved_request_has_its_certificate_when_the_approval_is_answered() {
    let server = Server::with_keys().await;
    let created = server.post(REQUESTS, request("eve", CLIENT, &pem("eve", "staff"))).await;
    assert_eq!(created.code, 201, "{}", created.body);
    assert_eq!(created.body["spec"]["username"], "system:test", "who asks is written down, not believed");
    assert!(created.body["status"]["certificate"].is_null());
    let approval = format!("{REQUESTS}/eve/approval");
    let answer = server.put(&approval, approved(created.body)).await;
    assert_eq!(answer.code, 200, "{}", answer.body);
    assert!(answer.body["status"]["conditions"][0]["lastUpdateTime"].is_string());
    let signed = server.get(&format!("{REQUESTS}/eve")).await.body;
    let certificate = STANDARD.decode(signed["status"]["certificate"].as_str().unwrap()).unwrap();
    assert!(certificate.starts_with(b"-----BEGIN CERTIFICATE-----"));
}

#[tokio::test]
async fn what_cannot_be_signed_fails_with_the_reason() {
    let server = Server::with_keys().await;
    let node = "kubernetes.io/kube-apiserver-client-kubelet";
    let created = server.post(REQUESTS, request("n", node, &pem("eve", "staff"))).await.body;
    server.put(&format!("{REQUESTS}/n/approval"), approved(created)).await;
    let failed = server.get(&format!("{REQUESTS}/n")).await.body;
    let conditions = failed["status"]["conditions"].as_array().unwrap();
    assert_eq!(
        (&conditions[1]["type"], &conditions[1]["reason"]),
        (&json!("Failed"), &json!("SignerValidationFailure"))
    );
    // Requests for others wait for their signer.
    let created = server.post(REQUESTS, request("other", "acme.com/signer", &pem("eve", "staff"))).await.body;
    server.put(&format!("{REQUESTS}/other/approval"), approved(created)).await;
    let waiting = server.get(&format!("{REQUESTS}/other")).await.body;
    assert_eq!(waiting["status"]["conditions"].as_array().map(Vec::len), Some(1));
    let mut signed = waiting.clone();
    signed["status"]["certificate"] = STANDARD.encode("x").into();
    signed["status"]["conditions"] = json!([{"type": "Denied", "status": "True"}]);
    let signed = server.put(&format!("{REQUESTS}/other/status"), signed).await.body;
    assert_eq!(signed["status"]["conditions"], waiting["status"]["conditions"], "who signs does not judge");
    let mut judged = signed.clone();
    judged["status"]["certificate"] = STANDARD.encode("y").into();
    let judged = server.put(&format!("{REQUESTS}/other/approval"), judged).await.body;
    assert_eq!(judged["status"]["certificate"], signed["status"]["certificate"], "who judges does not sign");
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let server = Server::with_keys().await;
    let mut no_usage = request("a", CLIENT, &pem("eve", "staff"));
    no_usage["spec"]["usages"] = json!([]);
    let mut odd_usage = request("a", CLIENT, &pem("eve", "staff"));
    odd_usage["spec"]["usages"] = json!(["world domination"]);
    let mut short = request("a", CLIENT, &pem("eve", "staff"));
    short["spec"]["expirationSeconds"] = 5.into();
    for (bad, code) in [
        (request("a", CLIENT, "nonsense"), 422),
        (request("a", "", &pem("eve", "staff")), 422),
        (request("a", "nodomain", &pem("eve", "staff")), 422),
        (no_usage, 422),
        (odd_usage, 422),
        (short, 422),
        (request("a", CLIENT, &pem("eve", "system:masters")), 403),
    ] {
        let answer = server.post(REQUESTS, bad).await;
        assert_eq!(answer.code, code, "{}", answer.body);
    }
}

#[tokio::test]
async fn approving_needs_the_right_to_approve_for_the_signer() {
    let server = Server::with_keys().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{
        "verbs": ["update", "get"], "apiGroups": ["certificates.k8s.io"],
        "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"],
    }]);
    let bind = async |role: &str| {
        let binding = json!({
            "metadata": {"name": role}, "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": "bob"}],
        });
        assert_eq!(server.post(&format!("{rbac}/clusterrolebindings"), binding).await.code, 201);
    };
    server.post(&format!("{rbac}/clusterroles"), json!({"metadata": {"name": "writer"}, "rules": rules})).await;
    bind("writer").await;
    let created = server.post(REQUESTS, request("eve", CLIENT, &pem("eve", "staff"))).await.body;
    let bob = || Identity::new("bob", []);
    let approval = format!("{REQUESTS}/eve/approval");
    let refused = send(&server, bob(), Method::PUT, &approval, approved(created.clone())).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    assert!(refused.body["message"].as_str().unwrap().contains("not permitted to approve requests with signerName"));
    bind("system:certificates.k8s.io:kube-apiserver-client-approver").await;
    assert_eq!(send(&server, bob(), Method::PUT, &approval, approved(created)).await.code, 200);
    // Its spec is what was asked, whoever writes later.
    let mut changed = server.get(&format!("{REQUESTS}/eve")).await.body;
    changed["spec"]["username"] = "mallory".into();
    let kept = send(&server, bob(), Method::PUT, &format!("{REQUESTS}/eve"), changed).await.body;
    assert_eq!(kept["spec"]["username"], "system:test");
}
