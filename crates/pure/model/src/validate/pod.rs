//! Checks of pod specs, in pods and in templates.

use std::collections::HashSet;

use serde_json::Value;

use super::{at::At, container, names, volume};
use crate::status::Cause;

pub(super) fn pod(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let volumes = volume::check(&spec.get("volumes"), causes);
    containers(spec, &volumes, causes);
    spec.get("restartPolicy").one_of(&["Always", "OnFailure", "Never"], causes);
    spec.get("dnsPolicy").one_of(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], causes);
    spec.get("preemptionPolicy").one_of(&["PreemptLowerPriority", "Never"], causes);
    spec.get("nodeName").grammar(names::dns1123_subdomain, causes);
    spec.get("serviceAccountName").grammar(names::dns1123_subdomain, causes);
    spec.get("priorityClassName").grammar(names::dns1123_subdomain, causes);
    spec.get("runtimeClassName").grammar(names::dns1123_subdomain, causes);
    spec.get("hostname").grammar(names::dns1123_label, causes);
    spec.get("subdomain").grammar(names::dns1123_label, causes);
    spec.get("terminationGracePeriodSeconds").at_least(0, causes);
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.number().is_some_and(|it| !(1..=i64::from(i32::MAX)).contains(&it)) {
        causes.push(deadline.invalid("must be between 1 and 2147483647, inclusive"));
    }
    if spec.get("dnsPolicy").text() == "None" && spec.at("dnsConfig.nameservers").is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        causes.push(spec.at("dnsConfig.nameservers").required(why));
    }
    for (key, value) in spec.get("nodeSelector").entries() {
        let at = spec.get("nodeSelector").path;
        if let Err(why) = names::qualified_name(key) {
            causes.push(Cause::invalid(&at, &key.into(), &why));
        }
        if let Err(why) = names::label_value(value.text()) {
            causes.push(Cause::invalid(&at, value.value, &why));
        }
    }
    spec.get("tolerations").items().for_each(|it| toleration(&it, causes));
    spec.get("imagePullSecrets").items().filter(|it| it.get("name").is_empty()).for_each(|it| {
        causes.push(it.get("name").required(""));
    });
    sysctls(&spec.at("securityContext.sysctls"), causes);
    for alias in spec.get("hostAliases").items() {
        alias.get("ip").grammar(names::ip, causes);
        alias.get("hostnames").items().for_each(|it| it.grammar(names::dns1123_subdomain, causes));
    }
}

fn sysctls(sysctls: &At<'_>, causes: &mut Vec<Cause>) {
    const WHY: &str = "must have at most 253 characters and match regex \
        ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*([a-z0-9]([-_a-z0-9]*[a-z0-9])?)$";
    sysctls.unique("name", causes);
    for sysctl in sysctls.items() {
        let name = sysctl.get("name");
        let edge = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
        let segment = |it: &str| {
            let bytes = it.as_bytes();
            let inner = bytes.iter().all(|it| edge(*it) || matches!(it, b'-' | b'_'));
            inner && bytes.first().is_some_and(|it| edge(*it)) && bytes.last().is_some_and(|it| edge(*it))
        };
        if name.is_empty() {
            causes.push(name.required(""));
        } else if name.text().len() > 253 || !name.text().split(['.', '/']).all(segment) {
            causes.push(name.invalid(WHY));
        }
    }
}

/// Checks a pod template: its labels, and its spec.
pub(super) fn template(template: &At<'_>, causes: &mut Vec<Cause>) {
    let labels = template.at("metadata.labels");
    for (key, value) in labels.entries() {
        if let Err(why) = names::qualified_name(key) {
            causes.push(Cause::invalid(&labels.path, &key.into(), &why));
        }
        if let Err(why) = names::label_value(value.text()) {
            causes.push(Cause::invalid(&labels.path, value.value, &why));
        }
    }
    let spec = template.get("spec");
    pod(&spec, causes);
    if !spec.get("ephemeralContainers").is_empty() {
        let why = "ephemeral containers not allowed in pod template";
        causes.push(spec.get("ephemeralContainers").forbidden(why));
    }
}

fn containers(spec: &At<'_>, volumes: &HashSet<&str>, causes: &mut Vec<Cause>) {
    if spec.get("containers").is_empty() {
        causes.push(spec.get("containers").required(""));
    }
    let mut seen = HashSet::new();
    let mut host_ports = HashSet::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for it in spec.get(list).items() {
            let name = it.get("name");
            if !name.is_empty() && !seen.insert(name.text()) {
                causes.push(name.duplicate());
            }
            let sidecar = it.get("restartPolicy").text() == "Always";
            if list == "containers" && !it.get("restartPolicy").is_empty() {
                causes.push(it.get("restartPolicy").forbidden("may not be set for non-init containers"));
            }
            let probes = list == "containers" || (list == "initContainers" && sidecar);
            container::check(&it, probes, volumes, causes);
            for port in it.get("ports").items().filter(|_| list == "containers") {
                let host = port.get("hostPort");
                let id = (port.get("protocol").text(), port.get("hostIP").text(), host.number());
                if host.number().is_some_and(|it| it > 0) && !host_ports.insert(id) {
                    causes.push(host.duplicate());
                }
            }
        }
    }
}

fn toleration(toleration: &At<'_>, causes: &mut Vec<Cause>) {
    let (key, operator) = (toleration.get("key"), toleration.get("operator"));
    key.grammar(names::qualified_name, causes);
    operator.one_of(&["Equal", "Exists", "Lt", "Gt"], causes);
    toleration.get("effect").one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"], causes);
    if key.is_empty() && operator.text() != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        causes.push(operator.invalid(why));
    }
    if operator.text() == "Exists" && !toleration.get("value").is_empty() {
        causes.push(toleration.get("value").invalid("value must be empty when `operator` is 'Exists'"));
    }
    if !toleration.get("tolerationSeconds").is_absent() && toleration.get("effect").text() != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        let effect = toleration.get("effect");
        causes.push(Cause::invalid(&effect.path, &effect.text().into(), why));
    }
}

/// Whether a pod spec restarts its containers by one of these policies.
pub(super) fn restart_policy(spec: &At<'_>, allowed: &[&str], causes: &mut Vec<Cause>) {
    let policy = spec.get("restartPolicy");
    if !allowed.contains(&policy.text()) && policy.value != &Value::Null {
        causes.push(Cause::not_supported(&policy.path, policy.value, allowed));
    }
}
