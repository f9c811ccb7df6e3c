//! `Policy` objects as an engine of the API server: compiled before they are stored, in force before the answer.
//!
//! What an admission decision may look like is told by [`answer`].

mod answer;
mod audit;

use std::{collections::BTreeMap, sync::Arc};

use eyot_model::{
    kinds::{Kind, Table},
    meta,
    status::{Cause, CauseReason, Reason},
};
use eyot_policy::{
    Data, Denial, Engine, Finding, Review, Verdict, between, glob,
    rule::{self, Rule},
};
use eyot_rego::{Dialect, Source as RegoSource, Value as Rego};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    Opa,
    decider::{Decider, now_ns},
    definition::definition,
    logs::Entry,
    spec::{Admission, Enforcement, GROUP, KIND, OnFailure, Source, Spec, flaw},
    state::Policy,
};

impl Engine for Opa {
    fn name(&self) -> &'static str {
        "opa"
    }

    fn definitions(&self) -> Vec<Value> {
        vec![definition()]
    }

    fn governs(&self, group: &str, kind: &str) -> bool {
        group == GROUP && kind == KIND
    }

    fn check(&self, object: &mut Value, _: Option<&Value>, _: &dyn Data) -> Result<Vec<String>, Vec<Cause>> {
        let spec = Spec::read(object)?;
        let mut warnings = Vec::new();
        if let Source::Inline { modules, v0, data } = &spec.source {
            let decider = compile(modules, *v0, data)?;
            for (field, path) in decisions(&spec) {
                if !decider.has(path) {
                    warnings.push(format!("{field}: no rule defines data.{}", path.replace('/', ".")));
                }
            }
            note_compiled(object);
        }
        Ok(warnings)
    }

    fn put(&self, object: &Value) {
        let name = meta::name(object).unwrap_or_default().to_owned();
        let generation = meta::generation(object);
        let spec = match Spec::read(object) {
            Ok(spec) => spec,
            Err(flaws) => {
                tracing::error!(policy = name, ?flaws, "a stored policy is not understood; what was in force stays");
                if !self.policies().load().policies.contains_key(&name) {
                    // After a start nothing is: then requests follow its failure policy.
                    let (spec, decider) =
                        (Arc::new(Spec::salvage(object)), Err(format!("it is not understood: {}", told(&flaws))));
                    self.policies().put(Policy { name, generation, spec, decider });
                }
                return;
            }
        };
        let decider = match &spec.source {
            Source::Inline { modules, v0, data } => match compile(modules, *v0, data) {
                Ok(decider) => Ok(Arc::new(decider)),
                Err(flaws) => {
                    tracing::error!(policy = name, ?flaws, "a stored policy does not compile; what was in force stays");
                    if self.policies().load().policies.contains_key(&name) {
                        return;
                    }
                    Err("it does not compile".to_owned())
                }
            },
            Source::Bundle(source) => self.first_decider(&name, generation, source),
        };
        self.policies().put(Policy { name, generation, spec: Arc::new(spec), decider });
        self.inner.wanted.changed();
    }

    fn doubted(&self, object: &Value, causes: &[Cause]) -> Option<Value> {
        Some(ready(object, false, "Unreadable", &told(causes)))
    }

    fn remove(&self, _: &str, _: &str, _: &str, name: &str) {
        self.policies().remove(name);
        self.inner.wanted.changed();
    }

    fn wants(&self, review: &Review<'_>) -> bool {
        let state = self.policies().load();
        state.admission.iter().any(|it| it.spec.admission.as_ref().is_some_and(|it| may_match(it, review)))
    }

    fn validate(&self, review: &Review<'_>, data: &dyn Data) -> Verdict {
        let state = self.policies().load();
        let mut verdict = Verdict::default();
        let (kinds, mut input) = (data.kinds(), None);
        for policy in &state.admission {
            let Some(admission) = &policy.spec.admission else { continue };
            // What cannot be read must remain repairable.
            if policy.is_broken() && review.resource.is(GROUP, KIND) {
                continue;
            }
            let Some(version) = matched(admission, review, &kinds).filter(|_| selects(admission, review)) else {
                continue;
            };
            match version {
                Version::Other(kind) if review.carries_its_kind() => {
                    self.judge(policy, admission, &input_in(review, &kind), &mut verdict);
                }
                _ => self.judge(policy, admission, input.get_or_insert_with(|| input_of(review)), &mut verdict),
            }
        }
        verdict
    }

    fn audit(&self, object: &Value, namespace: Option<&Value>, now: Timestamp, data: &dyn Data) -> Vec<Finding> {
        audit::audit(&self.policies().load(), object, namespace, now, data)
    }
}

impl Opa {
    fn judge(&self, policy: &Policy, admission: &Admission, input: &Rego, verdict: &mut Verdict) {
        let decided = policy.decider().and_then(|it| it.decide(&admission.decision, input, now_ns()));
        self.note(policy, || Entry::new(&admission.decision, input, &decided));
        let judged = decided.map_err(|error| error.to_string()).and_then(|it| answer::read(&it));
        let name = &policy.name;
        match judged {
            Ok(answer) => {
                verdict.warnings.extend(answer.warnings);
                for why in answer.denials {
                    match admission.enforcement {
                        Enforcement::Deny => {
                            let message = format!("policy {name:?} denied the request: {why}");
                            verdict.denials.push(Denial::forbidden(name, message));
                        }
                        Enforcement::Warn => verdict.warnings.push(format!("policy {name:?}: {why}")),
                        Enforcement::Dryrun => verdict.audit_annotations.push((format!("{name}/denied"), why)),
                    }
                }
            }
            Err(why) if admission.on_failure == OnFailure::Ignore || admission.enforcement != Enforcement::Deny => {
                tracing::warn!(policy = name, why, "a write could not be judged and passes");
                verdict.audit_annotations.push((format!("{name}/failed-open"), why));
            }
            Err(why) => verdict.denials.push(Denial {
                policy: name.clone(),
                message: format!("Internal error occurred: policy {name:?} could not judge the request: {why}"),
                is_reason: false,
                code: 500,
                reason: Reason::InternalError,
            }),
        }
    }
}

