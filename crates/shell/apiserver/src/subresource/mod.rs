//! Subresources: what hangs below one object. Entry point: [`answer`].

mod eviction;
mod kubelet;
mod pod;
mod proxy;
mod scale;

use bytes::Bytes;
use eyot_model::status::{ApiError, Reason};
use http::{Method, Request, Response};

use crate::{
    Body,
    call::Call,
    csr,
    handle::read_body,
    request::path::Resource,
    token,
    verbs::{
        list,
        update::{self, Aspect},
    },
};

pub(crate) use pod::bind_posted;
pub(crate) use scale::{replicas as scale_replicas, set_replicas, view_as as scale_of};

/// Answers a request for a subresource of the object called `name`.
pub(crate) async fn answer(
    call: &mut Call,
    name: &str,
    path: &Resource,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let subresource = path.subresource.as_deref().unwrap_or_default();
    let known = call.kind.subresource(subresource).ok_or_else(ApiError::no_such_path)?;
    let method = request.method().clone();
    if subresource == "proxy" && call.kind.group.is_empty() {
        return proxy::pass(call, name, request).await;
    }
    let verb = verb(&method);
    if !known.verbs.iter().any(|it| it == verb) {
        return Err(ApiError::method_not_supported(&call.kind, verb));
    }
    let core_pod = call.kind.is("", "Pod");
    match subresource {
        "log" | "exec" | "attach" | "portforward" if core_pod => kubelet::pass(call, name, subresource, request).await,
        "binding" if core_pod => pod::bind(call, name, read_body(request).await?).await,
        "eviction" if core_pod => eviction::evict(call, name, read_body(request).await?).await,
        "scale" => scale::answer(call, name, &method, read_body(request).await?).await,
        "status" | "approval" => {
            if csr::is_request(&call.kind) && method != Method::GET {
                csr::authorize(call.shared(), &call.identity, name, subresource)?;
            }
            aspect(call, name, Aspect::Status, &method, read_body(request).await?).await
        }
        "finalize" => aspect(call, name, Aspect::Finalize, &method, read_body(request).await?).await,
        "ephemeralcontainers" | "resize" => aspect(call, name, Aspect::Spec, &method, read_body(request).await?).await,
        "token" => token::request::issue(call, name, read_body(request).await?).await,
        other => Err(unsupported(&format!("the subresource {other} is not served"))),
    }
}

async fn aspect(
    call: &mut Call,
    name: &str,
    aspect: Aspect,
    method: &Method,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    match *method {
        Method::GET => list::get(call, name).await,
        Method::PUT => update::put(call, name, aspect, body).await,
        _ => update::patch(call, name, aspect, body).await,
    }
}

/// The verb of a request for one object.
fn verb(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// The error for what Kubernetes has and this server has not.
fn unsupported(what: &str) -> ApiError {
    ApiError::new(501, Reason::MethodNotAllowed, what)
}
