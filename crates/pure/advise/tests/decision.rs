//! An answer tells why, in both languages.

use std::fmt::Write;

use expect_test::expect;
use eyot_advise::{Catalog, Decision, Lang, Scenario, advise, layer::Layer, solve::compare};

fn decide(text: &str) -> Decision {
    let scenario = Scenario::parse("it.yaml", text).expect("sound");
    advise(Catalog::embedded(), &scenario).expect("an answer")
}

/// All that an answer says about itself.
fn told(decision: &Decision, lang: Lang) -> String {
    let mut out = String::new();
    let stack: Vec<_> = decision.chosen().stack.iter().map(|it| it.1.as_str()).collect();
    let _ = writeln!(out, "{} {}", decision.chosen().score, stack.join(" "));
    for step in &decision.steps {
        let _ = writeln!(out, "step {}: {}", step.step, step.reason.text().get(lang));
    }
    for matched in &decision.matches {
        let by = if matched.measured { "measured" } else { "claimed" };
        let _ = writeln!(
            out,
            "{} {} {}: {} ({by}, {})",
            matched.key,
            matched.technology,
            matched.verdict,
            matched.reason.text().get(lang),
            matched.source
        );
    }
    for answer in &decision.layers {
        for fired in &answer.fired {
            let because = fired.because.as_ref().map_or(String::new(), |it| format!(": {}", it.text().get(lang)));
            let choose: Vec<_> = fired.choose.iter().map(|it| it.as_str()).collect();
            let _ = writeln!(
                out,
                "{}: §{} line {} ({}) {} {}{because}",
                answer.layer,
                fired.tree,
                fired.line,
                fired.means.get(lang),
                if fired.agrees { "=" } else { "≠" },
                choose.join(", ")
            );
        }
    }
    for ruled in &decision.ruled_out {
        let _ = writeln!(out, "out {} {} {}: {}", ruled.technology, ruled.key, ruled.at, ruled.reason.text().get(lang));
    }
    for swing in &decision.sensitivity {
        let end = |it: Option<eyot_advise::solve::Weight>| it.map_or("-".to_owned(), |it| it.to_string());
        let _ = writeln!(out, "weight {} {}: {}..{}", swing.dimension, swing.weight, end(swing.low), end(swing.high));
    }
    let _ = writeln!(out, "weakest: {}", decision.weakest.reason.text().get(lang));
    for conflict in &decision.conflicts {
        let _ = writeln!(out, "conflict: {}", conflict.text().get(lang));
    }
    for extra in &decision.extras {
        let _ = writeln!(out, "with {} (§{})", extra.name.get(lang), extra.source);
    }
    out
}

const IOT: &str = "kind: iot\nnodes: 1\nmemory: <2GB\nlatency: <50ms\nnetwork: unstable\noffline: 30d\npolicy: simple\nprotocols: [mqtt]\n";

