//! What a cluster of Kubernetes or K3s takes: manifests at the top, Helm values and the server's configuration beside.

use serde_json::{Value, json};

use super::{Brief, Draft, File, app, policy, traffic, values};
use crate::layer::Layer;

pub(super) fn render(brief: &Brief, dir: &str, out: &mut Draft) {
    let registry = app::CLUSTER_REGISTRY;
    let image = format!("{registry}/{}:v1", brief.name);
    let classes = runtime_classes(brief);
    let class = brief.runs_wasm().then_some("wasmedge");
    let file = |name: &str| format!("{dir}{name}");
    let mut first = vec![app::namespace(brief)];
    if meshed(brief) {
        let (label, value) = mesh_label(brief.at(Layer::Mesh));
        first[0]["metadata"]["labels"][label] = json!(value);
    }
    out.manifests(&file("00-namespace.yaml"), "The namespace of everything below.", first, false);
    if !classes.is_empty() {
        let about = "How pods choose their runtime: handlers of containerd's configuration.";
        out.manifests(&file("02-runtime.yaml"), about, classes, false);
    }
    let mut objects = app::workload(brief, &image, class, false);
    objects.extend(traffic::cluster_entry(brief));
    let about = format!("The service. Put your own image in place of {image}.");
    out.manifests(&file("10-app.yaml"), &about, objects, false);
    out.manifests(&file("20-bounds.yaml"), "What pods of the namespace may take.", app::bounds(brief, false), false);
    let rules = policy::cluster(brief, registry, out, dir);
    out.rules(dir, &format!("The rules for pods, for {}.", brief.at(Layer::Policy)), rules, false);
    if !brief.autoscaling.is_empty() {
        out.manifests(
            &file("40-autoscale.yaml"),
            "Replicas follow the load.",
            vec![app::autoscaler(brief, false)],
            false,
        );
        if brief.autoscaling != "load" {
            out.note(
                &file("40-autoscale.yaml"),
                "needs an adapter that serves the metric of custom.metrics.k8s.io (prometheus-adapter, KEDA)",
                "需要提供 custom.metrics.k8s.io 指标的适配器（prometheus-adapter、KEDA）",
            );
        }
    }
    networking(brief, dir, out);
    for (name, about, value) in values::all(brief) {
        vouched(brief, name, &file(&format!("values/{name}.yaml")), about, &value, out);
    }
    if is_k3s(brief) {
        let about = "/etc/rancher/k3s/config.yaml of the servers.";
        vouched(brief, "k3s", &file("k3s/config.yaml"), about, &k3s(brief), out);
    }
    limits(brief, out);
}

/// Adds a file for which there is no schema, if the catalogue vouches for each of its keys.
fn vouched(brief: &Brief, id: &str, path: &str, about: &str, value: &Value, out: &mut Draft) {
    let chart = brief.charts.iter().find(|it| it.id.as_str() == id);
    let unknown = chart.map_or_else(|| vec![id.to_owned()], |it| it.unknown(value));
    match chart {
        Some(chart) if unknown.is_empty() => {
            let text = format!("# {about}\n# Keys of {}: {}.\n{}", chart.of, chart.read, super::yaml(value));
            out.files.push(File::text(path, text));
        }
        _ => {
            let unknown = unknown.join(", ");
            out.note(
                path,
                format!("not rendered: the catalogue's charts vouch for no {unknown}"),
                format!("未生成：目录的 charts 未收录 {unknown}"),
            );
        }
    }
}

fn networking(brief: &Brief, dir: &str, out: &mut Draft) {
    if brief.network_policy.is_empty() {
        return;
    }
    let path = format!("{dir}50-network.yaml");
    let mut objects = traffic::network_policies(brief);
    match brief.at(Layer::Network) {
        "cilium" if brief.network_policy == "l7" => objects.push(traffic::request_policy(brief)),
        "flannel" if !is_k3s(brief) => {
            out.note(&path, "flannel alone enforces no NetworkPolicy", "仅 flannel 不执行任何 NetworkPolicy")
        }
        _ => {}
    }
    out.manifests(&path, "Who may reach whom. Label the gateway's namespace gateway-access=true.", objects, false);
}

