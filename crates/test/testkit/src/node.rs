//! A real `eyot up` on a data directory and ports of its own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::Method;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{Answer, Gateway, Outcome, Running, binary, compiled, example, guest, kubectl::Kubectl};

/// Longest start: a debug build on a busy machine.
const READY_MAX: Duration = Duration::from_secs(120);
/// Longest drain.
const STOP_MAX: Duration = Duration::from_secs(60);
/// The node's data directory within the test's.
const DATA: &str = "eyot";
/// Ranges of 4,096 pod addresses between 10.64.0.0 and 10.127.255.255.
const RANGES: u32 = 1024;

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where state lies; a fresh temporary directory when none.
    pub data_dir: Option<PathBuf>,
    /// Further flags of `eyot up`. A listen address or range given here replaces the default one.
    pub args: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Options { data_dir: None, args: Vec::new(), env: vec![("RUST_LOG".to_owned(), "info".to_owned())] }
    }
}

/// What the ready line says.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// `https://…`: the Kubernetes API.
    pub api: String,
    /// `http://…`: the gateway.
    pub http: String,
    /// `host:port` of the registry.
    pub registry: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// `http://…`: OpenFaaS' API, where it is asked for; else empty.
    pub openfaas: String,
    /// Milliseconds from exec to ready, as the node counts them.
    pub ms: f64,
    /// From spawning the process to reading the line, as the caller sees it.
    pub seen: Duration,
}

/// A running node. Dropping it kills the process and removes its directory.
pub struct Node {
    child: Child,
    ready: Ready,
    options: Options,
    dir: PathBuf,
    gateway: Gateway,
    kubectl: Kubectl,
    _keep: Option<TempDir>,
}

impl Node {
    /// Starts a node on a fresh directory and waits until it is ready.
    pub async fn start() -> Result<Self> {
        Node::start_with(Options::default()).await
    }

