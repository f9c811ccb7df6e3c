//! Whole folders, held to the API server's own schemas and checks.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::expect;
use eyot_model::{defaults, kinds::builtin, schema, validate};

use super::*;
use crate::layer::Layer;

/// Kinds that are no built-in ones: the API server holds them to definitions of their engines, which a test of the whole
/// node does.
const OF_ENGINES: &[(&str, &str)] = &[
    ("eyot.dev/v1alpha1", "Policy"),
    ("templates.gatekeeper.sh/v1", "ConstraintTemplate"),
    ("constraints.gatekeeper.sh/v1beta1", "EyotPodRules"),
    ("kyverno.io/v1", "ClusterPolicy"),
];

fn promise(what: &str, bound: Bound, value: &str) -> Promise {
    let text = |it: &str| it.to_owned();
    Promise {
        what: text(what),
        bound,
        value: text(value),
        source: text("scenario"),
        technology: text("wasmedge-crun"),
        metric: text("startup"),
    }
}

fn brief(target: Target, stack: &[(Layer, &str)]) -> Brief {
    let stack: BTreeMap<Layer, String> = stack.iter().map(|(layer, id)| (*layer, (*id).to_owned())).collect();
    Brief {
        name: "mec".to_owned(),
        title: "5G MEC".to_owned(),
        target,
        names: stack.iter().map(|(layer, id)| (*layer, Text::name(id))).collect(),
        stack,
        kind: "edge".to_owned(),
        nodes: 1,
        sites: 1000,
        services: 1,
        density: Some(3000),
        autoscaling: "qps".to_owned(),
        policy: "complex".to_owned(),
        network_policy: "full".to_owned(),
        high_availability: false,
        gpu: true,
        protocols: vec!["mqtt".to_owned()],
        promises: vec![promise("coldStart", Bound::Below, "10ms"), promise("density", Bound::AtLeast, "3000")],
        scenario: "name: 5g-mec\n".to_owned(),
        charts: crate::Catalog::embedded().charts.clone(),
    }
}

fn edge() -> Brief {
    let stack = [
        (Layer::Orchestration, "k3s"),
        (Layer::Runtime, "wasmedge-crun"),
        (Layer::Storage, "sqlite"),
        (Layer::Network, "flannel"),
        (Layer::Mesh, "no-mesh"),
        (Layer::Policy, "opa-wasm"),
        (Layer::Monitoring, "prometheus-light"),
    ];
    brief(Target::Eyot, &stack)
}

fn edge_with(policy: &str) -> Brief {
    let mut brief = edge();
    brief.stack.insert(Layer::Policy, policy.to_owned());
    brief
}

fn cluster(policy: &str, network: &str, mesh: &str) -> Brief {
    let stack = [
        (Layer::Orchestration, "kubernetes"),
        (Layer::Runtime, "docker-runc"),
        (Layer::Storage, "etcd"),
        (Layer::Network, network),
        (Layer::Mesh, mesh),
        (Layer::Policy, policy),
        (Layer::Gateway, "traefik"),
        (Layer::Monitoring, "prometheus-jaeger-grafana"),
        (Layer::Gpu, "gpu-plugin"),
    ];
    Brief {
        kind: "microservices".to_owned(),
        nodes: 2000,
        services: 80,
        high_availability: true,
        network_policy: "l7".to_owned(),
        ..brief(Target::Cluster, &stack)
    }
}

fn hybrid() -> Brief {
    let stack = [
        (Layer::Orchestration, "kubernetes+k3s"),
        (Layer::Runtime, "docker+wasmedge"),
        (Layer::Storage, "sqlite+etcd"),
        (Layer::Network, "flannel+calico"),
        (Layer::Mesh, "istio-multicluster"),
        (Layer::Policy, "opa-wasm"),
    ];
    brief(Target::Both, &stack)
}

fn k3s_with_containers() -> Brief {
    let stack = [
        (Layer::Orchestration, "k3s"),
        (Layer::Runtime, "docker-runc"),
        (Layer::Storage, "embedded-etcd"),
        (Layer::Network, "flannel"),
        (Layer::Policy, "opa"),
    ];
    Brief { autoscaling: "load".to_owned(), network_policy: "basic".to_owned(), ..brief(Target::Cluster, &stack) }
}

fn every() -> Vec<Brief> {
    vec![
        edge(),
        edge_with("kyverno"),
        edge_with("gatekeeper"),
        edge_with("iam"),
        hybrid(),
        k3s_with_containers(),
        cluster("gatekeeper", "calico", "istio-ambient"),
        cluster("kyverno", "cilium", "linkerd"),
        cluster("opa", "cilium", "cilium-mesh"),
        cluster("iam", "calico", "istio"),
    ]
}

