//! Which of the threads that serve clients this one is, and what each of them has of its own ([`PerThread`]).
//!
//! A counter that two processors write to has to come over from the other one each time. A request counts some twenty things, and
//! waiting for all of them takes a tenth of it.

use std::{cell::Cell, sync::OnceLock};

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// Says that this thread serves clients, as the one of that number, from zero.
pub fn set_thread(number: usize) {
    NUMBER.set(number);
}

/// The number of this thread; 0 for one that serves nobody as well.
pub fn thread() -> usize {
    NUMBER.get()
}

/// Threads that have a part of their own. Where there are more, some share one.
const PARTS: usize = 8;

/// What each thread writes to without another one that does. A part is made when its thread first asks for it: let it be a
/// [`Box`] or an [`std::sync::Arc`], so that it lies apart from the others.
#[derive(Debug)]
pub struct PerThread<T>([OnceLock<T>; PARTS]);

impl<T> PerThread<T> {
    /// The part of this thread.
    pub fn here(&self, make: impl FnOnce() -> T) -> &T {
        self.0[thread() % PARTS].get_or_init(make)
    }

    /// All parts that were made.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get)
    }
}

impl<T> Default for PerThread<T> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; PARTS])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[test]
    fn each_thread_has_a_part_and_all_of_them_are_found() {
        let counts = PerThread::<Box<AtomicUsize>>::default();
        assert_eq!(counts.all().count(), 0);
        std::thread::scope(|scope| {
            for number in 0..3 {
                let counts = &counts;
                scope.spawn(move || {
                    set_thread(number);
                    for _ in 0..=number {
                        counts.here(Box::default).fetch_add(1, Relaxed);
                    }
                });
            }
        });
        let counted: Vec<_> = counts.all().map(|it| it.load(Relaxed)).collect();
        assert_eq!(counted, [1, 2, 3]);
        assert!(
            std::ptr::eq(counts.here(Box::default), counts.all().next().unwrap()),
            "who serves nobody has the first"
        );
    }
}