    /// Starts a node and waits until it is ready.
    pub async fn start_with(mut options: Options) -> Result<Self> {
        let keep = match options.data_dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().context("making a data directory")?),
        };
        let dir = options.data_dir.clone().or(keep.as_ref().map(|dir| dir.path().to_owned())).unwrap_or_default();
        options.data_dir = Some(dir.clone());
        add_defaults(&mut options.args);
        compiled::give(&dir.join(DATA));
        let (child, ready) = spawn(&dir, &options).await?;
        let gateway = Gateway::new(&ready.http);
        let kubectl = Kubectl::new(&ready.kubeconfig, dir.join("kubectl-cache"), &ready.registry);
        Ok(Node { child, ready, options, dir, gateway, kubectl, _keep: keep })
    }

    /// What the ready line said at the last start.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.dir
    }

    /// The process id, unless the process has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// A client of the gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// GETs a path of a virtual host through the gateway.
    pub async fn get(&self, host: &str, path: &str) -> Result<Answer> {
        self.gateway.get(host, path).await
    }

    /// POSTs a body to a virtual host through the gateway.
    pub async fn post(&self, host: &str, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        self.gateway.send(Method::POST, host, path, body.into()).await
    }

    /// A kube-rs client with the administrator's certificate.
    pub async fn client(&self) -> Result<kube::Client> {
        let kubeconfig = Kubeconfig::read_from(&self.ready.kubeconfig).context("reading the kubeconfig")?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        kube::Client::try_from(config).context("making a client")
    }

    /// Runs kubectl; its standard output.
    ///
    /// # Errors
    /// When it exits with anything but 0: the error holds what it said.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let outcome = self.kubectl_outcome(args).await?;
        ensure!(outcome.code == 0, "kubectl {}: exit {}: {}", args.join(" "), outcome.code, outcome.stderr.trim());
        Ok(outcome.stdout)
    }

    /// Runs kubectl, however it ends.
    pub async fn kubectl_outcome(&self, args: &[&str]) -> Result<Outcome> {
        self.kubectl.run(args, None).await
    }

    /// Starts a kubectl that keeps running.
    pub fn kubectl_running(&self, args: &[&str]) -> Result<Running> {
        self.kubectl.start(args)
    }

    /// Applies a manifest given as text; `localhost:5000/` in it stands for this node's registry.
    pub async fn apply_text(&self, manifest: &str) -> Result<String> {
        let outcome = self.apply_outcome(manifest).await?;
        ensure!(outcome.code == 0, "kubectl apply: exit {}: {}", outcome.code, outcome.stderr.trim());
        Ok(outcome.stdout)
    }

    /// Applies a manifest given as text, however that ends.
    pub async fn apply_outcome(&self, manifest: &str) -> Result<Outcome> {
        self.kubectl_stdin(&["apply", "-f", "-"], manifest).await
    }

    /// Runs kubectl with text as its standard input, however it ends.
    pub async fn kubectl_stdin(&self, args: &[&str], text: &str) -> Result<Outcome> {
        self.kubectl.run(args, Some(text)).await
    }

    /// Applies a file of `examples/`, or every manifest of a folder there.
    pub async fn apply(&self, path: &str) -> Result<String> {
        self.apply_text(&manifests(&example(path))?).await
    }

    /// The text with this node's registry in place of `localhost:5000/`.
    pub fn localized(&self, text: &str) -> String {
        self.kubectl.localized(text)
    }

    /// Waits for a Deployment's rollout.
    pub async fn rolled_out(&self, deployment: &str) -> Result<()> {
        self.kubectl(&["rollout", "status", &format!("deployment/{deployment}"), "--timeout=170s"]).await.map(drop)
    }

    /// Pushes the guest of that name, applies the example of that name, and waits for the Deployment of that name.
    pub async fn sample(&self, name: &str) -> Result<()> {
        self.push(name).await?;
        self.apply(name).await?;
        self.rolled_out(name).await
    }

    /// Pushes the sample guest `name` as `name:v1`.
    pub async fn push(&self, name: &str) -> Result<()> {
        self.push_file(&guest(name)?, &format!("{name}:v1")).await
    }

    /// Pushes any file as `name:tag` to the node's registry.
    pub async fn push_file(&self, file: &Path, name: &str) -> Result<()> {
        let outcome = self.eyot(&["push", &file.to_string_lossy(), &format!("{}/{name}", self.ready.registry)]).await?;
        ensure!(outcome.code == 0, "eyot push {name}: {}", outcome.stderr.trim());
        Ok(())
    }

    /// Pushes bytes as `name:tag` to the node's registry.
    pub async fn push_bytes(&self, wasm: &[u8], name: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new().context("making a file")?;
        std::fs::write(file.path(), wasm)?;
        self.push_file(file.path(), name).await
    }

    /// Runs the `eyot` command with this node's kubeconfig.
    pub async fn eyot(&self, args: &[&str]) -> Result<Outcome> {
        let mut command = Command::new(binary()?);
        command.args(args).env("KUBECONFIG", &self.ready.kubeconfig).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(Duration::from_secs(120), command.output())
            .await
            .with_context(|| format!("eyot {args:?} hangs"))??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Kills the process as `kill -9` does.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing the node")
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let pid = self.pid().context("the node has ended already")?;
        let pid = libc::pid_t::try_from(pid).context("a process id")?;
        // SAFETY: `kill` takes two integers and touches no memory of ours; the child is not reaped yet, so the id is its own.
        #[allow(unsafe_code, reason = "tokio sends no other signal than the one that kills")]
        let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
        ensure!(sent == 0, "SIGTERM: {}", std::io::Error::last_os_error());
        timeout(STOP_MAX, self.child.wait()).await.context("the node does not stop")?.context("waiting for the node")
    }

    /// Starts the node again on the same directory and the same ports.
    pub async fn restart(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            bail!("the node is still running");
        }
        keep_ports(&mut self.options.args, &self.ready);
        let (child, ready) = spawn(&self.dir, &self.options).await?;
        self.child = child;
        self.gateway = Gateway::new(&ready.http);
        self.kubectl = Kubectl::new(&ready.kubeconfig, self.dir.join("kubectl-cache"), &ready.registry);
        self.ready = ready;
        Ok(())
    }

    /// The node's whole log, over every start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_path(&self.dir)).unwrap_or_default()
    }

    /// The last lines of the node's log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// The manifests of a folder, in the order that kubectl takes them, as one.
