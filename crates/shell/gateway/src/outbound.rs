//! Requests that guests send: to Services and pods in process, to the rest over TCP.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use eyot_dispatch::{Asking, Body, CallError, Caller, Changes, Decision, Outbound, Sender, full};
use eyot_route::{Asked, canonical_host, choose, egress::Protocol};
use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri,
    header::HOST,
    request::Parts,
    uri::{Authority, Scheme},
};

use crate::{
    Gateway,
    body::{Held, Reply},
    forward::{self, Sent},
    functions,
    headers::{HOPS, strip_hop},
    names::caller_of,
    random,
    resolve::{Destination, destination, may_dial, out_of_reach},
    services::{self, Busy, Pool, Service},
};

/// Hops from guest to guest after which a request is taken for a loop.
const HOPS_MAX: u32 = 16;

impl Outbound for Gateway {
    fn send(
        self: Arc<Self>,
        caller: Caller,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async move {
            self.counters.outbound.fetch_add(1, Relaxed);
            let Some(permit) = self.outbound.start(&caller) else {
                let max = self.config.outbound_per_pod_max;
                return Err(CallError::Overloaded(format!("the pod has {max} requests under way")));
            };
            let (response, busy) = self.dispatch(&caller, request).await?;
            let held = Held::by_guest(busy, permit);
            Ok(response.map(|body| Body::new(Reply::new(body, held, None))))
        })
    }
}

/// Where a guest's request goes.
enum Way {
    Pool(Arc<Pool>),
    Pod(SocketAddr),
    Outside,
    /// Outside, to the host that an ExternalName Service stands for.
    Alias(Box<str>),
}

impl Gateway {
    async fn dispatch(
        &self,
        caller: &Caller,
        request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Busy>), CallError> {
        let (mut head, body) = request.into_parts();
        let Some(authority) = head.uri.authority().cloned() else {
            return Err(CallError::Connect(format!("{} is no absolute URI", head.uri)));
        };
        let https = head.uri.scheme() == Some(&Scheme::HTTPS);
        let no_port = || CallError::Connect(format!("{authority} names no port: they go up to 65535"));
        let port = eyot_dispatch::port(&head.uri).ok_or_else(no_port)?;
        let way = self.way(&caller.namespace, &authority, port)?;
        strip_hop(&mut head.headers);
        count_hop(&mut head)?;
        if !head.headers.contains_key(HOST) {
            let host = HeaderValue::from_str(authority.as_str());
            head.headers.insert(HOST, host.map_err(|error| CallError::Connect(error.to_string()))?);
        }
        if https && !matches!(way, Way::Outside | Way::Alias(_)) {
            return Err(CallError::Connect(format!(
                "{authority} is inside the cluster, where pods are reached by http"
            )));
        }
        match way {
            Way::Pool(pool) => {
                let changes = match self.judge(caller, &head, &pool) {
                    Ok(changes) => changes,
                    Err(refusal) => return Ok((*refusal, None)),
                };
                changes.apply_to_request(&mut head.headers);
                let permit = |address| self.permit(caller, address);
                let permit: Option<forward::Permit<'_>> = Some(&permit);
                let sent = forward::forward(self, &pool, caller_of(caller), &head, body, None, permit).await;
                let Sent { mut response, busy } = match sent {
                    // As any server says it.
                    Err(error @ forward::ForwardError::TooLong { .. }) => return Ok((refused(&error), None)),
                    sent => sent.map_err(forward::ForwardError::into_call_error)?,
                };
                strip_hop(response.headers_mut());
                changes.apply_to_response(response.headers_mut());
                Ok((response, busy))
            }
            Way::Pod(address) => {
                self.permit(caller, address)?;
                let request = Request::from_parts(head, body);
                match self.endpoints.get(&address) {
                    Some(handler) => Ok((handler.handle(request).await?, None)),
                    None => Ok((self.dialer.to_pod(address, services::Protocol::Http1, request).await?, None)),
                }
            }
            Way::Outside => Ok((self.leave(caller, head, body).await?, None)),
            Way::Alias(host) => {
                head.uri = aliased(&head.uri, &authority, &host)?;
                Ok((self.leave(caller, head, body).await?, None))
            }
        }
    }

