//! Tokens of ServiceAccounts: how they are issued, what they are worth, and when they stop being worth anything.

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use eyot_apiserver::Body;
use http::{Method, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::server::{Answer, PODS, Server, pod, read};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

async fn account(server: &Server, name: &str) -> Value {
    let created = server.post(ACCOUNTS, json!({"metadata": {"name": name}})).await;
    assert_eq!(created.code, 201, "{}", created.body);
    created.body
}

async fn request(server: &Server, name: &str, spec: Value) -> Answer {
    server.post(&format!("{ACCOUNTS}/{name}/token"), json!({"spec": spec})).await
}

async fn token(server: &Server, name: &str, spec: Value) -> String {
    let answer = request(server, name, spec).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    answer.body["status"]["token"].as_str().unwrap().to_owned()
}

/// A request that shows nothing but a token.
async fn show(server: &Server, token: &str, method: Method, uri: &str, body: Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::full(body.to_string()) };
    read(server.api.open_service().oneshot(request.body(body).unwrap()).await.unwrap()).await
}

async fn whoami(server: &Server, token: &str) -> Answer {
    show(server, token, Method::POST, "/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await
}

#[tokio::test]
async fn a_token_is_its_account() {
    let server = Server::start().await;
    let bot = account(&server, "bot").await;
    let issued = request(&server, "bot", json!({"expirationSeconds": 600})).await;
    assert_eq!(issued.body["kind"], "TokenRequest");
    assert!(issued.body["status"]["expirationTimestamp"].is_string());
    let token = issued.body["status"]["token"].as_str().unwrap();
    let who = whoami(&server, token).await;
    assert_eq!(who.code, 201, "{}", who.body);
    let info = &who.body["status"]["userInfo"];
    assert_eq!(info["username"], "system:serviceaccount:default:bot");
    assert_eq!(info["uid"], bot["metadata"]["uid"]);
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(info["groups"], groups);
    assert!(info["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap().starts_with("JTI="));
    // It may what its roles allow.
    assert_eq!(show(&server, token, Method::GET, PODS, Value::Null).await.code, 403);
    let binding = json!({
        "metadata": {"name": "bot"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "bot", "namespace": "default"}],
    });
    server.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await;
    assert_eq!(show(&server, token, Method::GET, PODS, Value::Null).await.code, 200);
}

#[tokio::test]
async fn a_token_is_worth_nothing_once_its_account_is_gone() {
    let server = Server::start().await;
    account(&server, "bot").await;
    let token = token(&server, "bot", json!({})).await;
    assert_eq!(whoami(&server, &token).await.code, 201);
    server.delete(&format!("{ACCOUNTS}/bot"), json!({})).await;
    assert_eq!(whoami(&server, &token).await.code, 401);
    account(&server, "bot").await;
    assert_eq!(whoami(&server, &token).await.code, 401, "another account of the same name");
}

#[tokio::test]
async fn a_token_bound_to_a_pod_lives_and_dies_with_it() {
    let server = Server::start().await;
    account(&server, "bot").await;
    let mut sent = pod("p");
    sent["spec"]["serviceAccountName"] = "bot".into();
    let created = server.post(PODS, sent).await.body;
    let bound = |uid: &Value| json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}});
    let good = token(&server, "bot", bound(&created["metadata"]["uid"])).await;
    let info = whoami(&server, &good).await.body["status"]["userInfo"].clone();
    assert_eq!(info["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(info["extra"]["authentication.kubernetes.io/pod-uid"], json!([created["metadata"]["uid"]]));
    assert_eq!(request(&server, "bot", bound(&"other".into())).await.code, 409);
    account(&server, "other").await;
    let foreign = request(&server, "other", bound(&created["metadata"]["uid"])).await;
    assert_eq!(foreign.code, 400, "{}", foreign.body);
    server.delete(&format!("{PODS}/p"), json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(whoami(&server, &good).await.code, 401);
    assert_eq!(request(&server, "bot", bound(&Value::Null)).await.code, 404);
}

#[tokio::test]
async fn pods_get_a_token_where_they_or_their_account_say_so() {
    let server = Server::start().await;
    account(&server, "quiet").await;
    let loud = json!({"metadata": {"name": "loud"}, "automountServiceAccountToken": true});
    assert_eq!(server.post(ACCOUNTS, loud).await.code, 201);
    let volumes = async |name: &str, account: &str, mount: Value| {
        let mut sent = pod(name);
        sent["spec"]["serviceAccountName"] = account.into();
        sent["spec"]["automountServiceAccountToken"] = mount;
        let created = server.post(PODS, sent).await;
        assert_eq!(created.code, 201, "{}", created.body);
        created.body["spec"]["volumes"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(volumes("a", "quiet", Value::Null).await, 0);
    assert_eq!(volumes("b", "quiet", true.into()).await, 1);
    assert_eq!(volumes("c", "loud", Value::Null).await, 1);
    assert_eq!(volumes("d", "loud", false.into()).await, 0);
    let mut lost = pod("e");
    lost["spec"]["serviceAccountName"] = "nobody".into();
    let refused = server.post(PODS, lost).await;
    assert_eq!(refused.code, 403);
    let message = refused.body["message"].as_str().unwrap();
    assert!(
        message.contains(r#"error looking up service account default/nobody: serviceaccount "nobody" not found"#),
        "{message}"
    );
}

#[tokio::test]
async fn requests_for_tokens_are_checked() {
    let server = Server::start().await;
    account(&server, "bot").await;
    for (spec, code) in [
        (json!({"expirationSeconds": 5}), 422),
        (json!({"expirationSeconds": 5_000_000_000_i64}), 422),
        (json!({"expirationSeconds": "x"}), 422),
        (json!({"audiences": [7]}), 422),
        (json!({"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "x"}}), 400),
        (json!({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "x"}}), 404),
    ] {
        let answer = request(&server, "bot", spec.clone()).await;
        assert_eq!(answer.code, code, "{spec}: {}", answer.body);
        assert!(answer.body["message"].as_str().is_some_and(|it| !it.is_empty()));
    }
    assert_eq!(request(&server, "nobody", json!({})).await.code, 404);
}

#[tokio::test]
async fn a_token_for_others_does_not_open_the_api() {
    let server = Server::start().await;
    account(&server, "bot").await;
    let vault = token(&server, "bot", json!({"audiences": ["vault"]})).await;
    assert_eq!(whoami(&server, &vault).await.code, 401);
    let review = |audiences: Value| json!({"spec": {"token": vault, "audiences": audiences}});
    let good = server.post(TOKEN_REVIEWS, review(json!(["vault", "other"]))).await.body;
    assert_eq!(good["status"]["authenticated"], true, "{good}");
    assert_eq!(good["status"]["audiences"], json!(["vault"]));
    assert_eq!(good["status"]["user"]["username"], "system:serviceaccount:default:bot");
    let bad = server.post(TOKEN_REVIEWS, review(json!([]))).await.body;
    assert_eq!(bad["status"]["authenticated"], false);
    assert!(bad["status"]["error"].as_str().unwrap().contains("audiences"), "{bad}");
    let nonsense = server.post(TOKEN_REVIEWS, json!({"spec": {"token": "nonsense"}})).await.body;
    assert_eq!(
        (&nonsense["status"]["authenticated"], &nonsense["status"]["error"]),
        (&json!(false), &json!("invalid bearer token"))
    );
}

#[tokio::test]
async fn nonsense_and_nothing_are_unauthorized() {
    let server = Server::start().await;
    for token in ["nonsense", "a.b.c", "e30.e30.e30"] {
        assert_eq!(show(&server, token, Method::GET, PODS, Value::Null).await.code, 401, "{token}");
    }
    let nothing = Request::get(PODS).body(Body::empty()).unwrap();
    let answer = read(server.api.open_service().oneshot(nothing).await.unwrap()).await;
    assert_eq!((answer.code, answer.body["message"].as_str()), (401, Some("Unauthorized")));
}

#[tokio::test]
async fn somebody_anonymous_gets_what_a_role_gives_them() {
    let server = Server::start().await;
    let uri = "/openid/v1/jwks";
    let ask = async || {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        read(server.api.open_service().oneshot(request).await.unwrap()).await
    };
    assert_eq!(ask().await.code, 401);
    let binding = json!({
        "metadata": {"name": "open"}, "roleRef": {"kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
        "subjects": [{"kind": "Group", "name": "system:unauthenticated"}],
    });
    server.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
    assert_eq!(ask().await.code, 200);
}

#[tokio::test]
async fn others_can_verify_tokens_by_the_published_keys() {
    let server = Server::start().await;
    account(&server, "bot").await;
    let token = token(&server, "bot", json!({"audiences": ["vault"]})).await;
    let [head, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let head: Value = serde_json::from_slice(&decode(head)).unwrap();
    let claims: Value = serde_json::from_slice(&decode(payload)).unwrap();
    let ours = token_for_api(&server).await;
    let uri = "/.well-known/openid-configuration";
    let configuration = show(&server, &ours, Method::GET, uri, Value::Null).await.body;
    assert_eq!(configuration["issuer"], claims["iss"]);
    assert_eq!(configuration["id_token_signing_alg_values_supported"], json!([head["alg"]]));
    let keys = server.get("/openid/v1/jwks").await.body;
    let key = keys["keys"].as_array().unwrap().iter().find(|it| it["kid"] == head["kid"]).unwrap();
    let coordinate = |name: &str| decode(key[name].as_str().unwrap());
    let point = [&[4][..], &coordinate("x"), &coordinate("y")].concat();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point);
    let signed = &token[..token.len() - signature.len() - 1];
    key.verify(signed.as_bytes(), &decode(signature)).expect("a good signature");
    assert_eq!(claims["sub"], "system:serviceaccount:default:bot");
    assert_eq!(claims["aud"], json!(["vault"]));
    assert_eq!(claims["kubernetes.io"]["serviceaccount"]["name"], "bot");
}

async fn token_for_api(server: &Server) -> String {
    token(server, "bot", json!({})).await
}

fn secret(name: &str, account: &str) -> Value {
    json!({"metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}},
        "type": "kubernetes.io/service-account-token"})
}

#[tokio::test]
async fn a_secret_of_an_account_holds_a_token_for_as_long_as_both_are_there() {
    let server = Server::start().await;
    let nameless = json!({"metadata": {"name": "x"}, "type": "kubernetes.io/service-account-token"});
    assert_eq!(server.post(SECRETS, nameless).await.code, 422);
    // The Secret may come first, as in a manifest.
    let early = server.post(SECRETS, secret("early", "bot")).await.body;
    assert!(early["data"]["token"].is_null());
    let bot = account(&server, "bot").await;
    let early = server.get(&format!("{SECRETS}/early")).await.body;
    assert_eq!(early["metadata"]["annotations"]["kubernetes.io/service-account.uid"], bot["metadata"]["uid"]);
    let late = server.post(SECRETS, secret("late", "bot")).await.body;
    let text = |object: &Value| {
        String::from_utf8(STANDARD.decode(object["data"]["token"].as_str().unwrap()).unwrap()).unwrap()
    };
    for token in [text(&early), text(&late)] {
        assert_eq!(
            whoami(&server, &token).await.body["status"]["userInfo"]["username"],
            "system:serviceaccount:default:bot"
        );
    }
    server.delete(&format!("{SECRETS}/late"), json!({})).await;
    assert_eq!(whoami(&server, &text(&late)).await.code, 401);
    server.delete(&format!("{ACCOUNTS}/bot"), json!({})).await;
    assert_eq!(whoami(&server, &text(&early)).await.code, 401);
    assert_eq!(server.get(&format!("{SECRETS}/early")).await.code, 404, "it went with its account");
}
