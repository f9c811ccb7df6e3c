//! Which revisions there are, and which of them are ready.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use eyot_dispatch::Handler;
use futures::{
    FutureExt,
    future::{self, BoxFuture},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{make, voice::Voice};
use crate::{pod::Shared, sources::Referrer};

/// Guests that are ready. Each holds its environment and shares its code with others of the same image: some KiB, and what
/// of the code is in use.
const READY_MAX: usize = 4096;
/// How many of them are made ready before anybody asks.
const AHEAD_MAX: usize = 2048;
/// How long a revision that cannot be made ready is not tried again, unless something changes.
const UNFIT: Duration = Duration::from_secs(10);

type Preparing = future::Shared<BoxFuture<'static, Option<Arc<dyn Handler>>>>;

/// The revisions whose Deployments are in the API, by `namespace/name/uid`.
#[derive(Default)]
pub(crate) struct Table {
    inner: Mutex<Inner>,
    more: Notify,
}

#[derive(Default)]
struct Inner {
    known: HashMap<Arc<str>, Known>,
    ready: usize,
    clock: u64,
    /// To be made ready when there is time.
    ahead: VecDeque<Arc<str>>,
}

/// One revision.
struct Known {
    deployment: Box<str>,
    /// Tells one template from another.
    template: u64,
    is_at_zero: bool,
    /// How often what it is made of has changed.
    epoch: u64,
    state: State,
    /// What its guests print, once it had any.
    voice: Option<Arc<Voice>>,
}

enum State {
    Cold,
    Preparing(Preparing),
    Ready(Box<Ready>),
    Unfit {
        since: Instant,
        /// Hears of changes to what it refers to.
        _referrer: Option<Arc<Maker>>,
    },
}

struct Ready {
    guest: Arc<dyn Handler>,
    image: Box<str>,
    used: u64,
    /// Hears of changes to what its environment comes from.
    _referrer: Arc<Maker>,
}

/// What is made ready.
pub(super) struct Made {
    pub(super) guest: Arc<dyn Handler>,
    pub(super) image: Box<str>,
}

/// A Deployment of a revision, as far as it matters.
pub(super) struct Seen {
    pub(super) key: Arc<str>,
    pub(super) deployment: Box<str>,
    pub(super) template: u64,
    pub(super) is_at_zero: bool,
}

/// Makes one revision ready; told when what it refers to changes.
pub(super) struct Maker {
    pub(super) key: Arc<str>,
    pub(super) shared: Weak<Shared>,
}

impl Referrer for Maker {
    fn source_changed(self: Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.early.spoil(&self.key);
        }
    }
}

impl Table {
    /// What answers for a revision.
    pub(super) fn ready(&self, key: &str) -> Option<Arc<dyn Handler>> {
        let inner = &mut *self.inner.lock();
        let State::Ready(ready) = &mut inner.known.get_mut(key)?.state else { return None };
        inner.clock += 1;
        ready.used = inner.clock;
        Some(ready.guest.clone())
    }

