//! A bounded number of something, over all instances of a guest.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// One of them or some, until dropped.
pub(crate) struct Slot {
    count: Arc<AtomicUsize>,
    taken: usize,
}

impl Slot {
    /// One more of those that `count` counts, if there are fewer than `max`.
    pub(crate) fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        Self::take_some(count, 1, max)
    }

    /// So many more of them, if all are `max` at most.
    pub(crate) fn take_some(count: &Arc<AtomicUsize>, taken: usize, max: usize) -> Option<Self> {
        let before = count.fetch_add(taken, Relaxed);
        // Given back when it is too many.
        let slot = Slot { count: Arc::clone(count), taken };
        (before.saturating_add(taken) <= max).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.count.fetch_sub(self.taken, Relaxed);
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

    #[test]
    fn some_are_taken_together_or_not_at_all() {
        let count = Arc::default();
        let held = Slot::take_some(&count, 7, 10).unwrap();
        assert!(Slot::take_some(&count, 4, 10).is_none());
        assert!(Slot::take_some(&count, 3, 10).is_some());
        drop(held);
        assert_eq!(count.load(Relaxed), 0);
    }
}
