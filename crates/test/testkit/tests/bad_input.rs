//! What should not be, reported where its user looks, without harm to a neighbour.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);

/// A pod of one container; `extra` goes into the container, already indented by six.
fn pod(name: &str, image: &str, extra: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  runtimeClassName: wasm\n  restartPolicy: Never\n  \
         containers:\n    - name: main\n      image: localhost:5000/{image}\n{extra}"
    )
}

/// A preview-1 command with this body.
fn command(body: &str) -> Result<Vec<u8>> {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 16) "flood flood flood flood flood flood flood flood flood flood\n")
          (func (export "_start") {body}))"#
    );
    Ok(wat::parse_str(text)?)
}

/// Waits until what `kubectl get` and `describe` say of a pod holds every word.
async fn told(node: &Node, pod: &str, words: &[&str]) -> Result<()> {
    eventually(pod, SOON, async || {
        let status = node.kubectl(&["get", "pod", pod, "-o", "yaml"]).await?;
        let described = node.kubectl(&["describe", "pod", pod]).await?;
        let missing: Vec<_> =
            words.iter().filter(|word| !status.contains(**word) && !described.contains(**word)).collect();
        ensure!(missing.is_empty(), "{missing:?} is said nowhere:\n{described}");
        Ok(())
    })
    .await
}

/// A neighbour that must not notice.
async fn neighbour(node: &Node) -> Result<()> {
    node.sample("hello").await?;
    unharmed(node).await
}

