//! CEL in rules: conditions on the request, and `validate.cel`.
//!
//! Entry points: [`Conditions`], [`Demands`]. Expressions see `object`, `oldObject`, `request`, `namespaceObject`,
//! `params` and `variables`, those of `validate.cel` also `authorizer`; they are evaluated by `eyot-vap`.

use std::sync::Arc;

use eyot_model::rbac::{Ask, Resource};
use eyot_rules::{Asker, Budget, Dialect, Environment, Program, Value as Cel, Variable};
use eyot_vap::{Expression, Language, conditions};
use serde_json::Value;

use crate::{
    flaw::Flaw,
    library, matching,
    policy::{Request, RuleKind, RuleResult, Status},
    source::Source,
    spec::{Cel as Spec, CelExpression, NamedExpression, ParamKind, ParamRef, Rule},
};

const NAMES: &[&str] = &["object", "oldObject", "request", "namespaceObject", "params", "authorizer"];

static LANGUAGE: Language =
    Language { names: NAMES, library: Some(&library::LENIENT), conditions_have_variables: false, is_strict: false };
/// Conditions on a request know nothing of roles.
static OF_CONDITIONS: Language = Language {
    names: NAMES.split_at(5).0,
    library: Some(&library::LENIENT),
    conditions_have_variables: false,
    is_strict: false,
};

/// Conditions that must all hold.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    all: Vec<Expression>,
}

/// What `validate.cel` demands.
#[derive(Debug)]
pub(crate) struct Demands {
    variables: Arc<[Variable]>,
    expressions: Vec<Demand>,
    params: Option<(ParamKind, ParamRef)>,
    /// Whether what cannot be evaluated is no violation.
    ignores_errors: bool,
}

#[derive(Debug)]
struct Demand {
    text: CelExpression,
    rule: Expression,
    message: Option<Expression>,
}

fn compile(text: &str, language: &Language, variables: &[Variable], path: String) -> Result<Expression, Flaw> {
    let expression = Expression::compile_with(text, language, variables);
    match expression.flaw() {
        Some(why) => Err(Flaw::new(path, why)),
        None => Ok(expression),
    }
}

/// What expressions see of a request.
fn seen(request: &Request<'_>) -> Environment {
    let mut seen = Environment::new()
        .with("object", Arc::new(request.object.clone()))
        .with("request", Arc::new(request.about.clone()))
        .with("namespaceObject", Arc::new(request.namespace.clone()));
    if let Some(old) = request.old {
        seen = seen.with("oldObject", Arc::new(old.clone()));
    }
    seen
}

/// The same with what there is to know about roles.
fn seen_with_roles(request: &Request<'_>, source: &dyn Source) -> Environment {
    let seen = seen(request);
    let Some(roles) = source.authorizer() else { return seen };
    let decide = move |user: &str, groups: &[String], ask: &Ask<'_>| {
        let decision = roles.decide(user, groups, ask);
        (decision.allowed, decision.reason)
    };
    let (user, groups) = request.requester.map_or(("", &[][..]), |it| (it.username.as_str(), it.groups.as_slice()));
    let plural = source.plural_of(request.group, request.version, request.kind).unwrap_or_default();
    let text = |field: &str| request.subject()["metadata"][field].as_str().unwrap_or_default();
    let resource = Resource {
        group: request.group,
        resource: &plural,
        subresource: request.subresource,
        namespace: text("namespace"),
        name: text("name"),
        ..Resource::default()
    };
    seen.with_authorizer(&Asker::new(Arc::new(decide), user, groups), &resource)
}

impl Conditions {
    pub(crate) fn compile(all: &[NamedExpression]) -> Result<Conditions, Flaw> {
        let each = all.iter().enumerate();
        let all = each.map(|(at, it)| compile(&it.expression, &OF_CONDITIONS, &[], format!("[{at}].expression")));
        Ok(Conditions { all: all.collect::<Result<_, Flaw>>()? })
    }

    pub(crate) fn hold(&self, request: &Request<'_>) -> Result<bool, String> {
        if self.all.is_empty() {
            return Ok(true);
        }
        conditions(&self.all, &seen(request), &mut Budget::new(Budget::WRITE))
    }
}

