//! The checks of the level `baseline`, in the order in which Kubernetes reports them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Pod, Violation, named, plural, quoted, setters};
use crate::meta;

pub(super) const APPARMOR_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
pub(super) const SECCOMP_MARK: &str = "seccomp.security.alpha.kubernetes.io/";

/// Runs the checks. Those that `restricted` has in a stricter form are left to it when `stricter`.
pub(super) fn check(pod: &Pod<'_>, stricter: bool) -> Vec<Violation> {
    let capabilities = if stricter && pod.since(22) { None } else { capabilities(pod) };
    let seccomp = match (stricter && pod.since(19), pod.since(19)) {
        (true, _) => None,
        (false, true) => seccomp(pod),
        (false, false) => seccomp_annotations(pod),
    };
    let host_paths = if stricter { None } else { host_paths(pod) };
    let found = [
        apparmor(pod),
        capabilities,
        namespaces(pod),
        host_paths,
        host_ports(pod),
        probe_hosts(pod),
        privileged(pod),
        proc_mount(pod),
        selinux(pod),
        seccomp,
        sysctls(pod),
        windows_host_process(pod),
    ];
    found.into_iter().flatten().collect()
}

fn apparmor(pod: &Pod<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut bad = |context: &Value| {
        let of_type = context["appArmorProfile"]["type"].as_str();
        let bad = of_type.filter(|it| !matches!(*it, "RuntimeDefault" | "Localhost"));
        values.extend(bad.map(str::to_owned));
        bad.is_some()
    };
    let own = bad(pod.security);
    let containers = pod.containers(|it| bad(&it["securityContext"]));
    let mut who: Vec<String> = Some(setters(own, &containers)).filter(|it| !it.is_empty()).into_iter().collect();
    let allowed = |it: &str| matches!(it, "" | "runtime/default") || it.starts_with("localhost/");
    let mut annotations: Vec<(&str, &str)> = meta::annotations(pod.object)
        .filter(|(key, value)| key.starts_with(APPARMOR_PREFIX) && !allowed(value))
        .collect();
    annotations.sort_unstable();
    if !annotations.is_empty() {
        let keys: Vec<&str> = annotations.iter().map(|it| it.0).collect();
        who.push(format!("{} {}", plural(keys.len(), "annotation", "annotations"), quoted(&keys)));
        values.extend(annotations.iter().map(|it| it.1.to_owned()));
    }
    if who.is_empty() {
        return None;
    }
    let values: Vec<String> = values.into_iter().collect();
    let reason = plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles");
    let detail = format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(&values));
    Some(Violation::new(reason, detail))
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    const ALLOWED: [&str; 13] = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    let mut added = BTreeSet::new();
    let containers = pod.containers(|it| added_beyond(it, &ALLOWED, &mut added));
    if containers.is_empty() {
        return None;
    }
    let added: Vec<String> = added.into_iter().collect();
    let who = named(&containers);
    let detail = format!("{who} must not include {} in securityContext.capabilities.add", quoted(&added));
    Some(Violation::new("non-default capabilities", detail))
}

/// Collects the capabilities a container adds beyond those allowed, and says whether there are any.
pub(super) fn added_beyond(container: &Value, allowed: &[&str], added: &mut BTreeSet<String>) -> bool {
    let list = meta::list(container.pointer("/securityContext/capabilities/add")).iter();
    let bad: Vec<&str> = list.filter_map(Value::as_str).filter(|it| !allowed.contains(it)).collect();
    added.extend(bad.iter().map(|it| (*it).to_owned()));
    !bad.is_empty()
}

fn namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let fields = ["hostNetwork", "hostPID", "hostIPC"];
    let used: Vec<String> = fields.iter().filter(|it| pod.spec[**it] == true).map(|it| format!("{it}=true")).collect();
    (!used.is_empty()).then(|| Violation::new("host namespaces", used.join(", ")))
}

fn host_paths(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = meta::list(pod.spec.get("volumes")).iter().filter(|it| it.get("hostPath").is_some());
    let names: Vec<&str> = volumes.map(|it| it["name"].as_str().unwrap_or_default()).collect();
    let detail = || format!("{} {}", plural(names.len(), "volume", "volumes"), quoted(&names));
    (!names.is_empty()).then(|| Violation::new("hostPath volumes", detail()))
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let containers = pod.containers(|it| {
        let list = meta::list(it.get("ports")).iter();
        let used: Vec<i64> = list.filter_map(|it| it["hostPort"].as_i64()).filter(|it| *it != 0).collect();
        ports.extend(used.iter().map(i64::to_string));
        !used.is_empty()
    });
    if containers.is_empty() {
        return None;
    }
    let ports: Vec<String> = ports.into_iter().collect();
    let verb = plural(containers.len(), "uses", "use");
    let what = plural(ports.len(), "hostPort", "hostPorts");
    Some(Violation::new("hostPort", format!("{} {verb} {what} {}", named(&containers), ports.join(", "))))
}

