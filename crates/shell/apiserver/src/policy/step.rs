//! The steps of admission that ask the engines, and the check of policies that are written. Entry points: [`MUTATE`],
//! [`VALIDATE`], [`check`].

use std::sync::Arc;

use eyot_model::{
    kinds::Kind,
    meta,
    rbac::{Ask, Resource},
    status::{ApiError, Cause, CauseReason},
};
use eyot_policy::{Denial, Engine, Options as How, Power, Review, User};
use eyot_store::Key;
use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use serde_json::Value;

use super::{Live, guarded};
use crate::{
    access,
    admit::{self, Admitted, Attempt, Mutate, Operation, Options, Validate},
    object,
    server::Shared,
};

pub(crate) const MUTATE: Mutate = Mutate::Later { wants: wants_mutating, change };
pub(crate) const VALIDATE: Validate = Validate::Later { wants, judge };

/// Policies and webhook configurations are never judged: a broken one must remain removable.
const EXEMPT: &str = "admissionregistration.k8s.io";

/// What is attempted, as engines are told. The object may be in another version than the request's.
pub(crate) fn review<'a>(attempt: &Attempt<'a>, object: &'a Value, now: Timestamp) -> Review<'a> {
    let kind: &'a Kind = attempt.kind;
    Review {
        now,
        operation: attempt.operation,
        resource: kind,
        requested: kind,
        subresource: attempt.subresource,
        // A namespace is in itself, as far as policies are concerned.
        namespace: if kind.is("", "Namespace") { attempt.name } else { attempt.namespace },
        name: attempt.name,
        user: User {
            name: &attempt.identity.user,
            uid: &attempt.identity.uid,
            groups: &attempt.identity.groups,
            extra: &attempt.identity.extra,
        },
        options: options(attempt),
        object,
        old: attempt.old,
        namespace_object: None,
    }
}

fn options<'a>(attempt: &Attempt<'a>) -> How<'a> {
    let dry_run = attempt.dry_run();
    let manager = |it: &'a str| Some(it).filter(|it| !it.is_empty());
    match attempt.options {
        Options::Create(query) => {
            How { kind: "CreateOptions", dry_run, field_manager: manager(&query.field_manager), ..How::default() }
        }
        Options::Update(query) => {
            How { kind: "UpdateOptions", dry_run, field_manager: manager(&query.field_manager), ..How::default() }
        }
        Options::Patch(query) => {
            How { kind: "PatchOptions", dry_run, field_manager: manager(&query.field_manager), ..How::default() }
        }
        Options::Delete(options) => How {
            kind: "DeleteOptions",
            dry_run,
            field_manager: None,
            grace_seconds: options.grace_seconds,
            propagation_policy: options.propagation_policy(),
            uid: options.uid.as_deref(),
            resource_version: options.resource_version.as_deref(),
        },
        Options::Connect => How::default(),
    }
}

fn wants(server: &Shared, attempt: &Attempt<'_>) -> bool {
    let engines = &server.policies.engines;
    if engines.is_empty() || attempt.kind.group == EXEMPT {
        return false;
    }
    let review = review(attempt, &Value::Null, Timestamp::UNIX_EPOCH);
    engines.iter().any(|it| it.wants(&review))
}

fn wants_mutating(server: &Shared, attempt: &Attempt<'_>) -> bool {
    matches!(attempt.operation, Operation::Create | Operation::Update) && wants(server, attempt)
}

/// The Namespace that an attempt is in.
fn namespace(server: &Shared, attempt: &Attempt<'_>) -> Option<Value> {
    if attempt.namespace.is_empty() || attempt.kind.is("", "Namespace") {
        return None;
    }
    let entry = server.store.get(&Key::new("/namespaces", "", attempt.namespace))?;
    object::parse(&entry).ok()
}

fn change<'a>(
    server: &'a Shared,
    attempt: &'a Attempt<'a>,
    object: &'a mut Value,
    admitted: &'a mut Admitted,
) -> BoxFuture<'a, Result<bool, ApiError>> {
    std::future::ready(mutate(server, attempt, object, admitted)).boxed()
}

/// Lets one engine after another change the object; each sees what those before it made of it.
fn mutate(
    server: &Shared,
    attempt: &Attempt<'_>,
    object: &mut Value,
    admitted: &mut Admitted,
) -> Result<bool, ApiError> {
    let (namespace, now, data) = (namespace(server, attempt), Timestamp::now(), Live(server));
    let mut changed = false;
    // The object as an engine got it, made anew only when the one before changed it.
    let mut given: Option<Value> = None;
    for engine in &server.policies.engines {
        if !engine.wants(&review(attempt, &Value::Null, now)) {
            continue;
        }
        let before = &*given.get_or_insert_with(|| object.clone());
        let review = Review { namespace_object: namespace.as_ref(), ..review(attempt, before, now) };
        let made = guarded(engine, || engine.mutate(&review, object, &mut admitted.turns, &data))?;
        let made = made.map_err(|it| refusal(attempt, engine, &[it]))?;
        note(attempt, engine, &made.audit_annotations);
        admitted.warnings.extend(made.warnings);
        if made.changed {
            let new = std::mem::take(object);
            let failed = |why: String| ApiError::internal(format!("the policy engine {}: {why}", engine.name()));
            *object = admit::settle(attempt, before, new).map_err(failed)?;
            (changed, given) = (true, None);
        }
    }
    Ok(changed)
}

