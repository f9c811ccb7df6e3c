//! Evaluates mutating policies. Entry points: [`change`] for all of a request, [`mutated`] for one.

use std::sync::Arc;

use eyot_model::{
    apply,
    kinds::Kind,
    patch::{self, PatchError},
    status::Reason,
};
use eyot_policy::{Data, Denial, Mutation as Made, Review, Turns};
use eyot_rules::{Budget, Environment, to_json};
use serde_json::Value;

use crate::{
    binding::Binding,
    judge::{conditions, denial},
    matching::Version,
    params,
    policy::{Mutation, Policy},
    request::{Shown, between, carries_its_kind},
    state::{Bound, State},
};

/// Lets all policies change an object, by their names; each sees what those before it made of it. A policy that fails
/// changes nothing, and refuses the request unless its failures are ignored.
pub(crate) fn change(
    state: &State,
    review: &Review<'_>,
    object: &mut Value,
    turns: &mut Turns,
    data: &dyn Data,
) -> Result<Made, Denial> {
    let mut made = Made::default();
    let kinds = data.kinds();
    // What expressions see is made anew only when the object is another one.
    let mut shown = Shown::default();
    for Bound { policy, bindings } in state.changing(&review.requested.plural).iter().map(AsRef::as_ref) {
        for binding in bindings {
            let review = Review { object, ..*review };
            let Some(version) = policy.matching.version(&review, &kinds) else { continue };
            if binding.matching.as_ref().is_some_and(|it| it.version(&review, &kinds).is_none()) {
                continue;
            }
            let one = One { policy, binding, version: &version, review: &review, data };
            match one.run(&mut shown, turns) {
                Ok(None) => {}
                Ok(Some(new)) => {
                    *object = new;
                    shown.replace(object);
                    made.changed = true;
                }
                Err(why) => one.settle(&why)?,
            }
        }
    }
    Ok(made)
}

/// One policy under one binding, about one request.
struct One<'a> {
    policy: &'a Policy,
    binding: &'a Binding,
    version: &'a Version,
    review: &'a Review<'a>,
    data: &'a dyn Data,
}

impl One<'_> {
    /// The object as the policy makes it; `None` when it leaves it as it is.
    fn run(&self, shown: &mut Shown, turns: &mut Turns) -> Result<Option<Value>, String> {
        if let Some(why) = &self.policy.broken {
            return Err(format!("failed to configure policy: {why}"));
        }
        let found = params::collect(self.policy, self.binding, self.review, self.data);
        let mut made: Option<Value> = None;
        for param in found.map_err(|why| format!("failed to configure binding: {why}"))? {
            let name = param.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let id = format!("map/{}/{}/{name}", self.policy.name, self.binding.name);
            if !turns.is_due(&id, self.policy.reinvoked) {
                continue;
            }
            let new = match &made {
                None => self.mutated(self.review, shown, &param)?,
                Some(before) => {
                    self.mutated(&Review { object: before, ..*self.review }, &mut Shown::default(), &param)?
                }
            };
            let Some(new) = new else { continue };
            let differs = new != *made.as_ref().unwrap_or(self.review.object);
            turns.took(&id, differs);
            if differs {
                made = Some(new);
            }
        }
        Ok(made)
    }

    fn mutated(&self, review: &Review<'_>, shown: &mut Shown, param: &Arc<Value>) -> Result<Option<Value>, String> {
        let with_param = |seen: Environment| seen.with("params", param.clone());
        mutated(self.policy, (review, self.version), shown, self.data, &with_param)
    }

    /// Refuses the request for a failure, unless failures are ignored.
    fn settle(&self, why: &str) -> Result<(), Denial> {
        if self.policy.ignores_failures {
            return Ok(());
        }
        let (policy, binding) = (&self.policy.name, &self.binding.name);
        let message = format!("policy '{policy}' with binding '{binding}' denied request: {why}");
        Err(Denial { is_reason: false, ..denial(policy, message, Reason::Invalid) })
    }
}

/// An object after all mutations of a policy, which is about it in that version; `None` when its conditions do not hold.
/// `more` adds to what expressions see. `shown` must be of the same request.
///
/// # Errors
/// What went wrong.
pub fn mutated(
    policy: &Policy,
    (review, version): (&Review<'_>, &Version),
    shown: &mut Shown,
    data: &dyn Data,
    more: &dyn Fn(Environment) -> Environment,
) -> Result<Option<Value>, String> {
    let mut budget = Budget::new(Budget::WRITE);
    let mut made: Option<Value> = None;
    for mutation in &policy.mutations {
        let seen = match &made {
            None => shown.of(review, data, version),
            Some(object) => Shown::default().of(&Review { object, ..*review }, data, version),
        };
        let seen = more(seen).with_variables(policy.variables.clone());
        if made.is_none() && !conditions(&policy.conditions, &seen, &mut budget)? {
            return Ok(None);
        }
        let value = mutation.expression.run(&seen, &mut budget)?;
        let value = to_json(&value).ok_or("the expression's value is no JSON")?;
        let (requested, object) = (review.requested, made.as_ref().unwrap_or(review.object));
        made = Some(match version {
            Version::Other(kind) if carries_its_kind(review) => {
                let shown = between(requested, kind, object.clone());
                between(kind, requested, applied(mutation, kind, &shown, value)?)
            }
            _ => applied(mutation, requested, object, value)?,
        });
    }
    Ok(made)
}

fn applied(mutation: &Mutation, kind: &Kind, object: &Value, value: Value) -> Result<Value, String> {
    if mutation.patches {
        let patch = tidy(value)?;
        return match patch::json::apply(object, &patch) {
            // A test that fails means that there is nothing to do.
            Err(PatchError::Unprocessable(why)) if why.starts_with("testing path") => Ok(object.clone()),
            other => other.map_err(|it| format!("error applying patch: {it}")),
        };
    }
    let Value::Object(mut config) = value else {
        return Err("the expression of an ApplyConfiguration must make an Object".to_owned());
    };
    config.insert("apiVersion".into(), kind.api_version().into());
    config.insert("kind".into(), kind.kind.as_str().into());
    let merged = apply::overlay(kind, object, &Value::Object(config));
    merged.map_err(|it| format!("invalid ApplyConfiguration: {it}"))
}

/// The operations of a patch, those whose value is null with one.
fn tidy(value: Value) -> Result<Value, String> {
    let Value::Array(mut operations) = value else {
        return Err("the expression of a JSONPatch must make a list of JSONPatch".to_owned());
    };
    for operation in &mut operations {
        let Value::Object(map) = operation else {
            return Err("the expression of a JSONPatch must make a list of JSONPatch".to_owned());
        };
        if matches!(map.get("op").and_then(Value::as_str), Some("add" | "replace" | "test")) {
            map.entry("value").or_insert(Value::Null);
        }
    }
    Ok(Value::Array(operations))
}