    /// Makes a revision ready that is here, unless it was found unfit a moment ago.
    pub(super) fn prepare(
        self: Arc<Self>,
        shared: &Arc<Shared>,
        key: &str,
    ) -> BoxFuture<'static, Option<Arc<dyn Handler>>> {
        let mut inner = self.inner.lock();
        let Some(key) = inner.known.get_key_value(key).map(|it| it.0.clone()) else { return none() };
        let Some(known) = inner.known.get_mut(&key) else { return none() };
        match &known.state {
            State::Ready(ready) => return future::ready(Some(ready.guest.clone())).boxed(),
            State::Unfit { since, .. } if since.elapsed() < UNFIT => return none(),
            State::Preparing(preparing) => return preparing.clone().boxed(),
            State::Cold | State::Unfit { .. } => {}
        }
        let voice = known.voice.get_or_insert_default().clone();
        let (epoch, deployment, shared) = (known.epoch, known.deployment.clone(), shared.clone());
        let maker = Arc::new(Maker { key: key.clone(), shared: Arc::downgrade(&shared) });
        let (table, handle) = (self.clone(), shared.handle.clone());
        // A task of the node's own: it goes on when whoever asked leaves.
        let task = handle.spawn(async move {
            let made = make::make(&shared, &maker, &deployment, voice).await;
            table.settle(&maker, epoch, made)
        });
        let preparing = async move { task.await.ok().flatten() }.boxed().shared();
        known.state = State::Preparing(preparing.clone());
        preparing.boxed()
    }

    fn settle(&self, maker: &Arc<Maker>, epoch: u64, made: Result<Made, make::Unfit>) -> Option<Arc<dyn Handler>> {
        let inner = &mut *self.inner.lock();
        let known = inner.known.get_mut(&maker.key)?;
        if known.epoch != epoch {
            // It was made of what is no longer so.
            known.state = State::Cold;
            inner.ask_ahead(&maker.key);
            self.more.notify_one();
            return None;
        }
        let made = match made {
            Ok(made) => made,
            Err(why) => {
                tracing::debug!(revision = &*maker.key, %why, "not answered for before it has a pod");
                known.state = State::Unfit { since: Instant::now(), _referrer: Some(maker.clone()) };
                return None;
            }
        };
        inner.clock += 1;
        let guest = made.guest.clone();
        let Made { guest: kept, image } = made;
        known.state = State::Ready(Box::new(Ready { guest: kept, image, used: inner.clock, _referrer: maker.clone() }));
        inner.ready += 1;
        if inner.ready > READY_MAX {
            inner.evict();
        }
        Some(guest)
    }

    /// Something has changed that a revision is made of.
    pub(super) fn spoil(&self, key: &str) {
        let inner = &mut *self.inner.lock();
        inner.spoil(key);
        self.more.notify_one();
    }

    /// Something has changed that all are made of.
    pub(super) fn spoil_all(&self) {
        self.spoil_where(|_| true);
    }

    /// Images for which `is_new` holds are others now.
    pub(crate) fn image_pushed(&self, is_new: impl Fn(&str) -> bool) {
        self.spoil_where(|known| match &known.state {
            State::Ready(ready) => is_new(&ready.image),
            State::Unfit { .. } | State::Preparing(_) => true,
            State::Cold => false,
        });
    }

    fn spoil_where(&self, is_spoilt: impl Fn(&Known) -> bool) {
        let inner = &mut *self.inner.lock();
        let keys: Vec<Arc<str>> =
            inner.known.iter().filter(|(_, it)| is_spoilt(it)).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|it| inner.spoil(it));
        self.more.notify_one();
    }

    /// It has to be judged anew, but not at once.
    pub(super) fn doubt(&self, key: &str) {
        let inner = &mut *self.inner.lock();
        inner.spoil(key);
        if let Some(known) = inner.known.get_mut(key) {
            known.state = State::Unfit { since: Instant::now(), _referrer: None };
        }
    }

    /// A Deployment is there.
    pub(super) fn seen(&self, seen: Seen) {
        let inner = &mut *self.inner.lock();
        match inner.known.get_mut(&seen.key) {
            Some(known) if known.template == seen.template => known.is_at_zero = seen.is_at_zero,
            Some(known) => {
                (known.template, known.is_at_zero) = (seen.template, seen.is_at_zero);
                inner.spoil(&seen.key);
            }
            None => {
                let Seen { deployment, template, is_at_zero, .. } = seen;
                let state = State::Cold;
                let fresh = Known { deployment, template, is_at_zero, epoch: 0, state, voice: None };
                inner.known.insert(seen.key.clone(), fresh);
            }
        }
        inner.ask_ahead(&seen.key);
        self.more.notify_one();
    }

    /// A Deployment is gone.
    pub(super) fn gone(&self, key: &str) {
        let inner = &mut *self.inner.lock();
        inner.spoil(key);
        inner.known.remove(key);
    }

    /// Only these are there.
    pub(super) fn retain(&self, present: &HashSet<Arc<str>>) {
        let inner = &mut *self.inner.lock();
        let gone: Vec<Arc<str>> = inner.known.keys().filter(|it| !present.contains(*it)).cloned().collect();
        for key in gone {
            inner.spoil(&key);
            inner.known.remove(&key);
        }
    }

    /// What the guests of a revision print, if it ever had any before its pods.
    pub(super) fn voice(&self, key: &str) -> Option<Arc<Voice>> {
        self.inner.lock().known.get(key)?.voice.clone()
    }

    /// The next revision to be made ready though nobody asks.
    pub(super) async fn next_ahead(&self) -> Arc<str> {
        loop {
            let more = self.more.notified();
            {
                let inner = &mut *self.inner.lock();
                while let Some(key) = inner.ahead.pop_front() {
                    let is_wanted = |it: &Known| it.is_at_zero && matches!(it.state, State::Cold);
                    if inner.ready < AHEAD_MAX && inner.known.get(&key).is_some_and(is_wanted) {
                        return key;
                    }
                }
            }
            more.await;
        }
    }
}