/// `wasmedge` is crun with WasmEdge; `runc` stays the default for containers beside it.
fn runtime_classes(brief: &Brief) -> Vec<Value> {
    if !brief.runs_wasm() {
        return Vec::new();
    }
    let class = |name: &str, handler: &str| json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": name }, "handler": handler });
    let mut classes = vec![class("wasmedge", "crun")];
    if brief.gpu {
        classes[0]["scheduling"] = json!({ "nodeSelector": { "gpu": "enabled" } });
    }
    if brief.at(Layer::Runtime).contains("docker") {
        classes.push(class("runc", "runc"));
    }
    classes
}

fn is_k3s(brief: &Brief) -> bool {
    matches!(brief.at(Layer::Orchestration), "k3s" | "kubeedge")
}

fn meshed(brief: &Brief) -> bool {
    !matches!(brief.at(Layer::Mesh), "" | "no-mesh" | "cilium-mesh")
}

/// What makes a namespace join the mesh.
fn mesh_label(mesh: &str) -> (&'static str, &'static str) {
    match mesh {
        "istio-ambient" => ("istio.io/dataplane-mode", "ambient"),
        "linkerd" => ("linkerd.io/inject", "enabled"),
        _ => ("istio-injection", "enabled"),
    }
}

/// The configuration of a K3s server.
fn k3s(brief: &Brief) -> Value {
    let mut config = json!({ "write-kubeconfig-mode": "0600" });
    if brief.at(Layer::Storage) == "embedded-etcd" {
        config["cluster-init"] = json!(true);
    }
    if brief.at(Layer::Storage) == "external-db" {
        config["datastore-endpoint"] = json!("postgres://k3s:CHANGE-ME@database.example.com:5432/k3s");
    }
    if brief.at(Layer::Network) != "flannel" {
        config["flannel-backend"] = json!("none");
        config["disable-network-policy"] = json!(true);
    }
    if let Some(density) = brief.density {
        // Pods of the system come on top; a node's range of 1,024 addresses holds fewer than many edge densities.
        config["kubelet-arg"] = json!([format!("max-pods={}", density + 50)]);
        config["kube-controller-manager-arg"] = json!([format!("node-cidr-mask-size={}", mask(density))]);
    }
    if !matches!(brief.at(Layer::Gateway), "" | "traefik") {
        config["disable"] = json!(["traefik"]);
    }
    config
}

/// The prefix of a node's range that holds twice as many addresses as pods.
fn mask(density: i64) -> u32 {
    let addresses = u64::try_from(density).unwrap_or(110).saturating_mul(2).next_power_of_two();
    32_u32.saturating_sub(addresses.trailing_zeros()).clamp(17, 24)
}

fn limits(brief: &Brief, out: &mut Draft) {
    for (layer, id) in &brief.stack {
        let unrendered = match (layer, id.as_str()) {
            (Layer::Orchestration, "docker-desktop" | "aws-lambda") => true,
            (Layer::Storage, "etcd" | "sqlite" | "sqlite+etcd" | "s3+dynamodb") => id == "s3+dynamodb",
            (Layer::Network, "vpc" | "flannel+vpc") => true,
            (Layer::Triggers, "kafka" | "rabbitmq" | "mqtt-opcua") => true,
            (Layer::Gateway, "openfaas") => true,
            (Layer::Gpu, "gpu-passthrough") => true,
            _ => false,
        };
        if unrendered {
            out.note(
                layer.word(),
                format!("{id} is not rendered: install it by its own means"),
                format!("未生成 {id}：请按其自身方式安装"),
            );
        }
    }
    if brief.services > 1 {
        out.note(
            "services",
            format!("one service is rendered as a pattern for the {}", brief.services),
            format!("仅生成一个服务，作为 {} 个服务的样板", brief.services),
        );
    }
}