async fn unharmed(node: &Node) -> Result<()> {
    eventually("the neighbour answers", SOON, async || {
        let answer = node.get("hello.localhost", "/").await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_wasm_is_refused_by_push() {
    with_node(async |node| {
        let error = match node.push_bytes(b"#!/bin/sh\necho no\n", "script:v1").await {
            Ok(()) => anyhow::bail!("a shell script was pushed as Wasm"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(error.to_lowercase().contains("wasm") || error.to_lowercase().contains("webassembly"), "{error}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_cannot_run_says_why() {
    with_node(async |node| {
        neighbour(node).await?;
        let unknown = wat::parse_str(
            r#"(module (import "env" "magic" (func)) (memory (export "memory") 1) (func (export "_start")))"#,
        )?;
        node.push_bytes(&unknown, "unknown-import:v1").await?;
        node.apply_text(&pod("unknown-import", "unknown-import:v1", "")).await?;
        told(node, "unknown-import", &["magic"]).await?;

        // The magic number and then noise: the header is Wasm's, the rest is not.
        node.push_bytes(b"\0asm\x01\0\0\0\xff\xff\xff\xff\xff", "torn:v1").await.or_else(|error| {
            let said = format!("{error:#}").to_lowercase();
            ensure!(said.contains("wasm") || said.contains("webassembly"), "{said}");
            Ok(())
        })?;
        unharmed(node).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_and_exit_codes_are_told_apart() {
    with_node(async |node| {
        neighbour(node).await?;
        node.push_bytes(&command("unreachable")?, "trap:v1").await?;
        node.apply_text(&pod("trap", "trap:v1", "")).await?;
        node.kubectl(&["wait", "--for=jsonpath={.status.phase}=Failed", "pod/trap", "--timeout=120s"]).await?;
        told(node, "trap", &["unreachable"]).await?;
        node.push_bytes(&command("nop")?, "fine:v1").await?;
        node.apply_text(&pod("fine", "fine:v1", "")).await?;
        node.kubectl(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/fine", "--timeout=120s"]).await?;
        unharmed(node).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_can_be_deleted_and_leaves_time_to_others() {
    with_node(async |node| {
        neighbour(node).await?;
        node.push_bytes(&command("(loop br 0)")?, "spin:v1").await?;
        for name in ["spin-1", "spin-2", "spin-3", "spin-4"] {
            node.apply_text(&pod(name, "spin:v1", "      resources: {limits: {cpu: 100m}}\n")).await?;
        }
        node.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "pod/spin-1", "pod/spin-4", "--timeout=120s"])
            .await?;
        for _ in 0..20 {
            let answer = node.get("hello.localhost", "/").await?;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let began = std::time::Instant::now();
        node.kubectl(&["delete", "pod", "spin-1", "spin-2", "spin-3", "spin-4", "--grace-period=1", "--timeout=120s"])
            .await?;
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_allocates_for_ever_is_oom_killed() {
    with_node(async |node| {
        neighbour(node).await?;
        let greedy = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
        node.push_bytes(&command(greedy)?, "greedy:v1").await?;
        node.apply_text(&pod("greedy", "greedy:v1", "      resources: {limits: {memory: 8Mi}}\n")).await?;
        told(node, "greedy", &["OOMKilled", "137"]).await?;
        unharmed(node).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_stays_bounded() {
    with_node(async |node| {
        neighbour(node).await?;
        let flood = "(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 60)) \
                     (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) br 0)";
        node.push_bytes(&command(flood)?, "flood:v1").await?;
        node.apply_text(&pod("flood", "flood:v1", "")).await?;
        node.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "pod/flood", "--timeout=120s"]).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        unharmed(node).await?;
        assert_eq!(node.kubectl(&["logs", "flood", "--tail=2"]).await?.lines().count(), 2);
        let size = size_below(node.data_dir())?;
        assert!(size < 200 << 20, "{} MiB on disk", size >> 20);
        node.kubectl(&["delete", "pod", "flood", "--grace-period=1", "--timeout=120s"]).await?;
        Ok(())
    })
    .await;
}

fn size_below(dir: &std::path::Path) -> Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        match kind.is_dir() {
            true => size += size_below(&entry.path())?,
            false => size += entry.metadata().map_or(0, |it| it.len()),
        }
    }
    Ok(size)
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_make_no_sense_are_refused_with_the_place() {
    with_node(async |node| {
        let good = eyot_testkit::read_example("hello/hello.yaml")?;
        let cases = [
            (good.replace("containerPort: 8080", "containerPort: 808080"), "containerPort"),
            (good.replace("      app: hello\n  template", "      app: other\n  template"), "selector"),
            (good.replace("  replicas: 2", "  replicas: two"), "replicas"),
            (good.replace("  replicas: 2", "  replicas: -2"), "replicas"),
            (good.replacen("  name: hello", "  name: Hello_There", 1), "metadata.name"),
            (good.replace("memory: 16Mi", "memory: sixteen"), "memory"),
            (good.replace("  replicas: 2", "  replicaz: 2"), "replicaz"),
            ("apiVersion: v1\nkind: [".to_owned(), "yaml"),
        ];
        for (manifest, word) in cases {
            let outcome = node.apply_outcome(&manifest).await?;
            ensure!(outcome.code != 0, "accepted, though {word} is wrong: {}", outcome.stdout);
            ensure!(outcome.stderr.contains(word), "{word} is not named: {}", outcome.stderr);
        }
        let unknown = good.replace("kind: Service", "kind: Serviette");
        let outcome = node.kubectl_stdin(&["apply", "--validate=false", "-f", "-"], &unknown).await?;
        ensure!(outcome.stderr.contains("no matches for kind \"Serviette\""), "{}", outcome.stderr);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_10_mb_is_refused_and_the_server_lives() {
    with_node(async |node| {
        let huge = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: huge}}\ndata:\n  all: {}\n",
            "x".repeat(10 << 20)
        );
        let file = node.data_dir().join("huge.yaml");
        std::fs::write(&file, huge)?;
        let outcome = node.kubectl_outcome(&["create", "-f", &file.to_string_lossy()]).await?;
        ensure!(outcome.code != 0, "10 MB were stored");
        ensure!(outcome.stderr.contains("oo large") || outcome.stderr.contains("oo long"), "{}", outcome.stderr);
        node.kubectl(&["get", "nodes"]).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_volumes_and_unsupported_fields_are_events() {
    with_node(async |node| {
        neighbour(node).await?;
        let volume = "      volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, configMap: {name: nowhere}}]\n";
        node.apply_text(&pod("no-volume", "hello:v1", volume)).await?;
        told(node, "no-volume", &["nowhere"]).await?;
        let env = "      envFrom: [{secretRef: {name: no-secret}}]\n";
        node.apply_text(&pod("no-secret", "hello:v1", env)).await?;
        told(node, "no-secret", &["no-secret", "not found"]).await?;
        let privileged = "      securityContext: {privileged: true}\n";
        node.apply_text(&pod("privileged", "hello:v1", privileged)).await?;
        told(node, "privileged", &["privileged"]).await?;
        let claim = "      volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, persistentVolumeClaim: {claimName: disk}}]\n";
        node.apply_text(&pod("claim", "hello:v1", claim)).await?;
        told(node, "claim", &["persistentVolumeClaim"]).await?;
        unharmed(node).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_guest_fails_its_probe_is_not_served() {
    with_node(async |node| {
        neighbour(node).await?;
        // A stock whose list is no list: its probe fails.
        node.push("stock").await?;
        let broken = eyot_testkit::read_example("shop/stock.yaml")?;
        let route = eyot_testkit::read_example("shop/front.yaml")?;
        let route = route.split("---\n").last().unwrap_or_default().replace("front", "stock");
        node.apply_text(&format!("{}---\n{route}", broken.replace("\"cents\": 64900", "\"cents\": oops"))).await?;
        eventually("the guest's own error passes", SOON, async || {
            let answer = node.get("shop.localhost", "/items").await?;
            // Not ready, since its probe fails as well: the gateway has no endpoint, or the guest says 500 itself.
            ensure!(answer.status == 503 || answer.status == 500, "{}: {}", answer.status, answer.text());
            Ok(())
        })
        .await?;
        let pods = node.kubectl(&["get", "pods", "-l", "app=stock"]).await?;
        ensure!(pods.contains("0/1"), "{pods}");
        unharmed(node).await
    })
    .await;
}
