//! In which order guests are compiled that somebody waits for.
//!
//! A compilation takes all cores and memory beside its result, so there is one at a time. But one guest must not hold up all
//! others: small ones have a turn of their own, since they are done in a moment and need little, and whatever takes longer than
//! [`PATIENCE`] lets the next begin beside it. Start at [`Queue::run`].

use std::{future::Future, pin::pin, time::Duration};

use tokio::sync::{AcquireError, Semaphore};

use crate::LoadError;

/// Largest file whose guest counts as small: some hundred milliseconds of one core, some tens of MiB.
const SMALL_BYTES: u64 = 1 << 20;

/// What the optimising compiler needs for a JavaScript component on a slow board. Longer ones are rare, or meant to be long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most compilations beside those whose turn it is: each may take some hundreds of MiB.
const BESIDE_MAX: usize = 2;

/// Turns of compilations.
pub(crate) struct Queue {
    small: Semaphore,
    large: Semaphore,
    beside: Semaphore,
    patience: Duration,
}

impl Queue {
    /// With so many turns for large guests and as many for small ones.
    pub(crate) fn new(turns: usize) -> Queue {
        Queue {
            small: Semaphore::new(turns),
            large: Semaphore::new(turns),
            beside: Semaphore::new(BESIDE_MAX),
            patience: PATIENCE,
        }
    }

    /// Does `work`, which compiles a file of so many bytes, when it is its turn.
    ///
    /// # Errors
    ///
    /// What `work` returns.
    pub(crate) async fn run<T>(
        &self,
        bytes: u64,
        work: impl Future<Output = Result<T, LoadError>>,
    ) -> Result<T, LoadError> {
        let turns = if bytes <= SMALL_BYTES { &self.small } else { &self.large };
        let turn = turns.acquire().await.map_err(closed)?;
        let mut work = pin!(work);
        if let Ok(done) = tokio::time::timeout(self.patience, &mut work).await {
            return done;
        }
        tokio::select! {
            done = &mut work => done,
            beside = self.beside.acquire() => {
                let _beside = beside.map_err(closed)?;
                drop(turn);
                work.await
            }
        }
    }
}

fn closed(_: AcquireError) -> LoadError {
    LoadError::Compile("the runtime is closing".into())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use super::*;

    /// Begins compilations that never end, and counts them.
    fn begin(queue: &Arc<Queue>, begun: &Arc<AtomicUsize>, bytes: u64) {
        let (queue, begun) = (Arc::clone(queue), Arc::clone(begun));
        let endless = async move {
            begun.fetch_add(1, SeqCst);
            std::future::pending::<Result<(), LoadError>>().await
        };
        tokio::spawn(async move { queue.run(bytes, endless).await });
    }

    fn queue(patience: Duration) -> Arc<Queue> {
        Arc::new(Queue { patience, ..Queue::new(1) })
    }

    #[tokio::test]
    async fn small_ones_overtake_large_ones() {
        let (queue, begun) = (queue(PATIENCE), Arc::new(AtomicUsize::new(0)));
        begin(&queue, &begun, 20 << 20);
        while begun.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let within = Duration::from_millis(200);
        let small = queue.run(SMALL_BYTES, async { Ok(7) });
        assert_eq!(tokio::time::timeout(within, small).await, Ok(Ok(7)));
        let large = queue.run(SMALL_BYTES + 1, async { Ok(7) });
        assert!(tokio::time::timeout(within, large).await.is_err(), "they take turns");
    }

    #[tokio::test]
    async fn who_takes_long_lets_others_begin_but_not_all_of_them() {
        let (queue, begun) = (queue(Duration::from_millis(20)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..10 {
            begin(&queue, &begun, 20 << 20);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(begun.load(SeqCst), 1 + BESIDE_MAX);
    }

    #[tokio::test]
    async fn what_work_returns_is_given() {
        let refused = Err::<(), _>(LoadError::Compile("no".into()));
        assert_eq!(Queue::new(1).run(1, std::future::ready(refused.clone())).await, refused);
    }
}
