//! Runs commands as steps: a spinner with the latest line on a terminal, plain lines elsewhere, the whole tail when a
//! step fails.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, IsTerminal, Read},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError, SyncSender},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::profile::Profile;

/// Lines of output kept to explain a failure.
const TAIL_LINES: usize = 60;
/// How often a long step says that it is alive where no spinner can.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Runs a command as a step named `label`; its output shows only if it fails.
pub(crate) fn step(label: &str, command: &mut Command) -> Result<()> {
    announce(label);
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{label}: starting {:?}", command.get_program()))?;
    let (sender, lines) = mpsc::sync_channel(256);
    let readers = [
        child.stdout.take().map(|out| forward(out, sender.clone())),
        child.stderr.take().map(|err| forward(err, sender.clone())),
    ];
    drop(sender);
    let tail = follow(label, began, &lines);
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let status = child.wait()?;
    if !status.success() {
        tail.iter().for_each(|line| eprintln!("    {line}"));
        bail!("{label} failed ({status}): {command:?}");
    }
    done(label, began.elapsed(), "");
    Ok(())
}

/// Runs a command as a step and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command whose output is the point, on this terminal.
pub(crate) fn shown(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Times work that is not a command.
pub(crate) fn timed<T>(label: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let value = work().with_context(|| label.to_owned())?;
    done(label, began.elapsed(), "");
    Ok(value)
}

/// Says that a step is over.
pub(crate) fn done(label: &str, took: Duration, note: &str) {
    let seconds = took.as_secs_f64();
    let took = if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") };
    println!("✓ {label:<44} {took:>10}  {note}");
}

/// A cargo command in the repository.
///
/// What cargo said about xtask itself does not pass on: build scripts that look at those variables would run again,
/// and TLS and everything above it be compiled again, whenever one builds now with xtask and now with cargo.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::paths::root());
    let about_xtask = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| name.starts_with(it));
    let inherited = std::env::vars_os().map(|it| it.0);
    for name in inherited.filter(|it| it.to_str().is_some_and(about_xtask)) {
        command.env_remove(name);
    }
    command
}

/// Builds the node and what measures it. `demo` and `bench` build the same set: cargo chooses the features of shared
/// dependencies by what is built together, so another set would compile most of them again.
pub(crate) fn build_node(profile: Profile) -> Command {
    let mut command = cargo();
    command.args(["build", "--profile", profile.name(), "-p", "eyot", "-p", "eyot-bench"]);
    command
}

/// Whether a program is on the path and answers `--version`.
pub(crate) fn has(program: &str) -> bool {
    let quiet = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

fn announce(label: &str) {
    if !std::io::stderr().is_terminal() {
        eprintln!("… {label}");
    }
}

fn forward(from: impl Read + Send + 'static, to: SyncSender<String>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            if to.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    })
}

fn follow(label: &str, began: Instant, lines: &mpsc::Receiver<String>) -> VecDeque<String> {
    let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {wide_msg:.dim}");
    let spinner = ProgressBar::new_spinner().with_prefix(label.to_owned());
    if let Ok(style) = style {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    let is_terminal = std::io::stderr().is_terminal();
    let (mut tail, mut said) = (VecDeque::with_capacity(TAIL_LINES), began);
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                spinner.set_message(line.clone());
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if !is_terminal && said.elapsed() > HEARTBEAT {
            said = Instant::now();
            eprintln!("  {label}: {} s, {}", began.elapsed().as_secs(), tail.back().map_or("", |line| line.trim()));
        }
    }
    spinner.finish_and_clear();
    tail
}
