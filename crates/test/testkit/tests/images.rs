//! Images that come late.

use std::time::{Duration, Instant};

use anyhow::ensure;
use eyot_testkit::{eventually, guest, with_node};

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
