//! What a policy makes of a request. Entry points: [`validate`], [`mutate`].

use std::{any::Any, rc::Rc, sync::Arc};

use eyot_model::kinds::Table;
use eyot_policy::{Data, Review};
use eyot_rules::{Budget, Environment, Value as Cel};
use eyot_vap::{Policy, Request, Shown, Validation, conditions, mutated};
use serde_json::{Map, Value, json};

use super::{
    CelException, CelPolicy,
    exception::{Excused, excused},
};
use crate::policy::{RuleKind, RuleResult, Status};

/// Which of a policy's validations did not hold, in reports.
const INDEX: &str = "cel.validationIndex";

/// Where a policy is evaluated.
pub(crate) struct Place<'a> {
    pub(crate) data: &'a dyn Data,
    pub(crate) kinds: Arc<Table>,
    /// All exceptions.
    pub(crate) exceptions: &'a [Arc<CelException>],
    /// What functions ask, for policies of a namespace; empty for policies without.
    pub(crate) host: &'a dyn Fn(&str) -> Rc<dyn Any>,
}

/// Judges a request by each form of a policy; `None` for those that are not about it.
pub(crate) fn validate(
    policy: &CelPolicy,
    request: &Request<'_>,
    review: &Review<'_>,
    place: &Place<'_>,
) -> Vec<Option<RuleResult>> {
    let judge = |form: &Policy| {
        let version = form.matching.version(review, &place.kinds).filter(|_| policy.reaches(review.namespace))?;
        let seen = request.seen_as(&version).with_host((place.host)(&policy.namespace));
        Some(one(policy, form, &seen, place))
    };
    policy.forms.iter().map(judge).collect()
}

/// A result with nothing but a message.
pub(crate) fn made(kind: RuleKind, status: Status, message: impl Into<String>) -> RuleResult {
    RuleResult {
        rule: String::new(),
        kind,
        status,
        message: message.into(),
        generated: Vec::new(),
        targets: Vec::new(),
        exceptions: Vec::new(),
        properties: Map::new(),
    }
}

/// Finds out whether a policy is to be evaluated: what its expressions see as `exceptions` then, or how it came out
/// already.
fn begin(policy: &CelPolicy, form: &Policy, seen: &Environment, place: &Place<'_>) -> Result<Cel, Box<RuleResult>> {
    let kind = if policy.mutates { RuleKind::Mutation } else { RuleKind::Validation };
    let named: Vec<&CelException> = place
        .exceptions
        .iter()
        .map(AsRef::as_ref)
        .filter(|it| it.names([&policy.kind, &policy.namespace, &policy.name]))
        .collect();
    let failed = |why: String| RuleResult {
        rule: "evaluation".to_owned(),
        ..made(kind, Status::Error, format!("failed to load context: {why}"))
    };
    match excused(&named, seen, form.ignores_failures).map_err(|why| Box::new(failed(why)))? {
        Excused::Partly(shown) => Ok(shown),
        Excused::Wholly(status, exceptions) => {
            let word = if status == Status::Pass { "passed" } else { "skipped" };
            let message = format!("rule is {word} due to policy exception: {}", exceptions.join(", "));
            Err(Box::new(RuleResult { rule: "exception".to_owned(), exceptions, ..made(kind, status, message) }))
        }
    }
}

