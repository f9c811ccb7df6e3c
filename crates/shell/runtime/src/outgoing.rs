//! A guest's outgoing `wasi:http` requests: out through [`eyot_dispatch::Outbound`], streaming both ways.

use std::{
    future::Future,
    sync::{Arc, LazyLock},
    time::Duration,
};

use eyot_dispatch::{BoxError, CallError};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use crate::guest::Guest;

/// How long a guest that sets no timeout waits for a response to begin.
const FIRST_BYTE: Duration = Duration::from_secs(600);

/// What wasmtime-wasi-http asks the host.
pub(crate) struct Hooks {
    pub(crate) guest: Arc<Guest>,
}

type Work = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Work), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        static FILTER: LazyLock<ForbiddenHeaderFilter> =
            LazyLock::new(|| Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name)));
        FILTER.clone()
    }

    fn send_request(&mut self, request: http::Request<WasiBody>, options: Option<RequestOptions>, _: Work) -> Sent {
        let guest = Arc::clone(&self.guest);
        Box::new(async move {
            let limit = options.and_then(|it| it.first_byte_timeout).unwrap_or(FIRST_BYTE);
            let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
            let sending = Arc::clone(&guest.outbound).send(guest.caller.clone(), request);
            let response = match tokio::time::timeout(limit, sending).await {
                Ok(sent) => sent.map_err(explain)?,
                Err(_) => return Err(Error::HttpResponseTimeout),
            };
            let response = response.map(|body| body.map_err(broken).boxed_unsync());
            Ok((response, Box::new(std::future::ready(Ok(()))) as Work))
        })
    }
}

/// The `wasi:http` error code for a request that got no response.
fn explain(error: CallError) -> Error {
    match error {
        CallError::Overloaded(_) => Error::ConnectionLimitReached,
        CallError::Draining => Error::DestinationUnavailable,
        CallError::Connect(_) => Error::ConnectionRefused,
        CallError::Deadline => Error::HttpResponseTimeout,
        CallError::Guest(why) | CallError::Broken(why) => Error::InternalError(Some(why)),
        CallError::OutOfMemory => Error::InternalError(Some("the called guest is out of memory".into())),
    }
}

/// A body of either direction that ended early.
pub(crate) fn broken(error: BoxError) -> Error {
    Error::InternalError(Some(error.to_string()))
}
