//! A node of `verify`'s own: this very binary on a fresh directory and free ports. Entry point: [`Own::start`].

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Longest that a start may take.
const READY_MAX: Duration = Duration::from_secs(60);
/// Longest that a killed node is waited for.
const KILL_MAX: Duration = Duration::from_secs(2);

/// What the ready line says.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    pub(super) http: String,
    pub(super) kubeconfig: PathBuf,
    /// From starting the process to reading the line.
    pub(super) took: Duration,
}

/// The node. Dropping it kills the process and removes the directory.
pub(super) struct Own {
    child: Child,
    pub(super) ready: Ready,
    dir: PathBuf,
}

impl Own {
    /// Starts on a fresh directory below the system's temporary one.
    pub(super) async fn start() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("eyot-verify-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("making {}", dir.display()))?;
        match spawn(&dir).await {
            Ok((child, ready)) => Ok(Self { child, ready, dir }),
            Err(error) => {
                let _ = fs::remove_dir_all(&dir);
                Err(error)
            }
        }
    }

    /// Where its state lies.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Resident memory, in bytes.
    pub(super) fn resident_bytes(&self) -> Option<i64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<i64>().ok().map(|kib| kib * 1024)
    }

    /// Kills it as a power cut would.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing the node")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let killed = Instant::now();
        // While it dies it may still make files.
        while matches!(self.child.try_wait(), Ok(None)) && killed.elapsed() < KILL_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Starts this binary on a directory and waits for its ready line.
pub(super) async fn spawn(dir: &Path) -> Result<(Child, Ready)> {
    let program = std::env::current_exe().context("finding this program")?;
    let log = fs::File::create(dir.join("node.log")).context("making the node's log")?;
    let began = Instant::now();
    // A range of its own, lest it meets that of a node that runs on this machine.
    let range = std::process::id() % 1024;
    let cidr = format!("10.{}.{}.0/20", 64 + range / 16, range % 16 * 16);
    let mut command = Command::new(program);
    command.arg("up").arg("--data-dir").arg(dir.join("data"));
    for flag in ["--api-listen", "--http-listen", "--registry-listen"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command.args(["--node-name", "verify", "--cluster-cidr", &cidr]);
    // What a configuration in the environment says is for another node.
    for (name, _) in std::env::vars_os().filter(|it| it.0.to_string_lossy().starts_with("EYOT_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    let mut child = command.spawn().context("starting a node")?;
    let mut lines = BufReader::new(child.stdout.take().context("the node has no standard output")?).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(rest) = line.strip_prefix("ready ") {
                return Ok(parse(rest, began.elapsed()));
            }
        }
        let log = fs::read_to_string(dir.join("node.log")).unwrap_or_default();
        bail!("the node ended before it was ready: {}", log.lines().last().unwrap_or("it said nothing"))
    };
    let ready = tokio::time::timeout(READY_MAX, ready).await.context("the node is not ready in time")??;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, ready))
}

fn parse(line: &str, took: Duration) -> Ready {
    let of = |name: &str| line.split_whitespace().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
    let http = of("http").unwrap_or_default().trim_start_matches("http://").to_owned();
    Ready { http, kubeconfig: of("kubeconfig").unwrap_or_default().into(), took }
}
