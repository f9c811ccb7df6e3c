//! Services as pods and clients outside reach them: kept endpoints, ports of the node, changed types, slices by hand.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Gateway, Node, eventually, with_node};
use tokio::net::UdpSocket;

const SOON: Duration = Duration::from_secs(60);

/// A list of the shop with one item, by which it is told who answered.
fn list(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  items.json: \
         '[{{\"name\":\"{name}\",\"cents\":1,\"left\":1}}]'\n---\n"
    )
}

/// A pod whose containers answer with a list each.
fn server(name: &str, containers: &[(&str, u16)]) -> String {
    let (mut specs, mut volumes) = (String::new(), String::new());
    for (list, port) in containers {
        specs += &format!(
            "  - name: {list}\n    image: localhost:5000/stock:v1\n    ports: [{{containerPort: {port}}}]\n    \
             volumeMounts: [{{name: {list}, mountPath: /etc/shop}}]\n"
        );
        volumes += &format!("  - {{name: {list}, configMap: {{name: {list}}}}}\n");
    }
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: stock}}}}\nspec:\n  containers:\n{specs}  \
         volumes:\n{volumes}---\n"
    )
}

/// A pod that asks another server for its list, and shows it.
fn client(name: &str, url: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: front\n    image: \
         localhost:5000/front:v1\n    ports: [{{containerPort: 8080}}]\n    env: [{{name: STOCK_URL, value: \
         '{url}'}}]\n---\n"
    )
}

