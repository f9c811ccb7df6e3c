//! Admission: what happens to an object between decoding and storing. Entry point: [`admit`].
//!
//! Two lists of steps run inside every write, before anything is stored: first those that complete or refuse, then,
//! once the object has its final form and its schema holds, those that only judge. What passes here is what clients
//! see. Policies are steps of these two lists.
//!
//! A step is told the whole [`Attempt`] and returns at once when the attempt is not its business: the way of a pod from
//! `POST` to Ready goes through here.

mod fallback;
mod lifecycle;
mod limits;
mod priority;
mod quota;
mod runtime_class;
mod security;
mod webhook;

use eyot_model::{
    defaults,
    kinds::Kind,
    meta, pod_part, prepare, schema,
    status::{ApiError, Cause},
    validate,
};
pub(crate) use eyot_policy::Operation;
use eyot_policy::Turns;
use futures::future::BoxFuture;
use serde_json::Value;

pub(crate) use priority::GlobalDefault;
pub(crate) use quota::{Charge, Quotas};
pub(crate) use webhook::Webhooks;

use crate::{
    Identity, access, csr, definitions, flow, policy, request::query::Query, server::Shared, strategy, verbs::delete,
};

/// Something that wants to happen.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) operation: Operation,
    /// The kind of the resource in the URL; a subresource may carry objects of another kind.
    pub(crate) kind: &'a Kind,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// Empty for kinds without namespaces.
    pub(crate) namespace: &'a str,
    /// Empty only where a whole collection is meant.
    pub(crate) name: &'a str,
    pub(crate) identity: &'a Identity,
    pub(crate) options: Options<'a>,
    /// What is stored now, when it is an update or a delete; for a subresource of another kind its present form.
    pub(crate) old: Option<&'a Value>,
}

