//! Checks of containers.

use std::collections::HashSet;

use super::{
    at::At,
    names::{self, Check},
};
use crate::{quantity::Quantity, status::Cause};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub(super) fn check(container: &At<'_>, probes: bool, volumes: &HashSet<&str>, causes: &mut Vec<Cause>) {
    if container.get("name").is_empty() {
        causes.push(container.get("name").required(""));
    }
    container.get("name").grammar(names::dns1123_label, causes);
    let image = container.get("image");
    if image.is_empty() {
        causes.push(image.required(""));
    } else if image.text().trim() != image.text() {
        causes.push(image.invalid("must not have leading or trailing whitespace"));
    }
    container.get("imagePullPolicy").one_of(&["Always", "IfNotPresent", "Never"], causes);
    container.get("terminationMessagePolicy").one_of(&["File", "FallbackToLogsOnError"], causes);
    ports(&container.get("ports"), causes);
    environment(container, causes);
    mounts(&container.get("volumeMounts"), volumes, causes);
    resources(&container.get("resources"), causes);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let it = container.get(name);
        match (it.is_absent(), probes) {
            (true, _) => {}
            (false, true) => probe(&it, name, causes),
            (false, false) => causes.push(it.forbidden("may not be set for init containers")),
        }
    }
    for name in ["postStart", "preStop"] {
        let hook = container.get("lifecycle").get(name);
        if !hook.is_absent() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], causes);
        }
    }
}

fn ports(ports: &At<'_>, causes: &mut Vec<Cause>) {
    ports.unique("name", causes);
    for port in ports.items() {
        let number = port.get("containerPort");
        match number.number() {
            None | Some(0) => causes.push(number.required("")),
            Some(_) => number.port(causes),
        }
        if port.get("hostPort").number() != Some(0) {
            port.get("hostPort").port(causes);
        }
        port.get("name").grammar(names::port_name, causes);
        port.get("protocol").one_of(PROTOCOLS, causes);
    }
}