/// The input that OPA's own webhook passes: the whole review.
fn input_of(review: &Review<'_>) -> Rego {
    let about = review.about(&uuid::Uuid::new_v4().to_string());
    let about = about.iter().map(|(name, value)| (name.as_str(), Rego::from(value)));
    let objects = [("object", Rego::from(review.object)), ("oldObject", review.old.map_or(Rego::Null, Rego::from))];
    Rego::record([
        ("apiVersion", Rego::string("admission.k8s.io/v1")),
        ("kind", Rego::string("AdmissionReview")),
        ("request", Rego::record(about.chain(objects))),
    ])
}

/// The same for a policy that names another version of the kind.
fn input_in(review: &Review<'_>, kind: &Kind) -> Rego {
    let convert = |it: &Value| between(review.requested, kind, it.clone());
    let (object, old) = (convert(review.object), review.old.map(convert));
    input_of(&review.seen_as(kind, &object, old.as_ref()))
}

/// A version of a request's kind.
enum Version {
    /// The request's own.
    Requested,
    /// One that means the same objects.
    Other(Arc<Kind>),
}

/// Whether a policy may be about a request, as far as that is known without its objects and the kinds that are served.
fn may_match(admission: &Admission, review: &Review<'_>) -> bool {
    let may = |it: &Rule| it.may_match(review.operation, &review.requested.plural, review.subresource);
    admission.rules.iter().any(may) && !is_excluded(admission, review)
}

fn is_excluded(admission: &Admission, review: &Review<'_>) -> bool {
    admission.excluded_namespaces.iter().any(|it| glob::matches(it, review.namespace))
}

/// The version of the request's kind in which a policy is about it, if it is: nobody gets past it in another version.
fn matched(admission: &Admission, review: &Review<'_>, kinds: &Table) -> Option<Version> {
    let by_rule = |kind: &Kind| {
        admission.rules.iter().any(|it| it.matches(review.operation, kind, review.subresource, review.name))
    };
    if is_excluded(admission, review) {
        return None;
    }
    if by_rule(review.resource) || by_rule(review.requested) {
        return Some(Version::Requested);
    }
    let storage = &review.requested.storage;
    let mut others = kinds.iter().filter(|it| it.storage == *storage && !it.create_only());
    others.find(|it| by_rule(it)).map(|it| Version::Other(it.clone()))
}

fn selects(admission: &Admission, review: &Review<'_>) -> bool {
    rule::selects_namespace(&admission.namespaces, review) && rule::selects_object(&admission.objects, review)
}

/// The decisions of a policy, each with the field that names it.
pub(crate) fn decisions(spec: &Spec) -> impl Iterator<Item = (&'static str, &str)> {
    let admission = spec.admission.as_ref().map(|it| ("spec.admission.decision", it.decision.as_str()));
    let authorization = spec.authorization.as_ref().map(|it| ("spec.authorization.decision", it.decision.as_str()));
    admission.into_iter().chain(authorization)
}

fn compile(modules: &BTreeMap<String, String>, v0: bool, data: &Value) -> Result<Decider, Vec<Cause>> {
    let dialect = if v0 { Dialect::V0 } else { Dialect::V1 };
    let sources = modules.iter();
    let sources = sources.map(|(name, text)| RegoSource { name: name.clone(), text: text.clone(), dialect });
    Decider::compile(sources.collect(), data, String::new()).map_err(|flaws| {
        let causes = flaws.iter().map(|it| Cause {
            reason: CauseReason::FieldValueInvalid,
            field: format!("spec.rego.modules[{}]", it.file),
            message: format!("{}:{}: {}: {}", it.position.line, it.position.column, it.code, it.message),
        });
        let causes: Vec<Cause> = causes.collect();
        if causes.is_empty() { vec![flaw("spec.rego", "does not compile")] } else { causes }
    })
}

/// Says in the object itself that it compiles: its write is what made it so.
fn note_compiled(object: &mut Value) {
    object["status"] = ready(object, true, "Compiled", "the policy is in force");
}

/// The status of a policy that is in force, or not.
fn ready(object: &Value, holds: bool, reason: &str, message: &str) -> Value {
    let generation = meta::generation(object);
    let status = if holds { "True" } else { "False" };
    let before = &object["status"]["conditions"][0];
    let since = before["lastTransitionTime"].as_str().filter(|_| before["status"] == status);
    let since = since.map_or_else(|| meta::format_time(jiff::Timestamp::now()), str::to_owned);
    json!({
        "observedGeneration": generation,
        "conditions": [{
            "type": "Ready", "status": status, "reason": reason, "message": message,
            "observedGeneration": generation, "lastTransitionTime": since,
        }],
    })
}

fn told(flaws: &[Cause]) -> String {
    flaws.iter().map(Cause::to_string).collect::<Vec<_>>().join("; ")
}
