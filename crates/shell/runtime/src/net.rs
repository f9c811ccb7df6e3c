//! Which socket addresses a guest may use.
//!
//! A guest believes it has a host of its own: it binds the wildcard address and gets its pod IP, and nothing else. The
//! rules live in [`Net`]; [`confine`] puts them in front of wasmtime's socket functions, and [`Net::context`] enforces them
//! once more below, so that no listener opens wider than the pod even where a rewrite is missed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use eyot_dispatch::{Caller, Lookups, Transport};
use http::Uri;
use parking_lot::Mutex;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p2::bindings::sockets::{
        network::{ErrorCode, IpSocketAddress, Network},
        tcp::{self, TcpSocket},
        udp::{self, UdpSocket},
    },
    sockets::{SocketAddrUse, WasiSocketsCtx},
};

use crate::{
    AllowedHosts, LogSink, LogStream, Names,
    lookup::{self, NotFound, Sought},
    output::Output,
    state::State,
};

/// Why a host is refused that is not on a guest's list.
pub(crate) const NOT_ALLOWED: &str = "it is not among the hosts that the pod's annotation eyot.io/allowed-hosts names";

/// Most names that a guest with a list looks up and is remembered to have: beyond that they are forgotten.
const LOOKED_UP_MAX: usize = 256;

/// A guest's place in the network.
#[derive(Clone)]
pub(crate) struct Net {
    ip: Option<IpAddr>,
    names: Option<Arc<dyn Names>>,
    caller: Caller,
    allowed: Option<Arc<Allowed>>,
    lookups: Arc<Lookups>,
}

/// The hosts that a guest may connect to.
struct Allowed {
    hosts: Arc<AllowedHosts>,
    /// Names it has looked up, of those it may: sockets are told addresses only.
    looked_up: Mutex<Vec<String>>,
}

impl Allowed {
    /// That the guest looked `name` up, which it may.
    fn remember(&self, name: &str) {
        let mut looked_up = self.looked_up.lock();
        if !looked_up.iter().any(|it| it == name) {
            if looked_up.len() >= LOOKED_UP_MAX {
                looked_up.clear();
            }
            looked_up.push(name.to_owned());
        }
    }
}

impl Net {
    pub(crate) fn new(
        ip: Option<IpAddr>,
        names: Option<Arc<dyn Names>>,
        caller: Caller,
        hosts: Option<Arc<AllowedHosts>>,
        lookups: Arc<Lookups>,
    ) -> Self {
        let allowed = hosts.map(|hosts| Arc::new(Allowed { hosts, looked_up: Mutex::default() }));
        Self { ip, names, caller, allowed, lookups }
    }

    /// Whether its list lets a request to `uri`, which has this port, out.
    pub(crate) fn permits(&self, uri: &Uri, port: u16) -> bool {
        let allowed = |it: &Arc<Allowed>| uri.host().is_some_and(|host| it.hosts.permits(host, port));
        self.allowed.as_ref().is_none_or(allowed)
    }

    /// Whether its list has `address`, or a name of it that the guest asked for.
    async fn has(&self, address: SocketAddr) -> bool {
        let Some(allowed) = &self.allowed else { return true };
        if allowed.hosts.permits_address(address.ip(), address.port()) {
            return true;
        }
        let mut names = allowed.looked_up.lock().clone();
        names.retain(|it| allowed.hosts.permits(it, address.port()));
        names.extend(allowed.hosts.names(address.port()).map(str::to_owned));
        names.sort_unstable();
        names.dedup();
        for name in names {
            if let Some(found) = self.names.as_ref().and_then(|it| it.resolve(&self.caller, &name)) {
                if found.contains(&address.ip()) {
                    return true;
                }
            } else if let Ok(found) = self.ask(name).await
                && found.contains(&address.ip().to_canonical())
            {
                return true;
            }
        }
        false
    }

    /// Where a bind to `asked` really goes; `None` refuses it.
    pub(crate) fn bind(&self, asked: SocketAddr) -> Option<SocketAddr> {
        let ip = self.ip.filter(|it| it.is_ipv4() == asked.is_ipv4())?;
        (asked.ip().is_unspecified() || asked.ip() == ip).then(|| SocketAddr::new(ip, asked.port()))
    }

    /// Where a connection to `asked` really goes.
    pub(crate) fn connect(&self, asked: SocketAddr) -> SocketAddr {
        self.names.as_ref().map_or(asked, |it| it.route(&self.caller, asked))
    }

