//! One request of a client: from its head to the answer.

use std::{convert::Infallible, sync::Arc, sync::atomic::Ordering::Relaxed};

use bytes::Bytes;
use eyot_dispatch::{Asking, Body, BoxError, Changes, Decision, Front, Sender, Way, full};
use eyot_meter::{Exchange, Subject};
use eyot_route::{Action, Asked, Forwarded, Found, Redirect, Table, canonical_host, choose};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER, UPGRADE},
    request::Parts,
};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::{
    Gateway,
    body::{Held, Payload, Reply},
    connection::Connection,
    forward::{self, Sent},
    functions,
    headers::{HOPS, set_forwarded, strip_hop},
    mirror, random,
    services::{Busy, Pool},
    upgrade::Upgrade,
};

/// Bytes of a request target; longer ones are answered with 414.
const TARGET_MAX: usize = 16 * 1024;

/// An answer, and what lasts until it has been sent.
struct Answer {
    response: Response<Body>,
    busy: Option<Busy>,
    deadline: Option<Instant>,
    metered: Option<Exchange>,
}

impl Answer {
    fn new(response: Response<Body>) -> Self {
        Self { response, busy: None, deadline: None, metered: None }
    }

    /// A text of the gateway's own.
    fn text(status: StatusCode, text: &str) -> Self {
        let mut response = Response::new(full(format!("{text}\n")));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Self::new(response)
    }
}

/// Answers one request.
pub(crate) async fn handle(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    connection.gateway.counters.requests.here(Box::default).fetch_add(1, Relaxed);
    let Some(exchange) = connection.begin() else {
        connection.gateway.counters.rejected.fetch_add(1, Relaxed);
        let refused = Answer::text(StatusCode::SERVICE_UNAVAILABLE, "too many requests are under way at once").response;
        return Ok(refused.map(|body| Reply::new(body, Held::default(), None)));
    };
    let Answer { response, busy, deadline, metered } = match connection.front.clone() {
        None => answer(&connection, request).await,
        Some(front) => fronted(&connection, &*front, request).await,
    };
    let held = Held::by_client(busy, exchange, metered);
    let deadline = deadline.map(|it| Box::pin(tokio::time::sleep_until(it)));
    Ok(response.map(|body| Reply::new(body, held, deadline)))
}

/// Answers one request on a listener that somebody stands before.
async fn fronted(connection: &Arc<Connection>, front: &dyn Front, request: Request<Incoming>) -> Answer {
    let (mut head, body) = request.into_parts();
    if front.takes(&head) {
        let changes = match front.asks_for(&head).map(|call| judge_call(connection, &mut head, call)) {
            None => None,
            Some(Judged::Pass(changes)) => changes,
            Some(Judged::Refused(answer)) => return answer,
        };
        let body =
            Payload::new(body, connection.gateway.config.stall_timeout).offer().unwrap_or_else(eyot_dispatch::empty);
        let mut response = front.answer(Request::from_parts(head, body)).await;
        if let Some(changes) = &changes {
            changes.apply_to_response(response.headers_mut());
        }
        return Answer::new(response);
    }
    let passing = front.passes(&mut head);
    let mut answer = answer(connection, Request::from_parts(head, body)).await;
    passing(&mut answer.response);
    answer
}

