//! Demands: patterns, conditions, loops over lists, and what others in this crate judge.
//!
//! Entry point: [`rule`]. Messages are Kyverno's.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    anchor, assertion,
    context::Context,
    exception::{self, Exception},
    podsecurity,
    policy::{Compiled, Policy, Request, RuleKind, RuleResult, Status},
    spec::{Action, Deny, Rule, Validate, ValidateEach},
    text, variables,
};

/// Rounds of all loops of a rule together.
const ROUNDS_MAX: usize = 10_000;

/// Judges a request by one rule; nothing where the rule has nothing to say.
pub(crate) fn rule(
    policy: &Policy,
    compiled: &Compiled,
    request: &Request<'_>,
    context: &mut Context<'_>,
    excused: &[Arc<Exception>],
) -> Option<RuleResult> {
    let rule = &compiled.rule;
    let validate = rule.validate.as_ref()?;
    let by_control = validate.pod_security.is_some() && excused.iter().all(|it| !it.pod_security().is_empty());
    if !by_control && let Some(skipped) = exception::skip(excused, rule, RuleKind::Validation) {
        return Some(skipped);
    }
    let result = judge(compiled, validate, request, context, excused);
    let action = validate.failure_action.or(policy.spec.validation_failure_action).unwrap_or_default();
    // Expressions in CEL see the old object themselves, as in Kyverno.
    let may_spare = validate.allow_existing_violations.unwrap_or(true) && validate.cel.is_none();
    let spares_old = may_spare && action == Action::Enforce;
    if request.operation == "UPDATE"
        && spares_old
        && result.as_ref().is_some_and(|it| it.status == Status::Fail)
        && violated_before(compiled, validate, request, context, excused)
    {
        let message = "skipping the rule evaluation as pre-existing violations are allowed";
        return Some(RuleResult::new(rule, RuleKind::Validation, Status::Skip, message));
    }
    result
}

/// Whether the object broke the rule already before the update.
fn violated_before(
    compiled: &Compiled,
    validate: &Validate,
    request: &Request<'_>,
    context: &mut Context<'_>,
    excused: &[Arc<Exception>],
) -> bool {
    let Some(old) = request.old else { return false };
    // As if it were created: rules about subresources do not know it.
    let before = Request { object: old, old: None, operation: "CREATE", subresource: "", ..*request };
    if !compiled.applies(&before) {
        return false;
    }
    let mark = context.mark();
    context.set_object(old.clone());
    context.set_path("request.oldObject", Value::Null);
    context.set_path("request.operation", "CREATE".into());
    let result = match compiled.conditions_hold(&before, context) {
        Ok((true, _)) => judge(compiled, validate, &before, context, excused),
        _ => None,
    };
    context.restore(&mark);
    result.is_some_and(|it| it.status == Status::Fail)
}

fn judge(
    compiled: &Compiled,
    validate: &Validate,
    request: &Request<'_>,
    context: &mut Context<'_>,
    excused: &[Arc<Exception>],
) -> Option<RuleResult> {
    let rule = &compiled.rule;
    let is_delete = request.operation == "DELETE";
    if let Some(security) = &validate.pod_security {
        return (!is_delete).then(|| podsecurity::judge(rule, security, request.object, excused));
    }
    if let Some(demands) = &compiled.cel {
        return Some(demands.judge(rule, request, context.source));
    }
    let made = |status: Status, message: String| Some(RuleResult::new(rule, RuleKind::Validation, status, message));
    if let Some(tree) = &validate.assert {
        return match assertion::check(tree, request.subject(), context) {
            Ok(failures) if failures.is_empty() => made(Status::Pass, String::new()),
            Ok(failures) => made(Status::Fail, message_with(validate, &failures.join("; "), context)),
            Err(why) => made(Status::Error, format!("failed to evaluate the assertion: {why}")),
        };
    }
    if validate.manifests.is_some() {
        let message = "validate.manifests is not available here: signatures lie in registries, which are not asked";
        return made(Status::Error, message.to_owned());
    }
    let demands = Demands {
        pattern: validate.pattern.as_ref(),
        any_pattern: validate.any_pattern.as_deref(),
        deny: validate.deny.as_ref(),
        foreach: &validate.foreach,
    };
    let mut judge = Judge { rule, validate, context, rounds: 0 };
    let subject = (!is_delete).then_some(request.object);
    let outcome = match (&validate.pattern, subject) {
        (Some(pattern), Some(subject)) if compiled.has_constant_pattern && validate.deny.is_none() => {
            judge.pattern(pattern, subject)
        }
        _ => judge.demands(&demands, subject, 0)?,
    };
    made(outcome.0, outcome.1)
}

