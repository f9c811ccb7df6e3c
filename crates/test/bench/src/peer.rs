//! `http`: requests a second through the gateway, beside `wasmtime serve` with the same file, in turn.

use std::{net::TcpListener, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Gateway, eventually, guest};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{http, watch};

const SOON: Duration = Duration::from_secs(30);
const GUESTS: [&str; 2] = ["hello", "hello-c"];

pub(crate) async fn run() -> Result<Value> {
    let node = watch::node().await?;
    node.push("hello-c").await?;
    let mut targets = Vec::new();
    let address = node.ready().http.trim_start_matches("http://").to_owned();
    for name in GUESTS {
        node.apply(name).await?;
        node.rolled_out(name).await?;
        let host = format!("{name}.localhost");
        answers(node.gateway(), &host).await?;
        targets.push(target(&format!("eyot {name}"), &address, &host));
    }
    // Kept until the end: dropping it ends the peer.
    let mut peers = Vec::new();
    for name in GUESTS {
        if let Some((peer, address)) = wasmtime(name).await? {
            answers(&Gateway::new(&format!("http://{address}")), "localhost").await?;
            targets.push(target(&format!("wasmtime serve {name}"), &address, "localhost"));
            peers.push(peer);
        }
    }
    let mut result = http::run(http::Options::of(targets)).await?;
    for name in GUESTS {
        let rate = |who: &str| result["targets"][format!("{who} {name}")]["requests_per_second"].as_f64();
        if let (Some(ours), Some(theirs)) = (rate("eyot"), rate("wasmtime serve")) {
            result["times_wasmtime_serve"][name] = json!((ours / theirs * 100.0).round() / 100.0);
        }
    }
    Ok(result)
}

pub(crate) fn target(name: &str, address: &str, host: &str) -> http::Target {
    http::Target { name: name.to_owned(), address: address.to_owned(), host: host.to_owned(), path: "/".to_owned() }
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
async fn wasmtime(guest_name: &str) -> Result<Option<(Child, String)>> {
    let Some(program) = std::env::var_os("EYOT_WASMTIME") else {
        eprintln!("  EYOT_WASMTIME names no wasmtime: measured without a peer");
        return Ok(None);
    };
    let free = TcpListener::bind("127.0.0.1:0").context("finding a port")?.local_addr()?;
    let mut command = Command::new(program);
    command.args(["serve", "-S", "cli", "--env", "POD_NAME=peer", "--addr", &free.to_string()]).arg(guest(guest_name)?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    Ok(Some((command.spawn().context("starting wasmtime serve")?, free.to_string())))
}