fn one(policy: &CelPolicy, form: &Policy, seen: &Environment, place: &Place<'_>) -> RuleResult {
    let seen = match begin(policy, form, seen, place) {
        Ok(exceptions) => seen.with_value("exceptions", exceptions),
        Err(result) => return *result,
    };
    let made = |status, message: String| made(RuleKind::Validation, status, message);
    if let Some(why) = &form.broken {
        return made(Status::Error, format!("error: {why}"));
    }
    let mut budget = Budget::new(Budget::WRITE);
    match conditions(&form.conditions, &seen, &mut budget) {
        Ok(true) => {}
        Err(why) if !form.ignores_failures => {
            return RuleResult {
                rule: "evaluation".to_owned(),
                ..made(Status::Error, format!("failed to load context: {why}"))
            };
        }
        _ => return made(Status::Skip, "skip".to_owned()),
    }
    let seen = seen.with_variables(form.variables.clone());
    for (at, validation) in form.validations.iter().enumerate() {
        let told = match validation.rule.holds(&seen, &mut budget) {
            Ok(true) => continue,
            Ok(false) => made(Status::Fail, message(validation, at, &seen, &mut budget)),
            Err(why) => made(Status::Error, format!("error: {why}")),
        };
        let properties = properties(form, &seen, &mut budget);
        return match properties {
            Ok(mut properties) => {
                properties.entry(INDEX).or_insert_with(|| at.to_string().into());
                RuleResult { properties, ..told }
            }
            Err(why) => made(Status::Error, format!("error: {why}")),
        };
    }
    match properties(form, &seen, &mut budget) {
        Ok(properties) => RuleResult { properties, ..made(Status::Pass, "success".to_owned()) },
        Err(why) => made(Status::Error, format!("error: {why}")),
    }
}

fn message(validation: &Validation, at: usize, seen: &Environment, budget: &mut Budget) -> String {
    let message = match &validation.computed_message {
        None => validation.message.clone(),
        Some(it) => match it.run(seen, budget) {
            Ok(Cel::String(text)) => text.to_string(),
            Ok(_) => "failed to convert message expression to string".to_owned(),
            Err(why) => format!("failed to evaluate message expression: {why}"),
        },
    };
    if message.is_empty() { format!("CEL expression validation failed at index {at}") } else { message }
}

/// Audit annotations, which reports show as properties.
fn properties(form: &Policy, seen: &Environment, budget: &mut Budget) -> Result<Map<String, Value>, String> {
    let mut all = Map::new();
    for (key, expression) in &form.annotations {
        match expression.run(seen, budget)? {
            Cel::String(text) if !text.is_empty() => drop(all.insert(key.clone(), json!(text.as_str()))),
            Cel::String(_) | Cel::Null => {}
            _ => return Err(format!("auditAnnotation '{key}' is neither a text nor null")),
        }
    }
    Ok(all)
}

/// Lets each form of a policy change an object; what was told by those that are about it, and the object if it differs.
pub(crate) fn mutate(
    policy: &CelPolicy,
    review: &Review<'_>,
    place: &Place<'_>,
) -> (Vec<Option<RuleResult>>, Option<Value>) {
    let mut current: Option<Value> = None;
    let mut results = Vec::new();
    for form in &policy.forms {
        let review = Review { object: current.as_ref().unwrap_or(review.object), ..*review };
        let version = form.matching.version(&review, &place.kinds).filter(|_| policy.reaches(review.namespace));
        let Some(version) = version else {
            results.push(None);
            continue;
        };
        let host = (place.host)(&policy.namespace);
        let mut shown = Shown::default();
        let seen = shown.of(&review, place.data, &version).with_host(host.clone());
        let made = |status, message: &str| made(RuleKind::Mutation, status, message);
        let failed = |why: &str| RuleResult {
            rule: "evaluation".to_owned(),
            ..made(Status::Error, &format!("failed to evaluate policy: {why}"))
        };
        let result = match begin(policy, form, &seen, place) {
            Err(result) => *result,
            Ok(_) if form.broken.is_some() => failed(form.broken.as_deref().unwrap_or_default()),
            Ok(exceptions) => {
                let more = |it: Environment| it.with_host(host.clone()).with_value("exceptions", exceptions.clone());
                match mutated(form, (&review, &version), &mut shown, place.data, &more) {
                    Ok(None) => made(Status::Skip, "skip"),
                    Err(why) => failed(&why),
                    Ok(Some(new)) => {
                        current = Some(new);
                        made(Status::Pass, "success")
                    }
                }
            }
        };
        results.push(Some(result));
    }
    let changed = current.filter(|it| it != review.object);
    (results, changed)
}
