//! CEL in rules: conditions on the request, and `validate.cel`.
//!
//! Entry points: [`Conditions`], [`Demands`]. Expressions see `object`, `oldObject`, `request`, `namespaceObject`,
//! `params` and `variables`. Deliberately absent: `authorizer`; a rule that names it is refused when it is compiled.

use std::sync::Arc;

use eyot_rules::{Budget, Program, Value as Cel};
use serde_json::Value;

use crate::{
    flaw::Flaw,
    matching,
    policy::{Request, RuleKind, RuleResult, Status},
    source::Source,
    spec::{Cel as Spec, CelExpression, NamedExpression, ParamKind, ParamRef, Rule},
};

const VARIABLES: [&str; 6] = ["object", "oldObject", "request", "namespaceObject", "params", "variables"];

/// Conditions that must all hold.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    all: Vec<(String, Program)>,
}

/// What `validate.cel` demands.
#[derive(Debug)]
pub(crate) struct Demands {
    variables: Vec<(String, Program)>,
    expressions: Vec<Demand>,
    params: Option<(ParamKind, ParamRef)>,
}

#[derive(Debug)]
struct Demand {
    text: CelExpression,
    program: Program,
    message: Option<Program>,
}

fn compile(text: &str, path: String) -> Result<Program, Flaw> {
    Program::compile(text, &VARIABLES).map_err(|it| Flaw::new(path, it.to_string()))
}

fn named(all: &[NamedExpression], path: &str) -> Result<Vec<(String, Program)>, Flaw> {
    let each = all.iter().enumerate();
    each.map(|(at, it)| Ok((it.name.clone(), compile(&it.expression, format!("{path}[{at}].expression"))?))).collect()
}

/// The values that expressions see.
struct Scope {
    object: Cel,
    old: Cel,
    request: Cel,
    namespace: Cel,
    params: Cel,
    variables: Vec<(String, Cel)>,
    bytes: usize,
}

impl Scope {
    fn new(request: &Request<'_>) -> Scope {
        let old = request.old.map_or(Cel::Null, eyot_rules::json);
        let texts = [Some(request.object), request.old];
        Scope {
            object: eyot_rules::json(request.object),
            old,
            request: eyot_rules::json(request.about),
            namespace: eyot_rules::json(request.namespace),
            params: Cel::Null,
            variables: Vec::new(),
            bytes: texts.into_iter().flatten().map(|it| it.to_string().len()).sum(),
        }
    }

    fn run(&self, program: &Program, budget: &mut Budget) -> Result<Cel, String> {
        let variables = eyot_rules::map(self.variables.iter().cloned());
        let values = [
            ("object", &self.object),
            ("oldObject", &self.old),
            ("request", &self.request),
            ("namespaceObject", &self.namespace),
            ("params", &self.params),
            ("variables", &variables),
        ];
        program.run(&values, self.bytes, budget).map_err(|it| it.to_string())
    }
}

impl Conditions {
    pub(crate) fn compile(all: &[NamedExpression]) -> Result<Conditions, Flaw> {
        Ok(Conditions { all: named(all, "")? })
    }

    pub(crate) fn hold(&self, request: &Request<'_>) -> Result<bool, String> {
        if self.all.is_empty() {
            return Ok(true);
        }
        let (scope, mut budget) = (Scope::new(request), Budget::new(Budget::WRITE));
        let mut failure = None;
        for (name, program) in &self.all {
            match scope.run(program, &mut budget) {
                Ok(Cel::Bool(true)) => {}
                // One that does not hold decides, whatever else fails.
                Ok(Cel::Bool(false)) => return Ok(false),
                Ok(_) => failure = Some(format!("{name}: is not true or false")),
                Err(why) => failure = Some(format!("{name}: {why}")),
            }
        }
        failure.map_or(Ok(true), Err)
    }
}

