//! What the server itself decides about an object that is written: metadata it owns, generation, status.
//!
//! Start at [`create`], [`update`] and [`update_status`]. They run after [`crate::defaults`] and before
//! [`crate::validate`]. `resourceVersion` is the store's, addresses of services and deletion are the API server's.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{custom, kinds::Kind, meta, quantity::Quantity};

/// Metadata fields that only the server sets. `managedFields` is not here: [`crate::apply`] decides about it before.
const OWNED: &[&str] =
    &["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

/// Whether the kind counts generations: `metadata.generation` grows with each change of what is asked for.
pub fn has_generation(kind: &Kind) -> bool {
    if kind.custom.is_some() {
        return true;
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod" | "PodTemplate" | "ReplicationController") => true,
        ("apps", "ControllerRevision") => false,
        ("networking.k8s.io", "Ingress" | "IngressClass" | "NetworkPolicy") => true,
        ("discovery.k8s.io", "EndpointSlice") | ("scheduling.k8s.io", "PriorityClass") => true,
        ("resource.k8s.io", "DeviceClass" | "ResourceSlice") => true,
        (group, _) => {
            ["apps", "batch", "policy", "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"].contains(&group)
                || ["gateway.networking.k8s.io", "apiextensions.k8s.io"].contains(&group)
        }
    }
}

/// Makes a new object the server's own: fresh metadata, generation 1, the status of a beginner.
///
/// The name must be settled ([`generated_name`]). Status is dropped where the kind has the subresource, except for
/// nodes, which register with theirs.
pub fn create(kind: &Kind, object: &mut Value, uid: &str, now: Timestamp) {
    let metadata = meta::metadata_mut(object);
    OWNED.iter().chain(&["resourceVersion"]).for_each(|field| {
        metadata.remove(*field);
    });
    metadata.insert("uid".into(), uid.into());
    metadata.insert("creationTimestamp".into(), meta::format_time(now).into());
    if has_generation(kind) {
        metadata.insert("generation".into(), 1.into());
    }
    if kind.is("batch", "Job") {
        select_by_uid(object, uid);
    }
    if kind.is("", "Namespace") {
        meta::entry(object, "spec").insert("finalizers".into(), json!(["kubernetes"]));
    }
    if kind.subresource("status").is_some() && !kind.is("", "Node") {
        let status = first_status(kind, object);
        match status {
            Some(status) => meta::as_map(object).insert("status".into(), status),
            None => meta::as_map(object).remove("status"),
        };
    }
}

/// Carries over what an update may not change, keeps the stored status, and counts the generation.
pub fn update(kind: &Kind, new: &mut Value, old: &Value) {
    keep_metadata(new, old);
    if kind.subresource("status").is_some() {
        keep(new, old, "status");
    }
    if kind.is("", "Namespace") {
        // Only `/finalize` takes them away.
        let finalizers = old.pointer("/spec/finalizers").cloned().unwrap_or_else(|| json!([]));
        meta::entry(new, "spec").insert("finalizers".into(), finalizers);
    }
    if kind.is("", "Service") {
        keep_allocations(new, old);
    }
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        custom::prepare::remember_storage_version(new);
    }
    let restarted = kind.is("apps", "Deployment") && annotations(new) != annotations(old);
    // Without the subresource, a custom object's status is a field like any other.
    let plain_status = kind.custom.is_some() && kind.subresource("status").is_none();
    let status_changed = plain_status && new.get("status") != old.get("status");
    if has_generation(kind) && (restarted || status_changed || changed(new, old)) {
        let next = meta::generation(old) + 1;
        meta::metadata_mut(new).insert("generation".into(), next.into());
    }
}

