//! `http`: requests a second through the gateway, in turn with `wasmtime serve` with the same file, workerd, hyper that does
//! no more than call the same file on wasmtime ([`crate::bare`]), and hyper alone; with `--reuse` also of guests whose
//! instances are reused.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Gateway, eventually, guest, read_example};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{
    floor::POD,
    http,
    report::{self, Aim},
    watch,
};

const SOON: Duration = Duration::from_secs(30);
const SAMPLES: [&str; 2] = ["hello", "hello-c"];
/// Measured where `cargo xtask guests --with-js` built them and no other files are named.
const INTERPRETERS: [&str; 2] = ["hello-js", "hello-py"];
const HYPER: &str = "hyper alone";
const WORKERD: &str = "workerd, one isolate for all requests";
const FLOOR: &str = "hyper and wasmtime alone";
/// In the metadata of a template.
const REUSED: &str = "      annotations: {eyot.io/instance-reuse: \"1000000\"}\n";

/// A guest that is served by all.
struct Subject {
    name: String,
    file: PathBuf,
    /// How many times as many requests a second as `wasmtime serve` it should answer.
    times: f64,
}

/// Measures the samples, and these files as well: interpreters, whose own work is most of an answer.
pub(crate) async fn run(files: &[PathBuf], reuse: bool) -> Result<Value> {
    let node = watch::node().await?;
    let mut subjects = Vec::new();
    for name in SAMPLES {
        subjects.push(Subject { name: name.to_owned(), file: guest(name)?, times: 4.0 });
    }
    let built: Vec<PathBuf> = INTERPRETERS.iter().filter_map(|it| guest(it).ok()).collect();
    for file in if files.is_empty() { &built[..] } else { files } {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase().replace(['_', '.'], "-");
        subjects.push(Subject { name, file: file.clone(), times: 2.0 });
    }
    let mut targets = Vec::new();
    let address = node.ready().http.trim_start_matches("http://").to_owned();
    for it in &subjects {
        // What it answers with from its first request on is what it would come to.
        let (dir, file) = (node.data_dir().to_string_lossy().into_owned(), it.file.to_string_lossy().into_owned());
        node.eyot(&["precompile", "--data-dir", &dir, &file]).await?;
        let usual = (it.name.clone(), format!("eyot {}", it.name), "");
        let reused = (format!("{}-reused", it.name), format!("eyot {}, instances reused", it.name), REUSED);
        for (name, label, annotations) in std::iter::once(usual).chain(reuse.then_some(reused)) {
            node.push_file(&it.file, &format!("{name}:v1")).await?;
            node.apply_text(&manifest(&name, annotations)?).await?;
            node.rolled_out(&name).await?;
            let host = format!("{name}.localhost");
            answers(node.gateway(), &host).await?;
            targets.push(http::Target { pid: node.pid(), ..target(&label, &address, &host) });
        }
    }
    // Kept until the end: dropping it ends the peer.
    let mut peers = Vec::new();
    for it in &subjects {
        if let Some((peer, address)) = wasmtime(&it.file).await? {
            answers(&Gateway::new(&format!("http://{address}")), "localhost").await?;
            let target = target(&format!("wasmtime serve {}", it.name), &address, "localhost");
            targets.push(http::Target { pid: peer.id(), ..target });
            peers.push(peer);
        }
    }
    let dir = tempfile::tempdir()?;
    if let Some((peer, address)) = workerd(dir.path())? {
        answers(&Gateway::new(&format!("http://{address}")), "localhost").await?;
        targets.push(http::Target { pid: peer.id(), ..target(WORKERD, &address, "localhost") });
        peers.push(peer);
    }
    let floors = subjects.iter().filter(|it| SAMPLES.contains(&it.name.as_str()));
    let floors = floors.map(|it| (format!("{FLOOR} {}", it.name), Some(it.file.as_path())));
    for (name, file) in floors.chain([(HYPER.to_owned(), None)]) {
        let (peer, address) = bare(file)?;
        answers(&Gateway::new(&format!("http://{address}")), "localhost").await?;
        targets.push(http::Target { pid: peer.id(), ..target(&name, &address, "localhost") });
        peers.push(peer);
    }
    let mut result = http::run(http::Options::of(targets)).await?;
    result["aims"] = verdicts(&subjects, &result);
    Ok(result)
}

