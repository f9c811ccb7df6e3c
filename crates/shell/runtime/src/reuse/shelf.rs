//! What all guests of a runtime keep together: a bounded part of its slots, and all of it when somebody needs a slot.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use parking_lot::Mutex;
use wasmtime::{Engine, PoolConcurrencyLimitError};

use super::Keep;
use crate::share::PLACES;

/// Where kept instances are counted, and found by those who need their place.
pub(crate) struct Shelf {
    kept: Arc<AtomicUsize>,
    kept_max: usize,
    /// Guests that keep some, or did.
    guests: Mutex<Vec<Weak<Keep>>>,
}

/// The place of one kept instance.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Shelf {
    /// For a pool of so many instances: a quarter of them may be idle.
    pub(crate) fn new(slots: Option<u32>) -> Shelf {
        let kept_max = slots.map_or(PLACES, |it| it as usize).div_ceil(4);
        Shelf { kept: Arc::default(), kept_max, guests: Mutex::default() }
    }

    /// A place, if one is left.
    pub(super) fn place(&self) -> Option<Place> {
        let before = self.kept.fetch_add(1, Relaxed);
        let place = Place(Arc::clone(&self.kept));
        (before < self.kept_max).then_some(place)
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
