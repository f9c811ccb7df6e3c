//! One instance of a service, in a request or between two.

use std::sync::Arc;

use wasmtime::{Engine, Store};
use wasmtime_wasi_http::{p2::bindings::Proxy, p3::bindings::Service};

use super::{Done, Spent, judge};
use crate::{
    guest::Guest,
    p3,
    program::{Code, Linked},
    state::{CALL_BYTES_MAX, State, Task},
};

/// A store with one instance in it.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    pub(crate) export: Export,
    /// Requests that it answered.
    requests: u32,
    /// Resources that it had when the last one had ended.
    left: Option<usize>,
    /// What bodies of requests hold while they are the instance's. Absent where instances are not reused.
    lent: Option<Arc<()>>,
}

/// What answers.
pub(crate) enum Export {
    /// Of WASI 0.2.
    Proxy(Proxy),
    /// Of WASI 0.3.
    Service(Service),
}

impl Instance {
    /// A fresh one, for which kept ones make room where there is no other.
    pub(crate) async fn new(code: &Arc<Code>, guest: &Arc<Guest>) -> wasmtime::Result<Instance> {
        loop {
            match &code.linked {
                Linked::Http(tiers) => {
                    // Asked first: what is final then stays the best.
                    let lasts = tiers.is_optimised();
                    let best;
                    let pre = match code.copies.here(code) {
                        Some(copy) => copy,
                        None => {
                            best = tiers.best();
                            &best
                        }
                    };
                    let mut store = Store::new(pre.engine(), State::new(Arc::clone(guest), None, Task::Request));
                    store.limiter_async(|it| &mut it.limits);
                    store.set_hostcall_fuel(CALL_BYTES_MAX);
                    store.set_epoch_deadline(2);
                    store.epoch_deadline_async_yield_and_update(1);
                    // Better code may come while this runs, and the old must not be held back by it.
                    match pre.instantiate_async(&mut store).await {
                        Ok(proxy) => return Ok(Instance::of(store, Export::Proxy(proxy), lasts)),
                        Err(error) => code.core.shelf.make_room(pre.engine(), error)?,
                    }
                }
                Linked::Service(pre) => {
                    let mut store = p3::new_store(pre.engine(), State::new(Arc::clone(guest), None, Task::Request));
                    store.set_epoch_deadline(2);
                    match pre.instantiate(&mut store).await {
                        Ok(export) => return Ok(Instance::of(store, export, true)),
                        Err(error) => code.core.shelf.make_room(pre.engine(), error)?,
                    }
                }
                _ => wasmtime::bail!("a command cannot answer requests"),
            }
        }
    }

    fn of(store: Store<State>, export: Export, lasts: bool) -> Instance {
        let lent = (lasts && store.data().guest().keep.is_some()).then(Arc::default);
        Instance { store, export, requests: 0, left: None, lent }
    }

    /// Gets ready for a request. One that came to have much memory answers it elsewhere than on a thread that serves.
    pub(crate) async fn begin(&mut self) {
        self.store.data_mut().limits.begin().await;
        self.requests += 1;
        self.store.data_mut().begin();
        // The next tick may be only microseconds away: the first turn lasts one to two of them, later ones one.
        self.store.set_epoch_deadline(2);
    }

    /// What the body of a request is to hold for as long as it is there.
    pub(crate) fn lend(&self) -> Option<Arc<()>> {
        self.lent.clone()
    }

    /// Whether it runs on this engine.
    pub(super) fn is_on(&self, engine: &Engine) -> bool {
        Engine::same(self.store.engine(), engine)
    }

    /// The instance, if it may answer another request once its response has been taken. The request's call must have returned
    /// well.
    pub(crate) fn rest(mut self) -> Option<Instance> {
        let lent = self.lent.as_ref()?;
        let keep = Arc::clone(self.store.data().guest().keep.as_ref()?);
        let has_body = Arc::strong_count(lent) > 1;
        let now = self.resources();
        let done = Done { requests: self.requests, before: self.left.replace(now), now, has_body };
        match judge(keep.terms, done) {
            Ok(()) => Some(self),
            Err(Spent::Used) => None,
            Err(Spent::Untidy) => {
                keep.complain(self.store.data().guest());
                None
            }
        }
    }

    /// Has it answer another request: one that [`Instance::rest`] gave, now that its response has been taken.
    pub(crate) fn keep(self) {
        if let Some(keep) = self.store.data().guest().keep.clone() {
            keep.put(self);
        }
    }

    /// How many resources, streams, futures and tasks it has.
    fn resources(&mut self) -> usize {
        let own = self.store.data_mut().table.iter_mut().count();
        own + self.store.concurrent_resource_table().map_or(0, |it| it.iter_mut().count())
    }
}
