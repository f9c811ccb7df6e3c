//! The way of a request: path, identity, kind, verb. Entry point: [`handle`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use eyot_model::{kinds::Kind, rbac, status::ApiError};
use http::{Method, Request, Response, header};

use crate::{
    ApiServer, Body, Identity, access,
    body::{self, CollectError},
    call::Call,
    definitions::{self, conversion::Converted},
    discovery::{self, Ask},
    flow, inert, metrics,
    request::{
        accept::{self, Form},
        path::{self, Path, Resource},
        query::Query,
    },
    respond, review,
    serve::Closing,
    shape::Shape,
    subresource, token,
    verbs::{
        create, delete, list,
        update::{self, Aspect},
        watch,
    },
};

/// Largest request body in bytes: Kubernetes' own limit.
const BODY_MAX: usize = 3 << 20;
/// A client that has not sent its body by then is given up: Kubernetes' limit for a whole request.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// Answers a request; `identity` is `None` when the connection does not say whose it is: a token may.
pub(crate) async fn handle(
    server: ApiServer,
    identity: Option<Arc<Identity>>,
    request: Request<Body>,
) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let parsed = path::parse(&path);
    let shape = Shape::of(&request, parsed.as_ref());
    let response = match route(server, identity, parsed, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%method, path, code = error.code, error = error.message, "API request");
            respond::error(&error)
        }
    };
    shape.apply(response)
}

async fn route(
    server: ApiServer,
    identity: Option<Arc<Identity>>,
    path: Option<Path>,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    if let Some(path) = path.as_ref().filter(|it| discovery::is_public(it)) {
        return discovery::answer(&server.kinds(), path, &Ask::new(&server, &request));
    }
    let identity = access::identify(&server.0, identity, request.headers_mut())?;
    // Only what came over a connection queues up: parts of this process must not wait for their own clients.
    let networked = request.extensions().get::<Closing>().is_some();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let pass = flow::gate(&server.0, &identity, networked, &method, &uri, path.as_ref()).await?;
    let mut answered = answer(server, identity, path, request).await;
    if let (Some(pass), Ok(response)) = (&pass, &mut answered) {
        pass.mark(response);
    }
    answered
}

/// Answers a request of somebody known, whose turn it is.
async fn answer(
    server: ApiServer,
    identity: Arc<Identity>,
    path: Option<Path>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let path = match path {
        Some(Path::Resource(resource)) => return objects(server, identity, resource, request).await,
        path => path,
    };
    // Whether there is such a path is told to those who may ask for it.
    let verb = request.method().as_str().to_lowercase();
    access::authorize(&server.0, &identity, &rbac::Ask::Path { verb: &verb, path: request.uri().path() })?;
    match path.ok_or_else(ApiError::no_such_path)? {
        Path::OpenIdConfiguration => Ok(token::openid::configuration()),
        Path::OpenIdKeys => token::openid::keys(&server.0),
        Path::Metrics if verb == "get" => Ok(metrics::expose::answer(&server.0)),
        path => {
            let ask = Ask::new(&server, &request);
            // Making a schema takes milliseconds of computing, which must not hold up other requests.
            let answer = move || discovery::answer(&server.kinds(), &path, &ask);
            tokio::task::spawn_blocking(answer).await.unwrap_or_else(|it| Err(ApiError::internal(it)))
        }
    }
}

/// Answers a request about objects.
async fn objects(
    server: ApiServer,
    identity: Arc<Identity>,
    path: Resource,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    // What follows a proxy is the business of what is behind it.
    let proxied = path.subresource.as_deref() == Some("proxy");
    let mut query = match proxied {
        true => Query::default(),
        false => Query::parse(request.uri().query(), request.method())?,
    };
    query.watch |= path.watch;
    let verb = verb(request.method(), &path, &query);
    access::authorize_objects(&server.0, &identity, &path, verb, &query)?;
    let kinds = server.kinds();
    let kind = kinds.by_plural(&path.group, &path.version, &path.plural).ok_or_else(ApiError::no_such_path)?;
    if path.namespace.is_some() != kind.namespaced && (path.namespace.is_some() || path.name.is_some()) {
        return Err(ApiError::no_such_path());
    }
    if kind.namespaced && path.namespace.is_none() && !matches!(verb, "list" | "watch") {
        return Err(discovery::not_allowed(request.method()));
    }
    let mut call = Call {
        form: form(&request, &path, &query, kind)?,
        headers: request.headers().clone(),
        closing: request.extensions().get::<Closing>().cloned(),
        namespace: path.namespace.clone(),
        kind: kind.clone(),
        subresource: path.subresource.clone().unwrap_or_default(),
        converted: Converted::default(),
        warnings: inert::warnings(kind, verb, path.subresource.as_deref()),
        verb,
        server,
        identity,
        query,
    };
    definitions::warn(&mut call);
    let settle = access::settles(&call).then(|| path.name.clone().unwrap_or_default());
    let mut response = match (&path.name, &path.subresource) {
        _ if kind.is_measured() => measure(&mut call, &path, verb).await,
        (Some(name), Some(_)) => subresource::answer(&mut call, name, &path, request).await,
        _ => dispatch(&mut call, path, verb, request).await,
    }?;
    if let Some(name) = settle {
        access::settle(&call, &name).await;
    }
    call.warnings.iter().for_each(|it| respond::warn(&mut response, it));
    Ok(response)
}

