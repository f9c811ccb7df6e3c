//! WASI 0.3: components whose calls, streams and futures run side by side in one instance.
//!
//! Start at [`component_linker`] for what they can import, at [`answer`] for a request to a service and at [`run`] for a
//! command. They run on engines of their own ([`crate::engine`]); limits, egress rules, log and files are those of WASI 0.2.
//!
//! Invariant: a guest is stopped from outside, by dropping what it runs in. wasmtime's loop of concurrent calls does not look
//! at timers while guest code runs.

mod held;
mod http;
mod link;
mod net;
mod said;
mod serve;

use std::{
    cell::Cell,
    future::{Future, poll_fn},
};

pub(crate) use link::{component_linker, offers};
pub(crate) use serve::answer;
use wasmtime::{
    Engine, Store,
    component::{Component, InstancePre},
};
use wasmtime_wasi::{p2, p3};
use wasmtime_wasi_http::{p2::bindings::ProxyPre, p3::bindings};

use crate::{process, reuse::Export, state::State};

/// Most bytes that a component may hand over in one call, or as what a future gives: a value of `wasi:keyvalue` and its key.
/// Less than components of WASI 0.2 may, which have one call under way.
const CALL_BYTES_MAX: usize = 5 << 20;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether a loop of concurrent calls runs on this thread. Another cannot run inside it, and guests ask each other in process.
pub(crate) fn is_inside() -> bool {
    INSIDE.get()
}

/// Restores what was said before it, also when a poll panics.
struct Outside(bool);

impl Drop for Outside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// Runs `work`, a loop of concurrent calls, so that [`is_inside`] tells of it.
async fn looping<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        let _before = Outside(INSIDE.replace(true));
        work.as_mut().poll(cx)
    })
    .await
}

/// A command that needs an engine of WASI 0.3.
pub(crate) enum CommandPre {
    /// It is of WASI 0.3 itself.
    Concurrent(p3::bindings::CommandPre<State>),
    /// It is one of WASI 0.2, as compilers make them of a `main`, and imports something of 0.3.
    Plain(p2::bindings::CommandPre<State>),
}

impl CommandPre {
    pub(crate) fn new(pre: InstancePre<State>) -> wasmtime::Result<Self> {
        match p3::bindings::CommandPre::new(pre.clone()) {
            Ok(it) => Ok(CommandPre::Concurrent(it)),
            Err(error) => p2::bindings::CommandPre::new(pre).map(CommandPre::Plain).map_err(|_| error),
        }
    }
}

/// A service that needs an engine of WASI 0.3.
pub(crate) enum ServicePre {
    /// It is of WASI 0.3 itself.
    Concurrent(bindings::ServicePre<State>),
    /// It is one of WASI 0.2 and imports something of 0.3.
    Plain(ProxyPre<State>),
}

impl ServicePre {
    pub(crate) fn new(pre: InstancePre<State>) -> wasmtime::Result<Self> {
        match bindings::ServicePre::new(pre.clone()) {
            Ok(it) => Ok(ServicePre::Concurrent(it)),
            Err(error) => ProxyPre::new(pre).map(ServicePre::Plain).map_err(|_| error),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        match self {
            ServicePre::Concurrent(pre) => pre.engine(),
            ServicePre::Plain(pre) => pre.engine(),
        }
    }

    pub(crate) fn component(&self) -> &Component {
        match self {
            ServicePre::Concurrent(pre) => pre.instance_pre().component(),
            ServicePre::Plain(pre) => pre.instance_pre().component(),
        }
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Export> {
        Ok(match self {
            ServicePre::Concurrent(pre) => Export::Service(pre.instantiate_async(store).await?),
            ServicePre::Plain(pre) => Export::Proxy(pre.instantiate_async(store).await?),
        })
    }
}

/// Runs a command until it has returned and what it left behind has ended. Gives its exit code.
pub(crate) async fn run(pre: &CommandPre, state: State) -> wasmtime::Result<i32> {
    let returned = match pre {
        CommandPre::Concurrent(pre) => {
            let mut store = new_store(pre.engine(), state);
            let command = pre.instantiate_async(&mut store).await?;
            let returned = store.run_concurrent(async |accessor| {
                let returned = command.wasi_cli_run().call_run(accessor).await?;
                poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                wasmtime::error::Ok(returned)
            });
            looping(returned).await??
        }
        CommandPre::Plain(pre) => {
            let mut store = new_store(pre.engine(), state);
            let command = pre.instantiate_async(&mut store).await?;
            looping(command.wasi_cli_run().call_run(&mut store)).await?
        }
    };
    Ok(if returned.is_ok() { 0 } else { 1 })
}

pub(crate) fn new_store(engine: &Engine, state: State) -> Store<State> {
    let mut store = process::new_store(engine, state);
    store.limiter_async(|it| &mut it.limits);
    store.set_hostcall_fuel(CALL_BYTES_MAX);
    // Tasks, streams and futures are handles too, and cost the host more than resources do.
    let handles_max = store.data().table.max_capacity();
    store.set_max_component_handles(handles_max);
    store
}
