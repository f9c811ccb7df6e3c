//! Sends one request to an endpoint of a Service, and to another where the first took nothing of it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError, CallError};
use http::{Request, Response, StatusCode, request::Parts};
use tokio::time::Instant;

use crate::{
    Gateway,
    body::Payload,
    bound::bound,
    early,
    hold::{Counted, Hold, Place},
    services::{Busy, Client, Pool},
    upgrade::{self, Upgrade},
};

/// First pause before endpoints that were all tried are tried again; doubles up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LAST: Duration = Duration::from_millis(160);

/// Whether the sender may connect to an endpoint; the error says why not.
pub(crate) type Permit<'a> = &'a (dyn Fn(SocketAddr) -> Result<(), CallError> + Send + Sync);

/// A response and the endpoint that is busy with it.
pub(crate) struct Sent {
    pub(crate) response: Response<Body>,
    /// `None` for an upgraded stream, which keeps its endpoint itself.
    pub(crate) busy: Option<Busy>,
}

/// Why a Service gave no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// Nothing takes requests.
    #[error("Service {0} has no ready endpoint")]
    Unavailable(String),
    /// More requests wait already than may.
    #[error("Service {0} has too many requests waiting")]
    Full(String),
    /// The request's body is larger than functions take.
    #[error("Service {service} takes no body of more than {most} bytes")]
    TooLong {
        /// `namespace/service:port`.
        service: String,
        /// The bound.
        most: u64,
    },
    /// The revision's own time has passed.
    #[error("Service {0} did not begin to answer in the time that its revision has")]
    Late(String),
    /// The last endpoint asked failed.
    #[error("Service {service} at {address}: {source}")]
    Call {
        /// `namespace/service:port`.
        service: String,
        /// The endpoint.
        address: SocketAddr,
        /// What it said.
        #[source]
        source: CallError,
    },
}

impl ForwardError {
    /// The status code a client gets.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            ForwardError::Unavailable(_) | ForwardError::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
            ForwardError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ForwardError::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            ForwardError::Call { source, .. } => source.status(),
        }
    }

    /// What a guest's caller gets.
    pub(crate) fn into_call_error(self) -> CallError {
        match self {
            ForwardError::Unavailable(_) => CallError::Connect(self.to_string()),
            ForwardError::Full(_) => CallError::Overloaded(self.to_string()),
            ForwardError::TooLong { .. } => CallError::Broken(self.to_string()),
            ForwardError::Late(_) => CallError::Deadline,
            ForwardError::Call { source, .. } => source,
        }
    }
}

/// Sends a request to an endpoint of `pool`. Endpoints that take nothing of it (draining, overloaded, not to be
/// reached) are passed by; when all were, and not for overload, their successors are waited for, and so is, for a moment, the
/// first endpoint of a Service that has none. What scales by its requests
/// counts this one from here to the end of its response, bounds its body, and holds it while there is no endpoint.
pub(crate) async fn forward<B>(
    gateway: &Gateway,
    pool: &Pool,
    client: Client,
    head: &Parts,
    body: B,
    upgrade: Option<Upgrade>,
    permit: Option<Permit<'_>>,
) -> Result<Sent, ForwardError>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let most = pool.hold.is_some().then_some(gateway.config.function_body_max);
    let too_long = || ForwardError::TooLong { service: pool.name.to_string(), most: most.unwrap_or(u64::MAX) };
    // Before it is counted: nobody is woken for what is not carried.
    let (body, passed) = bound(body, most).ok_or_else(too_long)?;
    // Whoever answers takes part in it, so that a stream that outlives the response is counted to its own end.
    let counted = Arc::new(Counted { exchange: pool.meter.begin(), _using: pool.hold.as_ref().map(Hold::begin) });
    let sending = pass(gateway, pool, client, head, body, upgrade, permit, &counted);
    let sent = match &pool.hold {
        None => sending.await,
        Some(hold) => match tokio::time::timeout(hold.terms.start_timeout, sending).await {
            Ok(sent) => sent,
            Err(_) => Err(ForwardError::Late(pool.name.to_string())),
        },
    };
    // Whatever became of the part that was passed on.
    let sent = if passed.is_true() { Err(too_long()) } else { sent };
    counted.exchange.answered(match &sent {
        Ok(sent) => sent.response.status().as_u16(),
        // Whom policies hold back fails nobody.
        Err(ForwardError::Call { source: CallError::Prohibited(_), .. }) => 403,
        Err(ForwardError::TooLong { .. }) => 413,
        Err(_) => 0,
    });
    sent
}

