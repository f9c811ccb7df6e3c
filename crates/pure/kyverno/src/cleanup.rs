//! Policies that delete by schedule: ClusterCleanupPolicy, CleanupPolicy and DeletingPolicy.
//!
//! Entry point: [`Cleanup::compile`]. Which objects go is asked of a rule like that of any other policy: `match`,
//! `exclude` and `conditions`, whose expressions see the object as `target`; or of expressions in CEL. When, is a schedule
//! in cron's format, in UTC. Deliberately absent: doing it.

use eyot_model::{cron::Schedule, kinds::Kind};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Flaw, Policy, Reference, Request, Status,
    celpolicy::{CelDeleter, GROUP},
    conditions::Conditions,
    context::Context,
    flaw,
    matching::Match,
    spec::ContextEntry,
};

/// A policy that deletes.
#[derive(Debug)]
pub struct Cleanup {
    /// As it was written.
    pub(crate) spec: Value,
    /// `ClusterCleanupPolicy` and so on.
    pub kind: String,
    /// Empty for one that is about all namespaces.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Identity, once it is stored.
    pub(crate) uid: String,
    /// When it runs.
    pub schedule: Schedule,
    /// How dependents go: `Foreground`, `Background`, `Orphan`, or as the kind has it.
    pub propagation: Option<String>,
    demand: Demand,
}

/// What is asked about objects.
#[derive(Debug)]
pub(crate) enum Demand {
    /// A rule that is violated by what goes.
    Rule(Box<Policy>),
    /// Expressions that hold for what goes.
    Cel(Box<CelDeleter>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(default, rename = "context")]
    _context: Vec<ContextEntry>,
    #[serde(rename = "match")]
    matches: Match,
    exclude: Option<Match>,
    schedule: String,
    #[serde(rename = "conditions")]
    _conditions: Option<Conditions>,
    deletion_propagation_policy: Option<String>,
}

impl Cleanup {
    /// Reads a policy.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(object: &Value) -> Result<Cleanup, Vec<Flaw>> {
        if object["kind"].as_str().is_some_and(|it| it.ends_with("DeletingPolicy")) {
            return Cleanup::compile_cel(object);
        }
        let written = object.get("spec").cloned().unwrap_or_default();
        let spec: Spec = flaw::read(written, "spec").map_err(|it| vec![it])?;
        let mut flaws = Vec::new();
        for (field, filters) in [("match", Some(&spec.matches)), ("exclude", spec.exclude.as_ref())] {
            if filters.is_some_and(Match::needs_user) {
                let why = "subjects, roles and clusterRoles are not known when objects are cleaned up";
                flaws.push(Flaw::new(format!("spec.{field}"), why));
            }
        }
        if spec.matches.kinds().next().is_none() {
            flaws.push(Flaw::new("spec.match", "names no kind"));
        }
        let policy = Policy::compile(&as_rule(object)).map_err(|more| flaws.extend(more.into_iter().map(relocated)));
        let timing = (spec.schedule.as_str(), spec.deletion_propagation_policy);
        match policy {
            Ok(policy) => Cleanup::assembled(object, timing, Demand::Rule(Box::new(policy)), flaws),
            Err(()) => Err(flaws),
        }
    }

    fn compile_cel(object: &Value) -> Result<Cleanup, Vec<Flaw>> {
        let spec = &object["spec"];
        let propagation = spec["deletionPropagationPolicy"].as_str().map(str::to_owned);
        let timing = (spec["schedule"].as_str().unwrap_or_default(), propagation);
        Cleanup::assembled(object, timing, Demand::Cel(Box::new(CelDeleter::compile(object))), Vec::new())
    }

    fn assembled(
        object: &Value,
        (schedule, propagation): (&str, Option<String>),
        demand: Demand,
        mut flaws: Vec<Flaw>,
    ) -> Result<Cleanup, Vec<Flaw>> {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        if !matches!(propagation.as_deref(), None | Some("Foreground" | "Background" | "Orphan")) {
            let field = "spec.deletionPropagationPolicy";
            flaws.push(Flaw::new(field, "must be one of Foreground, Background and Orphan"));
        }
        match Schedule::parse(schedule) {
            Ok(schedule) if flaws.is_empty() => Ok(Cleanup {
                spec: object.get("spec").cloned().unwrap_or_default(),
                kind: text(&object["kind"]),
                namespace: text(&metadata["namespace"]),
                name: text(&metadata["name"]),
                uid: text(&metadata["uid"]),
                schedule,
                propagation,
                demand,
            }),
            Ok(_) => Err(flaws),
            Err(why) => {
                flaws.push(Flaw::new("spec.schedule", why));
                Err(flaws)
            }
        }
    }

    /// Kind, namespace and name, as logs tell them.
    pub fn key(&self) -> String {
        match self.namespace.as_str() {
            "" => format!("{}/{}", self.kind, self.name),
            namespace => format!("{}/{namespace}/{}", self.kind, self.name),
        }
    }

    /// Group and version of the policy.
    pub fn api_version(&self) -> (&'static str, &'static str) {
        match self.demand {
            Demand::Rule(_) => ("kyverno.io", "v2"),
            Demand::Cel(_) => (GROUP, "v1"),
        }
    }

    /// The policy, as events name it.
    pub(crate) fn reference(&self) -> Reference {
        let (group, version) = self.api_version();
        Reference {
            api_version: format!("{group}/{version}"),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }

    /// Whether it may be about objects of a kind.
    pub(crate) fn names(&self, kind: &Kind) -> bool {
        match &self.demand {
            Demand::Rule(policy) => {
                let mut patterns = policy.rules.iter().flat_map(|it| it.rule.matches.kinds());
                patterns.any(|it| it.subresource().is_empty() && it.names(&kind.group, &kind.version, &kind.kind))
            }
            Demand::Cel(policy) => policy.policy.matching.plurals().any(|it| it == "*" || it == kind.plural),
        }
    }

    /// What is asked about objects.
    pub(crate) fn demand(&self) -> &Demand {
        &self.demand
    }
}

