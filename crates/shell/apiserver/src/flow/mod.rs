//! Fair shares: how many requests are worked on at once, and whose turn it is.
//!
//! Every request over the network is classified by the stored FlowSchemas to a PriorityLevelConfiguration, which has a
//! number of seats. Who finds none waits in a queue with others of the same flow, and queues take turns, so that one
//! user's flood does not keep others out; when the queues are full the answer is 429. Entry point: [`gate`].
//!
//! Parts of this process come in another way and are never held up; so are masters, by their flow schema. Sessions,
//! logs and watches give their seat back when they have begun. Deliberately absent: lending seats between levels, and
//! requests that count for more than one seat.

mod config;
mod level;
mod presets;
mod schema;
mod status;

use std::sync::Arc;

use eyot_model::status::ApiError;
use http::{HeaderName, HeaderValue, Method, Response, Uri};

use crate::{
    Body, Identity,
    request::path::{Path, Resource},
    server::Shared,
};
use level::Seat;
use schema::{Asked, Target};

pub(crate) use config::Flows;
pub(crate) use presets::objects as presets;
pub(crate) use status::{complete, follow};

/// Who was let in, and how it was found out.
pub(crate) struct Pass {
    /// Given back when dropped; `None` at exempt levels.
    _seat: Option<Seat>,
    schema: Arc<str>,
    level: Arc<str>,
}

/// Waits for a seat for a request that came over the network; parts of this process and sessions need none.
///
/// # Errors
/// 429 when too many wait already, or the wait was too long.
pub(crate) async fn gate(
    server: &Shared,
    identity: &Identity,
    networked: bool,
    method: &Method,
    uri: &Uri,
    path: Option<&Path>,
) -> Result<Option<Pass>, ApiError> {
    let resource = match path {
        Some(Path::Resource(it)) => Some(it),
        _ => None,
    };
    let session = resource.and_then(|it| it.subresource.as_deref());
    if !networked || matches!(session, Some("log" | "exec" | "attach" | "portforward" | "proxy")) {
        return Ok(None);
    }
    let asked = Asked {
        verb: verb(method, resource),
        path: uri.path(),
        resource: resource.map(|it| Target {
            group: &it.group,
            plural: &it.plural,
            subresource: it.subresource.as_deref().unwrap_or_default(),
            namespace: it.namespace.as_deref().unwrap_or_default(),
        }),
    };
    enter(server, identity, &asked).await.map(Some)
}

/// The verb in the words of rules. Whether a list is watched makes no difference here.
fn verb(method: &Method, resource: Option<&Resource>) -> &'static str {
    let named = resource.is_none_or(|it| it.name.is_some());
    match *method {
        Method::GET | Method::HEAD if named => "get",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "",
    }
}

/// Waits for a seat.
///
/// # Errors
/// 429 when too many wait already, or the wait was too long.
async fn enter(server: &Shared, identity: &Identity, asked: &Asked<'_>) -> Result<Pass, ApiError> {
    let config = server.flows.get(&server.store);
    let (schema, level) = config.classify(identity, asked);
    let flow = schema.flow(identity, asked);
    let pass = |seat| Pass { _seat: seat, schema: schema.uid.clone(), level: level.uid.clone() };
    match level.seat(flow).await {
        Ok(seat) => Ok(pass(seat)),
        Err(refused) => {
            tracing::debug!(
                user = identity.user,
                level = &*level.name,
                schema = &*schema.name,
                ?refused,
                "too many requests"
            );
            Err(ApiError::too_many_requests("too many requests, please try again later", 1))
        }
    }
}

impl Pass {
    /// Tells the client how it was classified.
    pub(crate) fn mark(&self, response: &mut Response<Body>) {
        const HEADERS: [HeaderName; 2] = [
            HeaderName::from_static("x-kubernetes-pf-flowschema-uid"),
            HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid"),
        ];
        for (name, uid) in HEADERS.into_iter().zip([&self.schema, &self.level]) {
            if let Ok(value) = HeaderValue::from_str(uid) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}
