//! Runs a WasmEdge process to its end: output to the guest's log, its share of a core, its exit.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use super::{Outside, WasmEdge, outside::PERIOD, sayable};
use crate::{
    Exit, ExitReason, GuestSpec, LogSink, LogStream, Process,
    process::{KILLED, Stdin, Told},
};

/// What WasmEdge prints when a guest asks for memory beyond its limit.
const BEYOND: &[u8] = b"Memory grow page failed, exceeded limited";
/// What it prints before the reason of a trap.
const TRAPPED: &str = "execution failed: ";
/// How long output may still come once the process has ended.
const DRAIN: Duration = Duration::from_secs(2);
/// How long directories that come late may take.
const LATE: Duration = Duration::from_secs(10);
/// Bytes that a guest has printed and its log has not taken.
const PIPE_BYTES: usize = 16 << 10;

/// What was noticed in the output.
#[derive(Default)]
struct Noticed {
    beyond: AtomicBool,
    trap: parking_lot::Mutex<Option<String>>,
}

/// Starts it, and whoever looks after it.
pub(super) fn start(edge: &WasmEdge, wasm: PathBuf, spec: GuestSpec, outside: Arc<Outside>) -> Process {
    let wants_stdin = spec.stdin;
    let (edge, inside) = (edge.clone(), Arc::clone(&outside));
    let background = edge.background.clone();
    Process::outside(&background, outside, wants_stdin, move |Told { stop, stdin }| async move {
        let log = Arc::clone(&spec.log);
        match run(&edge, wasm, spec, &inside, &stop, stdin).await {
            Ok(exit) => exit,
            Err(error) => {
                let why = format!("starting WasmEdge: {error}");
                log.write(LogStream::Stderr, format!("{why}\n").as_bytes());
                Exit { code: 128, reason: ExitReason::Trap(why) }
            }
        }
    })
}

async fn run(
    edge: &WasmEdge,
    wasm: PathBuf,
    mut spec: GuestSpec,
    outside: &Outside,
    stop: &CancellationToken,
    stdin: Option<Stdin>,
) -> std::io::Result<Exit> {
    if let Some(late) = spec.late_mounts.take() {
        // Nobody sees a process look for a directory: they are there from the start.
        let made = tokio::time::timeout(LATE, late.mounts()).await.ok().flatten();
        spec.mounts.extend(made.into_iter().flatten().filter(|it| sayable(it).is_ok()));
    }
    let words = edge.command(&wasm, &spec);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn()?;
    outside.began(child.id().unwrap_or(0));
    let noticed = Noticed::default();
    let (out, err, input) = (child.stdout.take(), child.stderr.take(), child.stdin.take());
    let output = async {
        let of = |stream| (stream, &*spec.log, &noticed);
        tokio::join!(pump(out, of(LogStream::Stdout)), pump(err, of(LogStream::Stderr)));
    };
    let feed = async {
        if let (Some(mut from), Some(mut to)) = (stdin, input) {
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
        std::future::pending::<()>().await
    };
    tokio::pin!(output);
    let mut is_open = true;
    let status = {
        let wait = supervise(&mut child, outside, stop);
        tokio::pin!(wait, feed);
        loop {
            tokio::select! {
                status = &mut wait => break status?,
                () = &mut output, if is_open => is_open = false,
                () = &mut feed => {}
            }
        }
    };
    // What it printed last is in the pipes still; who inherited them does not hold its end up.
    if is_open {
        let _ = tokio::time::timeout(DRAIN, output).await;
    }
    Ok(exit(status, stop.is_cancelled(), &noticed))
}

/// Waits for the end, holds the process to its share, and kills it when it is told to.
async fn supervise(
    child: &mut Child,
    outside: &Outside,
    stop: &CancellationToken,
) -> std::io::Result<std::process::ExitStatus> {
    let status = loop {
        let turn = async {
            if !outside.is_bounded() {
                return outside.changed.notified().await;
            }
            tokio::time::sleep(PERIOD).await;
            if let Some(debt) = outside.debt() {
                outside.signal(Signal::STOP);
                tokio::time::sleep(debt).await;
                outside.signal(Signal::CONT);
            }
        };
        tokio::select! {
            biased;
            status = child.wait() => break status,
            () = stop.cancelled() => {
                child.start_kill()?;
                break child.wait().await;
            }
            () = turn => {}
        }
    };
    outside.ended();
    status
}

/// Hands one stream over to the log, as fast as that takes it.
async fn pump(from: Option<impl AsyncRead + Unpin>, (stream, log, noticed): (LogStream, &dyn LogSink, &Noticed)) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; PIPE_BYTES];
    loop {
        if let Some(room) = log.ready() {
            room.await;
        }
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                noticed.look(&buffer[..read]);
                log.write(stream, &buffer[..read]);
            }
        }
    }
}

impl Noticed {
    /// WasmEdge prints its own lines whole, so that none is cut between two reads.
    fn look(&self, bytes: &[u8]) {
        if bytes.windows(BEYOND.len()).any(|it| it == BEYOND) {
            self.beyond.store(true, Relaxed);
        }
        let text = String::from_utf8_lossy(bytes);
        if let Some((_, why)) = text.split_once(TRAPPED) {
            let why = why.lines().next().unwrap_or_default();
            *self.trap.lock() = Some(why.split(", Code:").next().unwrap_or(why).to_owned());
        }
    }
}

fn exit(status: std::process::ExitStatus, is_killed: bool, noticed: &Noticed) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    if is_killed {
        return KILLED;
    }
    if code != 0 && noticed.beyond.load(Relaxed) {
        return Exit { code: 137, reason: ExitReason::OutOfMemory };
    }
    match noticed.trap.lock().take().filter(|_| code == 134) {
        Some(why) => Exit { code, reason: ExitReason::Trap(why) },
        None => Exit { code, reason: ExitReason::Completed },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[track_caller]
    fn check(wait_status: i32, printed: &str, is_killed: bool) -> Exit {
        let noticed = Noticed::default();
        noticed.look(printed.as_bytes());
        exit(std::process::ExitStatus::from_raw(wait_status), is_killed, &noticed)
    }

    #[test]
    fn an_end_is_told_as_kubernetes_tells_it() {
        assert_eq!(check(42 << 8, "", false), Exit { code: 42, reason: ExitReason::Completed });
        assert_eq!(check(0, "execution failed: nothing", false), Exit { code: 0, reason: ExitReason::Completed });
        let trap = "[2026-11-22 11:44:07.476] [error] execution failed: unreachable, Code: 0x40a\n[error]  In\n";
        assert_eq!(check(134 << 8, trap, false), Exit { code: 134, reason: ExitReason::Trap("unreachable".into()) });
        let beyond =
            "[error] Memory Instance: Memory grow page failed, exceeded limited 200 page size in configuration.\n";
        assert_eq!(check(255 << 8, beyond, false), Exit { code: 137, reason: ExitReason::OutOfMemory });
        assert_eq!(
            check(0, beyond, false),
            Exit { code: 0, reason: ExitReason::Completed },
            "it made do with what it had"
        );
        // By a signal: its own doing, or ours.
        assert_eq!(check(6, "", false), Exit { code: 134, reason: ExitReason::Completed });
        assert_eq!(check(9, "", true), KILLED);
    }
}
