//! What one guest keeps: its idle instances, for as long as they are not needed and not too old.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::{Instance, Reuse};
use crate::{guest::Guest, runtime::Core, slot::Slot};

/// Most instances that one guest keeps. Those that wait for nobody are taken and put back within microseconds, so that as many as
/// there are cores carry any load; the rest is for those that wait for others.
const KEPT_MAX: usize = 16;

/// The idle instances of one guest. Each holds the guest, so whoever ends the guest must [`Keep::close`] this.
pub(crate) struct Keep {
    pub(super) terms: Reuse,
    /// Places that each of them takes.
    places: usize,
    core: Arc<Core>,
    idle: Mutex<Idle>,
    /// Whether the guest's log says why its instances are not reused.
    told: AtomicBool,
}

#[derive(Default)]
struct Idle {
    /// The one that rested last is at the end, and is the next to be taken: so those that a load no longer needs grow old.
    instances: VecDeque<Kept>,
    /// The task that throws old ones away, while there are any.
    sweeper: Option<AbortHandle>,
    closed: bool,
}

struct Kept {
    since: Instant,
    instance: Instance,
    _room: Slot,
}

impl Keep {
    pub(crate) fn new(terms: Reuse, places: usize, core: Arc<Core>) -> Arc<Keep> {
        Arc::new(Keep { terms, places, core, idle: Mutex::default(), told: AtomicBool::new(false) })
    }

    /// An idle instance, which is the caller's from now on.
    pub(crate) fn take(&self) -> Option<Instance> {
        self.idle.lock().instances.pop_back().map(|it| it.instance)
    }

    /// Keeps `instance`, if there is room and the guest has not ended.
    pub(super) fn put(self: &Arc<Self>, instance: Instance) {
        let Some(room) = self.core.shelf.room(self.places) else { return };
        let kept = Kept { since: Instant::now(), instance, _room: room };
        let mut idle = self.idle.lock();
        if idle.closed || idle.instances.len() >= KEPT_MAX {
            // What goes takes longer than anyone should wait for the lock.
            drop(idle);
            return drop(kept);
        }
        idle.instances.push_back(kept);
        if idle.sweeper.is_none() {
            let sweeper = self.core.background.spawn(sweep(Arc::downgrade(self), self.terms.idle));
            idle.sweeper = Some(sweeper.abort_handle());
            self.core.shelf.add(self);
        }
    }

    /// Throws away the oldest idle instance for which `which` holds: whether there was one.
    pub(crate) fn give_up(&self, which: impl Fn(&Instance) -> bool) -> bool {
        let gone = {
            let mut idle = self.idle.lock();
            let found = idle.instances.iter().position(|it| which(&it.instance));
            found.and_then(|it| idle.instances.remove(it))
        };
        gone.is_some()
    }

    /// Throws all idle instances away.
    pub(crate) fn clear(&self) {
        let gone = std::mem::take(&mut self.idle.lock().instances);
        drop(gone);
    }

    /// Throws all instances away, those that are still to come included.
    pub(crate) fn close(&self) {
        let sweeper = {
            let mut idle = self.idle.lock();
            idle.closed = true;
            idle.sweeper.take()
        };
        if let Some(sweeper) = sweeper {
            sweeper.abort();
        }
        self.clear();
    }

    /// Says, once, that the guest gains nothing from being reused.
    pub(super) fn complain(&self, guest: &Guest) {
        if !self.told.swap(true, Relaxed) {
            guest.say(
                "an instance is not reused: it kept the body of its request, or more handles than it had before the request; \
                 said once",
            );
        }
    }

    /// Throws away what is too old at `now`, and tells when to look again.
    fn expire(&self, now: Instant) -> Option<Duration> {
        let (gone, wait) = {
            let mut idle = self.idle.lock();
            let is_old = |it: &&Kept| now.duration_since(it.since) >= self.terms.idle;
            let old = idle.instances.iter().take_while(is_old).count();
            let gone: Vec<Kept> = idle.instances.drain(..old).collect();
            let oldest = idle.instances.front().map(|it| now.duration_since(it.since));
            if oldest.is_none() {
                idle.sweeper = None;
            }
            (gone, oldest.map(|it| self.terms.idle - it))
        };
        drop(gone);
        wait
    }
}

/// Runs while there are idle instances.
async fn sweep(keep: Weak<Keep>, idle: Duration) {
    let mut wait = idle;
    loop {
        tokio::time::sleep(wait).await;
        let Some(keep) = keep.upgrade() else { return };
        match keep.expire(Instant::now()) {
            Some(next) => wait = next,
            None => return,
        }
    }
}
