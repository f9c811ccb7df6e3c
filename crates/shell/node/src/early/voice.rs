//! What guests print that have no pod yet, kept for the pod that follows.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use eyot_runtime::{LateMounts, LogSink, LogStream, Mount};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    logs::Log,
    pod::{self, Owner, Shared},
};

/// Bytes kept for the log of a pod that is not there yet.
const KEPT_MAX: usize = 16 << 10;
/// How long a guest that looks for its volumes waits for a pod.
const PATIENCE: Duration = Duration::from_secs(3);

/// The log of a revision's guests that have no pod: kept until a pod is there, then its own.
#[derive(Default)]
pub(crate) struct Voice {
    inner: Mutex<Inner>,
    adopted: Notify,
}

#[derive(Default)]
struct Inner {
    log: Weak<Log>,
    owner: Weak<Owner>,
    kept: Vec<(LogStream, Box<[u8]>)>,
    bytes: usize,
    dropped: usize,
}

impl Voice {
    /// The pod of `owner` prints to `log`, and so does this from now on.
    pub(crate) fn adopt(&self, owner: &Arc<Owner>, log: &Arc<Log>) {
        {
            let mut inner = self.inner.lock();
            if inner.living().is_some() {
                // One of several instances: the first has taken it all.
                return;
            }
            inner.log = Arc::downgrade(log);
            inner.owner = Arc::downgrade(owner);
            inner.hand_over(log);
        }
        self.adopted.notify_waiters();
    }

    fn owner(&self) -> Option<Arc<Owner>> {
        let inner = self.inner.lock();
        inner.living()?;
        inner.owner.upgrade()
    }

    /// Waits for a pod.
    async fn pod(&self) -> Option<Arc<Owner>> {
        let wait = async {
            loop {
                let adopted = self.adopted.notified();
                if let Some(owner) = self.owner() {
                    return owner;
                }
                adopted.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.ok()
    }
}

impl Inner {
    /// The log of a pod that still writes it.
    fn living(&self) -> Option<Arc<Log>> {
        self.log.upgrade().filter(|it| !it.is_closed())
    }

    fn hand_over(&mut self, log: &Log) {
        for (stream, bytes) in std::mem::take(&mut self.kept) {
            log.write(stream, &bytes);
        }
        if self.dropped > 0 {
            let note = format!("eyot: {} bytes of log were dropped before this pod was there\n", self.dropped);
            log.write(LogStream::Stderr, note.as_bytes());
        }
        (self.bytes, self.dropped) = (0, 0);
    }
}

impl LogSink for Voice {
    fn write(&self, stream: LogStream, bytes: &[u8]) {
        let mut inner = self.inner.lock();
        if let Some(log) = inner.living() {
            drop(inner);
            return log.write(stream, bytes);
        }
        let room = KEPT_MAX - inner.bytes;
        let (kept, dropped) = bytes.split_at(room.min(bytes.len()));
        if !kept.is_empty() {
            inner.kept.push((stream, kept.into()));
            inner.bytes += kept.len();
        }
        inner.dropped += dropped.len();
    }
}

/// Volumes that come late, which are those of the pod that follows.
pub(super) struct Mounts {
    pub(super) voice: Arc<Voice>,
    pub(super) container: Box<str>,
    pub(super) key: Arc<str>,
    pub(super) shared: Weak<Shared>,
}

impl LateMounts for Mounts {
    fn mounts(self: Arc<Self>) -> BoxFuture<'static, Option<Vec<Mount>>> {
        Box::pin(async move {
            let owner = self.voice.pod().await?;
            let made = pod::late_mounts(&owner, &self.container).mounts().await;
            // They go with that pod, and a guest keeps what it was given: the next one is another.
            if let Some(shared) = self.shared.upgrade() {
                shared.early.spoil(&self.key);
            }
            made
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_before_comes_first_and_is_bounded() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0.log");
        let log = Log::new(&path, Arc::default());
        let voice = Voice::default();
        voice.write(LogStream::Stdout, b"early\n");
        voice.write(LogStream::Stdout, &[b'x'; KEPT_MAX]);
        let mut inner = voice.inner.lock();
        assert_eq!((inner.bytes, inner.dropped), (KEPT_MAX, 6));
        inner.log = Arc::downgrade(&log);
        inner.hand_over(&log);
        drop(inner);
        voice.write(LogStream::Stdout, b"\nlate\n");
        log.close();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|it| it.split_once(' ').unwrap().1).collect();
        assert_eq!(lines[0], "stdout F early");
        assert!(lines.iter().any(|it| it.contains("eyot: 6 bytes of log were dropped")), "{lines:?}");
        assert_eq!(lines[lines.len() - 1], "stdout F late");
        voice.write(LogStream::Stdout, b"kept for the next\n");
        assert_eq!(voice.inner.lock().bytes, 18, "the pod is over");
    }
}
