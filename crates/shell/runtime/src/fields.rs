//! What headers hold on the host.
//!
//! wasmtime bounds each `fields`, but an instance may hold thousands, and nobody counts them as the guest's memory. [`bound`] and
//! [`bound_late`] put a count in front of the functions that make them larger, or give heads of responses: an addition, until an
//! instance has added [`ADDED_BYTES_MAX`]. Only then are its resources looked through, and what they really hold is counted for
//! the whole guest.
//!
//! A `fields` shares its contents with those it was cloned from until either changes. Each counts in full, because any change of one
//! copies them all, that which deletes a header included.

use std::{any::Any, sync::Arc};

use http::HeaderMap;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{
    FieldMap, WasiHttpView, p2::bindings::http::types as early, p3::bindings::http::types as late,
};

use crate::{slot::Slot, state::State};

/// Most that the headers of one guest hold on the host, beside [`ADDED_BYTES_MAX`] for each instance.
const BYTES_MAX: usize = 64 << 20;

/// What an instance may add before its resources are looked through: some 800 headers.
const ADDED_BYTES_MAX: usize = 256 << 10;

/// What one `fields` may have, as wasmtime counts: more than a head that the gateway takes.
pub(crate) const FIELDS_BYTES_MAX: usize = 128 << 10;

/// What each header takes beside its text. A map's tables have up to 109 bytes for a name and 72 for a further value, and may be
/// twice as large as they need to be.
const PLACE_BYTES: usize = 256;

/// Headers up to which a map may lose some and stay as large as it was.
const LOOSE_MAX: usize = 16;

/// The most that trailers hold: nothing tells whether a body has some already.
const TRAILERS_BYTES_MAX: usize = 16 << 10;

type Cx<'a> = StoreContextMut<'a, State>;

/// What is known of the headers that an instance holds.
#[derive(Default)]
pub(crate) struct Fields {
    /// Added since its resources were looked through.
    added: usize,
    /// What they held then. None have been looked through where there is none.
    counted: Option<Slot>,
}

/// The guest holds too many headers.
#[derive(Debug, thiserror::Error)]
#[error("the pod's headers hold more than {BYTES_MAX} bytes")]
struct TooMany;

/// What `map` holds, at most.
fn bytes(map: &HeaderMap) -> usize {
    let names: usize = map.keys().map(|it| it.as_str().len()).sum();
    let values: usize = map.values().map(|it| it.len()).sum();
    PLACE_BYTES * map.capacity().max(map.len()) + names + values
}

/// What the headers of a resource hold, and the trailers of what has a body.
fn held(resource: &(dyn Any + Send)) -> usize {
    let with_trailers = |headers: &FieldMap, has_body| bytes(headers) + if has_body { TRAILERS_BYTES_MAX } else { 0 };
    if let Some(fields) = resource.downcast_ref::<FieldMap>() {
        bytes(fields)
    } else if let Some(it) = resource.downcast_ref::<early::OutgoingRequest>() {
        with_trailers(&it.headers, it.body.is_some())
    } else if let Some(it) = resource.downcast_ref::<early::OutgoingResponse>() {
        with_trailers(&it.headers, it.body.is_some())
    } else if let Some(it) = resource.downcast_ref::<early::IncomingResponse>() {
        bytes(&it.headers)
    } else if let Some(it) = resource.downcast_ref::<late::Request>() {
        bytes(&it.headers)
    } else if let Some(it) = resource.downcast_ref::<late::Response>() {
        bytes(&it.headers)
    } else {
        0
    }
}

impl State {
    /// Counts `bytes` that its headers are about to gain, if they may.
    fn may_add(&mut self, bytes: usize) -> bool {
        let added = self.fields.added + bytes;
        if added > ADDED_BYTES_MAX {
            return self.count_fields(bytes);
        }
        self.fields.added = added;
        true
    }

    /// Counts what its headers really hold and `more`, unless that is too much.
    fn count_fields(&mut self, more: usize) -> bool {
        let held: usize = self.table.iter_mut().map(|it| held(it)).sum();
        let all = Arc::clone(&self.guest().fields);
        let is_counted = self.fields.counted.get_or_insert_with(|| Slot::none(all)).change(held + more, BYTES_MAX);
        if is_counted {
            self.fields.added = 0;
        }
        is_counted
    }

    /// Gives back what an earlier request's headers held that are gone.
    pub(crate) fn settle_fields(&mut self) {
        if self.fields.counted.is_some() {
            self.count_fields(0);
        }
    }

    fn fields_len(&self, fields: u32) -> wasmtime::Result<usize> {
        Ok(self.table.get(&Resource::<FieldMap>::new_borrow(fields))?.len())
    }

    /// Makes anew what had `before` headers and has fewer: maps keep the room of those that they lose.
    fn tighten(&mut self, fields: u32, before: usize) -> wasmtime::Result<()> {
        let map = self.table.get_mut(&Resource::<FieldMap>::new_borrow(fields))?;
        if before <= LOOSE_MAX || map.len() >= before {
            return Ok(());
        }
        let mut tight = FieldMap::new_mutable(FIELDS_BYTES_MAX);
        if map.iter().all(|(name, value)| tight.append_raw(name.clone(), value.clone()).is_ok()) {
            *map = tight;
        }
        Ok(())
    }
}

/// What a call returns whose errors are `E`.
type Answer<T, E> = wasmtime::Result<(Result<T, E>,)>;

/// WASI 0.2 has no error for it, and wasmtime traps as well where a `fields` is full.
fn refused<T>() -> Answer<T, early::HeaderError> {
    Err(TooMany.into())
}