/// Judges a request for a call of a function as if it were that call, and makes its headers those that the function may see.
/// Who makes the call later is no client any more: what Gateways and routes ask of clients is asked here or never.
fn judge_call(connection: &Connection, head: &mut Parts, call: Uri) -> Judged {
    let gateway = &*connection.gateway;
    let host = match check(head) {
        Ok(host) => Host::of(host),
        Err((status, text)) => {
            gateway.counters.rejected.fetch_add(1, Relaxed);
            return Judged::Refused(Answer::text(status, text));
        }
    };
    let asked = std::mem::replace(&mut head.uri, call);
    let judged = match find_function(&gateway.table.load(), gateway, head) {
        None => Judged::Refused(unmatched(gateway, head, &host)),
        Some(Found { action, via, .. }) => {
            let backend = choose::weighted(&action.backends, random::next());
            let service = backend.and_then(|it| it.target.as_ref().ok());
            judge(connection, head, host.text(), via, action, service)
        }
    };
    head.uri = asked;
    strip_hop(&mut head.headers);
    head.headers.remove(HOPS);
    let trusted = gateway.config.trust_forwarded;
    set_forwarded(&mut head.headers, &connection.peer, &connection.forwarded, host.header.as_ref(), trusted);
    if let Judged::Pass(Some(changes)) = &judged {
        changes.apply_to_request(&mut head.headers);
    }
    judged
}

fn unmatched(gateway: &Gateway, head: &Parts, host: &Host) -> Answer {
    gateway.counters.unmatched.fetch_add(1, Relaxed);
    let text = format!("no route for host {:?} and path {:?}", host.name, head.uri.path());
    Answer::text(StatusCode::NOT_FOUND, &text)
}

async fn answer(connection: &Arc<Connection>, request: Request<Incoming>) -> Answer {
    let gateway = &*connection.gateway;
    let (mut head, body) = request.into_parts();
    let host = match check(&mut head) {
        Ok(host) => host,
        Err((status, text)) => {
            gateway.counters.rejected.fetch_add(1, Relaxed);
            return Answer::text(status, text);
        }
    };
    let host = Host::of(host);
    // Held to the end: a copy of what was found would be counted where all threads that serve count theirs.
    let table = gateway.table.load();
    let found = match &connection.direct {
        Some(direct) => Some(Found { action: &direct.action, matched: 0, via: "" }),
        None if connection.front.is_some() => find_function(&table, gateway, &mut head),
        None => find(&table, &head, &host.name).or_else(|| find_function(&table, gateway, &mut head)),
    };
    let Some(found) = found else { return unmatched(gateway, &head, &host) };
    let metered = meter(connection, &found);
    let mut answer = lead(connection, head, body, &host, &found).await;
    if let Some(metered) = metered {
        metered.answered(answer.response.status().as_u16());
        answer.metered = Some(metered);
    }
    answer
}

/// The host that was asked for: as the header has it, and in canonical form.
struct Host {
    header: Option<HeaderValue>,
    name: Box<str>,
}

impl Host {
    fn of(header: Option<HeaderValue>) -> Self {
        let name = canonical_host(header.as_ref().and_then(|it| it.to_str().ok()).unwrap_or("")).into();
        Self { header, name }
    }

    fn text(&self) -> &str {
        self.header.as_ref().and_then(|it| it.to_str().ok()).unwrap_or("")
    }
}

/// Counts a request for the route that takes it; a port of the node has none.
fn meter(connection: &Connection, found: &Found<'_, Arc<Pool>>) -> Option<Exchange> {
    let subject = match found.via {
        _ if connection.direct.is_some() => return None,
        "" => Subject::Ingress,
        _ => Subject::Route,
    };
    Some(connection.gateway.config.meters.begin(subject, &found.action.route))
}

/// Does with a request what its rule says.
async fn lead(
    connection: &Arc<Connection>,
    mut head: Parts,
    body: Incoming,
    host: &Host,
    found: &Found<'_, Arc<Pool>>,
) -> Answer {
    let Found { action, matched, via } = found;
    let backend = choose::weighted(&action.backends, random::next());
    let service = backend.and_then(|it| it.target.as_ref().ok());
    let changes = match judge(connection, &head, host.text(), via, action, service) {
        Judged::Pass(changes) => changes,
        Judged::Refused(answer) => return answer,
    };
    if let Some(redirect) = &action.redirect {
        let port = connection.gateway.config.http_port;
        return redirected(redirect, action, &head.uri, &host.name, *matched, port);
    }
    let pool = match backend {
        Some(backend) => match &backend.target {
            Ok(pool) => pool,
            Err(why) => {
                return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("route {}: {why}", action.route));
            }
        },
        None => {
            return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("route {} has no backend", action.route));
        }
    };
    let upgrade = prepare(connection, &mut head, host.header.as_ref(), changes.as_ref(), action, *matched);
    let mut answer = if action.mirrors.is_empty() || upgrade.is_some() {
        carry(connection, action, pool, head, body, upgrade).await
    } else {
        let body = mirror::copy(connection, action, &head, body);
        carry(connection, action, pool, head, body, upgrade).await
    };
    if let Some(changes) = &changes {
        changes.apply_to_response(answer.response.headers_mut());
    }
    answer
}

