//! What a guest can prove about itself, and what it is told of others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eyot_testkit::{eventually, with_node};

/// A command that prints a file of its first mount that has it.
fn reader(file: &str) -> Result<Vec<u8>> {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 32) "FILE")
        (func (export "_start") (local $directory i32)
            (local.set $directory (i32.const 3))
            (block $found (loop $next
                (br_if $found (i32.eqz (call $open (local.get $directory) (i32.const 0) (i32.const 32)
                    (i32.const LENGTH) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))))
                (local.set $directory (i32.add (local.get $directory) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $directory) (i32.const 9)))
                (unreachable)))
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 8192))
            (drop (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.store (i32.const 4) (i32.load (i32.const 8)))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    Ok(wat::parse_str(text.replace("FILE", file).replace("LENGTH", &file.len().to_string()))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pod_has_a_token_the_ca_and_its_namespace() {
    with_node(async |node| {
        let mut containers = String::new();
        for (image, file) in [("token", "token"), ("ca", "ca.crt"), ("namespace", "namespace")] {
            node.push_bytes(&reader(file)?, &format!("{image}:v1")).await?;
            containers += &format!("\n    - {{name: {image}, image: localhost:5000/{image}:v1}}");
        }
        // Together, so that the pod may come before what its namespace is about to get.
        node.apply_text(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: team}}\n---\napiVersion: v1\nkind: Pod\nmetadata: \
             {{name: reader, namespace: team}}\nspec:\n  restartPolicy: Never\n  containers:{containers}\n",
        ))
        .await?;
        let log = async |container: &str| {
            eventually("the file in the log", Duration::from_secs(60), async || {
                let log = node.kubectl(&["logs", "-n", "team", "reader", "-c", container]).await?;
                ensure!(!log.trim().is_empty(), "nothing in the log of {container}");
                Ok(log.trim().to_owned())
            })
            .await
        };
        let (token, ca, namespace) = (log("token").await?, log("ca").await?, log("namespace").await?);
        ensure!(namespace == "team", "{namespace}");
        let known =
            node.kubectl(&["get", "configmap", "-n", "team", "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}"]);
        ensure!(ca == known.await?.trim(), "{ca}");
        let place = |path: &str| format!("jsonpath={{.clusters[0].cluster.{path}}}");
        let server = node.kubectl(&["config", "view", "--raw", "-o", &place("server")]).await?;
        let who = ["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--server", &server, "--token", &token];
        let who = node.kubectl(&[&who[..], &["auth", "whoami"]].concat()).await?;
        ensure!(who.contains("system:serviceaccount:team:default") && who.contains("pod-name"), "{who}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_looks_at_no_file_has_no_token_made_for_it() {
    with_node(async |node| {
        node.sample("hello").await?;
        let volumes = "jsonpath={.items[*].spec.volumes[*].name}";
        let volumes = node.kubectl(&["get", "pods", "-o", volumes]).await?;
        ensure!(volumes.starts_with("kube-api-access-"), "{volumes}");
        let answer = node.get("hello.localhost", "/").await?;
        ensure!(answer.status == 200, "{answer:?}");
        let made: Vec<String> = walk(node.data_dir());
        ensure!(!made.iter().any(|it| it.contains("kube-api-access-")), "{made:?}");
        Ok(())
    })
    .await;
}

/// Every path below a directory.
fn walk(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.flat_map(|it| std::iter::once(it.path().display().to_string()).chain(walk(&it.path())));
    paths.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_token_is_its_service_accounts() {
    with_node(async |node| {
        node.push_bytes(&reader("token")?, "reader:v1").await?;
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
