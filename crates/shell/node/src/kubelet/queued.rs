//! Bytes of a client on their way to those who read its streams, bounded over all streams of a connection.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one connection that wait for their readers: tens of what clients send at once, and little enough for as many
/// connections as there are places.
const BYTES_MAX: usize = 1 << 20;

/// Room for the bytes of one connection.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// Bytes that count until they are dropped.
struct Counted {
    bytes: Box<[u8]>,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    pub(super) fn new() -> Room {
        Room(Arc::new(Semaphore::new(BYTES_MAX)))
    }

    /// A copy of `bytes`, once there is room for it, that takes the room until it is dropped. It is a copy, for a few bytes
    /// that wait would keep all that was read together with them.
    pub(super) async fn take(&self, bytes: &[u8]) -> Bytes {
        // What is larger than all the room comes when nothing else waits.
        let wanted = u32::try_from(bytes.len().min(BYTES_MAX)).unwrap_or(u32::MAX);
        let room = self.0.clone().acquire_many_owned(wanted).await.ok();
        Bytes::from_owner(Counted { bytes: bytes.into(), _room: room })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_waits_for_its_readers_is_bounded() {
        let room = Room::new();
        let mut waiting = Vec::new();
        let part = vec![7; BYTES_MAX / 4];
        for _ in 0..4 {
            waiting.push(room.take(&part).await);
        }
        let late = Duration::from_millis(50);
        assert!(tokio::time::timeout(late, room.take(b"x")).await.is_err(), "there is no room");
        let read = waiting.swap_remove(0);
        assert_eq!(read, part);
        drop(read);
        assert_eq!(room.take(b"x").await, "x");
        drop(waiting);
        assert_eq!(room.take(&vec![1; 2 * BYTES_MAX]).await.len(), 2 * BYTES_MAX);
    }
}
