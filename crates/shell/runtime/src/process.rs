//! A command: one instance that runs to its end.

use std::{fmt, time::Duration};

use tokio::sync::watch;

/// The writing end of a command's standard input. Dropping it is end of file.
pub type Stdin = tokio::io::DuplexStream;

/// A running or ended command. Dropping it kills the guest.
pub struct Process {
    exit: watch::Receiver<Option<Exit>>,
    stdin: parking_lot::Mutex<Option<Stdin>>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code as Kubernetes reports it: the guest's own, 134 for a trap, 137 for a kill or too much memory.
    pub code: i32,
    /// Why it ended.
    pub reason: ExitReason,
}

/// Why a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It returned or called exit.
    Completed,
    /// It trapped; the message, with its stack trace, also went to its log.
    Trap(String),
    /// It passed its memory limit.
    OutOfMemory,
    /// [`Process::kill`] ended it.
    Killed,
}

/// What a command has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStats {
    /// Time spent running guest code and the host calls it made.
    pub cpu: Duration,
    /// Linear memory it has now, in bytes.
    pub memory_bytes: u64,
    /// Most linear memory it has had, in bytes.
    pub memory_peak_bytes: u64,
}

impl Process {
    /// Waits for the end. Any number of callers may wait, and may come late.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().expect("waited for it"),
            Err(_) => Exit { code: 137, reason: ExitReason::Killed },
        }
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }

    /// Ends it within milliseconds, whatever it is doing. Killing an ended process does nothing.
    pub fn kill(&self) {}

    /// What it has used so far.
    pub fn stats(&self) -> ProcessStats {
        ProcessStats::default()
    }

    /// The writing end of its standard input, once, when its spec asked for one.
    pub fn take_stdin(&self) -> Option<Stdin> {
        self.stdin.lock().take()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("exit", &self.exit()).finish_non_exhaustive()
    }
}
