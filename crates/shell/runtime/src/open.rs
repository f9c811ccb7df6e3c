//! How many files and sockets all instances of a guest may have open.
//!
//! Each of an instance's resources may be one, of which the node's process may have so many. What one instance may have is held by
//! its table ([`Task`]); what all of a guest's have is counted here, now and then: an instance is looked at after so many calls
//! that may have opened something, and has what it opened before for nothing. While a guest has too much, none of its instances
//! that is looked at gets more than it has.
//!
//! Streams of WASI 0.3 hold on to files whose descriptors are gone, and are no resources: [`Open::note_streams`] tells of them.

use std::sync::{Arc, OnceLock, atomic::AtomicUsize};

use wasmtime::{AsContextMut, component::ResourceTable};

use crate::{
    guest::Guest,
    slot::Slot,
    state::{State, Task},
};

/// Calls between two looks. Each opens one file or socket at most.
const CALLS: u32 = 64;

/// Files that this process may have open.
pub(crate) fn files_max() -> usize {
    static FILES_MAX: OnceLock<usize> = OnceLock::new();
    *FILES_MAX.get_or_init(|| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.and_then(|it| usize::try_from(it).ok()).unwrap_or(usize::MAX)
    })
}

/// Most that all instances of a guest may have, of so many files of the process: a sixteenth.
fn guest_max(files_max: usize) -> usize {
    const LEAST: usize = 256;
    (files_max / 16).max(LEAST)
}

/// What one instance has open.
pub(crate) struct Open {
    task: Task,
    /// Counted at the first look: most instances have none.
    held: Option<Slot>,
    calls: u32,
    /// Calls since streams were told of, and how many there were then.
    since_streams: u32,
    streams: usize,
}

impl Open {
    pub(crate) fn new(task: Task) -> Open {
        Open { task, held: None, calls: 0, since_streams: 0, streams: 0 }
    }

    /// Before a call of an instance of `guest` that may open something, which would be put into `table`.
    pub(crate) fn call(&mut self, guest: &Guest, table: &mut ResourceTable) {
        self.calls += 1;
        if self.calls >= CALLS {
            self.calls = 0;
            self.look(&guest.open, table, guest_max(files_max()));
        }
    }

    /// Before a call that may open something, in an instance of WASI 0.3.
    pub(crate) fn note_streams(mut store: impl AsContextMut<Data = State>) {
        let mut store = store.as_context_mut();
        let open = &mut store.data_mut().open;
        open.since_streams += 1;
        if open.since_streams >= CALLS {
            open.since_streams = 0;
            let streams = store.concurrent_resource_table().map_or(0, |it| it.iter_mut().count());
            store.data_mut().open.streams = streams;
        }
    }

    fn look(&mut self, all: &Arc<AtomicUsize>, table: &mut ResourceTable, guest_max: usize) {
        let held = table.iter_mut().count();
        let slot = self.held.get_or_insert_with(|| Slot::none(Arc::clone(all)));
        let has_room = slot.change(held + self.streams, guest_max);
        table.set_max_capacity(if has_room { self.task.resources_max() } else { held });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_too_much_gets_no_more_until_others_have_less() {
        let count: Arc<AtomicUsize> = Arc::default();
        let (mut one, mut other) = (Open::new(Task::Command), Open::new(Task::Command));
        let (mut first, mut second) = (ResourceTable::new(), ResourceTable::new());
        let opened: Vec<_> = (0..60).map(|it| first.push(it).unwrap()).collect();
        one.look(&count, &mut first, 100);
        for it in 0..60 {
            second.push(it).unwrap();
        }
        other.look(&count, &mut second, 100);
        assert!(second.push(0).is_err());
        for it in opened {
            first.delete(it).unwrap();
        }
        other.look(&count, &mut second, 100);
        assert!(second.push(0).is_err(), "nobody has looked at what the first has");
        one.look(&count, &mut first, 100);
        other.look(&count, &mut second, 100);
        assert!(second.push(0).is_ok());
        drop((one, other));
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 0);
    }

    #[test]
    fn a_guest_may_have_a_sixteenth() {
        assert_eq!([1 << 20, 8192, 1024].map(guest_max), [65_536, 512, 256]);
    }
}