/// Takes only the status and the metadata (labels, annotations, finalizers) from a write to `/status`; of custom
/// objects only the status.
pub fn update_status(kind: &Kind, new: &mut Value, old: &Value) {
    if kind.custom.is_some() {
        custom::prepare::update_status(new, old);
        return;
    }
    keep_metadata(new, old);
    let is_kept = |field: &str| !matches!(field, "apiVersion" | "kind" | "metadata" | "status");
    meta::as_map(new).retain(|field, _| !is_kept(field) || old.get(field).is_some());
    for field in old.as_object().into_iter().flat_map(|it| it.keys()).filter(|it| is_kept(it)) {
        keep(new, old, field);
    }
    if kind.is("", "Pod") {
        // A node reports on its pods; it does not disown them.
        let owners = old.pointer("/metadata/ownerReferences").cloned();
        let metadata = meta::metadata_mut(new);
        match owners {
            Some(owners) => metadata.insert("ownerReferences".into(), owners),
            None => metadata.remove("ownerReferences"),
        };
    }
}

/// A name from `generateName` and five random bytes, as Kubernetes makes it.
pub fn generated_name(base: &str, random: [u8; 5]) -> String {
    // No vowels, so that no words arise, and no characters that are easily confused.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const BASE_MAX: usize = 58;
    let mut end = base.len().min(BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let suffix: String = random.iter().map(|it| char::from(ALPHABET[usize::from(*it) % ALPHABET.len()])).collect();
    format!("{}{suffix}", &base[..end])
}

/// The quality-of-service class of a pod, by how its containers bound what they use.
pub fn qos_class(pod: &Value) -> &'static str {
    let lists = ["/spec/containers", "/spec/initContainers"];
    let (mut bounded, mut any) = (true, false);
    for container in lists.iter().flat_map(|it| meta::list(pod.pointer(it))) {
        for name in ["cpu", "memory"] {
            let amount = |list: &str| {
                let text = container.get("resources")?.get(list)?.get(name)?.as_str()?;
                text.parse::<Quantity>().ok().filter(|it| !it.is_zero())
            };
            let (limit, request) = (amount("limits"), amount("requests"));
            any |= limit.is_some() || request.is_some();
            bounded &= limit.is_some() && request.is_none_or(|it| limit == Some(it));
        }
    }
    match (any, bounded) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The status an object begins with; `None` for no status at all.
fn first_status(kind: &Kind, object: &Value) -> Option<Value> {
    let unknown = |of_type: &str| {
        json!({
            "type": of_type,
            "status": "Unknown",
            "reason": "Pending",
            "message": "Waiting for controller",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => json!({"phase": "Pending", "qosClass": qos_class(object)}),
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "PersistentVolume" | "PersistentVolumeClaim") => json!({"phase": "Pending"}),
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("", "ReplicationController") | ("apps", "ReplicaSet") => json!({"replicas": 0}),
        ("apps", "StatefulSet") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "DaemonSet") => json!({
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
        }),
        ("apps", "Deployment") | ("batch", "Job" | "CronJob") => json!({}),
        ("gateway.networking.k8s.io", "Gateway") => {
            json!({"conditions": [unknown("Accepted"), unknown("Programmed")]})
        }
        ("gateway.networking.k8s.io", "GatewayClass") => json!({"conditions": [unknown("Accepted")]}),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => json!({
            "acceptedNames": {"kind": "", "plural": ""},
            "conditions": [],
            "storedVersions": custom::prepare::storage_version(object).as_slice(),
        }),
        _ => return None,
    })
}

/// A Job owns the pods that carry its uid, unless its writer selects them by other means.
fn select_by_uid(job: &mut Value, uid: &str) {
    if job.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let name = meta::name(job).unwrap_or("").to_owned();
    let spec = meta::entry(job, "spec");
    let template = meta::as_map(spec.entry("template").or_insert(Value::Null));
    let metadata = meta::as_map(template.entry("metadata").or_insert(Value::Null));
    let labels = meta::as_map(metadata.entry("labels").or_insert(Value::Null));
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", uid),
        ("job-name", &name),
    ] {
        labels.insert(key.into(), value.into());
    }
    spec.insert("selector".into(), json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
}

