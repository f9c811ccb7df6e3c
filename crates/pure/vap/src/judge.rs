//! Evaluates validating policies. Entry point: [`judge`].

use eyot_model::status::Reason;
use eyot_policy::{Denial, Verdict};
use eyot_rules::{Budget, Environment, Value as Cel};

use crate::{
    binding::Binding,
    params,
    policy::{Expression, Policy, Validation},
    request::Request,
    state::{Bound, State},
};

/// Most bytes of a computed message.
const MESSAGE_BYTES_MAX: usize = 5 << 10;

/// What all policies say to a request. Of several refusals the first is told, as in Kubernetes.
pub(crate) fn judge(state: &State, request: &Request<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let kinds = request.data.kinds();
    for Bound { policy, bindings } in state.judging(&request.review.requested.plural).iter().map(AsRef::as_ref) {
        let Some(version) = policy.matching.version(&request.review, &kinds) else { continue };
        for binding in bindings {
            let narrowed = binding.matching.as_ref();
            if narrowed.is_some_and(|it| it.version(&request.review, &kinds).is_none()) {
                continue;
            }
            let mut told = Told { policy, binding, verdict: &mut verdict };
            if let Some(why) = &policy.broken {
                told.misled(&format!("failed to configure policy: {why}"));
                continue;
            }
            match params::collect(policy, binding, &request.review, request.data) {
                Err(why) => told.misled(&format!("failed to configure binding: {why}")),
                Ok(all) => {
                    let seen = request.seen_as(&version);
                    for param in all {
                        let seen = seen.with("params", param).with_variables(policy.variables.clone());
                        evaluate(policy, &seen, &mut told);
                    }
                }
            }
        }
    }
    verdict.denials.truncate(1);
    verdict
}

/// Whether all conditions hold: one that does not settles it, whatever becomes of the others.
///
/// # Errors
/// What went wrong where none settled it.
pub fn conditions(all: &[Expression], seen: &Environment, budget: &mut Budget) -> Result<bool, String> {
    let mut failed = None;
    for condition in all {
        match condition.holds(seen, budget) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => failed = failed.or(Some(why)),
        }
    }
    failed.map_or(Ok(true), Err)
}

fn evaluate(policy: &Policy, seen: &Environment, told: &mut Told<'_>) {
    let mut budget = Budget::new(Budget::WRITE);
    match conditions(&policy.conditions, seen, &mut budget) {
        Ok(true) => {}
        Ok(false) => return,
        Err(why) => return told.failed(&why),
    }
    for validation in &policy.validations {
        match validation.rule.holds(seen, &mut budget) {
            Ok(true) => {}
            Ok(false) => told.broken(&message(validation, seen, &mut budget), validation.reason),
            Err(why) => told.failed(&why),
        }
    }
    for (key, expression) in &policy.annotations {
        match annotation(expression, seen, &mut budget) {
            Ok(None) => {}
            Ok(Some(value)) => told.verdict.audit_annotations.push((format!("{}/{key}", policy.name), value)),
            Err(why) => told.misled(&why),
        }
    }
}

fn annotation(expression: &Expression, seen: &Environment, budget: &mut Budget) -> Result<Option<String>, String> {
    match expression.run(seen, budget)? {
        Cel::Null => Ok(None),
        Cel::String(text) => Ok(Some(text.trim().to_owned()).filter(|it| !it.is_empty())),
        _ => Err(format!(
            "valueExpression '{}' resulted in unsupported return type. Return type must be either string or null.",
            expression.text
        )),
    }
}

fn message(validation: &Validation, seen: &Environment, budget: &mut Budget) -> String {
    let computed = validation.computed_message.as_ref().and_then(|it| match it.run(seen, budget) {
        Ok(Cel::String(text)) => Some(text.trim().to_owned()),
        // The stated message serves as well.
        _ => None,
    });
    let fits = |it: &String| !it.is_empty() && it.len() <= MESSAGE_BYTES_MAX && !it.contains('\n');
    let stated = || Some(validation.message.clone()).filter(|it| !it.is_empty());
    let fallback = || format!("failed expression: {}", validation.rule.text.trim());
    computed.filter(fits).or_else(stated).unwrap_or_else(fallback)
}

/// What one policy under one binding comes to.
struct Told<'v> {
    policy: &'v Policy,
    binding: &'v Binding,
    verdict: &'v mut Verdict,
}

impl Told<'_> {
    /// It could not be evaluated as it stands: that refuses, whatever the binding's actions.
    fn misled(&mut self, why: &str) {
        if !self.policy.ignores_failures {
            self.deny(why, Reason::Invalid);
        }
    }

    /// An evaluation failed.
    fn failed(&mut self, why: &str) {
        if !self.policy.ignores_failures {
            self.broken(why, Reason::Invalid);
        }
    }

    fn deny(&mut self, why: &str, reason: Reason) {
        let (policy, binding) = (&self.policy.name, &self.binding.name);
        let message = format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}");
        self.verdict.denials.push(denial(policy, message, reason));
    }

    /// A validation does not hold.
    fn broken(&mut self, message: &str, reason: Reason) {
        let (policy, binding) = (&self.policy.name, &self.binding.name);
        if self.binding.denies {
            self.deny(message, reason);
        }
        if self.binding.warns {
            self.verdict.warnings.push(format!(
                "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
            ));
        }
        if self.binding.audits {
            let key = "validation.policy.admission.k8s.io/validation_failure".to_owned();
            let acts = [(self.binding.denies, "Deny"), (self.binding.warns, "Warn"), (true, "Audit")];
            let actions: Vec<&str> = acts.iter().filter(|it| it.0).map(|it| it.1).collect();
            let what = serde_json::json!([
                {"message": message, "policy": policy, "binding": binding, "validationActions": actions}]);
            self.verdict.audit_annotations.push((key, what.to_string()));
        }
    }
}

/// A refusal with the code that Kubernetes gives its reason.
pub(crate) fn denial(policy: &str, message: String, reason: Reason) -> Denial {
    let code = match reason {
        Reason::Forbidden => 403,
        Reason::Unauthorized => 401,
        Reason::RequestEntityTooLarge => 413,
        _ => 422,
    };
    Denial { policy: policy.to_owned(), message, is_reason: true, code, reason }
}
