//! PolicyExceptions: objects that a rule lets pass.
//!
//! Entry points: [`Exception::compile`], [`applying`].

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    conditions::Conditions,
    context::Context,
    flaw::{self, Flaw},
    matching::{Filter, Match},
    policy::{Policy, Request, RuleKind, RuleResult, Status},
    spec::{PodSecurityExclude, Rule},
    wildcard,
};

/// A PolicyException.
#[derive(Debug)]
pub struct Exception {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity, once it is stored.
    pub(crate) uid: String,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    background: Option<bool>,
    #[serde(rename = "match")]
    matches: Match,
    conditions: Option<Conditions>,
    exceptions: Vec<From>,
    #[serde(default)]
    pod_security: Vec<PodSecurityExclude>,
}

/// A policy and some of its rules.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct From {
    policy_name: String,
    rule_names: Vec<String>,
}

impl Exception {
    /// Reads an exception.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(object: &Value) -> Result<Exception, Flaw> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let spec: Spec = flaw::read(object.get("spec").cloned().unwrap_or_default(), "spec")?;
        if spec.exceptions.is_empty() {
            return Err(Flaw::new("spec.exceptions", "names no policy"));
        }
        if spec.background != Some(false) && spec.matches.needs_user() {
            let why = "subjects, roles and clusterRoles are not known when stored objects are judged; set \
                       spec.background to false";
            return Err(Flaw::new("spec.match", why));
        }
        Ok(Exception { namespace: text("namespace"), name: text("name"), uid: text("uid"), spec })
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }

    /// Controls of the Pod Security Standards that it lets pass; none lets the whole rule pass.
    pub(crate) fn pod_security(&self) -> &[PodSecurityExclude] {
        &self.spec.pod_security
    }

    fn names(&self, policy: &Policy, rule: &Rule) -> bool {
        self.spec.exceptions.iter().any(|it| {
            it.policy_name == policy.key() && wildcard::any(it.rule_names.iter().map(String::as_str), &rule.name)
        })
    }

    fn fits(&self, request: &Request<'_>) -> bool {
        let fits = |filter: &Filter| {
            let is_empty = filter.resources.is_empty()
                && filter.subjects.is_empty()
                && filter.roles.is_empty()
                && filter.cluster_roles.is_empty();
            !is_empty && request.with_subject(|it| filter.fits(it, true))
        };
        let matches = &self.spec.matches;
        match (matches.any.is_empty(), matches.all.is_empty()) {
            (false, _) => matches.any.iter().any(fits),
            (true, false) => matches.all.iter().all(fits),
            (true, true) => false,
        }
    }
}

/// The exceptions that apply to a rule and a request. One whose conditions fail to evaluate does not apply.
pub(crate) fn applying(
    all: &[Arc<Exception>],
    policy: &Policy,
    rule: &Rule,
    request: &Request<'_>,
    context: &mut Context<'_>,
) -> Vec<Arc<Exception>> {
    let named = all.iter().filter(|it| it.names(policy, rule) && it.fits(request));
    let mut applying = Vec::new();
    for exception in named {
        let holds = match &exception.spec.conditions {
            Some(conditions) => conditions.evaluate(context).is_ok_and(|it| it.0),
            None => true,
        };
        if holds {
            applying.push(exception.clone());
        }
    }
    applying
}

/// The outcome of a rule to which an exception applies.
pub(crate) fn skip(applying: &[Arc<Exception>], rule: &Rule, kind: RuleKind) -> Option<RuleResult> {
    if applying.is_empty() {
        return None;
    }
    let keys: Vec<String> = applying.iter().map(|it| it.key()).collect();
    let message = format!("rule is skipped due to policy exceptions {}", keys.join(", "));
    let mut result = RuleResult::new(rule, kind, Status::Skip, message);
    result.exceptions = keys;
    Some(result)
}
