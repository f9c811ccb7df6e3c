//! Kill, and start again where there is no network: in a network namespace of its own that has nothing but loopback.
//!
//! [`take`] kills the node and starts this program once more inside such a namespace, as [`leg`], which starts the node
//! on the same directory, waits until the service answers, and prints how long that took.

use std::{
    path::Path,
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use eyot_advise::{Text, render::Promise};
use tokio::process::Command;

use super::{Figure, Outcome, nanos};
use crate::verify::{Bench, http::Connection, node, taken};

const LEG_MAX: Duration = Duration::from_secs(120);
const ANSWER_MAX: Duration = Duration::from_secs(60);

pub(in crate::verify) async fn take(bench: &mut Bench<'_>, promise: &Promise) -> Result<Outcome> {
    let Some(own) = &mut bench.own else {
        return Ok(Outcome::unknown(
            "only a node of its own is killed (--kubeconfig)",
            "只会停掉自建的节点（--kubeconfig）",
        ));
    };
    own.kill().await?;
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new("unshare");
    // Without root, a user namespace makes the network namespace ours.
    command.args(if is_root() { &["--net"][..] } else { &["--map-root-user", "--net"] });
    command.args(["--", "sh", "-c", "ip link set lo up && exec \"$0\" verify --leg \"$1\" --leg-host \"$2\""]);
    command.arg(program).arg(own.dir()).arg(&bench.folder.host);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = match command.output_within(LEG_MAX).await {
        Ok(output) => output,
        Err(error) => {
            return Ok(Outcome::unknown(
                format!("no network namespace could be made: {error:#}"),
                format!("无法创建网络命名空间：{error:#}"),
            ));
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some(took) = said.lines().find_map(|it| it.strip_prefix("answered_ns=")?.parse::<i64>().ok()) else {
        let error = String::from_utf8_lossy(&output.stderr);
        let error = error.lines().last().unwrap_or("it said nothing").to_owned();
        return Ok(Outcome::unknown(
            format!("the node did not answer without a network, or no such place could be made: {error}"),
            format!("断网后节点没有应答，或无法创建该环境：{error}"),
        ));
    };
    let how = Text::new(
        format!("killed and started again without any network: the service answered after {:.0} ms", took as f64 / 1e6),
        format!("强杀后在无网络环境重启：{:.0} 毫秒后服务应答", took as f64 / 1e6),
    );
    let leaves_open =
        Text::new(format!("{} were not waited for", promise.value), format!("未实际等待 {}", promise.value));
    let promised = promise.amount().unwrap_or(0);
    // What works without a network has nothing that runs out: the promised time itself is what is held against it.
    Ok(taken(Figure { value: promised, usual: Some(took), how, leaves_open: (promised > 0).then_some(leaves_open) }))
}

/// The part that runs without a network.
pub(in crate::verify) async fn leg(dir: &Path, host: &str) -> Result<ExitCode> {
    ensure!(has_no_network()?, "there is a network here: start this part through `eyot verify`");
    let began = Instant::now();
    let (_child, ready) = node::spawn(dir).await?;
    let answered = Connection::first_answer(&ready.http, host, began, ANSWER_MAX).await?;
    println!("ready_ns={}", nanos(ready.took));
    println!("answered_ns={}", nanos(answered));
    Ok(ExitCode::SUCCESS)
}

/// Whether loopback is the only interface.
fn has_no_network() -> Result<bool> {
    let table = std::fs::read_to_string("/proc/net/dev").context("reading the interfaces")?;
    let names = table.lines().skip(2).filter_map(|it| it.split_once(':')).map(|it| it.0.trim());
    // Tunnels of the kernel exist, down, in every new namespace.
    let silent = ["lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];
    Ok(names.into_iter().all(|it| silent.contains(&it)))
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|it| it.strip_prefix("Uid:")).unwrap_or_default();
    ids.split_whitespace().nth(1) == Some("0")
}

/// Output of a command that may not take for ever.
trait Bounded {
    async fn output_within(&mut self, limit: Duration) -> Result<std::process::Output>;
}

impl Bounded for Command {
    async fn output_within(&mut self, limit: Duration) -> Result<std::process::Output> {
        let output = tokio::time::timeout(limit, self.output()).await.context("it hangs")?;
        output.context("starting unshare")
    }
}
