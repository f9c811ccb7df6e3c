//! Whatever holds a pod: images, commands, probes, host access, volumes.

use serde_json::Value;

use super::{Change, Notes, group, kind, list};

const SHELLS: &[&str] = &["sh", "bash", "ash", "dash", "zsh"];
/// Volumes that Kubernetes itself makes, and that Eyot mounts; the others need a driver on the host.
const OWN_VOLUMES: &[&str] = &["configMap", "secret", "emptyDir", "projected", "downwardAPI", "image", "ephemeral"];
pub(super) fn judge(object: &Value, change: &Change<'_>, notes: &mut Notes<'_>) {
    let Some((path, spec)) = pod(object) else { return };
    if runs_wasm_already(object, spec) {
        return;
    }
    let host = host_access(spec, path, change, notes);
    if kind(object) == "DaemonSet" && !host.is_empty() && (change.to_wasm() || change.to_eyot()) {
        notes.add("node-agent", path, &host.join(", "));
    }
    volumes(spec, path, change, notes);
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    for of in lists {
        for (at, container) in list(spec, &format!("/{of}")).iter().enumerate() {
            let path = format!("{path}.{of}[{at}]");
            if change.to_wasm() || change.to_eyot() {
                program(container, &path, change, notes);
                restrictions(container, &path, notes);
            } else if moves(change) && container.pointer("/securityContext/privileged") == Some(&Value::Bool(true)) {
                notes.add("privileged-kept", format!("{path}.securityContext.privileged"), "");
            }
        }
    }
    placement(object, spec, path, change, notes);
}

/// Whether pods come to another cluster.
fn moves(change: &Change<'_>) -> bool {
    change.from.get("orchestration") != change.to.get("orchestration")
}

/// The pod of an object and its path.
pub(super) fn pod(object: &Value) -> Option<(&'static str, &Value)> {
    let path = match (group(object), kind(object)) {
        ("", "Pod") => "spec",
        ("", "ReplicationController" | "PodTemplate") => "spec.template.spec",
        ("apps" | "extensions", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => "spec.template.spec",
        ("batch", "Job") => "spec.template.spec",
        ("batch", "CronJob") => "spec.jobTemplate.spec.template.spec",
        _ => return None,
    };
    object.pointer(&format!("/{}", path.replace('.', "/"))).map(|spec| (path, spec))
}

/// Whether the pod says that it is WebAssembly.
fn runs_wasm_already(object: &Value, spec: &Value) -> bool {
    let class = spec["runtimeClassName"].as_str().unwrap_or_default();
    let wasm = |it: &str| ["wasm", "wasmedge", "wasmtime", "spin", "slight"].iter().any(|word| it.contains(word));
    let annotation = "module.wasm.image/variant";
    wasm(class)
        || object.pointer("/spec/template/metadata/annotations").is_some_and(|it| it.get(annotation).is_some())
        || object.pointer("/metadata/annotations").is_some_and(|it| it.get(annotation).is_some())
}

/// What a container runs, and how it is asked about itself.
fn program(container: &Value, path: &str, change: &Change<'_>, notes: &mut Notes<'_>) {
    let image = container["image"].as_str().unwrap_or_default();
    let words = words(image);
    let known = |list: &[String]| list.iter().any(|known| words.iter().any(|word| word.starts_with(known)));
    let rule = match () {
        () if known(&notes.book.images.stateful) => "image-stateful",
        () if known(&notes.book.images.languages) => "image-language",
        () => "image",
    };
    if !image.is_empty() && (rule != "image" || !change.from.runs_wasm()) {
        notes.add(rule, format!("{path}.image"), image);
    }
    let command = list(container, "/command").iter().chain(list(container, "/args")).filter_map(Value::as_str);
    let command: Vec<&str> = command.collect();
    let first = command.first().and_then(|it| it.rsplit('/').next()).unwrap_or_default();
    if SHELLS.contains(&first) {
        notes.add("shell", format!("{path}.command"), &short(&command.join(" ")));
    }
    let asked = ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    for field in asked {
        // Eyot runs programs of the image for this.
        if container.pointer(&format!("{field}/exec")).is_some() && !change.to.is("orchestration", "eyot") {
            let field = field[1..].replace('/', ".");
            notes.add("exec-probe", format!("{path}.{field}.exec"), &field);
        }
    }
}

/// What a container may do, and what it asks for.
fn restrictions(container: &Value, path: &str, notes: &mut Notes<'_>) {
    let security = &container["securityContext"];
    if security["privileged"] == Value::Bool(true) {
        notes.add("privileged", format!("{path}.securityContext.privileged"), "");
    }
    let added: Vec<&str> = list(security, "/capabilities/add").iter().filter_map(Value::as_str).collect();
    if !added.is_empty() {
        notes.add("capabilities", format!("{path}.securityContext.capabilities.add"), &added.join(", "));
    }
    let resources = ["/resources/limits", "/resources/requests"];
    let named = resources.iter().filter_map(|it| container.pointer(it)?.as_object()).flat_map(|it| it.keys());
    for name in named.filter(|it| it.contains('/') || it.starts_with("hugepages-")) {
        notes.add("devices", format!("{path}.resources"), name);
    }
    for (at, port) in list(container, "/ports").iter().enumerate() {
        if let Some(number) = port["hostPort"].as_u64() {
            notes.add("host-port", format!("{path}.ports[{at}].hostPort"), &number.to_string());
        }
    }
}

/// What of the host the pod reaches into; reported too, where a guest cannot.
fn host_access(spec: &Value, path: &str, change: &Change<'_>, notes: &mut Notes<'_>) -> Vec<String> {
    let mut reached = Vec::new();
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[field] == Value::Bool(true) {
            if change.to_wasm() || change.to_eyot() {
                notes.add("host-namespaces", format!("{path}.{field}"), field);
            }
            reached.push(field.to_owned());
        }
    }
    if list(spec, "/containers").iter().any(|it| it.pointer("/securityContext/privileged") == Some(&Value::Bool(true)))
    {
        reached.push("privileged".to_owned());
    }
    let paths = list(spec, "/volumes").iter().filter_map(|it| it.pointer("/hostPath/path")?.as_str());
    reached.extend(paths.map(str::to_owned));
    reached
}

