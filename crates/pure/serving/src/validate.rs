//! What is wrong with an object that is written. Entry point: [`flaws`].

mod pod;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Flaw, Scaling, annotations, rollout::Policy};

/// Longest a request may be allowed to take, in seconds.
const TIMEOUT_MAX: i64 = 600;
/// Most requests that an instance may be said to take at once.
const CONCURRENCY_MAX: i64 = 1000;

/// Everything that is wrong with an object of `kind`; `old` is what it replaces.
pub(crate) fn flaws(kind: &str, object: &Value, old: Option<&Value>) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    name(object, &mut flaws);
    misplaced(kind, object, &mut flaws);
    hidden(kind, object, &mut flaws);
    if matches!(kind, "Service" | "Route") {
        let wrong = Policy::parse(object).err().into_iter().flatten();
        flaws.extend(wrong.map(|it| it.within("annotations").within("metadata")));
    }
    let spec = &object["spec"];
    let inside = match kind {
        "Service" => {
            let mut inside = template(spec, object, old);
            inside.extend(traffic(spec, true));
            inside
        }
        "Configuration" => template(spec, object, old),
        "Route" => traffic(spec, false),
        "Revision" => {
            flaws.extend(scaling(&object["metadata"]).into_iter().map(|it| it.within("metadata")));
            if old.is_some_and(|old| old["spec"] != *spec) {
                flaws.push(Flaw::new("Immutable fields changed (-old +new)", "spec"));
            }
            revision(spec)
        }
        _ => Vec::new(),
    };
    flaws.extend(inside.into_iter().map(|it| it.within("spec")));
    flaws
}

fn name(object: &Value, flaws: &mut Vec<Flaw>) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    let label = name.len() <= 63
        && name.bytes().all(fits)
        && name.bytes().next().is_some_and(|it| it.is_ascii_lowercase())
        && !name.ends_with('-');
    // A name that is still to be generated is checked by the server.
    if !label && !name.is_empty() {
        let why = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
                   character, and end with an alphanumeric character";
        flaws.push(Flaw::new(format!("not a DNS 1035 label: [{why}]"), "metadata.name"));
    }
}

/// Label that makes a function private to the cluster.
const VISIBILITY: &str = "networking.knative.dev/visibility";

/// Whoever asks for a function that only guests reach must not get one that everybody does.
fn hidden(kind: &str, object: &Value, flaws: &mut Vec<Flaw>) {
    let asked = &object["metadata"]["labels"][VISIBILITY];
    if matches!(kind, "Service" | "Route") && !asked.is_null() && asked != "" {
        let why = "every function is reached through the gateway; a Policy at its Route may close it to clients";
        flaws.push(Flaw::value(asked.as_str().unwrap_or_default(), VISIBILITY).because(why).within("metadata.labels"));
    }
}

/// What is taken and has no effect, for whoever wrote it.
pub(crate) fn warnings(kind: &str, object: &Value) -> Vec<String> {
    let (spec, path) = match kind {
        "Service" | "Configuration" => (&object["spec"]["template"]["spec"], "spec.template.spec"),
        _ => (&object["spec"], "spec"),
    };
    let idle = spec["idleTimeoutSeconds"].as_i64().filter(|it| *it > 0);
    let told = idle.map(|_| format!("{path}.idleTimeoutSeconds: it has no effect; timeoutSeconds has"));
    told.into_iter().collect()
}

/// The autoscaler reads annotations of revisions only, so those of anything else would be without effect.
fn misplaced(kind: &str, object: &Value, flaws: &mut Vec<Flaw>) {
    if kind == "Revision" {
        return;
    }
    for key in object["metadata"]["annotations"].as_object().into_iter().flat_map(|it| it.keys()) {
        if annotations::is_ours(key) {
            let why = "autoscaling annotations must be put under \"spec.template.metadata.annotations\" to work";
            flaws.push(Flaw::key(key, "metadata.annotations").because(why));
        }
    }
}

fn scaling(metadata: &Value) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut texts = Vec::new();
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        match value.as_str() {
            Some(text) => texts.push((key.as_str(), text)),
            None => flaws.push(Flaw::value(value, key.as_str())),
        }
    }
    flaws.extend(Scaling::parse(texts).err().into_iter().flatten());
    flaws.into_iter().map(|it| it.within("annotations")).collect()
}

fn template(spec: &Value, object: &Value, old: Option<&Value>) -> Vec<Flaw> {
    let template = &spec["template"];
    let mut flaws: Vec<Flaw> = scaling(&template["metadata"]).into_iter().map(|it| it.within("metadata")).collect();
    flaws.extend(revision(&template["spec"]).into_iter().map(|it| it.within("spec")));
    let parent = object["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(name) = template["metadata"]["name"].as_str().filter(|it| !it.is_empty()) {
        if !name.starts_with(&format!("{parent}-")) {
            let why = format!("must have prefix {parent}-");
            flaws.push(Flaw::new(format!("invalid value: {name}"), "metadata.name").because(why));
        }
        let before = old.map(|it| &it["spec"]["template"]).filter(|it| it["metadata"]["name"] == name);
        if before.is_some_and(|it| it != template) {
            flaws.push(Flaw::new("Saw the following changes without a name change (-old +new)", "metadata.name"));
        }
    }
    flaws.into_iter().map(|it| it.within("template")).collect()
}

