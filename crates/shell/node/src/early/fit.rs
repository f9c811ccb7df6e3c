//! What this node can do without a pod. Pure.
//!
//! Start at [`unfit`] and [`repelled`]. Whatever depends on which pod a guest is in, or says when it is ready, has to wait for
//! the pod.

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec, Taint};

use crate::volumes::Part;

/// Fields that are the same for every pod of a template.
const LASTING: [&str; 4] = ["metadata.namespace", "spec.nodeName", "spec.serviceAccountName", "status.hostIP"];

/// Why guests of this pod cannot do without it; `None` where they can.
pub(super) fn unfit(pod: &Pod, node: &str) -> Option<&'static str> {
    let Some(spec) = &pod.spec else { return Some("it has no spec") };
    let [container] = spec.containers.as_slice() else { return Some("it has several containers") };
    let has_init = spec.init_containers.as_ref().is_some_and(|it| !it.is_empty());
    let has_aliases = spec.host_aliases.as_ref().is_some_and(|it| !it.is_empty());
    let elsewhere = spec.node_name.as_deref().is_some_and(|it| !it.is_empty() && it != node);
    let reasons = [
        (has_init, "it has init containers"),
        (has_aliases, "it has names of its own"),
        (elsewhere, "it belongs to another node"),
        (is_choosy(spec), "the scheduler has to choose its node"),
        (spec.enable_service_links != Some(false), "it is told of Services when it starts"),
        (Part::Early.volumes(pod).next().is_some(), "it has volumes"),
        (container.readiness_probe.is_some() || container.startup_probe.is_some(), "a probe says when it is ready"),
        (container.lifecycle.is_some(), "it has hooks"),
        (names_its_pod(container), "its environment depends on the pod"),
    ];
    reasons.into_iter().find(|it| it.0).map(|it| it.1)
}

/// Whether the pod asks for more than an open node with room.
fn is_choosy(spec: &PodSpec) -> bool {
    fn some<T>(list: &Option<Vec<T>>) -> bool {
        list.as_ref().is_some_and(|it| !it.is_empty())
    }
    let scheduler = spec.scheduler_name.as_deref().unwrap_or("default-scheduler");
    let ports = spec.containers.iter().flat_map(|it| it.ports.iter().flatten());
    spec.node_selector.as_ref().is_some_and(|it| !it.is_empty())
        || spec.affinity.is_some()
        || some(&spec.topology_spread_constraints)
        || some(&spec.scheduling_gates)
        || some(&spec.resource_claims)
        || scheduler != "default-scheduler"
        || ports.into_iter().any(|it| it.host_port.is_some())
}

fn names_its_pod(container: &Container) -> bool {
    let sources = container.env.iter().flatten().filter_map(|it| it.value_from.as_ref());
    let mut paths = sources.filter_map(|it| Some(it.field_ref.as_ref()?.field_path.as_str()));
    // Labels and annotations follow from the template, but those of the pod itself are added by who makes it.
    paths.any(|it| !LASTING.contains(&it))
}

/// Why the node takes no such pod now; `None` where it does.
pub(super) fn repelled(pod: &Pod, node: &Node) -> Option<&'static str> {
    let spec = node.spec.as_ref();
    if spec.is_some_and(|it| it.unschedulable == Some(true)) {
        return Some("the node is cordoned");
    }
    let tolerations = pod.spec.iter().flat_map(|it| it.tolerations.iter().flatten());
    let tolerations: Vec<_> = tolerations.collect();
    let tolerated = |taint: &Taint| {
        tolerations.iter().any(|it| {
            let exists = it.operator.as_deref() == Some("Exists");
            let key = it.key.as_deref().unwrap_or_default();
            let effect = it.effect.as_deref().unwrap_or_default();
            (effect.is_empty() || effect == taint.effect)
                && (key == taint.key || (key.is_empty() && exists))
                && (exists || it.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default())
        })
    };
    let mut taints = spec.iter().flat_map(|it| it.taints.iter().flatten());
    let keeps_away = taints.any(|it| it.effect != "PreferNoSchedule" && !tolerated(it));
    keeps_away.then_some("the node has taints that it does not tolerate")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({"spec": {
            "nodeName": "n", "enableServiceLinks": false, "schedulerName": "default-scheduler",
            "containers": [{"name": "a", "image": "x", "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}],
            "volumes": [{"name": "kube-api-access-x", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}],
        }});
        change(&mut pod["spec"]);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn what_depends_on_its_pod_waits_for_it() {
        assert_eq!(unfit(&pod(|_| {}), "n"), None);
        assert_eq!(unfit(&pod(|it| it["nodeName"] = Value::Null), "n"), None, "it asks for resources, and no more");
        let field = |path: &str| json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]);
        for (reason, change) in [
            ("several", (|it: &mut Value| it["containers"] = json!([{"name": "a"}, {"name": "b"}])) as fn(&mut Value)),
            ("init", |it| it["initContainers"] = json!([{"name": "a"}])),
            ("names of its own", |it| it["hostAliases"] = json!([{"ip": "1.2.3.4", "hostnames": ["a"]}])),
            ("another node", |it| it["nodeName"] = "m".into()),
            ("scheduler", |it| it["nodeSelector"] = json!({"a": "b"})),
            ("scheduler", |it| it["containers"][0]["ports"] = json!([{"containerPort": 1, "hostPort": 1}])),
            ("Services", |it| it["enableServiceLinks"] = true.into()),
            ("volumes", |it| it["volumes"] = json!([{"name": "e", "emptyDir": {}}])),
            ("probe", |it| it["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 1}})),
            ("hooks", |it| it["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 1}}})),
        ] {
            let found = unfit(&pod(change), "n").unwrap_or_default();
            assert!(found.contains(reason), "{found:?} for {reason}");
        }
        for path in ["metadata.name", "metadata.uid", "status.podIP", "metadata.labels['pod-template-hash']"] {
            let found = unfit(&pod(|it| it["containers"][0]["env"] = field(path)), "n");
            assert_eq!(found, Some("its environment depends on the pod"), "{path}");
        }
    }

    #[test]
    fn a_node_that_takes_no_pods_answers_for_none() {
        let node = |spec: Value| serde_json::from_value::<Node>(json!({"spec": spec})).unwrap();
        let tolerant = pod(|it| it["tolerations"] = json!([{"key": "a", "operator": "Equal", "value": "b"}]));
        assert_eq!(repelled(&pod(|_| {}), &node(json!({}))), None);
        assert_eq!(repelled(&pod(|_| {}), &node(json!({"unschedulable": true}))), Some("the node is cordoned"));
        let tainted = node(json!({"taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]}));
        assert!(repelled(&pod(|_| {}), &tainted).is_some() && repelled(&tolerant, &tainted).is_none());
        let soft = node(json!({"taints": [{"key": "a", "effect": "PreferNoSchedule"}]}));
        assert_eq!(repelled(&pod(|_| {}), &soft), None);
    }
}