/// The rule that takes a request.
fn find<'a>(table: &'a Table<Arc<Pool>>, head: &Parts, host: &str) -> Option<Found<'a, Arc<Pool>>> {
    table.find(&Asked {
        host,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or(""),
        method: &head.method,
        headers: &head.headers,
    })
}

/// A function that is asked for by name; it sees the path that is left.
fn find_function<'a>(table: &'a Table<Arc<Pool>>, gateway: &Gateway, head: &mut Parts) -> Option<Found<'a, Arc<Pool>>> {
    let (host, left) = functions::named(head.uri.path(), &gateway.config.function_domain)?;
    let mut uri = head.uri.clone();
    rewrite_uri(&mut uri, None, Some(left));
    let before = std::mem::replace(&mut head.uri, uri);
    let found = find(table, head, &host);
    if found.is_none() {
        head.uri = before;
    }
    found
}

/// What authorisation made of a request.
enum Judged {
    Pass(Option<Changes>),
    Refused(Answer),
}

/// Asks whoever authorises requests, where anybody is concerned with this one.
fn judge(
    connection: &Connection,
    head: &Parts,
    host: &str,
    via: &str,
    action: &Action<Arc<Pool>>,
    pool: Option<&Arc<Pool>>,
) -> Judged {
    let gateway = &connection.gateway;
    let Some(authorizer) = gateway.authorizer.get() else { return Judged::Pass(None) };
    let service = pool.map(|it| it.service());
    let way = match via {
        _ if connection.direct.is_some() => Way { service, ..Way::default() },
        "" => Way { ingress: Some(&action.route), service, ..Way::default() },
        via => Way { gateway: Some(via), route: Some(&action.route), service, ..Way::default() },
    };
    if !authorizer.is_concerned(&way) {
        return Judged::Pass(None);
    }
    let own = || gateway.config.addresses.first().map(|it| (*it, gateway.config.http_port).into());
    let listener = connection.direct.as_ref().map(|it| it.listener).or_else(own);
    let asking = Asking { way, head, host, sender: Sender::Client(connection.address), listener };
    match authorizer.authorize(&asking) {
        Decision::Allow(changes) => Judged::Pass(Some(changes)),
        Decision::Deny { status, headers, body } => {
            gateway.counters.denied.fetch_add(1, Relaxed);
            let mut response = Response::new(full(body));
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            Judged::Refused(Answer::new(response))
        }
    }
}

/// Refuses malformed heads. Returns the host asked for, which is then also in the `Host` header.
fn check(head: &mut Parts) -> Result<Option<HeaderValue>, (StatusCode, &'static str)> {
    let target = head.uri.path_and_query().map_or(0, |it| it.as_str().len());
    if target > TARGET_MAX {
        return Err((StatusCode::URI_TOO_LONG, "the request target is longer than 16 KiB"));
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err((StatusCode::BAD_REQUEST, "the request has several Host headers"));
    }
    // RFC 9112, 3.2.2: the host of an absolute target goes before the header.
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str());
        let host = host.map_err(|_| (StatusCode::BAD_REQUEST, "the request target has a malformed host"))?;
        head.headers.insert(HOST, host.clone());
        return Ok(Some(host));
    }
    match first {
        Some(host) if is_authority(host) => Ok(Some(host.clone())),
        Some(_) => Err((StatusCode::BAD_REQUEST, "the Host header is malformed")),
        None if head.version == Version::HTTP_10 => Ok(None),
        None => Err((StatusCode::BAD_REQUEST, "the request has no Host header")),
    }
}