fn revision(spec: &Value) -> Vec<Flaw> {
    let mut flaws = pod::flaws(spec);
    let mut bounded = |field: &str, least: i64, most: i64| match &spec[field] {
        Value::Null => None,
        value => match value.as_i64() {
            Some(number) if number < least || number > most => {
                flaws.push(Flaw::bounds(number, least, most, field));
                None
            }
            Some(number) => Some(number),
            None => {
                flaws.push(Flaw::value(value, field));
                None
            }
        },
    };
    bounded("containerConcurrency", 0, CONCURRENCY_MAX);
    let timeout = bounded("timeoutSeconds", 0, TIMEOUT_MAX).filter(|it| *it > 0).unwrap_or(TIMEOUT_MAX);
    bounded("responseStartTimeoutSeconds", 0, timeout);
    bounded("idleTimeoutSeconds", 0, timeout);
    flaws
}

fn traffic(spec: &Value, of_service: bool) -> Vec<Flaw> {
    let Some(targets) = spec["traffic"].as_array() else {
        return match &spec["traffic"] {
            Value::Null => Vec::new(),
            other => vec![Flaw::value(other, "traffic")],
        };
    };
    let (mut flaws, mut sum, mut tags) = (Vec::new(), 0, BTreeMap::new());
    for (at, target) in targets.iter().enumerate() {
        let place = format!("traffic[{at}]");
        flaws.extend(one_target(target, of_service).into_iter().map(|it| it.within(&place)));
        sum += target["percent"].as_i64().unwrap_or(0);
        if let Some(tag) = target["tag"].as_str().filter(|it| !it.is_empty())
            && let Some(before) = tags.insert(tag, at)
        {
            let message = format!("Multiple definitions for {tag:?}");
            flaws.push(Flaw::new(message, format!("traffic[{before}].tag")).and(format!("{place}.tag")));
        }
    }
    if sum != 100 && !targets.is_empty() {
        flaws.push(Flaw::new(format!("Traffic targets sum to {sum}, want 100"), "traffic"));
    }
    flaws
}

/// What a target may say.
const TARGET: [&str; 6] = ["configurationName", "latestRevision", "percent", "revisionName", "tag", "url"];