    /// Asks whoever authorises requests to a Service. The error is what the guest is answered.
    fn judge(&self, caller: &Caller, head: &Parts, pool: &Pool) -> Result<Changes, Box<Response<Body>>> {
        let Some(authorizer) = self.authorizer.get() else { return Ok(Changes::default()) };
        let way = eyot_dispatch::Way { service: Some(pool.service()), ..Default::default() };
        if !authorizer.is_concerned(&way) {
            return Ok(Changes::default());
        }
        let host = head.headers.get(HOST).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let asking = Asking { way, head, host, sender: Sender::Guest(caller), listener: None };
        match authorizer.authorize(&asking) {
            Decision::Allow(changes) => Ok(changes),
            Decision::Deny { status, headers, body } => {
                self.counters.denied.fetch_add(1, Relaxed);
                let mut response = Response::new(full(body));
                (*response.status_mut(), *response.headers_mut()) = (status, headers);
                Err(Box::new(response))
            }
        }
    }

    /// Whether policies let `caller` connect to `address`.
    fn permit(&self, caller: &Caller, address: SocketAddr) -> Result<(), CallError> {
        self.egress.check(caller, Protocol::Tcp, address).map_err(|refusal| CallError::Prohibited(refusal.to_string()))
    }

    async fn leave(&self, caller: &Caller, mut head: Parts, body: Body) -> Result<Response<Body>, CallError> {
        head.headers.remove(HOPS);
        let request = Request::from_parts(head, body);
        let mut response = match self.egress.holds(caller) {
            // Connections that are kept are shared by all: whoever is held has its own, to addresses that were checked.
            true => self.dialer.outside_held(request, &self.egress, caller).await?,
            false => self.dialer.outside(request, caller).await?,
        };
        strip_hop(response.headers_mut());
        Ok(response)
    }

    fn way(&self, namespace: &str, authority: &Authority, port: u16) -> Result<Way, CallError> {
        let host = canonical_host(authority.as_str());
        match destination(&host, namespace, &self.config.cluster_domain) {
            Destination::Service(name) => match self.services.by_name(&name) {
                Some(service) => self.way_of(&service, &name, port),
                None => {
                    let missing = || CallError::Connect(format!("there is no Service {name}"));
                    self.function(&name).ok_or_else(missing)
                }
            },
            Destination::ServiceOrOutside(name) => match self.services.by_name(&name) {
                Some(service) => self.way_of(&service, &name, port),
                None => Ok(self.function(&name).unwrap_or(Way::Outside)),
            },
            Destination::Address(ip) => self.way_to(ip, port),
            Destination::Outside => Ok(self.function_by_host(&host).unwrap_or(Way::Outside)),
            Destination::Unknown(why) => Err(CallError::Connect(why)),
        }
    }

    /// The function of a host such as the one in its URL.
    fn function_by_host(&self, host: &str) -> Option<Way> {
        let named = host.strip_suffix(self.config.function_domain.as_str())?.strip_suffix('.')?;
        let (name, namespace) = named.split_once('.').filter(|it| !it.1.contains('.'))?;
        self.function(&format!("{namespace}/{name}"))
    }

    /// One of the revisions that the function `namespace/name` has now, by their weights.
    fn function(&self, name: &str) -> Option<Way> {
        let (namespace, name) = name.split_once('/')?;
        let host = functions::host(namespace, name, &self.config.function_domain);
        let (method, headers) = (Method::GET, HeaderMap::new());
        let asked = Asked { host: &host, path: "/", query: "", method: &method, headers: &headers };
        let table = self.table.load();
        let found = table.find(&asked).filter(|it| !it.via.is_empty())?;
        let backend = choose::weighted(&found.action.backends, random::next())?;
        backend.target.as_ref().ok().map(|it| Way::Pool(it.clone()))
    }

