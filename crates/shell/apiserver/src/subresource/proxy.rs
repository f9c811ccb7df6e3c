//! The `proxy` subresource of pods, Services and nodes: passes a request on to what is behind the name, and the answer
//! back. Entry point: [`pass`].
//!
//! Pods are reached through the kubelet of their node, whether they answer in process or on a socket; endpoints that
//! somebody wrote by hand are dialled. Deliberately absent: TLS to what is behind (guests speak none), and the rewriting
//! of links in pages.

use std::net::{IpAddr, SocketAddr};

use eyot_model::{
    meta,
    status::{ApiError, Reason},
};
use http::{HeaderValue, Method, Request, Response, Uri, header, header::HeaderName};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::kubelet;
use crate::{
    Body,
    backends::{self, Backend},
    call::Call,
    respond,
};

/// Time for an endpoint that was written by hand to accept a connection.
const DIAL_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// What the name in the URL says: `name`, `name:port` or `scheme:name:port`.
#[derive(Debug, PartialEq)]
struct Wanted<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Wanted<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        (!name.is_empty() && matches!(scheme, "" | "http" | "https")).then_some(Self { scheme, name, port })
    }
}

/// Where a request goes.
enum Way {
    /// A path of a node's kubelet, before the path that was asked for.
    Kubelet {
        node: String,
        path: String,
    },
    Address(SocketAddr),
}

/// Passes a request on and the answer back.
pub(super) async fn pass(call: &Call, text: &str, mut request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let asked = request.uri().clone();
    let (prefix, rest) = split(asked.path(), call.kind.namespaced);
    if rest.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(redirect(&asked));
    }
    let kind = call.kind.kind.to_lowercase();
    let wanted =
        Wanted::parse(text).ok_or_else(|| ApiError::bad_request(format!("invalid {kind} request {text:?}")))?;
    let way = match call.kind.kind.as_str() {
        "Pod" => to_pod(call, &wanted)?,
        "Service" => to_service(call, &wanted)?,
        _ => {
            call.get(wanted.name)?;
            Way::Kubelet { node: wanted.name.to_owned(), path: String::new() }
        }
    };
    if wanted.scheme == "https" && call.kind.kind != "Node" {
        return Err(unreachable("guests speak no TLS; ask by http"));
    }
    let namespace = call.namespace.as_deref().unwrap_or_default();
    let carried = call.kind.subresource("proxy").map_or("", |it| it.kind.as_str());
    let options = json!({"kind": carried, "apiVersion": "v1", "path": rest});
    kubelet::connect(call, wanted.name, namespace, "proxy", options).await?;

    mark(&mut request, &asked);
    let query = asked.query().map_or_else(String::new, |it| format!("?{it}"));
    let rest = if rest.is_empty() { "/" } else { rest };
    let mut response = match way {
        Way::Kubelet { node, path } => {
            *request.uri_mut() = target(&format!("{path}{rest}{query}"))?;
            let kubelet = call.shared().kubelets.get(&node).ok_or_else(|| {
                let why = format!("node {node}, which is asked for it, is not connected");
                ApiError::new(502, Reason::ServiceUnavailable, why)
            })?;
            kubelet(request).await.map_err(|it| unreachable(&it.to_string()))?
        }
        Way::Address(address) => {
            *request.uri_mut() = target(&format!("{rest}{query}"))?;
            dial(address, request).await.map_err(|it| unreachable(&format!("dial tcp {address}: {it}")))?
        }
    };
    relocate(&mut response, prefix);
    Ok(response)
}

/// The path up to the subresource, and what follows, as they were sent.
fn split(path: &str, namespaced: bool) -> (&str, &str) {
    // `/api/v1/nodes/NAME/proxy`, or with `/namespaces/NAMESPACE` in it.
    let segments = if namespaced { 7 } else { 5 };
    let end = path.match_indices('/').nth(segments).map_or(path.len(), |it| it.0);
    path.split_at(end)
}

/// Whoever asks for the root asks for a directory, so that relative links lead below it.
fn redirect(asked: &Uri) -> Response<Body> {
    let query = asked.query().map_or_else(String::new, |it| format!("?{it}"));
    let mut response = respond::text(301, "");
    if let Ok(value) = HeaderValue::from_str(&format!("{}/{query}", asked.path())) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

fn target(text: &str) -> Result<Uri, ApiError> {
    text.parse().map_err(|it| ApiError::bad_request(format!("the path to pass on: {it}")))
}

fn unreachable(why: &str) -> ApiError {
    ApiError::unavailable(format!("error trying to reach service: {why}"))
}

fn to_pod(call: &Call, wanted: &Wanted<'_>) -> Result<Way, ApiError> {
    let pod = call.parse(&*call.get(wanted.name)?)?;
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", wanted.name)));
    }
    let containers = meta::list(pod.pointer("/spec/containers"));
    let mut ports = containers.iter().flat_map(|it| meta::list(it.get("ports")));
    let port = match wanted.port {
        "" => ports.next().and_then(|it| it["containerPort"].as_u64()).unwrap_or(80),
        number if number.parse::<u16>().is_ok() => number.parse().unwrap_or_default(),
        name => ports
            .find(|it| it["name"] == name)
            .and_then(|it| it["containerPort"].as_u64())
            .ok_or_else(|| ApiError::bad_request(format!("pod {} has no port {name:?}", wanted.name)))?,
    };
    let namespace = call.namespace.as_deref().unwrap_or_default();
    Ok(Way::Kubelet { node: node.to_owned(), path: format!("/podProxy/{namespace}/{}/{port}", wanted.name) })
}

