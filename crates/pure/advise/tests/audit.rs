//! What the audit finds in the embedded catalogue: the documents' own contradictions.

use std::fmt::Write;

use eyot_advise::{Catalog, Lang, audit::audit};

#[test]
fn the_embedded_catalogue_tells_the_contradictions_of_the_documents() {
    let mut out = String::new();
    for finding in audit(Catalog::embedded()) {
        let _ = writeln!(out, "{} {}: {}", finding.severity, finding.kind, finding.reason.text().get(Lang::En));
    }
    expect_test::expect![[r#"
        error stars: the totals 24/18/12/10 are not the sums of the stars, 19/15/12/10; exactly the weights resources 3, performance 1/3, availability 2/3, maturity 1 give them
        error stars: the text ranks performance above availability, and the totals need 1/3 and 2/3
        error stars: the text ranks availability above maturity, and the totals need 2/3 and 1
        warning unreachable: no line of §05.8.1 leads to the stack microservices
        warning disagreement: orchestration for kind: edge, nodes: 1001: §05.8.2 line 1 chooses k3s, kubeedge, §05.3.1 line 1 chooses kubernetes
        warning disagreement: policy for kind: edge, policy: complex: §05.8.2 line 1 chooses opa-wasm, §05.3.4 line 3 chooses opa, gatekeeper
        warning disagreement: orchestration for kind: edge, nodes: 1001: §05.8.2 line 1 chooses k3s, kubeedge, §05.8.1 line 1 chooses kubernetes
        warning disagreement: storage for kind: edge, nodes: 1001: §05.8.2 line 1 chooses sqlite, §05.8.1 line 1 chooses etcd
        warning disagreement: network for kind: edge, nodes: 1001: §05.8.2 line 1 chooses flannel, §05.8.1 line 2 chooses calico, cilium
        warning disagreement: policy for kind: edge, policy: simple: §05.8.2 line 1 chooses opa-wasm, §05.8.1 line 2 chooses kyverno
        warning disagreement: policy for kind: edge, policy: simple: §05.8.2 line 1 chooses opa-wasm, §05.2.3 line 4 chooses kyverno
        warning disagreement: runtime for kind: edge, latency: <=100ms: §05.8.2 line 1 chooses wasmedge-crun, §05.2.3 line 2 chooses docker-runc
        warning disagreement: storage for kind: edge, nodes: 1001: §05.8.2 line 1 chooses sqlite, §05.2.3 line 1 chooses etcd
        warning disagreement: orchestration for alphaApis: true, kind: serverless: §05.8.2 line 2 chooses k3s, §05.3.1 line 3 chooses kubernetes
        warning disagreement: policy for kind: serverless, nodes: 1001, policy: complex: §05.8.2 line 1 chooses opa-wasm, §05.3.4 line 3 chooses opa, gatekeeper
        warning disagreement: storage for database: existing, kind: serverless: §05.8.2 line 2 chooses sqlite, §05.8.1 line 3 chooses external-db
        warning disagreement: network for kind: serverless, networkPolicy: full: §05.8.2 line 2 chooses flannel, §05.8.1 line 2 chooses calico, cilium
        warning disagreement: policy for kind: serverless, nodes: 1001, policy: simple: §05.8.2 line 1 chooses opa-wasm, §05.8.1 line 2 chooses kyverno
        warning disagreement: orchestration for kind: serverless, memory: 4GB, nodes: 1001, policy: complex: §05.8.2 line 1 chooses kubernetes, §05.2.3 line 1 chooses k3s
        warning disagreement: policy for kind: serverless, nodes: 1001, policy: simple: §05.8.2 line 1 chooses opa-wasm, §05.2.3 line 4 chooses kyverno
        warning disagreement: runtime for kind: serverless, latency: <=100ms, nodes: 1001: §05.8.2 line 1 chooses wasmedge-crun, docker+wasmedge, §05.2.3 line 2 chooses docker-runc
        warning disagreement: orchestration for autoscaling: load, coldStart: <=5ms, density: >=1001, kind: serverless, nodes: 1001: §05.8.2 line 1 chooses kubernetes, §11.7.2 line 1 chooses k3s
        warning disagreement: orchestration for kind: serverless, nodes: 1001, workload: inference: §05.8.2 line 1 chooses kubernetes, §11.7.3 line 1 chooses k3s
        warning disagreement: orchestration for kind: serverless, nodes: 1001: §05.8.2 line 1 chooses kubernetes, §11.4.3 line 2 chooses k3s
        warning disagreement: orchestration for alphaApis: true, kind: ai: §05.8.2 line 2 chooses k3s, §05.3.1 line 3 chooses kubernetes
        warning disagreement: policy for kind: ai, nodes: 1001, policy: complex: §05.8.2 line 1 chooses opa-wasm, §05.3.4 line 3 chooses opa, gatekeeper
        warning disagreement: storage for database: existing, kind: ai: §05.8.2 line 2 chooses sqlite, §05.8.1 line 3 chooses external-db
        warning disagreement: network for kind: ai, networkPolicy: full: §05.8.2 line 2 chooses flannel, §05.8.1 line 2 chooses calico, cilium
        warning disagreement: policy for kind: ai, nodes: 1001, policy: simple: §05.8.2 line 1 chooses opa-wasm, §05.8.1 line 2 chooses kyverno
        warning disagreement: orchestration for kind: ai, memory: 4GB, nodes: 1001, policy: complex: §05.8.2 line 1 chooses kubernetes, §05.2.3 line 1 chooses k3s
        warning disagreement: policy for kind: ai, nodes: 1001, policy: simple: §05.8.2 line 1 chooses opa-wasm, §05.2.3 line 4 chooses kyverno
        warning disagreement: runtime for kind: ai, latency: <=100ms, nodes: 1001: §05.8.2 line 1 chooses wasmedge-crun, docker+wasmedge, §05.2.3 line 2 chooses docker-runc
        warning disagreement: orchestration for kind: ai, nodes: 1001, workload: inference: §05.8.2 line 1 chooses kubernetes, §11.7.3 line 1 chooses k3s
        warning disagreement: orchestration for kind: ai, nodes: 1001: §05.8.2 line 1 chooses kubernetes, §11.4.3 line 3 chooses k3s
        warning disagreement: orchestration for alphaApis: true: §05.3.1 line 3 chooses kubernetes, §05.8.1 line 3 chooses k3s
        warning disagreement: orchestration for memory: 4GB, nodes: 1001, policy: complex: §05.3.1 line 1 chooses kubernetes, §05.2.3 line 1 chooses k3s
        warning disagreement: orchestration for kind: edge, latency: <=5ms, memory: 2GB, network: unstable, nodes: 1001: §05.3.1 line 1 chooses kubernetes, §11.7.1 line 1 chooses k3s
        warning disagreement: orchestration for autoscaling: load, coldStart: <=5ms, density: >=1001, kind: serverless, nodes: 1001: §05.3.1 line 1 chooses kubernetes, §11.7.2 line 1 chooses k3s
        warning disagreement: orchestration for kind: edge, nodes: 1001, workload: inference: §05.3.1 line 1 chooses kubernetes, §11.7.3 line 1 chooses k3s
        warning disagreement: orchestration for kind: edge, nodes: 1001: §05.3.1 line 1 chooses kubernetes, §11.4.3 line 1 chooses k3s
        warning disagreement: runtime for containers: some, memory: 4GB: §05.3.2 line 3 chooses wasmedge-crun, §05.8.1 line 2 chooses docker-runc
        warning disagreement: runtime for coldStart: <=50ms, latency: <=100ms: §05.3.2 line 1 chooses wasmedge-crun, §05.2.3 line 2 chooses docker-runc
        warning disagreement: runtime for containers: some, kind: edge: §05.3.2 line 4 chooses docker-runc, §11.4.3 line 1 chooses wasmedge-crun
        warning disagreement: policy for memory: 4GB, policy: simple: §05.3.4 line 2 chooses opa-wasm, §05.8.1 line 2 chooses kyverno
        warning disagreement: policy for policy: complex: §05.3.4 line 3 chooses opa, gatekeeper, §05.2.3 line 3 chooses opa-wasm
        warning disagreement: orchestration for memory: 4GB, nodes: 1001, policy: complex: §05.8.1 line 1 chooses kubernetes, §05.2.3 line 1 chooses k3s
        warning disagreement: orchestration for kind: edge, latency: <=5ms, memory: 2GB, network: unstable, nodes: 1001: §05.8.1 line 1 chooses kubernetes, §11.7.1 line 1 chooses k3s
        warning disagreement: orchestration for autoscaling: load, coldStart: <=5ms, density: >=1001, kind: serverless, nodes: 1001: §05.8.1 line 1 chooses kubernetes, §11.7.2 line 1 chooses k3s
        warning disagreement: orchestration for kind: edge, nodes: 1001, workload: inference: §05.8.1 line 1 chooses kubernetes, §11.7.3 line 1 chooses k3s
        warning disagreement: orchestration for kind: edge, nodes: 1001: §05.8.1 line 1 chooses kubernetes, §11.4.3 line 1 chooses k3s
        warning disagreement: runtime for density: >=501, latency: <=100ms: §05.8.1 line 1 chooses wasmedge-crun, §05.2.3 line 2 chooses docker-runc
        warning disagreement: runtime for containers: some, kind: edge: §05.8.1 line 2 chooses docker-runc, §11.4.3 line 1 chooses wasmedge-crun
        warning disagreement: storage for database: existing, nodes: 1: §05.8.1 line 3 chooses external-db, §05.2.3 line 2 chooses sqlite
        warning disagreement: storage for kind: edge, latency: <=5ms, memory: 2GB, network: unstable, nodes: 1001: §05.8.1 line 1 chooses etcd, §11.7.1 line 1 chooses sqlite
        warning disagreement: storage for kind: edge, nodes: 1001: §05.8.1 line 1 chooses etcd, §11.4.3 line 1 chooses sqlite
        warning disagreement: policy for latency: <=50ms, policy: simple: §05.8.1 line 1 chooses opa-wasm, §05.2.3 line 4 chooses kyverno
        warning disagreement: runtime for kind: iot, latency: <=100ms: §05.2.3 line 2 chooses docker-runc, §11.7.1 line 2 chooses wasmedge-crun
        warning disagreement: runtime for autoscaling: load, coldStart: <=5ms, density: >=1001, kind: serverless, latency: <=100ms: §05.2.3 line 2 chooses docker-runc, §11.7.2 line 1 chooses wasmedge-crun
        warning disagreement: runtime for kind: edge, latency: <=100ms, workload: inference: §05.2.3 line 2 chooses docker-runc, §11.7.3 line 1 chooses wasmedge-crun
        warning disagreement: runtime for kind: edge, latency: <=100ms: §05.2.3 line 2 chooses docker-runc, §11.4.3 line 1 chooses wasmedge-crun
        warning disagreement: storage for kind: edge, latency: <=5ms, memory: 2GB, network: unstable, nodes: 1001: §05.2.3 line 1 chooses etcd, §11.7.1 line 1 chooses sqlite
        warning disagreement: storage for kind: edge, nodes: 1001: §05.2.3 line 1 chooses etcd, §11.4.3 line 1 chooses sqlite
        warning disagreement: GPU for kind: edge, latency: <=10ms, memory: 2GB, network: stable: §11.7.1 line 3 chooses gpu-plugin, §11.7.3 line 4 chooses no-gpu
        warning disagreement: GPU for kind: ai: §11.7.3 line 4 chooses no-gpu, §11.4.3 line 3 chooses gpu-plugin
        warning defaults: runtime for kind: edge: §05.8.2 line 1 chooses wasmedge-crun, §05.3.2 line 5 chooses docker-runc
        warning defaults: runtime for kind: edge: §05.8.2 line 1 chooses wasmedge-crun, §05.8.1 line 3 chooses docker-runc
        warning defaults: runtime for kind: serverless: §05.8.2 line 2 chooses wasmedge-crun, docker+wasmedge, §05.3.2 line 5 chooses docker-runc
        warning defaults: runtime for kind: serverless: §05.8.2 line 2 chooses wasmedge-crun, docker+wasmedge, §05.8.1 line 3 chooses docker-runc
        warning defaults: runtime for kind: ai: §05.8.2 line 2 chooses wasmedge-crun, docker+wasmedge, §05.3.2 line 5 chooses docker-runc
        warning defaults: runtime for kind: ai: §05.8.2 line 2 chooses wasmedge-crun, docker+wasmedge, §05.8.1 line 3 chooses docker-runc
        warning defaults: GPU for kind: ai: §05.8.2 line 2 chooses gpu-plugin, §11.7.3 line 4 chooses no-gpu
        warning defaults: runtime for kind: edge: §05.3.2 line 5 chooses docker-runc, §11.7.1 line 4 chooses wasmedge-crun
        warning defaults: runtime for kind: serverless: §05.3.2 line 5 chooses docker-runc, §11.7.2 line 3 chooses wasmedge-crun
        warning defaults: runtime for kind: edge: §05.3.2 line 5 chooses docker-runc, §11.7.3 line 4 chooses wasmedge-crun
        warning defaults: runtime for kind: edge: §05.8.1 line 3 chooses docker-runc, §11.7.1 line 4 chooses wasmedge-crun
        warning defaults: runtime for kind: serverless: §05.8.1 line 3 chooses docker-runc, §11.7.2 line 3 chooses wasmedge-crun
        warning defaults: runtime for kind: edge: §05.8.1 line 3 chooses docker-runc, §11.7.3 line 4 chooses wasmedge-crun
        warning impossible: §05.8.2 line 1 chooses k3s, kubeedge also for kind: edge, nodes: 1001, and nodes of it end at 1000
        warning impossible: §05.8.2 line 1 chooses sqlite also for kind: edge, nodes: 2, and nodes of it end at 1
        warning impossible: §05.8.2 line 2 chooses sqlite also for kind: serverless, nodes: 2, and nodes of it end at 1
        warning impossible: §05.8.2 line 2 chooses sqlite also for kind: ai, nodes: 2, and nodes of it end at 1
        warning impossible: §05.8.1 line 4 chooses sqlite also for nodes: 2, and nodes of it end at 1
        warning impossible: §05.2.3 line 1 chooses k3s also for memory: 4GB, nodes: 1001, policy: complex, and nodes of it end at 1000
        warning impossible: §05.2.3 line 2 chooses k3s also for memory: 4GB, nodes: 1001, and nodes of it end at 1000
        warning impossible: §05.2.3 line 2 chooses sqlite also for nodes: 2, and nodes of it end at 1
        warning impossible: §11.7.1 line 1 chooses k3s also for kind: edge, latency: <=5ms, memory: 2GB, network: unstable, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.7.1 line 1 chooses sqlite also for kind: edge, latency: <=5ms, memory: 2GB, network: unstable, nodes: 2, and nodes of it end at 1
        warning impossible: §11.7.1 line 2 chooses k3s, kubeedge also for kind: edge, latency: <=10ms, memory: 1GB, network: unstable, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.7.1 line 2 chooses sqlite also for kind: edge, latency: <=10ms, memory: 1GB, network: unstable, nodes: 2, and nodes of it end at 1
        warning impossible: §11.7.1 line 3 chooses k3s also for kind: edge, latency: <=10ms, memory: 2GB, network: stable, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.7.1 line 4 chooses k3s also for kind: edge, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.7.2 line 1 chooses k3s also for autoscaling: load, coldStart: <=5ms, density: >=1001, kind: serverless, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.7.2 line 2 chooses k3s also for autoscaling: load, kind: serverless, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.7.2 line 3 chooses k3s also for kind: serverless, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.7.3 line 1 chooses k3s also for kind: edge, nodes: 1001, workload: inference, and nodes of it end at 1000
        warning impossible: §11.7.3 line 2 chooses k3s also for kind: edge, nodes: 1001, workload: rendering, and nodes of it end at 1000
        warning impossible: §11.7.3 line 3 chooses k3s also for kind: edge, nodes: 1001, workload: imageProcessing, and nodes of it end at 1000
        warning impossible: §11.7.3 line 4 chooses k3s also for kind: edge, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.4.3 line 1 chooses k3s also for kind: edge, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.4.3 line 1 chooses sqlite also for kind: edge, nodes: 2, and nodes of it end at 1
        warning impossible: §11.4.3 line 2 chooses k3s also for kind: serverless, nodes: 1001, and nodes of it end at 1000
        warning impossible: §11.4.3 line 3 chooses k3s also for nodes: 1001, workload: inference, and nodes of it end at 1000
        warning specification: memory of the control plane of K3s: §05.3.1 says 250MB, §05.5.5 says <250MB
        warning specification: memory of the control plane of K3s: §05.3.1 says 250MB, §11.2.1 says <250MB
        warning specification: 300 pods of Docker + runc with 18MB..500MB each take 5.4GB at least, and the case mec has nodes of less than 4GB
        warning specification: 300 pods of Docker + runc with 18MB..500MB each take 5.4GB at least, and the case iot has nodes of less than 2GB
        warning specification: start-up of WasmEdge + crun: §05.3.2 says 6ms..10ms, §05.4.2 says <10ms
        warning specification: start-up of WasmEdge + crun: §05.3.2 says 6ms..10ms, §05.5.1 says <=6ms
        warning specification: image size of WasmEdge + crun: §05.3.2 says 900KB..10MB, §11.5.3 says <1MB
        warning specification: 3000 pods of WasmEdge + crun with 2MB..50MB each take 6GB at least, and the case mec has nodes of less than 4GB
        warning specification: 3000 pods of WasmEdge + crun with 2MB..50MB each take 6GB at least, and the case iot has nodes of less than 2GB
        warning specification: 300..3000 pods of Docker (existing) + WasmEdge (new) with 2MB..500MB each take 6GB at least, and the case mec has nodes of less than 4GB
        warning specification: 300..3000 pods of Docker (existing) + WasmEdge (new) with 2MB..500MB each take 6GB at least, and the case iot has nodes of less than 2GB
        warning reference: case 2: industrial IoT (Huawei) reports nodes 1..5, and sqlite states 1
        warning reference: case 3: online game (Tencent) reports nodes 3, and Docker Desktop states 1
        warning reference: 5G MEC reports memory of the control plane <250MB, and K3s states 250MB
        note redundant: runtime, line 4 (containerNeeds) chooses what the next line does
        note redundant: orchestration, line 2 (edge or limited) chooses what the next line does
        note redundant: runtime, line 2 (containerNeeds) chooses what the next line does
        note model: E: mec and iot both hold for latency: <=5ms, memory: 1GB, network: unstable; the first counts
        note model: E: no case holds for latency: <=10ms, memory: 2GB, network: unstable
        note model: S: lightFunction and faas both hold for autoscaling: load, coldStart: <=5ms, density: >=1001; the first counts
        note model: S: no case holds for autoscaling: none, coldStart: <=10ms, density: >=501
        note stars: the maturity of crun is 4 stars, and none of what it rests on has more than 3
        note stars: combination 2: edge computing has 4 stars for maturity, and its part opa-wasm has 3
        note stars: combination 3: serverless has 4 stars for maturity, and its part opa-wasm has 3
        note stars: combination 4: hybrid has 4 stars for maturity, and its part opa-wasm has 3
        note stars: case 5: Huawei MEC has 4 stars for maturity, and its part opa-wasm has 3
        note stars: case 6: Alibaba Cloud ACK Edge has 4 stars for maturity, and its part opa-wasm has 3
        note specification: memory of the control plane of K3s: §05.3.1 claims 250MB, Eyot 0.1.0 measured 48.6MB (docs/benchmarks.md: memory, an idle node)
        note specification: reaction of autoscaling of K3s: §05.5.4 claims <30s, Eyot 0.1.0 measured 1.13s..1.15s (docs/benchmarks.md: scale, 0 to 3,000 ready)
        note specification: memory of a pod of WasmEdge + crun: §05.3.2 says 2MB..50MB, §11.2.1 says 2MB
        note specification: memory of a pod of WasmEdge + crun: §05.3.2 claims 2MB..50MB, Eyot 0.1.0 measured 10.65KB..26.7KB (docs/benchmarks.md: memory, each further idle pod)
        note specification: start-up of WasmEdge + crun: §05.3.2 claims 6ms..10ms, Eyot 0.1.0 measured 2.5ms..6ms (docs/benchmarks.md: pods, POST to Ready, p50 and p99)
        note reference: edge computing reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: serverless reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: AI inference reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: case 1: 5G MEC (Inspur Cloud) reports start-up <=6ms, and WasmEdge + crun states 6ms..10ms
        note reference: case 2: industrial IoT (Huawei) reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: case 3: online game (Tencent) reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: case 4: serverless functions reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: case 5: Huawei MEC reports memory of the control plane <300MB, and K3s states 250MB
        note reference: case 5: Huawei MEC reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: case 7: AWS Lambda with Wasm reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: case 8: Second State functions reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: 5G MEC reports start-up <=6ms, and WasmEdge + crun states 6ms..10ms
        note reference: industrial IoT reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: online game reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: light functions reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
        note reference: functions as a service reports start-up <10ms, and WasmEdge + crun states 6ms..10ms
    "#]].assert_eq(&out);
}