fn volumes(spec: &Value, path: &str, change: &Change<'_>, notes: &mut Notes<'_>) {
    let guest = change.to_wasm() || change.to_eyot();
    for (at, volume) in list(spec, "/volumes").iter().enumerate() {
        let name = volume["name"].as_str().unwrap_or("-");
        let path = format!("{path}.volumes[{at}]");
        if let Some(host) = volume.pointer("/hostPath/path").and_then(Value::as_str) {
            let of = volume.pointer("/hostPath/type").and_then(Value::as_str).unwrap_or_default();
            let socket = host.ends_with(".sock") || matches!(of, "Socket" | "CharDevice" | "BlockDevice");
            if host.contains("etcd") && change.leaves("storage", "etcd") {
                notes.add("etcd-only", path.clone(), host);
            }
            match () {
                () if !guest => {}
                () if socket || host.starts_with("/dev") => notes.add("host-socket", path, host),
                () => notes.add("host-path", path, host),
            }
            continue;
        }
        // A claim is judged where it is made.
        if volume.get("persistentVolumeClaim").is_some() {
            continue;
        }
        let kinds: Vec<&String> =
            volume.as_object().into_iter().flat_map(|it| it.keys()).filter(|it| *it != "name").collect();
        let foreign = kinds.iter().any(|it| !OWN_VOLUMES.contains(&it.as_str()));
        if foreign && (guest || change.becomes("orchestration", "k3s")) {
            let of = kinds.first().map_or("?", |it| it.as_str());
            notes.add("volume", path, &format!("{name} ({of})"));
        }
    }
    for container in list(spec, "/containers") {
        for device in list(container, "/volumeDevices").iter().filter(|_| guest) {
            notes.add("block-volume", format!("{path}.containers"), device["name"].as_str().unwrap_or("-"));
        }
    }
}

fn placement(object: &Value, spec: &Value, path: &str, change: &Change<'_>, notes: &mut Notes<'_>) {
    let moved = moves(change);
    let control = |it: &str| {
        it.contains("node-role.kubernetes.io/control-plane") || it.contains("node-role.kubernetes.io/master")
    };
    for name in spec["nodeSelector"].as_object().into_iter().flat_map(|it| it.keys()).filter(|_| moved) {
        let own = ["kubernetes.io/os", "kubernetes.io/hostname"];
        if !own.contains(&name.as_str()) {
            notes.add("architecture", format!("{path}.nodeSelector"), name);
        }
        if control(name)
            && change.becomes("storage", "sqlite")
            && object.pointer("/spec/replicas").and_then(Value::as_u64) > Some(1)
        {
            notes.add("ha-control-plane", format!("{path}.nodeSelector"), name);
        }
    }
    let required = "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    if moved && replicas > 1 && !list(spec, required).is_empty() {
        notes.add("many-replicas", format!("{path}.affinity.podAntiAffinity"), &replicas.to_string());
    }
    let annotations =
        ["/spec/template/metadata/annotations", "/metadata/annotations", "/spec/template/metadata/labels"];
    for (name, value) in annotations.iter().filter_map(|it| object.pointer(it)?.as_object()).flatten() {
        let injects = matches!(name.as_str(), "sidecar.istio.io/inject" | "linkerd.io/inject");
        let on = matches!(value.as_str(), Some("true" | "enabled"));
        if injects && on && change.to_wasm() {
            notes.add("sidecar", format!("{path}: {name}"), name);
        }
    }
}

/// The words of an image's repository: `bitnami/postgresql:16` gives `bitnami`, `postgresql`.
fn words(image: &str) -> Vec<String> {
    let image = image.split('@').next().unwrap_or_default();
    let (path, tag) = match image.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (image, ""),
    };
    // The host of the registry says nothing of the program.
    let path = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => path,
    };
    path.split(['/', '-', '_']).chain(tag.split('-').skip(1)).map(str::to_lowercase).collect()
}

/// The beginning of a long text.
fn short(text: &str) -> String {
    const LENGTH_MAX: usize = 40;
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() <= LENGTH_MAX {
        return one_line;
    }
    one_line.chars().take(LENGTH_MAX - 1).chain(['…']).collect()
}
