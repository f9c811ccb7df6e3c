//! Functions whose program is a command that is run for each request.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use eyot_testkit::{Node, eventually, guest, with_node};
use http::Method;

const SOON: Duration = Duration::from_secs(60);

async fn eyot(node: &Node, args: &[&str]) -> Result<String> {
    let said = node.eyot(args).await?;
    ensure!(said.code == 0, "eyot {args:?}: {}{}", said.stdout, said.stderr);
    Ok(said.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_in_headers_and_body_and_goes_to_zero() {
    with_node(async |node| {
        node.push("shout").await?;
        node.apply("shout").await?;
        node.kubectl(&["wait", "ksvc/shout", "--for=condition=Ready", "--timeout=120s"]).await?;
        let host = "shout.default.localhost";
        let post = async |body: &'static str| {
            node.gateway().send(Method::POST, host, "/a%20b?c=d", Bytes::from_static(body.as_bytes())).await
        };
        let answer = post("hello").await?;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "HELLO"));
        assert_eq!(answer.headers["x-shouted"], "yes");
        let refused = node.get(host, "/").await?;
        assert_eq!((refused.status.as_u16(), refused.headers["allow"].to_str()?), (405, "POST"));
        let named = node.gateway().send(Method::POST, "any", "/function/shout", Bytes::from_static(b"x")).await?;
        assert_eq!(named.text(), "X");
        let logs = eyot(node, &["logs", "shout"]).await?;
        assert!(logs.contains("POST /a b?c=d from") && logs.contains("shouted 5 bytes"), "{logs}");
        eventually("zero", SOON, async || {
            let pods = node.kubectl(&["get", "pods", "-o", "name"]).await?;
            ensure!(pods.trim().is_empty(), "{pods}");
            Ok(())
        })
        .await?;
        let calls = (0..50).map(|_| post("again"));
        for answer in futures::future::try_join_all(calls).await? {
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "AGAIN"), "from zero");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deploying_a_command_makes_a_function_of_it() {
    with_node(async |node| {
        let file = guest("wordcount")?;
        let said =
            eyot(node, &["deploy", &file.to_string_lossy(), "--name", "count", "--memory", "32Mi", "--timeout", "30"])
                .await?;
        assert!(said.contains("url       http://count.default.localhost"), "{said}");
        assert_eq!(eyot(node, &["invoke", "count", "-d", "one two\nthree\n"]).await?, "2 3 14 -\n");
        let shown = eyot(node, &["invoke", "count", "-i", "-H", "Content-Type: text/x", "-d", "a"]).await?;
        assert!(shown.starts_with("HTTP/1.1 200 OK\n") && shown.contains("content-type: text/x\n"), "{shown}");
        let listed = eyot(node, &["list"]).await?;
        assert!(listed.contains("INSTANCES") && listed.contains("count-00001=100"), "{listed}");

        // The words after the name are arguments; a file that is not there is exit code 1.
        eyot(
            node,
            &["deploy", &file.to_string_lossy(), "--name", "count", "--arg", "/nope", "--tag", "bad", "--no-traffic"],
        )
        .await?;
        assert_eq!(eyot(node, &["invoke", "count", "-d", "a"]).await?, "0 1 1 -\n", "it has no traffic");
        let bad = node.eyot(&["invoke", "count", "-i", "--tag", "bad"]).await?;
        assert!(bad.code != 0 && bad.stdout.contains("500") && bad.stdout.contains("x-exit-code: 1"), "{}", bad.stdout);
        eyot(node, &["split", "count", "v1=100"]).await?;
        assert!(eyot(node, &["list"]).await?.contains("count-00002=0(bad)"), "a split leaves tags");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_of_serving_that_is_not_there_is_refused_where_its_user_looks() {
    with_node(async |node| {
        node.push("shout").await?;
        let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd"}, "spec": {"containers": [{"name": "a",
            "image": "localhost:5000/shout:v1", "env": [{"name": "fprocess", "value": "shout"}, {"name": "mode", "value": "http"}]}]}}"#;
        node.apply_text(pod).await?;
        eventually("the reason", SOON, async || {
            let said = node.kubectl(&["describe", "pod", "odd"]).await?;
            ensure!(said.contains("environment variable mode=http"), "{said}");
            Ok(())
        })
        .await
    })
    .await;
}
