//! A place for what others make of something, kept as long as the thing itself.

use std::{any::Any, fmt, sync::OnceLock};

/// Room for one thing of any type, made at first use.
#[derive(Default)]
pub(super) struct Kept(OnceLock<Box<dyn Any + Send + Sync>>);

impl Kept {
    /// What is kept, made now if nothing is yet.
    ///
    /// # Panics
    /// When asked for things of two types: there is room for one.
    pub(super) fn get<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        let kept = self.0.get_or_init(|| Box::new(make()));
        kept.downcast_ref().expect("one thing is kept, of one type")
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Kept" } else { "Empty" })
    }
}
