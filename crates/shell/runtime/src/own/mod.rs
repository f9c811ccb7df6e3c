//! Commands on threads of their own: the kernel schedules them, and their code asks nobody whether its turn is over.
//!
//! Where guests share threads each loop and each function of theirs has to ask, which costs a tight loop more than its own work.
//! A command that has whole processors to itself shares none. Start at [`crate::Runtime::own_thread`], then
//! [`crate::Runtime::load_unchecked`]: that gives an [`Unshared`], a command whose code has no such checks and is its own, and
//! which runs on that thread until its end. Memory limit, log, files and connections are as with any command. Different are three
//! things: it is never held to a share, because one thread cannot have more than one processor; what it uses is what the kernel
//! counts for the thread; and it is killed by making traps of its functions ([`fault`] says how, and why that is sound).
//!
//! Deliberately absent: services, whose instances are many and short, and commands of WASI 0.3, whose engines are others.

mod bodies;
mod fault;
mod load;

use std::{sync::Arc, thread, time::Duration};

pub(crate) use bodies::Bodies;
use fault::{Entered, Faults, Target};
pub(crate) use load::{Private, Unchecked};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use crate::{GuestSpec, Loaded, Process, StartError, guest::Guest, program::Code};

/// Until the kernel is asked again for what it refused.
const AGAIN: Duration = Duration::from_millis(1);

/// As other threads of guests have it.
const NICE: i32 = 5;

/// Whether a share of `cpu_millis` thousandths of a core holds one thread back at no time.
pub(crate) fn is_never_held(cpu_millis: u32) -> bool {
    cpu_millis >= 1000
}

/// The right to have a thread for one command. There are as many as the machine has cores; this one is free again when the command
/// has ended, or when this is dropped.
#[derive(Debug)]
pub struct OwnThread {
    _permit: OwnedSemaphorePermit,
}

/// Why a command cannot have a thread of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoOwnThread {
    /// As many commands as the machine has cores have one.
    #[error("as many commands as there are cores have threads of their own already")]
    Taken,
    /// On this machine code without checks cannot be interrupted.
    #[error("on this machine only code with checks can be interrupted")]
    Unsupported,
}

impl OwnThread {
    /// One of those that are left.
    pub(crate) fn take(left: &Arc<Semaphore>) -> Result<Self, NoOwnThread> {
        Faults::get().ok_or(NoOwnThread::Unsupported)?;
        let permit = Arc::clone(left).try_acquire_owned();
        permit.map(|it| Self { _permit: it }).map_err(|_| NoOwnThread::Taken)
    }
}

/// A command for a thread of its own, with code that nobody else runs. It is started once.
pub struct Unshared {
    pub(crate) thread: OwnThread,
    pub(crate) code: Arc<Code>,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) loaded: Loaded,
}

impl Unshared {
    /// How the load that returned this value went. Code of an own is never found in memory.
    pub fn loaded(&self) -> Loaded {
        self.loaded
    }

    /// Starts it on its thread.
    ///
    /// # Errors
    ///
    /// When its spec has it held to less than a core, a mount cannot be opened, or the system gives no thread. What goes wrong
    /// later, too little memory for its start included, is its [`crate::Exit`].
    pub fn spawn(self, spec: GuestSpec) -> Result<Process, StartError> {
        if let Some(cpu_millis) = spec.cpu_millis.filter(|it| !is_never_held(*it)) {
            return Err(StartError::Invalid(format!("a share of {cpu_millis}m: a thread of its own has a whole core")));
        }
        let wants_stdin = spec.stdin;
        let guest = Arc::new(Guest::new(spec, &self.code.core)?);
        Process::start_alone(self, guest, wants_stdin)
    }
}

/// A command on its own thread, as seen from others.
pub(crate) struct Alone {
    target: Arc<Target>,
}

/// How its work ended.
pub(crate) enum Outcome<T> {
    /// By itself.
    Done(T),
    /// It was killed.
    Killed,
}

impl Alone {
    /// Runs `work`, whose guest code is `command`'s, on a thread of its own until it has ended or `stop` says so; then what it
    /// had is gone, and `tell` is called there. Sockets and timers are those of the runtime's other commands.
    pub(crate) fn start<T: 'static>(
        command: Unshared,
        stop: CancellationToken,
        work: impl Future<Output = T> + Send + 'static,
        tell: impl FnOnce(Outcome<T>) + Send + 'static,
    ) -> Result<Self, StartError> {
        let Unshared { thread: own, code, bodies, .. } = command;
        let faults = Faults::get().ok_or_else(|| StartError::Thread(NoOwnThread::Unsupported.to_string()))?;
        let target = Arc::new(Target::new(faults, bodies, &code));
        let background = code.core.background.clone();
        let (inside, stopped, handle) = (Arc::clone(&target), stop.clone(), background.clone());
        let body = move || {
            // Refused only to whoever runs at a lower priority already.
            let _ = rustix::process::nice(NICE);
            let outcome = run(&inside, &handle, &stopped, work);
            // Who waits for the end may want a thread at once.
            drop((code, own));
            tell(outcome);
        };
        let started = thread::Builder::new().name("eyot-own".into()).spawn(body);
        started.map_err(|error| StartError::Thread(error.to_string()))?;
        background.spawn(kill(Arc::clone(&target), stop));
        Ok(Self { target })
    }

    /// Processor time that its thread has taken so far.
    pub(crate) fn used(&self) -> Duration {
        self.target.used()
    }
}

fn run<T>(
    target: &Arc<Target>,
    background: &Handle,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Outcome<T> {
    let _entered = Entered::new(Arc::clone(target));
    let done = background.block_on(async {
        // The work, and with it all that the guest has, is dropped before this returns.
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            // No other task waits for this thread: what is ready stays so.
            done = tokio::task::unconstrained(work) => Some(done),
        }
    });
    match done {
        Some(done) if !target.was_ended() => Outcome::Done(done),
        _ => Outcome::Killed,
    }
}

/// Ends the guest's code once it is to end: it may be anywhere then.
async fn kill(target: Arc<Target>, stop: CancellationToken) {
    stop.cancelled().await;
    let mut is_told = false;
    // In place: guests may keep all threads busy that are for what blocks.
    while let Err(error) = tokio::task::block_in_place(|| target.end()) {
        if !std::mem::replace(&mut is_told, true) {
            tracing::warn!(%error, "ending a guest's code is tried again until it succeeds");
        }
        tokio::time::sleep(AGAIN).await;
    }
}
