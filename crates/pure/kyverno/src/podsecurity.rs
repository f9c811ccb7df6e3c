//! Pod Security Standards, with what a rule or an exception lets pass.
//!
//! Entry point: [`judge`]. The checks are those of `eyot-model`. A control that is let pass is settled first: the fields
//! it is about are given harmless values in a copy of the pod. With `images` that is done in containers of those images,
//! without in the pod's own fields.

use std::sync::Arc;

use eyot_model::podsecurity::{self, Level, Standard, Version, Violation};
use serde_json::{Value, json};

use crate::{
    exception::Exception,
    policy::{RuleKind, RuleResult, Status},
    spec::{PodSecurity, PodSecurityExclude, Rule},
    text, wildcard,
};

/// Names of the controls.
const CONTROLS: [&str; 15] = [
    "Capabilities",
    "Seccomp",
    "Privileged Containers",
    "Host Ports",
    "/proc Mount Type",
    "HostProcess",
    "SELinux",
    "Host Namespaces",
    "HostPath Volumes",
    "Sysctls",
    "AppArmor",
    "Privilege Escalation",
    "Running as Non-root",
    "Running as Non-root user",
    "Volume Types",
];

/// Reads level and version, or says what is wrong with them or with the names of controls.
pub(crate) fn standard(security: &PodSecurity) -> Result<Standard, String> {
    let level = match security.level.as_str() {
        "privileged" => Level::Privileged,
        "baseline" => Level::Baseline,
        "restricted" => Level::Restricted,
        other => return Err(format!("level: unknown level {other:?}")),
    };
    let version = match security.version.as_str() {
        "" | "latest" => Version::Latest,
        text => {
            let minor = text.strip_prefix("v1.").and_then(|it| it.parse().ok());
            Version::Minor(minor.ok_or_else(|| format!("version: must be \"latest\" or \"v1.x\", not {text:?}"))?)
        }
    };
    match security.exclude.iter().find(|it| !CONTROLS.contains(&it.control_name.as_str())) {
        Some(it) => Err(format!("exclude: unknown control {:?}", it.control_name)),
        None => Ok(Standard { level, version }),
    }
}

/// Why a control cannot be let pass like that, in Kyverno's words: those of containers go by image, those of pods do not.
pub(crate) fn misplaced(exclude: &PodSecurityExclude, is_baseline: bool) -> Option<&'static str> {
    const OF_CONTAINERS: [&str; 5] =
        ["Capabilities", "Privileged Containers", "Host Ports", "/proc Mount Type", "Privilege Escalation"];
    const OF_PODS: [&str; 4] = ["Host Namespaces", "HostPath Volumes", "Sysctls", "Volume Types"];
    const RESTRICTED_ONLY: [&str; 4] =
        ["Volume Types", "Privilege Escalation", "Running as Non-root", "Running as Non-root user"];
    let is_one_of = |names: &[&str]| names.contains(&exclude.control_name.as_str());
    if is_one_of(&OF_CONTAINERS) && exclude.images.is_empty() {
        return Some("exclude.images must be specified for the container level control");
    }
    if is_one_of(&OF_PODS) && !exclude.images.is_empty() {
        return Some("exclude.images must not be specified for the pod level control");
    }
    (is_baseline && is_one_of(&RESTRICTED_ONLY)).then_some("Invalid control name defined at the given level")
}

/// Judges a pod, or the template of a controller.
pub(crate) fn judge(rule: &Rule, security: &PodSecurity, object: &Value, excused: &[Arc<Exception>]) -> RuleResult {
    let made = |status: Status, message: String| RuleResult::new(rule, RuleKind::Validation, status, message);
    let standard = match standard(security) {
        Ok(it) => it,
        Err(why) => return made(Status::Error, format!("failed to parse pod security api version: {why}")),
    };
    let Some(template) = template(object) else {
        return made(
            Status::Error,
            "Error while getting new resource: could not find correct resource type".to_owned(),
        );
    };
    let pod = settled(template, &security.exclude);
    let violations = podsecurity::violations(standard, &pod);
    if violations.is_empty() {
        return made(Status::Pass, format!("Validation rule '{}' passed.", rule.name));
    }
    let excludes: Vec<PodSecurityExclude> = excused.iter().flat_map(|it| it.pod_security()).cloned().collect();
    if !excludes.is_empty() && podsecurity::violations(standard, &settled(&pod, &excludes)).is_empty() {
        let keys: Vec<String> = excused.iter().map(|it| it.key()).collect();
        let mut result = made(Status::Skip, format!("rule is skipped due to policy exceptions {}", keys.join(", ")));
        result.exceptions = keys;
        return result;
    }
    let version = if security.version.is_empty() { "latest" } else { &security.version };
    made(
        Status::Fail,
        format!(
            "Validation rule '{}' failed. It violates PodSecurity \"{}:{version}\": {}",
            rule.name,
            security.level,
            describe(&violations)
        ),
    )
}

