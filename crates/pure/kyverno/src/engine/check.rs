//! What is wrong with a policy, an exception or a GlobalContextEntry before it is stored.
//!
//! Entry point: [`check`]. What needs another machine is refused by name; expressions must compile; policies that are
//! also for stored objects must not ask who asks.

use std::sync::LazyLock;

use eyot_model::status::{Cause, CauseReason};
use eyot_policy::Data;
use regex::Regex;
use serde_json::{Value, json};

use super::{caution, validity};
use crate::{
    Cleanup, Exception, Flaw, Policy, assertion, autogen, celpolicy, generate,
    jmespath::Expression,
    mutate, podsecurity,
    spec::{ContextEntry, EntrySource, Rule, ValidateEach},
    variables,
};

/// Checks an object and gives a policy its status.
pub(super) fn check(object: &mut Value, old: Option<&Value>, data: &dyn Data) -> Result<Vec<String>, Vec<Cause>> {
    if is_cel(object) {
        return celpolicy::check::check(object);
    }
    // What was stored once is not refused for what an older server let pass.
    let is_new = old.is_none_or(|old| old.get("spec") != object.get("spec"));
    let (flaws, warnings) = match object["kind"].as_str().unwrap_or_default() {
        "ClusterPolicy" | "Policy" => policy(object, old.filter(|_| is_new), is_new, data),
        "PolicyException" => (exception(object, is_new), Vec::new()),
        "GlobalContextEntry" => (global(object), Vec::new()),
        "ClusterCleanupPolicy" | "CleanupPolicy" => (cleanup(object), Vec::new()),
        _ => (Vec::new(), Vec::new()),
    };
    if flaws.is_empty() {
        return Ok(warnings);
    }
    let cause = |it: Flaw| Cause { reason: CauseReason::FieldValueInvalid, message: it.message, field: it.path };
    Err(flaws.into_iter().map(cause).collect())
}

/// The status of a stored policy that does not compile any more, and so is not in force.
pub(super) fn doubted(object: &Value, causes: &[Cause]) -> Option<Value> {
    let is_policy = matches!(object["kind"].as_str(), Some("ClusterPolicy" | "Policy")) && !is_cel(object);
    if !is_policy || Policy::compile(object).is_ok() {
        return None;
    }
    let message = causes.iter().map(Cause::to_string).collect::<Vec<_>>().join("; ");
    let mut status = object["status"].as_object().cloned().unwrap_or_default();
    status.insert("ready".to_owned(), false.into());
    let condition = json!({ "type": "Ready", "status": "False", "reason": "Failed", "message": message });
    status.insert("conditions".to_owned(), json!([condition]));
    Some(Value::Object(status))
}

/// Whether an object is of `policies.kyverno.io`.
pub(super) fn is_cel(object: &Value) -> bool {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    eyot_model::kinds::split_api_version(api_version).0 == celpolicy::GROUP
}

fn global(object: &Value) -> Vec<Flaw> {
    let spec = &object["spec"];
    let flaw = |why: &str| vec![Flaw::new("spec", why)];
    match (spec.get("kubernetesResource"), spec.get("apiCall")) {
        (Some(it), None) if it["resource"].is_string() && it["version"].is_string() => Vec::new(),
        (Some(_), None) => flaw("kubernetesResource needs version and resource"),
        (None, Some(it)) if it.get("service").is_some() => {
            flaw("apiCall.service is not available: services elsewhere are not asked")
        }
        (None, Some(it)) if it["urlPath"].is_string() => Vec::new(),
        _ => flaw("needs one of kubernetesResource and apiCall.urlPath"),
    }
}

fn cleanup(object: &Value) -> Vec<Flaw> {
    let mut flaws = Cleanup::compile(object).err().unwrap_or_default();
    let entries: Vec<ContextEntry> = serde_json::from_value(object["spec"]["context"].clone()).unwrap_or_default();
    flaws.extend(elsewhere(&entries.iter().collect::<Vec<_>>()).map(|why| Flaw::new("spec.context", why)));
    for field in ["context", "conditions"] {
        expressions(&object["spec"][field], &format!("spec.{field}"), &mut flaws);
    }
    flaws
}

fn exception(object: &Value, is_new: bool) -> Vec<Flaw> {
    let compiled = Exception::compile(object).err().into_iter();
    compiled.chain(is_new.then(|| validity::exception(object)).into_iter().flatten()).collect()
}

