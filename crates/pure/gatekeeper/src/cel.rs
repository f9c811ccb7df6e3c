//! Templates in CEL (`K8sNativeValidation`). Entry points: [`read`] and [`Cel::judge`].

use std::sync::Arc;

use eyot_model::{
    meta,
    status::{Cause, CauseReason},
};
use eyot_rules::{Budget, Program, ROOTS, RunError, Value as Outcome, Variable};
use serde_json::Value;

use crate::{constraint::Constraint, judge::Case, policy::Breach};

/// What Gatekeeper declares before a template's own variables.
const GIVEN: [(&str, &str); 2] = [
    ("anyObject", "has(request.operation) && request.operation == 'DELETE' && object == null ? oldObject : object"),
    ("params", "!has(params.spec) ? null : !has(params.spec.parameters) ? null : params.spec.parameters"),
];

/// A template's expressions.
#[derive(Debug)]
pub(crate) struct Cel {
    variables: Arc<[Variable]>,
    /// All must hold for the template to be about a request.
    conditions: Vec<(String, Program)>,
    validations: Vec<Validation>,
    /// Whether what can not be evaluated passes.
    ignores: bool,
}

#[derive(Debug)]
struct Validation {
    text: String,
    program: Program,
    message: String,
    message_program: Option<Program>,
}

/// Compiles the `source` under `field`.
pub(crate) fn read(source: &Value, field: &str) -> Result<Cel, Vec<Cause>> {
    let mut causes = Vec::new();
    let mut variables: Vec<Variable> = Vec::new();
    for (name, text) in GIVEN {
        match Program::compile_for(text, &ROOTS, &variables, false) {
            Ok(program) => variables.push(Variable { name: name.to_owned(), program }),
            Err(error) => causes.push(wrong(field.to_owned(), error.to_string())),
        }
    }
    let text = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().trim().to_owned();
    for (n, one) in meta::list(source.get("variables")).iter().enumerate() {
        let name = text(one, "name");
        if GIVEN.iter().any(|(given, _)| *given == name) || name.starts_with("gatekeeper_internal_") {
            causes.push(wrong(format!("{field}.variables[{n}].name"), format!("{name} is reserved")));
            continue;
        }
        match Program::compile_for(&text(one, "expression"), &ROOTS, &variables, false) {
            Ok(program) => variables.push(Variable { name, program }),
            Err(error) => causes.push(wrong(format!("{field}.variables[{n}].expression"), error.to_string())),
        }
    }
    let mut compile = |text: &str, at: String| match Program::compile_for(text, &ROOTS, &variables, false) {
        Ok(program) => Some(program),
        Err(error) => {
            causes.push(wrong(at, error.to_string()));
            None
        }
    };
    let mut conditions = Vec::new();
    for (n, one) in meta::list(source.get("matchConditions")).iter().enumerate() {
        let at = format!("{field}.matchConditions[{n}].expression");
        conditions.extend(compile(&text(one, "expression"), at).map(|program| (text(one, "name"), program)));
    }
    let mut validations = Vec::new();
    for (n, one) in meta::list(source.get("validations")).iter().enumerate() {
        let at = |name: &str| format!("{field}.validations[{n}].{name}");
        let expression = text(one, "expression");
        let message_program = match text(one, "messageExpression") {
            it if it.is_empty() => None,
            it => compile(&it, at("messageExpression")),
        };
        let program = compile(&expression, at("expression"));
        let message = text(one, "message");
        validations.extend(program.map(|program| Validation { text: expression, program, message, message_program }));
    }
    if validations.is_empty() && causes.is_empty() {
        causes.push(Cause::required(format!("{field}.validations"), ""));
    }
    let ignores = source["failurePolicy"] == "Ignore";
    if causes.is_empty() {
        Ok(Cel { variables: variables.into(), conditions, validations, ignores })
    } else {
        Err(causes)
    }
}

fn wrong(field: String, message: String) -> Cause {
    Cause { reason: CauseReason::FieldValueInvalid, message, field }
}

impl Cel {
    /// What is wrong with an object according to a constraint.
    ///
    /// # Errors
    /// Why that can not be told.
    pub(crate) fn judge(&self, constraint: &Constraint, case: &Case<'_>) -> Result<Vec<Breach>, String> {
        let environment = case.environment().with("params", constraint.object.clone());
        let environment = environment.with_variables(self.variables.clone());
        let mut budget = Budget::new(Budget::WRITE);
        for (name, program) in &self.conditions {
            match environment.run(program, &mut budget) {
                Ok(Outcome::Bool(true)) => {}
                Ok(Outcome::Bool(false)) => return Ok(Vec::new()),
                _ if self.ignores => return Ok(Vec::new()),
                Ok(_) => return Err(format!("match condition {name} is neither true nor false")),
                Err(error) => return Err(format!("match condition {name}: {error}")),
            }
        }
        let mut out = Vec::new();
        for it in &self.validations {
            let message = match environment.run(&it.program, &mut budget) {
                Ok(Outcome::Bool(true)) => continue,
                Ok(Outcome::Bool(false)) => {
                    let told = it.message_program.as_ref().and_then(|it| told(environment.run(it, &mut budget)));
                    told.unwrap_or_else(|| match it.message.as_str() {
                        "" => format!("failed expression: {}", it.text),
                        message => message.to_owned(),
                    })
                }
                _ if self.ignores => continue,
                Ok(_) => return Err(format!("expression '{}' is neither true nor false", it.text)),
                Err(error) => format!("expression '{}' resulted in error: {error}", it.text),
            };
            out.push(Breach { message, details: Value::Object(serde_json::Map::new()) });
        }
        Ok(out)
    }
}

/// The text of a message expression, where it made one.
fn told(result: Result<Outcome, RunError>) -> Option<String> {
    match result {
        Ok(Outcome::String(text)) if !text.trim().is_empty() && !text.contains('\n') => Some(text.to_string()),
        _ => None,
    }
}