/// A service that says nothing of its address or node ports keeps those it was given.
fn keep_allocations(new: &mut Value, old: &Value) {
    let kind = |object: &Value| object.pointer("/spec/type").and_then(Value::as_str).unwrap_or("").to_owned();
    let absent = |object: &Value, field: &str| {
        object["spec"][field].as_str().unwrap_or("").is_empty() && object["spec"][field].as_array().is_none()
    };
    if kind(new) == "ExternalName" || kind(old) == "ExternalName" {
        return;
    }
    for field in ["clusterIP", "clusterIPs"] {
        if absent(new, field) && !absent(old, field) {
            let kept = old["spec"][field].clone();
            meta::entry(new, "spec").insert(field.into(), kept);
        }
    }
    if !matches!(kind(new).as_str(), "NodePort" | "LoadBalancer") {
        return;
    }
    let id = |port: &Value| (port["port"].as_i64(), port["protocol"].as_str().map(str::to_owned));
    for port in new.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let before = meta::list(old.pointer("/spec/ports")).iter().find(|it| id(it) == id(port));
        let given = before.map(|it| it["nodePort"].clone()).filter(|it| !it.is_null());
        if let Some(given) = given.filter(|_| port["nodePort"].as_i64().unwrap_or(0) == 0) {
            meta::as_map(port).insert("nodePort".into(), given);
        }
    }
}

fn keep_metadata(new: &mut Value, old: &Value) {
    for field in OWNED {
        let stored = old.get("metadata").and_then(|it| it.get(field)).cloned();
        let metadata = meta::metadata_mut(new);
        match stored {
            Some(stored) => metadata.insert((*field).into(), stored),
            None => metadata.remove(*field),
        };
    }
}

fn keep(new: &mut Value, old: &Value, field: &str) {
    if new.get(field) == old.get(field) {
        return;
    }
    let object = meta::as_map(new);
    match old.get(field) {
        Some(stored) => object.insert(field.into(), stored.clone()),
        None => object.remove(field),
    };
}

fn annotations(object: &Value) -> Option<&Value> {
    object.pointer("/metadata/annotations").filter(|it| it.as_object().is_some_and(|it| !it.is_empty()))
}

