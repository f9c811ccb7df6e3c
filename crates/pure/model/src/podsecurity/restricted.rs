//! The checks that the level `restricted` adds to `baseline`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Pod, Violation,
    baseline::{added_beyond, confines},
    named, plural, quoted, setters,
};
use crate::meta;

pub(super) fn check(pod: &Pod<'_>) -> Vec<Violation> {
    let found = [privilege_escalation(pod), capabilities(pod), volumes(pod), non_root(pod), user(pod), seccomp(pod)];
    found.into_iter().flatten().collect()
}

fn privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    if !pod.since(8) || pod.is_windows() {
        return None;
    }
    let containers = pod.containers(|it| it["securityContext"]["allowPrivilegeEscalation"] != false);
    let detail = || format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&containers));
    (!containers.is_empty()).then(|| Violation::new("allowPrivilegeEscalation != false", detail()))
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    if !pod.since(22) || pod.is_windows() {
        return None;
    }
    let drops_all =
        |it: &Value| meta::list(it.pointer("/securityContext/capabilities/drop")).iter().any(|it| it == "ALL");
    let keeping = pod.containers(|it| !drops_all(it));
    let mut added = BTreeSet::new();
    let adding = pod.containers(|it| added_beyond(it, &["NET_BIND_SERVICE"], &mut added));
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(r#"{} must set securityContext.capabilities.drop=["ALL"]"#, named(&keeping)));
    }
    if !adding.is_empty() {
        let added: Vec<String> = added.into_iter().collect();
        let who = named(&adding);
        details.push(format!("{who} must not include {} in securityContext.capabilities.add", quoted(&added)));
    }
    (!details.is_empty()).then(|| Violation::new("unrestricted capabilities", details.join("; ")))
}

fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    const ALLOWED: [&str; 9] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let list = meta::list(pod.spec.get("volumes")).iter();
    let mut types = BTreeSet::new();
    let bad: Vec<&str> = list
        .filter(|it| !ALLOWED.iter().any(|allowed| it.get(*allowed).is_some()))
        .map(|it| {
            let source = it.as_object().into_iter().flatten().map(|it| it.0.as_str()).find(|it| *it != "name");
            types.insert(source.unwrap_or("unknown"));
            it["name"].as_str().unwrap_or_default()
        })
        .collect();
    if bad.is_empty() {
        return None;
    }
    let types: Vec<&str> = types.into_iter().collect();
    let verb = plural(bad.len(), "uses", "use");
    let what = plural(types.len(), "restricted volume type", "restricted volume types");
    let who = plural(bad.len(), "volume", "volumes");
    let detail = format!("{who} {} {verb} {what} {}", quoted(&bad), quoted(&types));
    Some(Violation::new("restricted volume types", detail))
}

fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() {
        return None;
    }
    let own = pod.security["runAsNonRoot"].as_bool();
    let root = pod.containers(|it| it["securityContext"]["runAsNonRoot"] == false);
    let who = setters(own == Some(false), &root);
    if !who.is_empty() {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Violation::new("runAsNonRoot != true", detail));
    }
    let silent = pod.containers(|it| own != Some(true) && !it["securityContext"]["runAsNonRoot"].is_boolean());
    let detail = || format!("pod or {} must set securityContext.runAsNonRoot=true", named(&silent));
    (!silent.is_empty()).then(|| Violation::new("runAsNonRoot != true", detail()))
}

fn user(pod: &Pod<'_>) -> Option<Violation> {
    if !pod.since(23) || pod.has_own_users() {
        return None;
    }
    let is_root = |context: &Value| context["runAsUser"] == 0;
    let who = setters(is_root(pod.security), &pod.containers(|it| is_root(&it["securityContext"])));
    (!who.is_empty()).then(|| Violation::new("runAsUser=0", format!("{who} must not set runAsUser=0")))
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    if !pod.since(19) || pod.is_windows() {
        return None;
    }
    let profile =
        |context: &Value| context.get("seccompProfile").map(|it| it["type"].as_str().unwrap_or_default().to_owned());
    let own = profile(pod.security);
    let mut values: BTreeSet<String> = own.iter().filter(|it| !confines(it)).cloned().collect();
    let bad_pod = !values.is_empty();
    let bad = pod.containers(|it| {
        let bad = profile(&it["securityContext"]).filter(|it| !confines(it));
        let is_bad = bad.is_some();
        values.extend(bad);
        is_bad
    });
    let who = setters(bad_pod, &bad);
    if !who.is_empty() {
        let values: Vec<String> = values.into_iter().collect();
        let detail = format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(&values));
        return Some(Violation::new("seccompProfile", detail));
    }
    let silent = pod.containers(|it| own.is_none() && profile(&it["securityContext"]).is_none());
    let wanted = r#""RuntimeDefault" or "Localhost""#;
    let detail = || format!("pod or {} must set securityContext.seccompProfile.type to {wanted}", named(&silent));
    (!silent.is_empty()).then(|| Violation::new("seccompProfile", detail()))
}
