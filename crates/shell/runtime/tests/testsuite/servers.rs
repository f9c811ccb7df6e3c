//! The HTTP servers that cases ask, in process: what the gateway would carry a guest's requests to.

use std::sync::Arc;

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError, CallError, Caller, Outbound};
use futures::{future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_LENGTH};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;

use crate::case::text_of;

/// Servers by number; a case finds number 0 at `server-0.test`.
pub(crate) struct Servers(pub(crate) Vec<Value>);

/// Where a case finds its servers: variables for its environment.
pub(crate) fn variables(servers: &[Value]) -> Vec<(String, String)> {
    let variable = |(number, it): (usize, &Value)| {
        (format!("HTTP_SERVER_{}", text_of(&it["name"]).to_uppercase()), format!("server-{number}.test:80"))
    };
    servers.iter().enumerate().map(variable).collect()
}

impl Outbound for Servers {
    fn send(
        self: Arc<Self>,
        _: Caller,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let number: Option<usize> = host.trim_start_matches("server-").trim_end_matches(".test").parse().ok();
            let Some(server) = number.and_then(|it| self.0.get(it)) else {
                return Err(CallError::Connect(format!("no server {host}")));
            };
            if server["kind"] == "closed" {
                return Err(CallError::Connect("connection refused".into()));
            }
            answer(server, request).await
        })
    }
}

async fn answer(server: &Value, request: Request<Body>) -> Result<Response<Body>, CallError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| CallError::Broken(error.to_string()))?;
    let (trailers, content) = (body.trailers().cloned().unwrap_or_default(), body.to_bytes());
    let path = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let is_asked = |it: &&Value| it["method"] == head.method.as_str() && it["path"] == path;
    let Some(endpoint) = server["endpoints"].as_array().into_iter().flatten().find(is_asked) else {
        return Ok(response(404, HeaderMap::new(), vec![]));
    };
    Ok(match endpoint["mode"].as_str() {
        Some("echo-body") => response(200, HeaderMap::new(), vec![Frame::data(content)]),
        Some("echo-headers") => {
            let mut echo = HeaderMap::new();
            let text = |it: &str| HeaderValue::from_str(it).unwrap();
            echo.append("x-request-method", text(head.method.as_str()));
            echo.append("x-request-path", text(path));
            let is_empty = content.is_empty() && trailers.is_empty();
            if !is_empty && !head.headers.contains_key(CONTENT_LENGTH) {
                // What would tell the end of a body on a connection.
                echo.append("x-echo-transfer-encoding", text("chunked"));
            }
            for (prefix, fields) in [("x-echo-", &head.headers), ("x-trailer-", &trailers)] {
                for (name, value) in fields {
                    echo.append(HeaderName::try_from(format!("{prefix}{name}")).unwrap(), value.clone());
                }
            }
            response(200, echo, vec![])
        }
        _ => fixed(&endpoint["response"]),
    })
}

fn fixed(said: &Value) -> Response<Body> {
    let data = |it: &Value| Frame::data(Bytes::from(text_of(it)));
    let mut frames: Vec<_> = match said["chunks"].as_array() {
        Some(chunks) => chunks.iter().map(data).collect(),
        None => vec![data(&said["body"])],
    };
    let trailers = fields(&said["trailers"]);
    if !trailers.is_empty() {
        frames.push(Frame::trailers(trailers));
    }
    response(said["status"].as_u64().unwrap_or(200).try_into().unwrap(), fields(&said["headers"]), frames)
}

pub(crate) fn fields(said: &Value) -> HeaderMap {
    let pairs = said.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.parse().unwrap(), text_of(value).parse::<HeaderValue>().unwrap())).collect()
}

fn response(status: u16, headers: HeaderMap, frames: Vec<Frame<Bytes>>) -> Response<Body> {
    let frames = stream::iter(frames.into_iter().map(Ok::<_, BoxError>));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.status_mut() = status.try_into().unwrap();
    *response.headers_mut() = headers;
    response
}
