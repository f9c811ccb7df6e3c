//! Evaluates mutating policies. Entry points: [`change`] for all of a request, [`mutated`] for one.

use std::sync::Arc;

use eyot_model::{
    apply,
    kinds::Kind,
    patch::{self, PatchError},
    status::Reason,
};
use eyot_policy::{Data, Denial, Mutation as Made, Review, Turns, between};
use eyot_rules::{Budget, Environment};
use serde_json::Value;

use crate::{
    binding::Binding,
    judge::{conditions, denial},
    matching::Version,
    params,
    policy::{Mutation, Policy},
    request::Shown,
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
    // Expressions keep the object that they see; it is copied only where it changes while one still does.
    let mut current = Arc::new(std::mem::take(object));
    let changed = change_all(state, review, &mut current, turns, data);
    *object = Arc::unwrap_or_clone(current);
    changed.map(|changed| Made { changed, ..Made::default() })
}

fn change_all(
    state: &State,
    review: &Review<'_>,
    current: &mut Arc<Value>,
    turns: &mut Turns,
    data: &dyn Data,
) -> Result<bool, Denial> {
    let mut changed = false;
    let kinds = data.kinds();
    // What expressions see is made anew only when the object is another one.
    let mut shown = Shown::default();
    for Bound { policy, bindings } in state.changing(&review.requested.plural).iter().map(AsRef::as_ref) {
        if turns.is_again() && !policy.reinvoked {
            continue;
        }
        for binding in bindings {
            let seen = Review { object: current.as_ref(), ..*review };
            let Some(version) = policy.matching.version(&seen, &kinds) else { continue };
            if binding.matching.as_ref().is_some_and(|it| it.version(&seen, &kinds).is_none()) {
                continue;
            }
            let one = One { policy, binding, version: &version, review, data };
            match one.run(current, &mut shown, turns) {
                Ok(changes) => changed |= changes,
                Err(why) => one.settle(&why)?,
            }
        }
    }
    Ok(changed)
}

/// One policy under one binding, about one request.
struct One<'a> {
    policy: &'a Policy,
    binding: &'a Binding,
    version: &'a Version,
    /// Its object is the one before all changes.
    review: &'a Review<'a>,
    data: &'a dyn Data,
}

impl One<'_> {
    /// Makes of the object what the policy makes of it, under each of its parameters. Says whether that is another one; on
    /// an error it is not.
    fn run(&self, current: &mut Arc<Value>, shown: &mut Shown, turns: &mut Turns) -> Result<bool, String> {
        if let Some(why) = &self.policy.broken {
            return Err(format!("failed to configure policy: {why}"));
        }
        let seen = Review { object: current.as_ref(), ..*self.review };
        let found = params::collect(self.policy, self.binding, &seen, self.data);
        let found = found.map_err(|why| format!("failed to configure binding: {why}"))?;
        // What the first parameters made must go again when the policy fails under others.
        let before = (found.len() > 1).then(|| current.clone());
        let mut changed = false;
        for param in found {
            let name = param.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let id = format!("map/{}/{}/{name}", self.policy.name, self.binding.name);
            if !turns.is_due(&id, self.policy.reinvoked) {
                continue;
            }
            let made = self.mutate(current, shown, &param).inspect_err(|_| {
                if let Some(before) = &before {
                    shown.forget();
                    current.clone_from(before);
                }
            })?;
            let Some(differs) = made else { continue };
            turns.took(&id, differs);
            changed |= differs;
        }
        Ok(changed)
    }

    /// Mutates the object; says whether that changed it, or nothing where the policy's conditions do not hold.
    fn mutate(&self, current: &mut Arc<Value>, shown: &mut Shown, param: &Arc<Value>) -> Result<Option<bool>, String> {
        let review = Review { object: current.as_ref(), ..*self.review };
        if let ([mutation], true) = (&self.policy.mutations[..], self.is_plain()) {
            let mut budget = Budget::new(Budget::WRITE);
            let seen = match self.policy.sees_object {
                true => shown.of_shared(&|| current.clone(), &review, self.data, self.version),
                false => shown.around(&review, self.data),
            };
            let value = computed(self.policy, mutation, &self.under(&seen, param), true, &mut budget)?;
            // The object is copied when it changes while somebody keeps it.
            drop(seen);
            let Some(value) = value else { return Ok(None) };
            return onto(mutation, self.review.requested, current, shown, value).map(Some);
        }
        let with_param = |seen: Environment| seen.with("params", param.clone());
        let Some(new) = mutated(self.policy, (&review, self.version), shown, self.data, &with_param)? else {
            return Ok(None);
        };
        let differs = new != **current;
        if differs {
            shown.forget();
            *current = Arc::new(new);
        }
        Ok(Some(differs))
    }

    /// What the policy's expressions see with a parameter.
    fn under(&self, seen: &Environment, param: &Arc<Value>) -> Environment {
        seen.with("params", param.clone()).with_variables(self.policy.variables.clone())
    }

    /// Whether the policy sees the object as the request has it.
    fn is_plain(&self) -> bool {
        matches!(self.version, Version::Requested) || !self.review.carries_its_kind()
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

/// What a mutation's expression comes to; `None` where the policy's conditions, which `first` asks for, do not hold.
fn computed(
    policy: &Policy,
    mutation: &Mutation,
    seen: &Environment,
    first: bool,
    budget: &mut Budget,
) -> Result<Option<Value>, String> {
    if first && !conditions(&policy.conditions, seen, budget)? {
        return Ok(None);
    }
    let value = mutation.expression.json(seen, budget)?;
    Ok(Some(value.ok_or("the expression's value is no JSON")?))
}

/// Applies what a mutation came to in place. Says whether that changed the object.
fn onto(
    mutation: &Mutation,
    kind: &Kind,
    current: &mut Arc<Value>,
    shown: &mut Shown,
    value: Value,
) -> Result<bool, String> {
    if mutation.patches {
        let new = applied(mutation, kind, current, value)?;
        let differs = new != **current;
        if differs {
            shown.forget();
            *current = Arc::new(new);
        }
        return Ok(differs);
    }
    let config = configuration(kind, value)?;
    shown.forget();
    apply::overlay_onto(kind, Arc::make_mut(current), &config).map_err(|it| format!("invalid ApplyConfiguration: {it}"))
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
        let Some(value) = computed(policy, mutation, &seen, made.is_none(), &mut budget)? else { return Ok(None) };
        let (requested, object) = (review.requested, made.as_ref().unwrap_or(review.object));
        made = Some(match version {
            Version::Other(kind) if review.carries_its_kind() => {
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
    let merged = apply::overlay(kind, object, &configuration(kind, value)?);
    merged.map_err(|it| format!("invalid ApplyConfiguration: {it}"))
}

/// What an expression came to as a configuration of a kind.
fn configuration(kind: &Kind, value: Value) -> Result<Value, String> {
    let Value::Object(mut config) = value else {
        return Err("the expression of an ApplyConfiguration must make an Object".to_owned());
    };
    config.insert("apiVersion".into(), kind.api_version().into());
    config.insert("kind".into(), kind.kind.as_str().into());
    Ok(Value::Object(config))
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