    fn way_of(&self, service: &Arc<Service>, name: &str, port: u16) -> Result<Way, CallError> {
        let service = self.services.follow(service, &self.config.cluster_domain);
        if let Some(host) = &service.external_name {
            // Of names what they resolve to is judged; an address is dialled as it is.
            return match host.parse() {
                Ok(ip) if !may_dial(ip, &self.pod_networks.load()) => Err(CallError::Prohibited(out_of_reach(host))),
                _ => Ok(Way::Alias(host.clone())),
            };
        }
        match service.port(port) {
            Some(port) => Ok(Way::Pool(port.pool.clone())),
            None => Err(CallError::Connect(format!("Service {name} has no port {port}"))),
        }
    }

    fn way_to(&self, ip: IpAddr, port: u16) -> Result<Way, CallError> {
        if let Some(service) = self.services.by_address(ip) {
            return self.way_of(&service, &ip.to_string(), port);
        }
        let address = SocketAddr::new(ip, port);
        if self.endpoints.get(&address).is_some() {
            return Ok(Way::Pod(address));
        }
        if may_dial(ip, &self.pod_networks.load()) {
            return Ok(Way::Outside);
        }
        Err(CallError::Prohibited(out_of_reach(address)))
    }
}

fn refused(error: &forward::ForwardError) -> Response<Body> {
    let mut response = Response::new(full(format!("{error}\n")));
    *response.status_mut() = error.status();
    response
}

/// The URI with the host of an ExternalName Service.
fn aliased(uri: &Uri, authority: &Authority, host: &str) -> Result<Uri, CallError> {
    let authority = match authority.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    let malformed = |error: &dyn std::fmt::Display| CallError::Connect(format!("external name {host}: {error}"));
    parts.authority = Some(authority.parse().map_err(|error| malformed(&error))?);
    Uri::from_parts(parts).map_err(|error| malformed(&error))
}

/// Counts this hop in a header, for guests that pass headers on; guests that do not are bounded by what they have
/// under way.
fn count_hop(head: &mut Parts) -> Result<(), CallError> {
    let before = head.headers.get(HOPS).and_then(|it| it.to_str().ok()).and_then(|it| it.parse::<u32>().ok());
    let hops = before.unwrap_or(0).saturating_add(1);
    if hops > HOPS_MAX {
        return Err(CallError::Overloaded(format!("the request went through {HOPS_MAX} guests: it goes in a circle")));
    }
    head.headers.insert(HOPS, HeaderValue::from(hops));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Config,
        kinds::{Name, ServiceSpec},
    };

    #[tokio::test]
    async fn a_name_that_stands_for_an_address_of_the_host_leads_nowhere() {
        let gateway = Gateway::silent(Config::default());
        let way = |external: &str| {
            let spec = ServiceSpec {
                type_: Some("ExternalName".into()),
                external_name: Some(external.into()),
                ..ServiceSpec::default()
            };
            gateway.services.apply(&Name::new("ns", "alias"), &spec);
            match gateway.way("ns", &Authority::from_static("alias"), 80) {
                Ok(Way::Alias(host)) => host.into_string(),
                Ok(_) => "elsewhere".to_owned(),
                Err(CallError::Prohibited(why)) => why,
                Err(error) => panic!("{error}"),
            }
        };
        for host in ["127.0.0.1", "169.254.169.254", "0.0.0.0"] {
            assert!(way(host).contains("guests may not reach"), "{host}: {}", way(host));
        }
        assert_eq!(way("93.184.216.34"), "93.184.216.34");
        assert_eq!(way("www.example.com"), "www.example.com");
    }
}
