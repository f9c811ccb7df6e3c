//! Policies, compiled. Entry point: [`Policy::compile`].
//!
//! A [`Language`] says what expressions may name, so that policies of others that are written like Kubernetes' own are
//! compiled and evaluated here too.
//!
//! Compiling never fails as a whole: what was refused at its write cannot come here, and what an older server stored is
//! kept with its error, which then follows the failure policy like any other.

use std::sync::Arc;

use eyot_model::{meta, status::Reason};
use eyot_rules::{Dialect, Library, Program, Variable};
use serde_json::Value;

use crate::matching::Matching;

/// How the expressions of a policy are written.
#[derive(Debug)]
pub struct Language {
    /// What they may name.
    pub names: &'static [&'static str],
    /// Functions beside those of Kubernetes.
    pub library: Option<&'static Library>,
    /// Whether conditions may name variables of the policy.
    pub conditions_have_variables: bool,
    /// Whether what Kubernetes demands beyond its schema is demanded: a `reinvocationPolicy`, messages of one line.
    pub is_strict: bool,
}

impl Language {
    const ALONE: Language = Language {
        names: &["object", "oldObject", "request", "namespaceObject", "authorizer"],
        library: None,
        conditions_have_variables: false,
        is_strict: true,
    };
    const WITH_PARAMS: Language = Language {
        names: &["object", "oldObject", "request", "params", "namespaceObject", "authorizer"],
        ..Language::ALONE
    };

    /// That of Kubernetes' own policies.
    pub(crate) fn of_kubernetes(spec: &Value) -> &'static Language {
        if spec["paramKind"].is_object() { &Language::WITH_PARAMS } else { &Language::ALONE }
    }
}

/// A policy of either kind.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Which requests it is about.
    pub matching: Matching,
    /// `apiVersion` and kind of its parameters.
    pub(crate) param_kind: Option<(String, String)>,
    /// All must hold for it to be evaluated.
    pub conditions: Vec<Expression>,
    /// Variables, each of which may use those before it.
    pub variables: Arc<[Variable]>,
    /// Whether a request passes that cannot be judged.
    pub ignores_failures: bool,
    /// What it demands.
    pub validations: Vec<Validation>,
    /// Audit annotations by key.
    pub annotations: Vec<(String, Expression)>,
    pub(crate) mutations: Vec<Mutation>,
    /// Whether it wants to see what later ones changed.
    pub reinvoked: bool,
    /// Whether any of its expressions names the object.
    pub(crate) sees_object: bool,
    /// Why it cannot be evaluated at all.
    pub broken: Option<String>,
}

/// An expression, and how it was written.
#[derive(Debug)]
pub struct Expression {
    /// As it was written.
    pub text: String,
    pub(crate) program: Result<Program, String>,
}

impl Expression {
    /// Compiles an expression that names no variables; one that is wrong fails when it is evaluated.
    pub fn compile(text: &str, language: &Language) -> Expression {
        Expression::compile_with(text, language, &[])
    }

    /// The same for one that may name these variables.
    pub fn compile_with(text: &str, language: &Language, variables: &[Variable]) -> Expression {
        Surroundings { language, variables, makes_messages: false }.expression(text)
    }

    /// Why it cannot be evaluated at all.
    pub fn flaw(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }
}

/// A validation.
#[derive(Debug)]
pub struct Validation {
    /// What must be true.
    pub rule: Expression,
    /// What is told otherwise; may be empty.
    pub message: String,
    /// Makes a message.
    pub computed_message: Option<Expression>,
    pub(crate) reason: Reason,
}

/// A mutation.
#[derive(Debug)]
pub(crate) struct Mutation {
    pub(crate) expression: Expression,
    /// Whether it makes a JSON patch; otherwise a configuration to apply.
    pub(crate) patches: bool,
}

/// What the expressions of a policy are compiled against.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'s> {
    pub(crate) language: &'s Language,
    pub(crate) variables: &'s [Variable],
    pub(crate) makes_messages: bool,
}

impl Surroundings<'_> {
    /// Compiles an expression.
    pub(crate) fn compile(&self, text: &str) -> Result<Program, String> {
        let (names, library) = (self.language.names, self.language.library);
        let dialect = Dialect { names, variables: self.variables, messages: self.makes_messages, library };
        Program::compile_as(text.trim(), &dialect).map_err(|it| it.to_string())
    }

    fn expression(&self, text: &str) -> Expression {
        Expression { text: text.to_owned(), program: self.compile(text) }
    }

    /// The same for conditions, which most languages settle before variables are there.
    pub(crate) fn of_conditions(self) -> Self {
        if self.language.conditions_have_variables { self } else { Surroundings { variables: &[], ..self } }
    }
}

impl Policy {
    /// Compiles a stored policy.
    pub fn compile(object: &Value, mutates: bool, language: &Language) -> Policy {
        let spec = &object["spec"];
        let (variables, broken) = compile_variables(spec, language);
        let around = Surroundings { language, variables: &variables, makes_messages: false };
        let expression = |around: &Surroundings<'_>, text: &Value| around.expression(text.as_str().unwrap_or_default());
        let list = |field: &str| meta::list(spec.get(field)).iter();
        let param = |field: &str| spec["paramKind"][field].as_str().unwrap_or_default().to_owned();
        let bare = around.of_conditions();
        let making = Surroundings { makes_messages: true, ..around };
        let conditions: Vec<Expression> =
            list("matchConditions").map(|it| expression(&bare, &it["expression"])).collect();
        let mutations: Vec<Mutation> = match mutates {
            true => list("mutations").map(|it| mutation(it, |text| expression(&making, text))).collect(),
            false => Vec::new(),
        };
        let mut expressions = conditions.iter().chain(mutations.iter().map(|it| &it.expression));
        let sees_object = !mutates
            || expressions.any(|it| it.program.as_ref().is_ok_and(|it| it.names("object")))
            || variables.iter().any(|it| it.program.names("object"));
        Policy {
            name: meta::name(object).unwrap_or_default().to_owned(),
            matching: Matching::read(&spec["matchConstraints"]),
            param_kind: spec["paramKind"].is_object().then(|| (param("apiVersion"), param("kind"))),
            conditions,
            ignores_failures: spec["failurePolicy"] == "Ignore",
            validations: list("validations").map(|it| validation(it, |text| expression(&making, text))).collect(),
            annotations: list("auditAnnotations")
                .map(|it| {
                    let key = it["key"].as_str().unwrap_or_default().to_owned();
                    (key, expression(&making, &it["valueExpression"]))
                })
                .collect(),
            mutations,
            sees_object,
            reinvoked: spec["reinvocationPolicy"] == "IfNeeded",
            variables: variables.into(),
            broken,
        }
    }
}

/// Compiles a policy's variables, each of which may use those before it; the first that cannot be compiled ends it.
fn compile_variables(spec: &Value, language: &Language) -> (Vec<Variable>, Option<String>) {
    let mut variables: Vec<Variable> = Vec::new();
    for variable in meta::list(spec.get("variables")) {
        let text = |field: &str| variable[field].as_str().unwrap_or_default();
        let around = Surroundings { language, variables: &variables, makes_messages: true };
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
