//! The node ends, by order or by force, and comes back with what it had.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Node, Options, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);

async fn hello(node: &Node) -> Result<()> {
    node.sample("hello").await?;
    answers(node).await.map(drop)
}

async fn answers(node: &Node) -> Result<String> {
    eventually("hello answers", SOON, async || {
        let answer = node.get("hello.localhost", "/").await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(answer.text())
    })
    .await
}

/// What must not change over a restart: each pod's identity, address and count of restarts.
async fn pods(node: &Node) -> Result<String> {
    let path = "jsonpath={range .items[*]}{.metadata.uid} {.metadata.name} {.status.podIP} {.status.phase} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    node.kubectl(&["get", "pods", "-l", "app=hello", "-o", path]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_the_same_pods_give_the_same_answers() {
    with_node(async |node| {
        hello(node).await?;
        let (before, objects) =
            (pods(node).await?, node.kubectl(&["get", "deploy,rs,svc,httproutes,cm", "-o", "name"]).await?);
        for _ in 0..3 {
            node.kill().await?;
            node.restart().await?;
            let answer = answers(node).await?;
            ensure!(
                before.lines().any(|line| line.contains(answer.trim().trim_start_matches("hello from "))),
                "{answer} is not of {before}"
            );
            assert_eq!(pods(node).await?, before);
            assert_eq!(node.kubectl(&["get", "deploy,rs,svc,httproutes,cm", "-o", "name"]).await?, objects);
        }
        // It is whole: it can still change.
        node.kubectl(&["scale", "deployment/hello", "--replicas=3"]).await?;
        node.rolled_out("hello").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_the_next_start_goes_on() {
    with_node(async |node| {
        hello(node).await?;
        let before = pods(node).await?;
        let status = node.stop().await?;
        assert!(status.success(), "{status}");
        node.restart().await?;
        answers(node).await?;
        assert_eq!(pods(node).await?, before);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_finished_before_the_end() {
    with_node(async |node| {
        node.sample("images").await?;
        let picture = std::fs::read(eyot_testkit::example("images/eyot.png"))?;
        eventually("images answers", SOON, async || {
            let answer = node.post("images.localhost", "/resize?width=9", picture.clone()).await?;
            ensure!(answer.status == 200, "{}", answer.status);
            Ok(())
        })
        .await?;
        let gateway = node.gateway().clone();
        let body = picture.clone();
        let call = tokio::spawn(async move {
            gateway
                .send(http::Method::POST, "images.localhost", "/resize?width=4000&height=4000&format=png", body.into())
                .await
        });
        // The whole of it has to be there: who comes after the signal is not let in.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let status = node.stop().await?;
        assert!(status.success(), "{status}");
        let answer = call.await??;
        assert_eq!((answer.status.as_u16(), &answer.body[..4]), (200, &b"\x89PNG"[..]));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_do_not_share_a_directory() {
    with_node(async |node| {
        let options = Options { data_dir: Some(node.data_dir().to_owned()), ..Options::default() };
        let error = match Node::start_with(options).await {
            Ok(_) => anyhow::bail!("a second node started on the same directory"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(
            error.contains("ended before it was ready") && error.contains(&*node.data_dir().to_string_lossy()),
            "it does not say where: {error}"
        );
        // The first is unharmed.
        node.kubectl(&["get", "nodes"]).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    with_node(async |node| {
        let taken = node.ready().http.trim_start_matches("http://").to_owned();
        for flag in ["--api-listen", "--http-listen", "--registry-listen"] {
            let options = Options { args: vec![flag.to_owned(), taken.clone()], ..Options::default() };
            let error = match Node::start_with(options).await {
                Ok(_) => anyhow::bail!("{flag} {taken} was taken and yet it started"),
                Err(error) => format!("{error:#}"),
            };
            ensure!(error.contains(&taken), "{flag}: it does not say which: {error}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_reported_not_served() {
    with_node(async |node| {
        hello(node).await?;
        node.stop().await?;
        let mut damaged = 0;
        for path in files_below(node.data_dir())? {
            let mut bytes = std::fs::read(&path)?;
            if bytes.starts_with(b"SQLite format 3") && bytes.len() > 8192 {
                bytes[4096..8192].fill(0xa5);
                std::fs::write(&path, bytes)?;
                damaged += 1;
            }
        }
        ensure!(damaged > 0, "no database was found below {}", node.data_dir().display());
        let error = match node.restart().await {
            Ok(()) => anyhow::bail!("it started on a damaged database"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(
            !error.contains("panicked")
                && (error.contains("malformed") || error.contains("corrupt") || error.contains("damaged")),
            "{error}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_cannot_be_without_comes_back_when_it_is_deleted() {
    with_node(async |node| {
        let uid = "jsonpath={.items[0].metadata.uid}";
        let before = node.kubectl(&["get", "nodes", "-o", uid]).await?;
        node.kubectl(&["delete", "service,endpoints,endpointslice", "kubernetes", "--ignore-not-found"]).await?;
        node.kubectl(&["delete", "nodes", "--all"]).await?;
        eventually("the Service with its endpoints", SOON, async || {
            let there = node.kubectl(&["get", "service,endpoints,endpointslice", "kubernetes", "-o", "name"]).await?;
            ensure!(there.lines().count() == 3, "{there}");
            let ip = "jsonpath={.spec.clusterIP}";
            let ip = node.kubectl(&["get", "service", "kubernetes", "-o", ip]).await?;
            ensure!(ip.ends_with(".0.1"), "{ip}");
            Ok(())
        })
        .await?;
        eventually("another Node", SOON, async || {
            let after = node.kubectl(&["get", "nodes", "-o", uid]).await?;
            ensure!(!after.is_empty() && after != before, "{after}");
            Ok(())
        })
        .await?;
        // Pods are scheduled there.
        hello(node).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_is_made_anew() {
    with_node(async |node| {
        hello(node).await?;
        node.stop().await?;
        let mut damaged = 0;
        for path in files_below(node.data_dir())? {
            let mut bytes = std::fs::read(&path)?;
            // Compiled guests are ELF files; so is nothing else here.
            if let Some(at) = bytes.windows(4).take(4096).position(|window| window == b"\x7fELF")
                && bytes.len() > at + 8192
            {
                let middle = bytes.len() / 2;
                bytes[middle..middle + 64].fill(0xa5);
                std::fs::write(&path, bytes)?;
                damaged += 1;
            }
        }
        ensure!(damaged > 0, "no compiled guest was found below {}", node.data_dir().display());
        node.restart().await?;
        answers(node).await.map(drop)
    })
    .await;
}

fn files_below(dir: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(files_below(&path)?),
            false if path.is_file() => files.push(path),
            false => {}
        }
    }
    Ok(files)
}
