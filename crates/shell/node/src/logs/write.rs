//! The writing end of a container's log.
//!
//! A log opens its file with the first byte; few files are open at once over all containers, so that an idle pod holds no
//! descriptor. A flood is first written at disk speed, which slows the guest down, and beyond a budget it is dropped with a
//! note in the log: rotation bounds the disk it takes and the budget the work it makes. What cannot be written, on a full disk
//! for instance, stops no guest: it is counted, and noted once the log can be written again.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write},
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use eyot_runtime::{LogSink, LogStream};
use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    FILE_BYTES_MAX, FILES_MAX,
    line::{self, Cutter},
    rotated,
    tap::{self, Tap},
};

/// Bytes a container may print at once: a job that prints its result of some megabytes loses nothing.
const BURST_BYTES: u64 = 32 << 20;
/// Bytes a second it may print for long.
const RATE_BYTES: u64 = 1 << 20;
/// Log files open at once over all containers.
const OPEN_MAX: usize = 64;
/// Clients that watch one container at once.
const TAPS_MAX: usize = 16;

/// Which logs have their file open.
#[derive(Default)]
pub(crate) struct OpenLogs {
    recent: Mutex<VecDeque<Weak<Log>>>,
}

impl OpenLogs {
    /// Notes that `log` opened its file, and closes the file that was opened longest ago when there are too many.
    fn opened(&self, log: Weak<Log>) {
        let oldest = {
            let mut recent = self.recent.lock();
            recent.retain(|it| it.strong_count() > 0);
            recent.push_back(log);
            if recent.len() > OPEN_MAX { recent.pop_front() } else { None }
        };
        // A log that is being written to just now keeps its file; it is one more, not one for ever.
        if let Some(log) = oldest.and_then(|it| it.upgrade())
            && let Some(mut inner) = log.inner.try_lock()
        {
            inner.file = None;
        }
    }
}

/// The log of one run of a container.
pub(crate) struct Log {
    this: Weak<Log>,
    path: Box<Path>,
    open: Arc<OpenLogs>,
    inner: Mutex<Inner>,
    closed: AtomicBool,
    grew: Notify,
}

struct Inner {
    file: Option<fs::File>,
    size: u64,
    out: Cutter,
    err: Cutter,
    budget: u64,
    refilled: Option<Instant>,
    /// Bytes that were not taken since the log last said so.
    dropped: u64,
    /// Bytes of lines that could not be written since the log last said so, and why the last could not.
    lost: Option<(u64, io::ErrorKind)>,
    /// Whether the file ends with a part of a line that could not be written whole.
    torn: bool,
    /// Whether our own log says that this one cannot be written.
    warned: bool,
    /// Clients that watch.
    taps: Vec<Tap>,
}

impl Log {
    /// A log that writes to `path` once there is something to write.
    pub(crate) fn new(path: &Path, open: Arc<OpenLogs>) -> Arc<Log> {
        Arc::new_cyclic(|this| Log {
            this: this.clone(),
            path: path.into(),
            open,
            inner: Mutex::new(Inner {
                file: None,
                size: 0,
                out: Cutter::default(),
                err: Cutter::default(),
                budget: BURST_BYTES,
                refilled: None,
                dropped: 0,
                lost: None,
                torn: false,
                warned: false,
                taps: Vec::new(),
            }),
            closed: AtomicBool::new(false),
            grew: Notify::new(),
        })
    }

