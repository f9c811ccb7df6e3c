//! Which part of a pod a revision may speak of. Entry point: [`flaws`].

use serde_json::Value;

use crate::Flaw;

/// Fields of a revision's spec.
const SPEC: [&str; 23] = [
    "affinity",
    "automountServiceAccountToken",
    "containerConcurrency",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "idleTimeoutSeconds",
    "imagePullSecrets",
    "initContainers",
    "nodeSelector",
    "priorityClassName",
    "responseStartTimeoutSeconds",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "timeoutSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];

/// Fields of a container.
const CONTAINER: [&str; 17] = [
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeMounts",
    "workingDir",
];

/// Environment variables that Knative sets itself.
const RESERVED: [&str; 4] = ["PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"];

/// What is wrong with the pod in a revision's spec. What a pod itself refuses, the pod will tell.
pub(super) fn flaws(spec: &Value) -> Vec<Flaw> {
    let mut flaws = unknown(spec, &SPEC);
    let containers = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
    if containers.is_empty() {
        flaws.push(Flaw::missing("containers"));
    }
    let with_ports = containers.iter().filter(|it| ports(it) > 0).count();
    if containers.len() > 1 && with_ports == 0 {
        flaws.push(Flaw::missing("containers[*].ports"));
    }
    if with_ports > 1 {
        flaws.push(Flaw::new("more than one container port is set", "containers[*].ports"));
    }
    for (list, serves) in [("containers", true), ("initContainers", false)] {
        for (at, it) in spec[list].as_array().into_iter().flatten().enumerate() {
            let place = format!("{list}[{at}]");
            flaws.extend(container(it, serves).into_iter().map(|it| it.within(&place)));
        }
    }
    flaws
}

fn unknown(object: &Value, known: &[&str]) -> Vec<Flaw> {
    let keys = object.as_object().into_iter().flat_map(|it| it.keys());
    keys.filter(|it| !known.contains(&it.as_str())).map(|it| Flaw::disallowed(it.as_str())).collect()
}

fn ports(container: &Value) -> usize {
    container["ports"].as_array().map_or(0, Vec::len)
}

fn container(it: &Value, serves: bool) -> Vec<Flaw> {
    let mut flaws = unknown(it, &CONTAINER);
    if it["image"].as_str().is_none_or(str::is_empty) {
        flaws.push(Flaw::missing("image"));
    }
    if !serves && ports(it) > 0 {
        flaws.push(Flaw::disallowed("ports"));
    }
    if ports(it) > 1 {
        flaws.push(Flaw::new("More than one container port is set", "ports").because("Only a single port is allowed"));
    }
    for (at, port) in it["ports"].as_array().into_iter().flatten().enumerate() {
        let place = format!("ports[{at}]");
        flaws.extend(unknown(port, &["containerPort", "name", "protocol"]).into_iter().map(|it| it.within(&place)));
        let name = port["name"].as_str().unwrap_or_default();
        if !["", "http1", "h2c", "user-port"].contains(&name) {
            let why = "Name must be empty, or one of: 'h2c', 'http1'";
            flaws.push(Flaw::new(format!("Port name {name} is not allowed"), format!("{place}.name")).because(why));
        }
        match port["containerPort"].as_i64() {
            Some(number) if (1..=65_535).contains(&number) => {}
            Some(number) => flaws.push(Flaw::bounds(number, 1, 65_535, format!("{place}.containerPort"))),
            None => flaws.push(Flaw::missing(format!("{place}.containerPort"))),
        }
    }
    for (at, variable) in it["env"].as_array().into_iter().flatten().enumerate() {
        if let Some(name) = variable["name"].as_str().filter(|it| RESERVED.contains(it)) {
            flaws.push(Flaw::new(format!("{name:?} is a reserved environment variable"), format!("env[{at}].name")));
        }
    }
    flaws
}