fn is_authority(host: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(byte);
    host.as_bytes().iter().all(allowed)
}

fn redirected<B>(
    redirect: &Redirect,
    action: &Action<B>,
    uri: &Uri,
    host: &str,
    matched: usize,
    listener_port: u16,
) -> Answer {
    let asked = Forwarded { host, path: uri.path(), query: uri.query(), matched, listener_port };
    let Ok(location) = HeaderValue::try_from(redirect.location(&asked)) else {
        return Answer::text(StatusCode::BAD_REQUEST, "the redirect would not be a valid URI");
    };
    let mut response = Response::new(eyot_dispatch::empty());
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(LOCATION, location);
    action.response_headers.apply(response.headers_mut());
    Answer::new(response)
}

/// Makes the client's head the one that the endpoint gets.
fn prepare<B>(
    connection: &Connection,
    head: &mut Parts,
    host: Option<&HeaderValue>,
    changes: Option<&Changes>,
    action: &Action<B>,
    matched: usize,
) -> Option<Upgrade> {
    let protocol = strip_hop(&mut head.headers);
    // Only guests count hops.
    head.headers.remove(HOPS);
    let trusted = connection.gateway.config.trust_forwarded;
    set_forwarded(&mut head.headers, &connection.peer, &connection.forwarded, host, trusted);
    // After the headers of the hop, among which a client may name whatever it wants gone.
    if let Some(changes) = changes {
        changes.apply_to_request(&mut head.headers);
    }
    if !action.request_headers.is_empty() {
        action.request_headers.apply(&mut head.headers);
    }
    if let Some(rewrite) = &action.rewrite {
        if let Some(Ok(host)) = rewrite.host.as_deref().map(HeaderValue::from_str) {
            head.headers.insert(HOST, host);
        }
        let path = rewrite.path.as_ref().map(|it| it.apply(head.uri.path(), matched));
        rewrite_uri(&mut head.uri, rewrite.host.as_deref(), path.as_deref());
    }
    let protocol = protocol?;
    let client = head.extensions.remove::<hyper::upgrade::OnUpgrade>()?;
    Some(Upgrade { protocol, client, cut: connection.cut.clone() })
}

/// Puts `host` and `path` into a URI; the host only where the URI has one. A URI that would be invalid stays.
fn rewrite_uri(uri: &mut Uri, host: Option<&str>, path: Option<&str>) {
    let mut parts = uri.clone().into_parts();
    if let (Some(host), true) = (host, parts.authority.is_some())
        && let Ok(authority) = host.parse()
    {
        parts.authority = Some(authority);
    }
    if let Some(path) = path {
        let target = match uri.query() {
            Some(query) => format!("{path}?{query}").parse(),
            None => path.parse(),
        };
        if let Ok(target) = target {
            parts.path_and_query = Some(target);
        }
    }
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
}

async fn carry<B>(
    connection: &Connection,
    action: &Action<Arc<Pool>>,
    pool: &Arc<Pool>,
    head: Parts,
    body: B,
    upgrade: Option<Upgrade>,
) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let own = pool.hold.as_ref().map(|it| it.terms.timeout);
    let (began, timeout) = (Instant::now(), action.timeout.into_iter().chain(own).min());
    let deadline = timeout.map(|it| began + it);
    let sending = forward::forward(&connection.gateway, pool, connection.client, &head, body, upgrade, None);
    let sent = match deadline {
        None => sending.await,
        Some(at) => match tokio::time::timeout_at(at, sending).await {
            Ok(sent) => sent,
            Err(_) => {
                pool.meter.lost(began.elapsed());
                let text = format!("Service {} did not answer within the route's timeout", pool.name);
                return Answer::text(StatusCode::GATEWAY_TIMEOUT, &text);
            }
        },
    };
    match sent {
        Ok(Sent { mut response, busy }) => {
            finish(response.headers_mut(), busy.is_none());
            if !action.response_headers.is_empty() {
                action.response_headers.apply(response.headers_mut());
            }
            *response.version_mut() = Version::HTTP_11;
            Answer { response, busy, deadline, metered: None }
        }
        Err(error) => {
            // The client learns which Service failed; what a guest said of itself is for the log.
            tracing::debug!(%error, cause = ?std::error::Error::source(&error), route = %action.route, "no response");
            Answer::text(error.status(), &client_text(&error))
        }
    }
}

