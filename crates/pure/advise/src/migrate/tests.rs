//! Whole migrations, of the sample inventory and of single objects.

use expect_test::{Expect, expect};

use super::*;
use crate::Lang;

const SAMPLE: &str = include_str!("../../../../../examples/migration/inventory.yaml");

fn run(from: &str, to: &str, text: &str) -> Migration {
    let book = Book::embedded();
    let parse = |text: &str| Combination::parse(text, book).expect("a combination");
    migrate(&parse(from), &parse(to), &inventory("in.yaml", text).expect("an inventory"), book)
}

fn findings(found: &Migration) -> String {
    let lines = found.findings.iter().map(|it| {
        let at = if it.path.is_empty() { "-" } else { &it.path };
        format!("{:?} {} {}:{} {at}: {}\n", it.weight, it.object, it.file, it.line, it.says.get(Lang::En))
    });
    lines.collect::<String>() + &format!("{} of {} move as they are\n", found.clean, found.objects)
}

#[track_caller]
fn check(from: &str, to: &str, text: &str, want: Expect) {
    want.assert_eq(&findings(&run(from, to, text)));
}

#[test]
fn the_sample_inventory_is_judged_object_by_object() {
    check(
        "kubernetes+docker+etcd",
        "k3s+wasmedge+sqlite",
        SAMPLE,
        expect![[r#"
            Blocks StatefulSet shop/orders-db in.yaml:18 spec.template.spec.containers[0].image: image docker.io/bitnami/postgresql:16 is a database or broker that has no WebAssembly build
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.hostNetwork: hostNetwork joins a namespace of the host, which a Wasm sandbox cannot
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec: a DaemonSet with host access (hostNetwork, privileged, /var/log, /run/containerd/containerd.sock) is a node agent: it cannot become a Wasm guest
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.volumes[1]: mounts the socket /run/containerd/containerd.sock of the host
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.containers[0].securityContext.privileged: privileged container: a Wasm guest has no kernel to be privileged on
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.containers[0].securityContext.capabilities.add: added capabilities NET_ADMIN do not exist for a Wasm guest
            Blocks CronJob kube-system/etcd-backup in.yaml:60 spec.jobTemplate.spec.template.spec.containers[0]: registry.k8s.io/etcd:3.5.12-0 works on etcd itself, which will not be there
            Blocks NetworkPolicy shop/db-from-cart in.yaml:73 spec.ingress[0].ports[1]: SCTP is not enforced by the controller that K3s brings
            Blocks GlobalNetworkPolicy deny-metadata-service in.yaml:83 -: GlobalNetworkPolicy is a kind of the old network plugin; nothing acts on it after the move
            Change Deployment shop/cart in.yaml:1 spec.template.spec.containers[0].image: image registry.example/shop/cart:1.8 is a container image; the target runs WebAssembly only
            Change StatefulSet shop/orders-db in.yaml:18 spec.template.spec.containers[0].livenessProbe.exec: livenessProbe runs a command inside the container
            Change DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.containers[0].image: image registry.example/ops/agent:3 is a container image; the target runs WebAssembly only
            Change DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.containers[0].command: the command sh -c exec agent --root /host needs a shell, which a Wasm image has not
            Change CronJob kube-system/etcd-backup in.yaml:60 spec.jobTemplate.spec.template.spec.containers[0].image: image registry.k8s.io/etcd:3.5.12-0 is a container image; the target runs WebAssembly only
            Change Ingress shop/shop in.yaml:88 spec.ingressClassName: ingressClassName nginx is read by another ingress controller than the one that is there after the move
            Change Ingress shop/shop in.yaml:88 metadata.annotations[nginx.ingress.kubernetes.io/rewrite-target]: nginx.ingress.kubernetes.io/rewrite-target is read by another ingress controller than the one that is there after the move
            Change HorizontalPodAutoscaler shop/cart in.yaml:100 apiVersion: autoscaling/v2beta2 HorizontalPodAutoscaler was removed from Kubernetes; no current server takes it
            Look StatefulSet shop/orders-db in.yaml:18 spec.template.spec.affinity.podAntiAffinity: 3 replicas spread over zones or hosts that a small cluster may not have
            Look StatefulSet shop/orders-db in.yaml:18 spec.volumeClaimTemplates[0].spec: claim volumeClaimTemplates: data: K3s brings only local-path, which is bound to one node and ReadWriteOnce
            Look DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.volumes[0]: mounts /var/log of the host; a guest sees it only as a preopened directory
            Look NetworkPolicy shop/db-from-cart in.yaml:73 spec: flannel has only basic support; on K3s its built-in controller (kube-router) enforces this policy
            Look Service shop/cart in.yaml:105 spec.type: a Service of type LoadBalancer gets node addresses from K3s' ServiceLB, not one of a cloud
            1 of 10 move as they are
        "#]],
    );
}

#[test]
fn the_documents_way_has_its_stages_and_its_twelve_steps() {
    let plan = run("kubernetes+docker+etcd", "k3s+wasmedge+sqlite", SAMPLE);
    let text: String = plan
        .stages
        .iter()
        .map(|stage| {
            let steps: String = stage.steps.iter().map(|it| format!("  {}\n", it.title.zh)).collect();
            format!("{} [{}] {} {:?}\n{steps}", stage.title.zh, stage.stack, stage.source, stage.reaches)
        })
        .collect();
    expect![[r#"
        Kubernetes → K3s [k3s+sqlite+flannel+docker] §05.7.2 Some("k3s-docker")
          评估场景（节点数 < 1000、资源受限）
          测试 K3s（单节点测试）
          迁移存储（etcd → sqlite）
          迁移网络（Calico → flannel）
          验证功能（功能完整性验证）
          生产部署（灰度发布）
        Docker + runc → WasmEdge + crun [k3s+sqlite+flannel+wasmedge] §05.7.2 Some("k3s-wasmedge")
          评估应用（应用是否适合 Wasm）
          编译到 Wasm（使用 wasm32-wasi target）
          测试 Wasm 应用（功能测试）
          构建 Wasm 镜像（FROM scratch）
          部署到 K3s（使用 crun RuntimeClass）
          验证性能（性能对比验证）
    "#]]
    .assert_eq(&text);
    let assumed: Vec<_> = plan.assumptions.iter().map(|it| it.en.as_str()).collect();
    assert_eq!(
        assumed,
        ["network of today: Calico, which Kubernetes brings", "network of the target: flannel, which K3s brings"]
    );
    assert_eq!(plan.compatibility.map(|it| it.images).as_deref(), Some("convert"));
}

#[test]
fn a_path_over_all_stages_reaches_the_last() {
    let plan = run("docker-host", "k3s+wasmedge+sqlite+opa-wasm", "{apiVersion: v1, kind: ConfigMap}");
    let reached: Vec<_> = plan.stages.iter().filter_map(|it| it.reaches.as_deref()).collect();
    assert_eq!(reached, ["k3s-docker", "k3s-wasmedge", "k3s-wasmedge-opa-wasm"]);
    assert!(run("k3s+sqlite", "k3s+sqlite", "{apiVersion: v1, kind: ConfigMap}").stages.is_empty());
}

#[test]
fn the_network_alone_is_replaced_with_its_own_steps() {
    let plan = run("kubernetes+docker+etcd+calico", "kubernetes+docker+etcd+flannel", SAMPLE);
    assert_eq!(plan.stages.len(), 1);
    assert_eq!(plan.stages[0].steps[0].title.en, "Translate the policies");
    let rules: Vec<_> = plan.findings.iter().map(|it| it.rule.as_str()).collect();
    assert_eq!(rules, ["network-policy-flannel", "policy-of-plugin", "removed-api"]);
}

#[test]
fn eyot_says_what_its_node_refuses() {
    check(
        "k3s+wasmedge+sqlite",
        "eyot",
        SAMPLE,
        expect![[r#"
            Blocks StatefulSet shop/orders-db in.yaml:18 spec.template.spec.containers[0].image: image docker.io/bitnami/postgresql:16 is a database or broker that has no WebAssembly build
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.hostNetwork: hostNetwork joins a namespace of the host, which a Wasm sandbox cannot
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec: a DaemonSet with host access (hostNetwork, privileged, /var/log, /run/containerd/containerd.sock) is a node agent: it cannot become a Wasm guest
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.volumes[1]: mounts the socket /run/containerd/containerd.sock of the host
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.containers[0].securityContext.privileged: privileged container: a Wasm guest has no kernel to be privileged on
            Blocks DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.containers[0].securityContext.capabilities.add: added capabilities NET_ADMIN do not exist for a Wasm guest
            Blocks NetworkPolicy shop/db-from-cart in.yaml:73 spec: Eyot holds what guests send to the egress rules of NetworkPolicies; ingress rules hold nothing back
            Blocks GlobalNetworkPolicy deny-metadata-service in.yaml:83 -: GlobalNetworkPolicy is a kind of the old network plugin; nothing acts on it after the move
            Change DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.containers[0].command: the command sh -c exec agent --root /host needs a shell, which a Wasm image has not
            Change Ingress shop/shop in.yaml:88 spec.ingressClassName: ingressClassName nginx is read by another ingress controller than the one that is there after the move
            Change Ingress shop/shop in.yaml:88 metadata.annotations[nginx.ingress.kubernetes.io/rewrite-target]: nginx.ingress.kubernetes.io/rewrite-target is read by another ingress controller than the one that is there after the move
            Change HorizontalPodAutoscaler shop/cart in.yaml:100 apiVersion: autoscaling/v2beta2 HorizontalPodAutoscaler was removed from Kubernetes; no current server takes it
            Look StatefulSet shop/orders-db in.yaml:18 spec.template.spec.affinity.podAntiAffinity: 3 replicas spread over zones or hosts that a small cluster may not have
            Look StatefulSet shop/orders-db in.yaml:18 spec.volumeClaimTemplates[0].spec: claim volumeClaimTemplates: data: on Eyot it is a directory of the node (class local-path), whose size is not enforced
            Look DaemonSet kube-system/node-agent in.yaml:41 spec.template.spec.volumes[0]: mounts /var/log of the host; a guest sees it only as a preopened directory
            Look Service shop/cart in.yaml:105 spec.type: a Service of type LoadBalancer gets a port of the node on Eyot, and no address of its own
            3 of 10 move as they are
        "#]],
    );
}

#[test]
fn wasm_pods_and_plain_objects_pass() {
    let wasm = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {runtimeClassName: wasm, containers: [{name: a, image: a}]}\n";
    check("kubernetes+docker+etcd", "k3s+wasmedge+sqlite", wasm, expect!["1 of 1 move as they are\n"]);
}

#[test]
fn policies_of_engines_are_told_apart() {
    let text = "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: a}\n---\n\
        apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: b}\n\
        spec: {targets: [{rego: 'x := http.send({})'}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: c}\n";
    check(
        "kubernetes+gatekeeper+istio",
        "kubernetes+opa-wasm",
        text,
        expect![[r#"
        Change ClusterPolicy a in.yaml:1 -: ClusterPolicy (kyverno.io) is a policy of an engine that the target does not run
        Change ConstraintTemplate b in.yaml:5 spec.targets[0].rego: the Rego built-in http.send does not compile to Wasm
        Change VirtualService c in.yaml:10 -: VirtualService is configuration of a mesh that the target does not have
        0 of 3 move as they are
    "#]],
    );
}

#[test]
fn what_is_no_inventory_is_told_with_its_line() {
    let told = |text: &str| inventory("in.yaml", text).map(|it| it.len()).map_err(|it| it.text().zh);
    assert_eq!(told(""), Err("in.yaml: 没有任何对象".to_owned()));
    assert_eq!(told("a: 1\n"), Err("in.yaml:1: 应为带 apiVersion 与 kind 的 Kubernetes 对象".to_owned()));
    let bad = told("apiVersion: v1\nkind: A\n---\nkind: [\n").expect_err("no YAML");
    assert!(bad.starts_with("in.yaml:") && bad.contains("不是有效的 YAML"), "{bad}");
    assert_eq!(
        told("kind: List\napiVersion: v1\nitems: [{apiVersion: v1, kind: A}, {apiVersion: v1, kind: B}]"),
        Ok(2)
    );
}
