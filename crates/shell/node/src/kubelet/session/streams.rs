//! A session over SPDY: one stream for each of a program's, and one for the error that comes last.

use bytes::Bytes;
use eyot_runtime::LogStream;
use tokio::sync::mpsc;

use super::{Client, OUT_MAX, Wanted, Work};
use crate::kubelet::spdy::{
    connection::{Acceptor, Io, header},
    data,
};

/// Waits for all the streams that the client announced, then begins.
pub(super) struct Streams {
    wanted: Wanted,
    work: Option<Work>,
    stdin: Option<mpsc::Receiver<Bytes>>,
    ids: Ids,
    resize: bool,
}

#[derive(Clone, Copy, Default)]
struct Ids {
    error: Option<u32>,
    stdout: Option<u32>,
    stderr: Option<u32>,
}

impl Streams {
    pub(super) fn new(wanted: Wanted, work: Work) -> Streams {
        Streams { wanted, work: Some(work), stdin: None, ids: Ids::default(), resize: false }
    }

    fn are_all_here(&self) -> bool {
        let Wanted { stdin, stdout, stderr, tty } = self.wanted;
        self.ids.error.is_some()
            && self.stdin.is_some() == stdin
            && self.ids.stdout.is_some() == stdout
            && self.ids.stderr.is_some() == stderr
            && self.resize == tty
    }
}

impl Acceptor for Streams {
    fn open(&mut self, stream: u32, headers: &[(String, String)], io: &mut Io) -> bool {
        if self.work.is_none() {
            return false;
        }
        match header(headers, "streamtype") {
            Some("error") if self.ids.error.is_none() => self.ids.error = Some(stream),
            Some("stdout") if self.wanted.stdout => self.ids.stdout = Some(stream),
            Some("stderr") if self.wanted.stderr => self.ids.stderr = Some(stream),
            Some("stdin") if self.wanted.stdin => self.stdin = Some(io.input(stream)),
            // A guest has no terminal: sizes are taken and mean nothing.
            Some("resize") if self.wanted.tty => self.resize = true,
            _ => return false,
        }
        if self.are_all_here()
            && let Some(work) = self.work.take()
        {
            io.spawn(serve(work, self.stdin.take(), self.ids, io.out.clone()));
        }
        true
    }
}

async fn serve(work: Work, stdin: Option<mpsc::Receiver<Bytes>>, ids: Ids, frames: mpsc::Sender<Bytes>) {
    let (out, mut outgoing) = mpsc::channel::<(LogStream, Bytes)>(OUT_MAX);
    let print = async {
        while let Some((stream, bytes)) = outgoing.recv().await {
            let id = match stream {
                LogStream::Stdout => ids.stdout,
                LogStream::Stderr => ids.stderr,
            };
            // When the client is gone, its connection ends all of this.
            if let Some(id) = id {
                let _ = frames.send(data(id, false, &bytes)).await;
            }
        }
    };
    let (status, ()) = tokio::join!(work(Client { stdin, out }), print);
    for id in [ids.stdout, ids.stderr].into_iter().flatten() {
        let _ = frames.send(data(id, true, &[])).await;
    }
    if let Some(id) = ids.error {
        let _ = frames.send(data(id, true, status.to_string().as_bytes())).await;
    }
}
