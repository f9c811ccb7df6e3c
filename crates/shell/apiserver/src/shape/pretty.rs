//! Indents JSON while it streams. Entry point: [`Indented::new`].

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};

use crate::{Body, BoxError};

/// A body of JSON, two spaces deeper with each level.
pub(super) struct Indented {
    body: Body,
    printer: Printer,
}

impl Indented {
    pub(super) fn new(body: Body) -> Self {
        Indented { body, printer: Printer::default() }
    }
}

impl HttpBody for Indented {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        Pin::new(&mut this.body).poll_frame(cx).map(|frame| {
            let printed = |frame: Frame<Bytes>| frame.map_data(|it| this.printer.print(&it));
            frame.map(|it| it.map(printed))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Where in the text it is. Strings may end in another chunk than they begin in.
#[derive(Default)]
struct Printer {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// A brace or bracket has just been opened, and may be closed at once.
    opened: bool,
}

impl Printer {
    fn print(&mut self, text: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(text.len() + text.len() / 2);
        for &byte in text {
            self.step(byte, &mut out);
        }
        out.freeze()
    }

    fn step(&mut self, byte: u8, out: &mut BytesMut) {
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return out.extend_from_slice(&[byte]);
        }
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => return,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if !std::mem::take(&mut self.opened) {
                    self.line(out);
                }
                return out.extend_from_slice(&[byte]);
            }
            _ => {}
        }
        if std::mem::take(&mut self.opened) {
            self.line(out);
        }
        out.extend_from_slice(&[byte]);
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                self.opened = true;
            }
            b',' => self.line(out),
            b':' => out.extend_from_slice(b" "),
            _ => {}
        }
    }

    fn line(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"\n");
        for _ in 0..self.depth {
            out.extend_from_slice(b"  ");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn chunks_come_out_as_the_whole_does() {
        let values: [Value; 6] = [
            json!({"a": {"b": [], "c": {}, "d": [1, -2.5e9, true, null, "x"]}, "e": "{[,:\\\" }"}),
            json!([[], [[]], {}, "\\", "\"", ""]),
            json!("only"),
            json!(7),
            json!({}),
            json!([{"items": [{"x": "é\u{1F600}"}]}]),
        ];
        for value in values {
            let (text, want) = (value.to_string(), serde_json::to_string_pretty(&value).unwrap());
            for size in [1, 2, 3, 7, text.len()] {
                let mut printer = Printer::default();
                let parts = text.as_bytes().chunks(size).map(|it| printer.print(it)).collect::<Vec<_>>().concat();
                assert_eq!(String::from_utf8(parts).unwrap(), want, "in chunks of {size}");
            }
        }
    }
}
