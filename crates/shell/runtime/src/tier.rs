//! Linked code that better code replaces while guests use it.
//!
//! Compiling a large guest well takes many seconds, compiling it at all takes one or two. Its first requests are answered by
//! what a baseline compiler made; when the optimised code is there, [`Tiers::improve`] puts it in its place. Who runs the
//! old code goes on with it, and the last of them lets it go: nothing waits, and no request is lost.
//!
//! Deliberately absent: changing the code of an instance that runs. A request ends on what it began with, which is why
//! commands, that run for months, are never compiled in a hurry.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use arc_swap::{ArcSwap, Guard};

/// The best code there is at present.
pub(crate) struct Tiers<T> {
    best: ArcSwap<T>,
    is_final: AtomicBool,
}

impl<T> Tiers<T> {
    /// Code that stays.
    pub(crate) fn optimised(code: T) -> Self {
        Self { best: ArcSwap::from_pointee(code), is_final: AtomicBool::new(true) }
    }

    /// Code that is good enough to begin with.
    pub(crate) fn early(code: T) -> Self {
        Self { best: ArcSwap::from_pointee(code), is_final: AtomicBool::new(false) }
    }

    /// What to run now: no lock and no count that threads share. Keep it for moments, as long as an instance takes to be made.
    pub(crate) fn best(&self) -> Guard<Arc<T>> {
        self.best.load()
    }

    /// Has everything that begins from now on run `code`.
    pub(crate) fn improve(&self, code: T) {
        self.best.store(Arc::new(code));
        self.is_final.store(true, Relaxed);
    }

    /// Whether no better code is to come.
    pub(crate) fn is_optimised(&self) -> bool {
        self.is_final.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_early_code_keeps_it_until_its_end_and_nobody_else_does() {
        let early = Arc::new(());
        let tiers = Tiers::early(Some(Arc::clone(&early)));
        let running = tiers.best();
        assert!(!tiers.is_optimised());
        tiers.improve(None);
        assert!(tiers.is_optimised() && tiers.best().is_none() && running.is_some());
        drop(running);
        assert_eq!(Arc::strong_count(&early), 1, "early code is let go");
    }
}
