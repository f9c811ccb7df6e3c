//! A bounded number of something, over all instances of a guest.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// One of them, until dropped.
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// One more of those that `count` counts, if there are fewer than `max`.
    pub(crate) fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let before = count.fetch_add(1, Relaxed);
        // Given back when it is too many.
        let slot = Slot(Arc::clone(count));
        (before < max).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_than_allowed_and_those_that_end_make_room() {
        let count = Arc::default();
        let held: Vec<_> = (0..3).map_while(|_| Slot::take(&count, 2)).collect();
        assert_eq!((held.len(), count.load(Relaxed)), (2, 2), "one that is refused is not counted");
        drop(held);
        assert!(Slot::take(&count, 1).is_some());
    }
}