    /// What has to be done to look `name` up: nothing where the cluster answers.
    pub(crate) fn sought(&self, name: &str) -> Result<Sought, NotFound> {
        if let Some(allowed) = &self.allowed {
            if !allowed.hosts.permits_lookup(name) {
                return Err(NotFound::Unknown);
            }
            allowed.remember(name);
        }
        match self.names.as_ref().and_then(|it| it.resolve(&self.caller, name)) {
            None => lookup::sought(name),
            Some(found) if found.is_empty() => Err(NotFound::Unknown),
            // An address literal resolves to itself.
            Some(found) => Ok(Sought::Known(found)),
        }
    }

    /// Looks up what [`Net::sought`] gave.
    pub(crate) async fn find(&self, sought: Sought) -> Result<Vec<IpAddr>, NotFound> {
        match sought {
            Sought::Known(found) => Ok(found),
            Sought::Name(name) => self.ask(name).await,
        }
    }

    /// Asks the host's resolver for `name` when it is the pod's turn.
    async fn ask(&self, name: String) -> Result<Vec<IpAddr>, NotFound> {
        let turn = self.lookups.turn(&self.caller).await.map_err(|_| NotFound::Unknown)?;
        let found = turn.look_up(name).await.map_err(|_| NotFound::Unknown)?;
        Ok(found.into_iter().map(|it| it.ip().to_canonical()).collect())
    }

    /// Whether the operating system may be asked to use `address`.
    fn allows(ip: Option<IpAddr>, address: SocketAddr, usage: SocketAddrUse) -> bool {
        match usage {
            // The wildcard with port 0 is the implicit bind of an outgoing connection; explicit ones were rewritten.
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => {
                Some(address.ip()) == ip || (address.ip().is_unspecified() && address.port() == 0)
            }
            SocketAddrUse::TcpListen => Some(address.ip()) == ip,
            // The host's own loopback services are none of a pod's business. Where pods live there too, those who know which
            // addresses are pods' tell them apart, in [`Names::permits`].
            SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend => {
                let local = address.ip().is_loopback() || address.ip().is_unspecified();
                !local || ip.is_some_and(|it| it.is_loopback())
            }
            SocketAddrUse::TcpAccept | SocketAddrUse::UdpReceive => true,
        }
    }

    /// wasmtime's socket state for a guest with these rules, and with those of policies. Refusals of policies are told in `log`.
    pub(crate) fn context(&self, log: &Arc<dyn LogSink>) -> WasiSocketsCtx {
        let mut builder = WasiCtxBuilder::new();
        self.apply(&mut builder, log);
        builder.build().sockets().clone()
    }

    /// Puts the rules into `builder`.
    fn apply(&self, builder: &mut WasiCtxBuilder, log: &Arc<dyn LogSink>) {
        let (net, log) = (self.clone(), log.clone());
        builder.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true).socket_addr_check(move |address, usage| {
            let allowed = Net::allows(net.ip, address, usage);
            let transport = match usage {
                SocketAddrUse::TcpConnect => Transport::Tcp,
                SocketAddrUse::UdpSend => Transport::Udp,
                _ => return Box::pin(std::future::ready(allowed)),
            };
            let permitted = net.names.as_ref().map_or(Ok(()), |it| it.permits(&net.caller, transport, address));
            let say = |log: &Arc<dyn LogSink>, why: &str| {
                Output::new(log.clone(), LogStream::Stderr).put(format!("connection denied: {why}\n").as_bytes());
            };
            if let Err(why) = &permitted {
                say(&log, why);
            }
            let allowed = allowed && permitted.is_ok();
            if !allowed || net.allowed.is_none() {
                return Box::pin(std::future::ready(allowed));
            }
            let (net, log) = (net.clone(), log.clone());
            Box::pin(async move {
                let has = net.has(address).await;
                if !has {
                    say(&log, &format!("{address}: {NOT_ALLOWED}"));
                }
                has
            })
        });
    }
}

type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