/// The objects of a folder, with the file of each.
fn objects(rendering: &Rendering) -> Vec<(String, Value)> {
    let manifests = rendering
        .files
        .iter()
        .filter(|it| it.path.ends_with(".yaml") && !it.path.contains("values/") && !it.path.contains("k3s/"));
    let parse = |file: &File| {
        let text = String::from_utf8(file.contents.clone()).expect("text");
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|it| panic!("{}: {it}\n{text}", file.path));
        objects.into_iter().map(|it| (file.path.clone(), it)).collect::<Vec<_>>()
    };
    manifests.flat_map(parse).collect()
}

/// Holds an object to what whoever serves it knows of it.
fn check(file: &str, object: &Value) {
    let (version, kind) = (object["apiVersion"].as_str().expect("a version"), object["kind"].as_str().expect("a kind"));
    let Some(known) = builtin().by_api_version(version, kind) else {
        if kind == "CiliumNetworkPolicy" {
            let charts = &crate::Catalog::embedded().charts;
            let keys = charts.iter().find(|it| it.id.as_str() == "cilium-network-policy").expect("its keys");
            assert_eq!(keys.unknown(object), Vec::<String>::new(), "{file}");
        } else {
            assert!(OF_ENGINES.contains(&(version, kind)), "{file}: {version} {kind} is served by nobody");
        }
        return;
    };
    let decoded = schema::decode(known, object.clone(), Vec::new(), schema::FieldValidation::Strict);
    let mut decoded = decoded.unwrap_or_else(|it| panic!("{file}: {}", it.message)).object;
    defaults::apply(known, &mut decoded);
    let causes = validate::check(known, &decoded, None);
    assert!(causes.is_empty(), "{file}: {kind}: {causes:?}");
}

/// What is rendered for every scenario file.
fn shipped() -> Vec<(String, Rendering)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples/scenarios");
    let catalog = crate::Catalog::embedded();
    let render = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let scenario = Scenario::parse(&name, &std::fs::read_to_string(&path).expect("text")).expect("sound");
        let decision = crate::advise(catalog, &scenario).expect("an answer");
        (name, render(&scenario, &decision, catalog, Lang::En))
    };
    std::fs::read_dir(dir).expect("scenarios").map(render).collect()
}

#[test]
fn all_that_is_rendered_for_the_shipped_scenarios_is_checked_by_somebody() {
    let all = shipped();
    assert!(all.len() > 20, "{}", all.len());
    for (name, rendering) in all {
        objects(&rendering).iter().for_each(|(file, object)| check(&format!("{name}: {file}"), object));
        // What is no object has keys that the catalogue vouches for, or belongs to Eyot itself.
        for File { path, .. } in &rendering.files {
            let path = path.strip_prefix("cluster/").unwrap_or(path);
            let own = [
                "README.md",
                "app.wasm",
                "eyot.env",
                "eyot.service",
                PASSED_OVER,
                "policy/pods.rego",
                "k3s/config.yaml",
            ];
            assert!(own.contains(&path) || path.ends_with(".yaml"), "{name}: {path}");
        }
        let left_out = rendering.notes.iter().find(|it| it.says.en.contains("vouch"));
        assert_eq!(left_out, None, "{name}");
    }
}

#[test]
fn the_catalogue_vouches_for_the_values_of_every_option() {
    let mut written = BTreeSet::new();
    for layer in Layer::ALL {
        for option in crate::Catalog::embedded().options(*layer) {
            for mut brief in every() {
                brief.stack.insert(*layer, option.id.to_string());
                let rendering = of_brief(&brief, Lang::En);
                let left_out = rendering.notes.iter().find(|it| it.says.en.contains("vouch"));
                assert_eq!(left_out, None, "{}", option.id);
                written.extend(rendering.files.into_iter().map(|it| it.path).filter(|it| it.starts_with("values/")));
            }
        }
    }
    assert!(written.len() > 10, "{written:?}");
}

