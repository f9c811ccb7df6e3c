//! What is asked of a request before wasmtime sends it.

use http::{Method, uri::PathAndQuery};
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::{
    WasiHttp, WasiHttpView,
    p3::bindings::http::{
        client::HostWithStore,
        types::{ErrorCode, Request, Response},
    },
};

use crate::state::State;

/// Puts the path `/` into requests that have none, which wasmtime refuses. `linker` must allow shadowing.
pub(super) fn complete(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Sent = (Result<Resource<Response>, ErrorCode>,);
    linker.instance("wasi:http/client@0.3.0")?.func_wrap_concurrent(
        "send",
        |accessor: &Accessor<State>, (request,): (Resource<Request>,)| {
            Box::pin(async move {
                accessor.with(|mut store| -> wasmtime::Result<()> {
                    let request = store.get().table.get_mut(&request)?;
                    let root = if request.method == Method::OPTIONS { "*" } else { "/" };
                    request.path_with_query.get_or_insert_with(|| PathAndQuery::from_static(root));
                    Ok(())
                })?;
                let http = accessor.with_getter::<WasiHttp>(<State as WasiHttpView>::http);
                match <WasiHttp as HostWithStore<State>>::send(&http, request).await {
                    Ok(response) => Ok::<Sent, _>((Ok(response),)),
                    Err(error) => Ok((Err(error.downcast()?),)),
                }
            })
        },
    )
}