fn manifests(path: &Path) -> Result<String> {
    if path.is_file() {
        return std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut files: Vec<_> = entries.map(|entry| entry.map(|it| it.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|it| it == "yaml"));
    files.sort();
    let texts: Vec<_> = files.iter().map(std::fs::read_to_string).collect::<Result<_, _>>()?;
    Ok(texts.join("---\n"))
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("testkit.log")
}

impl Drop for Node {
    fn drop(&mut self) {
        compiled::keep(&self.dir.join(DATA));
    }
}

/// Free ports and a pod range that no other running test is likely to have.
fn add_defaults(args: &mut Vec<String>) {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let range = (std::process::id().wrapping_mul(7) + STARTED.fetch_add(1, Ordering::Relaxed)) % RANGES;
    let cidr = format!("10.{}.{}.0/20", 64 + range / 16, range % 16 * 16);
    let any = "127.0.0.1:0".to_owned();
    let defaults = [
        ("--api-listen", any.clone()),
        ("--http-listen", any.clone()),
        ("--registry-listen", any),
        ("--cluster-cidr", cidr),
        ("--node-name", "island".to_owned()),
    ];
    for (flag, value) in defaults {
        if !args.iter().any(|arg| arg == flag) {
            args.extend([flag.to_owned(), value]);
        }
    }
}

fn keep_ports(args: &mut [String], ready: &Ready) {
    let bare = |url: &str| url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/').to_owned();
    let addresses = [
        ("--api-listen", &ready.api),
        ("--http-listen", &ready.http),
        ("--registry-listen", &ready.registry),
        ("--openfaas-listen", &ready.openfaas),
    ];
    for (flag, url) in addresses {
        if let Some(at) = args.iter().position(|arg| arg == flag) {
            args[at + 1] = bare(url);
        }
    }
}

async fn spawn(dir: &Path, options: &Options) -> Result<(Child, Ready)> {
    let log = File::options().create(true).append(true).open(log_path(dir)).context("opening the log")?;
    let began = Instant::now();
    let mut command = Command::new(binary()?);
    command.arg("up").arg("--data-dir").arg(dir.join(DATA)).args(&options.args).envs(options.env.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    let mut child = command.spawn().context("starting eyot")?;
    let stdout = child.stdout.take().context("eyot has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(rest) = line.strip_prefix("ready ") {
                return parse_ready(rest, began.elapsed());
            }
        }
        let status = child.wait().await?;
        let log = std::fs::read_to_string(log_path(dir)).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(20).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        bail!("eyot ended before it was ready ({status}):\n{}", tail.join("\n"))
    };
    let ready = timeout(READY_MAX, ready).await.context("eyot is not ready in time")??;
    // Whatever it prints later must not block it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, ready))
}

fn parse_ready(line: &str, seen: Duration) -> Result<Ready> {
    let mut ready = Ready { seen, ..Ready::default() };
    for (name, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
        match name {
            "api" => ready.api = value.to_owned(),
            "http" => ready.http = value.to_owned(),
            "openfaas" => ready.openfaas = value.to_owned(),
            "registry" => ready.registry = value.trim_start_matches("http://").trim_end_matches('/').to_owned(),
            "kubeconfig" => ready.kubeconfig = value.into(),
            "ms" => ready.ms = value.parse().with_context(|| format!("ms={value}"))?,
            _ => {}
        }
    }
    let is_whole = !ready.api.is_empty() && !ready.http.is_empty() && ready.kubeconfig.is_absolute();
    ensure!(is_whole, "the ready line lacks a part: {line}");
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read() {
        let line = "api=https://127.0.0.1:6443 http=http://127.0.0.1:8080 registry=http://127.0.0.1:5000 kubeconfig=/d/admin.kubeconfig ms=71";
        let ready = parse_ready(line, Duration::ZERO).expect("whole");
        assert_eq!((ready.registry.as_str(), ready.ms), ("127.0.0.1:5000", 71.0));
        parse_ready("api=https://127.0.0.1:6443 ms=71", Duration::ZERO).expect_err("no gateway");
    }

    #[test]
    fn a_restart_keeps_the_ports() {
        let mut args = Vec::new();
        add_defaults(&mut args);
        let ready = Ready {
            api: "https://127.0.0.1:7001".into(),
            http: "http://127.0.0.1:7002".into(),
            registry: "127.0.0.1:7003".into(),
            ..Ready::default()
        };
        keep_ports(&mut args, &ready);
        let value = |flag: &str| args[args.iter().position(|arg| arg == flag).expect("a default") + 1].as_str();
        assert_eq!(
            [value("--api-listen"), value("--http-listen"), value("--registry-listen")],
            ["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"]
        );
    }
}
