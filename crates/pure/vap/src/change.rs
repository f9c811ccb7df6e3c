//! Evaluates mutating policies. Entry point: [`change`].

use std::sync::Arc;

use eyot_model::{apply, kinds::Kind, patch, status::Reason};
use eyot_policy::{Data, Denial, Mutation as Made, Review, Turns};
use eyot_rules::{Budget, to_json};
use serde_json::Value;

use crate::{
    binding::Binding,
    judge::{conditions, denial},
    matching::Version,
    params,
    policy::{Mutation, Policy},
    request::{Request, between},
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
    for Bound { policy, bindings } in state.changing(&review.requested.plural).iter().map(AsRef::as_ref) {
        for binding in bindings {
            let before = object.clone();
            let review = Review { object: &before, ..*review };
            let Some(version) = policy.matching.version(&review, &kinds) else { continue };
            if binding.matching.as_ref().is_some_and(|it| it.version(&review, &kinds).is_none()) {
                continue;
            }
            let mut one = One { policy, binding, version: &version, review: &review, data };
            match one.run(object, turns) {
                Ok(changed) => made.changed |= changed,
                Err(why) => {
                    *object = before.clone();
                    one.settle(&why)?;
                }
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
    /// Changes the object, and says whether that changed anything.
    fn run(&mut self, object: &mut Value, turns: &mut Turns) -> Result<bool, String> {
        if let Some(why) = &self.policy.broken {
            return Err(format!("failed to configure policy: {why}"));
        }
        let found = params::collect(self.policy, self.binding, self.review, self.data);
        let mut changed = false;
        for param in found.map_err(|why| format!("failed to configure binding: {why}"))? {
            let name = param.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let id = format!("map/{}/{}/{name}", self.policy.name, self.binding.name);
            if !turns.is_due(&id, self.policy.reinvoked) {
                continue;
            }
            let Some(new) = self.mutated(object, &param)? else { continue };
            let differs = new != *object;
            turns.took(&id, differs);
            changed |= differs;
            *object = new;
        }
        Ok(changed)
    }

    /// The object after all mutations of the policy; `None` when its conditions do not hold.
    fn mutated(&self, object: &Value, param: &Arc<Value>) -> Result<Option<Value>, String> {
        let mut budget = Budget::new(Budget::WRITE);
        let mut current = object.clone();
        for (i, mutation) in self.policy.mutations.iter().enumerate() {
            let review = Review { object: &current, ..*self.review };
            let request = Request::new(&review, self.data);
            let seen = request.seen_as(self.version).with("params", param.clone());
            let seen = seen.with_variables(self.policy.variables.clone());
            if i == 0 && !conditions(self.policy, &seen, &mut budget)? {
                return Ok(None);
            }
            let value = mutation.expression.run(&seen, &mut budget)?;
            let value = to_json(&value).ok_or("the expression's value is no JSON")?;
            let requested = self.review.requested;
            current = match self.version {
                Version::Requested => applied(mutation, requested, &current, value)?,
                Version::Other(kind) => {
                    let shown = between(requested, kind, current.clone());
                    between(kind, requested, applied(mutation, kind, &shown, value)?)
                }
            };
        }
        Ok(Some(current))
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

fn applied(mutation: &Mutation, kind: &Kind, object: &Value, value: Value) -> Result<Value, String> {
    if mutation.patches {
        let patch = tidy(value)?;
        return patch::json::apply(object, &patch).map_err(|it| format!("error applying patch: {it}"));
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