fn message_with(validate: &Validate, found: &str, context: &mut Context<'_>) -> String {
    let message = context.substituted_text(&validate.message).unwrap_or_default();
    text::join_filled([message.as_str(), found], ": ")
}

/// What a rule, or a loop inside of it, demands.
struct Demands<'d> {
    pattern: Option<&'d Value>,
    any_pattern: Option<&'d [Value]>,
    deny: Option<&'d Deny>,
    foreach: &'d [ValidateEach],
}

struct Judge<'j, 'c> {
    rule: &'j Rule,
    validate: &'j Validate,
    context: &'j mut Context<'c>,
    rounds: usize,
}

type Outcome = Option<(Status, String)>;

impl Judge<'_, '_> {
    /// `subject` is what patterns are held against; nothing when an object is deleted.
    fn demands(&mut self, demands: &Demands<'_>, subject: Option<&Value>, nesting: usize) -> Outcome {
        if let Some(deny) = demands.deny {
            return Some(self.deny(deny));
        }
        if demands.pattern.is_some() || demands.any_pattern.is_some() {
            if let Some(pattern) = demands.pattern {
                return match variables::substituted(self.context, pattern) {
                    Ok(pattern) => subject.map(|it| self.pattern(&pattern, it)),
                    Err(why) => Some((Status::Error, format!("variable substitution failed: {why}"))),
                };
            }
            let all = demands.any_pattern.into_iter().flatten().map(|it| variables::substitute(self.context, it));
            return match all.collect::<Result<Vec<Value>, _>>() {
                Ok(all) => subject.map(|it| self.any_pattern(&all, it)),
                Err(why) => Some((Status::Error, format!("variable substitution failed: {why}"))),
            };
        }
        self.foreach(demands.foreach, subject, nesting)
    }

    fn passed(&self) -> String {
        format!("validation rule '{}' passed.", self.rule.name)
    }

    fn deny(&mut self, deny: &Deny) -> (Status, String) {
        match deny.conditions.evaluate(self.context) {
            Err(why) => (Status::Error, format!("failed to check deny conditions: {why}")),
            Ok((false, _)) => (Status::Pass, self.passed()),
            Ok((true, message)) => (Status::Fail, self.denial(&message)),
        }
    }

    fn denial(&mut self, message: &str) -> String {
        if self.validate.message.is_empty() && message.is_empty() {
            return format!("validation error: rule {} failed", self.rule.name);
        }
        let template = text::join_filled([self.validate.message.as_str(), message], "; ");
        match variables::substitute(self.context, &Value::String(template)) {
            Ok(Value::String(it)) => it,
            Ok(_) => "the produced message didn't resolve to a string, check your policy definition.".to_owned(),
            Err(_) => message.to_owned(),
        }
    }

    fn pattern(&mut self, pattern: &Value, subject: &Value) -> (Status, String) {
        match anchor::match_pattern(subject, pattern) {
            Ok(()) => (Status::Pass, self.passed()),
            Err(it) if it.skip => (Status::Skip, it.message),
            Err(it) if it.path.is_empty() => (Status::Error, self.violation("", &it.message)),
            Err(it) => (Status::Fail, self.violation(&it.path, &it.message)),
        }
    }

    fn violation(&mut self, path: &str, error: &str) -> String {
        let name = &self.rule.name;
        let what = if path.is_empty() {
            format!("rule {name} execution error: {error}")
        } else {
            format!("rule {name} failed at path {path}")
        };
        if self.validate.message.is_empty() {
            return format!("validation error: {what}");
        }
        match self.context.substituted_text(&self.validate.message) {
            Ok(message) => {
                let dot = if message.ends_with('.') { "" } else { "." };
                format!("validation error: {message}{dot} {what}")
            }
            Err(_) => {
                format!("validation error: variables substitution error in rule {name} execution error: {error}")
            }
        }
    }

