//! What a scenario cannot ask for at once. Entry point: [`all`].

use super::{FIELDS, Scenario};
use crate::{flaw::Flaw, reason::Reason, text::Text};

/// Two keys that exclude each other in a scenario, and why.
struct Rule {
    keys: (&'static str, &'static str),
    applies: fn(&Scenario) -> bool,
    en: &'static str,
    zh: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        keys: ("offline", "network"),
        applies: |it| it.range("offline").is_some() && it.word("network") == "stable",
        en: "a stable network leaves no time to work without one; say unstable, or leave offline away",
        zh: "网络稳定时不需要离线自治；请改为 unstable 或去掉 offline",
    },
    Rule {
        keys: ("highAvailability", "nodes"),
        applies: |it| it.flag("highAvailability") && it.range("nodes").and_then(|it| it.most()) == Some(1),
        en: "a cluster of one node does not survive the loss of it; three nodes would",
        zh: "单节点集群无法容忍节点故障；至少需要三个节点",
    },
    Rule {
        keys: ("workload", "gpu"),
        applies: |it| it.word("gpu") == "none" && !matches!(it.word("workload"), "" | "none"),
        en: "the workload needs a graphics processor, and there is to be none",
        zh: "该工作负载需要 GPU，而场景声明没有 GPU",
    },
    Rule {
        keys: ("meshNeeds", "mesh"),
        applies: |it| it.word("mesh") == "none" && it.values.contains_key("meshNeeds"),
        en: "the mesh has needs, and there is to be none",
        zh: "声明了服务网格的功能需求，却不使用服务网格",
    },
    Rule {
        keys: ("protocols", "triggers"),
        applies: |it| {
            it.word("triggers") == "none"
                && ["mqtt", "opcua", "kafka", "amqp"].iter().any(|one| it.lists("protocols", one))
        },
        en: "these protocols come in through triggers, and there are to be none",
        zh: "这些协议需要触发器接入，而场景声明没有触发器",
    },
    Rule {
        keys: ("policyLatency", "policy"),
        applies: |it| it.word("policy") == "none" && it.values.contains_key("policyLatency"),
        en: "policies are to be fast, and there are to be none",
        zh: "声明了策略延迟要求，却不使用策略",
    },
    Rule {
        keys: ("managed", "cloud"),
        applies: |it| it.flag("managed") && matches!(it.word("cloud"), "" | "none"),
        en: "managed operation needs a cloud that does it",
        zh: "托管运行需要指定云平台",
    },
    Rule {
        keys: ("containers", "kind"),
        applies: |it| it.word("containers") == "all" && matches!(it.word("kind"), "serverless" | "ai"),
        en: "serverless and AI scenarios run WebAssembly (§05.8.2), and every workload needs a container image; say some",
        zh: "Serverless 与 AI 推理场景必须使用 WasmEdge（§05.8.2），而全部负载都要求容器镜像；可改为 some",
    },
    Rule {
        keys: ("scaleTime", "autoscaling"),
        applies: |it| it.word("autoscaling") == "none" && it.values.contains_key("scaleTime"),
        en: "autoscaling is to be fast, and there is to be none",
        zh: "声明了扩容时间要求，却不使用自动扩缩容",
    },
    Rule {
        keys: ("centreOrchestration", "centreNodes"),
        applies: |it| it.values.contains_key("centreOrchestration") && !it.values.contains_key("centreNodes"),
        en: "a centre runs something, and has no nodes; give centreNodes",
        zh: "声明了中心集群的编排，却没有中心节点数；请给出 centreNodes",
    },
];

/// Every contradiction, at the key that comes later in the text.
pub(super) fn all(scenario: &Scenario) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for rule in RULES.iter().filter(|it| (it.applies)(scenario)) {
        let (first, second) = (scenario.position(rule.keys.0), scenario.position(rule.keys.1));
        let (at, other) = if first >= second { (first, second) } else { (second, first) };
        let keys = if first >= second { rule.keys } else { (rule.keys.1, rule.keys.0) };
        let because = Text::new(rule.en, rule.zh);
        let reason = Reason::Contradiction { key: keys.0.into(), other: keys.1.into(), line: other.line, because };
        flaws.push(Flaw::new(&scenario.file, at, reason));
    }
    debug_assert!(RULES.iter().all(|it| FIELDS.iter().any(|field| field.key == it.keys.0)));
    flaws
}
