//! The one thread that changes anything: takes what waits, decides, makes it durable, then makes it visible.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use crate::{
    Entry, Event, Key, OpenError, Revision, WriteError,
    batch::{Batch, Names, Rules},
    disk::{self, Disk, DiskError},
    history::Garbage,
    load,
    lock::DirLock,
    queue::{Job, Taken, WriteJob},
    store::Shared,
    table::Table,
};

/// Jobs of one transaction: enough that the flush costs each little, few enough that none waits long.
const BATCH_JOBS: usize = 256;
/// Bytes of one transaction before it is closed.
const BATCH_BYTES: usize = 8 << 20;
/// Rows deleted at a time; a writer may have to wait for them.
const SWEEP_ROWS: usize = 512;
/// Deletable rows that are left for an idle moment before they are deleted under load as well.
const GARBAGE_MAX: usize = 20_000;
/// Pause in writing after which rows are deleted.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);
/// Pause in writing after which the write-ahead log is moved into the database.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);
/// How long housekeeping rests after the disk refused it.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
/// How precisely the age of a change is known.
const AGE_STEP: Duration = Duration::from_secs(10);

type Answer = (oneshot::Sender<Result<Vec<Arc<Entry>>, WriteError>>, Result<Vec<Arc<Entry>>, WriteError>);

struct Writer {
    shared: Arc<Shared>,
    disk: Disk,
    names: Names,
    rules: Rules,
    last: Revision,
    objects: u64,
    garbage: VecDeque<(Arc<str>, Garbage)>,
    /// Garbage that is the newest row: it stays until there is a newer one, since it tells how many objects there are.
    newest: Option<(Arc<str>, Garbage)>,
    /// Which revision the store had when, oldest first.
    ages: VecDeque<(Instant, Revision)>,
    checkpointed: bool,
    /// Housekeeping waits until then.
    rest: Option<Instant>,
    /// Why nothing is written any more.
    broken: Option<Arc<str>>,
}

/// Reads the file into memory and starts the thread; the receiver turns true when the file is closed.
pub(crate) fn start(dir: &Path, lock: DirLock, shared: Arc<Shared>) -> Result<watch::Receiver<bool>, OpenError> {
    let disk = disk::open(dir)?;
    let mut names = Names::default();
    let loaded = load::load(&disk, &shared, &mut names)?;
    shared.committed.store(loaded.last.0, Ordering::Release);
    shared.published.store(loaded.last.0, Ordering::Release);
    let rules = Rules { attributes: shared.options.attributes, value_bytes_max: shared.options.value_bytes_max };
    let writer = Writer {
        shared,
        disk,
        names,
        rules,
        last: loaded.last,
        objects: loaded.objects,
        garbage: loaded.garbage.into(),
        newest: None,
        ages: VecDeque::from([(Instant::now(), loaded.last)]),
        checkpointed: false,
        rest: None,
        broken: None,
    };
    let (stop, stopped) = watch::channel(false);
    thread::Builder::new()
        .name("eyot-store".into())
        .spawn(move || {
            // Dropped in this order however the thread ends: watches end, the file closes, the lock goes, all is told.
            let _told = Told(stop);
            let _lock = lock;
            let mut writer = writer;
            writer.work();
        })
        .map_err(OpenError::Thread)?;
    Ok(stopped)
}

struct Told(watch::Sender<bool>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue.abandon();
        self.shared.tables().iter().for_each(|it| it.state.write().close());
    }
}

impl Writer {
    fn work(&mut self) {
        loop {
            match self.shared.queue.take(BATCH_JOBS, self.patience()) {
                Taken::Jobs(jobs) => {
                    self.run(jobs);
                    if self.garbage.len() > GARBAGE_MAX && self.rested() {
                        self.sweep();
                    }
                }
                Taken::Idle => self.tidy(),
                Taken::Closed => break,
            }
        }
        self.checkpoint();
    }

    /// How long to wait for jobs before housekeeping; for ever when there is none to do.
    fn patience(&self) -> Option<Duration> {
        let until = |it: Instant| it.saturating_duration_since(Instant::now());
        if let Some(rest) = self.rest {
            return Some(until(rest).max(SWEEP_PAUSE));
        }
        if !self.garbage.is_empty() {
            return Some(SWEEP_PAUSE);
        }
        if !self.checkpointed {
            return Some(CHECKPOINT_PAUSE);
        }
        let oldest = self.ages.front()?.0;
        Some(until(oldest + self.shared.options.history_age).max(CHECKPOINT_PAUSE))
    }

    fn rested(&self) -> bool {
        self.rest.is_none_or(|it| it <= Instant::now())
    }

    fn run(&mut self, jobs: Vec<Job>) {
        let mut jobs = jobs.into_iter().peekable();
        while jobs.peek().is_some() {
            let (events, last, answers) = self.stage(&mut jobs);
            let failure = self.commit(events, last).err();
            for (reply, result) in answers {
                // What failed may have failed because of a change that did not happen either: the disk is the reason.
                let result = failure.clone().map_or(result, Err);
                // The writer may have gone away.
                let _ = reply.send(result);
            }
        }
        self.note_age(AGE_STEP);
    }

    /// Decides the next jobs, up to one transaction's bytes.
    fn stage(&mut self, jobs: &mut impl Iterator<Item = Job>) -> (Vec<Arc<Event>>, Revision, Vec<Answer>) {
        let shared = self.shared.clone();
        let committed = |key: &Key| shared.find(&key.resource)?.get(key);
        let mut batch = Batch::new(&self.rules, &mut self.names, &committed, self.last);
        let mut answers = Vec::new();
        while batch.bytes < BATCH_BYTES {
            match jobs.next() {
                None => break,
                Some(Job::Write(WriteJob { writes, reply, _permit })) => {
                    let result = batch.add(writes);
                    answers.push((reply, result));
                }
                Some(Job::Compact(through, reply)) => {
                    forget_through(&self.shared, through, &mut self.garbage);
                    let _ = reply.send(());
                }
            }
        }
        let last = batch.last();
        (batch.events, last, answers)
    }

