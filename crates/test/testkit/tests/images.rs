//! Images that come late, and machines that can fetch none.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use eyot_testkit::{binary, eventually, guest, with_node};

/// The second retry of a pull comes 20 seconds after the first.
const BACK_OFF: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_push_starts_pods_that_wait_for_the_image() {
    with_node(async |node| {
        node.apply_text(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: early}\nspec:\n  containers:\n    - {name: main, image: \
             'localhost:5000/hello:late'}\n",
        )
        .await?;
        eventually("the pull to be given up for a while", Duration::from_secs(60), async || {
            let reason = node.kubectl(&["get", "pod", "early", "-o", "jsonpath={..waiting.reason}"]).await?;
            ensure!(reason == "ImagePullBackOff", "{reason}");
            Ok(())
        })
        .await?;
        let file = guest("hello")?;
        let pushed = Instant::now();
        node.push_file(&file, "hello:late").await?;
        node.kubectl(&["wait", "--for=condition=Ready", "pod/early", "--timeout=60s"]).await?;
        let took = pushed.elapsed();
        ensure!(took < BACK_OFF, "it waited for its next retry: {took:?}");
        Ok(())
    })
    .await;
}

#[test]
fn a_machine_that_trusts_no_authority_is_told_what_to_install() {
    let mut push = Command::new(binary().unwrap());
    push.arg("push").arg(guest("hello").unwrap()).arg("localhost:5000/hello:v1");
    let outcome = push.env("SSL_CERT_FILE", "/dev/null").env_remove("SSL_CERT_DIR").output().unwrap();
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.status.code(), Some(1), "{said}");
    assert!(said.contains("install ca-certificates") && !said.contains("panicked"), "{said}");
}
