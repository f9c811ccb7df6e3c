//! One request to a service of WASI 0.3, in one instance.
//!
//! Start at [`answer`], which [`crate::call`] polls as it polls a call of WASI 0.2. Such a guest returns its response first and
//! writes the body after, so that its instance lives until the body was taken and nothing in it runs any more. A service of WASI
//! 0.2 that imports something of 0.3 has written its body when it returns, as ever.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use eyot_dispatch::Body;
use http::{
    Request, Uri, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmtime::component::Accessor;
use wasmtime_wasi_http::{
    Error, WasiBody, WasiHttpView,
    p3::{self, bindings::Service},
};

use super::looping;
use crate::{
    HttpGuest,
    call::{self, Ended, Head, IncomingBody, incoming},
    reuse::{Export, Instance},
    state::State,
    trap::told,
};

/// The guest's side: instantiate if there is no instance, call, tell the response, and once nobody needs it let everything go
/// that is not to be reused.
pub(crate) async fn answer(
    guest: Arc<HttpGuest>,
    kept: Option<Instance>,
    request: Request<Body>,
    tell: oneshot::Sender<Head>,
) -> Ended {
    let mut instance = match kept {
        Some(kept) => kept,
        None => Instance::new(&guest.code, &guest.guest).await?,
    };
    instance.begin().await;
    let lent = instance.lend();
    let store = &mut instance.store;
    let service = match &instance.export {
        Export::Service(service) => service,
        Export::Proxy(proxy) => {
            looping(call::handle(proxy, store, lent, request, tell)).await?;
            return Ok(instance.rest());
        }
    };
    let request = absolute(request, lent);
    // The second is what the guest says of the request once it is done with it, which nobody asked.
    let (request, _) = p3::Request::from_http(store.data_mut().http().hooks, request);
    looping(store.run_concurrent(async |accessor| converse(accessor, service, request, tell).await)).await??;
    Ok(instance.rest())
}

async fn converse(
    accessor: &Accessor<State>,
    service: &Service,
    request: p3::Request,
    tell: oneshot::Sender<Head>,
) -> wasmtime::Result<()> {
    let taken = CancellationToken::new();
    let head = match service.handle(accessor, request).await? {
        Ok(response) => {
            let (whole, is_whole) = oneshot::channel();
            let sent = async move { is_whole.await.map_err(|_| Error::ConnectionTerminated) };
            let response = accessor.with(|store| response.into_http(store, sent))?;
            let ending = Ending { whole, _over: taken.clone().drop_guard() };
            Ok(response.map(|body| Watched::new(body, ending).boxed_unsync()))
        }
        Err(code) => {
            taken.cancel();
            Err(told(&format!("{code:?}")))
        }
    };
    // When nobody waits any more the body goes with the response, and this call with whoever polls it.
    let _ = tell.send(head);
    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
    taken.cancelled().await;
    Ok(())
}

/// The request with a URI that says all that a guest can ask about.
fn absolute(request: Request<Body>, lent: Option<Arc<()>>) -> Request<IncomingBody> {
    let (scheme, mut request) = incoming(request, lent);
    let mut parts = request.uri().clone().into_parts();
    let https = matches!(scheme, wasmtime_wasi_http::p2::bindings::http::types::Scheme::Https);
    parts.scheme.get_or_insert(if https { Scheme::HTTPS } else { Scheme::HTTP });
    if parts.authority.is_none() {
        let host = request.headers().get(header::HOST).and_then(|it| Authority::try_from(it.as_bytes()).ok());
        parts.authority = Some(host.unwrap_or_else(|| Authority::from_static("localhost")));
    }
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// Who learns of a body's end.
struct Ending {
    /// The guest, when all of it was taken.
    whole: oneshot::Sender<()>,
    /// The call, in any case.
    _over: DropGuard,
}

/// A body that tells when it was taken.
struct Watched {
    body: WasiBody,
    /// Bytes that are still to come, where the guest announced them.
    left: Option<u64>,
    ending: Option<Ending>,
}

impl Watched {
    fn new(body: WasiBody, ending: Ending) -> Watched {
        Watched { left: body.size_hint().exact(), body, ending: Some(ending) }
    }

    fn end(&mut self) {
        if let Some(Ending { whole, _over }) = self.ending.take() {
            // The guest may have ended.
            let _ = whole.send(());
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |it| it.len() as u64);
                self.left = self.left.map(|it| it.saturating_sub(bytes));
            }
            Some(Err(_)) => self.ending = None,
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ending.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Whoever knows the length does not ask for the end.
        if self.left == Some(0) {
            self.end();
        }
    }
}