fn judge<'a>(
    server: &'a Shared,
    attempt: &'a Attempt<'a>,
    object: &'a Value,
    admitted: &'a mut Admitted,
) -> BoxFuture<'a, Result<(), ApiError>> {
    std::future::ready(validate(server, attempt, object, admitted)).boxed()
}

/// Asks the engines; the refusal of the first one that has any is told.
fn validate(server: &Shared, attempt: &Attempt<'_>, object: &Value, admitted: &mut Admitted) -> Result<(), ApiError> {
    let (namespace, now, data) = (namespace(server, attempt), Timestamp::now(), Live(server));
    let review = Review { namespace_object: namespace.as_ref(), ..review(attempt, object, now) };
    for engine in &server.policies.engines {
        if !engine.wants(&Review { object: &Value::Null, namespace_object: None, ..review }) {
            continue;
        }
        let verdict = guarded(engine, || engine.validate(&review, &data))?;
        note(attempt, engine, &verdict.audit_annotations);
        if !verdict.denials.is_empty() {
            return Err(refusal(attempt, engine, &verdict.denials));
        }
        admitted.warnings.extend(verdict.warnings);
    }
    Ok(())
}

/// There is no audit log; what it would hold goes to the server's.
fn note(attempt: &Attempt<'_>, engine: &Arc<dyn Engine>, annotations: &[(String, String)]) {
    for (key, value) in annotations {
        let (engine, kind, namespace, name) = (engine.name(), &attempt.kind.kind, attempt.namespace, attempt.name);
        tracing::info!(engine, kind, namespace, name, key, value, "audit annotation");
    }
}

fn refusal(attempt: &Attempt<'_>, engine: &Arc<dyn Engine>, denials: &[Denial]) -> ApiError {
    let Some(first) = denials.first() else { return ApiError::internal("a refusal without a reason") };
    let message = denials.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join("\n");
    let (kind, name) = (attempt.kind, attempt.name);
    let mut error = match first.is_reason {
        true => {
            let mut error = ApiError::forbidden(kind, name, &message);
            error.details.causes = vec![Cause { reason: CauseReason::Unspecified, message, field: String::new() }];
            error
        }
        false => ApiError::new(first.code, first.reason, message),
    };
    (error.code, error.reason) = (first.code, first.reason);
    let (user, policy) = (&attempt.identity.user, &first.policy);
    tracing::debug!(engine = engine.name(), policy, user, kind = kind.kind, name, "refused by policy");
    error
}

/// Has a policy that is written compiled by those whose policy it is.
pub(crate) fn check(
    server: &Shared,
    attempt: &Attempt<'_>,
    object: &mut Value,
    admitted: &mut Admitted,
) -> Result<(), ApiError> {
    let written = matches!(attempt.operation, Operation::Create | Operation::Update) && attempt.subresource.is_empty();
    if !written || !server.policies.governs(attempt.kind) || meta::deleted(object).is_some() {
        return Ok(());
    }
    let data = Live(server);
    for engine in server.policies.of(attempt.kind) {
        let checked = guarded(engine, || engine.check(object, attempt.old, &data))?;
        let warnings = checked.map_err(|causes| ApiError::invalid(attempt.kind, attempt.name, causes))?;
        admitted.warnings.extend(warnings);
        entitled(server, attempt, object, engine)?;
    }
    Ok(())
}

/// Refuses a policy that would do by itself what its writer may not.
fn entitled(server: &Shared, attempt: &Attempt<'_>, object: &Value, engine: &Arc<dyn Engine>) -> Result<(), ApiError> {
    let is_new = attempt.old.is_none_or(|old| old.get("spec") != object.get("spec"));
    if !is_new || attempt.identity.is_master() {
        return Ok(());
    }
    for power in guarded(engine, || engine.powers(object, &Live(server)))? {
        let Power { verb, group, resource, namespace, field } = &power;
        let ask = Resource { verb, group, resource, namespace, ..Resource::default() };
        if !access::may(server, attempt.identity, &Ask::Resource(ask)) {
            let (user, place) = (&attempt.identity.user, place(namespace));
            let what = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
            let why = format!(
                "{field}: the server would {verb} {what} {place} for this policy, and its author, user {user:?}, may not"
            );
            return Err(ApiError::forbidden(attempt.kind, attempt.name, &why));
        }
    }
    Ok(())
}

fn place(namespace: &str) -> String {
    if namespace.is_empty() { "anywhere".to_owned() } else { format!("in namespace {namespace:?}") }
}
