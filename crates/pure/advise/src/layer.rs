//! What a stack is made of and judged by: [`Layer`], [`Dimension`], [`Metric`], [`Feature`], [`Level`].

use crate::{unit::Unit, words::words};

words! {
    /// A layer of a stack; each takes exactly one option.
    Layer {
        /// Who places workloads: O(S) of §05.9.1.
        Orchestration = "orchestration", "orchestration", "编排层";
        /// What executes them: R(S).
        Runtime = "runtime", "runtime", "运行时";
        /// Where the cluster keeps its state: S(S).
        Storage = "storage", "storage", "存储";
        /// How pods reach each other: N(S).
        Network = "network", "network", "网络";
        /// What governs traffic between services.
        Mesh = "mesh", "service mesh", "服务网格";
        /// What judges changes: P(S).
        Policy = "policy", "policy", "策略";
        /// How requests come in.
        Gateway = "gateway", "gateway", "网关";
        /// How events come in.
        Triggers = "triggers", "triggers", "触发器";
        /// How one sees what happens.
        Monitoring = "monitoring", "monitoring", "监控";
        /// How workloads reach a graphics processor.
        Gpu = "gpu", "GPU", "GPU";
    }
}

/// How many layers a stack has.
pub const LAYERS: usize = Layer::ALL.len();

words! {
    /// A dimension that stacks are scored in: the six of §05.6.1, and how well the specifications match (step 4 of
    /// §05.6.2).
    Dimension {
        /// Memory, processor and storage taken.
        Resources = "resources", "resources", "资源";
        /// Start-up, latency, throughput.
        Performance = "performance", "performance", "性能";
        /// Nodes, pods, objects.
        Scale = "scale", "scale", "规模";
        /// High availability, work without a network, recovery.
        Availability = "availability", "availability", "可用性";
        /// Hardware, operation, development.
        Cost = "cost", "cost", "成本";
        /// Community, stability, production use, documentation, ecosystem.
        Maturity = "maturity", "maturity", "成熟度";
        /// The share of the scenario's requirements that the specifications match.
        Fit = "fit", "fit", "匹配度";
    }
}

/// How many dimensions there are.
pub const DIMENSIONS: usize = Dimension::ALL.len();

words! {
    /// A number that technologies state and requirements ask for.
    Metric {
        /// Nodes of one cluster that it supports.
        Nodes = "nodes", "nodes", "节点数";
        /// Nodes of the centre that it supports, where edge sites have one.
        CentreNodes = "centreNodes", "nodes of the centre", "中心节点数";
        /// Services that it is meant for.
        Services = "services", "services", "服务数";
        /// Pods one node carries.
        Density = "density", "pods a node", "Pod 密度";
        /// Memory of the control plane.
        ControlMemory = "controlMemory", "memory of the control plane", "控制平面内存";
        /// Memory of one workload.
        PodMemory = "podMemory", "memory of a pod", "Pod 内存";
        /// Memory of the component itself.
        Memory = "memory", "memory", "内存占用";
        /// From nothing to a workload that answers.
        Startup = "startup", "start-up", "启动时间";
        /// Time that one operation takes or that one request loses.
        Latency = "latency", "latency", "延迟";
        /// Size of an image.
        Image = "image", "image size", "镜像体积";
        /// Time that a site works without a network.
        Offline = "offline", "time without a network", "离线时长";
        /// From load to a further replica that takes it.
        ScaleTime = "scaleTime", "reaction of autoscaling", "扩容时间";
    }
}

impl Metric {
    /// The unit its values have.
    pub fn unit(self) -> Unit {
        match self {
            Self::Nodes | Self::CentreNodes | Self::Services | Self::Density => Unit::Count,
            Self::ControlMemory | Self::PodMemory | Self::Memory | Self::Image => Unit::Bytes,
            Self::Startup | Self::Latency | Self::Offline | Self::ScaleTime => Unit::Duration,
        }
    }
}

words! {
    /// A property that technologies have in full, in part, or not.
    Feature {
        /// Goes on without a network.
        Offline = "offline", "offline operation", "离线能力";
        /// Survives the loss of a node.
        HighAvailability = "highAvailability", "high availability", "高可用";
        /// Honours NetworkPolicy.
        NetworkPolicy = "networkPolicy", "network policies", "网络策略";
        /// Decides on requests, not only on connections.
        L7Policy = "l7Policy", "layer 7 policies", "L7 策略";
        /// Expresses complex policies.
        ComplexPolicy = "complexPolicy", "complex policies", "复杂策略";
        /// Expresses simple policies as YAML.
        SimplePolicy = "simplePolicy", "policies as YAML", "YAML 策略";
        /// Runs ordinary container images.
        Containers = "containers", "container images", "容器镜像";
        /// Runs WebAssembly.
        Wasm = "wasm", "WebAssembly", "WebAssembly";
        /// Offers a graphics processor.
        Gpu = "gpu", "GPU", "GPU";
        /// Runs inference on it.
        Inference = "inference", "inference", "AI 推理";
        /// Renders on it.
        Rendering = "rendering", "rendering", "渲染";
        /// Processes images on it.
        ImageProcessing = "imageProcessing", "image processing", "图像处理";
        /// Serves alpha APIs of Kubernetes.
        AlphaApis = "alphaApis", "alpha APIs", "Alpha API";
        /// Scales workloads by load.
        Autoscaling = "autoscaling", "autoscaling", "自动扩缩容";
        /// Speaks MQTT.
        Mqtt = "mqtt", "MQTT", "MQTT";
        /// Speaks OPC UA.
        OpcUa = "opcua", "OPC UA", "OPC UA";
        /// Speaks Kafka's protocol.
        Kafka = "kafka", "Kafka", "Kafka";
        /// Speaks AMQP.
        Amqp = "amqp", "AMQP", "AMQP";
        /// Encrypts traffic between services.
        MutualTls = "mutualTls", "mutual TLS", "双向 TLS";
        /// Traces requests across services.
        Tracing = "tracing", "tracing", "链路追踪";
        /// Shows dashboards.
        Dashboards = "dashboards", "dashboards", "仪表盘";
        /// Uses a database that is there already.
        ExistingDatabase = "existingDatabase", "an existing database", "已有数据库";
        /// Is an entry for functions, not only for HTTP routes.
        Functions = "functions", "functions", "函数网关";
        /// Spans edge sites and a centre.
        CentreAndEdge = "centreAndEdge", "centre and edge", "中心+边缘";
        /// Is operated by a cloud.
        Managed = "managed", "managed operation", "托管";
        /// Carries traffic by hardware.
        Accelerated = "accelerated", "hardware acceleration", "硬件加速";
    }
}

words! {
    /// How much of a property there is: the documents' ❌, ⚠️ and ✅.
    Level {
        /// Not at all.
        None = "none", "none", "不支持";
        /// In part, or after conversion.
        Partial = "partial", "partial", "部分支持";
        /// In full.
        Full = "full", "full", "完整支持";
    }
}