fn policy(object: &mut Value, before: Option<&Value>, is_new: bool, data: &dyn Data) -> (Vec<Flaw>, Vec<String>) {
    let compiled = match Policy::compile(object) {
        Ok(it) => it,
        Err(flaws) => return (flaws, Vec::new()),
    };
    let mut flaws = Vec::new();
    let own = object["spec"]["rules"].as_array().map_or(0, Vec::len);
    for (at, compiled_rule) in compiled.rules.iter().take(own).enumerate() {
        let path = format!("spec.rules[{at}]");
        rule(&compiled_rule.rule, &path, &mut flaws);
        confined(&compiled.namespace, &compiled_rule.rule, &path, &mut flaws);
        expressions(&object["spec"]["rules"][at], &path, &mut flaws);
        let asked = asks_who(&compiled_rule.rule, &object["spec"]["rules"][at]).filter(|_| compiled.spec.background);
        if let Some(asked) = asked {
            let why = "only select variables are allowed in background mode. Set spec.background=false to disable \
                       background mode for this policy rule";
            flaws.push(Flaw::new(path, format!("{asked}: {why}")));
        }
    }
    if is_new {
        flaws.extend(validity::policy(object, &compiled, own, &data.kinds()));
    }
    if !flaws.is_empty() {
        return (flaws, Vec::new());
    }
    let mut warnings = caution::warnings(object, &compiled, own, data);
    warnings.extend(before.and_then(|it| caution::stale(it, object)));
    settle(object, &compiled, own);
    (flaws, warnings)
}

/// Defaults and status, as Kyverno gives them.
fn settle(object: &mut Value, policy: &Policy, own: usize) {
    let spec = &mut object["spec"];
    for (field, value) in [("admission", true), ("background", true), ("emitWarning", false)] {
        if spec.get(field).is_none() {
            spec[field] = value.into();
        }
    }
    if spec.get("validationFailureAction").is_none() {
        spec["validationFailureAction"] = "Audit".into();
    }
    let count = |test: fn(&Rule) -> bool| policy.rules.iter().filter(|it| test(&it.rule)).count();
    let made = made(object, policy, own);
    object["status"] = json!({
        "ready": true,
        "conditions": [{ "type": "Ready", "status": "True", "reason": "Succeeded", "message": "Ready" }],
        "rulecount": {
            "validate": count(|it| it.validate.is_some()),
            "mutate": count(|it| it.mutate.is_some()),
            "generate": count(|it| it.generate.is_some()),
            "verifyimages": count(|it| !it.verify_images.is_empty()),
        },
        "autogen": { "rules": made },
    });
}

/// The rules that were made for controllers of pods, as somebody would have written them.
fn made(object: &Value, policy: &Policy, own: usize) -> Vec<Value> {
    let is_in_force = |it: &Value| policy.rules.iter().skip(own).any(|rule| it["name"] == *rule.rule.name);
    let mut made: Vec<Value> = autogen::rules(object).into_iter().skip(own).filter(is_in_force).collect();
    for rule in made.iter_mut().filter(|it| it.get("skipBackgroundRequests").is_none()) {
        rule["skipBackgroundRequests"] = true.into();
    }
    made
}

/// What a rule of a policy of a namespace names that lies elsewhere.
fn confined(own: &str, rule: &Rule, path: &str, flaws: &mut Vec<Flaw>) {
    if own.is_empty() {
        return;
    }
    if let Some(why) = rule.generate.as_ref().and_then(|it| generate::stray(own, it)) {
        flaws.push(Flaw::new(format!("{path}.generate"), why));
    }
    let cel = rule.validate.as_ref().and_then(|it| it.cel.as_ref());
    let params = cel.and_then(|it| it.param_ref.as_ref()).map_or("", |it| it.namespace.as_str());
    if !params.is_empty() && params != own {
        let why = format!("a policy of namespace {own:?} cannot read from namespace {params:?}");
        flaws.push(Flaw::new(format!("{path}.validate.cel.paramRef.namespace"), why));
    }
}

/// What of a rule asks who asks, in Kyverno's words.
fn asks_who(rule: &Rule, raw: &Value) -> Option<String> {
    // Changes and generation happen with the request, or know who asked.
    rule.validate.as_ref()?;
    let filters = [("match", Some(&rule.matches)), ("exclude", rule.exclude.as_ref())];
    if let Some((field, _)) = filters.into_iter().find(|it| it.1.is_some_and(|it| it.needs_user())) {
        return Some(format!("invalid variable used at path: {field}"));
    }
    let text = raw.to_string();
    let names = ["request.userInfo", "request.roles", "request.clusterRoles", "serviceAccountName"];
    let named = names.into_iter().find(|it| text.contains(it))?;
    Some(format!("variable {{{{{named}}}}} is not allowed"))
}

