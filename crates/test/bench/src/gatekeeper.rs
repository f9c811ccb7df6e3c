//! Gatekeeper in this process: one decision in Rego, what templates take in memory, and an audit of many objects.
//!
//! Entry point: [`run`]. What a server adds — reading the request, the store — is in the other rows of `policy`.

use std::time::{Duration, Instant};

use anyhow::Result;
use eyot_gatekeeper::Gatekeeper;
use eyot_policy::{Engine, Objects};
use eyot_rego::{Dialect, Program, Request, Source, Value as Rego};
use serde_json::{Value, json};

use crate::memory;

/// The class of policy that everybody has: labels that must be there, with a form.
const LABELS: &str = r#"
package labels
violation[{"msg": msg, "details": {"missing": missing}}] {
  provided := {label | input.review.object.metadata.labels[label]}
  required := {label | label := input.parameters.labels[_].key}
  missing := required - provided
  count(missing) > 0
  msg := sprintf("you must provide labels: %v", [missing])
}
violation[{"msg": msg}] {
  value := input.review.object.metadata.labels[key]
  expected := input.parameters.labels[_]
  expected.key == key
  expected.allowedRegex != ""
  not regex.match(expected.allowedRegex, value)
  msg := sprintf("Label <%v: %v> does not satisfy allowed regex: %v", [key, value, expected.allowedRegex])
}
"#;

/// Objects that are audited, and how many are in memory at once.
const AUDITED: usize = 100_000;
const CHUNK: usize = 500;
const TEMPLATES: usize = 50;

pub(crate) fn run(samples: usize) -> Result<Value> {
    let decision = decision(samples * 10)?;
    let before = resident();
    let engine = Gatekeeper::new();
    for at in 0..TEMPLATES {
        engine.put(&template(at));
    }
    let templates = resident() - before;
    for at in 0..TEMPLATES {
        engine.put(&constraint(at));
    }
    let began = Instant::now();
    let (mut found, mut peak) = (0usize, 0.0f64);
    let before = resident();
    let data = Objects::new([]);
    let now = jiff::Timestamp::UNIX_EPOCH;
    for chunk in 0..AUDITED / CHUNK {
        let objects: Vec<Value> = (0..CHUNK).map(|at| object(chunk * CHUNK + at)).collect();
        let pairs = objects.iter().map(|object| (object, None));
        engine.audit_all(pairs, now, &data, &mut |_, _| found += 1);
        peak = peak.max(resident() - before);
    }
    Ok(json!({
        "decision": decision,
        "resident_mib_of_50_templates": round(templates),
        "resident_kib_of_a_template": round(templates * 1024.0 / TEMPLATES as f64),
        "audit_of_100000_objects_with_50_constraints": {
            "seconds": round(began.elapsed().as_secs_f64()), "violations": found, "grew_by_mib": round(peak),
        },
    }))
}

/// One decision, from the JSON of a request to the violations.
fn decision(samples: usize) -> Result<Value> {
    let source = Source { name: "labels.rego".to_owned(), text: LABELS.to_owned(), dialect: Dialect::V0 };
    let program = Program::compile(&[source]).map_err(|flaws| anyhow::anyhow!("{flaws:?}"))?;
    let path = [Rego::string("labels"), Rego::string("violation")];
    let input = json!({"review": {"operation": "CREATE", "object": crate::policy::pod("a")},
        "parameters": {"labels": [{"key": "team", "allowedRegex": "^[a-z]+$"}, {"key": "owner"}]}});
    let mut took = Vec::with_capacity(samples);
    for _ in 0..samples {
        let began = Instant::now();
        let found = program.at(&path, &Request::new(Some(Rego::from(&input)), 0))?;
        took.push(began.elapsed());
        anyhow::ensure!(found.is_some_and(|it| it.len() == Some(1)), "one violation is expected");
    }
    took.sort();
    let micros = |at: usize| took.get(at).map_or(0.0, |it: &Duration| round(it.as_secs_f64() * 1e6));
    Ok(json!({"p50_us": micros(samples / 2), "p99_us": micros(samples * 99 / 100)}))
}

/// A template of its own kind; also one of the sorts of `policy`.
pub(crate) fn template(at: usize) -> Value {
    json!({"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate",
        "metadata": {"name": format!("benchlabels{at}")},
        "spec": {"crd": {"spec": {"names": {"kind": format!("BenchLabels{at}")}}},
            "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": LABELS}]}})
}

/// A constraint of [`template`].
pub(crate) fn constraint(at: usize) -> Value {
    json!({"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": format!("BenchLabels{at}"),
        "metadata": {"name": "team"},
        "spec": {"match": {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]},
            "parameters": {"labels": [{"key": "team", "allowedRegex": "^[a-z]+$"}]}}})
}

fn object(at: usize) -> Value {
    let mut pod = crate::policy::pod(&format!("pod-{at}"));
    if at.is_multiple_of(1000) {
        pod["metadata"]["labels"] = json!({});
    }
    pod
}

fn resident() -> f64 {
    memory::resident_mib(&[std::process::id()]).as_f64().unwrap_or(0.0)
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
