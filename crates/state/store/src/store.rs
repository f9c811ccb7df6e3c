//! The store as its users see it.

use std::{
    collections::HashMap,
    fmt,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tokio::sync::{oneshot, watch};

use crate::{
    Attributes, Entry, HistoryError, Key, OpenError, Operation, Revision, Scope, Watch, Write, WriteError,
    history::Bounds,
    key::Place,
    lock::DirLock,
    queue::{Job, Queue, WriteJob},
    table::Table,
    watch::Inbox,
    writer,
};

/// Extracts labels and selectable fields from a resource's value.
pub type AttributesFn = fn(resource: &str, value: &[u8]) -> Attributes;

/// Limits of a store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Called at most once per version of an object, when someone asks for its attributes.
    pub attributes: AttributesFn,
    /// Most bytes of one value. Kubernetes takes request bodies of 3 MiB.
    pub value_bytes_max: usize,
    /// Most changes that each resource remembers.
    pub history_events_max: usize,
    /// Most bytes of replaced and deleted values that each resource remembers.
    pub history_bytes_max: usize,
    /// How long changes are remembered; Kubernetes compacts every five minutes.
    pub history_age: Duration,
    /// Most writes that wait for the disk; further writers wait for a place.
    pub queue_max: usize,
}

impl Options {
    /// The usual limits.
    pub fn new(attributes: AttributesFn) -> Options {
        Options {
            attributes,
            value_bytes_max: 3 << 20,
            history_events_max: 8192,
            history_bytes_max: 8 << 20,
            history_age: Duration::from_secs(300),
            queue_max: 1024,
        }
    }

    pub(crate) fn history(&self) -> Bounds {
        Bounds { events: self.history_events_max, bytes: self.history_bytes_max }
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Most entries; all when `None`.
    pub limit: Option<usize>,
    /// Namespace and name of the last entry already seen.
    pub after: Option<(Arc<str>, Arc<str>)>,
    /// State as of this revision; the newest when `None`.
    pub at: Option<Revision>,
    /// How many entries come after `after` at that revision, where an earlier page has told: they need not be counted then.
    pub left: Option<usize>,
}

/// Part of a scope's state at one revision.
#[derive(Debug)]
pub struct List {
    /// Ordered by namespace, then name.
    pub entries: Vec<Arc<Entry>>,
    /// The state's revision: a watch from here misses nothing, a next page at it sees the same state.
    pub revision: Revision,
    /// Entries of the scope that come after these.
    pub remaining: usize,
}

/// A store; clones are the same store. When the last one is dropped the file is closed in the background.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
}

/// What the writer's thread shares with everyone.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) queue: Queue,
    tables: RwLock<HashMap<Arc<str>, Arc<Table>>>,
    /// Newest revision on disk.
    pub(crate) committed: AtomicU64,
    /// Newest revision that is in every table and inbox.
    pub(crate) published: Arc<AtomicU64>,
}

