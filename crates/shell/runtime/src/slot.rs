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

    /// None of those that `count` counts, until it is changed.
    pub(crate) fn none(count: Arc<AtomicUsize>) -> Self {
        Self { count, taken: 0 }
    }

    /// So many more of them, if all are `max` at most.
    pub(crate) fn take_some(count: &Arc<AtomicUsize>, taken: usize, max: usize) -> Option<Self> {
        let before = count.fetch_add(taken, Relaxed);
        // Given back when it is too many.
        let slot = Slot { count: Arc::clone(count), taken };
        (before.saturating_add(taken) <= max).then_some(slot)
    }

    /// Makes it `taken` of them, if that is fewer, or all are `max` at most.
    pub(crate) fn change(&mut self, taken: usize, max: usize) -> bool {
        if let Some(fewer) = self.taken.checked_sub(taken) {
            self.count.fetch_sub(fewer, Relaxed);
        } else if let Some(mut more) = Self::take_some(&self.count, taken - self.taken, max) {
            // This one gives them back now.
            more.taken = 0;
        } else {
            return false;
        }
        self.taken = taken;
        true
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

    #[test]
    fn one_that_changes_takes_the_difference() {
        let count = Arc::default();
        let (mut one, mut other) = (Slot::none(Arc::clone(&count)), Slot::none(Arc::clone(&count)));
        assert!(one.change(7, 10) && other.change(3, 10));
        assert!(!one.change(8, 10));
        assert_eq!(count.load(Relaxed), 10, "one that is refused is as it was");
        assert!(other.change(1, 10) && one.change(9, 10));
        drop(other);
        assert_eq!(count.load(Relaxed), 9);
        drop(one);
        assert_eq!(count.load(Relaxed), 0);
    }
}
