//! Guests and clients that take whatever they can get: a guest that calls itself without end, one that floods its log, requests
//! whose bodies never come, connections that say nothing. A neighbour answers all along, and when they are gone the node is as
//! large as before, and as fast.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Node, eventually, with_node};
use futures::future::join_all;
use tokio::{io::AsyncWriteExt, net::TcpStream};

const SOON: Duration = Duration::from_secs(60);
/// Connections of each sort at once.
const CLIENTS: usize = 200;
/// How much more of the node may be resident afterwards: what allocators and pools keep to be ready.
const GROWTH_MAX: u64 = 96 << 20;

/// How much longer the neighbour may take afterwards: other tests share the machine.
const TIMES_AS_LONG: u32 = 3;
const AND_LONGER: Duration = Duration::from_millis(5);

/// Calls itself through the gateway, waits for the answer, and gives its status on.
const FORKS: &str = r#"
    (local.set $other (call $request (call $fields)))
    (drop (call $set-scheme (local.get $other) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
    (drop (call $set-authority (local.get $other) (i32.const 1) (i32.const 1040) (i32.const 29)))
    (drop (call $set-path (local.get $other) (i32.const 1) (i32.const 1072) (i32.const 9)))
    (call $send (local.get $other) (i32.const 0) (i32.const 0) (i32.const 128))
    (if (i32.load8_u (i32.const 128)) (then (unreachable)))
    (local.set $other (i32.load (i32.const 136)))
    (call $block (call $future-poll (local.get $other)))
    (call $future-get (local.get $other) (i32.const 256))
    (if (i32.load8_u (i32.const 272)) (then (unreachable)))
    (local.set $body (call $open (local.get $outparam) (call $status-in (i32.load (i32.const 280)))))
    (local.set $stream (call $stream (local.get $body)))
    (call $close (local.get $stream) (local.get $body))"#;

/// Prints for ever.
const FLOODS: &str = r#"
    (local.set $stream (call $get-stderr))
    (loop $again (drop (call $put (local.get $stream) (i32.const 1024) (i32.const 900))) (br $again))"#;

/// Reads the whole body, then answers.
const READS: &str = r#"
    (call $consume (local.get $request) (i32.const 16))
    (call $body-in (i32.load (i32.const 20)) (i32.const 16))
    (local.set $in (i32.load (i32.const 20)))
    (block $end (loop $next
        (call $read (local.get $in) (i64.const 4096) (i32.const 48))
        (br_if $end (i32.load8_u (i32.const 48)))
        (br $next)))
    (call $hello (local.get $outparam))"#;

/// Serves `handle` as `NAME.localhost`.
async fn serve(node: &Node, name: &str, handle: &str) -> Result<()> {
    let text = include_str!("../../../shell/runtime/tests/guests/http.wat").replace(";;HANDLE;;", handle);
    node.push_bytes(&wat::parse_str(text)?, &format!("{name}:v1")).await?;
    let manifest = node.localized(include_str!("../../../../examples/hello-c/hello-c.yaml"));
    // Its readiness is nobody's question here: a probe would be one more request to it.
    let manifest = without_probe(&manifest).replace("hello-c", name).replace("replicas: 2", "replicas: 1");
    node.apply_text(&manifest).await?;
    node.rolled_out(name).await
}

fn without_probe(manifest: &str) -> String {
    let mut inside = false;
    let keep = |line: &&str| {
        let depth = line.len() - line.trim_start().len();
        inside = line.trim_start().starts_with("readinessProbe:") || inside && depth > 10;
        !inside
    };
    manifest.lines().filter(keep).fold(String::new(), |text, line| text + line + "\n")
}

/// Resident memory of the node, in bytes.
fn resident(node: &Node) -> Result<u64> {
    let pid = node.pid().context("the node runs")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? << 10)
}

/// Connections to the gateway on which `said` was sent and nothing else.
async fn silent(node: &Node, said: &str) -> Result<Vec<TcpStream>> {
    let address = node.ready().http.trim_start_matches("http://").to_owned();
    let one = async || {
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(said.as_bytes()).await?;
        anyhow::Ok(stream)
    };
    join_all((0..CLIENTS).map(|_| one())).await.into_iter().collect()
}

/// Asks the neighbour so often, and says how long it took in the median.
async fn neighbour_answers(node: &Node, times: usize) -> Result<Duration> {
    let mut took = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        let answer =
            tokio::time::timeout(SOON, node.get("good.localhost", "/")).await.context("no answer in time")??;
        ensure!(answer.status == 200, "the neighbour: {} {}", answer.status, answer.text());
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took[times / 2])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_siege_leaves_the_node_as_it_was() {
    with_node(async |node| {
        serve(node, "good", "(call $hello (local.get $outparam))").await?;
        // The address that the fork bomb has in its memory.
        serve(node, "one", FORKS).await?;
        serve(node, "floods", FLOODS).await?;
        serve(node, "reads", READS).await?;
        let usual = neighbour_answers(node, 200).await?;
        let before = resident(node)?;

        let half_open = silent(node, "GET / HTTP/1.1\r\nHost: reads.local").await?;
        let slow = silent(node, "POST / HTTP/1.1\r\nHost: reads.localhost\r\nContent-Length: 100000\r\n\r\nx").await?;
        let bombs = join_all((0..8).map(|_| tokio::time::timeout(SOON, node.get("one.localhost", "/"))));
        let floods =
            join_all((0..8).map(|_| tokio::time::timeout(Duration::from_secs(3), node.get("floods.localhost", "/"))));
        let (bombs, _, answered) = tokio::join!(bombs, floods, neighbour_answers(node, 100));
        answered.context("under siege")?;
        // A call that calls itself ends when somebody refuses one more: then all of them know.
        let statuses: Vec<u16> = bombs.into_iter().flatten().flatten().map(|it| it.status.as_u16()).collect();
        ensure!(statuses.iter().all(|it| *it >= 500), "a bomb went off unrefused: {statuses:?}");
        ensure!(!statuses.is_empty(), "no bomb was told that it is refused");

        drop(slow);
        drop(half_open);
        neighbour_answers(node, 100).await?;
        node.kubectl(&["delete", "deployment", "one", "floods", "reads", "--timeout=60s"]).await?;
        eventually("the node is as large as before", SOON, async || {
            let after = resident(node)?;
            ensure!(after < before + GROWTH_MAX, "resident memory went from {before} to {after}");
            Ok(())
        })
        .await?;
        // Nothing is left of them: no connection is held for them, nobody waits for them, and kubectl answers.
        eventually("the neighbour is as fast as before", SOON, async || {
            let now = neighbour_answers(node, 50).await?;
            ensure!(now <= usual * TIMES_AS_LONG + AND_LONGER, "the neighbour took {usual:?} and takes {now:?}");
            Ok(())
        })
        .await?;
        node.kubectl(&["get", "pods"]).await.map(drop)
    })
    .await;
}
