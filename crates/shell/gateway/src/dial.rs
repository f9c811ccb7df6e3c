//! The way out over TCP: to pods that have no handler on this node, and to hosts outside.

use std::{
    error::Error as _,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
    vec,
};

use eyot_dispatch::{Body, CallError, Caller, ConnectWithin, Lookups, port};
use eyot_route::egress;
use http::{Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client, Error,
        connect::{HttpConnector, capture_connection, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::{egress::Egress, gateway::PodNetworks, resolve::may_dial, services::Protocol};

/// Longest time to open a connection. Pods are on this node or one hop away.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time to open a connection to a host outside.
const CONNECT_OUTSIDE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most headers of a response that comes over a socket: about as many as fit into what a guest in this process may answer with.
/// Reading a head takes 64 KiB for a moment.
pub(crate) const HEADERS_MAX: usize = 1000;
/// Idle connections kept per address, and for how long.
const IDLE_MAX: usize = 64;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

type Inside = Client<HttpConnector, Body>;
type Outside = Client<HttpsConnector<HttpConnector<Guarded>>, Body>;

/// Pools of connections.
pub(crate) struct Dialer {
    http1: Inside,
    h2c: Inside,
    /// Read at first use: reading the system's certificates takes milliseconds.
    tls: OnceLock<Result<ClientConfig, String>>,
    outside: OnceLock<Result<Outside, String>>,
    pod_networks: PodNetworks,
    lookups: Arc<Lookups>,
}

impl Dialer {
    pub(crate) fn new(pod_networks: PodNetworks, lookups: Arc<Lookups>) -> Self {
        let inside = |h2c: bool| {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT).pool_max_idle_per_host(IDLE_MAX);
            builder.http1_max_headers(HEADERS_MAX).http2_only(h2c).build(connector)
        };
        let (tls, outside) = (OnceLock::new(), OnceLock::new());
        Self { http1: inside(false), h2c: inside(true), tls, outside, pod_networks, lookups }
    }

    /// Sends a request to a pod's address.
    pub(crate) async fn to_pod(
        &self,
        address: SocketAddr,
        protocol: Protocol,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, CallError> {
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let uri = Uri::builder().scheme("http").authority(address.to_string()).path_and_query(path).build();
        *request.uri_mut() = uri.map_err(|error| CallError::Broken(format!("address of {address}: {error}")))?;
        let client = match protocol {
            Protocol::Http1 => {
                *request.version_mut() = Version::HTTP_11;
                &self.http1
            }
            Protocol::H2c => {
                *request.version_mut() = Version::HTTP_2;
                &self.h2c
            }
        };
        received(client.request(request).await)
    }

    /// Sends a request with an absolute URI to a host outside. Its URI decides about TLS.
    pub(crate) async fn outside(&self, request: Request<Body>, caller: &Caller) -> Result<Response<Body>, CallError> {
        let client = self.outside.get_or_init(|| self.client_outside(None));
        let client = client.as_ref().map_err(|error| CallError::Connect(error.clone()))?;
        leave(client, request, caller).await
    }

    /// As [`Dialer::outside`], for one whom policies hold: over a connection of its own, to an address that they permit.
    pub(crate) async fn outside_held(
        &self,
        request: Request<Body>,
        egress: &Arc<Egress>,
        caller: &Caller,
    ) -> Result<Response<Body>, CallError> {
        let uri = request.uri();
        let port = port(uri).ok_or_else(|| CallError::Connect(format!("{uri} names no port")))?;
        let holding = Holding { egress: egress.clone(), caller: caller.clone(), port };
        // An address is looked up by nobody.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if let Ok(address) = host.parse::<IpAddr>() {
            holding.check(address)?;
        }
        let client = self.client_outside(Some(holding)).map_err(CallError::Connect)?;
        leave(&client, request, caller).await
    }

    fn client_outside(&self, holding: Option<Holding>) -> Result<Outside, String> {
        let shared = holding.is_none();
        let guarded = Guarded { pod_networks: self.pod_networks.clone(), lookups: self.lookups.clone(), holding };
        let mut connector = HttpConnector::new_with_resolver(guarded);
        connector.set_nodelay(true);
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_OUTSIDE_TIMEOUT));
        let tls = self.tls.get_or_init(trust).clone()?;
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT).http1_max_headers(HEADERS_MAX);
        builder.pool_max_idle_per_host(if shared { IDLE_MAX } else { 0 });
        Ok(builder.build(https))
    }
}

/// What outgoing TLS trusts: the node's own store.
fn trust() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| format!("preparing TLS: {error}"))?.with_native_roots();
    let config = config.map_err(|error| format!("reading the system's trusted certificates: {error}"))?;
    Ok(config.with_no_client_auth())
}

/// Who is held by policies, and to which port it wants to connect.
#[derive(Clone)]
struct Holding {
    egress: Arc<Egress>,
    caller: Caller,
    port: u16,
}

impl Holding {
    fn check(&self, address: IpAddr) -> Result<(), CallError> {
        let checked = self.egress.check(&self.caller, egress::Protocol::Tcp, SocketAddr::new(address, self.port));
        checked.map_err(|refusal| CallError::Prohibited(refusal.to_string()))
    }
}

/// Whose request a name is looked up for.
#[derive(Clone)]
struct Asking {
    caller: Caller,
    /// Set when the request has its response, or none.
    over: CancellationToken,
}

