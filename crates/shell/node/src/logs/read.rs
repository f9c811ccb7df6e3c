//! Reads a run's log back as `kubectl logs` asks for it, and follows it while it grows.
//!
//! Start at [`Reader::open`]. Reading blocks on the disk; the caller runs it where that is welcome.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{FILES_MAX, line::Line, rotated};

/// Output handed over at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What part of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Only lines printed at or after this time.
    pub(crate) since: Option<Timestamp>,
    /// Only so many of the last lines.
    pub(crate) tail: Option<usize>,
    /// Whether each line starts with its time.
    pub(crate) timestamps: bool,
    /// At most so many bytes of output.
    pub(crate) limit_bytes: Option<u64>,
    /// Only this stream, `stdout` or `stderr`.
    pub(crate) stream: Option<Box<str>>,
    /// Whether lines printed after the opening belong to it. Without them a flood of lines would never end.
    pub(crate) follow: bool,
}

/// A place in the log of one run.
pub(crate) struct Reader {
    path: PathBuf,
    selection: Selection,
    /// Rotated files that come before the current one, oldest first.
    pending: VecDeque<Part>,
    current: Option<BufReader<Take<fs::File>>>,
    torn: Vec<u8>,
    at_line_start: bool,
    left: u64,
}

/// A file of the log, and how many of its bytes belong to the selection.
struct Part {
    file: fs::File,
    bytes: u64,
}