/// Subresources that stream bytes take any `Accept`; everything else must be something that can be given.
fn form(request: &Request<Body>, path: &Resource, query: &Query, kind: &Kind) -> Result<Form, ApiError> {
    match path.subresource.as_deref() {
        Some("log" | "exec" | "attach" | "portforward" | "proxy") => Ok(Form::Object),
        _ => match accept::form(request.headers(), query.watch)? {
            // What is only asked has no metadata to show.
            Form::Table(_) | Form::Partial(_) if kind.create_only() => {
                Err(ApiError::not_acceptable(&["application/json"]))
            }
            form => Ok(form),
        },
    }
}

async fn measure(call: &mut Call, path: &Resource, verb: &str) -> Result<Response<Body>, ApiError> {
    match verb {
        "get" | "list" => metrics::answer(take(call), path.name.as_deref(), path.subresource.as_deref()).await,
        _ => Err(ApiError::method_not_supported(&call.kind, verb)),
    }
}

async fn dispatch(
    call: &mut Call,
    path: Resource,
    verb: &'static str,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    if !call.kind.allows(verb) {
        return Err(ApiError::method_not_supported(&call.kind, verb));
    }
    match (verb, path.name.as_deref()) {
        ("get", Some(name)) => list::get(call, name).await,
        ("list", _) => list::list(take(call)).await,
        ("watch", name) => {
            if let Some(name) = name {
                narrow(&mut call.query, name);
            }
            watch::watch(take(call)).await
        }
        ("create", None) if call.kind.create_only() => review::answer(call, read_body(request).await?).await,
        ("create", None) => create::create(call, read_body(request).await?).await,
        ("update", Some(name)) => update::put(call, name, Aspect::Whole, read_body(request).await?).await,
        ("patch", Some(name)) => update::patch(call, name, Aspect::Whole, read_body(request).await?).await,
        ("delete", Some(name)) => delete::delete(call, name, read_body(request).await?).await,
        ("deletecollection", None) => delete::delete_collection(call, read_body(request).await?).await,
        _ => Err(discovery::not_allowed(request.method())),
    }
}

/// A call of its own for an answer that outlives the request.
fn take(call: &mut Call) -> Call {
    Call {
        server: call.server.clone(),
        identity: call.identity.clone(),
        kind: call.kind.clone(),
        verb: call.verb,
        subresource: std::mem::take(&mut call.subresource),
        namespace: call.namespace.take(),
        query: std::mem::take(&mut call.query),
        form: call.form,
        headers: http::HeaderMap::new(),
        closing: call.closing.take(),
        warnings: Vec::new(),
        converted: call.converted.clone(),
    }
}

/// Watching one object is watching the collection for its name.
fn narrow(query: &mut Query, name: &str) {
    let separator = if query.field_selector.is_empty() { "" } else { "," };
    query.field_selector += &format!("{separator}metadata.name={name}");
}

fn verb(method: &Method, path: &Resource, query: &Query) -> &'static str {
    let named = path.name.is_some();
    match *method {
        Method::GET if query.watch && path.subresource.is_none() => "watch",
        Method::HEAD if path.subresource.as_deref() == Some("proxy") => "get",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "",
    }
}

/// Reads a request's body within the limits of size and time.
pub(crate) async fn read_body(request: Request<Body>) -> Result<Bytes, ApiError> {
    // Kubernetes takes no compressed bodies either; saying so is kinder than calling the bytes malformed.
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING).filter(|it| *it != "identity") {
        let encoding = encoding.to_str().unwrap_or("unknown");
        let mut error = ApiError::unsupported_media_type(&[]);
        error.message = format!("the body of the request is compressed ({encoding}), which is not supported");
        return Err(error);
    }
    let read = tokio::time::timeout(BODY_TIME_MAX, body::collect(request.into_body(), BODY_MAX)).await;
    let read = read.map_err(|_| ApiError::timeout("the body of the request did not arrive in time", 1))?;
    read.map_err(|error| match error {
        CollectError::TooLarge(limit) => ApiError::too_large(limit),
        CollectError::Broken(_) => ApiError::bad_request(error.to_string()),
    })
}
