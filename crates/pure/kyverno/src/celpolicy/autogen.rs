//! Forms of a policy about pods for the controllers of pods. Entry point: [`forms`].
//!
//! As in Kyverno the expressions are rewritten as texts: `object.spec` becomes `object.spec.template.spec`. A policy that
//! selects pods by label, excludes or names some, or is about anything beside pods, has no forms.

use std::sync::LazyLock;

use eyot_model::meta;
use regex::Regex;
use serde_json::{Value, json};

/// Group, resource and kind of the controllers, by what `podControllers` calls them. Sorted.
const CONTROLLERS: [(&str, &str, &str); 6] = [
    ("apps", "daemonsets", "DaemonSet"),
    ("apps", "deployments", "Deployment"),
    ("apps", "replicasets", "ReplicaSet"),
    ("apps", "statefulsets", "StatefulSet"),
    ("batch", "cronjobs", "CronJob"),
    ("batch", "jobs", "Job"),
];

/// A form, and for what.
pub(super) struct Form {
    /// `defaults` or `cronjobs`.
    pub(super) name: &'static str,
    /// Whom it is for, as the status lists them.
    pub(super) targets: Vec<Value>,
    /// The policy.
    pub(super) object: Value,
}

/// The forms of a policy, by name.
pub(super) fn forms(policy: &Value, mutates: bool) -> Vec<Form> {
    let spec = &policy["spec"];
    if !can(&spec["matchConstraints"]) {
        return Vec::new();
    }
    let chosen = spec.pointer("/autogen/podControllers/controllers").and_then(Value::as_array);
    let is_chosen = |plural: &str| chosen.is_none_or(|it| it.iter().any(|it| it == plural));
    let made = ["cronjobs", "defaults"].into_iter().filter_map(|name| {
        let own = |it: &&(&str, &str, &str)| (it.1 == "cronjobs") == (name == "cronjobs") && is_chosen(it.1);
        let targets: Vec<_> = CONTROLLERS.iter().filter(own).collect();
        (!targets.is_empty()).then(|| form(policy, mutates, name, &targets))
    });
    made.collect()
}

/// Whether a policy is about pods and nothing else.
fn can(constraints: &Value) -> bool {
    let selects = |field: &str| {
        let parts = constraints["objectSelector"][field].as_object().map(|it| it.len());
        parts.or_else(|| constraints["objectSelector"][field].as_array().map(Vec::len)).is_some_and(|it| it > 0)
    };
    let [rule] = meta::list(constraints.get("resourceRules")) else { return false };
    let excluded = meta::list(constraints.get("excludeResourceRules"));
    !selects("matchLabels")
        && !selects("matchExpressions")
        && excluded.is_empty()
        && meta::list(rule.get("resourceNames")).is_empty()
        && rule["apiGroups"] == json!([""])
        && rule["apiVersions"] == json!(["v1"])
        && rule["resources"] == json!(["pods"])
}

fn form(policy: &Value, mutates: bool, name: &'static str, targets: &[&(&str, &str, &str)]) -> Form {
    let mut object = policy.clone();
    let spec = &mut object["spec"];
    let operations = spec["matchConstraints"]["resourceRules"][0]["operations"].clone();
    let mut groups: Vec<&str> = targets.iter().map(|it| it.0).collect();
    groups.dedup();
    let rules: Vec<Value> = groups
        .iter()
        .map(|group| {
            let plurals: Vec<&str> = targets.iter().filter(|it| it.0 == *group).map(|it| it.1).collect();
            json!({"apiGroups": [group], "apiVersions": ["v1"], "operations": operations, "resources": plurals})
        })
        .collect();
    let mut constraints = json!({ "resourceRules": rules });
    if let Some(selector) = spec["matchConstraints"].get("namespaceSelector") {
        constraints["namespaceSelector"] = selector.clone();
    }
    spec["matchConstraints"] = constraints;
    let to = if name == "cronjobs" { "spec.jobTemplate.spec.template" } else { "spec.template" };
    if mutates {
        move_changes(spec, to)
    } else {
        move_texts(spec, to)
    }
    let targets = targets
        .iter()
        .map(|(group, resource, kind)| json!({"group": group, "version": "v1", "resource": resource, "kind": kind}));
    Form { name, targets: targets.collect(), object }
}

/// Rewrites every text of a policy that demands.
fn move_texts(value: &mut Value, to: &str) {
    match value {
        Value::String(text) => {
            for root in ["object", "oldObject"] {
                for part in ["spec", "metadata"] {
                    *text = moved(text, &format!("{root}.{part}"), &format!("{root}.{to}.{part}"));
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|it| move_texts(it, to)),
        Value::Object(all) => all.values_mut().for_each(|it| move_texts(it, to)),
        _ => {}
    }
}

/// Replaces a path, but not where the namespace of the object itself is meant.
fn moved(text: &str, from: &str, to: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        made.push_str(&rest[..at]);
        rest = &rest[at + from.len()..];
        let own = rest.strip_prefix(".namespace");
        let stays = own.is_some_and(|it| !it.starts_with(|it: char| it.is_ascii_alphanumeric() || it == '_'));
        made.push_str(if stays { from } else { to });
    }
    made + rest
}

/// Rewrites conditions and configurations of a policy that changes; its variables and patches stay as they are.
fn move_changes(spec: &mut Value, to: &str) {
    let edit = |it: &mut Value| {
        if let Value::String(text) = it {
            *text = wrapped(&moved_change(text, to), to);
        }
    };
    for condition in spec["matchConditions"].as_array_mut().into_iter().flatten() {
        condition.get_mut("expression").into_iter().for_each(edit);
    }
    for mutation in spec["mutations"].as_array_mut().into_iter().flatten() {
        mutation.pointer_mut("/applyConfiguration/expression").into_iter().for_each(edit);
    }
}

fn moved_change(text: &str, to: &str) -> String {
    static PATHS: LazyLock<[Option<Regex>; 2]> = LazyLock::new(|| {
        let root = r"\b(?<root>object|oldObject|Object)\.";
        [
            Regex::new(&format!(r"{root}spec")).ok(),
            Regex::new(&format!(r"{root}metadata(?<part>\.labels|\.annotations|\s*\{{)")).ok(),
        ]
    });
    let [Some(spec), Some(metadata)] = &*PATHS else { return text.to_owned() };
    let text = spec.replace_all(text, format!("${{root}}.{to}.spec"));
    metadata.replace_all(&text, format!("${{root}}.{to}.metadata${{part}}")).into_owned()
}

/// Puts a configuration for a pod into one for its controller.
fn wrapped(text: &str, to: &str) -> String {
    let Some(inner) = text.trim().strip_prefix("Object").and_then(|it| it.trim_start().strip_prefix('{')) else {
        return text.to_owned();
    };
    let mut depth = 1;
    let end = inner.char_indices().find(|(_, it)| {
        depth += match it {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0
    });
    let Some((end, _)) = end else { return text.to_owned() };
    let (mut before, mut name) = ("Object{".to_owned(), "Object".to_owned());
    for part in to.split('.') {
        name = format!("{name}.{part}");
        before.push_str(&format!("{part}: {name}{{"));
    }
    let closing = "}".repeat(to.split('.').count() + 1);
    format!("{before}{}{closing}{}", &inner[..end], &inner[end + 1..])
}
