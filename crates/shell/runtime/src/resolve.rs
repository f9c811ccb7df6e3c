//! `wasi:sockets/ip-name-lookup` of WASI 0.2: names as [`crate::lookup`] finds them. WASI 0.3 has its own in [`crate::p3`].

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    vec,
};

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    async_trait,
    p2::{
        DynPollable, Pollable,
        bindings::sockets::network::{ErrorCode, IpAddress, Network},
        subscribe,
    },
    runtime::{AbortOnDropJoinHandle, spawn},
};

use crate::{
    lookup::{NotFound, Sought},
    state::State,
};

type Cx<'a> = StoreContextMut<'a, State>;
type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;
type Found = Result<vec::IntoIter<IpAddr>, NotFound>;

/// `resolve-address-stream`.
enum Addresses {
    /// Being looked up.
    Awaited(AbortOnDropJoinHandle<Found>),
    /// Those that the guest has not taken yet.
    Found(Found),
}

impl Addresses {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<&mut Found> {
        if let Addresses::Awaited(lookup) = self {
            let found = std::task::ready!(Pin::new(lookup).poll(cx));
            *self = Addresses::Found(found);
        }
        match self {
            Addresses::Found(found) => Poll::Ready(found),
            Addresses::Awaited(_) => Poll::Pending,
        }
    }
}

#[async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx).map(|_| ())).await;
    }
}

/// Adds the interface.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut l = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    l.resource("resolve-address-stream", ResourceType::host::<Addresses>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Addresses>::new_own(rep))?;
        Ok(())
    })?;
    l.func_wrap(
        "resolve-addresses",
        |mut cx: Cx<'_>, (network, name): (Resource<Network>, String)| -> Answer<Resource<Addresses>> {
            let state = cx.data_mut();
            // That the guest has one is all that is asked of it.
            state.table.get(&network)?;
            let guest = Arc::clone(state.guest());
            let addresses = match guest.net.sought(&name) {
                Ok(Sought::Known(found)) => Addresses::Found(Ok(found.into_iter())),
                Ok(sought) => {
                    Addresses::Awaited(spawn(async move { guest.net.find(sought).await.map(Vec::into_iter) }))
                }
                Err(why) => return Ok((Err(code(why)),)),
            };
            Ok((Ok(state.table.push(addresses)?),))
        },
    )?;
    l.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut cx: Cx<'_>, (addresses,): (Resource<Addresses>,)| -> Answer<Option<IpAddress>> {
            let addresses = cx.data_mut().table.get_mut(&addresses)?;
            Ok((match addresses.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(found)) => Ok(found.next().map(IpAddress::from)),
                Poll::Ready(Err(why)) => Err(code(*why)),
                Poll::Pending => Err(ErrorCode::WouldBlock),
            },))
        },
    )?;
    l.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut cx: Cx<'_>, (addresses,): (Resource<Addresses>,)| -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(&mut cx.data_mut().table, addresses)?,))
        },
    )
}

fn code(why: NotFound) -> ErrorCode {
    match why {
        NotFound::Invalid => ErrorCode::InvalidArgument,
        NotFound::Unknown => ErrorCode::NameUnresolvable,
    }
}
