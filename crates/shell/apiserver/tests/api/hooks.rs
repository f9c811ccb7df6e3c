//! A server of webhooks over real HTTPS, for tests.

use std::{convert::Infallible, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, rustls};

type Decide = dyn Fn(&str, &Value) -> Value + Send + Sync;

/// A server of webhooks: one that is called at a path with a request, and decides.
pub(crate) struct Hooks {
    pub(crate) port: u16,
    pub(crate) ca: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Hooks {
    pub(crate) async fn start(decide: impl Fn(&str, &Value) -> Value + Send + Sync + 'static) -> Hooks {
        let names = ["localhost".to_owned(), "hooks.default.svc".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let ca = STANDARD.encode(made.cert.pem());
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), Arc::new(decide), asked.clone()));
        Hooks { port, ca, asked }
    }

    /// `clientConfig` that leads to a path of it.
    pub(crate) fn client(&self, path: &str) -> Value {
        json!({"url": format!("https://localhost:{}{path}", self.port), "caBundle": self.ca})
    }

    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().clone()
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, decide: Arc<Decide>, asked: Arc<Mutex<Vec<Value>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, decide, asked) = (tls.clone(), decide.clone(), asked.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let (decide, asked) = (decide.clone(), asked.clone());
                async move { Ok::<_, Infallible>(answer(request, decide, &asked).await) }
            });
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    decide: Arc<Decide>,
    asked: &Mutex<Vec<Value>>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    asked.lock().push(review["request"].clone());
    // Some take their time, and the server's own tasks must not wait behind them.
    let request = review["request"].clone();
    let mut response = tokio::task::spawn_blocking(move || decide(&path, &request)).await.unwrap();
    if response.get("uid").is_none() {
        response["uid"] = review["request"]["uid"].clone();
    }
    let review = json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response});
    Response::new(Full::new(Bytes::from(review.to_string())))
}
