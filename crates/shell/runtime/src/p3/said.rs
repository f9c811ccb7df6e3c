//! What a guest says of a body that it was done with, which the host keeps for whoever gave it the body, and in place of the
//! trailers of one that it gives, which the host keeps until the body was taken.
//!
//! That is an error code, some of which have words in them. A guest that gives bodies to itself, or sends many requests, may have
//! thousands of them kept, so but for those of the first few bodies long words go no further than here. Start at [`shorten`].

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;
use wasmtime::{
    StoreContextMut,
    component::{Access, FutureConsumer, FutureReader, Lift, Linker, Lower, Resource, Source, StreamReader},
};
use wasmtime_wasi_http::{
    WasiHttp, WasiHttpView,
    p3::bindings::http::types::{
        ErrorCode, Fields, HostRequestWithStore, HostResponseWithStore, Request, RequestOptions, Response, Trailers,
    },
};

use crate::state::State;

/// Most bytes of an error code in words.
const BYTES_MAX: usize = 1024;

/// So many bodies a guest takes, and as many it gives, before what it says of them is looked at, which costs some microseconds: most
/// requests have one.
const FREE_MAX: u32 = 4;

type Cx<'a> = StoreContextMut<'a, State>;
type Said = Result<(), ErrorCode>;
type Ending = Result<Option<Resource<Trailers>>, ErrorCode>;
type Taken = (StreamReader<u8>, FutureReader<Ending>);
type Contents = Option<StreamReader<u8>>;

/// Puts itself in front of the functions already in `linker`, which must allow shadowing.
pub(super) fn shorten(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:http/types@0.3.0")?;
    types.func_wrap(
        "[static]request.consume-body",
        |mut cx: Cx<'_>, (request, said): (Resource<Request>, FutureReader<Said>)| -> wasmtime::Result<(Taken,)> {
            let said = of_taken(&mut cx, said)?;
            let http = Access::<State, WasiHttp>::new(cx, <State as WasiHttpView>::http);
            Ok((<WasiHttp as HostRequestWithStore<State>>::consume_body(http, request, said)?,))
        },
    )?;
    types.func_wrap(
        "[static]response.consume-body",
        |mut cx: Cx<'_>, (response, said): (Resource<Response>, FutureReader<Said>)| -> wasmtime::Result<(Taken,)> {
            let said = of_taken(&mut cx, said)?;
            let http = Access::<State, WasiHttp>::new(cx, <State as WasiHttpView>::http);
            Ok((<WasiHttp as HostResponseWithStore<State>>::consume_body(http, response, said)?,))
        },
    )?;
    types.func_wrap(
        "[static]request.new",
        |mut cx: Cx<'_>,
         (headers, contents, ending, options): (
            Resource<Fields>,
            Contents,
            FutureReader<Ending>,
            Option<Resource<RequestOptions>>,
        )|
         -> wasmtime::Result<((Resource<Request>, FutureReader<Said>),)> {
            let ending = of_given(&mut cx, ending)?;
            let http = Access::<State, WasiHttp>::new(cx, <State as WasiHttpView>::http);
            Ok((<WasiHttp as HostRequestWithStore<State>>::new(http, headers, contents, ending, options)?,))
        },
    )?;
    types.func_wrap(
        "[static]response.new",
        |mut cx: Cx<'_>,
         (headers, contents, ending): (Resource<Fields>, Contents, FutureReader<Ending>)|
         -> wasmtime::Result<((Resource<Response>, FutureReader<Said>),)> {
            let ending = of_given(&mut cx, ending)?;
            let http = Access::<State, WasiHttp>::new(cx, <State as WasiHttpView>::http);
            Ok((<WasiHttp as HostResponseWithStore<State>>::new(http, headers, contents, ending)?,))
        },
    )
}

/// What a guest says of a body that it takes, shortened if it is one of many.
fn of_taken(cx: &mut Cx<'_>, said: FutureReader<Said>) -> wasmtime::Result<FutureReader<Said>> {
    let taken = &mut cx.data_mut().bodies_taken;
    *taken = taken.saturating_add(1);
    if *taken <= FREE_MAX { Ok(said) } else { shortened(cx, said) }
}

/// What a guest says at the end of a body that it gives, shortened if it is one of many.
fn of_given(cx: &mut Cx<'_>, ending: FutureReader<Ending>) -> wasmtime::Result<FutureReader<Ending>> {
    let given = &mut cx.data_mut().bodies_given;
    *given = given.saturating_add(1);
    if *given <= FREE_MAX { Ok(ending) } else { shortened(cx, ending) }
}

/// What `said` will give, with short words.
fn shortened<T>(
    cx: &mut Cx<'_>,
    said: FutureReader<Result<T, ErrorCode>>,
) -> wasmtime::Result<FutureReader<Result<T, ErrorCode>>>
where
    T: Default + Send + Sync + 'static,
    Result<T, ErrorCode>: Lift + Lower,
{
    let (tell, told) = oneshot::channel();
    said.pipe(&mut *cx, Listener(Some(tell)))?;
    // Who says nothing has nothing to complain of.
    FutureReader::new(&mut *cx, async move { wasmtime::error::Ok(told.await.unwrap_or(Ok(T::default()))) })
}

struct Listener<T>(Option<oneshot::Sender<Result<T, ErrorCode>>>);

impl<T> FutureConsumer<State> for Listener<T>
where
    T: Send + 'static,
    Result<T, ErrorCode>: Lift,
{
    type Item = Result<T, ErrorCode>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        cx: Cx<'_>,
        mut source: Source<'_, Result<T, ErrorCode>>,
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
