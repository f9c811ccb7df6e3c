//! What stands before the functions: the routes of the API, and a look at each call that goes by.

use std::{fmt, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{any, get, post},
};
use eyot_dispatch::{Body, Front, Passing};
use eyot_serving::openfaas::USUAL_NAMESPACE;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderName, HeaderValue, Request, Response, Uri, request::Parts};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::{Failure, Inner, auth, functions, info, logs, metrics, namespaces, queue, secrets};

/// Where functions are by name; the gateway itself knows them.
pub(crate) const FUNCTIONS: &str = "/function/";
/// Largest body that an endpoint of the API reads.
const BODY_BYTES_MAX: usize = 1 << 20;

pub(crate) const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
pub(crate) const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// The API, as the gateway asks it.
pub(crate) struct Door {
    inner: Arc<Inner>,
    router: Router,
}

impl Door {
    pub(crate) fn new(inner: Arc<Inner>) -> Door {
        Door { router: router(inner.clone()), inner }
    }
}

fn router(inner: Arc<Inner>) -> Router {
    let guarded = Router::new()
        .route(
            "/system/functions",
            get(functions::list).post(functions::deploy).put(functions::update).delete(functions::delete),
        )
        .route("/system/function/{name}", get(functions::one))
        .route("/system/scale-function/{name}", post(functions::scale))
        .route("/system/info", get(info::info))
        .route("/system/logs", get(logs::logs))
        .route(
            "/system/secrets",
            get(secrets::list).post(secrets::create).put(secrets::replace).delete(secrets::delete),
        )
        .route("/system/namespaces", get(namespaces::list))
        .route("/system/namespace/", post(namespaces::create))
        .route(
            "/system/namespace/{name}",
            get(namespaces::one).post(namespaces::create).put(namespaces::update).delete(namespaces::delete),
        )
        .route(
            "/system/alert",
            any(|| async { Failure::new(501, "functions follow their requests here; alerts are not taken") }),
        )
        .route("/system/telemetry", any(|| async { Failure::new(501, "nothing is sent anywhere") }))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(middleware::from_fn_with_state(inner.clone(), auth::check));
    let open = Router::new()
        .route("/healthz", get(info::health))
        .route("/async-function/{name}", post(queue::submit))
        .route("/async-function/{name}/", post(queue::submit))
        .route("/async-function/{name}/{*rest}", post(queue::submit))
        .layer(DefaultBodyLimit::max(queue::BODY_BYTES_MAX));
    guarded.merge(open).fallback(|| async { Failure::new(404, "there is no such endpoint") }).with_state(inner)
}

impl Front for Door {
    fn takes(&self, head: &Parts) -> bool {
        !head.uri.path().starts_with(FUNCTIONS)
    }

    fn asks_for(&self, head: &Parts) -> Option<Uri> {
        queue::call_of(&head.uri).map(|it| called(&it, &self.inner.config.namespace))
    }

    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let router = self.router.clone();
        async move {
            let response = match router.oneshot(request.map(axum::body::Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        }
        .boxed()
    }

    fn passes(&self, head: &mut Parts) -> Passing {
        let (began, inner) = (Instant::now(), self.inner.clone());
        let stamps = stamp(head);
        head.uri = called(&head.uri, &inner.config.namespace);
        let name = head.uri.path().strip_prefix(FUNCTIONS).and_then(|it| it.split('/').next());
        let name = name.and_then(eyot_serving::openfaas::name_parts);
        let name = name.map(|(name, namespace)| format!("{name}.{}", namespace.unwrap_or(&inner.config.namespace)));
        if let Some(name) = &name {
            inner.metrics.began(name);
        }
        Box::new(move |response: &mut Response<Body>| {
            if let Some(name) = name {
                inner.metrics.ended(&name, response.status().as_u16(), began.elapsed());
            }
            for (key, value) in stamps {
                response.headers_mut().insert(key, value);
            }
            let by = concat!("eyot/", env!("CARGO_PKG_VERSION"));
            response.headers_mut().insert(SERVED_BY, HeaderValue::from_static(by));
        })
    }
}

/// The URI of a call, with the namespace of functions that name none in place of the one that OpenFaaS' clients name then.
fn called(uri: &Uri, namespace: &str) -> Uri {
    let changed = || {
        let path = uri.path().strip_prefix(FUNCTIONS)?;
        let (named, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        let name = named.strip_suffix(USUAL_NAMESPACE)?.strip_suffix('.')?;
        let query = uri.query().map_or_else(String::new, |it| format!("?{it}"));
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = format!("{FUNCTIONS}{name}.{namespace}{rest}{query}").parse().ok();
        Uri::from_parts(parts).ok()
    };
    changed().unwrap_or_else(|| uri.clone())
}

/// Marks a call with an id, unless it has one, and with its time; the same headers are for its response.
pub(crate) fn stamp(head: &mut Parts) -> Vec<(HeaderName, HeaderValue)> {
    let now = HeaderValue::try_from(jiff::Timestamp::now().as_nanosecond().to_string());
    let id = head.headers.get(CALL_ID).cloned().filter(|it| !it.is_empty()).or_else(|| {
        let fresh = uuid::Uuid::new_v4().to_string();
        HeaderValue::try_from(fresh).ok()
    });
    let all = [(CALL_ID, id), (START_TIME, now.ok())];
    let all: Vec<_> = all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    for (key, value) in &all {
        head.headers.insert(key, value.clone());
    }
    all
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_namespace_stands_for_the_one_of_functions_that_name_none() {
        for (uri, want) in [
            ("/function/a.openfaas-fn", "/function/a.default"),
            ("/function/a.openfaas-fn/b?c=d", "/function/a.default/b?c=d"),
            ("http://h:1/function/a.openfaas-fn/", "http://h:1/function/a.default/"),
            ("/function/a.shop/x.openfaas-fn", "/function/a.shop/x.openfaas-fn"),
            ("/function/a", "/function/a"),
            ("/other/a.openfaas-fn", "/other/a.openfaas-fn"),
        ] {
            assert_eq!(called(&uri.parse().unwrap(), "default").to_string(), want);
        }
    }
}
