//! What the documents chose, solved again: every combination, stack, case and scenario on its own scenario file.

use std::fmt::Write;

use eyot_advise::{Catalog, Decision, Scenario, advise, catalog::Reference, layer::Layer};

fn scenario(name: &str) -> Scenario {
    let path = format!("{}/../../../examples/scenarios/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Scenario::parse(name, &text).unwrap_or_else(|flaws| panic!("{}", flaws[0]))
}

fn answer(scenario: &Scenario) -> Decision {
    advise(Catalog::embedded(), scenario).unwrap_or_else(|none| {
        let conflicts: String = none.conflicts.iter().map(|it| format!("{it}\n")).collect();
        panic!("{}: {conflicts}{:#?}", none.scenario, none.relaxations)
    })
}

/// Layers that differ from a reference without a conflict that it names.
fn differs(reference: &Reference, decision: &Decision) -> String {
    let mut out = String::new();
    for (layer, named) in &reference.choose {
        let chosen = decision.chosen().stack.at(*layer);
        if !named.contains(chosen) && !reference.conflicts.contains_key(layer) {
            let _ = writeln!(out, "{}: {layer} is {chosen}, written is {named:?}", reference.id);
        }
    }
    out
}

#[test]
fn the_embedded_catalogue_is_sound() {
    Catalog::embedded();
}

#[test]
fn everything_that_the_documents_chose_comes_out_as_written() {
    let catalog = Catalog::embedded();
    let mut out = String::new();
    for reference in &catalog.references {
        let name = reference.scenario.as_deref().unwrap_or_else(|| panic!("{} has no scenario", reference.id));
        out += &differs(reference, &answer(&scenario(name)));
    }
    assert!(out.is_empty(), "{out}");
    let of = |origin: &str| catalog.references.iter().filter(|it| it.origin.word() == origin).count();
    assert_eq!(["combination", "stack", "case", "scenario"].map(of), [6, 6, 8, 6]);
}

#[test]
fn each_conflict_that_a_case_names_is_one() {
    for reference in &Catalog::embedded().references {
        for layer in reference.conflicts.keys() {
            let decision = answer(&scenario(reference.scenario.as_deref().expect("a scenario")));
            let named = reference.choose.get(layer);
            let chosen = decision.chosen().stack.at(*layer);
            assert!(named.is_none_or(|it| !it.contains(chosen)), "{}: {layer} does come out as written", reference.id);
        }
    }
}

#[test]
fn stacks_at_a_glance() {
    let mut out = String::new();
    let mut names: Vec<&str> = Catalog::embedded().references.iter().filter_map(|it| it.scenario.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let decision = answer(&scenario(name));
        let stack: Vec<String> = decision
            .chosen()
            .stack
            .iter()
            .filter(|it| !it.1.as_str().starts_with("no-") || it.0 == Layer::Policy)
            .map(|it| it.1.to_string())
            .collect();
        let _ = writeln!(out, "{name}: {} of {}: {}", decision.chosen().score, decision.ranking.len(), stack.join(" "));
    }
    expect_test::expect![[r#"
        ai-inference: 4.484 of 576: k3s wasmedge-crun sqlite flannel opa-wasm prometheus-light gpu-plugin
        case1-5g-mec: 4.435 of 480: k3s wasmedge-crun sqlite flannel opa-wasm prometheus-light gpu-passthrough
        case2-industrial-iot: 4.378 of 288: kubeedge wasmedge-crun sqlite flannel opa-wasm mqtt-opcua prometheus-light
        case3-online-game: 4.284 of 144: k3s wasmedge-crun embedded-etcd flannel opa-wasm openfaas prometheus-light gpu-plugin
        case4-serverless-functions: 4.192 of 288: kubernetes wasmedge-crun etcd calico opa-wasm traefik kafka prometheus-grafana
        case5-huawei-mec: 4.393 of 180: k3s wasmedge-crun sqlite+etcd flannel opa-wasm prometheus-light-grafana
        case6-ack-edge: 4.076 of 64: kubernetes+k3s docker+wasmedge sqlite+etcd flannel+vpc opa-wasm prometheus-light
        case7-aws-lambda: 4.575 of 4: aws-lambda wasmedge-crun s3+dynamodb vpc iam prometheus-light
        case8-second-state: 4.408 of 192: k3s wasmedge-crun embedded-etcd flannel opa-wasm prometheus-light
        edge: 4.467 of 240: k3s wasmedge-crun sqlite flannel opa-wasm prometheus-light
        edge-game: 4.408 of 720: k3s wasmedge-crun embedded-etcd flannel opa-wasm prometheus-light
        edge-iot: 4.378 of 576: kubeedge wasmedge-crun sqlite flannel opa-wasm mqtt-opcua prometheus-light
        edge-mec: 4.467 of 1200: k3s wasmedge-crun sqlite flannel opa-wasm prometheus-light
        hybrid: 4.017 of 32: kubernetes+k3s docker+wasmedge sqlite+etcd flannel+calico istio-multicluster opa-wasm prometheus-light
        microservices: 4.257 of 160: kubernetes docker-runc etcd calico linkerd gatekeeper prometheus-jaeger-grafana
        serverless: 4.478 of 1728: k3s wasmedge-crun sqlite flannel opa-wasm traefik rabbitmq prometheus-light
        serverless-architecture: 4.478 of 1728: k3s wasmedge-crun sqlite flannel opa-wasm traefik rabbitmq prometheus-light
        serverless-faas: 4.478 of 1728: k3s wasmedge-crun sqlite flannel opa-wasm traefik rabbitmq prometheus-light
        serverless-light-function: 4.521 of 288: k3s wasmedge-crun sqlite flannel opa-wasm prometheus-light
        traditional: 4.254 of 36: kubernetes docker-runc etcd calico gatekeeper prometheus-grafana
    "#]].assert_eq(&out);
}
