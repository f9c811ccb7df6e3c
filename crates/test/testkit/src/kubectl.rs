//! The real kubectl.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Longest that a kubectl may run: longer than any `--timeout` a test gives.
const RUN_MAX: Duration = Duration::from_secs(300);

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A kubectl that keeps running, such as `logs -f`. Dropping it kills it.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// The next line of standard output; none at its end.
    ///
    /// # Errors
    /// When no line comes within `limit`.
    pub async fn line(&mut self, limit: Duration) -> Result<Option<String>> {
        let line = timeout(limit, self.lines.next_line()).await.context("waiting for a line")?;
        line.context("reading a line")
    }

    /// Waits for a line that holds `wanted`, passing over others.
    pub async fn line_with(&mut self, wanted: &str, limit: Duration) -> Result<String> {
        let found = async {
            while let Some(line) = self.lines.next_line().await? {
                if line.contains(wanted) {
                    return Ok(line);
                }
            }
            let mut said = String::new();
            if let Some(mut stderr) = self.child.stderr.take() {
                stderr.read_to_string(&mut said).await?;
            }
            bail!("the output ended before {wanted:?} came; {}", said.trim())
        };
        timeout(limit, found).await.with_context(|| format!("waiting for a line with {wanted:?}"))?
    }
}

/// How kubectl reaches one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// kubectl's own cache of discovery: never that of another node which had the same port before.
    cache: PathBuf,
    registry: String,
}

/// How samples name the node's registry, which listens elsewhere in a test.
const USUAL_REGISTRY: &str = "localhost:5000/";

impl Kubectl {
    pub(crate) fn new(kubeconfig: &Path, cache: PathBuf, registry: &str) -> Self {
        let program = std::env::var_os("EYOT_KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from);
        Kubectl { program, kubeconfig: kubeconfig.to_owned(), cache, registry: registry.to_owned() }
    }

    /// The text with this node's registry in place of the usual one.
    pub(crate) fn localized(&self, text: &str) -> String {
        text.replace(USUAL_REGISTRY, &format!("{}/", self.registry))
    }

    /// Runs to the end, with `stdin` as input.
    pub(crate) async fn run(&self, args: &[&str], stdin: Option<&str>) -> Result<Outcome> {
        let mut command = self.command(args);
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
            // A kubectl that has already refused its input closes the pipe: what it says is the answer then.
            let _ = pipe.write_all(self.localized(text).as_bytes()).await;
        }
        let output =
            timeout(RUN_MAX, child.wait_with_output()).await.with_context(|| format!("kubectl {args:?} hangs"))??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Starts and leaves running.
    pub(crate) fn start(&self, args: &[&str]) -> Result<Running> {
        let mut child = self.command(args).stdin(Stdio::null()).spawn().context("starting kubectl")?;
        let stdout = child.stdout.take().context("kubectl has no standard output")?;
        Ok(Running { child, lines: BufReader::new(stdout).lines() })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args.iter().map(|arg| self.localized(arg)))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", &self.cache);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}