impl Store {
    /// Opens or creates the store in `dir`, and reads it into memory. Blocks; one process at a time.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Store, OpenError> {
        let dir = dir.as_ref();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| OpenError::Directory { dir: dir.to_owned(), source })?;
        let lock = DirLock::take(dir)?;
        let shared = Arc::new(Shared {
            options,
            queue: Queue::new(options.queue_max),
            tables: RwLock::default(),
            committed: AtomicU64::new(0),
            published: Arc::default(),
        });
        let stopped = writer::start(dir, lock, shared.clone())?;
        Ok(Store { handle: Arc::new(Handle { shared, stopped }) })
    }

    /// The newest version of an object. Answers from memory.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.shared().find(&key.resource)?.get(key)
    }

    /// Entries of a scope in order. Answers from memory.
    ///
    /// # Errors
    /// When `page.at` is not in the retained history.
    pub fn list(&self, scope: &Scope, page: &Page) -> Result<List, HistoryError> {
        let shared = self.shared();
        page.at.map_or(Ok(()), |at| shared.check_reached(at))?;
        let table = shared.table(&scope.resource);
        let state = table.state.read();
        // Loaded under the lock: the table holds every change up to it, and `latest` if it is ahead.
        let newest = shared.published().max(state.latest);
        let after = page.after.clone().map(|(namespace, name)| Place { namespace, name });
        let limit = page.limit.unwrap_or(usize::MAX);
        let told = page.left.filter(|_| after.is_some());
        match page.at.filter(|at| *at < state.latest) {
            None => {
                let mut all = state.range(scope, after.as_ref());
                let entries: Vec<_> = all.by_ref().take(limit).cloned().collect();
                let known = if after.is_some() { told } else { state.count(scope) };
                let remaining = remaining(entries.len(), limit, known, || all.count());
                Ok(List { entries, revision: page.at.unwrap_or(newest), remaining })
            }
            Some(at) => {
                state.check(at)?;
                let mut all = state.range_at(scope, after.as_ref(), at);
                let entries: Vec<_> = all.by_ref().take(limit).collect();
                let remaining = remaining(entries.len(), limit, told, || all.count());
                Ok(List { entries, revision: at, remaining })
            }
        }
    }

    /// Changes of a scope after `from`, starting with those that already happened.
    ///
    /// When `buffer` changes wait unread and more come, the watcher is cut with [`crate::Lagged`].
    ///
    /// # Errors
    /// When `from` is not in the retained history.
    pub fn watch(&self, scope: &Scope, from: Revision, buffer: usize) -> Result<Watch, HistoryError> {
        let shared = self.shared();
        shared.check_reached(from)?;
        let table = shared.table(&scope.resource);
        let inbox = Arc::new(Inbox::new(scope.clone(), from, buffer.max(1)));
        table.state.write().subscribe(inbox.clone())?;
        if *self.handle.stopped.borrow() {
            inbox.close();
        }
        Ok(Watch::new(table, inbox, shared.published.clone()))
    }

    /// Makes one change. On disk, and visible to everyone, when it returns.
    ///
    /// Waits while the queue is full. Dropping it before that leaves nothing behind; later the write happens all the
    /// same, unacknowledged.
    pub async fn write(&self, write: Write) -> Result<Arc<Entry>, WriteError> {
        self.check_now(&write)?;
        let entries = self.write_all(vec![write]).await?;
        entries.into_iter().next().ok_or(WriteError::Closed)
    }

    /// Makes several changes in one step: all or none. Later ones see earlier ones. Otherwise as [`Store::write`].
    pub async fn write_all(&self, writes: Vec<Write>) -> Result<Vec<Arc<Entry>>, WriteError> {
        let permit = self.shared().queue.permit().await?;
        let (reply, answer) = oneshot::channel();
        self.shared().queue.push(Job::Write(WriteJob { writes, reply, _permit: permit }))?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    /// The newest revision that everyone can see.
    pub fn revision(&self) -> Revision {
        self.shared().published()
    }

    /// The newest change of a resource; zero when there never was one. Costs next to nothing, for those who keep what
    /// they made of all its objects.
    pub fn changed(&self, resource: &str) -> Revision {
        self.shared().find(resource).map_or(Revision(0), |it| it.state.read().latest)
    }

    /// How many objects of a resource there are. Costs next to nothing.
    pub fn count(&self, resource: &str) -> usize {
        self.shared().find(resource).map_or(0, |it| it.state.read().len())
    }

    /// Resources that hold objects, with their count.
    pub fn resources(&self) -> Vec<(Arc<str>, usize)> {
        let tables = self.shared().tables();
        tables.iter().map(|it| (it.resource.clone(), it.state.read().len())).filter(|it| it.1 > 0).collect()
    }

    /// Forgets changes up to and including `through`, ahead of time; the disk follows in the background.
    pub async fn compact(&self, through: Revision) -> Result<(), WriteError> {
        let (reply, answer) = oneshot::channel();
        self.shared().queue.push(Job::Compact(through, reply))?;
        answer.await.map_err(|_| WriteError::Closed)
    }

    /// Takes no more writes, finishes those that wait, ends watches, and closes the file. Reads go on.
    pub async fn close(&self) {
        self.shared().queue.close();
        let mut stopped = self.handle.stopped.clone();
        // An error means that the thread is gone, which is what is waited for.
        let _ = stopped.wait_for(|it| *it).await;
    }

    /// Whether writes are still taken: not closed, and its writer alive.
    pub fn is_open(&self) -> bool {
        !self.shared().queue.is_closed() && !*self.handle.stopped.borrow()
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Refuses without a wait what the newest state already refuses.
    fn check_now(&self, write: &Write) -> Result<(), WriteError> {
        match (write.operation, self.get(&write.key)) {
            (Operation::Create, Some(current)) => Err(WriteError::Exists { current }),
            (Operation::Update { .. } | Operation::Delete { .. }, None) => {
                Err(WriteError::NotFound { key: write.key.clone() })
            }
            (Operation::Update { expect: expected } | Operation::Delete { expect: Some(expected) }, Some(current))
                if current.revision != expected =>
            {
                Err(WriteError::Conflict { current, expected })
            }
            _ => Ok(()),
        }
    }
}

/// How many entries come after those of a page; `known` is how many there were with them.
fn remaining(found: usize, limit: usize, known: Option<usize>, count: impl FnOnce() -> usize) -> usize {
    if found < limit {
        return 0;
    }
    // Where none should be left it costs nothing to look.
    known.and_then(|it| it.checked_sub(found)).filter(|it| *it > 0).unwrap_or_else(count)
}

impl Shared {
    pub(crate) fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::Acquire))
    }

    pub(crate) fn find(&self, resource: &str) -> Option<Arc<Table>> {
        self.tables.read().get(resource).cloned()
    }

    /// The resource's table, made if there is none.
    pub(crate) fn table(&self, resource: &Arc<str>) -> Arc<Table> {
        if let Some(table) = self.find(resource) {
            return table;
        }
        let make = || Arc::new(Table::new(resource.clone()));
        self.tables.write().entry(resource.clone()).or_insert_with(make).clone()
    }

    pub(crate) fn tables(&self) -> Vec<Arc<Table>> {
        self.tables.read().values().cloned().collect()
    }

    fn check_reached(&self, requested: Revision) -> Result<(), HistoryError> {
        let current = Revision(self.committed.load(Ordering::Acquire));
        match requested > current {
            true => Err(HistoryError::Future { requested, current }),
            false => Ok(()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store(@{})", self.revision())
    }
}