    fn commit(&mut self, events: Vec<Arc<Event>>, last: Revision) -> Result<(), WriteError> {
        let file = || self.disk.file.clone();
        if let Some(reason) = &self.broken {
            return Err(WriteError::Broken { file: file(), reason: reason.clone() });
        }
        if events.is_empty() {
            return Ok(());
        }
        match self.disk.append(&events, self.objects) {
            Ok(objects) => self.objects = objects,
            Err(error) => return Err(self.refuse(error)),
        }
        self.last = last;
        self.garbage.extend(self.newest.take());
        self.checkpointed = false;
        self.shared.committed.store(last.0, Ordering::Release);
        self.apply(events);
        self.shared.published.store(last.0, Ordering::Release);
        Ok(())
    }

    fn refuse(&mut self, error: DiskError) -> WriteError {
        let file = self.disk.file.clone();
        match error {
            DiskError::Full => WriteError::DiskFull { file },
            DiskError::Failed(reason) => WriteError::Disk { file, reason },
            DiskError::Unknown(reason) => {
                tracing::error!(%file, %reason, "a flush failed: no more writes until a restart");
                self.broken = Some(reason.clone());
                WriteError::Broken { file, reason }
            }
        }
    }

    /// Makes changes visible, one resource after the other.
    fn apply(&mut self, events: Vec<Arc<Event>>) {
        let bounds = self.shared.options.history();
        let (mut wakers, mut garbage) = (Vec::new(), Vec::new());
        for (table, events) in by_table(&self.shared, events) {
            let mut state = table.state.write();
            events.iter().for_each(|it| state.apply(it.clone(), bounds, &mut garbage));
            state.publish(&events, &mut wakers);
            drop(state);
            self.garbage.extend(garbage.drain(..).map(|it| (table.resource.clone(), it)));
            // After the lock: who is woken wants to read.
            wakers.drain(..).for_each(std::task::Waker::wake);
        }
    }

    fn tidy(&mut self) {
        if !self.rested() {
            return;
        }
        self.rest = None;
        if !self.garbage.is_empty() {
            return self.sweep();
        }
        self.note_age(Duration::ZERO);
        self.checkpoint();
        self.expire();
    }

    /// Notes which revision the store has now.
    fn note_age(&mut self, step: Duration) {
        let now = Instant::now();
        if self.ages.back().is_none_or(|it| it.1 != self.last && now - it.0 >= step) {
            self.ages.push_back((now, self.last));
        }
        self.expire();
    }

    /// Forgets what is too old.
    fn expire(&mut self) {
        let mut through = None;
        while self.ages.front().is_some_and(|it| it.0.elapsed() >= self.shared.options.history_age) {
            through = self.ages.pop_front().map(|it| it.1);
        }
        if let Some(through) = through {
            forget_through(&self.shared, through, &mut self.garbage);
        }
    }

    /// Deletes some rows that nothing refers to.
    fn sweep(&mut self) {
        if let Some(at) = self.garbage.iter().take(SWEEP_ROWS).position(|it| it.1.row == self.last) {
            self.newest = self.garbage.remove(at);
        }
        let count = self.garbage.len().min(SWEEP_ROWS);
        let mut horizons: Vec<(&str, Revision)> = Vec::new();
        for (resource, garbage) in self.garbage.range(..count) {
            match horizons.iter_mut().find(|it| it.0 == &**resource) {
                Some(known) => known.1 = known.1.max(garbage.horizon),
                None => horizons.push((resource, garbage.horizon)),
            }
        }
        let rows = self.garbage.range(..count).map(|it| it.1.row);
        match self.disk.forget(rows, horizons.into_iter()) {
            Ok(()) => {
                self.garbage.drain(..count);
                self.checkpointed = false;
            }
            Err(error) => self.put_off("deleting superseded rows", error),
        }
    }

    fn checkpoint(&mut self) {
        if self.checkpointed {
            return;
        }
        match self.disk.checkpoint() {
            Ok(()) => self.checkpointed = true,
            Err(error) => self.put_off("checkpointing", error),
        }
    }

    fn put_off(&mut self, step: &str, error: DiskError) {
        let reason = match &error {
            DiskError::Full => "no space left",
            DiskError::Failed(reason) | DiskError::Unknown(reason) => reason,
        };
        tracing::warn!(file = %self.disk.file, reason, "{step} failed, trying again later");
        self.rest = Some(Instant::now() + RETRY_PAUSE);
        if let DiskError::Unknown(reason) = error {
            self.broken = Some(reason);
        }
    }
}

fn forget_through(shared: &Shared, through: Revision, garbage: &mut VecDeque<(Arc<str>, Garbage)>) {
    let mut rows = Vec::new();
    for table in shared.tables() {
        table.state.write().history.forget_through(through, &mut rows);
        garbage.extend(rows.drain(..).map(|it| (table.resource.clone(), it)));
    }
}

/// Splits changes by table, keeping their order within each.
fn by_table(shared: &Shared, events: Vec<Arc<Event>>) -> Vec<(Arc<Table>, Vec<Arc<Event>>)> {
    let mut split: Vec<(Arc<Table>, Vec<Arc<Event>>)> = Vec::new();
    for event in events {
        let resource = &event.key().resource;
        match split.iter_mut().find(|it| it.0.resource == *resource) {
            Some((_, events)) => events.push(event),
            None => split.push((shared.table(resource), vec![event])),
        }
    }
    split
}