impl Demands {
    pub(crate) fn compile(spec: &Spec) -> Result<Demands, Flaw> {
        let each = spec.expressions.iter().enumerate();
        let expressions = each.map(|(at, it)| {
            let path = |field: &str| format!("expressions[{at}].{field}");
            let message = match it.message_expression.as_str() {
                "" => None,
                text => Some(compile(text, path("messageExpression"))?),
            };
            Ok(Demand { text: it.clone(), program: compile(&it.expression, path("expression"))?, message })
        });
        let params = match (&spec.param_kind, &spec.param_ref) {
            (Some(kind), Some(which)) => Some((kind.clone(), which.clone())),
            (None, None) => None,
            _ => return Err(Flaw::new("paramKind", "paramKind and paramRef come together")),
        };
        Ok(Demands {
            variables: named(&spec.variables, "variables")?,
            expressions: expressions.collect::<Result<_, Flaw>>()?,
            params,
        })
    }

    /// Judges a request.
    pub(crate) fn judge(&self, rule: &Rule, request: &Request<'_>, source: &dyn Source) -> RuleResult {
        let made = |status: Status, message: String| RuleResult::new(rule, RuleKind::Validation, status, message);
        let params = match self.params(request, source) {
            Ok(it) => it,
            Err(why) => return made(Status::Error, why),
        };
        let Some(params) = params else {
            let denies = self.params.as_ref().is_some_and(|it| it.1.parameter_not_found_action == "Deny");
            let status = if denies { Status::Error } else { Status::Skip };
            return made(status, "no params found".to_owned());
        };
        for params in params {
            let (status, message) = self.judge_with(params.as_deref(), request);
            if status != Status::Pass {
                return made(status, message);
            }
        }
        made(Status::Pass, format!("Validation rule '{}' passed.", rule.name))
    }

    /// The parameters one by one; nothing where there are none but should be.
    fn params(&self, request: &Request<'_>, source: &dyn Source) -> Result<Option<Vec<Option<Arc<Value>>>>, String> {
        let Some((kind, which)) = &self.params else { return Ok(Some(vec![None])) };
        let own = request.subject()["metadata"]["namespace"].as_str().unwrap_or_default();
        let namespace = if which.namespace.is_empty() { own } else { &which.namespace };
        let found = match which.name.as_str() {
            "" => {
                let all = source.list(&kind.api_version, &kind.kind, namespace)?;
                let fits = |it: &Arc<Value>| {
                    which
                        .selector
                        .as_ref()
                        .is_none_or(|selector| matching::selector_fits(selector, &it["metadata"]["labels"]))
                };
                all.into_iter().filter(fits).collect()
            }
            name => source.get(&kind.api_version, &kind.kind, namespace, name)?.into_iter().collect::<Vec<_>>(),
        };
        Ok((!found.is_empty()).then(|| found.into_iter().map(Some).collect()))
    }

    fn judge_with(&self, params: Option<&Value>, request: &Request<'_>) -> (Status, String) {
        let (mut scope, mut budget) = (Scope::new(request), Budget::new(Budget::WRITE));
        scope.params = params.map_or(Cel::Null, eyot_rules::json);
        for (name, program) in &self.variables {
            // One that fails is missing, which is an error for those that name it.
            if let Ok(value) = scope.run(program, &mut budget) {
                scope.variables.push((name.clone(), value));
            }
        }
        for demand in &self.expressions {
            match scope.run(&demand.program, &mut budget) {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => return (Status::Fail, demand.message(&scope, &mut budget)),
                Ok(_) => return (Status::Error, format!("expression '{}' is no condition", demand.text.expression)),
                Err(why) => {
                    let text = &demand.text.expression;
                    return (Status::Error, format!("expression '{text}' resulted in error: {why}"));
                }
            }
        }
        (Status::Pass, String::new())
    }
}

impl Demand {
    fn message(&self, scope: &Scope, budget: &mut Budget) -> String {
        let computed = self.message.as_ref().and_then(|it| scope.run(it, budget).ok());
        match computed {
            Some(Cel::String(it)) if !it.trim().is_empty() => it.trim().to_owned(),
            _ if !self.text.message.is_empty() => self.text.message.trim().to_owned(),
            _ => format!("failed expression: {}", self.text.expression.trim()),
        }
    }
}
