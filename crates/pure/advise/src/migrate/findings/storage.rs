//! Claims, classes, and what works on etcd itself.

use serde_json::Value;

use super::{Change, Notes, group, kind, list, pods};

/// Provisioners that a bare K3s has.
const K3S_PROVISIONERS: &[&str] = &["rancher.io/local-path", "kubernetes.io/no-provisioner"];

pub(super) fn judge(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    match (group(object), kind(object)) {
        ("", "PersistentVolumeClaim") => claim(object, "spec", "", change, notes),
        ("apps", "StatefulSet") => {
            for (at, template) in list(object, "/spec/volumeClaimTemplates").iter().enumerate() {
                let path = format!("spec.volumeClaimTemplates[{at}].spec");
                claim(template, &path, "volumeClaimTemplates: ", change, notes);
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            let provisioner = object["provisioner"].as_str().unwrap_or_default();
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("-");
            if moves(change) && !K3S_PROVISIONERS.contains(&provisioner) {
                notes.add("storage-class", "provisioner", &format!("{name} ({provisioner})"));
            }
        }
        _ => {}
    }
    if change.leaves("storage", "etcd") {
        etcd(object, notes);
    }
}

/// Whether the cluster becomes one that brings its own storage.
fn moves(change: &Change<'_>) -> bool {
    change.becomes("orchestration", "k3s") || change.to_eyot()
}

fn claim(object: &Value, path: &str, prefix: &str, change: &Change<'_>, notes: &mut Notes<'_>) {
    if !moves(change) {
        return;
    }
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("-");
    let value = format!("{prefix}{name}");
    let shared = list(object, "/spec/accessModes").iter().any(|it| it == "ReadWriteMany" || it == "ReadOnlyMany");
    if object.pointer("/spec/volumeMode").and_then(Value::as_str) == Some("Block")
        && (change.to_wasm() || change.to_eyot())
    {
        notes.add("block-volume", format!("{path}.volumeMode"), &value);
    }
    match () {
        () if change.to_eyot() => notes.add("claim-eyot", path, &value),
        () if shared => notes.add("claim-many", format!("{path}.accessModes"), &value),
        () => notes.add("claim", path, &value),
    }
}

/// What speaks to etcd by name.
fn etcd(object: &Value, notes: &mut Notes<'_>) {
    let group = group(object);
    if group.contains("etcd") {
        notes.add("etcd-only", "", &format!("{group}/{}", kind(object)));
    }
    if group == "apiserver.config.k8s.io" && kind(object) == "EncryptionConfiguration" {
        notes.add("etcd-only", "", "EncryptionConfiguration");
    }
    let Some((path, spec)) = pods::pod(object) else { return };
    for of in ["initContainers", "containers"] {
        for (at, container) in list(spec, &format!("/{of}")).iter().enumerate() {
            let image = container["image"].as_str().unwrap_or_default();
            let words = list(container, "/command").iter().chain(list(container, "/args")).filter_map(Value::as_str);
            let command = words.collect::<Vec<_>>().join(" ");
            let program = image.rsplit('/').next().unwrap_or_default();
            let speaks = ["etcdctl", "etcdutl", "--etcd-servers", "--etcd-endpoints", "ETCDCTL_API"];
            let mut environment = list(container, "/env").iter().filter_map(|it| it["name"].as_str());
            let told = environment.find(|it| it.starts_with("ETCD"));
            let found = match () {
                () if program.starts_with("etcd") => Some(image.to_owned()),
                () => speaks
                    .iter()
                    .find(|it| command.contains(**it))
                    .map(|it| (*it).to_owned())
                    .or(told.map(str::to_owned)),
            };
            if let Some(found) = found {
                notes.add("etcd-only", format!("{path}.{of}[{at}]"), &found);
            }
        }
    }
}
