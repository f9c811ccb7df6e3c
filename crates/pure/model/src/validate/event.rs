//! Checks of events, which two groups write by different rules.

use super::{at::At, names};
use crate::{kinds::Kind, status::Cause};

/// Longest texts in bytes.
const WORD_MAX: usize = 128;
const NOTE_MAX: usize = 1024;

pub(super) fn event(kind: &Kind, object: &At<'_>, causes: &mut Vec<Cause>) {
    let newer = kind.group == "events.k8s.io";
    let timed = !object.get("eventTime").is_absent();
    about(object, if newer { "regarding" } else { "involvedObject" }, timed, causes);
    if !newer && !timed {
        // As older clients write them: anything goes.
        return;
    }
    let controller = object.get(if newer { "reportingController" } else { "reportingComponent" });
    if controller.is_empty() {
        causes.push(controller.required(""));
    }
    controller.grammar(names::qualified_name, causes);
    for field in ["reportingInstance", "action", "reason"] {
        let word = object.get(field);
        if word.is_empty() {
            causes.push(word.required(""));
        }
        longest(&word, WORD_MAX, causes);
    }
    longest(&object.get(if newer { "note" } else { "message" }), NOTE_MAX, causes);
    if !newer {
        return;
    }
    if !timed {
        causes.push(object.get("eventTime").required(""));
    }
    let severity = object.get("type");
    if !["Normal", "Warning"].contains(&severity.text()) {
        causes.push(severity.invalid(&format!("has invalid value: {}", severity.text())));
    }
    for field in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedSource"] {
        if !object.get(field).is_empty() {
            causes.push(object.get(field).invalid("needs to be unset"));
        }
    }
    if object.get("deprecatedCount").number().is_some_and(|it| it != 0) {
        causes.push(object.get("deprecatedCount").invalid("needs to be unset"));
    }
}

/// What an event is about lies in the event's namespace; what lies in none is told in `default`.
fn about(object: &At<'_>, field: &str, timed: bool, causes: &mut Vec<Cause>) {
    let (subject, namespace) = (object.get(field).get("namespace"), object.at("metadata.namespace").text());
    let fits = match subject.text() {
        "" => namespace.is_empty() || namespace == "default" || (timed && namespace == "kube-system"),
        subject => timed || subject == namespace,
    };
    if !fits {
        // Kubernetes names the field as the older group has it.
        causes.push(Cause::invalid(
            "involvedObject.namespace",
            &subject.text().into(),
            "does not match event.namespace",
        ));
    }
}

fn longest(at: &At<'_>, max: usize, causes: &mut Vec<Cause>) {
    if at.text().len() > max {
        causes.push(at.invalid(&format!("can have at most {max} characters")));
    }
}
