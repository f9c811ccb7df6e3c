//! What is wrong with a scenario is told at its place, in both languages.

use expect_test::{Expect, expect};
use eyot_advise::{Catalog, Lang, Scenario, advise};

fn flaws(text: &str, expected: Expect) {
    let flaws = Scenario::parse("it.yaml", text).expect_err("flawed");
    let lines = |lang| flaws.iter().map(|it| it.line(lang) + "\n").collect::<String>();
    expected.assert_eq(&format!("{}{}", lines(Lang::En), lines(Lang::Zh)));
}

#[test]
fn unknown_keys_and_words_come_with_what_was_meant() {
    flaws(
        "kind: edge\nnode: 3\nnetwork: instable\ncold_start: 10ms\nweights:\n  resource: 3\nzzzzzz: 1\n",
        expect![[r#"
            it.yaml:2:1: unknown key "node"; did you mean "nodes"?
            it.yaml:3:10: network: "instable" is none of stable, unstable; did you mean "unstable"?
            it.yaml:4:1: unknown key "cold_start"; did you mean "coldStart"?
            it.yaml:6:3: unknown key "resource"; did you mean "resources"?
            it.yaml:7:1: unknown key "zzzzzz"
            it.yaml:2:1: 未知的键 "node"；是否想写 "nodes"？
            it.yaml:3:10: network："instable" 不在 stable, unstable 之中；是否想写 "unstable"？
            it.yaml:4:1: 未知的键 "cold_start"；是否想写 "coldStart"？
            it.yaml:6:3: 未知的键 "resource"；是否想写 "resources"？
            it.yaml:7:1: 未知的键 "zzzzzz"
        "#]],
    );
}

#[test]
fn units_are_missed_and_mistaken_at_their_place() {
    flaws(
        "latency: 10\ncoldStart: 10GB\nmemory: 4\noffline: 30 days\ndensity: many\nnodes: 5ms\npolicyLatency: '>5ms'\n",
        expect![[r#"
            it.yaml:1:10: latency: "10" has no unit, and latency is a duration such as 10ms, 30s or 30d; did you mean "10ms"?
            it.yaml:2:12: coldStart: "10GB" is a size such as 512MB or 4GB, and coldStart is a duration such as 10ms, 30s or 30d
            it.yaml:3:9: memory: "4" has no unit, and memory is a size such as 512MB or 4GB; did you mean "4GB"?
            it.yaml:4:10: offline: "days" in "30 days" is no unit; offline is a duration such as 10ms, 30s or 30d
            it.yaml:5:10: density: "many" is not a number
            it.yaml:6:8: nodes: "5ms" is a duration such as 10ms, 30s or 30d, and nodes is a number
            it.yaml:7:16: policyLatency: ">5ms" sets no upper bound; write <, <= or a plain amount
            it.yaml:1:10: latency："10" 没有单位，latency 应为时长（如 10ms、30s、30d）；是否想写 "10ms"？
            it.yaml:2:12: coldStart："10GB" 是容量（如 512MB、4GB），而 coldStart 应为时长（如 10ms、30s、30d）
            it.yaml:3:9: memory："4" 没有单位，memory 应为容量（如 512MB、4GB）；是否想写 "4GB"？
            it.yaml:4:10: offline："30 days" 中的 "days" 不是单位；offline 应为时长（如 10ms、30s、30d）
            it.yaml:5:10: density："many" 不是数量
            it.yaml:6:8: nodes："5ms" 是时长（如 10ms、30s、30d），而 nodes 应为数量
            it.yaml:7:16: policyLatency：">5ms" 没有给出上限；请写 <、<= 或单个量
        "#]],
    );
}

#[test]
fn contradictions_name_both_keys() {
    flaws(
        "nodes: 1\nhighAvailability: true\nnetwork: stable\noffline: 30d\nhard:\n  require: [k3s]\n  forbid: [k3s]\n  match: [gpu]\n",
        expect![[r#"
            it.yaml:2:19: highAvailability contradicts nodes (line 1): a cluster of one node does not survive the loss of it; three nodes would
            it.yaml:4:10: offline contradicts network (line 3): a stable network leaves no time to work without one; say unstable, or leave offline away
            it.yaml:7:12: k3s is both required and forbidden
            it.yaml:8:11: gpu has to match, and the scenario does not give it
            it.yaml:2:19: highAvailability 与 nodes（第 1 行）矛盾：单节点集群无法容忍节点故障；至少需要三个节点
            it.yaml:4:10: offline 与 network（第 3 行）矛盾：网络稳定时不需要离线自治；请改为 unstable 或去掉 offline
            it.yaml:7:12: k3s 既被要求又被禁止
            it.yaml:8:11: gpu 被要求完全匹配，但场景没有给出它
        "#]],
    );
}

#[test]
fn texts_that_are_no_scenario_are_told_as_such() {
    flaws(
        "kind: [edge\n",
        expect![[r#"
        it.yaml:1:7: not YAML: unclosed bracket '['
        it.yaml:1:7: 不是合法的 YAML：unclosed bracket '['
    "#]],
    );
    flaws(
        "- edge\n",
        expect![[r#"
        it.yaml:1:1: expected keys with values
        it.yaml:1:1: 此处应为键值映射
    "#]],
    );
    flaws(
        "kind: {a: b}\nkind: edge\n",
        expect![[r#"
            it.yaml:2:1: not YAML: duplicate mapping key: kind
            it.yaml:2:1: 不是合法的 YAML：duplicate mapping key: kind
        "#]],
    );
    flaws(
        "weights: {resources: -1, scale: 3/0}\n",
        expect![[r#"
        it.yaml:1:22: resources: "-1" is no weight; write 3, 0.5 or 1/3, at most 1000 and with six digits at most after the point
        it.yaml:1:33: scale: "3/0" is no weight; write 3, 0.5 or 1/3, at most 1000 and with six digits at most after the point
        it.yaml:1:22: resources："-1" 不是权重；请写 3、0.5 或 1/3，最大 1000，小数最多六位
        it.yaml:1:33: scale："3/0" 不是权重；请写 3、0.5 或 1/3，最大 1000，小数最多六位
    "#]],
    );
}

fn unanswered(text: &str, expected: Expect) {
    let scenario = Scenario::parse("it.yaml", text).expect("sound");
    let none = advise(Catalog::embedded(), &scenario).expect_err("nothing satisfies it");
    let mut out = String::new();
    for lang in [Lang::En, Lang::Zh] {
        none.conflicts.iter().for_each(|it| out += &(it.line(lang) + "\n"));
    }
    for it in &none.relaxations {
        let changes: Vec<_> = it.changes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        out += &format!("{} {} -> {}\n", it.distance, changes.join(" "), it.stack.0[0]);
    }
    expected.assert_eq(&out);
}

#[test]
fn what_nothing_satisfies_comes_with_the_nearest_change() {
    unanswered(
        "kind: edge\nnodes: 2000\n",
        expect![[r#"
            it.yaml:2:8: nothing is left for orchestration — kubernetes (kind): §05.8.2 allows only k3s, kubeedge; k3s (nodes): nodes: 1..1000 does not satisfy 2000; kubeedge (nodes): nodes: 1..1000 does not satisfy 2000; docker-desktop (kind): §05.8.2 allows only k3s, kubeedge
            it.yaml:2:8: 编排层没有可选项——kubernetes (kind): §05.8.2 规定必须为 k3s, kubeedge; k3s (nodes): 节点数：1..1000 不满足 2000; kubeedge (nodes): 节点数：1..1000 不满足 2000; docker-desktop (kind): §05.8.2 规定必须为 k3s, kubeedge
            1000 nodes=1000 -> k3s
            2000 kind= -> kubernetes
        "#]],
    );
    unanswered(
        "kind: serverless\nnodes: 3\ncoldStart: 2ms\ndensity: 4000\n",
        expect![[r#"
            it.yaml:3:12: nothing is left for runtime — docker-runc (kind): §05.8.2 allows only wasmedge-crun, docker+wasmedge; wasmedge-crun (coldStart): start-up: 2.5ms..6ms does not satisfy <=2ms
            it.yaml:3:12: 运行时没有可选项——docker-runc (kind): §05.8.2 规定必须为 wasmedge-crun, docker+wasmedge; wasmedge-crun (coldStart): 启动时间：2.5ms..6ms 不满足 <=2ms
            737 coldStart=2.5ms density=3000 -> k3s
        "#]],
    );
    unanswered(
        "policy: complex\npolicyLatency: 0.5ms\nhard: {forbid: [kyverno]}\n",
        expect![[r#"
            it.yaml:3:17: nothing is left for policy — opa (policyLatency): latency: 10ms does not satisfy <=500us; gatekeeper (policyLatency): latency: 10ms does not satisfy <=500us; opa-wasm (policyLatency): latency: 1ms does not satisfy <=500us; kyverno (hard.forbid): the scenario forbids it; no-policy (policy): only where policy = none
            it.yaml:3:17: 策略没有可选项——opa (policyLatency): 延迟：10ms 不满足 <=500us; gatekeeper (policyLatency): 延迟：10ms 不满足 <=500us; opa-wasm (policyLatency): 延迟：1ms 不满足 <=500us; kyverno (hard.forbid): 场景禁止使用; no-policy (policy): 仅适用于：policy = none
            1000 policyLatency=1ms -> k3s
        "#]],
    );
    unanswered(
        "nodes: 10\nhard: {require: [sqlite, kubernets]}\n",
        expect![[r#"
        it.yaml:2:26: nothing is called "kubernets"; did you mean "kubernetes"?
        it.yaml:2:26: 没有名为 "kubernets" 的条目；是否想写 "kubernetes"？
    "#]],
    );
    unanswered(
        "nodes: 10\nhard: {require: [kubernetes, embedded-etcd]}\n",
        expect![[r#"
            it.yaml:2:30: what is left for orchestration (kubernetes) does not go with what is left for storage (embedded-etcd)
            it.yaml:2:30: 编排层剩余的 kubernetes 与存储剩余的 embedded-etcd 不兼容
            2000 hard.require=[embedded-etcd] -> k3s
            2000 hard.require=[kubernetes] -> kubernetes
        "#]],
    );
    unanswered(
        "kind: edge\nnodes: 3\nhard: {require: [sqlite]}\n",
        expect![[r#"
            it.yaml:3:18: nothing is left for storage — etcd (hard.require): the scenario requires sqlite; embedded-etcd (hard.require): the scenario requires sqlite; sqlite (nodes): nodes: 1 does not satisfy 3; external-db (hard.require): the scenario requires sqlite; sqlite+etcd (hard.require): the scenario requires sqlite; s3+dynamodb (hard.require): the scenario requires sqlite
            it.yaml:3:18: 存储没有可选项——etcd (hard.require): 场景要求使用 sqlite; embedded-etcd (hard.require): 场景要求使用 sqlite; sqlite (nodes): 节点数：1 不满足 3; external-db (hard.require): 场景要求使用 sqlite; sqlite+etcd (hard.require): 场景要求使用 sqlite; s3+dynamodb (hard.require): 场景要求使用 sqlite
            1585 nodes=1 -> k3s
            2000 hard.require= -> k3s
        "#]],
    );
}

#[test]
fn a_changed_scenario_is_checked_again() {
    let scenario = Scenario::parse("it.yaml", "kind: serverless\nnodes: 1\nmemory: 16GB\n").expect("sound");
    let more = scenario.set("nodes", "2000").expect("sound");
    let choose = |it: &Scenario| advise(Catalog::embedded(), it).expect("an answer").chosen().stack.0[0].to_string();
    assert_eq!((choose(&scenario), choose(&more)), ("k3s".to_owned(), "kubernetes".to_owned()));
    assert!(more.set("nodes", "").expect("sound").range("nodes").is_none());
    let flaws = scenario.set("memory", "16").expect_err("no unit");
    assert_eq!(
        flaws[0].line(Lang::En),
        "it.yaml: memory: \"16\" has no unit, and memory is a size such as 512MB or 4GB; did you mean \"16GB\"?"
    );
    assert!(scenario.set("hard.forbid", "[k3s]").is_ok_and(|it| it.forbid.len() == 1));
    assert!(scenario.set("weights.scale", "1/3").is_ok_and(|it| it.weights.values().eq([&333_333])));
}
