//! `kubectl logs` in all its forms.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);

/// A command that prints `first`, then fails, so that it is started again.
const CRASHES: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "line one\nline two\nline three\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 29))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const 3))))"#;

fn pod(name: &str, image: &str, restart: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  runtimeClassName: wasm\n  restartPolicy: {restart}\n  \
         containers:\n    - {{name: main, image: 'localhost:5000/{image}'}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_since_and_timestamps_choose_lines() {
    with_node(async |node| {
        node.push_bytes(&wat::parse_str(CRASHES)?, "crashes:v1").await?;
        node.apply_text(&pod("once", "crashes:v1", "Never")).await?;
        node.kubectl(&["wait", "--for=jsonpath={.status.phase}=Failed", "pod/once", "--timeout=120s"]).await?;
        assert_eq!(node.kubectl(&["logs", "once"]).await?, "line one\nline two\nline three\n");
        assert_eq!(node.kubectl(&["logs", "once", "--tail=1"]).await?, "line three\n");
        assert_eq!(node.kubectl(&["logs", "once", "--limit-bytes=1"]).await?, "l");
        assert_eq!(node.kubectl(&["logs", "once", "--since=24h"]).await?.lines().count(), 3);
        let stamped = node.kubectl(&["logs", "once", "--timestamps", "--tail=1"]).await?;
        ensure!(stamped.starts_with("20") && stamped.ends_with("Z line three\n"), "no timestamp: {stamped}");
        tokio::time::sleep(Duration::from_millis(2100)).await;
        assert_eq!(node.kubectl(&["logs", "once", "--since=1s"]).await?, "", "older than a second");
        let code = node
            .kubectl(&["get", "pod", "once", "-o", "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}"])
            .await?;
        assert_eq!(code, "3");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn previous_shows_the_run_before_this_one() {
    with_node(async |node| {
        node.push_bytes(&wat::parse_str(CRASHES)?, "crashes:v1").await?;
        node.apply_text(&pod("again", "crashes:v1", "Always")).await?;
        restarted(node, "again").await?;
        let previous =
            eventually("a previous log", SOON, async || node.kubectl(&["logs", "again", "--previous"]).await).await?;
        assert_eq!(previous, "line one\nline two\nline three\n");
        let pods = node.kubectl(&["get", "pod", "again"]).await?;
        ensure!(pods.contains("CrashLoopBackOff") || pods.contains("Error") || pods.contains("Running"), "{pods}");
        Ok(())
    })
    .await;
}

async fn restarted(node: &Node, pod: &str) -> Result<()> {
    let count = "jsonpath={.status.containerStatuses[0].restartCount}";
    eventually("the pod is started again", Duration::from_secs(40), async || {
        let restarts = node.kubectl(&["get", "pod", pod, "-o", count]).await?;
        ensure!(restarts.parse::<u32>().unwrap_or(0) >= 1, "restarted {restarts:?} times");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_streams_what_is_printed_later() {
    with_node(async |node| {
        node.sample("echo-socket").await?;
        let mut follow = node.kubectl_running(&["logs", "-f", "deployment/echo-socket"])?;
        follow.line_with("listening on", SOON).await?;
        // A WebSocket frame that is not masked is refused with a line on standard error.
        let refused = broken_upgrade(node);
        let (line, sent) = tokio::join!(follow.line_with("connection ended", SOON), refused);
        sent?;
        ensure!(line?.contains("masked"), "the line says why");
        Ok(())
    })
    .await;
}

async fn broken_upgrade(node: &Node) -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = node.ready().http.trim_start_matches("http://").to_owned();
    eventually("the upgrade is accepted", SOON, async || {
        let mut stream = tokio::net::TcpStream::connect(&address).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: echo.localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            .await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        ensure!(&head == b"HTTP/1.1 101", "answered {}", String::from_utf8_lossy(&head));
        stream.write_all(&[0x81, 0x02, b'h', b'i']).await?;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
        Ok(())
    })
    .await
}