/// Whether anything but metadata and status differs.
pub(crate) fn changed(new: &Value, old: &Value) -> bool {
    let fields = [(new, old), (old, new)].into_iter().flat_map(|(from, to)| {
        from.as_object().into_iter().flatten().map(move |(field, value)| (field.as_str(), Some(value), to.get(field)))
    });
    fields
        .filter(|(field, ..)| !matches!(*field, "apiVersion" | "kind" | "metadata" | "status"))
        .any(|(_, here, there)| here != there)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::{kinds::builtin, testing::flat};

    fn kind(api_version: &str, kind: &str) -> &'static Kind {
        builtin().by_api_version(api_version, kind).expect("known")
    }

    fn check(api_version: &str, of: &str, mut object: Value, expected: Expect) {
        create(kind(api_version, of), &mut object, "u-1", "2026-01-01T00:00:00Z".parse().expect("a time"));
        expected.assert_eq(&flat(&object));
    }

    #[test]
    fn new_objects_get_the_servers_metadata_and_a_first_status() {
        let sent = json!({"metadata": {"name": "x", "uid": "forged", "resourceVersion": "7", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}, "status": {"phase": "Running"}});
        check(
            "v1",
            "Pod",
            sent.clone(),
            expect![[r#"
            metadata.creationTimestamp: "2026-01-01T00:00:00Z"
            metadata.generation: 1
            metadata.name: "x"
            metadata.uid: "u-1"
            spec: {}
            status.phase: "Pending"
            status.qosClass: "BestEffort"
        "#]],
        );
        check(
            "v1",
            "Namespace",
            sent.clone(),
            expect![[r#"
            metadata.creationTimestamp: "2026-01-01T00:00:00Z"
            metadata.name: "x"
            metadata.uid: "u-1"
            spec.finalizers[0]: "kubernetes"
            status.phase: "Active"
        "#]],
        );
        check(
            "v1",
            "ConfigMap",
            sent.clone(),
            expect![[r#"
            metadata.creationTimestamp: "2026-01-01T00:00:00Z"
            metadata.name: "x"
            metadata.uid: "u-1"
            spec: {}
            status.phase: "Running"
        "#]],
        );
        check(
            "v1",
            "Node",
            sent.clone(),
            expect![[r#"
            metadata.creationTimestamp: "2026-01-01T00:00:00Z"
            metadata.name: "x"
            metadata.uid: "u-1"
            spec: {}
            status.phase: "Running"
        "#]],
        );
        check(
            "batch/v1",
            "Job",
            json!({"metadata": {"name": "x"}, "spec": {}}),
            expect![[r#"
            metadata.creationTimestamp: "2026-01-01T00:00:00Z"
            metadata.generation: 1
            metadata.name: "x"
            metadata.uid: "u-1"
            spec.selector.matchLabels.batch.kubernetes.io/controller-uid: "u-1"
            spec.template.metadata.labels.batch.kubernetes.io/controller-uid: "u-1"
            spec.template.metadata.labels.batch.kubernetes.io/job-name: "x"
            spec.template.metadata.labels.controller-uid: "u-1"
            spec.template.metadata.labels.job-name: "x"
            status: {}
        "#]],
        );
    }

    #[test]
    fn generation_counts_changes_of_what_is_asked_for() {
        let deployment = kind("apps/v1", "Deployment");
        let old =
            json!({"metadata": {"generation": 3, "uid": "u"}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
        let after = |mut new: Value| {
            update(deployment, &mut new, &old);
            new
        };
        let scaled = after(json!({"metadata": {"generation": 9}, "spec": {"replicas": 2}, "status": {"replicas": 9}}));
        assert_eq!(
            scaled,
            json!({"metadata": {"generation": 4, "uid": "u"}, "spec": {"replicas": 2}, "status": {"replicas": 1}})
        );
        let labelled = after(json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1}}));
        assert_eq!(labelled["metadata"]["generation"], 3);
        let annotated = after(json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": 1}}));
        assert_eq!(annotated["metadata"]["generation"], 4);
    }

    #[test]
    fn status_updates_touch_status_alone() {
        let old = json!({"metadata": {"name": "x", "ownerReferences": [{"uid": "o"}]}, "spec": {"a": 1}});
        let mut new = json!({"metadata": {"name": "x"}, "spec": {"a": 2}, "extra": 1, "status": {"phase": "Running"}});
        update_status(kind("v1", "Pod"), &mut new, &old);
        assert_eq!(
            new,
            json!({"metadata": {"name": "x", "ownerReferences": [{"uid": "o"}]}, "spec": {"a": 1}, "status": {"phase": "Running"}})
        );
    }

    #[test]
    fn services_keep_their_addresses_and_node_ports() {
        let port = |node_port: Value| json!({"port": 80, "protocol": "TCP", "nodePort": node_port});
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.43.0.1", "clusterIPs": ["10.43.0.1"], "ports": [port(json!(30000))]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [port(json!(0))]}});
        update(kind("v1", "Service"), &mut new, &old);
        assert_eq!(new["spec"], old["spec"]);
    }

    #[test]
    fn names_are_generated_within_their_limit() {
        assert_eq!(generated_name("web-", [0, 1, 2, 26, 27]), "web-bcd9b");
        assert_eq!(generated_name(&"é".repeat(40), [0; 5]).len(), 63);
    }

    #[test]
    fn quality_follows_from_resources() {
        let class = |resources: Value| qos_class(&json!({"spec": {"containers": [{"resources": resources}]}}));
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}})), "Guaranteed");
        assert_eq!(class(json!({"limits": {"memory": "1Gi"}})), "Burstable");
    }
}
