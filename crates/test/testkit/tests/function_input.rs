//! What clients and users of functions should not send: refused where they look, nothing lost, neighbours unharmed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use eyot_testkit::{Load, Node, Options, eventually, with_node};
use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SOON: Duration = Duration::from_secs(60);
const SHOUT: &str = "shout.default.localhost";
const COUNT: &str = "count.default.localhost";
const HELLO: &str = "hello.default.localhost";

async fn shout(node: &Node) -> Result<()> {
    node.push("shout").await?;
    node.apply("shout").await?;
    node.kubectl(&["wait", "ksvc/shout", "--for=condition=Ready", "--timeout=120s"]).await.map(drop)
}

/// A function of an image, with a variable of its environment.
fn function(name: &str, image: &str, variable: &str) -> String {
    format!(
        r#"{{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {{"name": "{name}"}}, "spec": {{
        "template": {{"spec": {{"containers": [{{"image": "localhost:5000/{image}:v1", "env": [{variable}]}}]}}}}}}}}"#
    )
}

async fn connect(node: &Node) -> Result<TcpStream> {
    Ok(TcpStream::connect(node.ready().http.trim_start_matches("http://")).await?)
}

/// The first line of the answer to these bytes.
async fn answer(node: &Node, bytes: &[u8]) -> Result<String> {
    let mut stream = connect(node).await?;
    stream.write_all(bytes).await?;
    let (mut text, mut chunk) = (Vec::new(), [0; 1024]);
    while !text.contains(&b'\n') {
        match tokio::time::timeout(SOON, stream.read(&mut chunk)).await?? {
            0 => break,
            count => text.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_make_no_sense_are_answered_and_told_apart() {
    with_node(async |node| {
        shout(node).await?;
        let long = |bytes: usize| "x".repeat(bytes);
        for (head, status) in [
            (format!("GET /{} HTTP/1.1\r\nhost: {SHOUT}\r\n\r\n", long(20_000)), "414"),
            (format!("GET / HTTP/1.1\r\nhost: {SHOUT}\r\nx-a: {}\r\n\r\n", long(100_000)), "431"),
            (format!("GET / HTTP/1.1\r\nhost: {SHOUT}\r\n{}\r\n", "x-a: b\r\n".repeat(200)), "431"),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
            (format!("GET / HTTP/1.1\r\nhost: {SHOUT}\r\nhost: other\r\n\r\n"), "400"),
            (format!("POST / HTTP/1.1\r\nhost: {SHOUT}\r\ncontent-length: -1\r\n\r\n"), "400"),
            ("NONSENSE\r\n\r\n".to_owned(), "400"),
        ] {
            let line = answer(node, head.as_bytes()).await?;
            assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{line} for {:.60}", head);
        }
        let fine = node.gateway().send(Method::POST, SHOUT, "/", Bytes::from_static(b"fine")).await?;
        assert_eq!(fine.text(), "FINE");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_not_taken_for_a_whole_one() {
    with_node(async |node| {
        shout(node).await?;
        for _ in 0..20 {
            let mut stream = connect(node).await?;
            let head = format!("POST / HTTP/1.1\r\nhost: {SHOUT}\r\ncontent-length: 1000\r\n\r\nabc");
            stream.write_all(head.as_bytes()).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The last of these comes after all that broke off.
        for _ in 0..3 {
            let fine = node.gateway().send(Method::POST, SHOUT, "/", Bytes::from_static(b"whole")).await?;
            assert_eq!(fine.text(), "WHOLE");
        }
        let said = node.eyot(&["logs", "shout"]).await?;
        assert!(said.stdout.contains("shouted 5 bytes"), "{}{}", said.stdout, said.stderr);
        assert!(!said.stdout.contains("shouted 3 bytes"), "a command took three bytes for all: {}", said.stdout);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_clients_hold_up_nobody_else() {
    with_node(async |node| {
        shout(node).await?;
        node.sample("hello").await?;
        let mut slow = Vec::new();
        for at in 0..1000 {
            let mut stream = connect(node).await?;
            // Half of them stop in the head, half in the body.
            let head = match at % 2 {
                0 => format!("POST / HTTP/1.1\r\nhost: {SHOUT}\r\nx-a"),
                _ => format!("POST / HTTP/1.1\r\nhost: {SHOUT}\r\ncontent-length: 1000\r\n\r\nx"),
            };
            stream.write_all(head.as_bytes()).await?;
            slow.push(stream);
        }
        let began = Instant::now();
        for _ in 0..50 {
            assert_eq!(node.get("hello.localhost", "/").await?.status, 200);
        }
        assert!(began.elapsed() < Duration::from_secs(10), "a neighbour waited {:?}", began.elapsed());
        drop(slow);
        eventually("the function answers again", SOON, async || {
            let fine = node.gateway().send(Method::POST, SHOUT, "/", Bytes::from_static(b"again")).await?;
            ensure!(fine.text() == "AGAIN", "{} {}", fine.status, fine.text());
            Ok(())
        })
        .await?;
        eventually("it goes to zero, since none of them is under way", SOON, async || {
            let pods = node.kubectl(&["get", "pods", "-l", "serving.knative.dev/service=shout", "-o", "name"]).await?;
            ensure!(pods.trim().is_empty(), "{pods}");
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_contradict_themselves_are_refused_with_the_place() {
    with_node(async |node| {
        let service = |annotations: &str, traffic: &str| {
            format!(
                r#"{{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {{"name": "odd"}}, "spec": {{
                "template": {{"metadata": {{"annotations": {{{annotations}}}}}, "spec": {{"containers": [{{"image": "x"}}]}}}},
                "traffic": [{traffic}]}}}}"#
            )
        };
        let latest = r#"{"latestRevision": true, "percent": 100}"#;
        for (manifest, words) in [
            (service("", r#"{"latestRevision": true, "percent": 90}"#), "Traffic targets sum to 90, want 100"),
            (service("", r#"{"latestRevision": true, "percent": 101}"#), "expected 0 <= 101 <= 100"),
            (service(r#""autoscaling.knative.dev/colour": "red""#, latest), "autoscaling.knative.dev/colour"),
            (service(r#""autoscaling.knative.dev/min-scale": "many""#, latest), "invalid value: many"),
            (service(r#""autoscaling.knative.dev/window": "1s""#, latest), "expected 6s <= 1s <= 1h0m0s"),
        ] {
            let outcome = node.apply_outcome(&manifest).await?;
            assert!(outcome.code != 0 && outcome.stderr.contains(words), "{words}: {}{}", outcome.stdout, outcome.stderr);
        }
        let fine = node.apply_outcome(&service(r#""example.com/any": "thing""#, latest)).await?;
        assert_eq!(fine.code, 0, "others' annotations are theirs: {}", fine.stderr);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_functions_take_is_answered_with_413() {
    let args = vec!["--function-body-mib".to_owned(), "1".to_owned()];
    let node = Node::start_with(Options { args, ..Options::default() }).await.expect("a node");
    let outcome = async {
        shout(&node).await?;
        node.push("wordcount").await?;
        node.apply_text(&function("count", "wordcount", r#"{"name": "fprocess", "value": "wordcount"}"#)).await?;
        node.kubectl(&["wait", "ksvc/count", "--for=condition=Ready", "--timeout=120s"]).await?;
        let told = format!("POST / HTTP/1.1\r\nhost: {SHOUT}\r\ncontent-length: 2000000\r\n\r\nabc");
        let line = answer(&node, told.as_bytes()).await?;
        ensure!(line.starts_with("HTTP/1.1 413 "), "told beforehand: {line}");
        // A command that reads all of it before it answers, and is ended where it breaks off.
        let mut long = format!("POST / HTTP/1.1\r\nhost: {COUNT}\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..20 {
            long.extend_from_slice(b"10000\r\n");
            long.resize(long.len() + 0x10000, b'x');
            long.extend_from_slice(b"\r\n");
        }
        let line = answer(&node, &long).await?;
        ensure!(line.starts_with("HTTP/1.1 413 "), "found out on the way: {line}");
        let whole = node.gateway().send(Method::POST, SHOUT, "/", Bytes::from(vec![b'x'; 1 << 20])).await?;
        ensure!(whole.status == 200 && whole.body.len() == 1 << 20, "{} {}", whole.status, whole.body.len());
        Ok(())
    };
    if let Err(error) = outcome.await {
        panic!("{error:#}\n{}", node.log_tail(60));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_crashes_on_start_leaves_the_old_one_serving_and_says_why() {
    with_node(async |node| {
        node.push("hello").await?;
        node.apply_text(&function("hello", "hello", "")).await?;
        node.kubectl(&["wait", "ksvc/hello", "--for=condition=Ready", "--timeout=120s"]).await?;
        // It runs for a moment, which must not be taken for being ready.
        let crash = wat::parse_str(
            r#"(module (memory (export "memory") 1) (func (export "_start") (local $i i64)
                (loop $on
                    (local.set $i (i64.add (local.get $i) (i64.const 1)))
                    (br_if $on (i64.lt_u (local.get $i) (i64.const 1000000000))))
                unreachable))"#,
        )?;
        node.push_bytes(&crash, "crash:v1").await?;
        let load = Load::start(node.gateway(), HELLO, 2);
        node.apply_text(&function("hello", "crash", "")).await?;
        eventually("the reason", SOON, async || {
            let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].message}"#;
            let said = node.kubectl(&["get", "ksvc", "hello", "-o", path]).await?;
            ensure!(said.contains("Revision \"hello-00002\" failed with message: Container failed with:"), "{said}");
            ensure!(said.contains("unreachable") || said.contains("134"), "{said}");
            Ok(())
        })
        .await?;
        let tally = load.stop().await?;
        ensure!(tally.failed == 0 && tally.answered > 20, "{tally:?}");
        Ok(())
    })
    .await;
}
