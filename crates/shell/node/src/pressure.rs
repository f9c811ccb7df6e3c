//! What the machine is short of, as the node's conditions say.
//!
//! Start at [`Pressures::look`]. A shortage holds for five minutes after it was last seen, as the kubelet's does, so that one
//! that comes and goes does not have the node written each time.

use std::{path::Path, time::Duration};

use eyot_instance::Moment;

use crate::{register, room};

/// How long a shortage is told of that is not seen any more, as the kubelet's.
const LASTS: Duration = Duration::from_secs(300);
/// Memory that is still to be had below which there is a shortage, as the kubelet's.
const MEMORY_BYTES_MIN: u64 = 100 << 20;

/// One shortage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    /// Whether it holds, and since when; nothing has been seen where there is no time.
    pub(crate) holds: bool,
    pub(crate) since: Option<Moment>,
    seen: Option<Moment>,
}

impl Pressure {
    /// Takes in whether there is a shortage `now`. Whether that changes what is told.
    fn note(&mut self, is_short: bool, now: Moment) -> bool {
        if is_short {
            self.seen = Some(now);
        }
        let holds = self.seen.is_some_and(|it| now.since(it) < LASTS);
        if self.since.is_some() && holds == self.holds {
            return false;
        }
        (self.holds, self.since) = (holds, Some(now));
        true
    }
}

/// What may run short.
#[derive(Default)]
pub(crate) struct Pressures {
    pub(crate) disk: Pressure,
    pub(crate) memory: Pressure,
}

impl Pressures {
    /// Asks the system, for the disk of `directory`. Whether something changed. What cannot be asked is not short.
    pub(crate) fn look(&mut self, directory: &Path, now: Moment) -> bool {
        let is_full = room::is_short(directory).is_ok_and(|it| it);
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = register::memory(&meminfo, "MemAvailable:");
        let changed = self.disk.note(is_full, now);
        self.memory.note(available.is_some_and(|it| it < MEMORY_BYTES_MIN), now) || changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_holds_until_none_was_seen_for_a_while() {
        let mut pressure = Pressure::default();
        let mut note = |seconds: u64, is_short| {
            let changed = pressure.note(is_short, Moment(seconds * 1000));
            (changed, pressure.holds, pressure.since.map(|it| it.0 / 1000))
        };
        assert_eq!(note(10, false), (true, false, Some(10)), "it is told of the first time");
        assert_eq!(note(20, false), (false, false, Some(10)));
        assert_eq!(note(30, true), (true, true, Some(30)));
        assert_eq!(note(40, false), (false, true, Some(30)));
        assert_eq!(note(50, true), (false, true, Some(30)));
        assert_eq!(note(349, false), (false, true, Some(30)));
        assert_eq!(note(350, false), (true, false, Some(350)));
    }
}