#[test]
fn values_that_nobody_vouches_for_are_left_out_and_told() {
    let mut brief = cluster("kyverno", "cilium", "linkerd");
    brief.charts.retain(|it| it.id.as_str() != "kyverno");
    for chart in &mut brief.charts {
        chart.keys.remove("controllerReplicas");
    }
    let rendering = of_brief(&brief, Lang::En);
    let left_out: Vec<_> = rendering.notes.iter().filter(|it| it.says.en.contains("vouch")).collect();
    let told: Vec<_> = left_out.iter().map(|it| format!("{}: {}", it.about, it.says.en)).collect();
    expect![[r#"
        values/linkerd.yaml: not rendered: the catalogue's charts vouch for no controllerReplicas
        values/kyverno.yaml: not rendered: the catalogue's charts vouch for no kyverno"#]]
    .assert_eq(&told.join("\n"));
    assert!(!rendering.files.iter().any(|it| left_out.iter().any(|note| note.about == it.path)));
}

#[test]
fn every_object_passes_the_servers_own_checks() {
    let mut seen = BTreeSet::new();
    for (file, object) in every().iter().flat_map(|it| objects(&of_brief(it, Lang::En))) {
        check(&file, &object);
        seen.insert(object["kind"].as_str().expect("a kind").to_owned());
    }
    for kind in [
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "RuntimeClass",
        "ValidatingAdmissionPolicy",
        "Gateway",
    ] {
        assert!(seen.contains(kind), "no {kind} was rendered");
    }
}

#[test]
fn what_eyot_only_stores_is_marked_listed_and_told() {
    let rendering = of_brief(&edge(), Lang::En);
    for (file, object) in objects(&rendering) {
        let marked = object["metadata"]["annotations"].get(ACTS).is_some();
        assert_eq!(marked, stored_only(&object).is_some(), "{file}");
        assert!(!marked || rendering.notes.iter().any(|it| it.about == file), "{file} is not listed");
    }
    let page = rendering.files.iter().find(|it| it.path == "README.md").expect("a page");
    let page = String::from_utf8_lossy(&page.contents);
    for note in &rendering.notes {
        assert!(page.contains(&note.says.en), "{note:?}");
    }
}

#[test]
fn the_folder_of_an_edge_stack_is_this() {
    let rendering = of_brief(&edge(), Lang::En);
    let paths: Vec<_> = rendering.files.iter().map(|it| it.path.as_str()).collect();
    expect![[r#"
        00-namespace.yaml
        01-advice.yaml
        10-app.yaml
        20-bounds.yaml
        30-policy.yaml
        40-autoscale.yaml
        50-network.yaml
        README.md
        app.wasm
        eyot.env
        eyot.service"#]]
    .assert_eq(&paths.join("\n"));
    let text = |path: &str| {
        let file = rendering.files.iter().find(|it| it.path == path).expect("a file");
        String::from_utf8(file.contents.clone()).expect("text")
    };
    expect![[r#"
        # The service, at http://mec.localhost:8080/ once its image is pushed.
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          labels:
            app.kubernetes.io/name: mec
          name: mec
          namespace: mec
        spec:
          replicas: 1
          selector:
            matchLabels:
              app.kubernetes.io/name: mec
          strategy:
            rollingUpdate:
              maxSurge: 1
              maxUnavailable: 0
            type: RollingUpdate
          template:
            metadata:
              labels:
                app.kubernetes.io/name: mec
            spec:
              containers:
              - image: localhost:5000/mec:v1
                name: app
                ports:
                - containerPort: 8080
                  name: http
                readinessProbe:
                  httpGet:
                    path: /
                    port: http
                resources:
                  limits:
                    memory: 48Mi
                  requests:
                    memory: 256Ki
              runtimeClassName: wasm
        ---
        apiVersion: v1
        kind: Service
        metadata:
          labels:
            app.kubernetes.io/name: mec
          name: mec
          namespace: mec
        spec:
          ports:
          - name: http
            port: 80
            targetPort: http
          selector:
            app.kubernetes.io/name: mec
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata:
          name: mec
          namespace: mec
        spec:
          hostnames:
          - mec.localhost
          parentRefs:
          - name: default
            namespace: eyot-system
          rules:
          - backendRefs:
            - name: mec
              port: 80
    "#]]
    .assert_eq(&text("10-app.yaml"));
    expect![[r##"
        # The rules for pods, judged by an engine in the API server itself.
        apiVersion: eyot.dev/v1alpha1
        kind: Policy
        metadata:
          name: mec-pods
        spec:
          admission:
            decision: data.kubernetes.admission.deny
            namespaceSelector:
              matchLabels:
                kubernetes.io/metadata.name: mec
            rules:
            - apiGroups:
              - ""
              apiVersions:
              - v1
              operations:
              - CREATE
              resources:
              - pods
          rego:
            modules:
              pods.rego: |
                package kubernetes.admission

                deny contains msg if {
                  some c in input.request.object.spec.containers
                  not startswith(c.image, "localhost:5000/")
                  msg := sprintf("image %v: images must come from localhost:5000", [c.image])
                }

                deny contains msg if {
                  some c in input.request.object.spec.containers
                  not c.resources.limits.memory
                  msg := sprintf("container %v needs a memory limit", [c.name])
                }

                deny contains msg if {
                  not input.request.object.metadata.labels["app.kubernetes.io/name"]
                  msg := "pods need the label app.kubernetes.io/name"
                }
    "##]]
    .assert_eq(&text("30-policy.yaml"));
    expect![[r#"
        # 5G MEC

        What was chosen, and how to run it.

        | layer | chosen |
        |---|---|
        | orchestration | k3s |
        | runtime | wasmedge-crun |
        | storage | sqlite |
        | network | flannel |
        | service mesh | no-mesh |
        | policy | opa-wasm |
        | monitoring | prometheus-light |

        ## Run it

        ```
        eyot up --data-dir ~/.eyot --manifests .
        ```

        Pods wait until their image is there; push it from another terminal. `app.wasm` is a sample that answers every request:

        ```
        eyot push app.wasm localhost:5000/mec:v1
        curl -H 'Host: mec.localhost' http://127.0.0.1:8080/
        ```

        Push your own component under the same name (docs/guests.md tells how to build one), or a new tag and change `10-app.yaml`: the folder is applied again when it changes.

        For a machine that starts by itself: `eyot.env` and `eyot.service` are for systemd.

        ## What is promised

        | what | promised | who says so |
        |---|---|---|
        | cold start | < 10ms | scenario |
        | pods on a node | ≥ 3000 | scenario |

        `eyot verify .` measures each of them on this machine.

        ## What is not honoured

        Objects that are only stored carry the annotation `advise.eyot.io/acts`.

        - **50-network.yaml**: honoured in part by this version of Eyot: only a part of networkpolicies acts here: egress rules hold what guests send, ingress rules hold nothing back
        - **sites**: the folder is the same for each of the 1000 sites: copy it to each
        - **gpu**: guests reach no graphics processor on Eyot: inference runs on the processor, inside the guest
        - **protocols**: mqtt: Eyot brings no broker; a guest with sockets connects to one outside
        - **monitoring**: Eyot serves no metrics for Prometheus yet: logs are JSON on stderr, events in the API
        - **30-policy.yaml**: opa-wasm: the rules are Rego in a Policy of eyot.dev, which the API server evaluates itself; `opa build -t wasm` bundles go into its `bundle`
    "#]].assert_eq(&text("README.md"));
}

#[test]
fn a_folder_for_both_keeps_the_clusters_part_from_eyot() {
    let rendering = of_brief(&hybrid(), Lang::Zh);
    let paths: Vec<_> = rendering.files.iter().map(|it| it.path.as_str()).collect();
    assert!(paths.contains(&"cluster/.eyotignore") && paths.contains(&"cluster/02-runtime.yaml"), "{paths:?}");
    assert!(paths.contains(&"10-app.yaml") && paths.contains(&"cluster/values/calico.yaml"), "{paths:?}");
}

#[test]
fn a_cluster_gets_the_values_of_what_was_chosen() {
    let values = |brief: &Brief| {
        let rendering = of_brief(brief, Lang::En);
        let of = rendering.files.iter().filter_map(|it| Some(it.path.strip_prefix("values/")?.to_owned()));
        of.collect::<Vec<_>>().join(" ")
    };
    expect!["calico.yaml gatekeeper.yaml gpu-operator.yaml istio.yaml jaeger.yaml prometheus.yaml traefik.yaml"]
        .assert_eq(&values(&cluster("gatekeeper", "calico", "istio-ambient")));
    expect!["cilium.yaml gpu-operator.yaml jaeger.yaml kyverno.yaml linkerd.yaml prometheus.yaml traefik.yaml"]
        .assert_eq(&values(&cluster("kyverno", "cilium", "linkerd")));
    let k3s = of_brief(&k3s_with_containers(), Lang::En);
    let config = k3s.files.iter().find(|it| it.path == "k3s/config.yaml").expect("a configuration");
    expect![[r##"
        # /etc/rancher/k3s/config.yaml of the servers.
        # Keys of K3s: docs.k3s.io, k3s server and k3s agent.
        cluster-init: true
        kube-controller-manager-arg:
        - node-cidr-mask-size=19
        kubelet-arg:
        - max-pods=3050
        write-kubeconfig-mode: "0600"
    "##]]
    .assert_eq(&String::from_utf8_lossy(&config.contents));
}

#[test]
fn promises_come_back_from_the_folder() {
    let rendering = of_brief(&edge(), Lang::En);
    let advice = objects(&rendering).into_iter().find(|it| it.1["metadata"]["name"] == ADVICE).expect("the advice").1;
    let promises: Vec<Promise> =
        serde_json::from_str(advice["data"][PROMISES].as_str().expect("text")).expect("promises");
    assert_eq!(promises, rendering.promises);
}

#[test]
fn the_sample_guest_is_what_its_text_says() {
    let text = include_str!("../../../../shell/runtime/tests/guests/http.wat");
    let built = wat::parse_str(text.replace(";;HANDLE;;", "(call $hello (local.get $outparam))")).expect("parses");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/app.wasm");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &built).expect("written");
    }
    assert!(std::fs::read(path).expect("read") == built, "data/app.wasm is stale: run this test with UPDATE_EXPECT=1");
}
