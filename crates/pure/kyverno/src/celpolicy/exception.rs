//! PolicyExceptions of `policies.kyverno.io`. Entry point: [`CelException::compile`].

use eyot_model::meta;
use eyot_rules::{Budget, Environment, json};
use eyot_vap::{Expression, conditions};
use serde_json::{Value, json as made};

use super::VALIDATING;
use crate::policy::Status;

/// Tells which of several exceptions says how a report looks.
const PRIORITY: &str = "polex.kyverno.io/priority";

/// What lets objects pass, or gives a policy's expressions something to go by.
#[derive(Debug)]
pub(crate) struct CelException {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Kind, namespace (or empty) and name of policies.
    policies: Vec<[String; 3]>,
    conditions: Vec<Expression>,
    images: Vec<Value>,
    values: Vec<Value>,
    /// Whether reports say `pass` instead of `skip`.
    passes: bool,
    priority: i64,
}

/// What the exceptions that apply come to.
pub(super) enum Excused {
    /// The policy is not evaluated: the outcome, and the exceptions.
    Wholly(Status, Vec<String>),
    /// It is evaluated, and sees this as `exceptions`.
    Partly(eyot_rules::Value),
}

impl CelException {
    /// Compiles an exception whose fields were checked.
    pub(crate) fn compile(object: &Value) -> CelException {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let list = |field: &str| meta::list(spec.get(field));
        let condition = |it: &Value| Expression::compile(it["expression"].as_str().unwrap_or_default(), &VALIDATING);
        let namespace = text(&metadata["namespace"]);
        let named = |it: &Value| {
            let (kind, name) = (text(&it["kind"]), text(&it["name"]));
            // A policy of a namespace is called `namespace/name`; without the first part it is one beside the exception.
            let (of, name) = match name.split_once('/') {
                Some((of, name)) => (of.to_owned(), name.to_owned()),
                None if kind.starts_with("Namespaced") => (namespace.clone(), name),
                None => (String::new(), name),
            };
            [kind, of, name]
        };
        CelException {
            policies: list("policyRefs").iter().map(named).collect(),
            namespace,
            name: text(&metadata["name"]),
            conditions: list("matchConditions").iter().map(condition).collect(),
            images: list("images").to_vec(),
            values: list("allowedValues").to_vec(),
            passes: spec["reportResult"] == "pass",
            priority: metadata["labels"][PRIORITY].as_str().and_then(|it| it.parse().ok()).unwrap_or(0),
        }
    }

    /// Whether it is about a policy, by its kind, namespace (or empty) and name.
    pub(super) fn names(&self, policy: [&str; 3]) -> bool {
        self.policies.iter().any(|it| *it == policy)
    }

    fn is_whole(&self) -> bool {
        self.images.is_empty() && self.values.is_empty()
    }
}

/// What exceptions make of a request that a policy is about.
///
/// # Errors
/// When a condition cannot be evaluated and no exception lets the request pass anyway.
pub(super) fn excused(all: &[&CelException], seen: &Environment, ignores_failures: bool) -> Result<Excused, String> {
    let mut applying: Vec<&CelException> = Vec::new();
    for exception in all {
        match conditions(&exception.conditions, seen, &mut Budget::new(Budget::WRITE)) {
            Ok(true) => applying.push(exception),
            Ok(false) => {}
            // One that was granted stays granted.
            Err(_) if ignores_failures || applying.iter().any(|it| it.is_whole()) => {}
            Err(why) => return Err(why),
        }
    }
    if applying.iter().any(|it| it.is_whole()) {
        let keys = applying.iter().map(|it| match it.namespace.as_str() {
            "" => it.name.clone(),
            namespace => format!("{namespace}/{}", it.name),
        });
        let keys = keys.collect();
        // Of those with the same priority the first.
        let first = applying.iter().rev().max_by_key(|it| it.priority.max(0));
        let status = if first.is_some_and(|it| it.passes) { Status::Pass } else { Status::Skip };
        return Ok(Excused::Wholly(status, keys));
    }
    let all = |list: fn(&CelException) -> &Vec<Value>| -> Vec<Value> {
        applying.iter().flat_map(|it| list(it).iter().cloned()).collect()
    };
    let shown = made!({"allowedImages": all(|it| &it.images), "allowedValues": all(|it| &it.values)});
    Ok(Excused::Partly(json(&shown)))
}
