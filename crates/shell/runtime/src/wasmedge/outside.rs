//! What is known of a process outside of this one: what it has used, and its limits.
//!
//! The kernel counts; it is asked when somebody wants to know, and every [`PERIOD`] while a share of a core is to be held.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Notify;

use crate::{ProcessStats, meter::Meter};

/// How often a process that has a share of a core is looked at.
pub(crate) const PERIOD: Duration = Duration::from_millis(50);
/// How long the kernel's unit of processor time is: a hundredth of a second on every Linux.
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// A process that is supervised.
pub(crate) struct Outside {
    /// Zero before it starts and after it has ended.
    pid: AtomicU32,
    meter: Arc<Meter>,
    /// What the meter was charged so far, in nanoseconds.
    charged: AtomicU64,
    memory_limit: Option<u64>,
    /// Told when its share changes.
    pub(crate) changed: Notify,
}

impl Outside {
    pub(crate) fn new(meter: Arc<Meter>, memory_limit: Option<u64>) -> Self {
        let (pid, charged) = (AtomicU32::new(0), AtomicU64::new(0));
        Self { pid, meter, charged, memory_limit, changed: Notify::new() }
    }

    pub(crate) fn began(&self, pid: u32) {
        self.pid.store(pid, Relaxed);
    }

    /// It is about to be gone, or is: its number may soon be another's.
    pub(crate) fn ended(&self) {
        self.pid.store(0, Relaxed);
    }

    /// What it has used. After its end, what it was last seen to have used, and no memory.
    pub(crate) fn stats(&self) -> ProcessStats {
        self.account();
        let status = self.read("status").unwrap_or_default();
        let (memory_bytes, memory_peak_bytes) = (kibibytes(&status, "VmRSS:"), kibibytes(&status, "VmHWM:"));
        ProcessStats { cpu: self.meter.cpu(), memory_bytes, memory_peak_bytes, ..ProcessStats::default() }
    }

    /// Holds it to another share of a core. Its memory is what it was told at its start.
    pub(crate) fn limit(&self, cpu_millis: Option<u32>, memory_bytes: Option<u64>) -> bool {
        let taken = memory_bytes == self.memory_limit && self.meter.limit(cpu_millis, None);
        if taken {
            self.changed.notify_one();
        }
        taken
    }

    /// Whether there is a share to hold it to.
    pub(crate) fn is_bounded(&self) -> bool {
        self.meter.is_bounded()
    }

    /// How long it must stand still for having run more than its share.
    pub(crate) fn debt(&self) -> Option<Duration> {
        self.account();
        self.meter.debt(Instant::now())
    }

    /// Stops the process, or has it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid.load(Relaxed)).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(?pid, ?signal, %error, "signalling a WasmEdge process");
        }
    }

    /// Charges what it has run since the last look.
    fn account(&self) {
        let Some(total) = self.read("stat").as_deref().and_then(processor_time) else { return };
        let total = u64::try_from(total.as_nanos()).unwrap_or(u64::MAX);
        let before = self.charged.fetch_max(total, Relaxed);
        if total > before {
            self.meter.charge_until(Instant::now(), Duration::from_nanos(total - before));
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        let pid = self.pid.load(Relaxed);
        (pid != 0).then(|| fs::read_to_string(format!("/proc/{pid}/{file}")).ok()).flatten()
    }
}

/// User and system time in a line of `/proc/PID/stat`. The program's name, in brackets, may hold anything.
fn processor_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(CLOCK_TICK * ticks()?.saturating_add(ticks()?))
}

/// An amount in `/proc/PID/status`, in bytes.
fn kibibytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|it| it.strip_prefix(name));
    line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read_whatever_a_program_is_called() {
        let stat = "17 (a) b ((c) S 1 17 17 0 -1 4194560 5 0 0 0 250 50 0 0 20 0 1 0 5 1000 3";
        assert_eq!(processor_time(stat), Some(Duration::from_secs(3)));
        assert_eq!(processor_time("17 (a"), None);
        assert_eq!(kibibytes("Name:\ta\nVmHWM:\t  2048 kB\nVmRSS:\t 12 kB\n", "VmRSS:"), 12 << 10);
        assert_eq!(kibibytes("", "VmRSS:"), 0);
    }

    #[test]
    fn a_process_that_is_not_there_uses_nothing_and_keeps_its_memory_limit() {
        let outside = Outside::new(Arc::new(Meter::new(None, None)), Some(1 << 20));
        assert_eq!(outside.stats(), ProcessStats::default());
        assert!(!outside.limit(Some(500), Some(2 << 20)), "it was told at its start");
        assert!(!outside.is_bounded());
        assert!(outside.limit(Some(500), Some(1 << 20)) && outside.is_bounded());
    }
}
