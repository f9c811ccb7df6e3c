//! The keys of a scenario, with what they take and what they mean: [`FIELDS`]. Questions and messages follow this table.

use crate::{text::Named, unit::Unit};

/// How a number bounds what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// `10ms` means at most that.
    AtMost,
    /// `3000` means at least that.
    AtLeast,
    /// `5` means that many; `<4GB` and `3..5` are fine too.
    Amount,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of these words.
    Words(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A quantity.
    Amount(Unit, Sense),
}

/// One key of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it asks, in English.
    pub en: &'static str,
    /// What it asks, in Chinese.
    pub zh: &'static str,
    /// A value as an example.
    pub example: &'static str,
}

impl Named for Field {
    fn names(&self) -> (&'static str, &'static str) {
        (self.en, self.zh)
    }
}

impl Field {
    /// The field of that key.
    pub fn of(key: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|it| it.key == key)
    }
}

const fn field(key: &'static str, kind: Kind, example: &'static str, en: &'static str, zh: &'static str) -> Field {
    Field { key, kind, en, zh, example }
}

const NODES: Kind = Kind::Amount(Unit::Count, Sense::Amount);
const TIME_MOST: Kind = Kind::Amount(Unit::Duration, Sense::AtMost);
const NEED: Kind = Kind::Word(&["none", "optional", "required"]);

/// Every key beside `weights` and `hard`, in the order in which one asks for them.
pub const FIELDS: &[Field] = &[
    field("name", Kind::Text, "5g-mec", "Name of the scenario", "场景名称"),
    field(
        "kind",
        Kind::Word(&["edge", "iot", "serverless", "ai", "microservices", "traditional", "hybrid", "general"]),
        "edge",
        "Kind of scenario",
        "场景类型",
    ),
    field("sites", NODES, "1000", "Sites, each with a cluster of its own", "站点数（每个站点一个独立集群）"),
    field("nodes", NODES, "1", "Nodes of one cluster", "单集群节点数"),
    field("centreNodes", NODES, "3", "Nodes of a centre beside the sites", "中心集群节点数"),
    field(
        "centreOrchestration",
        Kind::Word(&["k3s", "kubernetes"]),
        "kubernetes",
        "What the centre already runs",
        "中心集群已有的编排",
    ),
    field("memory", Kind::Amount(Unit::Bytes, Sense::Amount), "<4GB", "Memory of a node", "每节点内存"),
    field("cpu", Kind::Amount(Unit::Cores, Sense::Amount), "4", "Processors of a node", "每节点 CPU 核数"),
    field("latency", TIME_MOST, "<10ms", "Latency that requests may have", "延迟要求"),
    field("coldStart", TIME_MOST, "<10ms", "Time that a cold start may take", "冷启动要求"),
    field(
        "density",
        Kind::Amount(Unit::Count, Sense::AtLeast),
        "3000",
        "Pods that one node must carry",
        "每节点 Pod 密度",
    ),
    field(
        "autoscaling",
        Kind::Word(&["none", "load", "qps", "events"]),
        "qps",
        "What replicas follow",
        "自动扩缩容依据",
    ),
    field("scaleTime", TIME_MOST, "30s", "Time from load to a further replica", "扩容反应时间"),
    field("network", Kind::Word(&["stable", "unstable"]), "unstable", "Stability of the network", "网络稳定性"),
    field(
        "offline",
        Kind::Amount(Unit::Duration, Sense::AtLeast),
        "30d",
        "Time that a site must work without a network",
        "离线自治时长",
    ),
    field("highAvailability", Kind::Flag, "true", "Must survive the loss of a node", "是否要求高可用"),
    field("policy", Kind::Word(&["none", "simple", "complex"]), "complex", "Complexity of policies", "策略复杂度"),
    field("policyLatency", TIME_MOST, "2ms", "Time that a policy decision may take", "策略执行延迟"),
    field(
        "networkPolicy",
        Kind::Word(&["none", "basic", "full", "l7"]),
        "full",
        "Network policies that must be honoured",
        "网络策略需求",
    ),
    field("database", Kind::Word(&["none", "existing"]), "existing", "A database that is there already", "已有数据库"),
    field(
        "containers",
        Kind::Word(&["none", "some", "all"]),
        "some",
        "Workloads that need ordinary container images",
        "传统容器需求",
    ),
    field("gpu", NEED, "optional", "A graphics processor", "GPU 需求"),
    field(
        "workload",
        Kind::Word(&["none", "inference", "rendering", "imageProcessing"]),
        "inference",
        "What the graphics processor does",
        "GPU 工作负载",
    ),
    field("services", NODES, "80", "Number of services", "服务数量"),
    field("mesh", NEED, "required", "A service mesh", "服务网格需求"),
    field(
        "meshNeeds",
        Kind::Words(&["mutualTls", "tracing", "l7Policy"]),
        "[mutualTls, tracing]",
        "What the mesh must do",
        "服务网格功能需求",
    ),
    field("alphaApis", Kind::Flag, "false", "Alpha APIs of Kubernetes", "是否需要 Alpha API"),
    field(
        "protocols",
        Kind::Words(&["http", "mqtt", "opcua", "kafka", "amqp"]),
        "[mqtt, opcua]",
        "Protocols that devices and clients speak",
        "通信协议",
    ),
    field(
        "gateway",
        Kind::Word(&["none", "optional", "required", "functions"]),
        "required",
        "An entry for requests",
        "网关需求",
    ),
    field("triggers", NEED, "required", "Events that start workloads", "事件触发需求"),
    field(
        "monitoring",
        Kind::Word(&["none", "light", "full", "tracing"]),
        "light",
        "How closely one must see what happens",
        "监控需求",
    ),
    field("acceleratedNetwork", Kind::Flag, "false", "Traffic carried by hardware (SR-IOV)", "是否需要硬件加速网络"),
    field("cloud", Kind::Word(&["none", "aws", "aliyun"]), "none", "A cloud that it runs in", "所在云平台"),
    field("managed", Kind::Flag, "false", "Operated by that cloud", "是否由云平台托管"),
];