fn service(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

async fn apply(node: &Node, parts: &[String]) -> Result<()> {
    node.push("stock").await?;
    node.push("front").await?;
    node.apply_text(&parts.concat()).await?;
    node.kubectl(&["wait", "--for=condition=Ready", "pods", "--all", "--timeout=120s"]).await.map(drop)
}

/// The first word of the list that a client shows.
async fn asked(node: &Node, client: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/default/pods/{client}/proxy/");
    let shown = node.kubectl(&["get", "--raw", &path]).await?;
    Ok(shown.split_whitespace().next().context("an empty list")?.to_owned())
}

/// Waits until `ask` has had all these answers, and no other.
async fn answers(want: &[&str], mut ask: impl AsyncFnMut() -> Result<String>) -> Result<()> {
    let want: BTreeSet<String> = want.iter().map(|it| (*it).to_owned()).collect();
    eventually(&format!("answers {want:?}"), SOON, async || {
        let mut found = BTreeSet::new();
        for _ in 0..8 {
            found.insert(ask().await?);
        }
        ensure!(found == want, "{found:?}");
        Ok(())
    })
    .await
}

/// The answer that is always the same, as soon as it is.
async fn kept(mut ask: impl AsyncFnMut() -> Result<String>) -> Result<String> {
    eventually("one answer", SOON, async || {
        let first = ask().await?;
        for _ in 0..7 {
            let next = ask().await?;
            ensure!(next == first, "{first} and {next}");
        }
        Ok(first)
    })
    .await
}

async fn pod_ip(node: &Node, pod: &str) -> Result<String> {
    node.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"]).await
}

fn slice(service: &str, name: &str, ip: &str, port: &str, number: u16) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: \
         {{kubernetes.io/service-name: {service}, endpointslice.kubernetes.io/managed-by: hand}}}}\naddressType: \
         IPv4\nports: [{{name: {port}, port: {number}, protocol: TCP}}]\nendpoints: [{{addresses: ['{ip}'], \
         conditions: {{ready: true}}}}]\n---\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_reach_addresses_and_ports_of_slices_written_by_hand() {
    with_node(async |node| {
        let parts = [
            list("alpha"),
            list("beta"),
            server("one", &[("alpha", 8080)]),
            server("two", &[("beta", 8080)]),
            server("both", &[("alpha", 8090), ("beta", 9090)]),
            service("ips", "{ports: [{name: web, port: 80}]}"),
            service("ports", "{ports: [{name: port80, port: 80}, {name: port81, port: 81}]}"),
            client("ips", "http://ips"),
            client("first", "http://ports"),
            client("second", "http://ports:81"),
        ];
        apply(node, &parts).await?;
        let (one, two, both) = (pod_ip(node, "one").await?, pod_ip(node, "two").await?, pod_ip(node, "both").await?);
        let slices = [
            slice("ips", "ips-1", &one, "web", 8080),
            slice("ips", "ips-2", &two, "web", 8080),
            slice("ports", "ports-1", &both, "port80", 8090),
            slice("ports", "ports-2", &both, "port81", 9090),
        ];
        node.apply_text(&slices.concat()).await?;
        answers(&["alpha", "beta"], async || asked(node, "ips").await).await?;
        answers(&["alpha"], async || asked(node, "first").await).await?;
        answers(&["beta"], async || asked(node, "second").await).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_reached_by_their_addresses_from_pods_and_from_the_node() {
    with_node(async |node| {
        let parts = [list("alpha"), list("beta"), server("one", &[("alpha", 8080)]), server("two", &[("beta", 8081)])];
        apply(node, &parts).await?;
        let (one, two) = (pod_ip(node, "one").await?, pod_ip(node, "two").await?);
        let (one, two) = (format!("http://{one}:8080"), format!("http://{two}:8081"));
        apply(node, &[client("to-one", &one), client("to-two", &two)]).await?;
        for (client, url, want) in [("to-one", &one, "alpha"), ("to-two", &two, "beta")] {
            answers(&[want], async || asked(node, client).await).await?;
            answers(&[want], async || item(&Gateway::new(url)).await).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_reach_pods_from_pods_and_from_the_node() {
    with_node(async |node| {
        node.push("echo-socket").await?;
        let pod = |name: &str, env: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  containers:\n  \
                 - name: main\n    image: localhost:5000/echo-socket:v1\n    ports: [{{containerPort: 8081, protocol: \
                 UDP}}]\n    env: [{env}]\n"
            )
        };
        node.apply_text(&pod("echo", "{name: PROTOCOL, value: udp}, {name: PORT, value: '8081'}")).await?;
        node.kubectl(&["wait", "--for=condition=Ready", "pod/echo", "--timeout=120s"]).await?;
        let address: SocketAddr = format!("{}:8081", pod_ip(node, "echo").await?).parse()?;
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        let mut answer = [0; 64];
        // The first datagrams may come before the guest listens.
        let (length, from) = eventually("an answer to the node", SOON, async || {
            socket.send_to(b"from the node", address).await?;
            Ok(tokio::time::timeout(Duration::from_millis(200), socket.recv_from(&mut answer)).await??)
        })
        .await?;
        ensure!(from == address && answer[..length] == *b"from the node", "{from}: {answer:?}");
        node.apply_text(&pod("asker", &format!("{{name: ASK, value: '{address}'}}"))).await?;
        node.kubectl(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/asker", "--timeout=120s"]).await?;
        let said = node.kubectl(&["logs", "asker"]).await?;
        ensure!(said.trim() == format!("{address} says hello"), "{said}");
        Ok(())
    })
    .await;
}

async fn affinity(node: &Node, service: &str, kind: &str) -> Result<()> {
    let patch = format!("{{\"spec\":{{\"sessionAffinity\":\"{kind}\"}}}}");
    node.kubectl(&["patch", "service", service, "-p", &patch]).await.map(drop)
}

/// The port of the node of a Service, as a client outside.
async fn outside(node: &Node, service: &str) -> Result<(u16, Gateway)> {
    let port = node.kubectl(&["get", "service", service, "-o", "jsonpath={.spec.ports[0].nodePort}"]).await?;
    let port: u16 = port.parse().with_context(|| format!("the node port {port:?}"))?;
    Ok((port, Gateway::new(&format!("http://127.0.0.1:{port}"))))
}

async fn item(gateway: &Gateway) -> Result<String> {
    let answer = gateway.get("web", "/items").await?;
    let items: serde_json::Value = serde_json::from_slice(&answer.body).context("a list")?;
    Ok(items[0]["name"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_keep_their_endpoint_where_the_service_says_so() {
    with_node(async |node| {
        let spec = "{selector: {app: stock}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080}]";
        let parts = [
            list("alpha"),
            list("beta"),
            server("one", &[("alpha", 8080)]),
            server("two", &[("beta", 8080)]),
            service("inside", &format!("{spec}}}")),
            service("open", &format!("{spec}, type: NodePort}}")),
            client("guest", "http://inside"),
            client("by-name", "http://open"),
        ];
        apply(node, &parts).await?;
        // Whose a client is follows from who is there: both have to be, before one is asked for.
        affinity(node, "inside", "None").await?;
        answers(&["alpha", "beta"], async || asked(node, "guest").await).await?;
        affinity(node, "inside", "ClientIP").await?;
        let own = kept(async || asked(node, "guest").await).await?;
        affinity(node, "inside", "None").await?;
        answers(&["alpha", "beta"], async || asked(node, "guest").await).await?;
        affinity(node, "inside", "ClientIP").await?;
        answers(&[&own], async || asked(node, "guest").await).await?;

        let (_, open) = outside(node, "open").await?;
        let own = eventually("an answer", SOON, async || item(&open).await).await?;
        answers(&[&own], async || item(&open).await).await?;
        affinity(node, "open", "None").await?;
        // Each question comes over a connection of its own.
        let anew = async || item(&outside(node, "open").await?.1).await;
        answers(&["alpha", "beta"], anew).await?;
        answers(&["alpha", "beta"], async || asked(node, "by-name").await).await?;
        affinity(node, "open", "ClientIP").await?;
        answers(&[&own], anew).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_reached_as_its_type_says_whatever_it_was_before() {
    with_node(async |node| {
        let ports = "ports: [{port: 80, targetPort: 8080}]";
        let parts = [
            list("alpha"),
            list("beta"),
            server("one", &[("alpha", 8080)]),
            server("two", &[("beta", 8080)]).replace("app: stock", "app: other"),
            service("other", &format!("{{selector: {{app: other}}, {ports}}}")),
            service("web", &format!("{{selector: {{app: stock}}, {ports}}}")),
            client("guest", "http://web"),
        ];
        apply(node, &parts).await?;
        let ask = async || asked(node, "guest").await;
        answers(&["alpha"], ask).await?;
        // The name of another Service, as DNS would follow it.
        let alias = r#"{"spec":{"type":"ExternalName","externalName":"other.default.svc.cluster.local"}}"#;
        node.kubectl(&["patch", "service", "web", "-p", alias]).await?;
        let ip = ["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"];
        ensure!(node.kubectl(&ip).await?.is_empty(), "a name has no address");
        answers(&["beta"], ask).await?;

        node.kubectl(&["patch", "service", "web", "-p", r#"{"spec":{"type":"ClusterIP","externalName":""}}"#]).await?;
        ensure!(!node.kubectl(&ip).await?.is_empty(), "it has an address again");
        answers(&["alpha"], ask).await?;

        node.kubectl(&["patch", "service", "web", "-p", alias]).await?;
        answers(&["beta"], ask).await?;
        node.kubectl(&["patch", "service", "web", "-p", r#"{"spec":{"type":"NodePort","externalName":""}}"#]).await?;
        let (port, open) = outside(node, "web").await?;
        ensure!((30000..=32767).contains(&port), "{port}");
        answers(&["alpha"], async || item(&open).await).await?;
        answers(&["alpha"], ask).await?;

        node.kubectl(&["patch", "service", "web", "-p", alias]).await?;
        answers(&["beta"], ask).await?;
        eventually("the port is closed", SOON, async || {
            ensure!(Gateway::new(&format!("http://127.0.0.1:{port}")).get("web", "/items").await.is_err(), "open");
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_answers_with_its_own_name() {
    with_node(async |node| {
        node.push("hello").await?;
        let template = "template:\n    metadata: {labels: {app: OWN}}\n    spec:\n      containers:\n      - name: \
                        hello\n        image: localhost:5000/hello:v1\n        ports: [{containerPort: 8080}]\n        \
                        env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]\n";
        let manifest = |version: &str, kind: &str, name: &str, selector: &str| {
            format!(
                "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  replicas: 2\n  selector: \
                 {selector}\n  {}---\n",
                template.replace("OWN", name)
            )
        };
        let set = manifest("apps/v1", "ReplicaSet", "set", "{matchLabels: {app: set}}");
        let controller = manifest("v1", "ReplicationController", "old", "{app: old}");
        node.apply_text(&(set + &controller)).await?;
        for name in ["set", "old"] {
            let selector = format!("app={name}");
            eventually("two pods are ready", SOON, async || {
                node.kubectl(&["wait", "--for=condition=Ready", "pods", "-l", &selector, "--timeout=60s"]).await?;
                let pods = ["get", "pods", "-l", &selector, "-o", "jsonpath={.items[*].metadata.name}"];
                let pods = node.kubectl(&pods).await?;
                ensure!(pods.split_whitespace().count() == 2, "{pods}");
                for pod in pods.split_whitespace() {
                    let path = format!("/api/v1/namespaces/default/pods/{pod}/proxy/");
                    let answer = node.kubectl(&["get", "--raw", &path]).await?;
                    ensure!(answer == format!("hello from {pod}\n"), "{answer}");
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
    .await;
}
