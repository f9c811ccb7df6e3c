//! The kinds inside the API server: defaults and refusals at the moment of writing. Entry point: [`Serving`].
//!
//! Elsewhere these are webhooks of Knative, so refusals read as theirs do.

use eyot_model::status::{Cause, Reason};
use eyot_policy::{Data, Denial, Engine, Mutation, Operation, Review, Turns, Verdict};
use serde_json::{Value, json};

use crate::{GROUP, default, definition, flaw, label, validate};

/// Defines, defaults and validates Services, Configurations, Revisions and Routes. Costs nothing for anything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serving;

impl Engine for Serving {
    fn name(&self) -> &'static str {
        "serving"
    }

    fn definitions(&self) -> Vec<Value> {
        definition::all()
    }

    fn governs(&self, _: &str, _: &str) -> bool {
        false
    }

    fn check(&self, _: &mut Value, _: Option<&Value>, _: &dyn Data) -> Result<Vec<String>, Vec<Cause>> {
        Ok(Vec::new())
    }

    fn put(&self, _: &Value) {}

    fn remove(&self, _: &str, _: &str, _: &str, _: &str) {}

    fn wants(&self, review: &Review<'_>) -> bool {
        review.resource.group == GROUP
            && review.subresource.is_empty()
            && matches!(review.operation, Operation::Create | Operation::Update)
    }

    fn mutate(&self, review: &Review<'_>, object: &mut Value, _: &mut Turns, _: &dyn Data) -> Result<Mutation, Denial> {
        let mut changed = default::fill(&review.resource.kind, object);
        changed |= signed(review, object);
        Ok(Mutation { changed, ..Mutation::default() })
    }

    fn validate(&self, review: &Review<'_>, _: &dyn Data) -> Verdict {
        // What goes changes only in its finalizers.
        if !review.object["metadata"]["deletionTimestamp"].is_null() {
            return Verdict::default();
        }
        let flaws = validate::flaws(&review.resource.kind, review.object, review.old);
        if flaws.is_empty() {
            // Configurations and Revisions say it again after the Service that their author wrote.
            let warnings = validate::warnings(&review.resource.kind, review.object);
            return Verdict { warnings, ..Verdict::default() };
        }
        let message = format!(
            "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: validation failed: {}",
            flaw::tell(&flaws)
        );
        let denial = Denial { code: 400, reason: Reason::BadRequest, ..Denial::forbidden("serving", message) };
        Verdict { denials: vec![denial], ..Verdict::default() }
    }
}

/// Notes who made an object and who changed its spec last.
fn signed(review: &Review<'_>, object: &mut Value) -> bool {
    if !matches!(review.resource.kind.as_str(), "Service" | "Configuration" | "Route") {
        return false;
    }
    let same_spec = review.old.is_some_and(|old| old["spec"] == object["spec"]);
    let made_by_us = object["metadata"]["annotations"][label::CREATOR].is_string();
    let keys: &[&str] = match review.operation {
        Operation::Create if made_by_us => &[],
        Operation::Create => &[label::CREATOR, label::MODIFIER],
        _ if same_spec => &[],
        _ => &[label::MODIFIER],
    };
    if keys.is_empty() {
        return false;
    }
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    for key in keys {
        object["metadata"]["annotations"][*key] = review.user.name.into();
    }
    true
}