    /// Where it writes.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the run is over and nothing more will be written.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Resolves when something was written, or the log closed, after this call.
    pub(crate) fn grew(&self) -> tokio::sync::futures::Notified<'_> {
        self.grew.notified()
    }

    /// What is printed from now on, as it is printed; `None` when too many watch already.
    pub(crate) fn tap(&self) -> Option<tap::Reader> {
        let (tap, reader) = tap::pair();
        let mut inner = self.inner.lock();
        inner.taps.retain(|it| !it.is_closed());
        if inner.taps.len() >= TAPS_MAX {
            return None;
        }
        // Looked at under the lock that is held while a log closes, so that no tap stays open on a closed log.
        match self.is_closed() {
            true => tap.close(),
            false => inner.taps.push(tap),
        }
        Some(reader)
    }

    /// Ends the log: writes an unfinished last line as the part it is, and lets the file go.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        let now = Timestamp::now();
        let mut lines = inner.notes(now);
        let noted = lines.len();
        inner.out.finish(|text| line::put(&mut lines, now, LogStream::Stdout, false, text));
        inner.err.finish(|text| line::put(&mut lines, now, LogStream::Stderr, false, text));
        self.append(&mut inner, &lines, noted);
        inner.file = None;
        self.closed.store(true, Ordering::Release);
        inner.taps.drain(..).for_each(|it| it.close());
        drop(inner);
        self.grew.notify_waiters();
    }

    /// Appends lines, of which the first `noted` bytes say what is missing before them.
    fn append(&self, inner: &mut Inner, lines: &[u8], noted: usize) {
        if lines.is_empty() {
            return;
        }
        let mut written = 0;
        let done = self.try_append(inner, lines, &mut written);
        let whole = lines[..written].iter().rposition(|it| *it == b'\n').map_or(0, |at| at + 1);
        if whole >= noted {
            (inner.dropped, inner.lost) = (0, None);
        }
        if let Err(error) = done {
            inner.file = None;
            inner.torn |= whole < written;
            let before = inner.lost.map_or(0, |it| it.0);
            inner.lost = Some((before + (lines.len() - whole.max(noted)) as u64, error.kind()));
            // A full disk must not stop the guest, nor fill our own log.
            if !std::mem::replace(&mut inner.warned, true) {
                tracing::warn!(path = %self.path.display(), error = &error as &dyn std::error::Error, "writing a container log");
            }
        }
        self.grew.notify_waiters();
    }

    /// Counts in `written` how much of the lines is in the file, also where it fails.
    fn try_append(&self, inner: &mut Inner, lines: &[u8], written: &mut usize) -> io::Result<()> {
        if inner.file.is_none() {
            if let Some(parent) = self.path.parent() {
                crate::volumes::write::make_private(parent)?;
            }
            let file = open(&self.path)?;
            inner.size = file.metadata()?.len();
            inner.file = Some(file);
            self.open.opened(self.this.clone());
        }
        if inner.size > 0 && inner.size + lines.len() as u64 > FILE_BYTES_MAX {
            self.rotate()?;
            inner.file = Some(open(&self.path)?);
            (inner.size, inner.torn) = (0, false);
        }
        let Some(file) = &mut inner.file else { return Ok(()) };
        if inner.torn {
            file.write_all(b"\n")?;
            inner.size += 1;
            inner.torn = false;
        }
        while *written < lines.len() {
            match file.write(&lines[*written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => *written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        inner.size += lines.len() as u64;
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        for generation in (1..FILES_MAX).rev() {
            let from = if generation == 1 { self.path.to_path_buf() } else { rotated(&self.path, generation - 1) };
            match fs::rename(&from, rotated(&self.path, generation)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl LogSink for Log {
    fn write(&self, stream: LogStream, bytes: &[u8]) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        // Clients get all of it, whatever of it is kept: they hold the guest up where they must.
        inner.taps.iter().for_each(|it| it.write(stream, bytes));
        if !inner.afford(bytes.len() as u64, Instant::now()) {
            inner.dropped += bytes.len() as u64;
            return;
        }
        let now = Timestamp::now();
        let mut lines = inner.notes(now);
        let noted = lines.len();
        let cutter = match stream {
            LogStream::Stdout => &mut inner.out,
            LogStream::Stderr => &mut inner.err,
        };
        cutter.take(bytes, |whole, text| line::put(&mut lines, now, stream, whole, text));
        self.append(inner, &lines, noted);
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        let waits: Vec<_> = {
            let mut inner = self.inner.lock();
            inner.taps.retain(|it| !it.is_closed());
            inner.taps.iter().filter_map(Tap::ready).collect()
        };
        (!waits.is_empty()).then(|| futures::future::join_all(waits).map(drop).boxed())
    }
}

impl Inner {
    fn afford(&mut self, bytes: u64, now: Instant) -> bool {
        let since = self.refilled.map_or(Duration::ZERO, |it| now.duration_since(it));
        let refill = (since.as_micros() as u64).saturating_mul(RATE_BYTES) / 1_000_000;
        if refill > 0 || self.refilled.is_none() {
            self.budget = self.budget.saturating_add(refill).min(BURST_BYTES);
            self.refilled = Some(now);
        }
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => false,
        }
    }

    /// Lines that say what is missing.
    fn notes(&self, now: Timestamp) -> Vec<u8> {
        let mut lines = Vec::new();
        let mut put = |note: String| line::put(&mut lines, now, LogStream::Stderr, true, note.as_bytes());
        if self.dropped > 0 {
            put(format!("eyot: {} bytes of log were dropped: more than {RATE_BYTES} bytes/s", self.dropped));
        }
        if let Some((bytes @ 1.., why)) = self.lost {
            put(format!("eyot: {bytes} bytes of log were lost: they could not be written: {why}"));
        }
        lines
    }
}

fn open(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_made_with_its_first_line_and_ends_with_its_last() {
        let root = tempfile::tempdir().unwrap();
        let path = super::super::run_file(root.path(), "app", 0);
        let log = Log::new(&path, Arc::default());
        assert!(!path.exists());
        log.write(LogStream::Stdout, b"hello\nwor");
        log.write(LogStream::Stderr, b"oops\n");
        log.close();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|it| it.split_once(' ').unwrap().1).collect();
        assert_eq!(lines, ["stdout F hello", "stderr F oops", "stdout P wor"]);
        assert!(log.is_closed());
    }

    #[test]
    fn a_flood_takes_bounded_disk_and_says_what_it_lost() {
        let root = tempfile::tempdir().unwrap();
        let path = super::super::run_file(root.path(), "app", 0);
        let log = Log::new(&path, Arc::default());
        let chunk = [b'x'; 1023].iter().copied().chain([b'\n']).collect::<Vec<u8>>().repeat(64);
        for _ in 0..(48 << 20) / chunk.len() {
            log.write(LogStream::Stdout, &chunk);
        }
        log.close();
        let sizes: Vec<u64> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), FILES_MAX as usize);
        assert!(sizes.iter().all(|it| *it <= FILE_BYTES_MAX), "{sizes:?}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().last().unwrap().contains("bytes of log were dropped"));
    }

    #[test]
    fn what_a_full_disk_takes_is_noted_when_there_is_room_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let log = Log::new(&path, Arc::default());
        log.write(LogStream::Stdout, b"one\n");
        log.write(LogStream::Stdout, b"two\n");
        fs::remove_file(&path).unwrap();
        log.write(LogStream::Stdout, b"three\n");
        log.close();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|it| it.split_once(' ').unwrap().1).collect();
        let bytes = 2 * text.lines().last().unwrap().len() - 2 * "three".len() + "onetwo\n\n".len();
        let note =
            format!("stderr F eyot: {bytes} bytes of log were lost: they could not be written: no storage space");
        assert_eq!(lines, [note.as_str(), "stdout F three"]);
    }

    #[test]
    fn a_line_that_was_written_in_part_is_not_continued() {
        use std::io::Read;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0.log");
        let log = Log::new(&path, Arc::default());
        // A socket takes as much as fits and then refuses, as a disk does.
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        log.inner.lock().file = Some(fs::File::from(std::os::fd::OwnedFd::from(ours)));
        let line = [b'x'; 999].into_iter().chain([b'\n']).collect::<Vec<u8>>();
        log.write(LogStream::Stdout, &line.repeat(8 << 10));
        log.write(LogStream::Stdout, b"next\n");
        log.close();
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        let taken = all.len();
        assert_ne!(all.last(), Some(&b'\n'), "the socket ended within a line");
        all.extend(fs::read(&path).unwrap());
        let text = String::from_utf8(all).unwrap();
        let lines: Vec<&str> = text.lines().map(|it| it.split_once(' ').unwrap().1).collect();
        let [.., half, note, next] = lines.as_slice() else { panic!("{} lines", lines.len()) };
        assert!(half.starts_with("stdout F x") && half.len() < "stdout F ".len() + 999, "{taken} bytes: {half}");
        assert!(note.contains("bytes of log were lost"), "{note}");
        assert_eq!(*next, "stdout F next");
    }

    #[test]
    fn few_files_stay_open() {
        let root = tempfile::tempdir().unwrap();
        let open = Arc::new(OpenLogs::default());
        let logs: Vec<_> =
            (0..OPEN_MAX + 20).map(|it| Log::new(&root.path().join(format!("{it}.log")), open.clone())).collect();
        for log in &logs {
            log.write(LogStream::Stdout, b"x\n");
        }
        assert_eq!(logs.iter().filter(|it| it.inner.lock().file.is_some()).count(), OPEN_MAX);
        logs[0].write(LogStream::Stdout, b"y\n");
        assert_eq!(fs::read_to_string(logs[0].path()).unwrap().lines().count(), 2, "a closed file is opened again");
    }
}
