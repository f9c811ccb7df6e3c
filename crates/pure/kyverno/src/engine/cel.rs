//! What the policies of `policies.kyverno.io` make of requests and of stored objects. Entry points: [`mutate`],
//! [`validate`], [`audit`].

use std::{any::Any, collections::BTreeMap, rc::Rc, sync::Arc};

use eyot_model::{kinds::split_api_version, meta};
use eyot_policy::{Data, Denial, Finding, Operation, Options, Review, Turns, User, Verdict};
use eyot_vap::Request;
use jiff::Timestamp;
use serde_json::Value;

use super::{Snapshot, account::Account, background::Teller, judge::denial, lookup::Held, snapshot};
use crate::{
    RuleResult, Status,
    celpolicy::{
        self, CelPolicy,
        judge::{self, Place},
    },
    jmespath::Env,
    library::Host,
};

/// What stands before every refusal.
const WEBHOOK: &str = "admission webhook \"";

/// Runs something where policies can be evaluated.
fn with_place<T>(
    snapshot: &Arc<Snapshot>,
    data: &dyn Data,
    (now, seed): (Timestamp, u64),
    run: impl FnOnce(&Place<'_>) -> T,
) -> Result<T, String> {
    let kept = data.kept().ok_or("the server is shutting down")?;
    let host = |namespace: &str| {
        let source = Box::new(Held { data: kept.clone(), snapshot: snapshot.clone() });
        Rc::new(Host::new(source, Env::new(now, seed), namespace)) as Rc<dyn Any>
    };
    let exceptions = &snapshot.all_cel_exceptions;
    Ok(run(&Place { data, kinds: data.kinds(), exceptions, host: &host }))
}

fn concerned<'s>(snapshot: &'s Snapshot, review: &Review<'_>, mutates: bool) -> Vec<&'s CelPolicy> {
    if !snapshot.concerns_plural(&review.requested.plural) {
        return Vec::new();
    }
    let wanted = |it: &&CelPolicy| it.admission && it.mutates == mutates && it.reaches(review.namespace);
    snapshot.cel.values().map(AsRef::as_ref).filter(wanted).collect()
}

/// Lets policies change an object; returns whether one did.
pub(super) fn mutate(
    snapshot: &Arc<Snapshot>,
    review: &Review<'_>,
    object: &mut Value,
    turns: &mut Turns,
    data: &dyn Data,
    seed: u64,
    account: &mut Account<'_>,
) -> Result<bool, Denial> {
    const ID: &str = "kyverno-cel";
    let policies = concerned(snapshot, review, true);
    if policies.is_empty() || !turns.is_due(ID, true) {
        return Ok(false);
    }
    let refused = |policy: &str, why: &str| {
        let (namespace, name, kind) = (review.namespace, review.name, &review.resource.kind);
        let told = format!("Resource: {namespace}/{name}, Kind: {kind}, Errors: [Policy {policy}: {why}]");
        denial(policy, format!("{WEBHOOK}mpol.validate.kyverno.svc-fail\" denied the request: {told}"))
    };
    let mut changed = false;
    let run = |place: &Place<'_>| {
        for policy in policies.iter().copied() {
            let (results, made) = judge::mutate(policy, &Review { object, ..*review }, place);
            let results: Vec<RuleResult> = results.into_iter().flatten().collect();
            let error = results.iter().find(|it| it.status == Status::Error && !policy.ignores_failures());
            let refusal = error.map(|it| refused(&policy.name, &it.message));
            account.add_cel(policy, results, false);
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            if let Some(made) = made {
                *object = made;
                changed = true;
            }
        }
        Ok(())
    };
    with_place(snapshot, data, (review.now, seed), run).map_err(|why| refused("", &why))??;
    turns.took(ID, changed);
    Ok(changed)
}

