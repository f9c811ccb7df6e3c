//! The lines of a log file, written and read. Pure.

use std::io::Write;

use eyot_runtime::LogStream;
use jiff::Timestamp;

/// Longer lines are cut into parts.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 10;

/// Appends one line, or part of one, to `out`.
pub(super) fn put(out: &mut Vec<u8>, now: Timestamp, stream: LogStream, whole: bool, text: &[u8]) {
    let stream = match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    };
    // Writing to a vector cannot fail.
    let _ = write!(out, "{now:.9} {stream} {} ", if whole { 'F' } else { 'P' });
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// A line read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: &'a str,
    pub(super) stream: &'a str,
    pub(super) whole: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Parses a line without its line feed; `None` when it is torn.
    pub(super) fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let mut parts = line.splitn(4, |it| *it == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let stream = std::str::from_utf8(parts.next()?).ok()?;
        let whole = match parts.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Line { time, stream, whole, text: parts.next()? })
    }
}

/// Cuts what a guest prints into lines.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    rest: Vec<u8>,
}

impl Cutter {
    /// Takes bytes and hands each line, or full part of one, to `on` with whether it ends there.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut on: impl FnMut(bool, &[u8])) {
        while let Some(at) = bytes.iter().position(|it| *it == b'\n') {
            let (head, tail) = bytes.split_at(at);
            self.parts(head, &mut on);
            on(true, &self.rest);
            self.rest.clear();
            bytes = &tail[1..];
        }
        self.parts(bytes, &mut on);
    }

    /// Hands over what is left as a line.
    pub(super) fn finish(&mut self, on: impl FnOnce(&[u8])) {
        if !self.rest.is_empty() {
            on(&self.rest);
        }
        self.rest = Vec::new();
    }

    fn parts(&mut self, mut bytes: &[u8], on: &mut impl FnMut(bool, &[u8])) {
        while self.rest.len() + bytes.len() > TEXT_BYTES_MAX {
            let (head, tail) = bytes.split_at(TEXT_BYTES_MAX - self.rest.len());
            self.rest.extend_from_slice(head);
            on(false, &self.rest);
            self.rest.clear();
            bytes = tail;
        }
        self.rest.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_the_round_trip() {
        let now: Timestamp = "2026-11-21T10:00:00.5Z".parse().unwrap();
        let mut out = Vec::new();
        put(&mut out, now, LogStream::Stderr, true, b"a b  c");
        assert_eq!(String::from_utf8_lossy(&out), "2026-11-21T10:00:00.500000000Z stderr F a b  c\n");
        let line = Line::parse(&out[..out.len() - 1]).unwrap();
        assert_eq!((line.stream, line.whole, line.text), ("stderr", true, &b"a b  c"[..]));
        assert_eq!(line.time.parse::<Timestamp>().unwrap(), now);
        assert_eq!(Line::parse(b"torn"), None);
        assert_eq!(Line::parse(b"t stdout X text"), None);
    }

    #[test]
    fn lines_are_cut_at_line_feeds_and_at_the_bound() {
        let mut cutter = Cutter::default();
        let mut got = Vec::new();
        for chunk in [b"one\ntw".as_slice(), b"o\n\n", &vec![b'x'; TEXT_BYTES_MAX + 10], b"\nend"] {
            cutter.take(chunk, |whole, text| got.push((whole, text.len())));
        }
        cutter.finish(|text| got.push((true, text.len())));
        assert_eq!(got, [(true, 3), (true, 3), (true, 0), (false, TEXT_BYTES_MAX), (true, 10), (true, 3)]);
    }
}