/// The sample's objects under another name, its pods annotated.
fn manifest(name: &str, annotations: &str) -> Result<String> {
    const METADATA: &str = "  template:\n    metadata:\n";
    let text = read_example("hello/hello.yaml")?;
    ensure!(text.matches(METADATA).count() == 1, "examples/hello/hello.yaml has no template as expected");
    // Many instances at once may have as much; the machine need not have it for all that are measured.
    let room = "memory: 2Gi\n            requests:\n              memory: 16Mi";
    let text = text.replace("hello", name).replace("memory: 16Mi", room);
    Ok(text.replace(METADATA, &format!("{METADATA}{annotations}")))
}

/// Rates and tails against those of the others in the same run.
fn verdicts(subjects: &[Subject], result: &Value) -> Value {
    let mut aims = serde_json::Map::new();
    for Subject { name, times, .. } in subjects {
        let of = |who: &str, what: &str| result["targets"][who][what].as_f64();
        let (ours, serve) = (format!("eyot {name}"), format!("wasmtime serve {name}"));
        let mut against = |peer: &str, what: &str, aim: Aim| {
            if let (Some(ours), Some(theirs)) = (of(&ours, what), of(peer, what)) {
                aims.insert(format!("{name}: {what}, times {peer}"), report::verdict(ours / theirs, aim));
            }
        };
        against(&serve, "requests_per_second", Aim::AtLeast(*times));
        against(&serve, "p99_us", Aim::AtMost(1.0));
        if SAMPLES.contains(&name.as_str()) {
            against(HYPER, "requests_per_second", Aim::AtLeast(0.6));
        }
    }
    Value::Object(aims)
}

pub(crate) fn target(name: &str, address: &str, host: &str) -> http::Target {
    let (name, address) = (name.to_owned(), address.to_owned());
    http::Target { name, address, host: host.to_owned(), path: "/".to_owned(), pid: None }
}

pub(crate) async fn answers(gateway: &Gateway, host: &str) -> Result<()> {
    eventually(host, SOON, async || {
        let answer = gateway.get(host, "/").await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(())
    })
    .await
}

/// The peer on a free port, when `$EYOT_WASMTIME` names one.
async fn wasmtime(file: &Path) -> Result<Option<(Child, String)>> {
    let Some(program) = std::env::var_os("EYOT_WASMTIME") else {
        eprintln!("  EYOT_WASMTIME names no wasmtime: measured without a peer");
        return Ok(None);
    };
    let free = TcpListener::bind("127.0.0.1:0").context("finding a port")?.local_addr()?;
    let mut command = Command::new(program);
    command.args(["serve", "-S", "cli", "--addr", &free.to_string()]);
    for (name, value) in POD {
        command.arg("--env").arg(format!("{name}={value}"));
    }
    command.arg(file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    Ok(Some((command.spawn().context("starting wasmtime serve")?, free.to_string())))
}

/// A worker that answers as the samples do.
const WORKER: &str = r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "hello", worker = .hello)],
  sockets = [(name = "http", http = (), service = "hello")]);
const hello :Workerd.Worker = (compatibilityDate = "2025-01-01", modules = [(name = "hello.mjs",
  esModule = "export default { fetch() { return new Response('hello from workerd\\n'); } };")]);
"#;

/// workerd on a free port, when `$EYOT_WORKERD` names one. Its configuration lies in `dir`.
fn workerd(dir: &Path) -> Result<Option<(Child, String)>> {
    let Some(program) = std::env::var_os("EYOT_WORKERD") else {
        eprintln!("  EYOT_WORKERD names no workerd: measured without it");
        return Ok(None);
    };
    let config = dir.join("hello.capnp");
    std::fs::write(&config, WORKER).context("writing workerd's configuration")?;
    let free = TcpListener::bind("127.0.0.1:0").context("finding a port")?.local_addr()?;
    let mut command = Command::new(program);
    command.arg("serve").arg(config).args(["--socket-addr", &format!("http={free}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    Ok(Some((command.spawn().context("starting workerd")?, free.to_string())))
}

/// hyper on a free port, in a process of its own: alone, or with a component on wasmtime.
fn bare(file: Option<&Path>) -> Result<(Child, String)> {
    let free = TcpListener::bind("127.0.0.1:0").context("finding a port")?.local_addr()?;
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["bare-hyper", "--listen", &free.to_string()]).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(file) = file {
        command.arg("--guest").arg(file);
    }
    Ok((command.spawn().context("starting hyper")?, free.to_string()))
}
