//! A client of the gateway.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::HOST, request};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Calls virtual hosts of one address, over kept connections.
#[derive(Clone)]
pub struct Gateway {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

impl Gateway {
    /// A client of the gateway at `base` (`http://address:port`).
    pub fn new(base: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Gateway { client, base: base.trim_end_matches('/').to_owned() }
    }

    /// GETs `path` of `host`.
    pub async fn get(&self, host: &str, path: &str) -> Result<Answer> {
        self.send(Method::GET, host, path, Bytes::new()).await
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, method: Method, host: &str, path: &str, body: Bytes) -> Result<Answer> {
        self.ask(Request::builder().method(method).header(HOST, host), path, body).await
    }

    /// Sends a request that was begun already, to a path, and reads the whole answer.
    pub async fn ask(&self, begun: request::Builder, path: &str, body: Bytes) -> Result<Answer> {
        let uri = format!("{}{path}", self.base);
        let request = begun.uri(&uri).body(Full::new(body))?;
        let response = self.client.request(request).await.with_context(|| format!("calling {uri}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.with_context(|| format!("reading the answer of {uri}"))?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}
