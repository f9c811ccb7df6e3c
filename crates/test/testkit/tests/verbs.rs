//! kubectl's verbs that ask only the API: what the suite's sig-cli specs do, with pods that need not run.

use std::time::Duration;

use anyhow::Result;
use eyot_testkit::{Gateway, Node, with_node};

const SOON: Duration = Duration::from_secs(60);

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

async fn field(node: &Node, of: &str, path: &str) -> Result<String> {
    node.kubectl(&["get", of, "-o", &format!("jsonpath={{{path}}}")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_describes_the_server_is_complete() {
    with_node(async |node| {
        let versions = node.kubectl(&["api-versions"]).await?;
        assert!(versions.lines().any(|it| it == "v1"), "{versions}");
        has(&node.kubectl(&["cluster-info"]).await?, &["Kubernetes control plane", "is running at"]);
        let version = node.kubectl(&["version", "-o", "json"]).await?;
        has(&version, &["clientVersion", "serverVersion", "\"major\": \"1\"", "\"gitVersion\"", "\"gitCommit\""]);
        let explained = node.kubectl(&["explain", "pod.spec.containers"]).await?;
        has(&explained, &["List of containers belonging to the pod", "Entrypoint array", "imagePullPolicy\t<string>"]);
        let older = node.kubectl(&["explain", "svc.spec.ports", "--output=plaintext-openapiv2"]).await?;
        has(&older, &["The list of ports that are exposed by this service"]);
        let unknown = node.apply_outcome("apiVersion: example.com/v1\nkind: Nobody\nmetadata: {name: x}\n").await?;
        assert_eq!(unknown.code, 1);
        has(&unknown.stderr, &["no matches for kind \"Nobody\" in version \"example.com/v1\""]);
        has(&node.kubectl(&["get", "--raw", "/readyz?verbose"]).await?, &["[+]etcd ok", "readyz check passed"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_changed_in_every_way() {
    with_node(async |node| {
        node.kubectl(&["run", "p", "--image=localhost:5000/absent:1", "--restart=Never"]).await?;
        assert_eq!(field(node, "pod/p", ".spec.restartPolicy").await?, "Never");

        node.kubectl(&["label", "pod", "p", "testing-label=value"]).await?;
        has(&node.kubectl(&["get", "pod", "p", "-L", "testing-label"]).await?, &["value"]);
        node.kubectl(&["label", "pod", "p", "testing-label-"]).await?;
        assert!(!node.kubectl(&["get", "pod", "p", "-L", "testing-label"]).await?.contains("value"));

        let patch = r#"{"spec":{"containers":[{"name":"p","image":"localhost:5000/other:1"}]}}"#;
        node.kubectl(&["patch", "pod", "p", "-p", patch, "--dry-run=server"]).await?;
        has(&field(node, "pod/p", ".spec.containers[0].image").await?, &["absent:1"]);
        node.kubectl(&["patch", "pod", "p", "-p", r#"{"metadata":{"annotations":{"x":"y"}}}"#]).await?;
        assert_eq!(field(node, "pod/p", ".metadata.annotations.x").await?, "y");

        let object = node.kubectl(&["get", "pod", "p", "-o", "json"]).await?.replace("absent:1", "replaced:1");
        let replaced = node.kubectl_stdin(&["replace", "-f", "-"], &object).await?;
        assert_eq!(replaced.code, 0, "{}", replaced.stderr);
        has(&field(node, "pod/p", ".spec.containers[0].image").await?, &["replaced:1"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_and_services_are_made_of_workloads() {
    with_node(async |node| {
        let deployment = |image: &str| {
            format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec:\n  replicas: 0\n  selector: \
                 {{matchLabels: {{app: d}}}}\n  template:\n    metadata: {{labels: {{app: d}}}}\n    spec:\n      \
                 containers: [{{name: c, image: \"{image}\"}}]\n"
            )
        };
        node.apply_text(&deployment("one:1")).await?;
        let diff = node.kubectl_stdin(&["diff", "-f", "-"], &deployment("two:2")).await?;
        assert_eq!(diff.code, 1, "{}", diff.stderr);
        has(&diff.stdout, &["-      - image: one:1", "+      - image: two:2"]);

        let controller = "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: rc}\nspec:\n  replicas: 0\n  \
                          selector: {app: rc}\n  template:\n    metadata: {labels: {app: rc}}\n    spec:\n      \
                          containers: [{name: c, image: i, ports: [{containerPort: 6379}]}]\n";
        node.apply_text(controller).await?;
        node.kubectl(&["expose", "rc", "rc", "--name=rm2", "--port=1234", "--target-port=6379"]).await?;
        node.kubectl(&["expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379"]).await?;
        for (service, port) in [("service/rm2", "1234"), ("service/rm3", "2345")] {
            assert_eq!(field(node, service, ".spec.ports[0].port").await?, port);
            assert_eq!(field(node, service, ".spec.ports[0].targetPort").await?, "6379");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_passes_requests_on() {
    with_node(async |node| {
        let mut proxy = node.kubectl_running(&["proxy", "--port=0"])?;
        let line = proxy.line_with("Starting to serve on", SOON).await?;
        let address = line.split_whitespace().last().unwrap_or_default().to_owned();
        let answer = Gateway::new(&format!("http://{address}")).get("localhost", "/api/").await?;
        assert_eq!(answer.status, 200);
        has(&answer.text(), &["\"versions\":[\"v1\"]"]);
        let socket = node.data_dir().join("proxy.sock");
        let mut proxy = node.kubectl_running(&["proxy", &format!("--unix-socket={}", socket.display())])?;
        proxy.line_with("Starting to serve on", SOON).await?;
        assert!(socket.exists());
        Ok(())
    })
    .await;
}