tokio::task_local! {
    /// Set while a request is sent: within it the client begins to connect, and nobody else tells the resolver who asks.
    static ASKING: Asking;
}

/// Sends a request outside; gives up when there is no connection, turns for lookups and TLS included, in the time for one.
async fn leave(client: &Outside, mut request: Request<Body>, caller: &Caller) -> Result<Response<Body>, CallError> {
    *request.version_mut() = Version::HTTP_11;
    let asked = request.extensions().get::<ConnectWithin>();
    let limit = asked.map_or(CONNECT_OUTSIDE_TIMEOUT, |it| it.0.min(CONNECT_OUTSIDE_TIMEOUT));
    let mut connection = capture_connection(&mut request);
    let connected = async { drop(connection.wait_for_connection_metadata().await) };
    let asking = Asking { caller: caller.clone(), over: CancellationToken::new() };
    let _over = asking.over.clone().drop_guard();
    let mut response = std::pin::pin!(ASKING.scope(asking, client.request(request)));
    tokio::select! {
        biased;
        result = &mut response => received(result),
        connected = tokio::time::timeout(limit, connected) => match connected {
            Ok(()) => received(response.await),
            Err(_) => Err(CallError::ConnectTimeout(format!("no connection within {limit:?}"))),
        },
    }
}

fn received(result: Result<Response<Incoming>, Error>) -> Result<Response<Body>, CallError> {
    match result {
        Ok(response) => Ok(response.map(|body| body.map_err(Into::into).boxed_unsync())),
        Err(error) => Err(why(&error)),
    }
}

/// Why there is no response: by the first cause that tells, else by how far the exchange came.
fn why(error: &Error) -> CallError {
    let text = error.source().map_or_else(|| error.to_string(), chain);
    if !error.is_connect() {
        return causes(error).find_map(not_http).unwrap_or(CallError::Broken(text));
    }
    match causes(error).find_map(refusal) {
        Some(refusal) => refusal,
        None if causes(error).any(is_late) => CallError::ConnectTimeout(text),
        None => CallError::Connect(text),
    }
}

/// Why there is no connection, where a name, a policy or TLS is the cause.
fn refusal(cause: &(dyn std::error::Error + 'static)) -> Option<CallError> {
    match cause.downcast_ref::<CallError>() {
        Some(CallError::Prohibited(why)) => return Some(CallError::Prohibited(why.clone())),
        Some(CallError::Lookup(why)) => return Some(CallError::Lookup(why.clone())),
        _ => {}
    }
    let tls = cause.downcast_ref::<rustls::Error>()?;
    Some(match tls {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            CallError::Certificate(tls.to_string())
        }
        _ => CallError::Tls(tls.to_string()),
    })
}

/// Why an exchange broke before a response, where neither side gave it up.
fn not_http(cause: &(dyn std::error::Error + 'static)) -> Option<CallError> {
    let http = cause.downcast_ref::<hyper::Error>()?;
    (!http.is_user() && !http.is_canceled()).then(|| CallError::Protocol(chain(http)))
}

fn is_late(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::TimedOut)
}

/// An error and what is behind it, also what an [`io::Error`] was made of, which it shows nobody as its source.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |&it| match it.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
        None => it.source(),
    })
}

/// An error and its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The system's resolver, without the addresses that guests may not reach.
#[derive(Clone)]
struct Guarded {
    pod_networks: PodNetworks,
    lookups: Arc<Lookups>,
    /// Whose policies decide too, if any do.
    holding: Option<Holding>,
}

impl Guarded {
    /// All that is known of `name`, when it is the asking pod's turn.
    async fn look_up(&self, name: &Name, asking: Option<Asking>) -> io::Result<Vec<SocketAddr>> {
        let unasked = || io::Error::other("no request waits for it");
        let Asking { caller, over } = asking.ok_or_else(unasked)?;
        // A request that was given a connection which another one left goes on without this one, but would leave it waiting.
        let turn = over.run_until_cancelled(self.lookups.turn(&caller)).await.ok_or_else(unasked)??;
        turn.look_up(name.as_str().to_owned()).await
    }

    /// Those of `found` that may be connected to.
    fn permitted(&self, name: &Name, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, CallError> {
        let pod_networks = self.pod_networks.load();
        let mut allowed: Vec<SocketAddr> = found.into_iter().filter(|it| may_dial(it.ip(), &pod_networks)).collect();
        if let (Some(holding), Some(first)) = (&self.holding, allowed.first().copied()) {
            allowed.retain(|it| holding.check(it.ip()).is_ok());
            if allowed.is_empty() {
                holding.check(first.ip())?;
            }
        }
        if allowed.is_empty() {
            return Err(CallError::Prohibited(format!("{name} has no address that a guest may reach")));
        }
        Ok(allowed)
    }
}

impl Service<Name> for Guarded {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guarded = self.clone();
        let asking = ASKING.try_with(Asking::clone).ok();
        Box::pin(async move {
            let found = guarded.look_up(&name, asking).await;
            let found = found.map_err(|error| io::Error::other(CallError::Lookup(format!("{name}: {error}"))))?;
            let allowed = guarded.permitted(&name, found);
            let allowed = allowed.map_err(|denied| io::Error::new(io::ErrorKind::PermissionDenied, denied))?;
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests;