#[test]
fn an_answer_tells_why() {
    expect![[r#"
        4.334 kubeedge wasmedge-crun sqlite flannel no-mesh opa-wasm no-gateway mqtt-opcua prometheus-light no-gpu
        step identify: 8 keys are given
        step constrain: 27 options are ruled out
        step options: 22 options are left
        step match: 15 of 23 specifications match in full
        step combine: kubeedge, wasmedge-crun, sqlite, flannel, no-mesh, opa-wasm, no-gateway, mqtt-opcua, prometheus-light, no-gpu satisfies the scenario with 4.334
        step choose: kubeedge, wasmedge-crun, sqlite, flannel, no-mesh, opa-wasm, no-gateway, mqtt-opcua, prometheus-light, no-gpu with 4.334, the best of 576
        nodes kubeedge match: nodes: 1..1000 satisfies 1 (claimed, 05.3.1)
        memory kubeedge match: memory of the control plane: <300MB satisfies <=500MB (claimed, 05.5.2)
        network kubeedge match: offline operation: in full (claimed, 05.5.2, 11.2.2)
        offline kubeedge match: time without a network: 30d satisfies >=30d (claimed, 11.2.2)
        latency wasmedge-crun match: start-up: 2.5ms..6ms satisfies <50ms (measured, docs/benchmarks.md: pods, POST to Ready, p50 and p99)
        kind wasmedge-crun match: WebAssembly: in full (claimed, 05.3.2, 05.4.2, 11.4.1)
        nodes sqlite match: nodes: 1 satisfies 1 (claimed, 05.3.3)
        network sqlite match: offline operation: in full (claimed, 05.2.4.3, 05.3.3, 11.5.1)
        latency opa-wasm match: latency: 1ms satisfies <50ms (claimed, 05.3.4)
        policy opa-wasm partial: policies as YAML: in part (claimed, 05.2.4.4, 05.3.4, 05.4.2)
        protocols mqtt-opcua match: MQTT: in full (claimed, 05.5.2, 11.2.2)
        orchestration: §05.8.2 line 1 (in every other case) = k3s, kubeedge
        orchestration: §05.3.1 line 2 (“edge scenario or IoT” or “resources are limited”) = k3s
        orchestration: §05.8.1 line 2 (“edge scenario or IoT” or “resources are limited”) = k3s
        orchestration: §05.2.3 line 2 (resources are limited) = k3s
        orchestration: §11.7.1 line 2 (industrial IoT) = k3s, kubeedge
        orchestration: §11.7.3 line 4 (in every other case) = k3s
        orchestration: §11.4.3 line 1 (edge scenario or IoT) = k3s
        runtime: §05.8.2 line 1 (in every other case) = wasmedge-crun
        runtime: §05.3.2 line 3 (resources are limited) = wasmedge-crun
        runtime: §05.8.1 line 3 (in every other case) ≠ docker-runc: docker-runc comes to 3.831 at best, losing in fit
        runtime: §05.2.3 line 1 (low latency) = wasmedge-crun
        runtime: §11.7.1 line 2 (industrial IoT) = wasmedge-crun
        runtime: §11.7.3 line 4 (in every other case) = wasmedge-crun
        runtime: §11.4.3 line 1 (edge scenario or IoT) = wasmedge-crun
        storage: §05.8.2 line 1 (in every other case) = sqlite
        storage: §05.8.1 line 2 (“edge scenario or IoT” and “one node”) = sqlite
        storage: §05.2.3 line 2 (small cluster) = sqlite
        storage: §11.7.1 line 2 (industrial IoT) = sqlite
        storage: §11.4.3 line 1 (edge scenario or IoT) = sqlite
        network: §05.8.2 line 1 (in every other case) = flannel
        network: §05.8.1 line 1 (small cluster) = flannel
        policy: §05.8.2 line 1 (in every other case) = opa-wasm
        policy: §05.3.4 line 2 (resources are limited) = opa-wasm
        policy: §05.8.1 line 1 (policy = complex or “low latency”) = opa-wasm
        triggers: §11.7.1 line 2 (industrial IoT) = mqtt-opcua
        gpu: §11.7.3 line 4 (in every other case) = no-gpu
        out kubernetes kind 1:7: §05.8.2 allows only k3s, kubeedge
        out k3s offline 6:10: nothing is stated about time without a network of K3s
        out docker-desktop kind 1:7: §05.8.2 allows only k3s, kubeedge
        out kubernetes+k3s  0:0: only where centreNodes is given
        out aws-lambda  0:0: only where cloud = aws and managed
        out docker+wasmedge  0:0: only where containers = some
        out etcd  0:0: no option that is left for orchestration goes with it
        out external-db  0:0: only where database = existing
        out sqlite+etcd  0:0: only where centreNodes is given
        out s3+dynamodb  0:0: only where cloud = aws and managed
        out flannel+calico  0:0: only where centreNodes is given
        out flannel+vpc  0:0: only where cloud = aliyun and centreNodes is given
        out vpc  0:0: only where cloud = aws and managed
        out istio  0:0: only where a mesh is welcome
        out istio-ambient  0:0: only where a mesh is welcome
        out linkerd  0:0: only where a mesh is welcome
        out cilium-mesh  0:0: only where a mesh is welcome
        out istio-multicluster  0:0: only where “a mesh is welcome” and centreNodes is given
        out iam  0:0: only where cloud = aws and managed
        out no-policy policy 7:9: only where policy = none
        out traefik kind 1:7: only where a gateway is welcome
        out kong kind 1:7: only where a gateway is welcome
        out openfaas kind 1:7: only where a gateway is welcome
        out no-triggers protocols 8:12: only where not “triggers are needed”
        out no-monitoring  0:0: only where monitoring = none
        out gpu-plugin kind 1:7: only where a GPU is welcome
        out gpu-passthrough kind 1:7: only where a GPU is welcome
        weight resources 3: 2..-
        weight performance 3: 1.401..4.5
        weight scale 1: -..2
        weight availability 3: -..5
        weight cost 2: 0.5..4.236
        weight maturity 1: -..3
        weight fit 6: -..9.577
        weakest: opa-wasm is chosen although policy is not matched in full (policies as YAML: in part)
        conflict: runtime: the trees disagree: §05.8.2, §05.3.2, §05.2.3, §11.7.1, §11.7.3, §11.4.3 → wasmedge-crun; §05.8.1 → docker-runc
        with MQTT (§11.2.2)
        with local logs (§05.4.2)
        with rolling updates (maxSurge 1, maxUnavailable 0) (§11.5.2)
        with synchronisation when the network returns (§11.5.1)
    "#]].assert_eq(&told(&decide(IOT), Lang::En));
}

#[test]
fn an_answer_tells_why_in_chinese() {
    expect![[r#"
        4.334 kubeedge wasmedge-crun sqlite flannel no-mesh opa-wasm no-gateway mqtt-opcua prometheus-light no-gpu
        step identify: 共给出 8 项需求
        step constrain: 排除 27 个选项
        step options: 剩余 22 个选项
        step match: 23 项规格中 15 项完全匹配
        step combine: kubeedge, wasmedge-crun, sqlite, flannel, no-mesh, opa-wasm, no-gateway, mqtt-opcua, prometheus-light, no-gpu 满足场景，得分 4.334
        step choose: kubeedge, wasmedge-crun, sqlite, flannel, no-mesh, opa-wasm, no-gateway, mqtt-opcua, prometheus-light, no-gpu，得分 4.334，为 576 个组合中的最优
        nodes kubeedge match: 节点数：1..1000 满足 1 (claimed, 05.3.1)
        memory kubeedge match: 控制平面内存：<300MB 满足 <=500MB (claimed, 05.5.2)
        network kubeedge match: 离线能力：完整支持 (claimed, 05.5.2, 11.2.2)
        offline kubeedge match: 离线时长：30d 满足 >=30d (claimed, 11.2.2)
        latency wasmedge-crun match: 启动时间：2.5ms..6ms 满足 <50ms (measured, docs/benchmarks.md: pods, POST to Ready, p50 and p99)
        kind wasmedge-crun match: WebAssembly：完整支持 (claimed, 05.3.2, 05.4.2, 11.4.1)
        nodes sqlite match: 节点数：1 满足 1 (claimed, 05.3.3)
        network sqlite match: 离线能力：完整支持 (claimed, 05.2.4.3, 05.3.3, 11.5.1)
        latency opa-wasm match: 延迟：1ms 满足 <50ms (claimed, 05.3.4)
        policy opa-wasm partial: YAML 策略：部分支持 (claimed, 05.2.4.4, 05.3.4, 05.4.2)
        protocols mqtt-opcua match: MQTT：完整支持 (claimed, 05.5.2, 11.2.2)
        orchestration: §05.8.2 line 1 (其他情况) = k3s, kubeedge
        orchestration: §05.3.1 line 2 (“边缘场景 or IoT” 或 “资源受限”) = k3s
        orchestration: §05.8.1 line 2 (“边缘场景 or IoT” 或 “资源受限”) = k3s
        orchestration: §05.2.3 line 2 (资源受限) = k3s
        orchestration: §11.7.1 line 2 (工业 IoT（可靠性）) = k3s, kubeedge
        orchestration: §11.7.3 line 4 (其他情况) = k3s
        orchestration: §11.4.3 line 1 (边缘场景 or IoT) = k3s
        runtime: §05.8.2 line 1 (其他情况) = wasmedge-crun
        runtime: §05.3.2 line 3 (资源受限) = wasmedge-crun
        runtime: §05.8.1 line 3 (其他情况) ≠ docker-runc: docker-runc 最高得 3.831 分，主要失分于匹配度
        runtime: §05.2.3 line 1 (低延迟) = wasmedge-crun
        runtime: §11.7.1 line 2 (工业 IoT（可靠性）) = wasmedge-crun
        runtime: §11.7.3 line 4 (其他情况) = wasmedge-crun
        runtime: §11.4.3 line 1 (边缘场景 or IoT) = wasmedge-crun
        storage: §05.8.2 line 1 (其他情况) = sqlite
        storage: §05.8.1 line 2 (“边缘场景 or IoT” 且 “单节点”) = sqlite
        storage: §05.2.3 line 2 (小规模集群) = sqlite
        storage: §11.7.1 line 2 (工业 IoT（可靠性）) = sqlite
        storage: §11.4.3 line 1 (边缘场景 or IoT) = sqlite
        network: §05.8.2 line 1 (其他情况) = flannel
        network: §05.8.1 line 1 (小规模集群) = flannel
        policy: §05.8.2 line 1 (其他情况) = opa-wasm
        policy: §05.3.4 line 2 (资源受限) = opa-wasm
        policy: §05.8.1 line 1 (policy = complex 或 “低延迟”) = opa-wasm
        triggers: §11.7.1 line 2 (工业 IoT（可靠性）) = mqtt-opcua
        gpu: §11.7.3 line 4 (其他情况) = no-gpu
        out kubernetes kind 1:7: §05.8.2 规定必须为 k3s, kubeedge
        out k3s offline 6:10: K3s 没有给出离线时长
        out docker-desktop kind 1:7: §05.8.2 规定必须为 k3s, kubeedge
        out kubernetes+k3s  0:0: 仅适用于：给出 centreNodes
        out aws-lambda  0:0: 仅适用于：cloud = aws 且 managed
        out docker+wasmedge  0:0: 仅适用于：containers = some
        out etcd  0:0: 编排层中剩余的选项都与之不兼容
        out external-db  0:0: 仅适用于：database = existing
        out sqlite+etcd  0:0: 仅适用于：给出 centreNodes
        out s3+dynamodb  0:0: 仅适用于：cloud = aws 且 managed
        out flannel+calico  0:0: 仅适用于：给出 centreNodes
        out flannel+vpc  0:0: 仅适用于：cloud = aliyun 且 给出 centreNodes
        out vpc  0:0: 仅适用于：cloud = aws 且 managed
        out istio  0:0: 仅适用于：可选服务网格
        out istio-ambient  0:0: 仅适用于：可选服务网格
        out linkerd  0:0: 仅适用于：可选服务网格
        out cilium-mesh  0:0: 仅适用于：可选服务网格
        out istio-multicluster  0:0: 仅适用于：“可选服务网格” 且 给出 centreNodes
        out iam  0:0: 仅适用于：cloud = aws 且 managed
        out no-policy policy 7:9: 仅适用于：policy = none
        out traefik kind 1:7: 仅适用于：可选网关
        out kong kind 1:7: 仅适用于：可选网关
        out openfaas kind 1:7: 仅适用于：可选网关
        out no-triggers protocols 8:12: 仅适用于：非“需要触发器”
        out no-monitoring  0:0: 仅适用于：monitoring = none
        out gpu-plugin kind 1:7: 仅适用于：可选 GPU
        out gpu-passthrough kind 1:7: 仅适用于：可选 GPU
        weight resources 3: 2..-
        weight performance 3: 1.401..4.5
        weight scale 1: -..2
        weight availability 3: -..5
        weight cost 2: 0.5..4.236
        weight maturity 1: -..3
        weight fit 6: -..9.577
        weakest: opa-wasm 并未完全满足 policy（YAML 策略：部分支持）
        conflict: 运行时：决策树互相矛盾：§05.8.2, §05.3.2, §05.2.3, §11.7.1, §11.7.3, §11.4.3 → wasmedge-crun；§05.8.1 → docker-runc
        with MQTT (§11.2.2)
        with 本地日志（轻量） (§05.4.2)
        with 滚动更新（maxSurge=1, maxUnavailable=0） (§11.5.2)
        with 网络恢复后自动同步 (§11.5.1)
    "#]].assert_eq(&told(&decide(IOT), Lang::Zh));
}

#[test]
fn the_way_back_is_taken_where_the_trees_do_not_satisfy() {
    let decision = decide("kind: edge\nnodes: 3\nhighAvailability: true\n");
    let steps: Vec<_> = decision.steps.iter().map(|it| it.step.word()).collect();
    assert_eq!(steps, ["identify", "constrain", "options", "match", "adjust", "combine", "choose"]);
    assert_eq!(decision.layers[Layer::Storage as usize].chosen.as_str(), "embedded-etcd");
}

#[test]
fn every_rival_has_a_score_and_none_is_above_the_answer() {
    let decision = decide("kind: serverless\nnodes: 1\ngateway: optional\n");
    assert!(decision.ranking.len() > 1000 && decision.combinations > 1_000_000);
    assert!(decision.ranking.windows(2).all(|it| it[0].score >= it[1].score));
    for answer in &decision.layers {
        assert!(answer.alternatives.iter().all(|it| it.rank > 1 && it.score <= decision.chosen().score));
    }
}

#[test]
fn two_stacks_are_compared_dimension_by_dimension() {
    let scenario = Scenario::parse("it.yaml", IOT).expect("sound");
    let found =
        compare(Catalog::embedded(), &scenario, "kubeedge,wasmedge-crun", "combination-traditional").expect("both");
    assert!(found.a.rank == Some(1) && found.b.rank.is_none());
    let weighted: i64 = found.dimensions.iter().map(|it| it.weighted.0).sum();
    let apart = found.a.candidate.score.0 - found.b.candidate.score.0;
    assert!((weighted - apart).abs() <= 7, "the dimensions add up to the difference: {weighted} {apart}");
    let unknown = compare(Catalog::embedded(), &scenario, "kubedge", "k3s").expect_err("unknown");
    assert_eq!(unknown.text().en, "nothing is called \"kubedge\"; did you mean \"kubeedge\"?");
    assert!(compare(Catalog::embedded(), &scenario, "kubernetes,sqlite", "k3s").is_err());
}

#[test]
fn measurements_outrank_claims() {
    let wasmedge = Catalog::embedded().technology("wasmedge-crun").expect("it");
    let startup = wasmedge.specs.values().find(|it| it.metric.word() == "startup").expect("stated");
    assert!(startup.effective().is_some_and(|it| it.measured.is_some()));
    assert!(startup.claimed().is_some_and(|it| it.measured.is_none() && it.range.to_string() == "6ms..10ms"));
}