/// Puts a guest's rules in front of the socket functions already in `linker`.
pub(crate) fn confine(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    confine_tcp(linker)?;
    confine_udp(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn confine_tcp(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use tcp::HostTcpSocket;
    type Arguments = (Resource<TcpSocket>, Resource<Network>, IpSocketAddress);
    let mut tcp = linker.instance("wasi:sockets/tcp@0.2.12")?;
    tcp.func_wrap_async(
        "[method]tcp-socket.start-bind",
        |mut store: StoreContextMut<'_, State>, (socket, network, asked): Arguments| {
            Box::new(async move {
                let state = store.data_mut();
                let Some(address) = state.guest().net.bind(asked.into()) else { return refused() };
                answer(state.sockets().start_bind(socket, network, address.into()).await)
            })
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.start-connect",
        |mut store: StoreContextMut<'_, State>, (socket, network, asked): Arguments| {
            let state = store.data_mut();
            let address = state.guest().net.connect(asked.into());
            answer(state.sockets().start_connect(socket, network, address.into()))
        },
    )
}

fn confine_udp(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use udp::HostUdpSocket;
    linker.instance("wasi:sockets/udp@0.2.12")?.func_wrap_async(
        "[method]udp-socket.start-bind",
        |mut store: StoreContextMut<'_, State>,
         (socket, network, asked): (Resource<UdpSocket>, Resource<Network>, IpSocketAddress)| {
            Box::new(async move {
                let state = store.data_mut();
                let Some(address) = state.guest().net.bind(asked.into()) else { return refused() };
                answer(state.sockets().start_bind(socket, network, address.into()).await)
            })
        },
    )
}

fn refused<T>() -> Answer<T> {
    Ok((Err(ErrorCode::AccessDenied),))
}

fn answer<T>(result: wasmtime_wasi::p2::SocketResult<T>) -> Answer<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn net(ip: &str) -> Net {
        let caller = Caller { namespace: "default".into(), pod: "p".into() };
        Net::new(ip.parse().ok(), None, caller, None, Arc::default())
    }

    #[track_caller]
    fn check_bind(ip: &str, asked: &str, want: Expect) {
        let got = net(ip).bind(asked.parse().unwrap());
        want.assert_eq(&got.map_or("refused".into(), |it| it.to_string()));
    }

    #[test]
    fn a_bind_lands_on_the_pod_address_or_nowhere() {
        check_bind("10.42.0.5", "0.0.0.0:8080", expect!["10.42.0.5:8080"]);
        check_bind("10.42.0.5", "10.42.0.5:0", expect!["10.42.0.5:0"]);
        check_bind("10.42.0.5", "127.0.0.1:8080", expect!["refused"]);
        check_bind("10.42.0.5", "10.42.0.6:8080", expect!["refused"]);
        check_bind("10.42.0.5", "[::]:8080", expect!["refused"]);
        check_bind("none", "0.0.0.0:8080", expect!["refused"]);
    }

    #[test]
    fn the_second_check_refuses_what_the_first_would_have_rewritten() {
        let check = |ip: &str, address: &str, usage| Net::allows(ip.parse().ok(), address.parse().unwrap(), usage);
        assert!(!check("10.42.0.5", "0.0.0.0:8080", SocketAddrUse::TcpBind));
        assert!(!check("10.42.0.5", "0.0.0.0:0", SocketAddrUse::TcpListen));
        assert!(check("10.42.0.5", "0.0.0.0:0", SocketAddrUse::TcpBind));
        assert!(check("10.42.0.5", "93.184.216.34:80", SocketAddrUse::TcpConnect));
        assert!(!check("10.42.0.5", "127.0.0.1:6443", SocketAddrUse::TcpConnect));
        assert!(check("127.42.0.5", "127.42.0.6:80", SocketAddrUse::TcpConnect));
    }

    #[test]
    fn cluster_names_are_answered_by_the_cluster() {
        struct One;
        impl Names for One {
            fn resolve(&self, caller: &Caller, name: &str) -> Option<Vec<IpAddr>> {
                match name {
                    "web" if &*caller.namespace == "default" => Some(vec!["10.42.0.9".parse().unwrap()]),
                    "gone.default.svc.cluster.local" => Some(vec![]),
                    _ => None,
                }
            }

            fn permits(&self, _: &Caller, _: Transport, _: SocketAddr) -> Result<(), String> {
                Ok(())
            }
        }
        let net = Net { names: Some(Arc::new(One)), ..net("10.42.0.5") };
        assert_eq!(net.sought("web"), Ok(Sought::Known(vec!["10.42.0.9".parse().unwrap()])));
        assert_eq!(net.sought("example.org"), Ok(Sought::Name("example.org".into())));
        assert_eq!(net.sought("gone.default.svc.cluster.local"), Err(NotFound::Unknown));
    }
}