#[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
async fn pass<B>(
    gateway: &Gateway,
    pool: &Pool,
    client: Client,
    head: &Parts,
    body: B,
    mut upgrade: Option<Upgrade>,
    permit: Option<Permit<'_>>,
    counted: &Arc<Counted>,
) -> Result<Sent, ForwardError>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let payload = Payload::new(body, gateway.config.stall_timeout);
    let mut tried = Vec::new();
    let mut failure = None;
    let mut wait = Wait::new(gateway.config.retry_timeout);
    let (mut place, mut pause, mut waits, mut prepared) = (None::<Place<'_>>, PAUSE_FIRST, None, false);
    let mut waited = false;
    let is_held = permit.is_some();
    loop {
        let changed = pool.changed();
        let chosen = pool.choose(&tried, client).or_else(|| early::choose(gateway, pool, &tried, is_held));
        let Some(mut busy) = chosen else {
            let denied = matches!(failure, Some((_, CallError::Prohibited(_))));
            if let Some(hold) = pool.hold.as_ref().filter(|it| !denied && it.is_open()) {
                match &mut place {
                    Some(place) => place.take_again(),
                    None => place = Some(hold.queue().ok_or_else(|| refused(pool))?),
                }
                waits.get_or_insert_with(|| pool.meter.wait());
                if tried.is_empty() {
                    let preparing = match std::mem::replace(&mut prepared, true) {
                        false => early::prepare(gateway, pool, is_held),
                        true => None,
                    };
                    hold.wait(changed, pool.is_empty(), preparing).await;
                } else {
                    // Those that are here take nothing now. They may go, or have room again without saying so.
                    tried.clear();
                    let _ = tokio::time::timeout(pause, hold.wait(changed, false, None)).await;
                    pause = (pause * 2).min(PAUSE_LAST);
                }
                continue;
            }
            let Some((address, source)) = failure.take() else {
                if !std::mem::replace(&mut waited, true) && gateway.arrivals.wait(pool).await {
                    continue;
                }
                pool.meter.refuse();
                return Err(ForwardError::Unavailable(pool.name.to_string()));
            };
            if matches!(source, CallError::Overloaded(_) | CallError::Prohibited(_)) || !wait.pause(changed).await {
                if pool.is_empty() && matches!(source, CallError::Connect(_) | CallError::Draining) {
                    // It was on its way out, and nobody came after it.
                    pool.meter.refuse();
                    return Err(ForwardError::Unavailable(pool.name.to_string()));
                }
                return Err(failed(pool, address, source));
            }
            failure = Some((address, source));
            tried.clear();
            continue;
        };
        waits = None;
        if let (Some(hold), Some(place)) = (&pool.hold, &mut place) {
            // Places that came free at once may have left one wake for several who wait.
            hold.freed.notify_one();
            place.leave();
        }
        busy.keep(counted.clone());
        let address = busy.address();
        if let Some(Err(denied)) = permit.filter(|_| busy.early().is_none()).map(|it| it(address)) {
            tried.push(address);
            failure = Some((address, denied));
            continue;
        }
        let Some(body) = payload.offer() else {
            let source = failure.map_or_else(|| CallError::Broken("request body lost".into()), |(_, source)| source);
            return Err(failed(pool, address, source));
        };
        match send(gateway, pool, head, body, busy, &mut upgrade).await {
            Ok(sent) => return Ok(sent),
            Err(source) if source.is_untouched() => {
                pool.meter.retry();
                tried.push(address);
                failure = Some((address, source));
            }
            Err(source) => return Err(failed(pool, address, source)),
        }
    }
}

fn refused(pool: &Pool) -> ForwardError {
    pool.meter.refuse();
    ForwardError::Full(pool.name.to_string())
}

fn failed(pool: &Pool, address: SocketAddr, source: CallError) -> ForwardError {
    ForwardError::Call { service: pool.name.to_string(), address, source }
}

async fn send(
    gateway: &Gateway,
    pool: &Pool,
    head: &Parts,
    body: Body,
    busy: Busy,
    upgrade: &mut Option<Upgrade>,
) -> Result<Sent, CallError> {
    let request = Request::from_parts(head.clone(), body);
    if let Some(handler) = busy.early().or_else(|| gateway.endpoints.get(&busy.address())) {
        let response = handler.handle(request).await?;
        return Ok(Sent { response, busy: Some(busy) });
    }
    if let Some(upgrade) = upgrade {
        return upgrade::send(busy, request, upgrade).await;
    }
    let response = gateway.dialer.to_pod(busy.address(), pool.protocol, request).await?;
    Ok(Sent { response, busy: Some(busy) })
}

/// Pauses between rounds of attempts, up to a bound for all of them.
struct Wait {
    timeout: Duration,
    until: Option<Instant>,
    pause: Duration,
}

impl Wait {
    fn new(timeout: Duration) -> Self {
        Self { timeout, until: None, pause: PAUSE_FIRST }
    }

    /// Waits for `changed` or a pause, whichever is sooner. False when the time is up.
    async fn pause(&mut self, changed: impl Future<Output = ()>) -> bool {
        let now = Instant::now();
        let until = *self.until.get_or_insert(now + self.timeout);
        if now >= until {
            return false;
        }
        let pause = self.pause.min(until - now);
        self.pause = (self.pause * 2).min(PAUSE_LAST);
        let _ = tokio::time::timeout(pause, changed).await;
        true
    }
}