fn none() -> BoxFuture<'static, Option<Arc<dyn Handler>>> {
    future::ready(None).boxed()
}

impl Inner {
    fn spoil(&mut self, key: &str) {
        let Some(known) = self.known.get_mut(key) else { return };
        known.epoch += 1;
        match known.state {
            State::Ready(_) => self.ready -= 1,
            // It will see by the epoch that it is too late.
            State::Preparing(_) => return,
            State::Cold | State::Unfit { .. } => {}
        }
        known.state = State::Cold;
        let key: Arc<str> = key.into();
        self.ask_ahead(&key);
    }

    fn ask_ahead(&mut self, key: &Arc<str>) {
        let is_wanted = |it: &Known| it.is_at_zero && matches!(it.state, State::Cold);
        if self.ahead.len() < AHEAD_MAX && self.known.get(key).is_some_and(is_wanted) {
            self.ahead.push_back(key.clone());
        }
    }

    /// Forgets the sixteenth that was used longest ago, so that it is seldom looked for.
    fn evict(&mut self) {
        let age = |known: &Known| match &known.state {
            State::Ready(ready) => Some(ready.used),
            _ => None,
        };
        let mut ages: Vec<u64> = self.known.values().filter_map(age).collect();
        ages.sort_unstable();
        let Some(limit) = ages.get(READY_MAX / 16).copied() else { return };
        for known in self.known.values_mut().filter(|it| age(it).is_some_and(|it| it < limit)) {
            known.state = State::Cold;
            self.ready -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, template: u64, is_at_zero: bool) -> Seen {
        Seen { key: super::super::key("ns", name, "uid"), deployment: name.into(), template, is_at_zero }
    }

    #[tokio::test]
    async fn what_is_at_zero_is_made_ready_ahead_and_what_is_gone_is_not() {
        let table = Table::default();
        table.seen(seen("a", 1, false));
        table.seen(seen("b", 1, true));
        table.seen(seen("c", 1, true));
        table.gone("ns/b/uid");
        assert_eq!(&*table.next_ahead().await, "ns/c/uid");
        assert!(table.next_ahead().now_or_never().is_none(), "one with instances is not");
        table.seen(seen("a", 1, true));
        assert_eq!(&*table.next_ahead().await, "ns/a/uid");
        table.retain(&HashSet::new());
        assert!(table.inner.lock().known.is_empty());
    }

    #[test]
    fn what_was_made_of_something_else_does_not_answer() {
        struct Never;
        impl Handler for Never {
            fn handle(
                self: Arc<Self>,
                _: http::Request<eyot_dispatch::Body>,
            ) -> BoxFuture<'static, Result<http::Response<eyot_dispatch::Body>, eyot_dispatch::CallError>> {
                future::ready(Err(eyot_dispatch::CallError::Draining)).boxed()
            }
        }
        let table = Table::default();
        table.seen(seen("a", 1, true));
        let maker = Arc::new(Maker { key: "ns/a/uid".into(), shared: Weak::new() });
        let made = || Ok(Made { guest: Arc::new(Never), image: "localhost:5000/a:v1".into() });
        let epoch = || table.inner.lock().known["ns/a/uid"].epoch;
        let before = epoch();
        table.spoil("ns/a/uid");
        assert!(table.settle(&maker, before, made()).is_none() && table.ready("ns/a/uid").is_none());
        assert!(table.settle(&maker, epoch(), made()).is_some() && table.ready("ns/a/uid").is_some());
        assert!(table.ready("ns/a/other").is_none(), "another incarnation of its name");
        for (what, spoil) in [
            ("a push", (|it| it.image_pushed(|image| image.contains("/a:"))) as fn(&Table)),
            ("a taint", Table::spoil_all),
            ("another template", |it| it.seen(seen("a", 2, true))),
            ("its end", |it| it.gone("ns/a/uid")),
        ] {
            spoil(&table);
            assert!(table.ready("ns/a/uid").is_none(), "{what}");
            if table.inner.lock().known.contains_key("ns/a/uid") {
                table.settle(&maker, epoch(), made());
            }
        }
        assert_eq!(table.inner.lock().ready, 0);
    }
}
