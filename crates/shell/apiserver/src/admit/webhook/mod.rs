//! Webhooks: other servers that change or judge what is written.
//!
//! Entry points: [`MUTATE`] and [`VALIDATE`], the steps. Configurations are read from the store by each request, so that
//! there is no moment at which one is stored and not yet heeded. Which hooks want an attempt is decided in [`rules`];
//! [`review`] speaks the protocol, [`crate::webhook`] carries it. Hooks never see webhook configurations and admission
//! policies: a broken one must remain removable.

mod call;
mod conditions;
mod hook;
mod review;
mod rules;

use std::sync::Arc;

use eyot_model::{kinds::Kind, status::ApiError};
use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;

use super::{Admitted, Attempt, Mutate, Operation, Validate};
use crate::{memo::Memo, server::Shared};
use call::{Failure, ask};
pub(super) use conditions::flaws;
use hook::Hook;
use rules::Wanted;

pub(super) const MUTATE: Mutate = Mutate::Later { wants: any_mutating, change: mutate };
pub(super) const VALIDATE: Validate = Validate::Later { wants: any_validating, judge: validate };

const GROUP: &str = "admissionregistration.k8s.io";

/// Whether it is a kind of webhook configuration.
pub(super) fn is_configuration(kind: &Kind) -> bool {
    kind.is(GROUP, "MutatingWebhookConfiguration") || kind.is(GROUP, "ValidatingWebhookConfiguration")
}

/// The hooks of all configurations, in the order in which they are asked.
pub(crate) struct Webhooks {
    mutating: Memo<Vec<Arc<Hook>>>,
    validating: Memo<Vec<Arc<Hook>>>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Webhooks {
            mutating: Memo::new("admissionregistration.k8s.io/mutatingwebhookconfigurations"),
            validating: Memo::new("admissionregistration.k8s.io/validatingwebhookconfigurations"),
        }
    }
}

impl Webhooks {
    fn mutating(&self, server: &Shared) -> Arc<Vec<Arc<Hook>>> {
        self.mutating.get(&server.store, hook::read)
    }

    fn validating(&self, server: &Shared) -> Arc<Vec<Arc<Hook>>> {
        self.validating.get(&server.store, hook::read)
    }
}

fn any_mutating(server: &Shared, attempt: &Attempt<'_>) -> bool {
    attempt.kind.group != GROUP && !server.webhooks.mutating(server).is_empty()
}

fn any_validating(server: &Shared, attempt: &Attempt<'_>) -> bool {
    attempt.kind.group != GROUP && !server.webhooks.validating(server).is_empty()
}

/// Asks the mutating hooks one after another; each sees what the ones before it made of the object.
fn mutate<'a>(
    server: &'a Shared,
    attempt: &'a Attempt<'a>,
    object: &'a mut Value,
    admitted: &'a mut Admitted,
) -> BoxFuture<'a, Result<bool, ApiError>> {
    async move {
        let mut changed = false;
        for hook in server.webhooks.mutating(server).iter() {
            if !admitted.turns.is_due(&hook.id, hook.reinvoked) {
                continue;
            }
            let Some(wanted) = rules::wanted(server, hook, attempt, object)? else { continue };
            let answer = match ask(server, hook, &wanted, attempt, object).await {
                Ok(answer) => answer,
                Err(failure) => {
                    settle(hook, failure)?;
                    continue;
                }
            };
            admitted.warnings.extend(answer.warnings);
            let applied = match answer.patch {
                Some(patch) => apply(hook, &wanted, attempt, object, &patch)?,
                None => false,
            };
            changed |= applied;
            admitted.turns.took(&hook.id, applied);
        }
        Ok(changed)
    }
    .boxed()
}

/// Asks all validating hooks at once; the first refusal in their order is told.
fn validate<'a>(
    server: &'a Shared,
    attempt: &'a Attempt<'a>,
    object: &'a Value,
    admitted: &'a mut Admitted,
) -> BoxFuture<'a, Result<(), ApiError>> {
    async move {
        let mut asked = Vec::new();
        for hook in server.webhooks.validating(server).iter() {
            if let Some(wanted) = rules::wanted(server, hook, attempt, object)? {
                asked.push((hook.clone(), wanted));
            }
        }
        let answers = asked.iter().map(|(hook, wanted)| ask(server, hook, wanted, attempt, object));
        for (answer, (hook, _)) in futures::future::join_all(answers).await.into_iter().zip(&asked) {
            match answer {
                Ok(answer) if answer.patch.is_some() => {
                    let what = "validating webhook may not return response.patch".to_owned();
                    settle(hook, Failure::Answer(what))?;
                }
                Ok(answer) => admitted.warnings.extend(answer.warnings),
                Err(failure) => settle(hook, failure)?,
            }
        }
        Ok(())
    }
    .boxed()
}

/// What becomes of the request when a hook refuses, or cannot be asked.
fn settle(hook: &Hook, failure: Failure) -> Result<(), ApiError> {
    match failure {
        Failure::Refused(error) => Err(*error),
        failure if hook.ignores_failures => {
            tracing::warn!(webhook = hook.name, "failed open: {failure}");
            Ok(())
        }
        failure => Err(ApiError::internal(format!("failed calling webhook {:?}: {failure}", hook.name))),
    }
}

/// Changes the object as a hook wants it, and says whether that changed anything.
fn apply(
    hook: &Hook,
    wanted: &Wanted,
    attempt: &Attempt<'_>,
    object: &mut Value,
    patch: &Value,
) -> Result<bool, ApiError> {
    let failed = |why: String| ApiError::internal(format!("admission webhook {:?}: {why}", hook.name));
    if object.is_null() || attempt.operation == Operation::Connect {
        return Err(failed("a patch was returned for a request without an object".to_owned()));
    }
    let seen = wanted.convert(attempt.kind, object.clone());
    let patched = eyot_model::patch::json::apply(&seen, patch).map_err(|it| failed(it.to_string()))?;
    let new = super::settle(attempt, object, wanted.convert_back(attempt.kind, patched)).map_err(failed)?;
    let changed = new != *object;
    *object = new;
    Ok(changed)
}
