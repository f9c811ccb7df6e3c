//! Match conditions: expressions in CEL that tell a hook's requests from others. Entry points: [`hold`], [`flaws`].
//!
//! They see `object`, `oldObject`, `request` and `authorizer`.

use std::sync::Arc;

use eyot_model::{
    meta,
    rbac::{Ask, Resource},
    status::{ApiError, Cause},
};
use eyot_rules::{Asker, Budget, Environment, Program, Value as Cel};
use serde_json::Value;

use super::{
    super::{Attempt, Operation},
    hook::Hook,
    review,
    rules::Wanted,
};
use crate::{policy::Live, server::Shared};
use eyot_policy::Data;

const NAMES: &[&str] = &["object", "oldObject", "request", "authorizer"];

/// One condition.
pub(super) struct Condition {
    name: String,
    program: Result<Program, String>,
}

fn compile(text: &str) -> Result<Program, String> {
    Program::compile_for(text, NAMES, &[], false).map_err(|it| it.to_string())
}

impl Condition {
    pub(super) fn read(condition: &Value) -> Condition {
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        Condition { name: text("name").to_owned(), program: compile(text("expression")) }
    }
}

/// Whether all conditions hold. One that does not settles it, whatever becomes of the others.
pub(super) fn hold(
    server: &Shared,
    hook: &Hook,
    wanted: &Wanted,
    attempt: &Attempt<'_>,
    object: &Value,
) -> Result<bool, ApiError> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let seen = environment(server, wanted, attempt, object);
    let mut budget = Budget::new(Budget::WRITE);
    let mut failed = None;
    for Condition { name, program } in &hook.conditions {
        let result = match program {
            Ok(program) => seen.run(program, &mut budget).map_err(|it| it.to_string()),
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

fn environment(server: &Shared, wanted: &Wanted, attempt: &Attempt<'_>, object: &Value) -> Environment {
    let mut request = review::request("", wanted, attempt, object);
    let mut take = |field: &str| Arc::new(meta::as_map(&mut request).remove(field).unwrap_or_default());
    let (new, old) = (take("object"), take("oldObject"));
    let roles = Live(server).authorizer();
    let decide = move |user: &str, groups: &[String], ask: &Ask<'_>| {
        let decision = roles.decide(user, groups, ask);
        (decision.allowed, decision.reason)
    };
    let asker = Asker::new(Arc::new(decide), &attempt.identity.user, &attempt.identity.groups);
    let kind = wanted.kind(attempt.kind);
    let resource = Resource {
        group: &kind.group,
        resource: &kind.plural,
        subresource: attempt.subresource,
        namespace: attempt.namespace,
        name: attempt.name,
        ..Resource::default()
    };
    let seen = Environment::new().with("object", new).with("oldObject", old).with("request", Arc::new(request));
    seen.with_authorizer(&asker, &resource)
}

/// Everything wrong with the expressions of a configuration.
pub(crate) fn flaws(configuration: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (i, hook) in meta::list(configuration.get("webhooks")).iter().enumerate() {
        for (k, condition) in meta::list(hook.get("matchConditions")).iter().enumerate() {
            let text = condition["expression"].as_str().unwrap_or_default();
            if let Err(error) = compile(text) {
                let field = format!("webhooks[{i}].matchConditions[{k}].expression");
                causes.push(Cause::invalid(field, &text.into(), &error));
            }
        }
    }
    causes
}
