//! HTTP guests that misbehave: each is told apart where its user looks, and a neighbour answers all along.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);

/// A `wasi:http` component with this handler; `$request` and `$outparam` are its parameters.
fn component(handle: &str) -> Result<Vec<u8>> {
    let text = include_str!("../../../shell/runtime/tests/guests/http.wat");
    Ok(wat::parse_str(text.replace(";;HANDLE;;", handle))?)
}

/// Serves `handle` as `NAME.localhost`.
async fn serve(node: &Node, name: &str, handle: &str) -> Result<()> {
    node.push_bytes(&component(handle)?, &format!("{name}:v1")).await?;
    node.apply_text(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  containers:\n    \
         - {{name: main, image: 'localhost:5000/{name}:v1', ports: [{{containerPort: 8080}}]}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: {name}}}\n  ports: [{{port: 80, \
         targetPort: 8080}}]\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec:\n  \
         rules:\n    - host: {name}.localhost\n      http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: \
         {name}, port: {{number: 80}}}}}}}}]}}\n"
    ))
    .await?;
    node.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"]).await.map(drop)
}

/// Waits until the guest's answer has `status` and its pod's events hold `word`.
async fn told(node: &Node, name: &str, status: u16, word: &str) -> Result<()> {
    eventually(name, SOON, async || {
        let answer = node.get(&format!("{name}.localhost"), "/").await?;
        ensure!(answer.status == status, "{}: {}", answer.status, answer.text());
        let described = node.kubectl(&["describe", "pod", name]).await?;
        let log = node.kubectl(&["logs", name]).await?;
        ensure!(described.contains(word) || log.contains(word), "{word:?} is said nowhere:\n{described}\n{log}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_fail_their_requests_harm_nobody() {
    with_node(async |node| {
        node.sample("hello").await?;
        serve(node, "traps", "(unreachable)").await?;
        serve(node, "silent", "nop").await?;
        serve(node, "good", "(call $hello (local.get $outparam))").await?;
        told(node, "traps", 502, "unreachable").await?;
        told(node, "silent", 502, "without setting a response").await?;
        for _ in 0..50 {
            ensure!(node.get("traps.localhost", "/").await?.status == 502, "a trap is an answer");
            ensure!(node.get("good.localhost", "/").await?.text().contains("hello"), "the neighbour answers");
        }
        ensure!(node.get("hello.localhost", "/").await?.status == 200, "so does the sample");
        let restarts = node
            .kubectl(&["get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"])
            .await?;
        ensure!(restarts.split(' ').all(|it| it == "0"), "no request restarts a pod: {restarts}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_never_answers_leaves_its_neighbour_fast() {
    with_node(async |node| {
        node.sample("hello").await?;
        serve(node, "loops", "(loop $again (br $again))").await?;
        let stuck = (0..4).map(|_| tokio::time::timeout(Duration::from_secs(5), node.get("loops.localhost", "/")));
        let neighbours = async {
            for _ in 0..20 {
                let answer = tokio::time::timeout(Duration::from_secs(5), node.get("hello.localhost", "/")).await??;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            }
            Ok(())
        };
        let (_, answered) = tokio::join!(futures::future::join_all(stuck), neighbours);
        answered?;
        node.kubectl(&["delete", "pod", "loops", "--timeout=60s"]).await.map(drop)
    })
    .await;
}
