//! Rules for the controllers of pods, made from rules for pods.
//!
//! Entry point: [`rules`]. A rule for `Pod` is also one for the templates of Deployments and so on, unless it names or
//! selects pods, or the annotation `pod-policies.kyverno.io/autogen-controllers` says otherwise.

use serde_json::{Map, Value, json};

/// Names the controllers, comma-separated, or `none`.
pub const ANNOTATION: &str = "pod-policies.kyverno.io/autogen-controllers";

const CONTROLLERS: [&str; 6] = ["DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"];
const CRON_JOB: &str = "CronJob";
/// Group and version of the controllers.
const API_VERSIONS: [&str; 6] = ["apps/v1", "apps/v1", "batch/v1", "apps/v1", "v1", "apps/v1"];
/// Bytes of a rule's name.
const NAME_MAX: usize = 63;

/// All rules of a policy: those that it has, then those that are made.
pub fn rules(policy: &Value) -> Vec<Value> {
    let own = policy["spec"]["rules"].as_array().cloned().unwrap_or_default();
    if !can(&own) {
        return own;
    }
    let wanted: Vec<&str> = match policy["metadata"]["annotations"][ANNOTATION].as_str() {
        None => CONTROLLERS.into_iter().chain([CRON_JOB]).collect(),
        Some(text) => text.split(',').collect(),
    };
    if wanted == ["none"] {
        return own;
    }
    let all = wanted == ["all"];
    let controllers: Vec<&str> = CONTROLLERS.into_iter().filter(|it| all || wanted.contains(it)).collect();
    let mut made = Vec::new();
    for rule in &own {
        if let Some(controller) = (!controllers.is_empty()).then(|| for_controllers(rule, &controllers)).flatten() {
            made.push(moved(&controller, "spec.template"));
        }
        if (all || wanted.contains(&CRON_JOB))
            && let Some(cron) = for_controllers(rule, &CONTROLLERS)
                .and_then(|it| shaped(&it, &name("autogen-cronjob", rule), "jobTemplate", &[CRON_JOB], |_| true))
        {
            made.push(moved(&cron, "spec.jobTemplate.spec.template"));
        }
    }
    if made.is_empty() {
        return own;
    }
    own.into_iter().filter(|it| !is_made(it)).chain(made).collect()
}

/// The name of the rule that a rule was made from, or its own.
pub(crate) fn origin(rule: &str) -> &str {
    rule.strip_prefix("autogen-cronjob-").or_else(|| rule.strip_prefix("autogen-")).unwrap_or(rule)
}

fn is_made(rule: &Value) -> bool {
    rule["name"].as_str().is_some_and(|it| it.starts_with("autogen-"))
}

fn name(prefix: &str, rule: &Value) -> String {
    let mut name = format!("{prefix}-{}", rule["name"].as_str().unwrap_or_default());
    while name.len() > NAME_MAX {
        name.pop();
    }
    name
}

/// The filters of a `match` or an `exclude`: those of `any` and `all`, and its own.
fn filters(part: &Value) -> impl Iterator<Item = &Value> {
    let nested = ["any", "all"].into_iter().flat_map(|it| part[it].as_array().into_iter().flatten());
    nested.chain([part]).map(|it| &it["resources"])
}

