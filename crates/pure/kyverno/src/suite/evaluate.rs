//! Applies all policies to all resources.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Test, cel::Case, load::Loaded};
use crate::{
    Policy, Request, RuleResult,
    context::Context,
    jmespath::Env,
    source::{Fixed, Source},
};

/// What one policy made of one resource.
pub(super) struct Response {
    /// The policy's name.
    pub(super) policy: String,
    /// Whether violations count.
    pub(super) is_scored: bool,
    /// Whether it has rules by name.
    pub(super) has_rules: bool,
    pub(super) rules: Vec<RuleResult>,
    /// The resource afterwards.
    pub(super) patched: Value,
}

/// What all policies made of one resource.
pub(super) struct Outcome {
    pub(super) resource: Value,
    /// Empty for the operation that the values say.
    pub(super) operation: String,
    pub(super) responses: Vec<Response>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Mutate,
    Validate,
    Generate,
}

pub(super) fn all(test: &Test, loaded: &Loaded, now: Timestamp) -> Result<Vec<Outcome>, String> {
    let mut operations = vec![""];
    for expected in &test.results {
        if !operations.contains(&expected.operation.as_str()) {
            operations.push(&expected.operation);
        }
    }
    let mut outcomes = Vec::new();
    for resource in unique(&loaded.resources) {
        for operation in &operations {
            outcomes.push(one(loaded, resource, operation, now)?);
        }
    }
    Ok(outcomes)
}

/// Resources without those of the same kind and name as an earlier one.
fn unique(all: &[Value]) -> Vec<&Value> {
    let key = |it: &Value| {
        let text = |pointer: &str| it.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let group = text("/apiVersion");
        let group = group.split_once('/').map_or("", |it| it.0).to_owned();
        (group, text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
    };
    let mut seen = std::collections::HashSet::new();
    all.iter().filter(|it| seen.insert(key(it))).collect()
}

fn one(loaded: &Loaded, resource: &Value, operation: &str, now: Timestamp) -> Result<Outcome, String> {
    let mut responses = Vec::new();
    let mut current = resource.clone();
    for phase in [Phase::Mutate, Phase::Validate, Phase::Generate] {
        for policy in loaded.policies.iter().filter(|it| concerns(it, phase)) {
            let run = Run { loaded, policy, operation, now };
            let (rules, patched) = run.phase(phase, &current)?;
            if let (Phase::Mutate, Some(patched)) = (phase, &patched) {
                current = patched.clone();
            }
            if phase == Phase::Generate && rules.is_empty() {
                continue;
            }
            let patched = patched.unwrap_or_else(|| current.clone());
            let (is_scored, policy) = (policy.is_scored(), policy.name.clone());
            responses.push(Response { policy, is_scored, has_rules: true, rules, patched });
        }
        let case = Case { loaded, operation, now };
        match phase {
            Phase::Mutate => responses.extend(case.mutate(&mut current)),
            Phase::Validate => responses.extend(case.validate(&current)),
            Phase::Generate => {
                responses.extend(case.generate(&current));
                responses.extend(case.delete(&current));
            }
        }
    }
    Ok(Outcome { resource: resource.clone(), operation: operation.to_owned(), responses })
}

fn concerns(policy: &Policy, phase: Phase) -> bool {
    policy.rules.iter().any(|it| match phase {
        Phase::Mutate => it.rule.mutate.is_some(),
        Phase::Validate => it.rule.validate.is_some() || !it.rule.verify_images.is_empty(),
        Phase::Generate => it.rule.generate.is_some(),
    })
}

struct Run<'r> {
    loaded: &'r Loaded,
    policy: &'r Policy,
    operation: &'r str,
    now: Timestamp,
}

