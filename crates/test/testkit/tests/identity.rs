//! What a guest can prove about itself, and what it is told of others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eyot_testkit::{eventually, with_node};

/// A command that prints the file `token` of its first mount.
fn reader() -> Result<Vec<u8>> {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 32) "token")
        (func (export "_start")
            (if (call $open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 5) (i32.const 0)
                    (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))
                (then unreachable))
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 8192))
            (drop (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.store (i32.const 4) (i32.load (i32.const 8)))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    Ok(wat::parse_str(text)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_mounted_by_itself_opens_the_api() {
    with_node(async |node| {
        node.push_bytes(&reader()?, "reader:v1").await?;
        node.kubectl(&["create", "serviceaccount", "robot"]).await?;
        node.apply_text(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: reader}\nspec:\n  serviceAccountName: robot\n  restartPolicy: Never\n  \
             automountServiceAccountToken: true\n  containers: [{name: main, image: localhost:5000/reader:v1}]\n",
        )
        .await?;
        let token = eventually("the token in the log", Duration::from_secs(60), async || {
            let log = node.kubectl(&["logs", "reader"]).await?;
            ensure!(log.split('.').count() == 3, "no token: {log:?}");
            Ok(log.trim().to_owned())
        })
        .await?;
        let place = |path: &str| format!("jsonpath={{.clusters[0].cluster.{path}}}");
        let server = node.kubectl(&["config", "view", "--raw", "-o", &place("server")]).await?;
        let who = ["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--server", &server, "--token", &token];
        let who = node.kubectl(&[&who[..], &["auth", "whoami"]].concat()).await?;
        ensure!(who.contains("system:serviceaccount:default:robot") && who.contains("pod-name"), "{who}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_token_is_its_service_accounts() {
    with_node(async |node| {
        node.push_bytes(&reader()?, "reader:v1").await?;
        node.kubectl(&["create", "serviceaccount", "robot"]).await?;
        node.apply_text(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: reader}\nspec:\n  serviceAccountName: robot\n  restartPolicy: Never\n  \
             containers:\n    - name: main\n      image: localhost:5000/reader:v1\n      volumeMounts: [{name: tokens, mountPath: \
             /var/run/secrets/tokens}]\n  volumes:\n    - name: tokens\n      projected:\n        sources:\n          \
             - serviceAccountToken: {path: token, expirationSeconds: 600}\n",
        )
        .await?;
        let token = eventually("the token in the log", Duration::from_secs(60), async || {
            let log = node.kubectl(&["logs", "reader"]).await?;
            ensure!(log.split('.').count() == 3, "no token: {log:?}");
            Ok(log.trim().to_owned())
        })
        .await?;
        let review = format!(
            "{{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":{{\"token\":\"{token}\"}}}}"
        );
        let review = node.kubectl_stdin(&["create", "-o", "json", "-f", "-"], &review).await?;
        let status: serde_json::Value = serde_json::from_str(&review.stdout).context("reading the review")?;
        let user = &status["status"]["user"];
        ensure!(user["username"] == "system:serviceaccount:default:robot", "{}", review.stdout);
        ensure!(user["extra"]["authentication.kubernetes.io/pod-name"][0] == "reader", "bound to its pod: {user}");
        Ok(())
    })
    .await;
}
