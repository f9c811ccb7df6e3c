//! What Gatekeeper writes into the status of its objects.

use eyot_model::{meta, status::Cause};
use serde_json::{Map, Value, json};

/// The name that stands for the one process there is, where Gatekeeper names its pods.
pub const POD: &str = "eyot";

/// One entry of a constraint's `status.violations`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Group of the object.
    pub group: String,
    /// Version of the object.
    pub version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object; empty for kinds without.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// What is wrong.
    pub message: String,
    /// What the constraint does about it.
    pub action: String,
}

/// The status of a template that is in force.
pub(crate) fn of_template(template: &mut Value) {
    let entry = json!({
        "id": POD, "observedGeneration": meta::generation(template), "templateUID": meta::uid(template).unwrap_or_default(),
        "operations": ["audit", "mutation-status", "mutation-webhook", "status", "webhook"],
    });
    template["status"] = json!({"created": true, "byPod": [entry]});
}

/// The part of a status that says that an object is in force. The rest of the status stays.
pub(crate) fn enforced(object: &mut Value, old: Option<&Value>, uid_field: &str) {
    let entry = json!({
        "id": POD, "observedGeneration": meta::generation(object), "enforced": true,
        uid_field: meta::uid(object).unwrap_or_default(), "operations": ["audit", "mutation-webhook", "status", "webhook"],
    });
    let kept =
        object.get("status").filter(|it| it.is_object()).or_else(|| old.and_then(|it| it.get("status"))).cloned();
    let mut status = kept.and_then(|it| it.as_object().cloned()).unwrap_or_default();
    status.insert("byPod".to_owned(), json!([entry]));
    object["status"] = Value::Object(status);
}

/// The status of a stored object that cannot be read any more. The rest of it stays.
pub(crate) fn unreadable(object: &Value, uid_field: &str, causes: &[Cause]) -> Value {
    let errors: Vec<Value> =
        causes.iter().map(|it| json!({"code": "ingest_error", "message": it.to_string()})).collect();
    let entry = json!({
        "id": POD, "observedGeneration": meta::generation(object), "enforced": false, "errors": errors,
        uid_field: meta::uid(object).unwrap_or_default(), "operations": ["audit", "mutation-webhook", "status", "webhook"],
    });
    let mut status = object["status"].as_object().cloned().unwrap_or_default();
    status.insert("byPod".to_owned(), json!([entry]));
    Value::Object(status)
}

/// A constraint's status after an audit at `timestamp`: all violations are counted, the first `shown` are listed.
pub fn constraint_status(old: &Value, timestamp: &str, total: u64, violations: &[Violation], shown: usize) -> Value {
    let mut status: Map<String, Value> = old.as_object().cloned().unwrap_or_default();
    let listed: Vec<Value> = violations.iter().take(shown).map(entry).collect();
    status.insert("auditTimestamp".to_owned(), timestamp.into());
    status.insert("totalViolations".to_owned(), total.into());
    if listed.is_empty() {
        status.remove("violations");
    } else {
        status.insert("violations".to_owned(), listed.into());
    }
    Value::Object(status)
}

fn entry(it: &Violation) -> Value {
    let mut entry = json!({
        "enforcementAction": it.action, "group": it.group, "version": it.version, "kind": it.kind, "name": it.name,
        "message": it.message,
    });
    if !it.namespace.is_empty() {
        entry["namespace"] = it.namespace.as_str().into();
    }
    entry
}