fn one_target(target: &Value, of_service: bool) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let Some(fields) = target.as_object() else { return vec![Flaw::value(target, "")] };
    fields.keys().filter(|it| !TARGET.contains(&it.as_str())).for_each(|it| flaws.push(Flaw::disallowed(it.as_str())));
    let text = |field: &str| target[field].as_str().filter(|it| !it.is_empty());
    match (text("revisionName"), text("configurationName")) {
        (_, Some(_)) if of_service => flaws.push(Flaw::disallowed("configurationName")),
        (Some(_), Some(_)) => {
            flaws.push(Flaw::new("expected exactly one, got both", "configurationName").and("revisionName"))
        }
        (None, None) if !of_service => {
            flaws.push(Flaw::new("expected exactly one, got neither", "configurationName").and("revisionName"))
        }
        (Some(name), None) if target["latestRevision"] == true => {
            flaws.push(Flaw::new(
                format!("may not set revisionName {name:?} when latestRevision is true"),
                "latestRevision",
            ));
        }
        (None, _) if target["latestRevision"] == false => {
            flaws.push(Flaw::value("false", "latestRevision"));
        }
        _ => {}
    }
    match &target["percent"] {
        Value::Null => {}
        value => match value.as_i64() {
            Some(percent) if !(0..=100).contains(&percent) => flaws.push(Flaw::bounds(percent, 0, 100, "percent")),
            Some(_) => {}
            None => flaws.push(Flaw::value(value, "percent")),
        },
    }
    if text("url").is_some() {
        flaws.push(Flaw::disallowed("url"));
    }
    flaws
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(kind: &str, object: Value, want: Expect) {
        want.assert_eq(&crate::flaw::tell(&flaws(kind, &object, None)));
    }

    fn service(template: Value, traffic: Value) -> Value {
        json!({"metadata": {"name": "hello"}, "spec": {"template": template, "traffic": traffic}})
    }

    fn plain() -> Value {
        json!({"spec": {"containers": [{"image": "hello"}]}})
    }

    #[test]
    fn traffic_that_does_not_add_up_or_contradicts_itself_is_refused() {
        check("Service", service(plain(), json!([{"percent": 100, "latestRevision": true}])), expect![[""]]);
        check(
            "Service",
            service(
                plain(),
                json!([
                    {"percent": 50, "revisionName": "hello-00001", "tag": "a"},
                    {"percent": 40, "revisionName": "hello-00002", "tag": "a", "latestRevision": true},
                    {"percent": 101, "latestRevision": false, "colour": "red"},
                    {"configurationName": "hello"},
                ]),
            ),
            expect![[r#"
                may not set revisionName "hello-00002" when latestRevision is true: spec.traffic[1].latestRevision
                Multiple definitions for "a": spec.traffic[0].tag, spec.traffic[1].tag
                must not set the field(s): spec.traffic[2].colour
                invalid value: false: spec.traffic[2].latestRevision
                expected 0 <= 101 <= 100: spec.traffic[2].percent
                must not set the field(s): spec.traffic[3].configurationName
                Traffic targets sum to 191, want 100: spec.traffic"#]],
        );
        check(
            "Route",
            json!({"metadata": {"name": "r"}, "spec": {"traffic": [{"percent": 90}, {"percent": 5, "configurationName": "c"}]}}),
            expect![[r#"
                expected exactly one, got neither: spec.traffic[0].configurationName, spec.traffic[0].revisionName
                Traffic targets sum to 95, want 100: spec.traffic"#]],
        );
    }

    #[test]
    fn a_template_is_refused_by_field() {
        check(
            "Service",
            service(
                json!({
                    "metadata": {"name": "other-1", "annotations": {"autoscaling.knative.dev/min-scale": "-1"}},
                    "spec": {
                        "containerConcurrency": 2000, "timeoutSeconds": 30, "responseStartTimeoutSeconds": 31,
                        "hostNetwork": true,
                        "containers": [{"image": "", "lifecycle": {}, "ports": [{"containerPort": 1}, {"containerPort": 2}]}],
                    },
                }),
                json!([]),
            ),
            expect![[r#"
                expected 0 <= -1 <= 2147483647: spec.template.metadata.annotations.autoscaling.knative.dev/min-scale
                must not set the field(s): spec.template.spec.hostNetwork
                must not set the field(s): spec.template.spec.containers[0].lifecycle
                missing field(s): spec.template.spec.containers[0].image
                More than one container port is set: spec.template.spec.containers[0].ports
                Only a single port is allowed
                expected 0 <= 2000 <= 1000: spec.template.spec.containerConcurrency
                expected 0 <= 31 <= 30: spec.template.spec.responseStartTimeoutSeconds
                invalid value: other-1: spec.template.metadata.name
                must have prefix hello-"#]],
        );
        let mut object = service(json!({"spec": {}}), json!([]));
        object["metadata"] = json!({"name": "Hello_", "annotations": {"autoscaling.knative.dev/min-scale": "1"}});
        check(
            "Service",
            object,
            expect![[r#"
            not a DNS 1035 label: [a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character]: metadata.name
            invalid key name "autoscaling.knative.dev/min-scale": metadata.annotations
            autoscaling annotations must be put under "spec.template.metadata.annotations" to work
            missing field(s): spec.template.spec.containers"#]],
        );
    }

    #[test]
    fn what_would_be_open_though_it_is_asked_to_be_hidden_is_refused() {
        let mut object = service(plain(), json!([]));
        object["metadata"]["labels"] = json!({"networking.knative.dev/visibility": "cluster-local", "team": "x"});
        check(
            "Service",
            object,
            expect![[r#"
                invalid value: cluster-local: metadata.labels.networking.knative.dev/visibility
                every function is reached through the gateway; a Policy at its Route may close it to clients"#]],
        );
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let mut object = service(plain(), json!([]));
        assert!(warnings("Service", &object).is_empty());
        object["spec"]["template"]["spec"]["idleTimeoutSeconds"] = 5.into();
        assert_eq!(
            warnings("Service", &object),
            ["spec.template.spec.idleTimeoutSeconds: it has no effect; timeoutSeconds has"]
        );
        assert!(warnings("Route", &json!({"spec": {"traffic": []}})).is_empty());
    }

    #[test]
    fn what_has_a_name_does_not_change_under_it() {
        let with = |image: &str, name: &str| {
            service(json!({"metadata": {"name": name}, "spec": {"containers": [{"image": image}]}}), json!([]))
        };
        let (old, new) = (with("a", "hello-x"), with("b", "hello-x"));
        assert_eq!(
            crate::flaw::tell(&flaws("Service", &new, Some(&old))),
            "Saw the following changes without a name change (-old +new): spec.template.metadata.name"
        );
        assert!(flaws("Service", &with("b", "hello-y"), Some(&old)).is_empty());
        let revision = |image: &str| json!({"metadata": {"name": "r"}, "spec": {"containers": [{"image": image}]}});
        assert_eq!(
            crate::flaw::tell(&flaws("Revision", &revision("b"), Some(&revision("a")))),
            "Immutable fields changed (-old +new): spec"
        );
    }
}
