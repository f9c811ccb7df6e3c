//! What a guest may write into a request that it has not sent.
//!
//! wasmtime bounds headers and paths. Methods and authorities of any length are the host's until the request is gone, of which a
//! guest may have thousands.

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{WasiHttpView, p2::bindings::http::types as early, p3::bindings::http::types as late};

use crate::state::State;

/// The longest method. Those that are registered have 17 bytes.
const METHOD_BYTES_MAX: usize = 64;

/// The longest authority: a name has 253 bytes, and what is not a name goes nowhere.
const AUTHORITY_BYTES_MAX: usize = 1024;

type Cx<'a> = StoreContextMut<'a, State>;
type Answer = wasmtime::Result<(Result<(), ()>,)>;

fn is_long(authority: Option<&String>) -> bool {
    authority.is_some_and(|it| it.len() > AUTHORITY_BYTES_MAX)
}

/// Puts the bounds in front of the functions of WASI 0.2 already in `linker`.
pub(crate) fn bound(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use early::{HostOutgoingRequest, Method, OutgoingRequest};
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut cx: Cx<'_>, (request, method): (Resource<OutgoingRequest>, Method)| -> Answer {
            if matches!(&method, Method::Other(it) if it.len() > METHOD_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((cx.data_mut().http().set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut cx: Cx<'_>, (request, authority): (Resource<OutgoingRequest>, Option<String>)| -> Answer {
            if is_long(authority.as_ref()) {
                return Ok((Err(()),));
            }
            Ok((cx.data_mut().http().set_authority(request, authority)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Puts them in front of those of WASI 0.3, in a `linker` that must allow shadowing.
pub(crate) fn bound_late(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use late::{HostRequest, Method, Request};
    let mut types = linker.instance("wasi:http/types@0.3.0")?;
    types.func_wrap(
        "[method]request.set-method",
        |mut cx: Cx<'_>, (request, method): (Resource<Request>, Method)| -> Answer {
            if matches!(&method, Method::Other(it) if it.len() > METHOD_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((HostRequest::set_method(&mut cx.data_mut().http(), request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-authority",
        |mut cx: Cx<'_>, (request, authority): (Resource<Request>, Option<String>)| -> Answer {
            if is_long(authority.as_ref()) {
                return Ok((Err(()),));
            }
            Ok((HostRequest::set_authority(&mut cx.data_mut().http(), request, authority)?,))
        },
    )
}