/// Removes the headers that belong to the hop between endpoint and gateway.
fn finish(headers: &mut HeaderMap, upgraded: bool) {
    if upgraded {
        return;
    }
    strip_hop(headers);
    headers.remove(UPGRADE);
}

fn client_text(error: &forward::ForwardError) -> String {
    use eyot_dispatch::CallError;
    match error {
        forward::ForwardError::Unavailable(_)
        | forward::ForwardError::Full(_)
        | forward::ForwardError::TooLong { .. }
        | forward::ForwardError::Late(_) => error.to_string(),
        forward::ForwardError::Call { service, source, .. } => {
            let what = match source {
                CallError::Overloaded(_) => "takes no more requests for now",
                CallError::Draining => "is going away",
                CallError::Guest(_) => "failed before it answered; its pod's log says more",
                CallError::OutOfMemory => "ran out of memory before it answered",
                CallError::Deadline => "did not answer in time",
                CallError::Denied(_) | CallError::Prohibited(_) => "may not be connected to",
                CallError::Connect(_) | CallError::Lookup(_) | CallError::ConnectTimeout(_) => "could not be reached",
                CallError::Certificate(_) | CallError::Tls(_) => "could not be reached over TLS",
                CallError::Protocol(_) => "answered with something that is no HTTP",
                CallError::Broken(_) => "broke off before it answered",
            };
            format!("Service {service} {what}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewriting_keeps_the_query_and_the_form_of_the_target() {
        for (uri, host, path, expected) in [
            ("/a/b?q=1", Some("x.example"), Some("/c"), "/c?q=1"),
            ("/a/b", None, Some("/"), "/"),
            ("http://h:1/a?q", Some("x.example"), None, "http://x.example/a?q"),
            ("/a", None, Some("no path"), "/a"),
        ] {
            let mut it: Uri = uri.parse().unwrap();
            rewrite_uri(&mut it, host, path);
            assert_eq!(it.to_string(), expected);
        }
    }

    #[test]
    fn heads_without_one_clear_host_are_refused() {
        let head = |hosts: &[&str], version| {
            let mut builder = Request::get("/").version(version);
            for host in hosts {
                builder = builder.header(HOST, *host);
            }
            builder.body(()).unwrap().into_parts().0
        };
        let status = |mut it: Parts| check(&mut it).err().map(|(status, _)| status.as_u16());
        assert_eq!(status(head(&["a:80"], Version::HTTP_11)), None);
        assert_eq!(status(head(&["[::1]:80"], Version::HTTP_11)), None);
        assert_eq!(status(head(&[], Version::HTTP_10)), None);
        assert_eq!(status(head(&[], Version::HTTP_11)), Some(400));
        assert_eq!(status(head(&["a", "b"], Version::HTTP_11)), Some(400));
        assert_eq!(status(head(&["a/b"], Version::HTTP_11)), Some(400));
        let mut long = head(&["a"], Version::HTTP_11);
        long.uri = format!("/{}", "x".repeat(TARGET_MAX)).parse().unwrap();
        assert_eq!(status(long), Some(414));
        let mut absolute = head(&["a"], Version::HTTP_11);
        absolute.uri = "http://b/x".parse().unwrap();
        assert_eq!(check(&mut absolute).unwrap().unwrap(), "b");
        assert_eq!(absolute.headers[HOST], "b");
    }
}
