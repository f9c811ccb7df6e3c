//! Policies that delete: ClusterCleanupPolicy and CleanupPolicy.
//!
//! Entry point: [`Cleanup::compile`]. Which objects go is asked of a rule like that of any other policy: `match`,
//! `exclude` and `conditions`, whose expressions see the object as `target`. When, is a schedule in cron's format, in UTC.
//! Deliberately absent: the label `cleanup.kyverno.io/ttl`, and doing it.

use eyot_model::cron::Schedule;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Flaw, Policy, Request, Status,
    conditions::Conditions,
    context::Context,
    flaw,
    matching::{KindPattern, Match},
    spec::ContextEntry,
};

/// A policy of either kind.
#[derive(Debug)]
pub struct Cleanup {
    /// As it was written.
    pub(crate) spec: Value,
    /// Empty for a ClusterCleanupPolicy.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// When it runs.
    pub schedule: Schedule,
    /// How dependents go: `Foreground`, `Background`, `Orphan`, or as the kind has it.
    pub propagation: Option<String>,
    policy: Policy,
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
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let written = object.get("spec").cloned().unwrap_or_default();
        let spec: Spec = flaw::read(written.clone(), "spec").map_err(|it| vec![it])?;
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
        let propagation = spec.deletion_propagation_policy;
        if !matches!(propagation.as_deref(), None | Some("Foreground" | "Background" | "Orphan")) {
            let field = "spec.deletionPropagationPolicy";
            flaws.push(Flaw::new(field, "must be one of Foreground, Background and Orphan"));
        }
        let schedule = Schedule::parse(&spec.schedule).map_err(|why| flaws.push(Flaw::new("spec.schedule", why)));
        let policy = Policy::compile(&as_rule(object)).map_err(|more| flaws.extend(more.into_iter().map(relocated)));
        match (schedule, policy) {
            (Ok(schedule), Ok(policy)) if flaws.is_empty() => {
                let (namespace, name) = (text("namespace"), text("name"));
                Ok(Cleanup { spec: written, namespace, name, schedule, propagation, policy })
            }
            _ => Err(flaws),
        }
    }

    /// `namespace/name`, or the name.
    pub fn key(&self) -> String {
        self.policy.key()
    }

    /// Kinds of what it deletes.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &KindPattern> {
        self.policy.rules.iter().flat_map(|it| it.rule.matches.kinds())
    }

    /// Whether an object is to go.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(crate) fn takes(&self, request: &Request<'_>, context: &mut Context<'_>) -> Result<bool, String> {
        context.set("target", request.object.clone());
        let results = self.policy.validate(request, context, &[]);
        match results.into_iter().next() {
            Some(it) if it.status == Status::Error => Err(it.message),
            found => Ok(found.is_some_and(|it| it.status == Status::Fail)),
        }
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