impl Part {
    /// The file as it is now.
    fn open(path: &Path) -> io::Result<Option<Part>> {
        match fs::File::open(path) {
            Ok(file) => Ok(Some(Part { bytes: file.metadata()?.len(), file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leaves out the bytes before `offset`.
    fn skip(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.bytes = self.bytes.saturating_sub(offset);
        Ok(())
    }

    fn reader(self, follow: bool) -> BufReader<Take<fs::File>> {
        BufReader::new(self.file.take(if follow { u64::MAX } else { self.bytes }))
    }
}

impl Reader {
    /// Opens the log at `path` where `selection` starts. A log that does not exist is empty.
    pub(crate) fn open(path: &Path, selection: Selection) -> io::Result<Reader> {
        let mut files = VecDeque::new();
        for generation in (1..FILES_MAX).rev() {
            files.extend(Part::open(&rotated(path, generation))?);
        }
        files.extend(Part::open(path)?);
        if let Some(tail) = selection.tail {
            seek_tail(&mut files, tail, selection.stream.as_deref())?;
        }
        let left = selection.limit_bytes.unwrap_or(u64::MAX);
        let path = path.to_owned();
        Ok(Reader { path, selection, pending: files, current: None, torn: Vec::new(), at_line_start: true, left })
    }

    /// Whether the byte limit is used up.
    pub(crate) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// The next output, empty when there is none at the moment.
    pub(crate) fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < CHUNK_BYTES && self.left > 0 {
            let Some(file) = &mut self.current else {
                let follow = self.selection.follow;
                let next = match self.pending.pop_front() {
                    None if follow => Part::open(&self.path)?,
                    next => next,
                };
                let Some(part) = next else { break };
                self.current = Some(part.reader(follow));
                continue;
            };
            file.read_until(b'\n', &mut self.torn)?;
            if self.torn.last() == Some(&b'\n') {
                self.torn.pop();
                let line = std::mem::take(&mut self.torn);
                self.put(&line, &mut out);
            } else if !self.advance()? {
                break;
            }
        }
        Ok(out)
    }

    /// Leaves a file that is read to its end, if it is not the one being written.
    fn advance(&mut self) -> io::Result<bool> {
        if !self.pending.is_empty() {
            self.current = None;
            return Ok(true);
        }
        let Some(file) = self.current.as_ref().filter(|_| self.selection.follow) else { return Ok(false) };
        let here = file.get_ref().get_ref().metadata()?.ino();
        // Rotation renames the file under us; the new one continues it.
        match fs::metadata(&self.path) {
            Ok(current) if current.ino() != here => {
                self.current = None;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn put(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(line) = Line::parse(line) else { return };
        if self.selection.stream.as_deref().is_some_and(|it| it != line.stream) {
            return;
        }
        if let Some(since) = self.selection.since
            && line.time.parse::<Timestamp>().is_ok_and(|it| it < since)
        {
            return;
        }
        let before = out.len();
        if self.selection.timestamps && self.at_line_start {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if line.whole {
            out.push(b'\n');
        }
        self.at_line_start = line.whole;
        let grown = (out.len() - before) as u64;
        if grown > self.left {
            out.truncate(before + usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left = self.left.saturating_sub(grown);
    }
}

/// Drops the files before the last `tail` lines, and moves the first that is left to where they start.
fn seek_tail(files: &mut VecDeque<Part>, tail: usize, stream: Option<&str>) -> io::Result<()> {
    if tail == 0 {
        let last = files.pop_back();
        files.clear();
        if let Some(mut last) = last {
            last.skip(last.bytes)?;
            files.push_back(last);
        }
        return Ok(());
    }
    // Where each of the last lines starts: file and offset. Bounded by the lines that the kept files can hold.
    let mut starts: VecDeque<(usize, u64)> = VecDeque::new();
    for (index, part) in files.iter_mut().enumerate() {
        let mut reader = BufReader::new(part.file.by_ref().take(part.bytes));
        let (mut offset, mut line, mut continues) = (0, Vec::new(), false);
        while reader.read_until(b'\n', &mut line)? > 0 {
            if let Some(parsed) = Line::parse(line.strip_suffix(b"\n").unwrap_or(&line))
                && stream.is_none_or(|it| it == parsed.stream)
            {
                if !continues {
                    starts.push_back((index, offset));
                    if starts.len() > tail {
                        starts.pop_front();
                    }
                }
                continues = !parsed.whole;
            }
            offset += line.len() as u64;
            line.clear();
        }
    }
    let (first, offset) = starts.front().copied().unwrap_or((0, 0));
    files.drain(..first.min(files.len()));
    for (index, part) in files.iter_mut().enumerate() {
        part.skip(if index == 0 { offset } else { 0 })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};
    use eyot_runtime::{LogSink, LogStream};

    use super::*;
    use crate::logs::Log;

    fn drain(reader: &mut Reader) -> String {
        let mut out = Vec::new();
        loop {
            let chunk = reader.next().unwrap();
            if chunk.is_empty() {
                return String::from_utf8(out).unwrap();
            }
            out.extend(chunk);
        }
    }

    #[track_caller]
    fn check(selection: Selection, want: Expect) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0.log");
        fs::write(
            rotated(&path, 1),
            "2026-01-01T00:00:00.000000000Z stdout F one\n2026-01-01T00:00:01.000000000Z stderr F two\n",
        )
        .unwrap();
        fs::write(
            &path,
            "2026-01-01T00:00:02.000000000Z stdout P thr\n2026-01-01T00:00:02.000000000Z stdout F ee\ngarbage\n\
             2026-01-01T00:00:03.000000000Z stdout F four\n2026-01-01T00:00:04.0000",
        )
        .unwrap();
        want.assert_eq(&drain(&mut Reader::open(&path, selection).unwrap()));
    }

    #[test]
    fn a_selection_is_what_kubectl_asked_for() {
        check(
            Selection::default(),
            expect![[r#"
                one
                two
                three
                four
            "#]],
        );
        check(Selection { tail: Some(2), ..Selection::default() }, expect![["three\nfour\n"]]);
        check(Selection { tail: Some(3), ..Selection::default() }, expect![["two\nthree\nfour\n"]]);
        check(Selection { tail: Some(0), ..Selection::default() }, expect![[""]]);
        check(
            Selection { tail: Some(1), stream: Some("stderr".into()), timestamps: true, ..Selection::default() },
            expect![["2026-01-01T00:00:01.000000000Z two\n"]],
        );
        check(
            Selection { since: "2026-01-01T00:00:02Z".parse().ok(), timestamps: true, ..Selection::default() },
            expect![[r#"
                2026-01-01T00:00:02.000000000Z three
                2026-01-01T00:00:03.000000000Z four
            "#]],
        );
        check(Selection { limit_bytes: Some(6), ..Selection::default() }, expect![["one\ntw"]]);
    }

    #[test]
    fn a_reader_goes_on_with_what_is_written_later_across_rotation() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0.log");
        let mut reader = Reader::open(&path, Selection { follow: true, ..Selection::default() }).unwrap();
        assert_eq!(drain(&mut reader), "");
        let log = Log::new(&path, Arc::default());
        log.write(LogStream::Stdout, b"one\n");
        assert_eq!(drain(&mut reader), "one\n");
        fs::rename(&path, rotated(&path, 1)).unwrap();
        let next = Log::new(&path, Arc::default());
        next.write(LogStream::Stdout, b"two\n");
        assert_eq!(drain(&mut reader), "two\n");
    }

    #[test]
    fn what_is_printed_after_the_opening_belongs_to_those_who_follow() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("0.log");
        let log = Log::new(&path, Arc::default());
        log.write(LogStream::Stdout, b"one\ntwo\n");
        let open = |follow| Reader::open(&path, Selection { tail: Some(1), follow, ..Selection::default() }).unwrap();
        let (mut once, mut following) = (open(false), open(true));
        log.write(LogStream::Stdout, b"three\n");
        assert_eq!(drain(&mut once), "two\n");
        assert_eq!(drain(&mut following), "two\nthree\n");
    }
}