/// Whether an object is to go by a rule.
///
/// # Errors
/// When that cannot be told.
pub(crate) fn takes(policy: &Policy, request: &Request<'_>, context: &mut Context<'_>) -> Result<bool, String> {
    context.set("target", request.object.clone());
    let results = policy.validate(request, context, &[]);
    match results.into_iter().next() {
        Some(it) if it.status == Status::Error => Err(it.message),
        found => Ok(found.is_some_and(|it| it.status == Status::Fail)),
    }
}

/// A policy whose only rule is violated by what is to go.
fn as_rule(object: &Value) -> Value {
    let spec = &object["spec"];
    let always = json!({"conditions": {"all": [{"key": 1, "operator": "Equals", "value": 1}]}});
    let mut rule = json!({"name": "cleanup", "match": spec["match"], "validate": {"deny": always}});
    for (from, to) in [("exclude", "exclude"), ("context", "context"), ("conditions", "preconditions")] {
        if let Some(it) = spec.get(from) {
            rule[to] = it.clone();
        }
    }
    let mut metadata = json!({"name": object["metadata"]["name"], "annotations": {crate::autogen::ANNOTATION: "none"}});
    if let Some(namespace) = object["metadata"].get("namespace") {
        metadata["namespace"] = namespace.clone();
    }
    let kind = if metadata.get("namespace").is_some() { "Policy" } else { "ClusterPolicy" };
    json!({"kind": kind, "metadata": metadata, "spec": {"rules": [rule]}})
}

/// A flaw of that rule, at the field that it came from.
fn relocated(flaw: Flaw) -> Flaw {
    let path = flaw.path.replacen("spec.rules[0].", "spec.", 1).replacen("spec.preconditions", "spec.conditions", 1);
    Flaw { path, ..flaw }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(spec: Value) -> String {
        let object = json!({"kind": "ClusterCleanupPolicy", "metadata": {"name": "c"}, "spec": spec});
        let flaws = Cleanup::compile(&object).err().unwrap_or_default();
        flaws.iter().map(|it| format!("{it}\n")).collect()
    }

    #[test]
    fn what_is_wrong_is_told_by_field() {
        let kinds = json!({"any": [{"resources": {"kinds": ["Pod"]}}]});
        assert_eq!(flaws(json!({"match": kinds, "schedule": "*/5 * * * *"})), "");
        let bad = flaws(json!({"match": kinds, "schedule": "never", "deletionPropagationPolicy": "Soon"}));
        assert!(bad.contains("spec.schedule: ") && bad.contains("spec.deletionPropagationPolicy: "), "{bad}");
        let asks = json!({"any": [{"resources": {"kinds": ["Pod"]}, "clusterRoles": ["admin"]}]});
        assert!(flaws(json!({"match": asks, "schedule": "* * * * *"})).starts_with("spec.match: subjects"));
        assert!(flaws(json!({"match": kinds, "schedul": "x"})).contains("unknown field"));
        assert!(flaws(json!({"match": {}, "schedule": "* * * * *"})).contains("spec.match: names no kind"));
    }
}
