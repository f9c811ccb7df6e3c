//! Serves over real sockets: who is let in, and how it ends.

use std::{fs, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use eyot_apiserver::{ApiServer, Body, Config, attributes, bootstrap, pki};
use eyot_store::{Options, Store};
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

struct Running {
    api: ApiServer,
    port: u16,
    dir: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let store = Store::open(dir.path().join("store"), Options::new(attributes)).unwrap();
    let config = Config { service_cidr: "10.43.0.0/16".parse().unwrap(), api_port: port };
    let api = ApiServer::new(store, config);
    let pki = pki::Pki::open(&dir.path().join("pki"), &pki::ServerNames::default()).unwrap();
    let tokens = dir.path().join("tokens.csv");
    fs::write(&tokens, "a-secret,eve,7,staff\n").unwrap();
    api.set_credentials(pki.credentials().unwrap().with_token_file(&tokens).unwrap());
    bootstrap(&api).await.unwrap();
    let stop = CancellationToken::new();
    let (tls, token, serving) = (pki.tls().unwrap(), stop.clone(), api.clone());
    let task = tokio::spawn(async move { serving.serve(listener, tls, token).await.unwrap() });
    Running { api, port, dir, stop, task }
}

fn client(pki: &Path, with_certificate: bool) -> ClientConfig {
    let read = |name: &str| fs::read(pki.join(name)).unwrap();
    let pair = with_certificate.then(|| (read("admin.crt"), read("admin.key")));
    client_with(pki, pair.as_ref().map(|(cert, key)| (cert.as_slice(), key.as_slice())))
}

fn client_with(pki: &Path, pair: Option<(&[u8], &[u8])>) -> ClientConfig {
    let read = |name: &str| fs::read(pki.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let Some((cert, key)) = pair else { return builder.with_no_client_auth() };
    let cert = CertificateDer::from_pem_slice(cert).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    builder.with_client_auth_cert(vec![cert], key).unwrap()
}

async fn get(running: &Running, with_certificate: bool, uri: &str) -> http::Response<hyper::body::Incoming> {
    let request = Request::get(uri).header(header::HOST, "localhost").body(String::new()).unwrap();
    send(running, with_certificate, request).await
}

async fn send(
    running: &Running,
    with_certificate: bool,
    request: Request<String>,
) -> http::Response<hyper::body::Incoming> {
    send_as(running, client(&running.dir.path().join("pki"), with_certificate), request).await
}

async fn send_as(
    running: &Running,
    config: ClientConfig,
    request: Request<String>,
) -> http::Response<hyper::body::Incoming> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, running.port)).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.unwrap()
}

async fn json(response: http::Response<hyper::body::Incoming>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn a_certificate_opens_everything_and_none_opens_health_alone() {
    let running = start().await;
    let namespaces = "/api/v1/namespaces";
    let list = get(&running, true, namespaces).await;
    assert_eq!(list.status(), 200);
    assert!(json(list).await["items"].as_array().unwrap().len() >= 4);
    let refused = get(&running, false, namespaces).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(json(refused).await["reason"], "Unauthorized");
    assert_eq!(get(&running, false, "/no/such/path").await.status(), 401);
    for uri in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(get(&running, false, uri).await.status(), 200, "{uri}");
    }
}

#[tokio::test]
async fn a_foreign_certificate_is_refused() {
    let running = start().await;
    let other = tempfile::tempdir().unwrap();
    pki::Pki::open(other.path(), &pki::ServerNames::default()).unwrap();
    fs::copy(running.dir.path().join("pki/ca.crt"), other.path().join("ca.crt")).unwrap();
    let connector = TlsConnector::from(Arc::new(client(other.path(), true)));
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, running.port)).await.unwrap();
    let refused = match connector.connect(ServerName::try_from("localhost").unwrap(), stream).await {
        Err(_) => true,
        // With TLS 1.3 the client is done before the server has judged it; the refusal comes with the first read.
        Ok(stream) => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let request = Request::get("/version").header(header::HOST, "x").body(Empty::<Bytes>::new()).unwrap();
            sender.send_request(request).await.is_err()
        }
    };
    assert!(refused);
}

/// A kubelet that takes the connection over and sends back what it gets.
#[derive(Clone)]
struct Parrot;

impl tower::Service<Request<Body>> for Parrot {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<http::Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert_eq!(request.headers()[header::UPGRADE], "SPDY/3.1");
        tokio::spawn(async move {
            let mut stream = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut word = [0; 5];
            stream.read_exact(&mut word).await.unwrap();
            stream.write_all(&word).await.unwrap();
        });
        let response = http::Response::builder().status(101).header(header::CONNECTION, "Upgrade");
        std::future::ready(Ok(response.header(header::UPGRADE, "SPDY/3.1").body(Body::empty()).unwrap()))
    }
}