fn rule(rule: &Rule, path: &str, flaws: &mut Vec<Flaw>) {
    let mut flaw = |field: &str, why: String| flaws.push(Flaw::new(format!("{path}.{field}"), why));
    if !rule.verify_images.is_empty() {
        flaw("verifyImages", "is not available: signatures lie in registries, which are not asked".to_owned());
    }
    if let Some(generate) = &rule.generate {
        let nothing = generate.foreach.is_empty()
            && generate.pattern.clone_list.is_none()
            && (generate.pattern.kind.is_empty() || generate.pattern.name.is_empty());
        if nothing {
            flaw("generate", "needs apiVersion, kind and name, or cloneList, or foreach".to_owned());
        }
    }
    if let Some(it) = &rule.mutate
        && variables::is_plain(&it.patches_json6902)
        && !it.patches_json6902.is_empty()
        && let Err(why) = mutate::operations::parse(&it.patches_json6902)
    {
        flaw("mutate.patchesJson6902", why);
    }
    if let Some(it) = &rule.mutate {
        if it.mutate_existing_on_policy_update == Some(true) && it.targets.is_empty() {
            flaw("mutate.targets", "is needed for objects that are there to be changed".to_owned());
        }
        for (at, target) in it.targets.iter().enumerate() {
            let fields = [&target.api_version, &target.kind, &target.namespace, &target.name];
            if fields.iter().any(|it| it.contains("target.")) {
                flaw(&format!("mutate.targets[{at}]"), "must not name itself to be found".to_owned());
            }
        }
    }
    if let Some(validate) = &rule.validate {
        if validate.manifests.is_some() {
            flaw(
                "validate.manifests",
                "is not available: signatures lie in registries, which are not asked".to_owned(),
            );
        }
        if let Some(why) = validate.pod_security.as_ref().and_then(|it| podsecurity::standard(it).err()) {
            flaw("validate.podSecurity", why);
        }
        if let Some(why) = validate.assert.as_ref().and_then(assertion::unsupported) {
            flaw("validate.assert", why);
        }
    }
    elsewhere(&entries(rule)).for_each(|why| flaw("context", why));
}

/// Why context entries cannot be had that lie on other machines.
fn elsewhere(entries: &[&ContextEntry]) -> impl Iterator<Item = String> {
    entries.iter().filter_map(|entry| {
        let why = match &*entry.source {
            EntrySource::ImageRegistry { .. } => {
                "imageRegistry is not available: registries are not asked while a write waits"
            }
            EntrySource::ApiCall { service: Some(_), .. } => {
                "apiCall.service is not available: services elsewhere are not asked while a write waits"
            }
            _ => return None,
        };
        Some(format!("{}: {why}", entry.name))
    })
}

/// All context entries of a rule.
pub(super) fn entries(rule: &Rule) -> Vec<&ContextEntry> {
    fn of_each<'r>(each: &'r ValidateEach, all: &mut Vec<&'r ContextEntry>) {
        all.extend(&each.context);
        each.foreach.iter().for_each(|it| of_each(it, all));
    }
    let mut all: Vec<&ContextEntry> = rule.context.iter().collect();
    rule.validate.iter().flat_map(|it| &it.foreach).for_each(|it| of_each(it, &mut all));
    if let Some(mutate) = &rule.mutate {
        all.extend(mutate.foreach.iter().flat_map(|it| &it.context));
        all.extend(mutate.targets.iter().flat_map(|it| &it.context));
    }
    if let Some(generate) = &rule.generate {
        all.extend(generate.foreach.iter().flat_map(|it| &it.context));
    }
    all
}

static INNERMOST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[^\\])\{\{((?:\{[^{}]*\}|[^{}])*)\}\}").expect("the expression is correct"));

/// Compiles every expression that has no other inside.
fn expressions(value: &Value, path: &str, flaws: &mut Vec<Flaw>) {
    match value {
        Value::String(text) if text.contains("{{") => {
            for found in INNERMOST.captures_iter(text) {
                let expression = found[1].trim();
                let expression = expression.strip_prefix('-').unwrap_or(expression).trim();
                // What is made of other variables is known only when they are.
                if expression == "@" || expression.is_empty() {
                    continue;
                }
                if let Err(why) = Expression::compile(expression) {
                    flaws.push(Flaw::new(path, format!("{{{{ {expression} }}}}: {why}")));
                }
            }
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(at, it)| expressions(it, &format!("{path}[{at}]"), flaws));
        }
        Value::Object(all) => all.iter().for_each(|(key, it)| expressions(it, &format!("{path}.{key}"), flaws)),
        _ => {}
    }
}
