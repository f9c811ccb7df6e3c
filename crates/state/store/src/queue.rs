//! Bounded queue from writers to the writer's thread.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{Entry, Revision, Write, WriteError};

/// What the thread is asked to do.
pub(crate) enum Job {
    /// Change objects, all or none.
    Write(WriteJob),
    /// Forget history up to a revision.
    Compact(Revision, oneshot::Sender<()>),
}

/// Writes that stand or fall together.
pub(crate) struct WriteJob {
    pub(crate) writes: Vec<Write>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Arc<Entry>>, WriteError>>,
    /// Given back when the job is answered.
    pub(crate) _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// Jobs that wait; whoever would be one too many waits for a permit first.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    permits: Arc<Semaphore>,
}

/// What taking from the queue gave.
pub(crate) enum Taken {
    /// At least one job.
    Jobs(Vec<Job>),
    /// The wait was over first.
    Idle,
    /// Closed and empty.
    Closed,
}

impl Queue {
    pub(crate) fn new(max: usize) -> Queue {
        Queue { state: Mutex::default(), arrived: Condvar::new(), permits: Arc::new(Semaphore::new(max)) }
    }

    /// Waits for room. Cancel-safe.
    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit, WriteError> {
        self.permits.clone().acquire_owned().await.map_err(|_| WriteError::Closed)
    }

    pub(crate) fn push(&self, job: Job) -> Result<(), WriteError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(WriteError::Closed);
        }
        state.jobs.push_back(job);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes up to `max` jobs, waiting for the first; for ever when `wait` is `None`.
    pub(crate) fn take(&self, max: usize, wait: Option<Duration>) -> Taken {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            match wait {
                None => self.arrived.wait(&mut state),
                Some(wait) if self.arrived.wait_for(&mut state, wait).timed_out() && state.jobs.is_empty() => {
                    return if state.closed { Taken::Closed } else { Taken::Idle };
                }
                Some(_) => {}
            }
        }
        let count = state.jobs.len().min(max);
        Taken::Jobs(state.jobs.drain(..count).collect())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// No more jobs come in; those that wait are still done.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.permits.close();
        self.arrived.notify_all();
    }

    /// Drops the jobs that wait, which tells their writers that the store is closed.
    pub(crate) fn abandon(&self) {
        self.close();
        self.state.lock().jobs.clear();
    }
}
