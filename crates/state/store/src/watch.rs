//! Delivery of changes to one watcher through a bounded inbox.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures::Stream;
use parking_lot::Mutex;

use crate::{Event, Lagged, Revision, Scope, table::Table};

/// Between the writer, which never waits for a watcher, and the watcher.
#[derive(Debug)]
pub(crate) struct Inbox {
    scope: Scope,
    /// Nothing up to here is delivered.
    from: Revision,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    /// Most events that may wait when more arrive.
    max: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

/// Why no more events come once the queue is empty.
#[derive(Clone, Copy, Debug)]
enum End {
    Lagged(Lagged),
    Closed,
}

impl Inbox {
    pub(crate) fn new(scope: Scope, from: Revision, max: usize) -> Inbox {
        Inbox { scope, from, queue: Mutex::new(Queue { max, ..Queue::default() }) }
    }

    /// Queues what happened before the watcher came. History is bounded, so this is not held against its limit.
    pub(crate) fn fill<'a>(&self, events: impl Iterator<Item = &'a Arc<Event>>) {
        let mut queue = self.queue.lock();
        queue.events.extend(events.filter(|it| self.wants(it)).cloned());
        queue.max += queue.events.len();
    }

    /// Queues new changes; false when the watcher is to be forgotten. A batch is taken whole or not at all.
    pub(crate) fn offer(&self, events: &[Arc<Event>], wakers: &mut Vec<Waker>) -> bool {
        let mut matching = events.iter().filter(|it| self.wants(it)).peekable();
        if matching.peek().is_none() {
            return true;
        }
        let mut queue = self.queue.lock();
        let behind = queue.events.len();
        let fits = behind < queue.max;
        match fits {
            true => queue.events.extend(matching.cloned()),
            false => queue.end = Some(End::Lagged(Lagged { behind })),
        }
        wakers.extend(queue.waker.take());
        fits
    }

    fn wants(&self, event: &Event) -> bool {
        event.revision() > self.from && self.scope.admits(event.key())
    }

    pub(crate) fn from(&self) -> Revision {
        self.from
    }

    pub(crate) fn close(&self) {
        let waker = {
            let mut queue = self.queue.lock();
            queue.end.get_or_insert(End::Closed);
            queue.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Changes of a scope in revision order, each exactly once, as a stream.
///
/// Yields [`Lagged`] once and then ends when it is not read as fast as changes come; ends without error when the store
/// closes. Dropping it unsubscribes.
pub struct Watch {
    table: Arc<Table>,
    inbox: Arc<Inbox>,
    published: Arc<AtomicU64>,
    /// The newest change handed out, or where the watch began.
    seen: Revision,
}

impl Watch {
    pub(crate) fn new(table: Arc<Table>, inbox: Arc<Inbox>, published: Arc<AtomicU64>) -> Watch {
        let seen = inbox.from();
        Watch { table, inbox, published, seen }
    }

    /// The next change; `None` when the watch has ended. Safe to drop at any await: no change is lost.
    pub async fn next(&mut self) -> Option<Result<Arc<Event>, Lagged>> {
        std::future::poll_fn(|cx| self.poll_one(cx)).await
    }

    /// At least one and at most `max` changes at a time; `None` when the watch has ended. Safe to drop at any await.
    pub async fn next_batch(&mut self, max: usize) -> Option<Result<Vec<Arc<Event>>, Lagged>> {
        let first = match self.next().await? {
            Ok(first) => first,
            Err(lagged) => return Some(Err(lagged)),
        };
        let mut batch = vec![first];
        let mut queue = self.inbox.queue.lock();
        let more = queue.events.len().min(max.saturating_sub(1));
        batch.extend(queue.events.drain(..more));
        self.seen = batch[batch.len() - 1].revision();
        Some(Ok(batch))
    }

    /// A revision for a bookmark: every change of the scope up to it was handed out.
    pub fn progress(&self) -> Revision {
        // Read first: what is published is in the inbox already, so an empty inbox means all of it was handed out.
        let published = Revision(self.published.load(Ordering::Acquire));
        match self.inbox.queue.lock().events.is_empty() {
            true => self.seen.max(published),
            false => self.seen,
        }
    }

    fn poll_one(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Arc<Event>, Lagged>>> {
        let mut queue = self.inbox.queue.lock();
        if let Some(event) = queue.events.pop_front() {
            if queue.events.is_empty() {
                // An idle watcher costs no buffer.
                queue.events.shrink_to(4);
            }
            self.seen = event.revision();
            return Poll::Ready(Some(Ok(event)));
        }
        match queue.end {
            Some(End::Lagged(lagged)) => {
                queue.end = Some(End::Closed);
                Poll::Ready(Some(Err(lagged)))
            }
            Some(End::Closed) => Poll::Ready(None),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Stream for Watch {
    type Item = Result<Arc<Event>, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_one(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({:?} after {})", self.inbox.scope, self.seen)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.table.state.write().unsubscribe(&self.inbox);
    }
}
