//! What a guest says of a body that it was done with, which the host keeps for whoever gave it the body.
//!
//! That is an error code, some of which have words in them. A guest that gives bodies to itself may have thousands of them kept,
//! so but for those of the first few bodies long words go no further than here. Start at [`shorten`].

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;
use wasmtime::{
    StoreContextMut,
    component::{Access, FutureConsumer, FutureReader, Linker, Resource, Source, StreamReader},
};
use wasmtime_wasi_http::{
    WasiHttp, WasiHttpView,
    p3::bindings::http::types::{ErrorCode, HostRequestWithStore, HostResponseWithStore, Request, Response, Trailers},
};

use crate::state::State;

/// Most bytes of an error code in words.
const BYTES_MAX: usize = 1024;

/// So many bodies a guest takes before what it says of them is looked at, which costs some microseconds: most requests have one.
const FREE_MAX: u32 = 4;

type Cx<'a> = StoreContextMut<'a, State>;
type Said = Result<(), ErrorCode>;
type Taken = (StreamReader<u8>, FutureReader<Result<Option<Resource<Trailers>>, ErrorCode>>);

/// Puts itself in front of the functions already in `linker`, which must allow shadowing.
pub(super) fn shorten(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:http/types@0.3.0")?;
    types.func_wrap(
        "[static]request.consume-body",
        |mut cx: Cx<'_>, (request, said): (Resource<Request>, FutureReader<Said>)| -> wasmtime::Result<(Taken,)> {
            let said = shortened(&mut cx, said)?;
            let http = Access::<State, WasiHttp>::new(cx, <State as WasiHttpView>::http);
            Ok((<WasiHttp as HostRequestWithStore<State>>::consume_body(http, request, said)?,))
        },
    )?;
    types.func_wrap(
        "[static]response.consume-body",
        |mut cx: Cx<'_>, (response, said): (Resource<Response>, FutureReader<Said>)| -> wasmtime::Result<(Taken,)> {
            let said = shortened(&mut cx, said)?;
            let http = Access::<State, WasiHttp>::new(cx, <State as WasiHttpView>::http);
            Ok((<WasiHttp as HostResponseWithStore<State>>::consume_body(http, response, said)?,))
        },
    )
}

/// What `said` will give, shortened if it is one of many.
fn shortened(cx: &mut Cx<'_>, said: FutureReader<Said>) -> wasmtime::Result<FutureReader<Said>> {
    let taken = &mut cx.data_mut().bodies_taken;
    *taken = taken.saturating_add(1);
    if *taken <= FREE_MAX {
        return Ok(said);
    }
    let (tell, told) = oneshot::channel();
    said.pipe(&mut *cx, Listener(Some(tell)))?;
    // Who says nothing has nothing to complain of.
    FutureReader::new(&mut *cx, async move { wasmtime::error::Ok(told.await.unwrap_or(Ok(()))) })
}

struct Listener(Option<oneshot::Sender<Said>>);

impl FutureConsumer<State> for Listener {
    type Item = Said;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        cx: Cx<'_>,
        mut source: Source<'_, Said>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut said = None;
        source.read(cx, &mut said)?;
        if let (Some(tell), Some(said)) = (self.0.take(), said) {
            // Nobody may want to know any more.
            let _ = tell.send(said.map_err(short));
        }
        Poll::Ready(Ok(()))
    }
}

fn short(code: ErrorCode) -> ErrorCode {
    if format!("{code:?}").len() <= BYTES_MAX { code } else { ErrorCode::InternalError(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stays_unless_it_has_long_words() {
        let words = |bytes| ErrorCode::InternalError(Some("a".repeat(bytes)));
        assert!(matches!(short(words(100)), ErrorCode::InternalError(Some(it)) if it.len() == 100));
        assert!(matches!(short(words(BYTES_MAX)), ErrorCode::InternalError(None)));
        assert!(matches!(short(ErrorCode::HttpProtocolError), ErrorCode::HttpProtocolError));
    }
}
