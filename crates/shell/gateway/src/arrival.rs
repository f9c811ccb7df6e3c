//! A moment's patience with Services that have no endpoint.
//!
//! Whoever scales a Service up hears from its Deployment that it is available at the moment at which its endpoints are written,
//! and may ask before they have come here. What would be answered 503 a few milliseconds too early waits for them instead.
//!
//! Start at [`Arrivals`].

use std::time::Duration;

use tokio::sync::Semaphore;

use crate::services::Pool;

/// Requests and connections that wait at once, for all Services: a Service that stays empty must not gather what is sent to it.
const WAITING_MAX: usize = 1024;

/// Who waits for endpoints.
pub(crate) struct Arrivals {
    room: Semaphore,
    timeout: Duration,
}

impl Arrivals {
    /// A wait takes so long at most.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { room: Semaphore::new(WAITING_MAX), timeout }
    }

    /// Waits until `pool` has an endpoint. False when none came, or too many wait already.
    pub(crate) async fn wait(&self, pool: &Pool) -> bool {
        let Ok(_place) = self.room.try_acquire() else { return false };
        let arrived = async {
            loop {
                // Before the look: what comes after it wakes.
                let changed = pool.changed();
                if !pool.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(self.timeout, arrived).await.is_ok()
    }
}