#[tokio::test]
async fn an_upgraded_connection_reaches_the_kubelet() {
    let running = start().await;
    running.api.set_kubelet("n", Parrot);
    let pods = "/api/v1/namespaces/default/pods";
    let pod = r#"{"metadata":{"name":"p"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}}"#;
    let post = |uri: &str| Request::post(uri).header(header::HOST, "localhost");
    let created = send(&running, true, post(pods).body(pod.to_owned()).unwrap()).await;
    assert_eq!(created.status(), 201);
    let forward = post(&format!("{pods}/p/portforward"))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1");
    let answer = send(&running, true, forward.body(String::new()).unwrap()).await;
    assert_eq!(answer.status(), 101);
    let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut word = [0; 5];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"hello");
}

#[tokio::test]
async fn stopping_ends_watches_and_returns() {
    let running = start().await;
    let mut watch = get(&running, true, "/api/v1/namespaces?watch=1").await;
    assert!(watch.frame().await.unwrap().is_ok());
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(4), running.task).await.expect("a quick stop").unwrap();
    while let Some(frame) = watch.frame().await {
        frame.expect("a clean end");
    }
}

const WHO_AM_I: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

fn post(uri: &str, body: &str) -> http::request::Builder {
    Request::post(uri)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
}

#[tokio::test]
async fn a_token_says_who_somebody_is() {
    let running = start().await;
    let ask = async |token: &str| {
        let request = post(WHO_AM_I, "{}").header(header::AUTHORIZATION, format!("Bearer {token}"));
        send(&running, false, request.body("{}".to_owned()).unwrap()).await
    };
    let listed = ask("a-secret").await;
    assert_eq!(listed.status(), 201);
    let info = json(listed).await["status"]["userInfo"].clone();
    assert_eq!(info, serde_json::json!({"username": "eve", "uid": "7", "groups": ["staff", "system:authenticated"]}));
    assert_eq!(ask("another").await.status(), 401);
    // The certificate counts first.
    let both = post(WHO_AM_I, "{}").header(header::AUTHORIZATION, "Bearer a-secret").body("{}".to_owned()).unwrap();
    assert_eq!(json(send(&running, true, both).await).await["status"]["userInfo"]["username"], "kubernetes-admin");
}

#[tokio::test]
async fn a_certificate_that_was_asked_for_opens_the_api() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

    let running = start().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "ann");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "night");
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let wanted = serde_json::json!({
        "metadata": {"name": "ann"},
        "spec": {"request": STANDARD.encode(pem), "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth", "digital signature"]},
    });
    let body = wanted.to_string();
    let mut created = json(send(&running, true, post(REQUESTS, &body).body(body.clone()).unwrap()).await).await;
    created["status"] = serde_json::json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]});
    let body = created.to_string();
    let approval = post(&format!("{REQUESTS}/ann/approval"), &body).method("PUT").body(body.clone()).unwrap();
    assert_eq!(send(&running, true, approval).await.status(), 200);
    let signed = json(get(&running, true, &format!("{REQUESTS}/ann")).await).await;
    let certificate = STANDARD.decode(signed["status"]["certificate"].as_str().unwrap()).unwrap();

    let config = client_with(&running.dir.path().join("pki"), Some((&certificate, key.serialize_pem().as_bytes())));
    let who = send_as(&running, config, post(WHO_AM_I, "{}").body("{}".to_owned()).unwrap()).await;
    let info = json(who).await["status"]["userInfo"].clone();
    assert_eq!(
        (&info["username"], &info["groups"]),
        (&"ann".into(), &serde_json::json!(["night", "system:authenticated"]))
    );
}

#[tokio::test]
async fn who_has_no_share_is_told_to_come_back_and_masters_are_never_held_up() {
    const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
    let running = start().await;
    let as_jane = || {
        let request = Request::get("/api/v1/namespaces").header(header::HOST, "localhost");
        request.header("impersonate-user", "jane").body(String::new()).unwrap()
    };
    let exempt = json(get(&running, true, &format!("{LEVELS}/exempt")).await).await;
    let answer = get(&running, true, "/api/v1/namespaces").await;
    assert_eq!(answer.headers()["x-kubernetes-pf-prioritylevel-uid"], exempt["metadata"]["uid"].as_str().unwrap());
    assert!(answer.headers().contains_key("x-kubernetes-pf-flowschema-uid"));
    // Jane may do nothing, but is listened to.
    assert_eq!(send(&running, true, as_jane()).await.status(), 403);
    let nothing = serde_json::json!({"spec": {"limited": {
        "nominalConcurrencyShares": 0, "limitResponse": {"type": "Reject", "queuing": null},
    }}});
    let patch = Request::patch(format!("{LEVELS}/global-default"))
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .body(nothing.to_string())
        .unwrap();
    let patched = send(&running, true, patch).await;
    assert_eq!(patched.status(), 200, "{}", json(patched).await);
    let refused = send(&running, true, as_jane()).await;
    assert_eq!((refused.status().as_u16(), refused.headers()[header::RETRY_AFTER].to_str().unwrap()), (429, "1"));
    assert_eq!(json(refused).await["reason"], "TooManyRequests");
    assert_eq!(get(&running, true, "/api/v1/namespaces").await.status(), 200);
    assert_eq!(get(&running, false, "/livez").await.status(), 200);
}