impl Demands {
    pub(crate) fn compile(spec: &Spec, ignores_errors: bool) -> Result<Demands, Flaw> {
        let mut variables: Vec<Variable> = Vec::new();
        for (at, it) in spec.variables.iter().enumerate() {
            let dialect =
                Dialect { names: NAMES, variables: &variables, messages: false, library: Some(&library::LENIENT) };
            let program = Program::compile_as(it.expression.trim(), &dialect);
            let program = program.map_err(|why| Flaw::new(format!("variables[{at}].expression"), why.to_string()))?;
            variables.push(Variable { name: it.name.clone(), program });
        }
        let each = spec.expressions.iter().enumerate();
        let expressions = each.map(|(at, it)| {
            let path = |field: &str| format!("expressions[{at}].{field}");
            let message = match it.message_expression.as_str() {
                "" => None,
                text => Some(compile(text, &LANGUAGE, &variables, path("messageExpression"))?),
            };
            Ok(Demand {
                text: it.clone(),
                rule: compile(&it.expression, &LANGUAGE, &variables, path("expression"))?,
                message,
            })
        });
        let expressions = expressions.collect::<Result<_, Flaw>>()?;
        let params = match (&spec.param_kind, &spec.param_ref) {
            (Some(kind), Some(which)) => Some((kind.clone(), which.clone())),
            (None, None) => None,
            _ => return Err(Flaw::new("paramKind", "paramKind and paramRef come together")),
        };
        Ok(Demands { variables: variables.into(), expressions, params, ignores_errors })
    }

    /// Judges a request. What cannot be evaluated is a violation, unless such failures are ignored.
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
        let seen = seen_with_roles(request, source);
        let otherwise = rule.validate.as_ref().map_or("", |it| it.message.as_str());
        for params in params {
            let seen = seen.with("params", params).with_variables(self.variables.clone());
            match self.judge_with(&seen, otherwise) {
                Ok(None) => {}
                Ok(Some(message)) => return made(Status::Fail, message),
                Err(why) if self.ignores_errors => return made(Status::Error, why),
                Err(why) => return made(Status::Fail, why),
            }
        }
        made(Status::Pass, format!("Validation rule '{}' passed.", rule.name))
    }

    /// The parameters one by one; nothing where there are none but should be.
    fn params(&self, request: &Request<'_>, source: &dyn Source) -> Result<Option<Vec<Arc<Value>>>, String> {
        let Some((kind, which)) = &self.params else { return Ok(Some(vec![Arc::new(Value::Null)])) };
        let own = request.subject()["metadata"]["namespace"].as_str().unwrap_or_default();
        let namespace = if which.namespace.is_empty() { own } else { &which.namespace };
        let namespace = if source.is_namespaced(&kind.api_version, &kind.kind) { namespace } else { "" };
        let found: Vec<Arc<Value>> = match which.name.as_str() {
            "" => {
                let all = source.list(&kind.api_version, &kind.kind, namespace)?;
                let fits = |it: &Arc<Value>| {
                    let selector = which.selector.as_ref();
                    selector.is_none_or(|selector| matching::selector_fits(selector, &it["metadata"]["labels"]))
                };
                all.into_iter().filter(fits).collect()
            }
            name => source.get(&kind.api_version, &kind.kind, namespace, name)?.into_iter().collect(),
        };
        Ok((!found.is_empty()).then_some(found))
    }

    /// What is told of the first demand that is not met; `otherwise` where it has no message.
    fn judge_with(&self, seen: &Environment, otherwise: &str) -> Result<Option<String>, String> {
        let mut budget = Budget::new(Budget::WRITE);
        for demand in &self.expressions {
            if !demand.rule.holds(seen, &mut budget)? {
                return Ok(Some(demand.message(seen, otherwise, &mut budget)));
            }
        }
        Ok(None)
    }
}

impl Demand {
    fn message(&self, seen: &Environment, otherwise: &str, budget: &mut Budget) -> String {
        let computed = self.message.as_ref().and_then(|it| it.run(seen, budget).ok());
        match computed {
            Some(Cel::String(it)) if !it.trim().is_empty() => it.trim().to_owned(),
            _ if !self.text.message.is_empty() => self.text.message.trim().to_owned(),
            _ if !otherwise.is_empty() => otherwise.trim().to_owned(),
            _ => format!("failed expression: {}", self.text.expression.trim()),
        }
    }
}