fn describe(violations: &[Violation]) -> String {
    let one = |it: &Violation| format!("(Forbidden reason: {}, field error list: [{}])", it.reason, it.detail);
    violations.iter().map(one).collect()
}

fn template(object: &Value) -> Option<&Value> {
    match object["kind"].as_str().unwrap_or_default() {
        "Pod" => Some(object),
        "CronJob" => object.pointer("/spec/jobTemplate/spec/template"),
        "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            object.pointer("/spec/template")
        }
        _ => None,
    }
}

/// A pod in which what is let pass has harmless values.
fn settled(pod: &Value, excludes: &[PodSecurityExclude]) -> Value {
    let mut pod = pod.clone();
    for exclude in excludes {
        if exclude.images.is_empty() {
            settle_pod(&mut pod, exclude);
            continue;
        }
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
                let image = container["image"].as_str().unwrap_or_default();
                if wildcard::any(exclude.images.iter().map(String::as_str), image) {
                    settle_container(container, list, exclude);
                }
            }
        }
        // Indexing makes lists that were not there.
        if let Value::Object(spec) = &mut pod["spec"] {
            spec.retain(|_, it| !it.is_null());
        }
    }
    pod
}

impl PodSecurityExclude {
    /// Whether a value of a field is let pass.
    fn covers(&self, field: &str, value: &Value) -> bool {
        let values = || match value {
            Value::Array(all) => all.iter().map(text::plain).collect(),
            // What is not said is a value of its own, as Kyverno's reports name it.
            Value::Null => vec!["undefined".to_owned()],
            other => vec![text::plain(other)],
        };
        (self.restricted_field.is_empty() || self.restricted_field == field)
            && (self.values.is_empty()
                || values().iter().all(|it| wildcard::any(self.values.iter().map(String::as_str), it)))
    }

    /// Gives a field of a security context a harmless value, or takes it away.
    fn settle(&self, holder: &mut Value, prefix: &str, path: &[&str], harmless: Option<Value>) {
        let field = format!("{prefix}.{}", path.join("."));
        let pointer = format!("/{}", path.join("/"));
        let given = holder.pointer(&pointer).cloned().unwrap_or_default();
        if !self.covers(&field, &given) || (harmless.is_none() && given.is_null()) {
            return;
        }
        let Some((last, way)) = path.split_last() else { return };
        let mut at = holder;
        for part in way {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[*part];
        }
        match (harmless, &mut *at) {
            (Some(value), Value::Object(all)) => drop(all.insert((*last).to_owned(), value)),
            (Some(value), slot) => *slot = json!({ *last: value }),
            (None, Value::Object(all)) => drop(all.remove(*last)),
            (None, _) => {}
        }
    }
}

fn settle_pod(pod: &mut Value, exclude: &PodSecurityExclude) {
    let security = ["securityContext"];
    let within = |rest: &[&'static str]| security.iter().copied().chain(rest.iter().copied()).collect::<Vec<_>>();
    let spec = &mut pod["spec"];
    match exclude.control_name.as_str() {
        "Seccomp" => exclude.settle(spec, "spec", &within(&["seccompProfile", "type"]), Some("RuntimeDefault".into())),
        "HostProcess" => exclude.settle(spec, "spec", &within(&["windowsOptions", "hostProcess"]), None),
        "SELinux" => {
            for field in ["type", "user", "role"] {
                exclude.settle(spec, "spec", &within(&["seLinuxOptions", field]), None);
            }
        }
        "Host Namespaces" => {
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                exclude.settle(spec, "spec", &[field], None);
            }
        }
        "Running as Non-root" => exclude.settle(spec, "spec", &within(&["runAsNonRoot"]), Some(true.into())),
        "Running as Non-root user" => exclude.settle(spec, "spec", &within(&["runAsUser"]), None),
        "AppArmor" => {
            exclude.settle(spec, "spec", &within(&["appArmorProfile", "type"]), None);
            if let Some(all) = pod["metadata"]["annotations"].as_object_mut() {
                all.retain(|key, value| {
                    !key.starts_with("container.apparmor.security.beta.kubernetes.io/")
                        || !exclude.covers("metadata.annotations", value)
                });
            }
        }
        "Sysctls" => {
            if let Some(all) = spec["securityContext"]["sysctls"].as_array_mut() {
                all.retain(|it| !exclude.covers("spec.securityContext.sysctls[*].name", &it["name"]));
            }
        }
        "HostPath Volumes" => settle_volumes(spec, exclude, Some("hostPath")),
        "Volume Types" => settle_volumes(spec, exclude, None),
        _ => {}
    }
}

