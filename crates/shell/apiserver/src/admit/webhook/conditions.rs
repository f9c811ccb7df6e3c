//! Match conditions: expressions in CEL that tell a hook's requests from others. Entry points: [`hold`], [`flaws`].
//!
//! They see `object`, `oldObject` and `request`. Deliberately absent: `authorizer`; a condition that names it is refused
//! when it is written.

use eyot_model::{
    meta,
    status::{ApiError, Cause},
};
use eyot_rules::{Budget, Program, Value as Cel};
use serde_json::Value;

use super::{
    super::{Attempt, Operation},
    hook::Hook,
    review,
    rules::Wanted,
};

const VARIABLES: &[&str] = &["object", "oldObject", "request"];

/// One condition.
pub(super) struct Condition {
    name: String,
    program: Result<Program, String>,
}

impl Condition {
    pub(super) fn read(condition: &Value) -> Condition {
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        let program = Program::compile(text("expression"), VARIABLES).map_err(|it| it.to_string());
        Condition { name: text("name").to_owned(), program }
    }
}

/// Whether all conditions hold. One that does not settles it, whatever becomes of the others.
pub(super) fn hold(hook: &Hook, wanted: &Wanted, attempt: &Attempt<'_>, object: &Value) -> Result<bool, ApiError> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let request = review::request("", wanted, attempt, object);
    let of = |field: &str| request.get(field).map_or(Cel::Null, eyot_rules::json);
    let mut about = request.clone();
    for field in ["object", "oldObject"] {
        meta::as_map(&mut about).remove(field);
    }
    let (new, old, about) = (of("object"), of("oldObject"), eyot_rules::json(&about));
    let variables = [("object", &new), ("oldObject", &old), ("request", &about)];
    let bytes = request.to_string().len();
    let mut budget = Budget::new(Budget::WRITE);
    let mut failed = None;
    for Condition { name, program } in &hook.conditions {
        let result = match program {
            Ok(program) => program.run(&variables, bytes, &mut budget).map_err(|it| it.to_string()),
            Err(why) => Err(why.clone()),
        };
        match result {
            Ok(Cel::Bool(true)) => {}
            Ok(Cel::Bool(false)) => return Ok(false),
            Ok(_) => failed = failed.or(Some(format!("{name}: must evaluate to bool"))),
            Err(why) => failed = failed.or(Some(format!("{name}: {why}"))),
        }
    }
    match failed {
        None => Ok(true),
        Some(why) if hook.ignores_failures => {
            tracing::warn!(webhook = hook.name, "match condition: {why}");
            Ok(false)
        }
        Some(why) => {
            let verb = if attempt.operation == Operation::Delete { "delete" } else { "write" };
            let why = format!("cannot {verb}: match conditions of webhook {:?}: {why}", hook.name);
            Err(ApiError::forbidden(attempt.kind, attempt.name, &why))
        }
    }
}

/// Everything wrong with the expressions of a configuration.
pub(crate) fn flaws(configuration: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (i, hook) in meta::list(configuration.get("webhooks")).iter().enumerate() {
        for (k, condition) in meta::list(hook.get("matchConditions")).iter().enumerate() {
            let text = condition["expression"].as_str().unwrap_or_default();
            if let Err(error) = Program::compile(text, VARIABLES) {
                let field = format!("webhooks[{i}].matchConditions[{k}].expression");
                causes.push(Cause::invalid(field, &text.into(), &error.to_string()));
            }
        }
    }
    causes
}