impl Run<'_> {
    fn phase(&self, phase: Phase, resource: &Value) -> Result<(Vec<RuleResult>, Option<Value>), String> {
        let name = resource["metadata"]["name"].as_str().unwrap_or_default();
        let mut values = self.loaded.values.of(&self.policy.name, name);
        if !self.operation.is_empty() {
            values.insert("request.operation".to_owned(), self.operation.into());
        }
        let operation = values["request.operation"].as_str().unwrap_or("CREATE").to_owned();
        let env = Env::new(self.now, 0x9E37_79B9_7F4A_7C15);
        let source = self.source();
        let about = self.about(resource, &operation);
        let namespace = resource["metadata"]["namespace"].as_str().unwrap_or_default();
        let namespace = self.namespace(namespace, &source);
        let (group, version, kind, subresource) = self.kind(resource);
        let null = Value::Null;
        let base = Request {
            object: if operation == "DELETE" { &null } else { resource },
            old: (operation != "CREATE").then_some(resource),
            operation: &operation,
            group: &group,
            version: &version,
            kind: &kind,
            subresource: &subresource,
            namespace: &namespace,
            requester: self.loaded.requester.as_ref(),
            about: &about,
        };
        let mut context = Context::new(base.variables(), &env, &source as &dyn Source);
        for (path, value) in &values {
            context.set_path(path, value.clone());
        }
        // Values may change the objects themselves.
        let (object, old) = (context.request("object").clone(), context.request("oldObject").clone());
        let old = Some(&old).filter(|it| !it.is_null());
        let request = Request { object: &object, old, ..base };
        context.given = self.rule_values();
        Ok(match phase {
            Phase::Mutate => {
                let mut made = object.clone();
                let (results, changed) = self.policy.mutate(&request, &mut made, &mut context, &self.loaded.exceptions);
                (results, changed.then_some(made))
            }
            Phase::Validate => (self.policy.validate(&request, &mut context, &self.loaded.exceptions), None),
            Phase::Generate => (self.policy.generate(&request, &mut context, &self.loaded.exceptions), None),
        })
    }

    fn rule_values(&self) -> Vec<(String, String, Value)> {
        let rules = self.policy.rules.iter().map(|it| &it.rule.name);
        let given = rules.flat_map(|rule| {
            let values = self.loaded.values.of_rule(&self.policy.name, rule).into_iter();
            values.map(move |(path, value)| (rule.clone(), path, value))
        });
        given.collect()
    }

    /// What clones copy comes from files that the expectation names.
    fn source(&self) -> Fixed {
        let mut source = Fixed {
            objects: self.loaded.source.objects.clone(),
            calls: self.loaded.source.calls.clone(),
            globals: self.loaded.source.globals.clone(),
            is_cluster: self.loaded.source.is_cluster,
        };
        let clones = self.loaded.clones.iter().filter(|it| it.0 == self.policy.key());
        source.objects.extend(clones.flat_map(|it| it.2.iter().cloned().map(Arc::new)));
        source
    }

    fn namespace(&self, name: &str, source: &Fixed) -> Value {
        let given = self.loaded.values.namespace(name);
        let labels = given["metadata"]["labels"].as_object().is_some_and(|it| !it.is_empty());
        if labels || !source.is_cluster {
            return given;
        }
        let found = source.get("v1", "Namespace", "", name).ok().flatten();
        found.map_or(given, |it| Value::clone(&it))
    }

    /// Group, version, kind and subresource: some kinds stand for a subresource of another.
    fn kind(&self, resource: &Value) -> (String, String, String, String) {
        let api_version = resource["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = eyot_model::kinds::split_api_version(api_version);
        let kind = resource["kind"].as_str().unwrap_or_default();
        let stands = self.loaded.values.subresources.iter().find(|it| {
            (it.subresource.group.as_str(), it.subresource.version.as_str(), it.subresource.kind.as_str())
                == (group, version, kind)
        });
        match stands {
            Some(it) => {
                let sub = it.subresource.name.split_once('/').map_or("", |it| it.1);
                let parent = &it.parent_resource;
                (parent.group.clone(), parent.version.clone(), parent.kind.clone(), sub.to_owned())
            }
            None => (group.to_owned(), version.to_owned(), kind.to_owned(), String::new()),
        }
    }

    fn about(&self, resource: &Value, operation: &str) -> Value {
        let (group, version, kind, _) = self.kind(resource);
        let metadata = &resource["metadata"];
        let mut about = json!({
            "uid": "",
            "kind": { "group": group, "version": version, "kind": kind },
            "name": metadata["name"],
            "operation": operation,
            "userInfo": {},
        });
        if metadata["namespace"].is_string() {
            about["namespace"] = metadata["namespace"].clone();
        }
        if let Some(it) = &self.loaded.requester {
            about["userInfo"] = json!({ "username": it.username, "groups": it.groups });
        }
        about
    }
}