fn to_service(call: &Call, wanted: &Wanted<'_>) -> Result<Way, ApiError> {
    let namespace = call.namespace.as_deref().unwrap_or_default();
    let service = call.parse(&*call.get(wanted.name)?)?;
    // A port that is given by its number stands for the name it has.
    let port = match wanted.port.parse::<u16>() {
        Err(_) => wanted.port,
        Ok(number) => {
            let ports = meta::list(service.pointer("/spec/ports"));
            let found = ports.iter().find(|it| it["port"] == number);
            let missing =
                || ApiError::unavailable(format!("no service port {number} found for service {:?}", wanted.name));
            found.ok_or_else(missing)?["name"].as_str().unwrap_or_default()
        }
    };
    let backends = backends::behind(call.shared(), namespace, wanted.name, port)?;
    let none = || ApiError::unavailable(format!("no endpoints available for service {:?}", wanted.name));
    match backends.choose(&mut rand::rng()).ok_or_else(none)? {
        Backend { address, pod: Some((pod, node)) } => {
            Ok(Way::Kubelet { node: node.clone(), path: format!("/podProxy/{namespace}/{pod}/{}", address.port()) })
        }
        Backend { address, pod: None } if is_private(address.ip()) => Err(ApiError::bad_request(format!(
            "address {address} may not be asked: it is one of the server's own host"
        ))),
        Backend { address, pod: None } => Ok(Way::Address(*address)),
    }
}

/// What trusts whoever can reach it is not for those who can write an EndpointSlice.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(it) => it.is_loopback() || it.is_link_local() || it.is_unspecified() || it.is_broadcast(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unicast_link_local() || it.is_unspecified(),
    }
}

/// Tells what is behind by which way it was asked.
fn mark(request: &mut Request<Body>, asked: &Uri) {
    const HEADERS: [HeaderName; 3] = [
        HeaderName::from_static("x-forwarded-uri"),
        HeaderName::from_static("x-forwarded-host"),
        HeaderName::from_static("x-forwarded-proto"),
    ];
    let host = request.headers().get(header::HOST).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let host = host.or_else(|| asked.authority().map(|it| it.to_string())).unwrap_or_default();
    for (name, value) in HEADERS.into_iter().zip([asked.path(), &host, "https"]) {
        if let Ok(value) = HeaderValue::from_str(value) {
            request.headers_mut().insert(name, value);
        }
    }
    *request.version_mut() = http::Version::HTTP_11;
}

/// A redirection within what is behind leads through the proxy too.
fn relocate(response: &mut Response<Body>, prefix: &str) {
    let Some(location) = response.headers().get(header::LOCATION).and_then(|it| it.to_str().ok()) else { return };
    if location.starts_with('/')
        && !location.starts_with("//")
        && let Ok(value) = HeaderValue::from_str(&format!("{prefix}{location}"))
    {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

async fn dial(address: SocketAddr, mut request: Request<Body>) -> Result<Response<Body>, String> {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE] {
        request.headers_mut().remove(name);
    }
    let host = HeaderValue::from_str(&address.to_string()).map_err(|it| it.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    let stream = tokio::time::timeout(DIAL_TIME_MAX, TcpStream::connect(address)).await;
    let stream = stream.map_err(|_| "no answer".to_owned())?.map_err(|it| it.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|it| it.to_string())?;
    // Ends with the answer's body, or when that is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to an endpoint");
        }
    });
    let response = sender.send_request(request).await.map_err(|it| it.to_string())?;
    Ok(response.map(Body::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_scheme_and_port() {
        let of = |text| Wanted::parse(text).map(|it| (it.scheme, it.name, it.port));
        assert_eq!(of("web"), Some(("", "web", "")));
        assert_eq!(of("web:http"), Some(("", "web", "http")));
        assert_eq!(of("https:web:443"), Some(("https", "web", "443")));
        assert_eq!(of("http:web:"), Some(("http", "web", "")));
        assert_eq!(of("ftp:web:21"), None);
        assert_eq!(of(":80"), None);
        assert_eq!(of("a:b:c:d"), None);
    }

    #[test]
    fn the_path_behind_the_subresource_stays_as_it_was_sent() {
        let of = |path: &'static str, namespaced| split(path, namespaced);
        let pod = "/api/v1/namespaces/n/pods/p/proxy";
        assert_eq!(of("/api/v1/namespaces/n/pods/p/proxy", true), (pod, ""));
        assert_eq!(of("/api/v1/namespaces/n/pods/p/proxy/", true), (pod, "/"));
        assert_eq!(of("/api/v1/namespaces/n/pods/p/proxy/a%2Fb//c/", true), (pod, "/a%2Fb//c/"));
        assert_eq!(of("/api/v1/nodes/n/proxy/healthz", false), ("/api/v1/nodes/n/proxy", "/healthz"));
    }

    #[test]
    fn only_redirections_within_are_rewritten() {
        for (location, want) in
            [("/x?y", "/p/x?y"), ("http://e.example/x", "http://e.example/x"), ("//e.example", "//e.example")]
        {
            let mut response = respond::text(302, "");
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(location));
            relocate(&mut response, "/p");
            assert_eq!(response.headers()[header::LOCATION], want);
        }
    }
}