fn probe_hosts(pod: &Pod<'_>) -> Option<Violation> {
    if !pod.since(34) {
        return None;
    }
    let mut hosts = BTreeSet::new();
    let mut containers = pod.containers(|container| {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|it| &container[it]);
        let hooks = ["postStart", "preStop"].map(|it| &container["lifecycle"][it]);
        let handlers = probes.into_iter().chain(hooks).flat_map(|it| [&it["httpGet"], &it["tcpSocket"]]);
        let found: Vec<&str> = handlers.filter_map(|it| it.get("host")?.as_str()).filter(|it| !it.is_empty()).collect();
        hosts.extend(found.iter().map(|it| (*it).to_owned()));
        !found.is_empty()
    });
    if containers.is_empty() {
        return None;
    }
    containers.sort_unstable();
    let hosts: Vec<String> = hosts.into_iter().collect();
    let verb = plural(containers.len(), "uses", "use");
    let what = plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts");
    let detail = format!("{} {verb} {what} {}", named(&containers), quoted(&hosts));
    Some(Violation::new("probe or lifecycle host", detail))
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let containers = pod.containers(|it| it["securityContext"]["privileged"] == true);
    let detail = || format!("{} must not set securityContext.privileged=true", named(&containers));
    (!containers.is_empty()).then(|| Violation::new("privileged", detail()))
}

fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() {
        return None;
    }
    let mut types = BTreeSet::new();
    let containers = pod.containers(|it| {
        let bad = it["securityContext"]["procMount"].as_str().filter(|it| *it != "Default");
        types.extend(bad.map(str::to_owned));
        bad.is_some()
    });
    let types: Vec<String> = types.into_iter().collect();
    let detail = || format!("{} must not set securityContext.procMount to {}", named(&containers), quoted(&types));
    (!containers.is_empty()).then(|| Violation::new("procMount", detail()))
}

fn selinux(pod: &Pod<'_>) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut bad = |context: &Value| {
        let text = |field: &str| context["seLinuxOptions"][field].as_str().unwrap_or_default();
        let known = match text("type") {
            "" | "container_t" | "container_init_t" | "container_kvm_t" => true,
            "container_engine_t" => pod.since(31),
            _ => false,
        };
        if !known {
            types.insert(text("type").to_owned());
        }
        user |= !text("user").is_empty();
        role |= !text("role").is_empty();
        !known || !text("user").is_empty() || !text("role").is_empty()
    };
    let own = bad(pod.security);
    let containers = pod.containers(|it| bad(&it["securityContext"]));
    let who = setters(own, &containers);
    if who.is_empty() {
        return None;
    }
    let types: Vec<String> = types.into_iter().collect();
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural(types.len(), "type", "types"), quoted(&types)));
    }
    what.extend(user.then(|| "user may not be set".to_owned()));
    what.extend(role.then(|| "role may not be set".to_owned()));
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; "));
    Some(Violation::new("seLinuxOptions", detail))
}

/// Whether a profile is one that confines.
pub(super) fn confines(of_type: &str) -> bool {
    matches!(of_type, "RuntimeDefault" | "Localhost")
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut bad = |context: &Value| {
        let profile = context.get("seccompProfile").map(|it| it["type"].as_str().unwrap_or_default());
        let bad = profile.filter(|it| !confines(it));
        values.extend(bad.map(str::to_owned));
        bad.is_some()
    };
    let own = bad(pod.security);
    let containers = pod.containers(|it| bad(&it["securityContext"]));
    let (who, values) = (setters(own, &containers), values.into_iter().collect::<Vec<_>>());
    let detail = || format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(&values));
    (!who.is_empty()).then(|| Violation::new("seccompProfile", detail()))
}

/// Before 1.19 profiles were named by annotations.
fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let allowed = |it: &str| matches!(it, "runtime/default" | "docker/default") || it.starts_with("localhost/");
    let mut bad: Vec<String> = meta::annotations(pod.object)
        .filter(|(key, value)| {
            let container = key.strip_prefix("container.").and_then(|it| it.strip_prefix(SECCOMP_MARK));
            let ours = match container {
                Some(name) => pod.containers.iter().any(|it| it["name"] == name),
                None => key.strip_prefix(SECCOMP_MARK) == Some("pod"),
            };
            ours && !allowed(value)
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    bad.sort_unstable();
    let detail = || format!("forbidden {} {}", plural(bad.len(), "annotation", "annotations"), bad.join(", "));
    (!bad.is_empty()).then(|| Violation::new("seccompProfile", detail()))
}

fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    let allowed = |name: &str| match name {
        "kernel.shm_rmid_forced"
        | "net.ipv4.ip_local_port_range"
        | "net.ipv4.tcp_syncookies"
        | "net.ipv4.ping_group_range"
        | "net.ipv4.ip_unprivileged_port_start" => true,
        "net.ipv4.ip_local_reserved_ports" => pod.since(27),
        "net.ipv4.tcp_keepalive_time"
        | "net.ipv4.tcp_fin_timeout"
        | "net.ipv4.tcp_keepalive_intvl"
        | "net.ipv4.tcp_keepalive_probes" => pod.since(29),
        "net.ipv4.tcp_rmem" | "net.ipv4.tcp_wmem" => pod.since(32),
        _ => false,
    };
    let names = meta::list(pod.security.get("sysctls")).iter().map(|it| it["name"].as_str().unwrap_or_default());
    let bad: Vec<&str> = names.filter(|it| !allowed(it)).collect();
    (!bad.is_empty()).then(|| Violation::new("forbidden sysctls", bad.join(", ")))
}

fn windows_host_process(pod: &Pod<'_>) -> Option<Violation> {
    let is_host = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let who = setters(is_host(pod.security), &pod.containers(|it| is_host(&it["securityContext"])));
    let detail = || format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    (!who.is_empty()).then(|| Violation::new("hostProcess", detail()))
}