    fn any_pattern(&mut self, patterns: &[Value], subject: &Value) -> (Status, String) {
        let name = self.rule.name.clone();
        let (mut failed, mut skipped) = (Vec::new(), Vec::new());
        for (at, pattern) in patterns.iter().enumerate() {
            match anchor::match_pattern(subject, pattern) {
                Ok(()) => return (Status::Pass, format!("validation rule '{name}' anyPattern[{at}] passed.")),
                Err(it) if it.skip => skipped.push(format!("rule {name}[{at}] skipped: {}", it.message)),
                Err(it) if it.path.is_empty() => failed.push(format!("rule {name}[{at}] failed: {}", it.message)),
                Err(it) => failed.push(format!("rule {name}[{at}] failed at path {}", it.path)),
            }
        }
        if failed.is_empty() {
            return match skipped.is_empty() {
                false => (Status::Skip, skipped.join(" ")),
                true => (Status::Pass, self.validate.message.clone()),
            };
        }
        let failed = failed.join(" ");
        if self.validate.message.is_empty() {
            return (Status::Fail, format!("validation error: {failed}"));
        }
        let message = match self.context.substituted_text(&self.validate.message) {
            Ok(message) => {
                let dot = if message.ends_with('.') { "" } else { "." };
                format!("validation error: {message}{dot} {failed}")
            }
            Err(_) => {
                format!("validation error: variables substitution error in rule {name} execution error: {failed}")
            }
        };
        (Status::Fail, message)
    }

    fn foreach(&mut self, all: &[ValidateEach], subject: Option<&Value>, nesting: usize) -> Outcome {
        let mut applied = 0;
        let mut failure = None;
        for each in all {
            let elements = match elements(&each.list, self.context) {
                Ok(it) => it,
                Err(why) if why.is_not_found() => continue,
                Err(why) => {
                    failure = Some(why);
                    continue;
                }
            };
            match self.each(each, &elements, subject, nesting) {
                Ok(count) => applied += count,
                Err(outcome) => return Some(outcome),
            }
        }
        match failure {
            Some(why) if applied == 0 => Some((Status::Error, format!("failed to evaluate list: {why}"))),
            _ if applied == 0 => None,
            _ => Some((Status::Pass, "rule passed".to_owned())),
        }
    }

    /// How many elements the demands were about, or the first outcome that is not good.
    fn each(
        &mut self,
        each: &ValidateEach,
        elements: &[Value],
        subject: Option<&Value>,
        nesting: usize,
    ) -> Result<usize, (Status, String)> {
        let mark = self.context.mark();
        let mut applied = 0;
        for (at, element) in elements.iter().enumerate().filter(|it| !it.1.is_null()) {
            self.rounds += 1;
            if self.rounds > ROUNDS_MAX {
                return Err((Status::Error, format!("the rule's loops take more than {ROUNDS_MAX} rounds")));
            }
            self.context.restore(&mark);
            self.context.set_element(element, at, nesting);
            self.context.add_entries(&each.context);
            let outcome = self.element(each, element, subject, nesting);
            match outcome {
                None | Some((Status::Skip, _)) => {}
                Some((Status::Pass, _)) => applied += 1,
                Some((Status::Error, why)) if why.starts_with("failed to evaluate preconditions") => {}
                Some((status, message)) => {
                    self.context.restore(&mark);
                    return Err((status, format!("validation failure: {message}")));
                }
            }
        }
        self.context.restore(&mark);
        Ok(applied)
    }

    fn element(&mut self, each: &ValidateEach, element: &Value, subject: Option<&Value>, nesting: usize) -> Outcome {
        match each.preconditions.evaluate(self.context) {
            Ok((true, _)) => {}
            Ok((false, _)) => return Some((Status::Skip, "preconditions not met".to_owned())),
            Err(why) => return Some((Status::Error, format!("failed to evaluate preconditions: {why}"))),
        }
        let subject = match (each.element_scope, element.is_object()) {
            (Some(true), false) => {
                let why = "cannot use elementScope=true foreach rules for elements that are not maps";
                return Some((Status::Error, format!("failed to process foreach: {why}")));
            }
            (Some(true) | None, true) => Some(element),
            _ => subject,
        };
        let demands = Demands {
            pattern: each.pattern.as_ref(),
            any_pattern: each.any_pattern.as_deref(),
            deny: each.deny.as_ref(),
            foreach: &each.foreach,
        };
        self.demands(&demands, subject, nesting + 1)
    }
}

/// The elements that an expression finds; something that is no list is its only element.
pub(crate) fn elements(list: &str, context: &mut Context<'_>) -> Result<Vec<Value>, crate::context::QueryError> {
    let list = match variables::is_plain(list) {
        true => list.to_owned(),
        false => context.substituted_text(list).map_err(crate::context::QueryError::Failed)?,
    };
    Ok(match context.query(&list)? {
        Value::Array(all) => all,
        other => vec![other],
    })
}