fn kinds(resources: &Value) -> impl Iterator<Item = &str> {
    resources["kinds"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The kind of `Group/Version/Kind/sub`.
fn bare_kind(text: &str) -> String {
    let (_, _, kind, _) = crate::matching::parse_kind(text);
    kind
}

fn has_pod<'a>(mut kinds: impl Iterator<Item = &'a str>) -> bool {
    kinds.any(|it| bare_kind(it) == "Pod")
}

/// Whether rules can be made for controllers at all.
fn can(rules: &[Value]) -> bool {
    let mut needed = false;
    for rule in rules {
        let json = &rule["mutate"];
        let uses_json = json.get("patchesJson6902").is_some()
            || json["foreach"].as_array().into_iter().flatten().any(|it| it.get("patchesJson6902").is_some());
        if rule.get("generate").is_some() || uses_json {
            return false;
        }
        for resources in filters(&rule["match"]).chain(filters(&rule["exclude"])) {
            let picky = ["name", "names", "selector", "annotations"].iter().any(|it| resources.get(it).is_some());
            if picky || (kinds(resources).count() > 1 && has_pod(kinds(resources))) {
                return false;
            }
            needed |= kinds(resources).any(|it| it == "Pod" || it == CRON_JOB || CONTROLLERS.contains(&it));
        }
    }
    needed
}

fn for_controllers(rule: &Value, controllers: &[&str]) -> Option<Value> {
    let of = |part: &'static str| filters(&rule[part]).flat_map(kinds);
    if is_made(rule) || !has_pod(of("match")) || (of("exclude").next().is_some() && !has_pod(of("exclude"))) {
        return None;
    }
    shaped(rule, &name("autogen", rule), "template", controllers, |resources| has_pod(kinds(resources)))
}

/// The rule for objects that have what it is about at `spec.KEY`.
fn shaped(
    rule: &Value,
    name: &str,
    key: &str,
    controllers: &[&str],
    concerned: impl Fn(&Value) -> bool,
) -> Option<Value> {
    let mut made = Map::new();
    made.insert("name".to_owned(), name.into());
    for field in ["match", "exclude"] {
        if let Some(part) = rule.get(field) {
            made.insert(field.to_owned(), with_kinds(part, field == "match", controllers, &concerned));
        }
    }
    for field in ["context", "preconditions", "celPreconditions", "skipBackgroundRequests", "reportProperties"] {
        if let Some(part) = rule.get(field) {
            made.insert(field.to_owned(), part.clone());
        }
    }
    let (field, body) = match (rule.get("mutate"), rule.get("validate"), rule.get("verifyImages")) {
        (Some(mutate), _, _) => ("mutate", mutation(mutate, key)?),
        (_, Some(validate), _) => ("validate", validation(validate, key)?),
        (_, _, Some(images)) => ("verifyImages", images.clone()),
        _ => return None,
    };
    made.insert(field.to_owned(), body);
    Some(Value::Object(made))
}

fn with_kinds(part: &Value, is_match: bool, controllers: &[&str], concerned: impl Fn(&Value) -> bool) -> Value {
    let mut part = part.clone();
    let field = ["any", "all"].into_iter().find(|it| part[*it].as_array().is_some_and(|it| !it.is_empty()));
    match field {
        Some(field) => {
            for filter in part[field].as_array_mut().into_iter().flatten() {
                if concerned(&filter["resources"]) {
                    filter["resources"]["kinds"] = full_kinds(controllers);
                }
            }
        }
        None if is_match || kinds(&part["resources"]).next().is_some() => {
            part["resources"]["kinds"] = full_kinds(controllers);
        }
        None => {}
    }
    part
}

/// Kinds with their group and version: other groups have a `Job`, too.
fn full_kinds(controllers: &[&str]) -> Value {
    let full = |kind: &&str| match CONTROLLERS.iter().position(|it| it == kind) {
        Some(at) => format!("{}/{kind}", API_VERSIONS[at]),
        None => format!("batch/v1/{kind}"),
    };
    controllers.iter().map(full).collect()
}

fn nested(key: &str, pattern: &Value) -> Value {
    json!({ "spec": { key: pattern } })
}

fn mutation(mutate: &Value, key: &str) -> Option<Value> {
    if let Some(patch) = mutate.get("patchStrategicMerge") {
        return Some(json!({ "patchStrategicMerge": nested(key, patch) }));
    }
    let each = mutate.get("foreach")?.as_array()?.iter().map(|it| {
        let mut made = Map::new();
        for field in ["list", "context", "preconditions"] {
            if let Some(part) = it.get(field) {
                made.insert(field.to_owned(), part.clone());
            }
        }
        let patch = it.get("patchStrategicMerge").cloned().unwrap_or_default();
        made.insert("patchStrategicMerge".to_owned(), nested(key, &patch));
        Value::Object(made)
    });
    let each: Vec<Value> = each.collect();
    Some(json!({ "foreach": each }))
}

fn validation(validate: &Value, key: &str) -> Option<Value> {
    let mut made = validate.clone();
    if let Some(pattern) = validate.get("pattern") {
        made["pattern"] = nested(key, pattern);
    } else if let Some(patterns) = validate.get("anyPattern").and_then(Value::as_array) {
        made["anyPattern"] = patterns.iter().map(|it| nested(key, it)).collect();
    } else if !["deny", "podSecurity", "foreach", "cel"].iter().any(|it| validate.get(*it).is_some()) {
        return None;
    }
    Some(made)
}

/// Lets variables look at the template instead of the object.
fn moved(rule: &Value, template: &str) -> Value {
    let is_cel = rule["validate"].get("cel").is_some();
    let roots: &[&str] = if is_cel { &["object", "oldObject"] } else { &["request.object", "request.oldObject"] };
    moved_value(rule, roots, template)
}

fn moved_value(value: &Value, roots: &[&str], template: &str) -> Value {
    match value {
        Value::String(it) => Value::String(moved_text(it, roots, template)),
        Value::Array(all) => all.iter().map(|it| moved_value(it, roots, template)).collect(),
        Value::Object(all) => {
            let all = all.iter().map(|(key, it)| (moved_text(key, roots, template), moved_value(it, roots, template)));
            Value::Object(all.collect())
        }
        other => other.clone(),
    }
}

fn moved_text(text: &str, roots: &[&str], template: &str) -> String {
    let mut text = text.to_owned();
    for root in roots {
        for field in ["spec", "metadata"] {
            text = text.replace(&format!("{root}.{field}"), &format!("{root}.{template}.{field}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(annotation: Option<&str>) -> Value {
        json!({
            "metadata": {"annotations": annotation.map(|it| json!({ ANNOTATION: it }))},
            "spec": {"rules": [{
                "name": "r",
                "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                "context": [{"name": "x", "variable": {"jmesPath": "request.object.spec.hostPID"}}],
                "validate": {"message": "m", "pattern": {"spec": {"hostPID": "false"}}},
            }]},
        })
    }

    #[test]
    fn a_rule_for_pods_is_one_for_their_controllers() {
        let made = rules(&policy(None));
        let names: Vec<&str> = made.iter().filter_map(|it| it["name"].as_str()).collect();
        assert_eq!(names, ["r", "autogen-r", "autogen-cronjob-r"]);
        assert_eq!(made[1]["match"]["any"][0]["resources"]["kinds"], full_kinds(&CONTROLLERS));
        assert_eq!(made[1]["validate"]["pattern"], json!({"spec": {"template": {"spec": {"hostPID": "false"}}}}));
        assert_eq!(made[1]["context"][0]["variable"]["jmesPath"], "request.object.spec.template.spec.hostPID");
        let inner = json!({"spec": {"template": {"spec": {"hostPID": "false"}}}});
        assert_eq!(made[2]["validate"]["pattern"], json!({"spec": {"jobTemplate": inner}}));
        assert_eq!(
            made[2]["context"][0]["variable"]["jmesPath"],
            "request.object.spec.jobTemplate.spec.template.spec.hostPID"
        );
    }

    #[test]
    fn an_annotation_chooses_controllers() {
        assert_eq!(rules(&policy(Some("none"))).len(), 1);
        let made = rules(&policy(Some("Deployment,CronJob")));
        assert_eq!(made[1]["match"]["any"][0]["resources"]["kinds"], json!(["apps/v1/Deployment"]));
        assert_eq!(made.len(), 3);
    }

    #[test]
    fn rules_that_select_pods_stay_with_pods() {
        let mut policy = policy(None);
        policy["spec"]["rules"][0]["match"]["any"][0]["resources"]["names"] = json!(["a*"]);
        assert_eq!(rules(&policy).len(), 1);
    }
}
