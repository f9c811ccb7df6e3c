//! How long a thread's turns are, where the kernel lets a thread ask for it (Linux 6.12 and later).
//!
//! Whoever wakes waits until the turn of the one who runs is over: milliseconds, of which an answer takes a tenth, and a lower
//! priority does not shorten it. Only who has shorter turns than the one who runs need not wait. How much of a processor each
//! gets remains what their priorities say.
#![allow(unsafe_code, reason = "neither call has a safe wrapper among the dependencies")]

use std::time::Duration;

/// Has this thread's turns, and those of the threads that it starts, last so long: 0.1 to 100 ms. Older kernels keep to theirs.
pub(crate) fn last(turn: Duration) {
    let Some(mut now) = asked() else { return };
    if [libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&now.sched_policy.cast_signed()) {
        now.sched_runtime = u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: the call reads the structure, whose size stands in it, and changes when this thread runs, not what it does.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const now, 0) };
    }
}

/// How this thread is scheduled.
fn asked() -> Option<libc::sched_attr> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).ok()?;
    let mut it = libc::sched_attr {
        size,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the call writes at most as many bytes to the structure as it is told that it has.
    let failed = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut it, size, 0) };
    (failed == 0).then_some(it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_change_and_priorities_do_not() {
        let thread = std::thread::spawn(|| {
            rustix::process::setpriority_process(None, 7).unwrap();
            let before = asked().unwrap();
            last(Duration::from_micros(700));
            let [own, inherited] = [asked().unwrap(), std::thread::spawn(|| asked().unwrap()).join().unwrap()];
            (before, own, inherited)
        });
        let (before, own, inherited) = thread.join().unwrap();
        // Before 6.12 the kernel tells of none.
        let turn = if before.sched_runtime == 0 { 0 } else { 700_000 };
        for it in [own, inherited] {
            assert_eq!((it.sched_runtime, it.sched_nice, it.sched_policy), (turn, 7, before.sched_policy));
        }
    }
}
