//! Findings as PolicyReports: one report for each object, owned by it.
//!
//! Entry point: [`report`], a pure function.

use eyot_policy::{Finding, Outcome};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The report on an object, or nothing where no rule was about it.
pub(crate) fn report(object: &Value, findings: &[Finding], now: Timestamp) -> Option<Value> {
    let metadata = &object["metadata"];
    let uid = metadata["uid"].as_str().filter(|_| !findings.is_empty())?;
    let namespace = metadata["namespace"].as_str();
    let mut summary = Map::new();
    for outcome in [Outcome::Pass, Outcome::Fail, Outcome::Warn, Outcome::Error, Outcome::Skip] {
        let count = findings.iter().filter(|it| it.outcome == outcome).count();
        summary.insert(word(outcome).to_owned(), count.into());
    }
    let results: Vec<Value> = findings.iter().map(|it| result(it, now)).collect();
    let (api_version, kind, name) = (&object["apiVersion"], &object["kind"], &metadata["name"]);
    let mut scope = json!({ "apiVersion": api_version, "kind": kind, "name": name, "uid": uid });
    let mut own = json!({
        "name": uid,
        "labels": { "app.kubernetes.io/managed-by": "kyverno" },
        "ownerReferences": [{ "apiVersion": api_version, "kind": kind, "name": name, "uid": uid }],
    });
    if let Some(namespace) = namespace {
        scope["namespace"] = namespace.into();
        own["namespace"] = namespace.into();
    }
    Some(json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2",
        "kind": if namespace.is_some() { "PolicyReport" } else { "ClusterPolicyReport" },
        "metadata": own,
        "scope": scope,
        "summary": summary,
        "results": results,
    }))
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::Warn => "warn",
        Outcome::Error => "error",
        Outcome::Skip => "skip",
    }
}

fn result(finding: &Finding, now: Timestamp) -> Value {
    let [_, _, namespace, name] = &finding.policy;
    let policy = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
    let details = &finding.details;
    let mut result = json!({
        "policy": policy,
        "rule": finding.rule,
        "result": word(finding.outcome),
        "message": finding.message,
        "source": details["source"],
        "scored": details["scored"],
        "timestamp": { "seconds": now.as_second(), "nanos": 0 },
    });
    for field in ["category", "severity"] {
        if details[field].is_string() {
            result[field] = details[field].clone();
        }
    }
    if details["properties"].as_object().is_some_and(|it| !it.is_empty()) {
        result["properties"] = details["properties"].clone();
    }
    result
}

/// What of a report must differ to be worth a write: everything but its times.
pub(crate) fn essence(report: &Value) -> Value {
    let mut results = report["results"].clone();
    for it in results.as_array_mut().into_iter().flatten() {
        if let Value::Object(it) = it {
            it.remove("timestamp");
        }
    }
    json!([results, report["scope"]["name"]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_become_a_report_owned_by_its_object() {
        let object =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "uid": "u"}});
        let finding = |outcome| Finding {
            policy: ["kyverno.io".into(), "ClusterPolicy".into(), String::new(), "team".into()],
            rule: "rule".into(),
            outcome,
            action: "Audit".into(),
            message: "why".into(),
            details: json!({"source": "kyverno", "scored": true, "severity": "high", "category": null, "properties": {}}),
        };
        let findings = [finding(Outcome::Fail), finding(Outcome::Pass)];
        let made = report(&object, &findings, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(made["summary"], json!({"pass": 1, "fail": 1, "warn": 0, "error": 0, "skip": 0}));
        assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!((&made["kind"], &made["results"][0]["severity"]), (&json!("PolicyReport"), &json!("high")));
        assert_eq!(report(&object, &[], Timestamp::UNIX_EPOCH), None);
        let later = report(&object, &findings, "2024-05-06T07:08:09Z".parse().unwrap()).unwrap();
        assert!(later != made && essence(&later) == essence(&made));
    }
}