fn settle_volumes(spec: &mut Value, exclude: &PodSecurityExclude, only: Option<&str>) {
    let Some(all) = spec.get_mut("volumes").and_then(Value::as_array_mut) else { return };
    for volume in all {
        let Some(source) = volume.as_object().and_then(|it| it.keys().find(|it| *it != "name")).cloned() else {
            continue;
        };
        let field = format!("spec.volumes[*].{source}");
        // What is named is a path on the host; of other sources the field itself, or one within.
        let values: Vec<Value> = match source.as_str() {
            "hostPath" => vec![volume["hostPath"]["path"].clone()],
            _ => {
                let within = volume[&source].as_object().into_iter().flatten().map(|it| it.0.as_str().into());
                std::iter::once(field.as_str().into()).chain(within).collect()
            }
        };
        if only.is_none_or(|it| it == source)
            && (values.iter().any(|it| exclude.covers(&field, it))
                || exclude.covers("spec.volumes[*]", &field.as_str().into()))
        {
            *volume = json!({ "name": volume["name"], "emptyDir": {} });
        }
    }
}

fn settle_container(container: &mut Value, list: &str, exclude: &PodSecurityExclude) {
    let prefix = format!("spec.{list}[*]");
    let mut settle = |rest: &[&'static str], harmless: Option<Value>| {
        let path: Vec<&str> = ["securityContext"].into_iter().chain(rest.iter().copied()).collect();
        exclude.settle(container, &prefix, &path, harmless);
    };
    match exclude.control_name.as_str() {
        "Capabilities" => {
            settle(&["capabilities", "add"], None);
            settle(&["capabilities", "drop"], Some(json!(["ALL"])));
        }
        "Seccomp" => settle(&["seccompProfile", "type"], Some("RuntimeDefault".into())),
        "Privileged Containers" => settle(&["privileged"], None),
        "/proc Mount Type" => settle(&["procMount"], None),
        "HostProcess" => settle(&["windowsOptions", "hostProcess"], None),
        "SELinux" => {
            for field in ["type", "user", "role"] {
                settle(&["seLinuxOptions", field], None);
            }
        }
        "AppArmor" => settle(&["appArmorProfile", "type"], None),
        "Privilege Escalation" => settle(&["allowPrivilegeEscalation"], Some(false.into())),
        "Running as Non-root" => settle(&["runAsNonRoot"], Some(true.into())),
        "Running as Non-root user" => settle(&["runAsUser"], None),
        "Host Ports" => {
            for port in container["ports"].as_array_mut().into_iter().flatten() {
                let covered = exclude.covers(&format!("{prefix}.ports[*].hostPort"), &port["hostPort"]);
                if let (true, Value::Object(port)) = (covered, port) {
                    port.remove("hostPort");
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(exclude: Value, pod: Value) -> Status {
        let security = json!({"level": "restricted", "version": "latest", "exclude": exclude});
        let rule = json!({"name": "r", "match": {}, "validate": {"podSecurity": security}});
        let rule: Rule = serde_json::from_value(rule).unwrap();
        let security = rule.validate.as_ref().and_then(|it| it.pod_security.as_ref()).unwrap();
        judge(&rule, security, &pod, &[]).status
    }

    fn pod(container: Value) -> Value {
        let mut container = container;
        container["name"] = "c".into();
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        }})
    }

    #[test]
    fn controls_are_let_pass_by_image_field_and_value() {
        let good = json!({"image": "ghcr.io/a", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
        assert_eq!(verdict(json!([]), pod(good.clone())), Status::Pass);
        let mut bad = good;
        bad["securityContext"]["capabilities"]["add"] = json!(["SYS_ADMIN"]);
        assert_eq!(verdict(json!([]), pod(bad.clone())), Status::Fail);
        let by = |extra: Value| {
            let mut exclude = json!({"controlName": "Capabilities", "images": ["ghcr.io/*"]});
            exclude.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            verdict(json!([exclude]), pod(bad.clone()))
        };
        let field = "spec.containers[*].securityContext.capabilities.add";
        assert_eq!(by(json!({})), Status::Pass);
        assert_eq!(by(json!({"images": ["docker.io/*"]})), Status::Fail);
        assert_eq!(by(json!({"restrictedField": field, "values": ["SYS_ADMIN"]})), Status::Pass);
        assert_eq!(by(json!({"restrictedField": field, "values": ["SYS_TIME"]})), Status::Fail);
    }

    #[test]
    fn a_pods_own_fields_are_let_pass_without_images() {
        let good = json!({"image": "a", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
        let mut pod = pod(good);
        pod["spec"]["hostPID"] = true.into();
        assert_eq!(verdict(json!([]), pod.clone()), Status::Fail);
        assert_eq!(verdict(json!([{"controlName": "Host Namespaces"}]), pod.clone()), Status::Pass);
        assert_eq!(verdict(json!([{"controlName": "Sysctls"}]), pod), Status::Fail);
    }
}
