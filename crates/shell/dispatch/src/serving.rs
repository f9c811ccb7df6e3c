//! Which of the threads that serve clients this one is: what they would share is had once for each of them where it pays.

use std::cell::Cell;

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