fn refused_late<T>() -> Answer<T, late::HeaderError> {
    Ok((Err(late::HeaderError::SizeExceeded),))
}

macro_rules! answer {
    ($result:expr) => {
        match $result {
            Ok(done) => Ok((Ok(done),)),
            Err(error) => Ok((Err(error.downcast()?),)),
        }
    };
}

/// Puts the count in front of the functions that make `fields` larger, or may copy them.
macro_rules! bound_fields {
    ($types:ident, $bindings:ident, $refused:ident) => {
        $types.func_wrap("[static]fields.from-list", |mut cx: Cx<'_>, (list,): (Vec<(String, Vec<u8>)>,)| {
            let state = cx.data_mut();
            let bytes = list.iter().map(|(name, value)| PLACE_BYTES + name.len() + value.len()).sum();
            if !state.may_add(bytes) {
                return $refused();
            }
            answer!($bindings::HostFields::from_list(&mut state.http(), list))
        })?;
        $types.func_wrap(
            "[method]fields.append",
            |mut cx: Cx<'_>, (fields, name, value): (Resource<FieldMap>, String, Vec<u8>)| {
                let state = cx.data_mut();
                if !state.may_add(PLACE_BYTES + name.len() + value.len()) {
                    return $refused();
                }
                answer!($bindings::HostFields::append(&mut state.http(), fields, name, value))
            },
        )?;
        $types.func_wrap(
            "[method]fields.set",
            |mut cx: Cx<'_>, (fields, name, values): (Resource<FieldMap>, String, Vec<Vec<u8>>)| {
                let state = cx.data_mut();
                let bytes: usize = values.iter().map(|it| PLACE_BYTES + it.len()).sum();
                if !state.may_add(bytes + name.len()) {
                    return $refused();
                }
                let (at, before) = (fields.rep(), state.fields_len(fields.rep())?);
                let done = $bindings::HostFields::set(&mut state.http(), fields, name, values);
                state.tighten(at, before)?;
                answer!(done)
            },
        )?;
        $types.func_wrap(
            "[method]fields.delete",
            |mut cx: Cx<'_>, (fields, name): (Resource<FieldMap>, String)| -> Answer<(), $bindings::HeaderError> {
                let state = cx.data_mut();
                let (at, before) = (fields.rep(), state.fields_len(fields.rep())?);
                let done = $bindings::HostFields::delete(&mut state.http(), fields, name);
                state.tighten(at, before)?;
                answer!(done)
            },
        )?;
        $types.func_wrap("[method]fields.clone", |mut cx: Cx<'_>, (fields,): (Resource<FieldMap>,)| {
            let state = cx.data_mut();
            let bytes = bytes(state.table.get(&fields)?);
            if !state.may_add(bytes) {
                return Err(TooMany.into());
            }
            Ok(($bindings::HostFields::clone(&mut state.http(), fields)?,))
        })?;
    };
}

/// Bounds what headers of WASI 0.2 hold whose functions are in `linker`, which must allow shadowing.
pub(crate) fn bound(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Finished = (Resource<early::OutgoingBody>, Option<Resource<FieldMap>>);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    bound_fields!(types, early, refused);
    types.func_wrap(
        "[method]future-incoming-response.get",
        |mut cx: Cx<'_>, (future,): (Resource<early::FutureIncomingResponse>,)| {
            let state = cx.data_mut();
            let head = match state.table.get(&future)? {
                early::FutureIncomingResponse::Ready(Ok((response, _))) => bytes(response.headers()),
                _ => 0,
            };
            if !state.may_add(head) {
                let code = early::ErrorCode::HttpResponseHeaderSectionSize(u32::try_from(head).ok());
                return Ok((Some(Ok(Err(code))),));
            }
            Ok((early::HostFutureIncomingResponse::get(&mut state.http(), future)?,))
        },
    )?;
    types.func_wrap("[static]outgoing-body.finish", |mut cx: Cx<'_>, (body, trailers): Finished| {
        let state = cx.data_mut();
        let held = match &trailers {
            Some(it) => bytes(state.table.get(it)?),
            None => 0,
        };
        if held > TRAILERS_BYTES_MAX {
            early::HostOutgoingBody::drop(&mut state.http(), body)?;
            if let Some(trailers) = trailers {
                early::HostFields::drop(&mut state.http(), trailers)?;
            }
            return Ok((Err(early::ErrorCode::HttpRequestTrailerSectionSize(u32::try_from(held).ok())),));
        }
        answer!(early::HostOutgoingBody::finish(&mut state.http(), body, trailers))
    })
}

/// Does so for WASI 0.3.
pub(crate) fn bound_late(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Deleted = Answer<Vec<Vec<u8>>, late::HeaderError>;
    let mut types = linker.instance("wasi:http/types@0.3.0")?;
    bound_fields!(types, late, refused_late);
    types.func_wrap(
        "[method]fields.get-and-delete",
        |mut cx: Cx<'_>, (fields, name): (Resource<FieldMap>, String)| -> Deleted {
            let state = cx.data_mut();
            let (at, before) = (fields.rep(), state.fields_len(fields.rep())?);
            let done = late::HostFields::get_and_delete(&mut state.http(), fields, name);
            state.tighten(at, before)?;
            answer!(done)
        },
    )?;
    // They stay when the response is gone, and with it what bounds how many there are.
    types.func_wrap("[method]response.get-headers", |mut cx: Cx<'_>, (response,): (Resource<late::Response>,)| {
        let state = cx.data_mut();
        let head = bytes(&state.table.get(&response)?.headers);
        if !state.may_add(head) {
            return Err(TooMany.into());
        }
        Ok((late::HostResponse::get_headers(&mut state.http(), response)?,))
    })
}
