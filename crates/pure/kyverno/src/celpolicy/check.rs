//! What is wrong with an object of the group before it is stored, and what the server adds to it. Entry point: [`check`].

use eyot_model::{
    meta,
    status::{Cause, CauseReason},
};
use eyot_vap::flaws;
use serde_json::{Value, json};

use super::{MUTATING, Role, VALIDATING, autogen, deleting, existing, fields, generating};
use crate::Cleanup;

/// Checks an object and gives a policy its status.
pub(crate) fn check(object: &mut Value) -> Result<Vec<String>, Vec<Cause>> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let Some(role) = Role::of(&kind) else { return Ok(Vec::new()) };
    let unknown = fields::unknown(object, fields::of(role)).into_iter();
    let mut causes: Vec<Cause> = unknown.map(|it| cause(&it.path, &it.message)).collect();
    match role {
        Role::Refused(why) => causes.push(cause("kind", &format!("{kind} is not judged here: {why}"))),
        Role::Exception => exception(object, &mut causes),
        Role::Generator => causes.extend(generating::flaws(object)),
        Role::Deleter => {
            causes.extend(deleting::flaws(object));
            let told = Cleanup::compile(object).err().unwrap_or_default().into_iter();
            causes.extend(told.map(|it| cause(&it.path, &it.message)));
        }
        Role::Policy { mutates } => policy(object, mutates, &mut causes),
    }
    if !causes.is_empty() {
        return Err(causes);
    }
    match role {
        Role::Policy { mutates } => settle(object, mutates),
        Role::Generator | Role::Deleter => settle_plain(object),
        Role::Exception | Role::Refused(_) => return Ok(Vec::new()),
    }
    Ok(ineffective(object))
}

/// Fields that are taken and change nothing, with why.
fn ineffective(object: &Value) -> Vec<String> {
    let spec = &object["spec"];
    let kinds = ["validatingAdmissionPolicy", "mutatingAdmissionPolicy"];
    let generated = kinds.iter().find(|it| spec["autogen"][**it]["enabled"] == true);
    let told =
        |it: &&str| format!("spec.autogen.{it} has no effect: the policy is judged in the server itself already");
    let mut warnings: Vec<String> = generated.map(told).into_iter().collect();
    if spec["evaluation"]["skipBackgroundRequests"] == false {
        let why = "what policies write in the background leads to no further work here";
        warnings.push(format!("spec.evaluation.skipBackgroundRequests has no effect: {why}"));
    }
    let applies =
        [("spec", &spec["useServerSideApply"]), ("spec.evaluation", &spec["evaluation"]["useServerSideApply"])];
    for (path, _) in applies.into_iter().filter(|it| *it.1 == true) {
        warnings.push(format!("{path}.useServerSideApply has no effect: what others added stays without it"));
    }
    warnings
}

fn cause(field: &str, message: &str) -> Cause {
    Cause { reason: CauseReason::FieldValueInvalid, message: message.to_owned(), field: field.to_owned() }
}

fn policy(object: &Value, mutates: bool, causes: &mut Vec<Cause>) {
    causes.extend(flaws::policy(object, mutates, if mutates { &MUTATING } else { &VALIDATING }));
    let spec = &object["spec"];
    let actions = &spec["validationActions"];
    for (at, action) in meta::list(Some(actions)).iter().enumerate() {
        if !["Audit", "Deny", "Warn"].iter().any(|it| action == it) {
            let known = ["Audit", "Deny", "Warn"];
            causes.push(Cause::not_supported(format!("spec.validationActions[{at}]"), action, &known));
        }
    }
    let evaluation = &spec["evaluation"];
    match evaluation["mode"].as_str() {
        None | Some("" | "Kubernetes") => {}
        Some("JSON") => {
            let why = "policies about JSON that is no object of Kubernetes are not judged here";
            causes.push(cause("spec.evaluation.mode", why));
        }
        Some(_) => {
            let known = ["JSON", "Kubernetes"];
            causes.push(Cause::not_supported("spec.evaluation.mode", &evaluation["mode"], &known));
        }
    }
    if mutates {
        causes.extend(existing::flaws(object));
    }
    if mutates && evaluation["admission"]["enabled"] == false && evaluation["mutateExisting"]["enabled"] != true {
        let why = "disabling both admission and mutateExisting evaluation modes is not allowed";
        causes.push(cause("spec.evaluation", why));
    }
}

fn exception(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let references = meta::list(spec.get("policyRefs"));
    if references.is_empty() {
        causes.push(cause("spec.policyRefs", "must specify at least one policy ref"));
    }
    for (at, reference) in references.iter().enumerate() {
        for field in ["name", "kind"] {
            if reference[field].as_str().is_none_or(str::is_empty) {
                causes.push(Cause::required(format!("spec.policyRefs[{at}].{field}"), ""));
            }
        }
    }
    if !matches!(spec["reportResult"].as_str(), None | Some("" | "pass" | "skip")) {
        causes.push(Cause::not_supported("spec.reportResult", &spec["reportResult"], &["pass", "skip"]));
    }
    causes.extend(flaws::bare_conditions(&spec["matchConditions"], "spec.matchConditions", &VALIDATING));
}

/// Status, as Kyverno gives it.
fn settle(object: &mut Value, mutates: bool) {
    let forms = autogen::forms(object, mutates).into_iter();
    let configs: serde_json::Map<String, Value> =
        forms.map(|it| (it.name.to_owned(), json!({"targets": it.targets, "spec": it.object["spec"]}))).collect();
    object["status"] =
        json!({ "autogen": { "configs": configs }, "generated": false, "conditionStatus": conditions() });
}

fn conditions() -> Value {
    let condition = |of_type: &str, message: &str| json!({"type": of_type, "status": "True", "reason": "Succeeded", "message": message});
    json!({
        "ready": true,
        "conditions": [
            condition("WebhookConfigured", "Webhook configured."),
            condition("RBACPermissionsGranted", "Policy is ready for reporting."),
        ],
    })
}

/// The status of a policy that has no forms. When one that deletes ran last stays.
fn settle_plain(object: &mut Value) {
    let status = meta::entry(object, "status");
    status.insert("conditionStatus".to_owned(), conditions());
}
