//! The rules of [`crate::net`] in front of the sockets of WASI 0.3.

use std::{net::SocketAddr, sync::Arc};

use wasmtime::{
    StoreContextMut,
    component::{Accessor, Linker, Resource},
};
use wasmtime_wasi::{
    p3::{
        bindings::sockets::{
            ip_name_lookup::{self, IpAddress},
            types::{
                ErrorCode, HostTcpSocket, HostTcpSocketWithStore, HostUdpSocket, IpSocketAddress, TcpSocket, UdpSocket,
            },
        },
        sockets::SocketResult,
    },
    sockets::WasiSockets,
};

use crate::{lookup::NotFound, net::Net, open::Open, state::State};

type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

/// Where a bind to `asked` goes; `None` refuses it. What [`Net::bind`] refuses goes where it was asked to, for wasmtime to say what
/// is wrong with it, and be it only that the check below refuses it too; but not the wildcard, which that lets pass.
fn place(net: &Net, asked: SocketAddr) -> Option<SocketAddr> {
    net.bind(asked).or_else(|| (!asked.ip().is_unspecified()).then_some(asked))
}

/// Puts a guest's rules in front of the socket functions already in `linker`, which must allow shadowing.
pub(super) fn confine(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Tcp = (Resource<TcpSocket>, IpSocketAddress);
    type Udp = (Resource<UdpSocket>, IpSocketAddress);
    let mut types = linker.instance("wasi:sockets/types@0.3.0")?;
    types.func_wrap_async(
        "[method]tcp-socket.bind",
        |mut store: StoreContextMut<'_, State>, (socket, asked): Tcp| {
            Box::new(async move {
                let state = store.data_mut();
                let Some(address) = place(&state.guest().net, asked.into()) else { return refused() };
                answer(HostTcpSocket::bind(&mut state.sockets(), socket, address.into()).await)
            })
        },
    )?;
    types.func_wrap_async(
        "[method]udp-socket.bind",
        |mut store: StoreContextMut<'_, State>, (socket, asked): Udp| {
            Box::new(async move {
                let state = store.data_mut();
                let Some(address) = place(&state.guest().net, asked.into()) else { return refused() };
                answer(HostUdpSocket::bind(&mut state.sockets(), socket, address.into()).await)
            })
        },
    )?;
    types.func_wrap_concurrent("[method]tcp-socket.connect", |accessor: &Accessor<State>, (socket, asked): Tcp| {
        Box::pin(async move {
            let address = accessor.with(|mut store| {
                Open::note_streams(&mut store);
                store.get().guest().net.connect(asked.into())
            });
            let sockets = accessor.with_getter::<WasiSockets>(State::sockets);
            answer(<WasiSockets as HostTcpSocketWithStore<State>>::connect(&sockets, socket, address.into()).await)
        })
    })?;
    confine_lookup(linker)
}

fn confine_lookup(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Found = (Result<Vec<IpAddress>, ip_name_lookup::ErrorCode>,);
    linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?.func_wrap_concurrent(
        "resolve-addresses",
        |accessor: &Accessor<State>, (name,): (String,)| {
            Box::pin(async move {
                let guest = accessor.with(|mut store| Arc::clone(store.get().guest()));
                let found = match guest.net.sought(&name) {
                    Ok(sought) => guest.net.find(sought).await,
                    Err(why) => Err(why),
                };
                let found = found.map(|all| all.into_iter().map(IpAddress::from).collect());
                Ok::<Found, _>((found.map_err(code),))
            })
        },
    )
}

fn code(why: NotFound) -> ip_name_lookup::ErrorCode {
    match why {
        NotFound::Invalid => ip_name_lookup::ErrorCode::InvalidArgument,
        NotFound::Unknown => ip_name_lookup::ErrorCode::NameUnresolvable,
    }
}

fn refused<T>() -> Answer<T> {
    Ok((Err(ErrorCode::AccessDenied),))
}

fn answer<T>(result: SocketResult<T>) -> Answer<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