fn environment(container: &At<'_>, causes: &mut Vec<Cause>) {
    for variable in container.get("env").items() {
        if variable.get("name").is_empty() {
            causes.push(variable.get("name").required(""));
        }
        variable.get("name").grammar(names::env_name, causes);
        let from = variable.get("valueFrom");
        if from.is_absent() {
            continue;
        }
        let sources = from.map().map_or(0, serde_json::Map::len);
        match sources {
            0 => causes.push(Cause::invalid(&from.path, &"".into(), "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")),
            1 if !variable.get("value").is_empty() => {
                causes.push(Cause::invalid(&from.path, &"".into(), "may not be specified when `value` is not empty"));
            }
            1 => {}
            _ => {
                causes.push(Cause::invalid(&from.path, &"".into(), "may not have more than one field specified at a time"));
            }
        }
        for reference in ["configMapKeyRef", "secretKeyRef"].map(|it| from.get(it)) {
            if !reference.is_absent() {
                named(&reference, causes);
                reference.get("key").grammar(names::config_key, causes);
            }
        }
        let field = from.get("fieldRef");
        if !field.is_absent() {
            field_path(&field.get("fieldPath"), causes);
        }
    }
    for source in container.get("envFrom").items() {
        let given = ["configMapRef", "secretRef"].map(|it| source.get(it));
        match given.iter().filter(|it| !it.is_absent()).count() {
            0 => causes.push(Cause::invalid(
                &source.path,
                &"".into(),
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => causes.push(Cause::invalid(
                &source.path,
                &"".into(),
                "may not have more than one field specified at a time",
            )),
        }
        given.iter().filter(|it| !it.is_absent()).for_each(|it| named(it, causes));
    }
}

fn named(reference: &At<'_>, causes: &mut Vec<Cause>) {
    if reference.get("name").is_empty() {
        causes.push(reference.get("name").required(""));
    }
}

/// Reports a field of the pod that environment variables cannot show.
fn field_path(path: &At<'_>, causes: &mut Vec<Cause>) {
    const FIELDS: &[&str] = &[
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let keyed = ["metadata.labels['", "metadata.annotations['"].iter().any(|it| path.text().starts_with(it));
    if path.is_empty() {
        causes.push(path.required(""));
    } else if !(FIELDS.contains(&path.text()) || keyed && path.text().ends_with("']")) {
        causes.push(Cause::not_supported(&path.path, path.value, FIELDS));
    }
}

fn mounts(mounts: &At<'_>, volumes: &HashSet<&str>, causes: &mut Vec<Cause>) {
    let mut seen = HashSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        if name.is_empty() {
            causes.push(name.required(""));
        } else if !volumes.contains(name.text()) {
            causes.push(Cause::not_found(&name.path, name.value));
        }
        if path.is_empty() {
            causes.push(path.required(""));
        } else if !seen.insert(path.text()) {
            causes.push(path.invalid("must be unique"));
        }
        let sub = mount.get("subPath");
        if !sub.is_empty() && !mount.get("subPathExpr").is_empty() {
            causes.push(mount.get("subPathExpr").invalid("subPathExpr and subPath are mutually exclusive"));
        }
        if sub.text().starts_with('/') {
            causes.push(sub.invalid("must be a relative path"));
        }
        sub.grammar(no_backsteps, causes);
    }
}

/// A path that does not climb.
pub(super) fn no_backsteps(path: &str) -> Check {
    if path.split('/').any(|it| it == "..") { Err("must not contain '..'".into()) } else { Ok(()) }
}

pub(super) fn resources(resources: &At<'_>, causes: &mut Vec<Cause>) {
    let amount = |at: &At<'_>| at.text().parse::<Quantity>().ok();
    for list in ["limits", "requests"] {
        for (name, at) in resources.get(list).entries() {
            if let Err(why) = names::qualified_name(name) {
                causes.push(Cause::invalid(resources.get(list).path, &name.into(), &why));
            }
            if amount(&at).is_some_and(Quantity::is_negative) {
                causes.push(at.invalid("must be greater than or equal to 0"));
            }
        }
    }
    for (name, request) in resources.get("requests").entries() {
        let limit = resources.get("limits").get(name);
        let exceeds = amount(&request).zip(amount(&limit)).is_some_and(|(request, limit)| request > limit);
        if exceeds {
            let why = format!("must be less than or equal to {name} limit of {}", limit.text());
            causes.push(Cause::invalid(resources.get("requests").path, request.value, &why));
        }
    }
}

fn probe(probe: &At<'_>, name: &str, causes: &mut Vec<Cause>) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], causes);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        probe.get(field).at_least(i64::from(field != "initialDelaySeconds"), causes);
    }
    let successes = probe.get("successThreshold");
    if name != "readinessProbe" && successes.number().is_some_and(|it| it != 1) {
        causes.push(successes.invalid("must be 1"));
    }
    if name == "readinessProbe" && !probe.get("terminationGracePeriodSeconds").is_absent() {
        let why = "must not be set for readinessProbes";
        causes.push(probe.get("terminationGracePeriodSeconds").invalid(why));
    }
}

fn handler(handler: &At<'_>, kinds: &[&str], causes: &mut Vec<Cause>) {
    let given: Vec<&str> = kinds.iter().filter(|it| !handler.get(it).is_absent()).copied().collect();
    if given.is_empty() {
        causes.push(handler.required("must specify a handler type"));
    }
    for extra in given.iter().skip(1) {
        causes.push(handler.get(extra).forbidden("may not specify more than 1 handler type"));
    }
    if given.contains(&"exec") && handler.at("exec.command").is_empty() {
        causes.push(handler.at("exec.command").required(""));
    }
    for kind in ["httpGet", "tcpSocket", "grpc"] {
        let port = handler.get(kind).get("port");
        port.port(causes);
        port.grammar(names::port_name, causes);
    }
    let get = handler.get("httpGet");
    get.get("scheme").one_of(&["HTTP", "HTTPS"], causes);
}
