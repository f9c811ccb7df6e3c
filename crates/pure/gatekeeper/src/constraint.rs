//! Constraints: a template's parameters, what they are for, and what is done. Entry point: [`Constraint::read`].

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use eyot_model::{meta, status::Cause};
use eyot_rego::Value as Rego;
use serde_json::Value;

use crate::{
    matching::{Match, texts},
    template::Template,
};

/// Where a constraint is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    Webhook,
    Audit,
    Gator,
}

impl Point {
    fn name(self) -> &'static str {
        match self {
            Point::Webhook => "validation.gatekeeper.sh",
            Point::Audit => "audit.gatekeeper.sh",
            Point::Gator => "gator.gatekeeper.sh",
        }
    }
}

/// What is done about a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Deny,
    Warn,
    Dryrun,
}

impl Action {
    const WORDS: [&'static str; 3] = ["deny", "dryrun", "warn"];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Action::Deny => "deny",
            Action::Warn => "warn",
            Action::Dryrun => "dryrun",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Action> {
        [Action::Deny, Action::Warn, Action::Dryrun].into_iter().find(|it| it.word() == word)
    }
}

/// A constraint, ready to be asked.
#[derive(Debug)]
pub(crate) struct Constraint {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) matching: Match,
    /// Parameters as Rego reads them; of a constraint whose template is not known yet those that are written.
    pub(crate) parameters: Rego,
    /// The object itself, with defaults, as CEL reads it.
    pub(crate) object: Arc<Value>,
    /// Stands for its spec as it was written, and whether its template was known.
    pub(crate) written: u64,
    action: Action,
    /// Actions by enforcement point; empty unless the action is `scoped`.
    scoped: Vec<(Action, Vec<String>)>,
    is_scoped: bool,
    /// Why it cannot be read, of one that an older server stored: what it is about cannot be judged, and is not let pass.
    pub(crate) flaw: Option<String>,
}

impl Constraint {
    /// Reads a constraint of a template.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(object: &Value, template: Option<&Template>) -> Result<Constraint, Vec<Cause>> {
        let (constraint, causes) = Constraint::salvage(object, template);
        if causes.is_empty() { Ok(constraint) } else { Err(causes) }
    }

    /// Reads a constraint that is stored. What cannot be read of one makes it about more, and its action a denial.
    pub(crate) fn stored(object: &Value, template: Option<&Template>) -> Constraint {
        let (constraint, causes) = Constraint::salvage(object, template);
        if causes.is_empty() {
            return constraint;
        }
        let told: Vec<String> = causes.iter().map(Cause::to_string).collect();
        let flaw = Some(format!("the constraint cannot be read: {}", told.join("; ")));
        Constraint { flaw, ..constraint }
    }

    fn salvage(object: &Value, template: Option<&Template>) -> (Constraint, Vec<Cause>) {
        let mut causes = Vec::new();
        let spec = &object["spec"];
        let matching = Match::read(&spec["match"], "spec.match", &mut causes);
        let word = spec["enforcementAction"].as_str().filter(|it| !it.is_empty()).unwrap_or("deny");
        let is_scoped = word == "scoped";
        let action = Action::parse(word).unwrap_or(Action::Deny);
        let told = causes.len();
        if !is_scoped && Action::parse(word).is_none() {
            let known = ["deny", "dryrun", "scoped", "warn"];
            causes.push(Cause::not_supported("spec.enforcementAction", &spec["enforcementAction"], &known));
        }
        let mut scoped = Vec::new();
        for (n, one) in meta::list(spec.get("scopedEnforcementActions")).iter().enumerate() {
            let field = format!("spec.scopedEnforcementActions[{n}].action");
            match one["action"].as_str().and_then(Action::parse) {
                Some(action) => {
                    let points = meta::list(one.get("enforcementPoints")).iter();
                    scoped
                        .push((action, points.flat_map(|it| texts(&Value::Array(vec![it["name"].clone()]))).collect()));
                }
                None => causes.push(Cause::not_supported(field, &one["action"], &Action::WORDS)),
            }
        }
        if is_scoped && scoped.is_empty() {
            causes.push(Cause::required("spec.scopedEnforcementActions", "for enforcementAction scoped"));
        }
        let is_scoped = is_scoped && causes.len() == told;
        let parameters = template.map_or_else(
            || object.pointer("/spec/parameters").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            |template| template.parameters(object),
        );
        let mut whole = object.clone();
        if whole["spec"].is_object() {
            whole["spec"]["parameters"] = parameters.clone();
        }
        let constraint = Constraint {
            kind: object["kind"].as_str().unwrap_or_default().to_owned(),
            name: meta::name(object).unwrap_or_default().to_owned(),
            matching,
            parameters: Rego::from(&parameters),
            object: Arc::new(whole),
            written: written(spec, template),
            action,
            scoped,
            is_scoped,
            flaw: None,
        };
        (constraint, causes)
    }

    /// What is done about a violation at `point`; nothing if the constraint is not for it.
    pub(crate) fn actions(&self, point: Point) -> Vec<Action> {
        if !self.is_scoped {
            return vec![self.action];
        }
        let here = |points: &[String]| points.iter().any(|it| it == "*" || it == point.name());
        let mut actions: Vec<Action> =
            self.scoped.iter().filter(|(_, points)| here(points)).map(|(action, _)| *action).collect();
        actions.sort();
        actions.dedup();
        actions
    }

    /// The word that its status shows.
    pub(crate) fn word(&self) -> &'static str {
        if self.is_scoped { "scoped" } else { self.action.word() }
    }
}

fn written(spec: &Value, template: Option<&Template>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (spec.to_string(), template.is_some()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn actions_are_by_point_where_they_are_scoped() {
        let read = |spec: Value| Constraint::read(&json!({"kind": "K", "metadata": {"name": "a"}, "spec": spec}), None);
        let plain = read(json!({})).expect("reads");
        assert_eq!(plain.actions(Point::Webhook), [Action::Deny]);
        let scoped = read(json!({"enforcementAction": "scoped", "scopedEnforcementActions": [
            {"action": "warn", "enforcementPoints": [{"name": "validation.gatekeeper.sh"}]},
            {"action": "deny", "enforcementPoints": [{"name": "*"}]},
            {"action": "dryrun", "enforcementPoints": [{"name": "gator.gatekeeper.sh"}]}]}));
        let scoped = scoped.expect("reads");
        assert_eq!(scoped.actions(Point::Webhook), [Action::Deny, Action::Warn]);
        assert_eq!(scoped.actions(Point::Audit), [Action::Deny]);
        let wrong = read(json!({"enforcementAction": "explode"})).expect_err("is refused");
        assert_eq!(wrong[0].field, "spec.enforcementAction");
        assert!(read(json!({"enforcementAction": "scoped"})).is_err());
    }
}
