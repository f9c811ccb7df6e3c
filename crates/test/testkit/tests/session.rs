//! `kubectl attach`, `run -i` and `exec`.

use anyhow::{Result, ensure};
use eyot_testkit::{Node, with_node};

/// A command that prints what it reads, and leaves with 3 at the end of its input.
fn echo() -> Result<Vec<u8>> {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (loop $again
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const 1024))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (if (i32.eqz (i32.load (i32.const 8))) (then (call $exit (i32.const 3))))
                (i32.store (i32.const 4) (i32.load (i32.const 8)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
                (br $again))))"#;
    Ok(wat::parse_str(text)?)
}

async fn image(node: &Node) -> Result<String> {
    node.push_bytes(&echo()?, "echo:v1").await?;
    Ok(node.localized("localhost:5000/echo:v1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn run_with_input_types_into_the_guest() {
    with_node(async |node| {
        let image = format!("--image={}", image(node).await?);
        let args = ["run", "typist", "-i", "--rm", "--restart=Never", &image, "--pod-running-timeout=60s"];
        let outcome = node.kubectl_stdin(&args, "hello from outside\n").await?;
        ensure!(outcome.stdout.contains("hello from outside"), "{}\n{}", outcome.stdout, outcome.stderr);
        ensure!(outcome.code == 3, "the guest's own exit code, not {}: {}", outcome.code, outcome.stderr);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_runs_programs_of_the_image_and_says_what_is_not_there() {
    with_node(async |node| {
        let image = image(node).await?;
        node.apply_text(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: tools}}\nspec:\n  containers:\n    \
             - {{name: main, image: '{image}', stdin: true}}\n"
        ))
        .await?;
        node.kubectl(&["wait", "--for=condition=Ready", "pod/tools", "--timeout=60s"]).await?;
        let outcome = node.kubectl_stdin(&["exec", "-i", "tools", "--", "echo"], "typed\n").await?;
        ensure!(outcome.stdout == "typed\n" && outcome.code == 3, "{outcome:?}");
        ensure!(outcome.stderr.contains("exit code 3"), "{}", outcome.stderr);
        let outcome = node.kubectl_outcome(&["exec", "tools", "--", "sh", "-c", "ls"]).await?;
        ensure!(outcome.code != 0 && outcome.stderr.contains("\"sh\" is not in image"), "{}", outcome.stderr);
        Ok(())
    })
    .await;
}
