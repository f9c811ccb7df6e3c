//! Policies, compiled. Entry point: [`Policy::compile`].
//!
//! Compiling never fails as a whole: what was refused at its write cannot come here, and what an older server stored is
//! kept with its error, which then follows the failure policy like any other.

use std::sync::Arc;

use eyot_model::{meta, status::Reason};
use eyot_rules::{Program, Variable};
use serde_json::Value;

use crate::matching::Matching;

/// What expressions may name.
pub(crate) const NAMES: [&str; 6] = ["object", "oldObject", "request", "params", "namespaceObject", "authorizer"];
/// What they may name where there are no parameters.
const NAMES_ALONE: [&str; 5] = ["object", "oldObject", "request", "namespaceObject", "authorizer"];

/// A policy of either kind.
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) matching: Matching,
    /// `apiVersion` and kind of its parameters.
    pub(crate) param_kind: Option<(String, String)>,
    pub(crate) conditions: Vec<Expression>,
    pub(crate) variables: Arc<[Variable]>,
    pub(crate) ignores_failures: bool,
    pub(crate) validations: Vec<Validation>,
    pub(crate) annotations: Vec<(String, Expression)>,
    pub(crate) mutations: Vec<Mutation>,
    /// Whether it wants to see what later ones changed.
    pub(crate) reinvoked: bool,
    /// Why it cannot be evaluated at all.
    pub(crate) broken: Option<String>,
}

/// An expression, and how it was written.
pub(crate) struct Expression {
    pub(crate) text: String,
    pub(crate) program: Result<Program, String>,
}

/// A validation.
pub(crate) struct Validation {
    pub(crate) rule: Expression,
    pub(crate) message: String,
    pub(crate) computed_message: Option<Expression>,
    pub(crate) reason: Reason,
}

/// A mutation.
pub(crate) struct Mutation {
    pub(crate) expression: Expression,
    /// Whether it makes a JSON patch; otherwise a configuration to apply.
    pub(crate) patches: bool,
}

/// What the expressions of a policy are compiled against.
pub(crate) struct Surroundings<'s> {
    pub(crate) has_params: bool,
    pub(crate) variables: &'s [Variable],
    pub(crate) makes_messages: bool,
}

impl Surroundings<'_> {
    /// Compiles an expression.
    pub(crate) fn compile(&self, text: &str) -> Result<Program, String> {
        let names: &[&str] = if self.has_params { &NAMES } else { &NAMES_ALONE };
        let compiled = Program::compile_for(text.trim(), names, self.variables, self.makes_messages);
        compiled.map_err(|it| it.to_string())
    }
}

impl Policy {
    /// Compiles a stored policy.
    pub(crate) fn compile(object: &Value, mutates: bool) -> Policy {
        let spec = &object["spec"];
        let has_params = spec["paramKind"].is_object();
        let (variables, broken) = compile_variables(spec, has_params);
        let around = Surroundings { has_params, variables: &variables, makes_messages: false };
        let expression = |around: &Surroundings<'_>, text: &Value| {
            let text = text.as_str().unwrap_or_default();
            Expression { text: text.to_owned(), program: around.compile(text) }
        };
        let list = |field: &str| meta::list(spec.get(field)).iter();
        let param = |field: &str| spec["paramKind"][field].as_str().unwrap_or_default().to_owned();
        // Conditions are settled before variables are there.
        let bare = Surroundings { variables: &[], ..around };
        let making = Surroundings { has_params, variables: &variables, makes_messages: true };
        Policy {
            name: meta::name(object).unwrap_or_default().to_owned(),
            matching: Matching::read(&spec["matchConstraints"]),
            param_kind: has_params.then(|| (param("apiVersion"), param("kind"))),
            conditions: list("matchConditions").map(|it| expression(&bare, &it["expression"])).collect(),
            ignores_failures: spec["failurePolicy"] == "Ignore",
            validations: list("validations").map(|it| validation(it, |text| expression(&making, text))).collect(),
            annotations: list("auditAnnotations")
                .map(|it| {
                    let key = it["key"].as_str().unwrap_or_default().to_owned();
                    (key, expression(&making, &it["valueExpression"]))
                })
                .collect(),
            mutations: if mutates {
                list("mutations").map(|it| mutation(it, |text| expression(&making, text))).collect()
            } else {
                Vec::new()
            },
            reinvoked: spec["reinvocationPolicy"] == "IfNeeded",
            variables: variables.into(),
            broken,
        }
    }
}

/// Compiles a policy's variables, each of which may use those before it; the first that cannot be compiled ends it.
fn compile_variables(spec: &Value, has_params: bool) -> (Vec<Variable>, Option<String>) {
    let mut variables: Vec<Variable> = Vec::new();
    for variable in meta::list(spec.get("variables")) {
        let text = |field: &str| variable[field].as_str().unwrap_or_default();
        let around = Surroundings { has_params, variables: &variables, makes_messages: true };
        match around.compile(text("expression")) {
            Ok(program) => variables.push(Variable { name: text("name").to_owned(), program }),
            Err(why) => return (variables, Some(format!("variable {:?}: {why}", text("name")))),
        }
    }
    (variables, None)
}

fn validation(validation: &Value, expression: impl Fn(&Value) -> Expression) -> Validation {
    let text = |field: &str| validation[field].as_str().unwrap_or_default();
    Validation {
        rule: expression(&validation["expression"]),
        message: text("message").trim().to_owned(),
        computed_message: Some(&validation["messageExpression"])
            .filter(|it| **it != "" && it.is_string())
            .map(&expression),
        reason: match text("reason") {
            "Unauthorized" => Reason::Unauthorized,
            "Forbidden" => Reason::Forbidden,
            "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
            _ => Reason::Invalid,
        },
    }
}

fn mutation(mutation: &Value, expression: impl Fn(&Value) -> Expression) -> Mutation {
    let patches = mutation["patchType"] == "JSONPatch";
    let field = if patches { "jsonPatch" } else { "applyConfiguration" };
    Mutation { expression: expression(&mutation[field]["expression"]), patches }
}
