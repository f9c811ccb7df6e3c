//! The demo's node: one `eyot up` on a fresh data directory.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::run;

/// How many lines of the node's log explain a failure.
const LOG_LINES: usize = 40;
/// How long a drain may take.
const STOP_MAX: Duration = Duration::from_secs(40);

/// A running node and where it serves.
pub(super) struct Node {
    child: Child,
    pub(super) eyot: PathBuf,
    pub(super) api: String,
    pub(super) http: String,
    pub(super) registry: String,
    pub(super) kubeconfig: String,
    pub(super) log: PathBuf,
}

impl Node {
    /// Empties `dir`, starts a node in it and waits for its ready line.
    pub(super) fn start(eyot: &Path, dir: &Path, free_ports: bool) -> Result<Self> {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir)?;
        let log = dir.join("eyot.log");
        let began = Instant::now();
        let mut command = Command::new(eyot);
        command.arg("up").arg("--data-dir").arg(dir.join("data"));
        if free_ports {
            let any = "127.0.0.1:0";
            command.args(["--api-listen", any, "--http-listen", any, "--registry-listen", any]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn().with_context(|| format!("starting {}", eyot.display()))?;
        let stdout = child.stdout.take().context("the node has no standard output")?;
        let mut node = Node {
            child,
            eyot: eyot.to_owned(),
            api: String::new(),
            http: String::new(),
            registry: String::new(),
            kubeconfig: String::new(),
            log,
        };
        let ready = BufReader::new(stdout).lines().map_while(Result::ok).find(|line| line.starts_with("ready "));
        let Some(ready) = ready else {
            node.show_log();
            bail!("the node ended before it was ready ({})", node.child.wait()?);
        };
        for (name, value) in ready.split_whitespace().filter_map(|word| word.split_once('=')) {
            match name {
                "api" => node.api = value.to_owned(),
                "http" => node.http = value.to_owned(),
                "registry" => node.registry = value.to_owned(),
                "kubeconfig" => node.kubeconfig = value.to_owned(),
                _ => {}
            }
        }
        run::done("eyot up, exec to ready", began.elapsed(), &ready);
        Ok(node)
    }

    /// The registry's `host:port`.
    pub(super) fn registry_host(&self) -> &str {
        self.registry.trim_start_matches("http://").trim_end_matches('/')
    }

    /// The gateway's `host:port`.
    pub(super) fn http_host(&self) -> &str {
        self.http.trim_start_matches("http://").trim_end_matches('/')
    }

    /// Prints the end of the node's log.
    pub(super) fn show_log(&self) {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].iter().for_each(|line| eprintln!("    {line}"));
    }

    /// Asks the node to drain and waits for it.
    pub(super) fn stop(mut self) -> Result<()> {
        let began = Instant::now();
        run::output(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        while began.elapsed() < STOP_MAX {
            if let Some(status) = self.child.try_wait()? {
                run::done("drain and stop", began.elapsed(), "");
                return if status.success() { Ok(()) } else { bail!("the node ended with {status}") };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the node did not stop within {} s of SIGTERM", STOP_MAX.as_secs())
    }

    /// Waits for the node's end. Ctrl-C reaches the node too, since it shares the terminal's process group.
    pub(super) fn wait(mut self) -> Result<()> {
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