/// Judges a request. All refusals together are one, as of one webhook.
pub(super) fn validate(
    snapshot: &Arc<Snapshot>,
    review: &Review<'_>,
    data: &dyn Data,
    seed: u64,
    verdict: &mut Verdict,
    account: &mut Account<'_>,
) {
    let policies = concerned(snapshot, review, false);
    if policies.is_empty() {
        return;
    }
    let mut reasons: Vec<String> = Vec::new();
    let mut blocking: Option<String> = None;
    let judged = with_place(snapshot, data, (review.now, seed), |place| {
        let request = Request::new(review, data);
        for policy in policies {
            let results = judge::validate(policy, &request, review, place).into_iter().flatten();
            let results: Vec<RuleResult> = results.collect();
            let before = reasons.len();
            for result in &results {
                let word = match result.status {
                    Status::Fail => "failed",
                    Status::Error if !policy.ignores_failures() => "error",
                    _ => continue,
                };
                let told = format!("Policy {} {word}: {}", policy.name, result.message);
                if policy.actions.warns {
                    verdict.warnings.push(told.clone());
                }
                if policy.actions.denies {
                    blocking.get_or_insert_with(|| policy.key());
                    reasons.push(told);
                }
            }
            account.add_cel(policy, results, reasons.len() > before);
        }
    });
    if let Err(why) = judged {
        reasons.push(why);
    }
    if !reasons.is_empty() {
        let told = format!("{WEBHOOK}vpol.validate.kyverno.svc-fail\" denied the request: {}", reasons.join("; "));
        verdict.denials.push(denial(&blocking.unwrap_or_default(), told));
    }
}

/// Judges a stored object as if it were created now, by nobody.
pub(super) fn audit(
    snapshot: &Arc<Snapshot>,
    object: &Value,
    namespace: Option<&Value>,
    now: Timestamp,
    data: &dyn Data,
    seed: u64,
    findings: &mut Vec<Finding>,
) {
    let own = meta::namespace(object).unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let policies = snapshot.cel.values().filter(|it| it.background && !it.mutates && it.reaches(own));
    let policies: Vec<&CelPolicy> = policies.map(AsRef::as_ref).collect();
    if policies.is_empty() || snapshot::is_left_alone_kind(kind, own) {
        return;
    }
    with_review((object, Operation::Create), namespace, now, data, |review| {
        if !snapshot.concerns_plural(&review.resource.plural) {
            return;
        }
        let judged = with_place(snapshot, data, (now, seed), |place| {
            let request = Request::new(review, data);
            for policy in &policies {
                let results = judge::validate(policy, &request, review, place).into_iter().flatten();
                findings.extend(results.map(|it| finding(policy, it)));
            }
        });
        // Nobody waits for reports of a server that is going.
        drop(judged);
    });
}

/// Runs something on a stored object as if this were done to it now, by nobody; `None` where its kind is not served.
pub(super) fn with_review<T>(
    (object, operation): (&Value, Operation),
    namespace: Option<&Value>,
    now: Timestamp,
    data: &dyn Data,
    run: impl FnOnce(&Review<'_>) -> T,
) -> Option<T> {
    let (group, version) = split_api_version(object["apiVersion"].as_str().unwrap_or_default());
    let resource = data.kind(group, version, object["kind"].as_str().unwrap_or_default()).ok()?;
    let (extra, null) = (BTreeMap::new(), Value::Null);
    let review = Review {
        now,
        operation,
        resource: &resource,
        requested: &resource,
        subresource: "",
        namespace: meta::namespace(object).unwrap_or_default(),
        name: meta::name(object).unwrap_or_default(),
        user: User { name: "", uid: "", groups: &[], extra: &extra },
        options: Options::default(),
        object: if operation == Operation::Delete { &null } else { object },
        old: matches!(operation, Operation::Update | Operation::Delete).then_some(object),
        namespace_object: namespace.filter(|it| it.is_object()),
    };
    Some(run(&review))
}

fn finding(policy: &CelPolicy, mut result: RuleResult) -> Finding {
    result.properties.insert("process".to_owned(), "background scan".into());
    let group = celpolicy::GROUP.to_owned();
    let teller = Teller {
        policy: [group, policy.kind.clone(), policy.namespace.clone(), policy.name.clone()],
        source: "KyvernoValidatingPolicy",
        is_scored: policy.is_scored(),
        annotations: &policy.annotations,
        action: if policy.actions.denies { "Deny" } else { "Audit" },
    };
    teller.finding(result)
}
