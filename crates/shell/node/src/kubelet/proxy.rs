//! The `proxy` subresource of pods: a request to a port of a pod, and the answer back. Entry point: [`serve`].
//!
//! The API server asks at `/podProxy/NAMESPACE/POD/PORT`, followed by the path at the pod. A connection that both sides
//! agree to upgrade becomes a pipe between them.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::{client::conn::http1, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;

use super::{Context, Failure, forward::Ports};

/// Answers one request for a port of a pod.
pub(super) async fn serve(State(context): State<Context>, mut request: Request) -> Result<Response, Failure> {
    let place = context.proxied.clone().try_acquire_owned().map(Arc::new).map_err(|_| Failure {
        code: StatusCode::TOO_MANY_REQUESTS,
        reason: "TooManyRequests",
        message: "too many requests are passed on to pods of this node already".into(),
    })?;
    let uri = request.uri().clone();
    let (namespace, pod, port, rest) =
        split(uri.path()).ok_or_else(|| Failure::not_found(format!("{} names no port of a pod", uri.path())))?;
    let ports = Ports::of(&context, namespace, pod)?;
    let query = uri.query().map_or_else(String::new, |it| format!("?{it}"));
    let target = format!("/{rest}{query}").parse();
    *request.uri_mut() = target.map_err(|it| Failure::bad_request(format!("the path to pass on: {it}")))?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().filter(|_| wants_upgrade(request.headers()));
    strip_hop(request.headers_mut(), upgrade.is_some());
    if let Ok(host) = HeaderValue::from_str(&ports.address(port).to_string()) {
        request.headers_mut().insert(header::HOST, host);
    }

    let stream = ports.open(port).await.map_err(|it| unreachable(&it))?;
    let handshake = http1::handshake::<_, Body>(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|it| unreachable(&it.to_string()))?;
    let kept = place.clone();
    // Ends with the answer's body, or when that is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a request passed on to a pod");
        }
        drop(kept);
    });
    let mut response = sender.send_request(request).await.map_err(|it| unreachable(&it.to_string()))?;
    match upgrade.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        Some(ours) => {
            let theirs = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                join(ours, theirs).await;
                drop(place);
            });
        }
        None => strip_hop(response.headers_mut(), false),
    }
    Ok(response.into_response())
}

/// Namespace, name and port of a pod, and the path at it.
fn split(path: &str) -> Option<(&str, &str, u16, &str)> {
    let mut parts = path.strip_prefix("/podProxy/")?.splitn(4, '/');
    let (namespace, pod, port) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
    Some((namespace, pod, port, parts.next().unwrap_or_default()))
}

fn unreachable(why: &str) -> Failure {
    Failure {
        code: StatusCode::SERVICE_UNAVAILABLE,
        reason: "ServiceUnavailable",
        message: format!("error trying to reach service: {why}"),
    }
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

/// Removes what speaks of one connection only, but for an upgrade that is under way.
fn strip_hop(headers: &mut HeaderMap, upgrades: bool) {
    for name in ["keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding"] {
        headers.remove(name);
    }
    if !upgrades {
        headers.remove(header::CONNECTION);
        headers.remove(header::UPGRADE);
    }
}

async fn join(ours: OnUpgrade, theirs: OnUpgrade) {
    let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) else { return };
    // Either side may end it at any time.
    let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(ours), &mut TokioIo::new(theirs)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_port_and_keeps_what_follows() {
        assert_eq!(split("/podProxy/ns/web/8080"), Some(("ns", "web", 8080, "")));
        assert_eq!(split("/podProxy/ns/web/8080/"), Some(("ns", "web", 8080, "")));
        assert_eq!(split("/podProxy/ns/web/8080/a%2Fb//c/"), Some(("ns", "web", 8080, "a%2Fb//c/")));
        assert_eq!(split("/podProxy/ns/web/http/"), None);
        assert_eq!(split("/podProxy/ns"), None);
    }
}
