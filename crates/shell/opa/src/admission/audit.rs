//! Stored objects, judged as if they were created now. Entry point: [`audit`].

use std::collections::BTreeMap;

use eyot_policy::{Data, Finding, Operation, Options, Outcome, Review, User};
use eyot_rego::Value as Rego;
use jiff::Timestamp;
use serde_json::Value;

use super::{Version, answer, input_in, input_of, matched, selects};
use crate::{
    decider::now_ns,
    spec::{Admission, Enforcement, GROUP, KIND},
    state::{Policy, State},
};

/// What the policies find in an object.
pub(super) fn audit(
    state: &State,
    object: &Value,
    namespace: Option<&Value>,
    now: Timestamp,
    data: &dyn Data,
) -> Vec<Finding> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let table = data.kinds();
    let Some(kind) = table.by_api_version(&api_version, &kind) else { return Vec::new() };
    let metadata = &object["metadata"];
    let (name, in_namespace) = (text(&metadata["name"]), text(&metadata["namespace"]));
    let (groups, extra): (Vec<String>, BTreeMap<String, Vec<String>>) = Default::default();
    let review = Review {
        now,
        operation: Operation::Create,
        resource: kind,
        requested: kind,
        subresource: "",
        namespace: &in_namespace,
        name: &name,
        user: User { name: "", uid: "", groups: &groups, extra: &extra },
        options: Options { kind: "CreateOptions", ..Options::default() },
        object,
        old: None,
        namespace_object: namespace,
    };
    let mut findings = Vec::new();
    let mut input = None;
    for policy in &state.admission {
        let Some(admission) = &policy.spec.admission else { continue };
        let Some(version) = matched(admission, &review, &table).filter(|_| selects(admission, &review)) else {
            continue;
        };
        match version {
            Version::Other(kind) => judge(policy, admission, &input_in(&review, &kind), &mut findings),
            Version::Requested => {
                judge(policy, admission, input.get_or_insert_with(|| input_of(&review)), &mut findings);
            }
        }
    }
    findings
}

fn judge(policy: &Policy, admission: &Admission, input: &Rego, findings: &mut Vec<Finding>) {
    let mut find = |outcome, message: String| {
        findings.push(Finding {
            policy: [GROUP.to_owned(), KIND.to_owned(), String::new(), policy.name.clone()],
            rule: String::new(),
            outcome,
            action: match admission.enforcement {
                Enforcement::Deny => "deny",
                Enforcement::Warn => "warn",
                Enforcement::Dryrun => "dryrun",
            }
            .to_owned(),
            message,
            details: Value::Null,
        });
    };
    let decided = policy.decider().and_then(|it| it.decide(&admission.decision, input, now_ns()));
    match decided.map_err(|error| error.to_string()).and_then(|it| answer::read(&it)) {
        Err(why) => find(Outcome::Error, why),
        Ok(answer) if answer.denials.is_empty() && answer.warnings.is_empty() => find(Outcome::Pass, String::new()),
        Ok(answer) => {
            let failed = if admission.enforcement == Enforcement::Warn { Outcome::Warn } else { Outcome::Fail };
            answer.denials.into_iter().for_each(|it| find(failed, it));
            answer.warnings.into_iter().for_each(|it| find(Outcome::Warn, it));
        }
    }
}
