//! What all guests of a runtime keep together: a bounded part of its slots, and all of it when somebody needs a slot.

use std::sync::{Arc, Weak, atomic::AtomicUsize};

use parking_lot::Mutex;
use wasmtime::{Engine, PoolConcurrencyLimitError};

use super::Keep;
use crate::{share::PLACES, slot::Slot};

/// Where kept instances are counted, and found by those who need their place.
pub(crate) struct Shelf {
    kept: Arc<AtomicUsize>,
    kept_max: usize,
    /// Guests that keep some, or did.
    guests: Mutex<Vec<Weak<Keep>>>,
}

/// How many places kept instances may have of a pool of so many: a quarter may be idle.
pub(crate) fn kept_max(slots: usize) -> usize {
    slots.div_ceil(4)
}

impl Shelf {
    /// For a pool of so many instances.
    pub(crate) fn new(slots: Option<u32>) -> Shelf {
        let kept_max = kept_max(slots.map_or(PLACES, |it| it as usize));
        Shelf { kept: Arc::default(), kept_max, guests: Mutex::default() }
    }

    /// Room for an instance that takes so many places, if there is some.
    pub(super) fn room(&self, places: usize) -> Option<Slot> {
        Slot::take_some(&self.kept, places, self.kept_max)
    }

    /// Has the instances of `keep` found from now on.
    pub(super) fn add(&self, keep: &Arc<Keep>) {
        let new = Arc::downgrade(keep);
        let mut guests = self.guests.lock();
        guests.retain(|it| it.strong_count() > 0 && !it.ptr_eq(&new));
        guests.push(new);
    }

    /// Throws a kept instance on `engine` away, so that what failed with `error` can be tried again.
    ///
    /// # Errors
    ///
    /// `error` itself, when it is about something else or no such instance is kept.
    pub(super) fn make_room(&self, engine: &Engine, error: wasmtime::Error) -> wasmtime::Result<()> {
        if error.downcast_ref::<PoolConcurrencyLimitError>().is_none() {
            return Err(error);
        }
        let guests: Vec<Arc<Keep>> = self.guests.lock().iter().filter_map(Weak::upgrade).collect();
        if guests.iter().any(|it| it.give_up(|kept| kept.is_on(engine))) { Ok(()) } else { Err(error) }
    }
}
