//! What `eyot up --manifests DIR` takes as it is, with the node's configuration beside it.

use serde_json::json;

use super::{ADVICE, Brief, Draft, File, PROMISES, app, policy, traffic};
use crate::layer::Layer;

/// The smallest service: answers every request. Built from `crates/shell/runtime/tests/guests/http.wat`; a test compares.
const GUEST: &[u8] = include_bytes!("../../data/app.wasm");

pub(super) fn render(brief: &Brief, out: &mut Draft) {
    let image = format!("{}/{}:v1", app::EYOT_REGISTRY, brief.name);
    out.files.push(File { path: "app.wasm".to_owned(), contents: GUEST.to_vec() });
    out.manifests("00-namespace.yaml", "The namespace of everything below.", vec![app::namespace(brief)], true);
    let advice = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": ADVICE, "namespace": brief.name },
        "data": { PROMISES: promises(brief), "scenario.yaml": brief.scenario, "stack": stack(brief) } });
    let about = "What was asked, what was chosen, and what `eyot verify` holds the node to.";
    out.manifests("01-advice.yaml", about, vec![advice], true);
    let mut objects = app::workload(brief, &image, Some("wasm"), true);
    objects.push(traffic::eyot_route(brief));
    let about = format!("The service, at http://{}.localhost:8080/ once its image is pushed.", brief.name);
    out.manifests("10-app.yaml", &about, objects, true);
    out.manifests("20-bounds.yaml", "What pods of the namespace may take.", app::bounds(brief, true), true);
    if !matches!(brief.at(Layer::Policy), "" | "no-policy") {
        let about = "The rules for pods, judged by an engine in the API server itself.";
        out.rules("", about, policy::eyot(brief, app::EYOT_REGISTRY), true);
    }
    if !brief.autoscaling.is_empty() {
        out.manifests("40-autoscale.yaml", "Replicas follow the load.", vec![app::autoscaler(brief, true)], true);
    }
    if !brief.network_policy.is_empty() {
        let about = "Who may reach whom, for clusters that enforce it.";
        out.manifests("50-network.yaml", about, traffic::network_policies(brief), true);
    }
    out.files.push(File::text("eyot.env", environment(brief)));
    out.files.push(File::text("eyot.service", unit(brief)));
    limits(brief, out);
}

fn promises(brief: &Brief) -> String {
    serde_json::to_string_pretty(&brief.promises).unwrap_or_default() + "\n"
}

/// The option of each layer, one a line.
fn stack(brief: &Brief) -> String {
    brief.stack.iter().map(|(layer, id)| format!("{layer}: {id}\n")).collect()
}

/// The flags of `eyot up`, as environment variables.
fn environment(brief: &Brief) -> String {
    let listen = if brief.kind == "edge" || brief.kind == "iot" { "0.0.0.0:8080" } else { "127.0.0.1:8080" };
    format!(
        "# The configuration of `eyot up` for {}: every line is one of its flags.\n\
         # By hand: set -a; . ./eyot.env; set +a; eyot up\n\
         EYOT_DATA_DIR=/var/lib/eyot\n\
         EYOT_MANIFESTS=/etc/eyot/manifests\n\
         EYOT_API_LISTEN=127.0.0.1:6443\n\
         # Where requests come in; 127.0.0.1 keeps them on this machine.\n\
         EYOT_HTTP_LISTEN={listen}\n\
         EYOT_REGISTRY_LISTEN=127.0.0.1:5000\n\
         EYOT_LOG_FORMAT=json\n",
        brief.title.lines().next().unwrap_or_default(),
    )
}

fn unit(brief: &Brief) -> String {
    format!(
        "# cp *.yaml /etc/eyot/manifests/ && cp eyot.env /etc/eyot/ && cp eyot.service /etc/systemd/system/ && systemctl enable --now eyot\n\
         [Unit]\nDescription=Eyot: {}\nAfter=network.target\n\n\
         [Service]\nEnvironmentFile=/etc/eyot/eyot.env\nExecStart=/usr/local/bin/eyot up\nRestart=always\nRestartSec=1\n\
         KillSignal=SIGTERM\nTimeoutStopSec=60\nStateDirectory=eyot\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        brief.title.lines().next().unwrap_or_default(),
    )
}

/// What the stack has and Eyot has not.
fn limits(brief: &Brief, out: &mut Draft) {
    if brief.nodes > 1 || brief.high_availability {
        out.note(
            "nodes",
            format!("Eyot is one node: {} nodes in one cluster are not rendered. Run one Eyot a machine, or K3s with the same manifests and a RuntimeClass", brief.nodes),
            format!("Eyot 为单节点：未生成 {} 节点的集群。每台机器运行一个 Eyot，或用 K3s 加 RuntimeClass 运行同样的清单", brief.nodes),
        );
    }
    if brief.sites > 1 {
        out.note(
            "sites",
            format!("the folder is the same for each of the {} sites: copy it to each", brief.sites),
            format!("{} 个站点使用同一目录：逐站复制即可", brief.sites),
        );
    }
    if brief.gpu {
        out.note(
            "gpu",
            "guests reach no graphics processor on Eyot: inference runs on the processor, inside the guest",
            "Eyot 上的客体无法使用 GPU：推理在客体内由 CPU 执行",
        );
    }
    for protocol in &brief.protocols {
        out.note(
            "protocols",
            format!("{protocol}: Eyot brings no broker; a guest with sockets connects to one outside"),
            format!("{protocol}：Eyot 不自带代理；带套接字的客体可连接外部代理"),
        );
    }
    if brief.autoscaling == "events" {
        out.note(
            "40-autoscale.yaml",
            "events: Eyot counts requests, not messages of a queue; replicas follow the requests in flight",
            "events：Eyot 统计请求而非队列消息；副本数随进行中的请求变化",
        );
    }
    if brief.at(Layer::Storage) != "sqlite" {
        let storage = brief.at(Layer::Storage);
        out.note(
            "storage",
            format!("Eyot keeps its state in SQLite; {storage} is not rendered"),
            format!("Eyot 的状态存于 SQLite；未生成 {storage}"),
        );
    }
    if !matches!(brief.at(Layer::Mesh), "" | "no-mesh") {
        out.note(
            "mesh",
            "no mesh runs on Eyot; calls between its services stay in one process",
            "Eyot 上没有服务网格；服务间调用在同一进程内",
        );
    }
    if !matches!(brief.at(Layer::Monitoring), "" | "no-monitoring") {
        out.note(
            "monitoring",
            "Eyot serves no metrics for Prometheus yet: logs are JSON on stderr, events in the API",
            "Eyot 尚不提供 Prometheus 指标：日志为 stderr 上的 JSON，事件在 API 中",
        );
    }
    if matches!(brief.at(Layer::Policy), "opa" | "opa-wasm") {
        let engine = brief.at(Layer::Policy);
        out.note(
            "30-policy.yaml",
            format!("{engine}: the rules are Rego in a Policy of eyot.dev, which the API server evaluates itself; `opa build -t wasm` bundles go into its `bundle`"),
            format!("{engine}：规则以 eyot.dev 的 Policy（Rego）生成，由 API 服务器自身求值；`opa build -t wasm` 的 bundle 可写入其 `bundle` 字段"),
        );
    }
}
