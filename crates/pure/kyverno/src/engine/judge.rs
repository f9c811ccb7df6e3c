//! What all policies together make of a request.

use std::collections::BTreeMap;

use eyot_model::status::Reason;
use eyot_policy::{Data, Denial, Mutation, Review, Turns, Verdict};
use serde_json::Value;

use super::{
    Snapshot,
    account::Account,
    lookup::{self, Live},
    message::{self, Reasons},
};
use crate::{
    Policy, Request, Status, context::Context, jmespath::Env, matching::Requester, source::Source, spec::Action,
};

/// What a request is made of, besides the review.
struct Scene {
    env: Env,
    requester: Requester,
    about: Value,
    namespace: Value,
}

impl Scene {
    fn new(review: &Review<'_>, live: &Live<'_>, seed: u64) -> Result<Scene, String> {
        Ok(Scene {
            env: Env::new(review.now, seed),
            requester: lookup::requester(&review.user, live)?,
            about: Value::Object(review.about("")),
            namespace: review.namespace_object.cloned().unwrap_or_default(),
        })
    }

    fn request<'a>(&'a self, review: &Review<'a>, object: &'a Value) -> Request<'a> {
        let kind = review.resource;
        Request {
            object,
            old: review.old,
            operation: review.operation.as_str(),
            group: &kind.group,
            version: &kind.version,
            kind: &kind.kind,
            subresource: review.subresource,
            namespace: &self.namespace,
            requester: Some(&self.requester),
            about: &self.about,
        }
    }
}

fn resource(review: &Review<'_>) -> String {
    format!("{}/{}/{}", review.resource.kind, review.namespace, review.name)
}

pub(super) fn denial(policy: &str, message: String) -> Denial {
    Denial { policy: policy.to_owned(), message, is_reason: false, code: 400, reason: Reason::Unknown }
}

/// Policies that have rules of a sort for a request.
fn concerned<'s>(
    snapshot: &'s Snapshot,
    request: &Request<'_>,
    sort: fn(&crate::spec::Rule) -> bool,
) -> Vec<&'s Policy> {
    let applies =
        |it: &&Policy| it.spec.admission && it.rules.iter().any(|rule| sort(&rule.rule) && rule.applies(request));
    snapshot.policies.values().map(AsRef::as_ref).filter(applies).collect()
}

pub(super) fn mutate(
    snapshot: &Snapshot,
    review: &Review<'_>,
    object: &mut Value,
    turns: &mut Turns,
    data: &dyn Data,
    seed: u64,
    account: &mut Account<'_>,
) -> Result<Mutation, Denial> {
    let live = Live { data, snapshot };
    let scene = Scene::new(review, &live, seed).map_err(|it| denial("", format!("{}{it}", message::MUTATE)))?;
    let mut mutation = Mutation::default();
    let sort = |rule: &crate::spec::Rule| rule.mutate.as_ref().is_some_and(|it| it.targets.is_empty());
    let policies = concerned(snapshot, &scene.request(review, object), sort);
    if policies.is_empty() || !turns.is_due("kyverno", false) {
        return Ok(mutation);
    }
    let mut context = Context::new(scene.request(review, object).variables(), &scene.env, &live as &dyn Source);
    for policy in policies {
        // The object is told apart from the request, which stays while it changes.
        let request = scene.request(review, review.object);
        let (results, changed) = policy.mutate(&request, object, &mut context, &snapshot.all_exceptions);
        let failed: Vec<String> = results
            .iter()
            .filter(|it| it.status == Status::Error)
            .map(|it| format!("{}: {}", it.rule, it.message))
            .collect();
        account.add(policy, results, false, true);
        if !failed.is_empty() && !policy.ignores_errors() {
            let key = policy.key();
            let failed = failed.join("; ");
            return Err(denial(&key, format!("{}mutation policy {key} error: {failed}", message::MUTATE)));
        }
        mutation.warnings.extend(failed.into_iter().map(|it| format!("policy {}.{it}", policy.name)));
        mutation.changed |= changed;
    }
    turns.took("kyverno", mutation.changed);
    Ok(mutation)
}

pub(super) fn validate(
    snapshot: &Snapshot,
    review: &Review<'_>,
    data: &dyn Data,
    seed: u64,
    account: &mut Account<'_>,
) -> Verdict {
    let live = Live { data, snapshot };
    let mut verdict = Verdict::default();
    let scene = match Scene::new(review, &live, seed) {
        Ok(it) => it,
        Err(why) => {
            verdict.denials.push(denial("", format!("{}{why}", message::VALIDATE)));
            return verdict;
        }
    };
    let request = scene.request(review, review.object);
    let sort = |rule: &crate::spec::Rule| rule.validate.is_some() || !rule.verify_images.is_empty();
    let policies = concerned(snapshot, &request, sort);
    if policies.is_empty() {
        return verdict;
    }
    let mut context = Context::new(request.variables(), &scene.env, &live as &dyn Source);
    let mut reasons: Reasons = BTreeMap::new();
    let mut blocking: Option<String> = None;
    for policy in policies {
        let results = policy.validate(&request, &mut context, &snapshot.all_exceptions);
        let mut told = BTreeMap::new();
        let mut blocks = false;
        for result in &results {
            let action = policy.action(&result.rule, namespace_of(review, &scene));
            match result.status {
                Status::Pass | Status::Skip => continue,
                Status::Fail if action == Action::Enforce => blocks = true,
                Status::Error if !policy.ignores_errors() => blocks = true,
                _ if policy.spec.emit_warning => {
                    verdict.warnings.push(format!("policy {}.{}: {}", policy.name, result.rule, result.message));
                    continue;
                }
                _ => continue,
            }
            told.insert(result.rule.clone(), result.message.clone());
        }
        account.add(policy, results, blocks, false);
        if blocks {
            blocking.get_or_insert_with(|| policy.key());
            reasons.insert(policy.name.clone(), told);
        }
    }
    if let Some(policy) = blocking {
        verdict.denials.push(denial(&policy, message::blocked(&resource(review), &reasons)));
    }
    verdict
}

/// The namespace by which overrides go; a Namespace is in itself.
fn namespace_of<'a>(review: &'a Review<'_>, scene: &'a Scene) -> &'a Value {
    match &*review.resource.kind {
        "Namespace" => review.subject(),
        _ => &scene.namespace,
    }
}
