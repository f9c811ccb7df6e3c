//! Components of WASI 0.3, images of several components, and what an annotation lets guests reach.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use eyot_testkit::{eventually, with_node};

/// Ends well when 20 and 22 are 42: it leaves adding to whoever exports `acme:calc/add`.
const APP: &str = r#"(component
    (import "acme:calc/add@0.1.0" (instance $calc
        (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
    (core func $add (canon lower (func $calc "add")))
    (core module $m (import "calc" "add" (func $add (param i32 i32) (result i32)))
        (func (export "run") (result i32) (i32.ne (call $add (i32.const 20) (i32.const 22)) (i32.const 42))))
    (core instance $i (instantiate $m (with "calc" (instance (export "add" (func $add))))))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $face (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $face)))"#;

/// Exports `acme:calc/add` in a later version than is asked for.
const ADDER: &str = r#"(component
    (core module $m (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
    (core instance $i (instantiate $m))
    (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
    (instance $face (export "add" (func $add)))
    (export "acme:calc/add@0.1.3" (instance $face)))"#;

fn write(dir: &Path, name: &str, wat: &str) -> Result<String> {
    let path = dir.join(name);
    std::fs::write(&path, wat::parse_str(wat)?)?;
    Ok(path.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_and_its_libraries_are_one_image_and_run_as_one() {
    with_node(async |node| {
        let dir = tempfile::tempdir()?;
        let (app, adder) = (write(dir.path(), "app.wasm", APP)?, write(dir.path(), "adder.wasm", ADDER)?);
        let other = write(dir.path(), "other.wasm", ADDER)?;
        let image = node.localized("localhost:5000/sum:v1");
        let both = node.eyot(&["push", &app, &image, "--link", &adder, "--link", &other]).await?;
        ensure!(both.code != 0, "two libraries with one interface are no image");
        let named = "app.wasm imports acme:calc/add@0.1.0, which adder.wasm (acme:calc/add@0.1.3) and other.wasm";
        ensure!(both.stderr.contains(named), "{}", both.stderr);

        let pushed = node.eyot(&["push", &app, &image, "--link", &adder]).await?;
        ensure!(pushed.code == 0, "{}", pushed.stderr);
        let seen = node.eyot(&["inspect", &image]).await?;
        ensure!(seen.code == 0, "{}{}", seen.stdout, seen.stderr);
        let link = "app.wasm takes acme:calc/add@0.1.3 from adder.wasm as acme:calc/add@0.1.0";
        ensure!(seen.stdout.contains("wasi:cli component") && seen.stdout.contains(link), "{}", seen.stdout);

        node.apply_text(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {name: sum}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      \
             restartPolicy: Never\n      containers:\n        - {name: main, image: 'localhost:5000/sum:v1'}\n",
        )
        .await?;
        node.kubectl(&["wait", "--for=condition=Complete", "job/sum", "--timeout=60s"]).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_wasi_0_3_answers_asks_others_and_is_held_to_its_hosts() {
    with_node(async |node| {
        for name in ["hello", "relay"] {
            node.push(name).await?;
            node.apply(name).await?;
        }
        for name in ["hello", "relay"] {
            node.rolled_out(name).await?;
        }
        let body = "many words, ".repeat(50_000);
        let answer = node.post("relay.localhost", "/", body.clone()).await?;
        ensure!(
            answer.status == 200 && answer.text() == body.to_uppercase(),
            "{} {}",
            answer.status,
            answer.text().len()
        );
        let answer = node.get("relay.localhost", "/fetch?hello/").await?;
        ensure!(answer.status == 200 && answer.text().starts_with("hello from hello-"), "{}", answer.text());

        let patch = r#"{"spec":{"template":{"metadata":{"annotations":{"eyot.io/allowed-hosts":"relay:80"}}}}}"#;
        node.kubectl(&["patch", "deployment", "relay", "-p", patch]).await?;
        node.rolled_out("relay").await?;
        let answer = node.get("relay.localhost", "/fetch?relay/").await?;
        ensure!(answer.status == 200, "it may still ask itself: {} {}", answer.status, answer.text());
        // The pod before it may be asked a moment longer than its Deployment counts it.
        eventually("hello to be refused", Duration::from_secs(10), async || {
            let answer = node.get("relay.localhost", "/fetch?hello/").await?;
            ensure!(answer.status == 502, "{}", answer.status);
            Ok(())
        })
        .await?;
        eventually("the refusal to be in the log", Duration::from_secs(10), async || {
            let log = node.kubectl(&["logs", "deployment/relay"]).await?;
            ensure!(log.contains("request to hello denied") && log.contains("eyot.io/allowed-hosts"), "{log}");
            Ok(())
        })
        .await?;
        Ok(())
    })
    .await;
}