/// The options of a request, as admission reviews show them.
#[derive(Clone, Copy)]
pub(crate) enum Options<'a> {
    Create(&'a Query),
    Update(&'a Query),
    Patch(&'a Query),
    Delete(&'a delete::Options),
    /// The object is the options: of a session, a port-forward, a proxied request.
    Connect,
}

/// What admission gives back beside the object.
#[derive(Default)]
pub(crate) struct Admitted {
    /// Become `Warning` headers.
    pub(crate) warnings: Vec<String>,
    /// Room taken in quotas: goes with the object to the store, by [`Stored::charged`](crate::commit::Stored::charged).
    pub(crate) charge: Option<Charge>,
    /// Who changed the object, of policies and webhooks.
    pub(crate) turns: Turns,
    /// The place that a pod was given on the only node; kept until the pod is stored.
    pub(crate) place: Option<strategy::bind::Place>,
}

/// A step that completes an object or refuses it. Doing it twice must change nothing more.
pub(crate) enum Mutate {
    /// Runs at once.
    Now(fn(&Shared, &Attempt<'_>, &mut Value, &mut Admitted) -> Result<(), ApiError>),
    /// Waits for something outside. Costs nothing but the question when nobody `wants` the attempt.
    Later { wants: fn(&Shared, &Attempt<'_>) -> bool, change: Change },
}

/// A step that judges an object in its final form.
pub(crate) enum Validate {
    /// Runs at once.
    Now(fn(&Shared, &Attempt<'_>, &Value, &mut Admitted) -> Result<(), ApiError>),
    /// Waits for something outside. Costs nothing but the question when nobody `wants` the attempt.
    Later { wants: fn(&Shared, &Attempt<'_>) -> bool, judge: Judge },
}

/// Says whether the object changed.
pub(crate) type Change =
    for<'a> fn(&'a Shared, &'a Attempt<'a>, &'a mut Value, &'a mut Admitted) -> BoxFuture<'a, Result<bool, ApiError>>;
pub(crate) type Judge =
    for<'a> fn(&'a Shared, &'a Attempt<'a>, &'a Value, &'a mut Admitted) -> BoxFuture<'a, Result<(), ApiError>>;

const MUTATING: &[Mutate] = &[
    Mutate::Now(lifecycle::namespace),
    Mutate::Now(limits::complete),
    Mutate::Now(priority::complete),
    Mutate::Now(strategy::account::complete),
    Mutate::Now(runtime_class::complete),
    Mutate::Now(fallback::complete),
    Mutate::Now(quota::complete),
    Mutate::Now(flow::complete),
    policy::step::MUTATE,
    webhook::MUTATE,
];

const VALIDATING: &[Validate] = &[
    Validate::Now(access::judge_node),
    Validate::Now(limits::judge),
    Validate::Now(security::judge),
    Validate::Now(priority::judge),
    policy::step::VALIDATE,
    webhook::VALIDATE,
    // Last, since it takes room for what all others let pass.
    Validate::Now(quota::judge),
];

impl Attempt<'_> {
    /// Whether it creates an object of that group and kind.
    pub(crate) fn creates(&self, group: &str, kind: &str) -> bool {
        self.operation == Operation::Create && self.subresource.is_empty() && self.kind.is(group, kind)
    }

    /// Whether nothing of it will be stored.
    pub(crate) fn dry_run(&self) -> bool {
        match self.options {
            Options::Create(query) | Options::Update(query) | Options::Patch(query) => query.dry_run,
            Options::Delete(options) => options.dry_run,
            Options::Connect => false,
        }
    }

    /// Whether there is an object, and of the resource's own kind: not a Scale or a Binding, nor options.
    fn is_of_the_kind(&self) -> bool {
        if matches!(self.operation, Operation::Delete | Operation::Connect) {
            return false;
        }
        let carried = if self.subresource.is_empty() { None } else { self.kind.subresource(self.subresource) };
        carried.is_none_or(|it| it.kind == self.kind.kind && it.group == self.kind.group)
    }
}

/// Completes and judges an object that comes with its defaults, or what is asked of one. A delete has no object: null.
///
/// # Errors
/// The first refusal of a step, or everything that is wrong with the object.
pub(crate) async fn admit(server: &Shared, attempt: &Attempt<'_>, object: &mut Value) -> Result<Admitted, ApiError> {
    let mut admitted = Admitted::default();
    if mutate(server, attempt, object, &mut admitted).await? {
        admitted.turns.begin_again();
        mutate(server, attempt, object, &mut admitted).await?;
    }
    if attempt.creates("", "Pod") {
        // After all others, since these depend on what they made of the pod.
        let class = prepare::qos_class(object);
        meta::entry(object, "status").insert("qosClass".into(), class.into());
        admitted.place = strategy::bind::place(server, attempt, object);
    }
    if attempt.is_of_the_kind() {
        csr::stamp(attempt, object)?;
        access::check_escalation(server, attempt, object)?;
    }
    check(attempt, object)?;
    policy::step::check(server, attempt, object, &mut admitted)?;
    for step in VALIDATING {
        match step {
            Validate::Now(judge) => judge(server, attempt, object, &mut admitted)?,
            Validate::Later { wants, judge } if wants(server, attempt) => {
                judge(server, attempt, object, &mut admitted).await?;
            }
            Validate::Later { .. } => {}
        }
    }
    Ok(admitted)
}

/// Runs the mutating steps, and says whether one that had to wait changed the object.
async fn mutate(
    server: &Shared,
    attempt: &Attempt<'_>,
    object: &mut Value,
    admitted: &mut Admitted,
) -> Result<bool, ApiError> {
    let mut changed = false;
    for step in MUTATING {
        match step {
            Mutate::Now(complete) => complete(server, attempt, object, admitted)?,
            Mutate::Later { wants, change } if wants(server, attempt) => {
                changed |= change(server, attempt, object, admitted).await?;
            }
            Mutate::Later { .. } => {}
        }
    }
    Ok(changed)
}

/// Takes over what somebody made of an object: unknown fields are dropped, defaults filled in.
///
/// # Errors
/// When it is not an object of that kind any more, or another one.
pub(crate) fn settle(attempt: &Attempt<'_>, before: &Value, mut new: Value) -> Result<Value, String> {
    if attempt.is_of_the_kind() {
        let decoded = schema::decode(attempt.kind, new, Vec::new(), schema::FieldValidation::Ignore);
        new = decoded.map_err(|it| it.message)?.object;
        fill(attempt, &mut new);
    }
    // What the request is about is settled by its URL.
    let identity = |it: &Value| [meta::name(it), meta::namespace(it), meta::uid(it)].map(|it| it.map(str::to_owned));
    if identity(&new) != identity(before) {
        return Err("name, namespace and uid of an object cannot be changed".to_owned());
    }
    Ok(new)
}

/// Gives what a step added its defaults.
fn fill(attempt: &Attempt<'_>, object: &mut Value) {
    if attempt.is_of_the_kind() {
        defaults::apply(attempt.kind, object);
    }
}

/// What rules in CEL have against an object whose schema holds.
fn rules(attempt: &Attempt<'_>, object: &Value) -> Vec<Cause> {
    if webhook::is_configuration(attempt.kind) {
        return webhook::flaws(object);
    }
    let changed = || attempt.old.is_none_or(|old| old.get("spec") != object.get("spec"));
    match definitions::is_definition(attempt.kind) {
        true if changed() => definitions::rules::flaws(object, attempt.old),
        true => Vec::new(),
        false => definitions::rules::judge(attempt.kind, object, attempt.old),
    }
}

/// Finds everything that the schema and the rules of the kind have against the object.
pub(crate) fn check(attempt: &Attempt<'_>, object: &Value) -> Result<(), ApiError> {
    if !attempt.is_of_the_kind() {
        return Ok(());
    }
    let causes: Vec<Cause> = match attempt.old {
        Some(old) if matches!(attempt.subresource, "status" | "approval") => {
            validate::check_status(attempt.kind, object, old)
        }
        Some(old) if attempt.kind.is("", "Pod") && pod_part::is_part(attempt.subresource) => {
            validate::check_part(attempt.kind, attempt.subresource, object, old)
        }
        old => validate::check(attempt.kind, object, old),
    };
    let causes = if causes.is_empty() { rules(attempt, object) } else { causes };
    if causes.is_empty() {
        return Ok(());
    }
    let Attempt { identity, kind, subresource, name, .. } = attempt;
    tracing::debug!(user = identity.user, kind = kind.kind, subresource, name, "refused as invalid");
    Err(ApiError::invalid(attempt.kind, name, causes))
}
